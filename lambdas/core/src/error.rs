//! How calls to dependencies fail, and the one place that says what a failure means.

use std::fmt;

/// What a failure of a dependency means for what we do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Refused before anything happened, by an outage: worth trying again.
    Transient,
    /// Refused before anything happened, because we ask too much: try again, later.
    Throttled,
    /// Will fail again the same way: our request or our rights are wrong.
    Permanent,
    /// Nobody knows whether it happened. Its own case, never treated as "it did not".
    Unknown,
}

impl ErrorClass {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What was observed of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom<'a> {
    /// The request never left: no connection, no credentials.
    NotSent,
    /// The request left and no answer came: a timeout, a broken connection.
    NoAnswer,
    /// An error was answered.
    Answered { status: u16, code: Option<&'a str> },
}

/// Codes that mean "too much" although their status is 400 or 403.
/// AWS: DynamoDB's `ThrottlingException` and SQS's `RequestThrottled` both answer 400.
const THROTTLE_CODES: [&str; 9] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
];

/// Codes that are refused under contention and go away by themselves.
const TRANSIENT_CODES: [&str; 3] =
    ["TransactionInProgressException", "TransactionConflictException", "RequestTimeTooSkewed"];

/// The one decision on what a failed call means.
pub fn classify(symptom: Symptom<'_>) -> ErrorClass {
    let (status, code) = match symptom {
        Symptom::NotSent => return ErrorClass::Transient,
        Symptom::NoAnswer => return ErrorClass::Unknown,
        Symptom::Answered { status, code } => (status, code.unwrap_or_default()),
    };
    if status == 429 || THROTTLE_CODES.contains(&code) {
        ErrorClass::Throttled
    } else if TRANSIENT_CODES.contains(&code) {
        ErrorClass::Transient
    } else if status >= 500 {
        // A server that failed inside may have done its work first, and so may one behind a front end that answers 503 for it.
        ErrorClass::Unknown
    } else {
        ErrorClass::Permanent
    }
}

/// A failed call through a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed ({class}): {detail}")]
pub struct PortError {
    pub operation: &'static str,
    pub class: ErrorClass,
    /// For the log only; never shown to a client.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_is_told_from_a_bad_request_although_both_answer_400() {
        let answered = |status, code| classify(Symptom::Answered { status, code: Some(code) });
        assert_eq!(answered(400, "ThrottlingException"), ErrorClass::Throttled);
        assert_eq!(answered(400, "ProvisionedThroughputExceededException"), ErrorClass::Throttled);
        assert_eq!(answered(400, "ValidationException"), ErrorClass::Permanent);
        assert_eq!(answered(403, "AccessDeniedException"), ErrorClass::Permanent);
        assert_eq!(answered(429, ""), ErrorClass::Throttled);
        assert_eq!(answered(503, "RequestLimitExceeded"), ErrorClass::Throttled);
    }

    #[test]
    fn a_missing_answer_is_unknown_and_never_a_refusal() {
        assert_eq!(classify(Symptom::NoAnswer), ErrorClass::Unknown);
        for status in [500, 502, 503, 504] {
            for code in [None, Some("ServiceUnavailable")] {
                assert_eq!(classify(Symptom::Answered { status, code }), ErrorClass::Unknown, "{status}");
            }
        }
        assert_eq!(classify(Symptom::NotSent), ErrorClass::Transient);
    }
}
