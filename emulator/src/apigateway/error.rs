//! What the management API refuses, and how that looks on the wire.

use http::StatusCode;
use serde_json::json;

use crate::wire::AwsResponse;

/// A refused management call. Only 4xx: the Terraform provider retries a 5xx or a throttle up to 25 times.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ApiError {
    #[error("{message}")]
    NotFound { message: String, resource: &'static str },
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Conflict(String),
    /// With the code that API Gateway has for a path that it does not know.
    #[error("This call is not part of this emulator.")]
    UnknownOperation,
}

/// A request that cannot be done as it is.
pub(super) fn bad<T>(message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::BadRequest(message.into()))
}

impl ApiError {
    pub(super) fn missing(resource: &'static str, id: &str) -> Self {
        Self::NotFound { message: format!("Invalid {resource} identifier specified: {id}"), resource }
    }

    fn wire(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "NotFoundException"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequestException"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "ConflictException"),
            Self::UnknownOperation => (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException"),
        }
    }
}

impl From<ApiError> for AwsResponse {
    fn from(error: ApiError) -> Self {
        let (status, code) = error.wire();
        let body = match &error {
            ApiError::NotFound { message, resource } => json!({"message": message, "resourceType": resource}),
            other => json!({"message": other.to_string()}),
        };
        Self::new(status, "application/json", body.to_string()).with_header("x-amzn-errortype", code)
    }
}
