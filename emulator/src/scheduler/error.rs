//! Scheduler's errors: `{"Message"}` with the code in `x-amzn-errortype`.

use http::StatusCode;
use serde_json::json;

use crate::wire::AwsResponse;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SchedulerError {
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Quota(String),
    #[error("This call is not part of this emulator.")]
    UnknownOperation,
}

impl SchedulerError {
    pub(super) fn response(&self) -> AwsResponse {
        let (status, code) = match self {
            Self::Validation(_) => (StatusCode::BAD_REQUEST, "ValidationException"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "ConflictException"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            Self::Quota(_) => (StatusCode::PAYMENT_REQUIRED, "ServiceQuotaExceededException"),
            Self::UnknownOperation => (StatusCode::NOT_FOUND, "UnknownOperationException"),
        };
        AwsResponse::new(status, "application/json", json!({"Message": self.to_string()}).to_string())
            .with_header("x-amzn-errortype", code)
    }
}
