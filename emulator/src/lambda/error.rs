//! Lambda's errors, with the exact code, status and spelling of the body.

use http::StatusCode;
use serde_json::json;

use crate::wire::{AwsResponse, not_emulated};

/// An answer other than success. Some shapes spell the text `Message`, most `message`: the SDKs match literally.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct LambdaError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Only throttles carry one.
    pub(crate) reason: Option<&'static str>,
}

impl LambdaError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), reason: None }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFoundException", message)
    }

    pub(crate) fn function_not_found(arn: &str) -> Self {
        Self::not_found(format!("Function not found: {arn}"))
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "ResourceConflictException", message)
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValueException", message)
    }

    /// The constraint text of the API's own model.
    pub(crate) fn validation(value: &str, member: &str, constraint: &str) -> Self {
        Self::new(
            400,
            "ValidationException",
            format!(
                "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
            ),
        )
    }

    /// A body that does not have the shape that it should have.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, "SerializationException", message)
    }

    pub(crate) fn bad_content(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestContentException", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLargeException", message)
    }

    /// Of functions, versions, aliases and their policies alike.
    pub(crate) fn stale_revision() -> Self {
        let message = "The Revision Id provided does not match the latest Revision Id. \
                       Call the GetFunction/GetAlias API to retrieve the latest Revision Id";
        Self::new(412, "PreconditionFailedException", message)
    }

    pub(crate) fn service(message: impl Into<String>) -> Self {
        Self::new(500, "ServiceException", message)
    }

    pub(crate) fn access_denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessDeniedException", message)
    }

    /// AWS says nothing to a call that it does not know; it knows this one, perhaps.
    pub(crate) fn unknown_operation(method: &str, path: &str) -> Self {
        let what = format!("{method} {path} of Lambda");
        Self::new(404, "UnknownOperationException", not_emulated(&what))
    }

    pub(crate) fn throttled(reason: &'static str) -> Self {
        Self { reason: Some(reason), ..Self::new(429, "TooManyRequestsException", "Rate Exceeded.") }
    }

    pub(crate) fn into_response(self) -> AwsResponse {
        let kind = if self.status >= 500 { "Service" } else { "User" };
        let member = match self.code {
            "ResourceNotFoundException" | "ServiceException" => "Message",
            _ => "message",
        };
        let mut body = json!({ "Type": kind, member: self.message });
        if let Some(reason) = self.reason {
            body["Reason"] = json!(reason);
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        AwsResponse::new(status, "application/json", body.to_string())
            .with_header("x-amzn-errortype", self.code)
    }
}
