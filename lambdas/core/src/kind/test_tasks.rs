//! Kinds that fail and wait on purpose; refused where test tasks are not allowed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{AttemptError, Work};
use crate::limits;
use crate::ports::Clock;
use crate::time::DurationMs;
use crate::wire::TaskError;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Failure {
    #[default]
    Permanent,
    Retryable,
}

/// Always fails.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poison {
    #[serde(default)]
    failure: Failure,
}

impl Work for Poison {
    const NAME: &'static str = "poison";

    async fn run<C: Clock>(&self, _attempt: u32, _clock: &C) -> Result<Value, AttemptError> {
        let error = TaskError { kind: "poison".into(), message: "a poison task always fails".into() };
        Err(match self.failure {
            Failure::Permanent => AttemptError::Permanent(error),
            Failure::Retryable => AttemptError::Retryable(error),
        })
    }
}

/// Fails its first attempts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flaky {
    failures: u32,
}

impl Work for Flaky {
    const NAME: &'static str = "flaky";

    async fn run<C: Clock>(&self, attempt: u32, _clock: &C) -> Result<Value, AttemptError> {
        if attempt <= self.failures {
            let message = format!("attempt {attempt} of {} that fail", self.failures);
            return Err(AttemptError::Retryable(TaskError { kind: "flaky".into(), message }));
        }
        Ok(json!({"failures": self.failures}))
    }
}

/// Waits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    duration_ms: DurationMs,
}

impl Work for Sleep {
    const NAME: &'static str = "sleep";

    fn check(&self) -> Result<(), String> {
        if self.duration_ms > limits::SLEEP_MAX {
            return Err(format!("duration_ms must be at most {}", limits::SLEEP_MAX.0));
        }
        Ok(())
    }

    async fn run<C: Clock>(&self, _attempt: u32, clock: &C) -> Result<Value, AttemptError> {
        clock.sleep(self.duration_ms).await;
        Ok(json!({"slept_ms": self.duration_ms}))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Job, KindError, KindsAllowed};
    use super::*;

    #[test]
    fn a_sleep_is_taken_up_to_its_limit() {
        let sleep =
            |ms: u64| Job::parse("sleep", &json!({"duration_ms": ms}), KindsAllowed::WithTestTasks).map(drop);
        assert_eq!(sleep(limits::SLEEP_MAX.0), Ok(()));
        assert!(matches!(sleep(limits::SLEEP_MAX.0 + 1), Err(KindError::Payload(_))));
    }
}
