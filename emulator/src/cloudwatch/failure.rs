//! CloudWatch's errors, which have one name in JSON and CBOR and another in the query protocol.

use http::StatusCode;

use crate::wire::not_emulated;

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// With its namespace.
    pub(super) shape: &'static str,
    pub(super) query_code: &'static str,
    pub(super) message: String,
}

/// What AWS says of two members of which a request can have only one. The codes differ.
pub(super) fn exclusive(place: &str, one: &str, other: &str) -> String {
    format!(
        "The parameters {place}.{one} and {place}.{other} are mutually exclusive and you have specified both."
    )
}

/// What AWS says of a member that has none of its values. The codes differ.
pub(super) fn not_in_set(member: &str, values: &[&str]) -> String {
    format!("The parameter {member} must be a value in the set [ {} ].", values.join(", "))
}

/// Why IAM does not let a call through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    Denied,
    Expired,
    Unknown,
    Unsigned,
}

impl Failure {
    fn bad(shape: &'static str, query_code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, shape, query_code, message: message.into() }
    }

    /// None where AWS sends none.
    pub(super) fn message(&self) -> Option<&str> {
        Some(self.message.as_str()).filter(|message| !message.is_empty())
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::bad("com.amazon.coral.validate#ValidationException", "ValidationError", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        let shape = "com.amazonaws.cloudwatch.v2010_08_01#InvalidParameterValueException";
        Self::bad(shape, "InvalidParameterValue", message)
    }

    pub(super) fn combination(message: impl Into<String>) -> Self {
        let shape = "com.amazonaws.cloudwatch.v2010_08_01#InvalidParameterCombinationException";
        Self::bad(shape, "InvalidParameterCombination", message)
    }

    pub(super) fn missing(member: &str) -> Self {
        let shape = "com.amazonaws.cloudwatch.v2010_08_01#MissingRequiredParameterException";
        Self::bad(shape, "MissingParameter", format!("The parameter {member} is required."))
    }

    pub(super) fn next_token(message: impl Into<String>) -> Self {
        Self::bad("com.amazonaws.cloudwatch.v2010_08_01#InvalidNextToken", "InvalidNextToken", message)
    }

    /// `member` as the API's model calls it, with a small first letter.
    pub(super) fn not_in_enum(value: &str, member: &str, values: &str) -> Self {
        Self::validation(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must \
             satisfy enum value set: [{values}]"
        ))
    }

    /// Of the body of a call, unzipped.
    pub(super) fn too_large(bytes: usize, bytes_max: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            shape: "com.amazon.coral.service#RequestEntityTooLargeException",
            query_code: "RequestEntityTooLarge",
            message: format!("Request size {bytes} exceeded {bytes_max} bytes"),
        }
    }

    pub(super) fn no_json() -> Self {
        let shape = "com.amazonaws.cloudwatch.v2010_08_01#InvalidFormatFault";
        Self::bad(shape, "InvalidFormat", "Data was not syntactically valid JSON.")
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            shape: "com.amazonaws.cloudwatch.v2010_08_01#InternalServiceFault",
            query_code: "InternalServiceError",
            message: message.into(),
        }
    }

    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self::bad("com.amazonaws.cloudwatch.v2010_08_01#LimitExceededFault", "LimitExceeded", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            shape: "com.amazonaws.cloudwatch.v2010_08_01#ResourceNotFoundException",
            query_code: "ResourceNotFoundException",
            message: message.into(),
        }
    }

    pub(super) fn barred(bar: Bar, message: String) -> Self {
        let (shape, query_code) = match bar {
            Bar::Denied => ("com.amazon.coral.service#AccessDeniedException", "AccessDenied"),
            Bar::Expired => ("com.amazon.coral.service#ExpiredTokenException", "ExpiredToken"),
            Bar::Unknown => ("com.amazon.coral.service#UnrecognizedClientException", "InvalidClientTokenId"),
            Bar::Unsigned => {
                ("com.amazon.coral.service#MissingAuthenticationTokenException", "MissingAuthenticationToken")
            }
        };
        Self { status: StatusCode::FORBIDDEN, shape, query_code, message }
    }

    pub(super) fn alarm_not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            shape: "com.amazonaws.cloudwatch.v2010_08_01#ResourceNotFound",
            query_code: "ResourceNotFound",
            message: String::new(),
        }
    }

    pub(super) fn dashboard_not_found(name: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            shape: "com.amazonaws.cloudwatch.v2010_08_01#DashboardNotFoundError",
            query_code: "ResourceNotFound",
            message: format!("Dashboard {name} does not exist"),
        }
    }

    pub(super) fn bad_dashboard(message: impl Into<String>) -> Self {
        let shape = "com.amazonaws.cloudwatch.v2010_08_01#DashboardInvalidInputError";
        Self::bad(shape, "InvalidParameterInput", message)
    }

    pub(super) fn unreadable() -> Self {
        Self::bad("com.amazon.coral.service#SerializationException", "MalformedInput", "")
    }

    /// Logged by name: nothing is silently accepted.
    pub(super) fn unknown_operation(operation: &str) -> Self {
        tracing::warn!(
            aws.service = "monitoring",
            aws.operation = operation,
            "the operation is not emulated"
        );
        let message = not_emulated(operation);
        Self::bad("com.amazon.coral.service#UnknownOperationException", "InvalidAction", message)
    }
}
