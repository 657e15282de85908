//! Load for the task backend, and the record of what became of every task.
//!
//! Arrivals are open loop: a clock issues them, and every latency counts from the *intended* start, so that a target
//! that stalls cannot hide the stall. Goose users are the pool that sends; WebSocket sessions, one per owner, receive.
//! The [ledger](LedgerEntry) has one entry per arrival, from the intended start to the final state.

pub mod bench;
pub mod loopback;
pub mod open_files;
pub mod stack;
pub mod threshold;
pub mod token;
pub mod verdict;

mod attack;
mod book;
mod clock;
mod error;
mod histogram;
mod job;
mod ledger;
mod nuisance;
mod outcome;
mod plan;
mod reads;
mod run;
mod schedule;
mod session;
mod shared;
mod stop;
mod summary;
mod target;
mod timeline;
mod wire;

pub use error::LoadError;
pub use ledger::{
    Abuse, Counts, Duplicate, Expectation, Final, LedgerEntry, Outcome, Probe, Push, Source, TaskKind,
    TaskStatus,
};
pub use outcome::{
    Absence, ConnectionStats, Latency, LoadOutcome, PhaseStats, ReadDefect, ReadStats, SeriesPoint, Validity,
    WrongRead,
};
pub use plan::{Arrivals, LoadPlan, NuisanceSockets, TaskMix};
pub use run::{Running, start};
pub use summary::{ISSUE_LAG_P99_MAX_MS, UNSENT_SHARE_MAX};
pub use target::{GIVEN_TOKEN_SLACK, TOKEN_VARIABLE, TokenSource, mint, token_source};
pub use threshold::Threshold;
pub use wire::is_denial;
