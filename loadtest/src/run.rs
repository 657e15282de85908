//! The life of one run.

use std::time::Duration;

use crate::error::LoadError;
use crate::ledger::{Counts, LedgerEntry};
use crate::outcome::LoadOutcome;
use crate::plan::LoadPlan;
use crate::stack::Stack;

/// A run under way. Dropping it stops the load and closes the sockets.
#[derive(Debug)]
pub struct Running {}

/// Connects the sockets, begins the arrivals, and returns.
///
/// Goose installs a handler for SIGINT and SIGTERM unless the process has one already: a program with a handler of its
/// own must set it, through the `ctrlc` crate, before its first run.
pub async fn start(_stack: &Stack, _plan: LoadPlan) -> Result<Running, LoadError> {
    Err(LoadError::Busy)
}

impl Running {
    /// From now on arrivals belong to the phase `name`.
    pub fn phase(&self, _name: &str) {}

    /// Ends the arrivals early.
    pub fn stop_arrivals(&self) {}

    /// Asks, on its owner's socket, for the state of a task.
    pub fn watch(&self, _sequence: u64) {}

    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    pub fn ledger(&self) -> Vec<LedgerEntry> {
        Vec::new()
    }

    /// Every arrival was issued, and every POST has its outcome.
    pub async fn arrivals_ended(&self) {}

    /// Waits until every acknowledged task has a final state, by push or GET; `false` when `deadline` came first.
    pub async fn settled(&self, _deadline: Duration) -> bool {
        false
    }

    /// Ends the run, reads unfinished tasks once more, and sums up.
    pub async fn finish(self) -> Result<LoadOutcome, LoadError> {
        Err(LoadError::Busy)
    }
}
