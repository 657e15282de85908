//! What the oracle reads, and what it says.

use loadtest::TaskStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manners::are_too_many_away;

/// A task as the table has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub task_id: String,
    pub owner: String,
    pub kind: String,
    pub payload: Value,
    pub status: TaskStatus,
    pub version: u64,
    /// Claims.
    pub attempts: u64,
    /// Highest receive count that a worker saw.
    pub deliveries: u64,
    /// Effects.
    pub completions: u64,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
    pub request_hash: String,
    /// `"{version} {status} {at_ms}"`, oldest first.
    pub history: Vec<String>,
}

/// A message of the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub message_id: String,
    /// As SQS counts: the receives before it became a dead letter, and from then on every look at it.
    pub receive_count: u64,
    /// Of these, those of the looks of the harness, up to the one that shows it.
    pub own_receives: u64,
    pub body: String,
}

impl DeadLetter {
    /// Without the looks of the harness. Those of the auditor are among them.
    pub fn receives(&self) -> u64 {
        self.receive_count.saturating_sub(self.own_receives)
    }
}

/// In order of severity: the worst is shown as the counterexample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyKind {
    /// Acknowledged, and now nowhere: neither done, nor a dead letter, nor waiting.
    Lost,
    /// Requests with different keys were answered with one task: all but one of them are lost.
    SharedTask,
    /// Took effect more than once.
    DuplicateEffect,
    /// The table files it under another owner than the one who asked for it.
    OtherOwner,
    /// Exists, though no request asked for it.
    Unexpected,
    /// The client was told that nothing was accepted, and it was.
    RefusedApplied,
    /// The client's own computation differs.
    WrongResult,
    /// One idempotency key made two tasks.
    SplitKey,
    /// Pushed as what it is not: a version has one status.
    WrongPush,
    /// Must be a dead letter and is not.
    MissingDeadLetter,
    /// Is a dead letter and must not be.
    InnocentDeadLetter,
    /// A dead letter whose body is not what the task was.
    AlteredBody,
    /// In the dead-letter queue twice.
    RepeatedDeadLetter,
    /// A dead letter that was received less often than is allowed, or a delivery beyond that.
    ReceiveCount,
    /// The table's history has a move that no task may make.
    IllegalHistory,
    /// Acknowledged, and not final when the time was up.
    Unfinished,
    /// What no service may take was taken: a key with a second body, or a body beyond the limit.
    AcceptedAbuse,
    /// A failed attempt was repeated at once, as most others were.
    EagerRetry,
    /// Its end was pushed to nobody, as that of too many others.
    MissedPush,
}

impl AnomalyKind {
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Lost => "acknowledged and lost",
            Self::SharedTask => "one task for two keys",
            Self::DuplicateEffect => "took effect more than once",
            Self::OtherOwner => "filed under another owner",
            Self::Unexpected => "exists though nobody asked for it",
            Self::RefusedApplied => "refused and yet applied",
            Self::WrongResult => "succeeded with a wrong result",
            Self::SplitKey => "one idempotency key made two tasks",
            Self::WrongPush => "pushed as what it is not",
            Self::MissingDeadLetter => "missing from the dead-letter queue",
            Self::InnocentDeadLetter => "in the dead-letter queue without cause",
            Self::AlteredBody => "dead letter with another body",
            Self::RepeatedDeadLetter => "in the dead-letter queue twice",
            Self::ReceiveCount => "receive count does not fit its end",
            Self::IllegalHistory => "illegal move in its history",
            Self::Unfinished => "not final in time",
            Self::AcceptedAbuse => "accepted what it must refuse",
            Self::EagerRetry => "tried again without a pause",
            Self::MissedPush => "its end was pushed to nobody",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Anomaly {
    pub kind: AnomalyKind,
    pub task_id: String,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    pub attempted: u64,
    /// Distinct tasks, by the answers of the ledger.
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    pub unsent: u64,
    /// Of the acknowledged: where each is, counted one by one. These four sum to `acknowledged`, or some were overlooked.
    pub succeeded: u64,
    pub dead_lettered: u64,
    pub pending: u64,
    pub lost: u64,
    /// Unknown to the client, and there.
    pub recovered: u64,
    /// Seen by a worker more than once.
    pub redelivered: u64,
    /// In the dead-letter queue although they succeeded: delivered again too often after the effect.
    pub succeeded_dead_letters: u64,
    /// Failed attempts that were followed by another one.
    #[serde(default)]
    pub retries: u64,
    /// Of these: begun again at once.
    #[serde(default)]
    pub eager_retries: u64,
    /// Acknowledged tasks that are final in the table.
    #[serde(default)]
    pub ended: u64,
    /// Of these: whose end no push told.
    #[serde(default)]
    pub missed_pushes: u64,
    /// No push told these either, and their owner had no socket.
    #[serde(default)]
    pub missed_while_away: u64,
}

impl Totals {
    /// Tasks of which it is known where they are, or that they are nowhere.
    pub fn placed(&self) -> u64 {
        self.succeeded + self.dead_lettered + self.pending + self.lost
    }

    /// So many ends found no socket that nothing is known of how ends are pushed.
    pub fn is_pushing_untold(&self) -> bool {
        are_too_many_away(self.missed_while_away, self.ended)
    }
}
