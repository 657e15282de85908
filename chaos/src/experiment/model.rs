//! The shape of an experiment file.

use std::num::NonZeroU32;
use std::time::Duration;

use loadtest::stack::Stack;
use loadtest::{LoadPlan, NuisanceSockets, TaskMix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{FaultSpec, Span};

/// Acknowledged tasks below which a run proves nothing: an empty history is never a PASS.
const ACKNOWLEDGED_MIN_DEFAULT: u64 = 50;
const OWNERS_DEFAULT: u32 = 4;
/// A socket that reconnects misses what is pushed meanwhile; without faults none does.
const MISSED_PUSHES_PERCENT_DEFAULT: f64 = 1.0;
/// Requests before the error budget is looked at: a share of very few says nothing.
const BUDGET_ATTEMPTS_MIN_DEFAULT: u64 = 100;

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Chaos experiment")]
pub struct Experiment {
    /// Lower-case words joined by hyphens; names the experiment everywhere.
    pub name: String,
    /// What is believed to hold under the faults, and why, as one would tell a colleague on call.
    pub hypothesis: String,
    pub load: Load,
    /// Faults on a timeline that starts with the load. They may overlap.
    #[serde(default, rename = "fault")]
    #[schemars(with = "Vec<FaultSpec>")]
    pub faults: Vec<Spanned<FaultSpec>>,
    #[serde(default)]
    pub expect: Expect,
    #[serde(default)]
    pub abort: Abort,
}

impl Experiment {
    pub fn fault_specs(&self) -> impl Iterator<Item = &FaultSpec> {
        self.faults.iter().map(Spanned::get_ref)
    }
}

/// Open-loop arrivals: requests start at the clock's pace, whatever the service does.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    #[schemars(range(min = 1.0, max = 10_000.0))]
    pub rate_per_second: f64,
    /// For how long requests arrive.
    pub duration: Span,
    /// How many different owners submit and listen; one where the stack has no key, and a token is given.
    #[serde(default = "owners_default")]
    #[schemars(range(min = 1, max = 1000))]
    pub owners: u32,
    #[serde(default)]
    pub mix: Mix,
    #[serde(default)]
    pub sockets: Sockets,
    /// How long after the last arrival every task must be final; longer is a liveness failure.
    pub settle: Span,
}

impl Load {
    /// How many take part: all that the file says only where the stack has a key to make their tokens with. One token that is
    /// given is one owner.
    pub fn owners_on(&self, stack: &Stack) -> u32 {
        if stack.auth.private_key_path.is_some() { self.owners } else { 1 }
    }

    /// What the load generator is asked for on a queue with this visibility timeout.
    pub(crate) fn plan(&self, visibility_timeout: Duration) -> LoadPlan {
        let Sockets { silent, slow, dropped } = self.sockets;
        LoadPlan {
            rate_per_second: self.rate_per_second,
            duration: self.duration.resolve(visibility_timeout),
            owners: self.owners,
            mix: self.mix.tasks(),
            nuisance: NuisanceSockets { silent, slow, dropped },
            ..LoadPlan::default()
        }
    }
}

/// One task in so many is of this kind; every other is a `digest`: the SHA-256 of a text.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Always fails, and must end in the dead-letter queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poison_one_in: Option<NonZeroU32>,
    /// Fails `flaky_failures` times, then succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaky_one_in: Option<NonZeroU32>,
    /// 1 without it. From `maxReceiveCount` on such a task must become a dead letter, and succeed when it is moved back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaky_failures: Option<u32>,
    /// Takes `sleep_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep_one_in: Option<NonZeroU32>,
    /// 100 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep_ms: Option<u32>,
    /// Sent twice at once with the same idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_one_in: Option<NonZeroU32>,
    /// Once acknowledged, its key is used again with another body, which must be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict_one_in: Option<NonZeroU32>,
    /// Besides it a body beyond the service's limit is sent, which must be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oversize_one_in: Option<NonZeroU32>,
}

impl Mix {
    fn tasks(&self) -> TaskMix {
        let stock = TaskMix::default();
        TaskMix {
            poison_one_in: self.poison_one_in,
            flaky_one_in: self.flaky_one_in,
            flaky_failures: self.flaky_failures.unwrap_or(stock.flaky_failures),
            sleep_one_in: self.sleep_one_in,
            sleep_ms: self.sleep_ms.unwrap_or(stock.sleep_ms),
            duplicate_one_in: self.duplicate_one_in,
            conflict_one_in: self.conflict_one_in,
            oversize_one_in: self.oversize_one_in,
            ..stock
        }
    }
}

/// Sockets that each owner opens besides the one that listens. They must harm nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sockets {
    /// Connect, and then neither read nor write.
    #[schemars(range(max = 10))]
    pub silent: u32,
    /// Read one message in a while.
    #[schemars(range(max = 10))]
    pub slow: u32,
    /// Are dropped without a close, again and again.
    #[schemars(range(max = 10))]
    pub dropped: u32,
}

/// How the dead-letter queue is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DlqRule {
    /// Exactly the poison tasks.
    #[default]
    Poison,
    /// The poison tasks, and those that were received too often while the worker was throttled.
    ReceiveCounts,
    /// The poison tasks, and none but those that a worker saw on their last receive.
    Deliveries,
    /// The poison tasks, and none but those whose own message was received too often, as SQS counts: where messages are
    /// handed to workers that may not touch them, the table cannot know their last receive.
    OwnReceives,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Acknowledged tasks that may be nowhere.
    pub lost: u64,
    /// Tasks that may have taken effect more than once.
    pub duplicate_effects: u64,
    /// Tasks that may exist though nobody asked for them.
    pub unexpected: u64,
    pub dlq: DlqRule,
    /// Uncertainty of the receive clock in a prediction by receive counts.
    pub dlq_slack: Span,
    /// Afterwards the dead letters are moved back, and all but the poison must succeed.
    pub redrive: bool,
    /// From the measured end of the last fault until the backlog of before it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_max: Option<Span>,
    /// Fewer acknowledged tasks than this make the run inconclusive.
    pub acknowledged_min: u64,
    /// Tasks that a worker must have seen more than once: a fault after the effect that repeats nothing tested nothing.
    pub redelivered_min: u64,
    /// Tasks that workers may have seen more than once, the poison aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redelivered_max: Option<u64>,
    /// The 99th percentile from intended start to acknowledgement once the faults are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub p99_after_ms_max: Option<f64>,
    /// Share of requests that may be refused or unanswered while no fault is in effect.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub refused_percent_max: f64,
    /// The same while faults are in effect; without it any share may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub refused_percent_during_max: Option<f64>,
    /// What a client may be refused with; without it anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusal_statuses: Vec<u16>,
    /// Share of final tasks whose end need not have reached a socket of their owner: a push is best effort.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub missed_pushes_percent_max: f64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            lost: 0,
            duplicate_effects: 0,
            unexpected: 0,
            dlq: DlqRule::Poison,
            dlq_slack: Span::Receives(0.5),
            redrive: false,
            recovery_max: None,
            acknowledged_min: ACKNOWLEDGED_MIN_DEFAULT,
            redelivered_min: 0,
            redelivered_max: None,
            p99_after_ms_max: None,
            refused_percent_max: 0.0,
            refused_percent_during_max: None,
            refusal_statuses: Vec::new(),
            missed_pushes_percent_max: MISSED_PUSHES_PERCENT_DEFAULT,
        }
    }
}

/// The customer's error budget. Never a metric that the fault itself moves, or the fault would end itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Abort {
    /// Stop, revert and judge when more than this share of requests was refused or unanswered. What a fault refuses by
    /// itself is not counted.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub refused_percent: f64,
    /// Only once this many requests were sent.
    pub attempts_min: u64,
    /// Stop as well when the 99th percentile from intended start to answer, over the whole run, is above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub p99_ms_max: Option<f64>,
}

impl Default for Abort {
    fn default() -> Self {
        Self { refused_percent: 50.0, attempts_min: BUDGET_ATTEMPTS_MIN_DEFAULT, p99_ms_max: None }
    }
}

fn owners_default() -> u32 {
    OWNERS_DEFAULT
}
