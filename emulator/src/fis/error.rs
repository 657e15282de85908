//! FIS's errors: `{"message"}` with the code in `x-amzn-errortype`.

use http::StatusCode;
use serde_json::json;

use crate::wire::AwsResponse;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct FisError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl FisError {
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self { status: 400, code: "ValidationException", message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: 404, code: "ResourceNotFoundException", message: message.into() }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self { status: 409, code: "ConflictException", message: message.into() }
    }

    /// FIS alone answers a quota with 402.
    pub(crate) fn quota(message: impl Into<String>) -> Self {
        Self { status: 402, code: "ServiceQuotaExceededException", message: message.into() }
    }

    pub(crate) fn into_response(self) -> AwsResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        AwsResponse::new(status, "application/json", json!({"message": self.message}).to_string())
            .with_header("x-amzn-errortype", self.code)
    }
}
