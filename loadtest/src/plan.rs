//! What a run is to do.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
            payload_bytes: 64,
        }
    }
}

/// A whole run: the same plan and seed submit the same tasks at the same offsets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadPlan {
    /// Part of every owner and idempotency key: two runs never share one.
    pub run_id: String,
    pub seed: u64,
    pub rate_per_second: f64,
    pub arrivals: Arrivals,
    pub duration: Duration,
    /// Each owner has one WebSocket session.
    pub owners: u32,
    pub mix: TaskMix,
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
            poll_rate_per_second: 2.0,
            request_timeout: Duration::from_secs(10),
            workers: 64,
            unknown_retries: 3,
        }
    }
}
