//! The verdict on data: the clients' ledger against the table, the dead-letter queue and the queue. Pure: no AWS here.
//!
//! It has any size: ledger, table and dead letters are each read once, in any order, kept as facts of a fixed size, sorted
//! by task on disk where memory does not suffice, joined, and judged one task at a time.

mod bench;
mod counterexample;
mod fact;
mod history;
mod index;
mod judge;
mod key;
mod manners;
mod model;
#[cfg(test)]
mod naive;
mod rules;
mod shelf;
mod sort;
mod story;
#[cfg(test)]
mod tests;

pub use bench::{Measured, bench};
pub use counterexample::{Counterexample, Event};
pub(crate) use fact::Body;
pub use history::{begun_at_ms, steps};
pub use index::{LedgerIndex, LetterIndex, TableIndex};
pub use judge::{DeadLetterCounts, Evidence, Findings, NAMED_MAX, OracleError, judge};
pub(crate) use key::TaskKey;
pub use manners::EAGER_GAP_MS;
pub use model::{Anomaly, AnomalyKind, DeadLetter, Record, Totals};
pub use rules::{Absences, Ending, QueueRules, Rules, Window};
pub use shelf::{Records, Shelf, ShelfError};
pub use sort::SpillError;
