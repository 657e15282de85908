//! What a run found.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ledger::{Counts, LedgerEntry};
use crate::plan::LoadPlan;

/// Milliseconds with microsecond grain; all zero when `count` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Of the arrivals whose intended start lies in the phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseStats {
    pub name: String,
    pub began_at_ms: u64,
    pub attempted: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    pub unsent: u64,
    pub succeeded: u64,
    pub dead_lettered: u64,
    /// Intended start to the answer of the POST, whatever it was.
    pub post: Latency,
    /// Intended start to the first push of a final state.
    pub end_to_end: Latency,
    /// Answer of the POST to the first push of a final state.
    pub push: Latency,
    /// Final states that no push told, and a GET did.
    pub finals_by_poll: u64,
    /// Of the refused: those that were answered 401 or 403, and do not straddle.
    #[serde(default)]
    pub denied: u64,
    /// Of the refused and the unknown: those whose answer came in a later phase. Which of the two phases is the cause nobody knows.
    /// What a token that was given was denied does not straddle: it is the doing of neither.
    #[serde(default)]
    pub straddling: u64,
    /// Of the straddling: those of unknown fate that were late already when the later phase began.
    #[serde(default)]
    pub straddling_unknown: u64,
    #[serde(default)]
    pub reads: ReadStats,
}

/// Of the reads, GET /tasks and GET /tasks/{id}, that began in the phase. Of those besides the rate, which look for ends that no
/// push has told, only what must not be: what is wrong, and that a token is not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadStats {
    pub right: u64,
    /// Answered with an error, and with one again where the first may have passed by itself.
    pub refused: u64,
    /// Not answered, or with a body that shows no task.
    pub unanswered: u64,
    /// Answered with what must not be shown.
    pub wrong: u64,
    /// Of the refused: those that were answered 401 or 403.
    pub denied: u64,
    /// Pages with more tasks that no answer had named than could be kept until all answers are in.
    #[serde(default)]
    pub unjudged: u64,
    /// Of the refused and the unanswered: those that were late already when the next phase began, and were sent again in vain. Which of
    /// the two phases is the cause nobody knows.
    #[serde(default)]
    pub straddling: u64,
}

impl ReadStats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.wrong += other.wrong;
        self.denied += other.denied;
        self.unjudged += other.unjudged;
        self.straddling += other.straddling;
    }

    pub fn all(&self) -> u64 {
        self.right + self.refused + self.unanswered + self.wrong + self.unjudged
    }
}

/// What is wrong with what a read showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadDefect {
    /// Another task than the one that was asked for.
    OtherTask,
    /// A result that is not that of what was sent, or none.
    OtherResult,
    /// An older version than a read before it had shown.
    WentBack,
    /// A task of another owner.
    OtherOwner,
    /// A task that the owner never submitted.
    NeverSubmitted,
    /// Another status than a push of the same version had.
    OtherStatus,
    /// No task of an owner who has some.
    ShowsNone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongRead {
    /// Who read.
    pub owner: String,
    /// What was asked for, or of a page what it must not show, or must.
    pub task_id: String,
    pub defect: ReadDefect,
}

/// One second of the run, for charts. Latencies belong to the second of the intended start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesPoint {
    pub at_ms: u64,
    pub phase: String,
    pub attempted: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Final states seen in this second.
    pub finals: u64,
    /// Acknowledged and not final at the end of this second.
    pub outstanding: u64,
    pub post_p50_ms: Option<f64>,
    pub post_p99_ms: Option<f64>,
    pub end_to_end_p50_ms: Option<f64>,
    pub end_to_end_p99_ms: Option<f64>,
}

/// Whether the figures are of the target, or of a generator that could not keep up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Validity {
    Valid,
    Invalid { reason: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStats {
    /// Sessions opened, reconnects included.
    pub connects: u64,
    pub connect_failures: u64,
    /// Sessions that ended before the run did.
    pub disconnects: u64,
    /// By close code; `none` when the connection broke without one.
    pub closes: BTreeMap<String, u64>,
    pub connect: Latency,
    pub pongs: u64,
    pub ping: Latency,
    /// Pushes of tasks of this run.
    pub pushes: u64,
    /// Of a version that the same task had already shown.
    pub pushes_repeated: u64,
    /// Of a version below one already seen.
    pub pushes_reordered: u64,
    /// That beat the answer of their POST.
    pub pushes_early: u64,
    /// Of tasks that no answer has named: left by an unknown POST, or asked for by the owner before or elsewhere.
    pub pushes_unclaimed: u64,
    /// Of tasks that this run asked for, and that reached a session of another owner.
    pub pushes_misrouted: u64,
    /// Frames that are no message of the contract.
    pub frames_unreadable: u64,
    /// Error messages, for example as the answer to a watch.
    pub errors: u64,
    pub watches: u64,
    /// Reads of unfinished tasks after a reconnect.
    pub catch_up_reads: u64,
    /// Nuisance sockets: opened to be silent, messages read slowly, dropped without a close.
    #[serde(default)]
    pub nuisance_silent: u64,
    #[serde(default)]
    pub nuisance_reads: u64,
    #[serde(default)]
    pub nuisance_drops: u64,
}

/// While an owner had no session: from the last that was heard of one until the next was open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    pub owner: String,
    pub from_ms: u64,
    /// None: it did not come back before the end of the run.
    pub to_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadOutcome {
    pub plan: LoadPlan,
    pub counts: Counts,
    pub ledger: Vec<LedgerEntry>,
    pub phases: Vec<PhaseStats>,
    /// All phases together; percentiles from the added histograms.
    pub total: PhaseStats,
    pub series: Vec<SeriesPoint>,
    pub validity: Validity,
    /// How late the clock issued the arrivals: the generator's own share of every latency.
    pub issue_lag: Latency,
    /// How long arrivals waited for a free worker.
    pub pool_wait: Latency,
    pub connection_stats: ConnectionStats,
    #[serde(default)]
    pub absences: Vec<Absence>,
    /// The first of the wrong reads; the phases count all.
    #[serde(default)]
    pub wrong_reads: Vec<WrongRead>,
    /// Tokens were not made for the run: there is one, and its end is not the service's doing.
    #[serde(default)]
    pub is_token_given: bool,
    /// Goose's own metrics, histogram buckets included, so that runs of many machines can be merged exactly.
    pub goose: serde_json::Value,
}

impl LoadOutcome {
    /// Requests and reads that were answered 401 or 403, where that says something of the token and not of the service.
    pub fn tokens_denied(&self) -> u64 {
        if self.is_token_given { self.total.denied + self.total.reads.denied } else { 0 }
    }
}
