//! The three sides of the evidence, each read once, in any order, and kept as sorted facts.

use std::collections::HashSet;
use std::path::Path;

use loadtest::{LedgerEntry, Outcome};

use super::fact::{EntryFact, LetterFact, RecordFact};
use super::key::hash64;
use super::sort::{BUFFER_FACTS, Sorter, SpillError};
use crate::oracle::{DeadLetter, Record, Totals};

/// The clients' side.
#[derive(Debug)]
pub struct LedgerIndex {
    pub(super) facts: Sorter<EntryFact>,
    pub(super) owners: HashSet<u64>,
    /// Only its counts of requests are filled; as acknowledged each answer counts, also where several name one task.
    pub(super) totals: Totals,
}

impl LedgerIndex {
    /// `dir` is where what does not fit in memory is spilled, in files without a name.
    pub fn new(dir: &Path) -> Self {
        Self::with_buffer(dir, BUFFER_FACTS)
    }

    pub(super) fn with_buffer(dir: &Path, facts: usize) -> Self {
        Self { facts: Sorter::new(dir, facts), owners: HashSet::new(), totals: Totals::default() }
    }

    /// `position` is how a [`Shelf`](super::Shelf) finds the entry again; `named` is the id that its idempotency key names.
    pub fn add(&mut self, position: u64, entry: &LedgerEntry, named: Option<&str>) -> Result<(), SpillError> {
        self.owners.insert(hash64(entry.owner.as_bytes()));
        count(&mut self.totals, &entry.outcome);
        EntryFact::of(position, entry, named).try_for_each(|fact| self.facts.push(fact))
    }
}

fn count(totals: &mut Totals, outcome: &Outcome) {
    match outcome {
        Outcome::Unsent => totals.unsent += 1,
        Outcome::Acknowledged { .. } => {
            totals.attempted += 1;
            totals.acknowledged += 1;
        }
        Outcome::Refused { .. } => {
            totals.attempted += 1;
            totals.refused += 1;
        }
        Outcome::Unknown { .. } => {
            totals.attempted += 1;
            totals.unknown += 1;
        }
    }
}

/// The table's side.
#[derive(Debug)]
pub struct TableIndex {
    pub(super) facts: Sorter<RecordFact>,
}

impl TableIndex {
    pub fn new(dir: &Path) -> Self {
        Self::with_buffer(dir, BUFFER_FACTS)
    }

    pub(super) fn with_buffer(dir: &Path, facts: usize) -> Self {
        Self { facts: Sorter::new(dir, facts) }
    }

    pub fn add(&mut self, position: u64, record: &Record) -> Result<(), SpillError> {
        self.facts.push(RecordFact::of(position, record))
    }
}

/// The dead-letter queue's side.
#[derive(Debug)]
pub struct LetterIndex {
    pub(super) facts: Sorter<LetterFact>,
    pub(super) total: u64,
}

impl LetterIndex {
    pub fn new(dir: &Path) -> Self {
        Self::with_buffer(dir, BUFFER_FACTS)
    }

    pub(super) fn with_buffer(dir: &Path, facts: usize) -> Self {
        Self { facts: Sorter::new(dir, facts), total: 0 }
    }

    pub fn add(&mut self, position: u64, letter: &DeadLetter) -> Result<(), SpillError> {
        self.total += 1;
        LetterFact::of(position, letter).map_or(Ok(()), |fact| self.facts.push(fact))
    }

    /// One that is known to be nobody's of this run.
    pub fn pass_over(&mut self) {
        self.total += 1;
    }
}
