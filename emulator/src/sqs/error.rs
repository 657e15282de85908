//! What SQS refuses, and how it says so.
//!
//! A JSON error is named twice: the shape in `__type`, and the code of the older query protocol in
//! `x-amzn-query-error`. The SDKs match on the second, so it decides whether a typed error reaches the caller.

use http::StatusCode;

/// Namespace of the errors that the SQS model declares.
const SQS_NAMESPACE: &str = "com.amazonaws.sqs";
/// Namespace of the generic validation errors of the framework below SQS.
const CORAL_NAMESPACE: &str = "com.amazon.coral.service";

/// A refused request, or a refused entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqsError {
    pub kind: ErrorKind,
    pub message: String,
}

/// The errors that this emulator can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    AccessDenied,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalFailure,
    InvalidAction,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedInput,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    TooManyEntriesInBatchRequest,
    UnsupportedOperation,
}

impl ErrorKind {
    /// Namespace and shape of the JSON protocol, code of the query protocol, status.
    const fn row(self) -> (&'static str, &'static str, &'static str, StatusCode) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const SQS: &str = SQS_NAMESPACE;
        const CORAL: &str = CORAL_NAMESPACE;
        match self {
            Self::AccessDenied => (CORAL, "AccessDeniedException", "AccessDenied", StatusCode::FORBIDDEN),
            Self::BatchEntryIdsNotDistinct => {
                (SQS, "BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", BAD)
            }
            Self::BatchRequestTooLong => {
                (SQS, "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", BAD)
            }
            Self::EmptyBatchRequest => {
                (SQS, "EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", BAD)
            }
            Self::InternalFailure => {
                (CORAL, "InternalFailure", "InternalFailure", StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::InvalidAction => (CORAL, "UnknownOperationException", "InvalidAction", BAD),
            Self::InvalidAddress => (SQS, "InvalidAddress", "InvalidAddress", BAD),
            Self::InvalidAttributeName => (SQS, "InvalidAttributeName", "InvalidAttributeName", BAD),
            Self::InvalidAttributeValue => (SQS, "InvalidAttributeValue", "InvalidAttributeValue", BAD),
            Self::InvalidBatchEntryId => {
                (SQS, "InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", BAD)
            }
            Self::InvalidMessageContents => (SQS, "InvalidMessageContents", "InvalidMessageContents", BAD),
            Self::InvalidParameterValue => {
                (CORAL, "InvalidParameterValueException", "InvalidParameterValue", BAD)
            }
            Self::MalformedInput => (CORAL, "SerializationException", "MalformedInput", BAD),
            Self::MissingParameter => (CORAL, "MissingRequiredParameterException", "MissingParameter", BAD),
            Self::OverLimit => (SQS, "OverLimit", "OverLimit", StatusCode::FORBIDDEN),
            Self::PurgeQueueInProgress => (
                SQS,
                "PurgeQueueInProgress",
                "AWS.SimpleQueueService.PurgeQueueInProgress",
                StatusCode::FORBIDDEN,
            ),
            Self::QueueDeletedRecently => {
                (SQS, "QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", BAD)
            }
            Self::QueueDoesNotExist => {
                (SQS, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", BAD)
            }
            Self::QueueNameExists => (SQS, "QueueNameExists", "QueueAlreadyExists", BAD),
            Self::ReceiptHandleIsInvalid => {
                (SQS, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", StatusCode::NOT_FOUND)
            }
            Self::ResourceNotFound => {
                (SQS, "ResourceNotFoundException", "ResourceNotFoundException", StatusCode::NOT_FOUND)
            }
            Self::TooManyEntriesInBatchRequest => (
                SQS,
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                BAD,
            ),
            Self::UnsupportedOperation => {
                (SQS, "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", BAD)
            }
        }
    }

    #[must_use]
    pub fn json_type(self) -> String {
        let (namespace, shape, _, _) = self.row();
        format!("{namespace}#{shape}")
    }

    #[must_use]
    pub const fn query_code(self) -> &'static str {
        self.row().2
    }

    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().3
    }
}

impl SqsError {
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    #[must_use]
    pub fn queue_does_not_exist() -> Self {
        Self::new(ErrorKind::QueueDoesNotExist, "The specified queue does not exist.")
    }

    #[must_use]
    pub fn resource_does_not_exist(parameter: &str) -> Self {
        let message = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
        Self::new(ErrorKind::ResourceNotFound, message)
    }

    /// What no endpoint knows, or not the one that was asked.
    #[must_use]
    pub fn invalid_action(action: &str) -> Self {
        let message = format!("The action {action} is not valid for this endpoint.");
        Self::new(ErrorKind::InvalidAction, message)
    }

    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Self::new(ErrorKind::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    #[must_use]
    pub fn parameter(name: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        Self::new(
            ErrorKind::InvalidParameterValue,
            format!("Value {value} for parameter {name} is invalid. Reason: {reason}"),
        )
    }

    #[must_use]
    pub fn attribute_value(name: &str) -> Self {
        Self::new(ErrorKind::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
    }

    #[must_use]
    pub fn unknown_attribute(name: &str) -> Self {
        Self::new(ErrorKind::InvalidAttributeName, format!("Unknown Attribute {name}."))
    }

    /// The query protocol words the missing queue differently.
    #[must_use]
    pub fn query_message(&self) -> &str {
        match self.kind {
            ErrorKind::QueueDoesNotExist => "The specified queue does not exist for this wsdl version.",
            _ => &self.message,
        }
    }
}
