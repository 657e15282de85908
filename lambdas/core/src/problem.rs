//! RFC 9457 problems: every refusal that a client can see, in one table.

use crate::wire::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    MalformedRequest,
    InvalidCursor,
    InvalidLimit,
    InvalidStatus,
    InvalidIdempotencyKey,
    Unauthenticated,
    TaskNotFound,
    RouteNotFound,
    BodyTooLarge,
    UnknownKind,
    InvalidPayload,
    IdempotencyKeyReused,
    TooManyInFlight,
    QueueUnavailable,
    OutcomeUnknown,
    StoreUnavailable,
    MalformedMessage,
}

impl ProblemKind {
    pub const ALL: [Self; 17] = [
        Self::MalformedRequest,
        Self::InvalidCursor,
        Self::InvalidLimit,
        Self::InvalidStatus,
        Self::InvalidIdempotencyKey,
        Self::Unauthenticated,
        Self::TaskNotFound,
        Self::RouteNotFound,
        Self::BodyTooLarge,
        Self::UnknownKind,
        Self::InvalidPayload,
        Self::IdempotencyKeyReused,
        Self::TooManyInFlight,
        Self::QueueUnavailable,
        Self::OutcomeUnknown,
        Self::StoreUnavailable,
        Self::MalformedMessage,
    ];

    /// Stable name, title and status.
    const fn row(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::MalformedRequest => ("malformed-request", "The request body is not valid", 400),
            Self::InvalidCursor => ("invalid-cursor", "The cursor is not one of ours", 400),
            Self::InvalidLimit => ("invalid-limit", "The limit is out of range", 400),
            Self::InvalidStatus => ("invalid-status", "There is no such status", 400),
            Self::InvalidIdempotencyKey => {
                ("invalid-idempotency-key", "The Idempotency-Key is not valid", 400)
            }
            Self::Unauthenticated => ("unauthenticated", "The caller is not known", 401),
            Self::TaskNotFound => ("task-not-found", "There is no such task", 404),
            Self::RouteNotFound => ("route-not-found", "There is nothing at this address", 404),
            Self::BodyTooLarge => ("body-too-large", "The request body is too large", 413),
            Self::UnknownKind => ("unknown-kind", "There is no such kind of task", 422),
            Self::InvalidPayload => ("invalid-payload", "The payload does not fit the kind", 422),
            Self::IdempotencyKeyReused => {
                ("idempotency-key-reused", "The Idempotency-Key was used with another body", 422)
            }
            Self::TooManyInFlight => ("too-many-in-flight", "Too many tasks have not come to an end", 429),
            Self::QueueUnavailable => ("queue-unavailable", "The task was not accepted", 503),
            Self::OutcomeUnknown => ("outcome-unknown", "It is not known whether the task was accepted", 503),
            Self::StoreUnavailable => ("store-unavailable", "Tasks cannot be read now", 503),
            Self::MalformedMessage => ("malformed-message", "The message is not valid", 400),
        }
    }

    pub const fn name(self) -> &'static str {
        self.row().0
    }

    pub const fn status(self) -> u16 {
        self.row().2
    }

    /// Worth trying again, later.
    pub const fn is_temporary(self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    pub fn problem(self, detail: impl Into<String>, request_id: &str) -> Problem {
        let (name, title, status) = self.row();
        Problem {
            kind: format!("urn:task:problem:{name}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            request_id: request_id.to_owned(),
        }
    }
}
