//! One entry per arrival: what was meant, what was sent, what was answered, and what became of it.

use serde::{Deserialize, Serialize};

/// A task's state on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Queued,
    Running,
    Succeeded,
    DeadLettered,
}

impl TaskStatus {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::DeadLettered)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    Digest,
    Poison,
    Flaky,
    Sleep,
}

/// What becomes of the task in a system without faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    Succeeds,
    DeadLetters,
}

/// What the client knows of its POST.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Outcome {
    /// 202: from now on the task must end.
    Acknowledged { task_id: String },
    /// The service said that nothing was accepted.
    Refused { status: u16, problem_type: Option<String> },
    /// Timeout, broken connection, or an answer of the gateway: the task may exist or not.
    Unknown { reason: String },
    /// The generator never sent it: not counted as attempted.
    Unsent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    pub at_ms: u64,
    pub version: u64,
    pub status: TaskStatus,
}

/// How a final state was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Push,
    Poll,
}

/// The final state of the highest version seen: a redrive may replace one by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// When this final state was first seen.
    pub at_ms: u64,
    pub version: u64,
    pub status: TaskStatus,
    pub source: Source,
}

/// What the second of two equal POSTs was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Duplicate {
    SameTask,
    /// One key made two tasks.
    OtherTask {
        task_id: String,
    },
    /// Refused, or its fate unknown: nothing to compare.
    NoTask,
}

/// What a client tries besides its submission, and no service may accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abuse {
    /// The key of an acknowledged task with another body.
    Conflict,
    /// A body beyond the service's limit, under a key of its own.
    Oversize,
}

impl Abuse {
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Conflict => "its key with another body",
            Self::Oversize => "a body beyond the limit",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub abuse: Abuse,
    pub outcome: Outcome,
}

/// All times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub sequence: u64,
    pub owner: String,
    pub idempotency_key: String,
    pub kind: TaskKind,
    pub expectation: Expectation,
    /// Of the intended start.
    pub phase: String,
    pub intended_at_ms: u64,
    pub sent_at_ms: Option<u64>,
    pub answered_at_ms: Option<u64>,
    pub outcome: Outcome,
    /// How often the POST was sent, repeats after an unknown fate included.
    pub sends: u32,
    pub duplicate: Option<Duplicate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// In the order of their arrival, repeats included.
    pub pushes: Vec<Push>,
    pub final_state: Option<Final>,
    /// Whether the result is right: for a `digest`, equal to the client's own SHA-256. `None` until it succeeded.
    pub result_ok: Option<bool>,
}

impl LedgerEntry {
    pub fn task_id(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Acknowledged { task_id } => Some(task_id),
            Outcome::Refused { .. } | Outcome::Unknown { .. } | Outcome::Unsent => None,
        }
    }

    pub fn is_acknowledged(&self) -> bool {
        self.task_id().is_some()
    }

    /// Acknowledged, and not seen in a final state.
    pub fn is_unfinished(&self) -> bool {
        self.is_acknowledged() && self.final_state.is_none()
    }

    /// Acknowledged and final, but not as a system without faults would have it, or with a wrong result.
    pub fn is_unexpected(&self) -> bool {
        let expected = match self.expectation {
            Expectation::Succeeds => TaskStatus::Succeeded,
            Expectation::DeadLetters => TaskStatus::DeadLettered,
        };
        let other_end = self.final_state.is_some_and(|end| end.status != expected);
        let two_tasks = matches!(self.duplicate, Some(Duplicate::OtherTask { .. }));
        self.is_acknowledged() && (other_end || two_tasks || self.result_ok == Some(false))
    }

    /// What no service may accept was accepted.
    pub fn has_accepted_abuse(&self) -> bool {
        self.probes.iter().any(|probe| matches!(probe.outcome, Outcome::Acknowledged { .. }))
    }
}

/// The run in figures, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Sent at least once.
    pub attempted: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Issued by the clock, never sent: the pool could not take them.
    pub unsent: u64,
    pub succeeded: u64,
    pub dead_lettered: u64,
    /// Acknowledged without a final state.
    pub outstanding: u64,
    /// POSTs sent again because the fate of the one before was unknown.
    pub retries: u64,
    /// From the intended start to the answer, over the whole run so far.
    pub post_p99_ms: f64,
    /// From the intended start to the first push of a final state, over the whole run so far.
    pub end_to_end_p99_ms: f64,
}
