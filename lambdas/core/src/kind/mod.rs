//! Kinds of tasks, behind one trait.

mod digest;
mod test_tasks;

use std::future::Future;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use digest::Digest;
pub use test_tasks::{Flaky, Poison, Sleep};

use crate::object::Object;
use crate::ports::Clock;
use crate::wire::TaskError;

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptError {
    /// Another attempt may succeed.
    Retryable(TaskError),
    /// No attempt will ever succeed.
    Permanent(TaskError),
}

impl AttemptError {
    pub const fn error(&self) -> &TaskError {
        match self {
            Self::Retryable(error) | Self::Permanent(error) => error,
        }
    }
}

/// The work of one kind. Its payload is the type itself, so that a wrong payload does not parse.
pub trait Work: DeserializeOwned {
    const NAME: &'static str;

    /// Whether a lease is to keep other workers away. Not where the payload alone decides the result and it is found in
    /// moments: two workers find the same, and it costs them less than the lease would.
    const NEEDS_LEASE: bool = true;

    /// Beyond what the type already says.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// `attempt` counts from 1.
    fn run<C: Clock>(
        &self,
        attempt: u32,
        clock: &C,
    ) -> impl Future<Output = Result<Value, AttemptError>> + Send;
}

/// Which kinds this environment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindsAllowed {
    Production,
    /// Also the kinds that fail and wait on purpose.
    WithTestTasks,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    #[error("the kind is not known here")]
    Unknown,
    #[error("payload: {0}")]
    Payload(String),
}

/// A task whose payload has been parsed.
#[derive(Debug)]
pub enum Job {
    Digest(Digest),
    Poison(Poison),
    Flaky(Flaky),
    Sleep(Sleep),
}

impl Job {
    pub fn parse(kind: &str, payload: &Value, allowed: KindsAllowed) -> Result<Self, KindError> {
        if kind == Digest::NAME {
            return parse_work(payload).map(Self::Digest);
        }
        if allowed == KindsAllowed::Production {
            return Err(KindError::Unknown);
        }
        match kind {
            Poison::NAME => parse_work(payload).map(Self::Poison),
            Flaky::NAME => parse_work(payload).map(Self::Flaky),
            Sleep::NAME => parse_work(payload).map(Self::Sleep),
            _ => Err(KindError::Unknown),
        }
    }

    pub const fn needs_lease(&self) -> bool {
        match self {
            Self::Digest(_) => Digest::NEEDS_LEASE,
            Self::Poison(_) => Poison::NEEDS_LEASE,
            Self::Flaky(_) => Flaky::NEEDS_LEASE,
            Self::Sleep(_) => Sleep::NEEDS_LEASE,
        }
    }

    pub async fn run<C: Clock>(&self, attempt: u32, clock: &C) -> Result<Value, AttemptError> {
        match self {
            Self::Digest(work) => work.run(attempt, clock).await,
            Self::Poison(work) => work.run(attempt, clock).await,
            Self::Flaky(work) => work.run(attempt, clock).await,
            Self::Sleep(work) => work.run(attempt, clock).await,
        }
    }
}

fn parse_work<W: Work>(payload: &Value) -> Result<W, KindError> {
    let Object(work) =
        Object::<W>::deserialize(payload).map_err(|error| KindError::Payload(error.to_string()))?;
    work.check().map_err(KindError::Payload)?;
    Ok(work)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_an_object_and_no_array_of_its_fields() {
        let parse =
            |kind: &str, payload: Value| Job::parse(kind, &payload, KindsAllowed::WithTestTasks).map(drop);
        assert_eq!(parse("digest", json!({"text": "a"})), Ok(()));
        for (kind, payload) in [
            ("digest", json!(["a"])),
            ("poison", json!(["permanent"])),
            ("flaky", json!([1])),
            ("sleep", json!([1])),
            ("digest", json!("a")),
        ] {
            let refused = parse(kind, payload.clone());
            let says_so =
                matches!(&refused, Err(KindError::Payload(detail)) if detail.contains("expected an object"));
            assert!(says_so, "{kind} {payload}: {refused:?}");
        }
    }
}
