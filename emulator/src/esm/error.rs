//! What the control operations refuse.

use http::StatusCode;
use serde_json::json;

use crate::wire::AwsResponse;

/// Mind the capital M: some error shapes of Lambda have `Message`, others `message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EsmError {
    #[error("{0}")]
    InvalidParameter(String),
    #[error("1 validation error detected: {0}")]
    Validation(String),
    #[error("{0}")]
    Conflict(String),
    #[error("Cannot update the event source mapping because it is not in a state that can be updated.")]
    InUse,
    #[error("The resource you requested does not exist.")]
    NotFound,
    #[error("Could not parse request body into json: {0}")]
    Content(String),
    #[error("This call is not part of this emulator.")]
    UnknownOperation,
}

impl EsmError {
    const fn row(&self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Self::InvalidParameter(_) => (BAD, "InvalidParameterValueException", "message"),
            Self::Validation(_) => (BAD, "ValidationException", "message"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "ResourceConflictException", "message"),
            Self::InUse => (BAD, "ResourceInUseException", "Message"),
            Self::NotFound => (StatusCode::NOT_FOUND, "ResourceNotFoundException", "Message"),
            Self::Content(_) => (BAD, "InvalidRequestContentException", "message"),
            Self::UnknownOperation => (StatusCode::NOT_FOUND, "UnknownOperationException", "message"),
        }
    }

    #[must_use]
    pub fn response(&self) -> AwsResponse {
        let (status, code, key) = self.row();
        let body = json!({ key: self.to_string(), "Type": "User" });
        AwsResponse::new(status, "application/json", body.to_string()).with_header("x-amzn-errortype", code)
    }

    /// "Value '0' at 'batchSize' failed to satisfy constraint: Member must have value greater than or equal to 1".
    #[must_use]
    pub fn constraint(value: i64, member: &str, range: &std::ops::RangeInclusive<i64>) -> Self {
        let (side, bound) =
            if value < *range.start() { ("greater", range.start()) } else { ("less", range.end()) };
        Self::Validation(format!(
            "Value '{value}' at '{member}' failed to satisfy constraint: Member must have value {side} than or equal to \
             {bound}"
        ))
    }
}
