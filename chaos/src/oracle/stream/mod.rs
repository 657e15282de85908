//! The verdict on data at any size: ledger, table and dead letters are each read once, in any order, kept as facts of a
//! fixed size, sorted by task on disk where memory does not suffice, joined, and judged one task at a time.

mod bench;
mod fact;
mod index;
mod judge;
mod key;
mod rules;
mod shelf;
mod sort;
mod story;
#[cfg(test)]
mod tests;

pub use bench::{Measured, bench};
pub use index::{LedgerIndex, LetterIndex, TableIndex};
pub use judge::{DeadLetterCounts, Evidence, Findings, NAMED_MAX, OracleError, judge};
pub use rules::{Ending, Rules};
pub use shelf::{Records, Shelf, ShelfError};
pub use sort::SpillError;
