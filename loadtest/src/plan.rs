//! What a run is to do.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::LoadError;

/// It becomes part of tokens, headers and file names. The service takes 255 bytes of an owner and of an idempotency key, and both add to
/// it; an experiment's name and a seed fit into it.
const RUN_ID_CHARACTERS_MAX: usize = 128;
const RATE_MAX_PER_SECOND: f64 = 100_000.0;
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// One socket each; a process has 65 536 descriptors at the most on Fargate.
const OWNERS_MAX: u32 = 20_000;
const WORKERS_MAX: usize = 20_000;
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(300);
const UNKNOWN_RETRIES_MAX: u32 = 20;
/// The service pushes to a bounded number of sockets per owner; a handful annoys enough.
const NUISANCE_SOCKETS_MAX: u32 = 10;
/// SQS takes 1 MiB per message, API Gateway 10 MB per request; beyond is the service's own check to prove.
const PAYLOAD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How the intended starts are spread in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly, at exactly the rate.
    #[default]
    Constant,
    /// With exponential gaps, as independent clients arrive.
    Poisson,
}

/// Which tasks a run submits. Absent means never; `1` means every one. Where two would fall on the same arrival, poison
/// wins over flaky, and flaky over sleep; every other task is a `digest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskMix {
    /// Fails for good at its first attempt.
    pub poison_one_in: Option<NonZeroU32>,
    pub flaky_one_in: Option<NonZeroU32>,
    /// How many attempts of a flaky task fail. At or above the queue's `maxReceiveCount` it is expected to dead-letter.
    pub flaky_failures: u32,
    pub sleep_one_in: Option<NonZeroU32>,
    pub sleep_ms: u32,
    /// Sends the same POST twice at once, with the same idempotency key: both must name the same task.
    pub duplicate_one_in: Option<NonZeroU32>,
    /// Once acknowledged, the key is sent again with another body.
    pub conflict_one_in: Option<NonZeroU32>,
    /// Besides it a body beyond the service's limit is sent, under a key of its own.
    pub oversize_one_in: Option<NonZeroU32>,
    /// Length of the text of a `digest` task.
    pub payload_bytes: usize,
}

impl Default for TaskMix {
    fn default() -> Self {
        Self {
            poison_one_in: None,
            flaky_one_in: None,
            flaky_failures: 1,
            sleep_one_in: None,
            sleep_ms: 100,
            duplicate_one_in: None,
            conflict_one_in: None,
            oversize_one_in: None,
            payload_bytes: 64,
        }
    }
}

/// Sockets that each owner opens besides its session, to annoy: what they do must reach nobody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NuisanceSockets {
    /// Connect, and neither read nor write.
    pub silent: u32,
    /// Read one message in a while.
    pub slow: u32,
    /// Are dropped without a close, again and again.
    pub dropped: u32,
}

/// A whole run: the same plan and seed submit the same tasks at the same offsets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadPlan {
    /// Part of every idempotency key, and of every owner that the run makes a token for: two runs never share one.
    pub run_id: String,
    pub seed: u64,
    pub rate_per_second: f64,
    pub arrivals: Arrivals,
    pub duration: Duration,
    /// Each owner has one WebSocket session.
    pub owners: u32,
    pub mix: TaskMix,
    pub nuisance: NuisanceSockets,
    /// Reads (GET /tasks and GET /tasks/{id}, in turn) besides the submissions.
    pub poll_rate_per_second: f64,
    pub request_timeout: Duration,
    /// How many POSTs may be in flight at once.
    pub workers: usize,
    /// How often a POST whose fate is unknown is sent again with the same idempotency key, so that it becomes known.
    pub unknown_retries: u32,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self {
            run_id: "run".to_owned(),
            seed: 1,
            rate_per_second: 50.0,
            arrivals: Arrivals::Constant,
            duration: Duration::from_secs(10),
            owners: 4,
            mix: TaskMix::default(),
            nuisance: NuisanceSockets::default(),
            poll_rate_per_second: 2.0,
            request_timeout: Duration::from_secs(10),
            workers: 64,
            unknown_retries: 3,
        }
    }
}

impl LoadPlan {
    /// Every field within its named limit.
    pub fn validate(&self) -> Result<(), LoadError> {
        let run_id_ok = !self.run_id.is_empty()
            && self.run_id.len() <= RUN_ID_CHARACTERS_MAX
            && self.run_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        check("run_id", run_id_ok, || {
            format!("must be 1 to {RUN_ID_CHARACTERS_MAX} letters, digits and dashes")
        })?;
        let rate_ok = self.rate_per_second > 0.0 && self.rate_per_second <= RATE_MAX_PER_SECOND;
        check("rate_per_second", rate_ok, || format!("must be above 0 and at most {RATE_MAX_PER_SECOND}"))?;
        let reads_ok = (0.0..=RATE_MAX_PER_SECOND).contains(&self.poll_rate_per_second);
        check("poll_rate_per_second", reads_ok, || format!("must be 0 to {RATE_MAX_PER_SECOND}"))?;
        let duration_ok = !self.duration.is_zero() && self.duration <= DURATION_MAX;
        check("duration", duration_ok, || format!("must be above 0 and at most {DURATION_MAX:?}"))?;
        let timeout_ok = !self.request_timeout.is_zero() && self.request_timeout <= REQUEST_TIMEOUT_MAX;
        check("request_timeout", timeout_ok, || {
            format!("must be above 0 and at most {REQUEST_TIMEOUT_MAX:?}")
        })?;
        check("owners", (1..=OWNERS_MAX).contains(&self.owners), || format!("must be 1 to {OWNERS_MAX}"))?;
        check("workers", (1..=WORKERS_MAX).contains(&self.workers), || {
            format!("must be 1 to {WORKERS_MAX}")
        })?;
        let retries_ok = self.unknown_retries <= UNKNOWN_RETRIES_MAX;
        check("unknown_retries", retries_ok, || format!("must be at most {UNKNOWN_RETRIES_MAX}"))?;
        let NuisanceSockets { silent, slow, dropped } = self.nuisance;
        let nuisance_ok = [silent, slow, dropped].iter().all(|sockets| *sockets <= NUISANCE_SOCKETS_MAX);
        check("nuisance", nuisance_ok, || format!("must be at most {NUISANCE_SOCKETS_MAX} of each"))?;
        let payload_ok = self.mix.payload_bytes <= PAYLOAD_BYTES_MAX;
        check("mix.payload_bytes", payload_ok, || format!("must be at most {PAYLOAD_BYTES_MAX}"))
    }
}

fn check(field: &'static str, ok: bool, problem: impl FnOnce() -> String) -> Result<(), LoadError> {
    if ok { Ok(()) } else { Err(LoadError::Plan { field, problem: problem() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Breakage = fn(&mut LoadPlan);

    #[test]
    fn every_limit_names_its_field() {
        assert!(LoadPlan::default().validate().is_ok());
        let broken: [(&str, Breakage); 11] = [
            ("run_id", |plan| plan.run_id = "a b".to_owned()),
            ("run_id", |plan| plan.run_id.clear()),
            ("rate_per_second", |plan| plan.rate_per_second = f64::NAN),
            ("poll_rate_per_second", |plan| plan.poll_rate_per_second = -1.0),
            ("duration", |plan| plan.duration = Duration::ZERO),
            ("request_timeout", |plan| plan.request_timeout = Duration::MAX),
            ("owners", |plan| plan.owners = 0),
            ("workers", |plan| plan.workers = 0),
            ("unknown_retries", |plan| plan.unknown_retries = 21),
            ("nuisance", |plan| plan.nuisance.slow = 11),
            ("mix.payload_bytes", |plan| plan.mix.payload_bytes = usize::MAX),
        ];
        for (field, break_it) in broken {
            let mut plan = LoadPlan::default();
            break_it(&mut plan);
            let error = plan.validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("the plan's `{field}` must be")), "{error}");
        }
    }
}
