//! Answers on the wire.

use std::fmt::Display;

use dynoxide::DynoxideError;
use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::throttle::Throttled;
use crate::wire::{AwsResponse, not_emulated};

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
const DYNAMODB: &str = "com.amazonaws.dynamodb.v20120810#";
const FRONT_END: &str = "com.amazon.coral.service#";

/// Why a call was refused.
#[derive(Debug)]
pub(super) enum Failure {
    Engine(DynoxideError),
    Throttled(Throttled),
    /// An error of what stands around the engine; `shape` in DynamoDB's namespace.
    Own {
        shape: &'static str,
        message: String,
    },
    /// In the namespace of the front end, without a message.
    FrontEnd {
        shape: &'static str,
        status: StatusCode,
    },
    /// An operation, by name.
    NotEmulated(String),
}

impl From<DynoxideError> for Failure {
    fn from(error: DynoxideError) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    /// Not an operation of DynamoDB, or not one that is emulated: logged by name, never accepted.
    pub(super) fn unknown(target: &str) -> Self {
        tracing::warn!(aws.service = "dynamodb", aws.target = %target, "the operation is not emulated");
        Self::NotEmulated(target.to_owned())
    }

    /// A parameter that cannot have its value, in DynamoDB's words.
    pub(super) fn invalid_value(why: impl Display) -> Self {
        let message = format!("One or more parameter values were invalid: {why}");
        DynoxideError::ValidationException(message).into()
    }

    pub(super) fn unreadable() -> Self {
        Self::FrontEnd { shape: "SerializationException", status: StatusCode::BAD_REQUEST }
    }

    pub(super) fn internal() -> Self {
        Self::FrontEnd { shape: "InternalFailure", status: StatusCode::INTERNAL_SERVER_ERROR }
    }

    pub(super) fn is_conditional_check(&self) -> bool {
        matches!(self, Self::Engine(DynoxideError::ConditionalCheckFailedException(..)))
    }

    pub(super) fn is_throttle(&self) -> bool {
        matches!(self, Self::Throttled(_))
    }

    /// Not the caller's fault.
    pub(super) fn is_server_error(&self) -> bool {
        self.status().is_server_error()
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Engine(error) => {
                StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST)
            }
            Self::Throttled(_) | Self::Own { .. } | Self::NotEmulated(_) => StatusCode::BAD_REQUEST,
            Self::FrontEnd { status, .. } => *status,
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Engine(error) => error.to_json(),
            Self::Throttled(throttled) => throttled.body(DYNAMODB).to_string(),
            Self::Own { shape, message } => {
                json!({"__type": format!("{DYNAMODB}{shape}"), "message": message}).to_string()
            }
            Self::FrontEnd { shape, .. } => json!({"__type": format!("{FRONT_END}{shape}")}).to_string(),
            // AWS says nothing to an operation that it does not have; it has this one, perhaps.
            Self::NotEmulated(target) => {
                let shape = format!("{FRONT_END}UnknownOperationException");
                json!({"__type": shape, "message": not_emulated(target)}).to_string()
            }
        }
    }
}

/// A moment as DynamoDB writes it.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit 2^53 for 280,000 years")]
pub(super) fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}

pub(super) fn succeeded(body: String) -> AwsResponse {
    sealed(StatusCode::OK, body)
}

pub(super) fn refused(failure: &Failure) -> AwsResponse {
    sealed(failure.status(), failure.body())
}

/// The Go and Java SDKs check the CRC32 of the body as sent.
fn sealed(status: StatusCode, body: String) -> AwsResponse {
    let crc32 = crc32fast::hash(body.as_bytes()).to_string();
    AwsResponse::new(status, CONTENT_TYPE, body)
        .with_header("x-amz-crc32", &crc32)
        .with_header("x-amzn-requestid", &request_id())
}

/// DynamoDB's ids are 52 upper-case characters.
fn request_id() -> String {
    let two = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).to_ascii_uppercase();
    two.chars().take(52).collect()
}
