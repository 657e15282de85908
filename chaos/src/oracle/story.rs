//! The counterexample: of the worst kind of anomaly, the task whose story is shortest. It is chosen by counts while all
//! tasks pass by, and only the chosen one is fetched.

use std::cmp::Reverse;

use super::judge::Case;
use super::key::TaskKey;
use super::shelf::{Shelf, ShelfError};
use crate::oracle::counterexample::{Sides, tell};
use crate::oracle::{Anomaly, AnomalyKind, Counterexample};

/// Of a request: the POST and its answer.
const CLIENT_EVENTS: usize = 2;

#[derive(Debug)]
pub(super) struct Candidate {
    kind: AnomalyKind,
    has_client: bool,
    events: usize,
    key: Option<TaskKey>,
    entry: Option<u64>,
    record: Option<u64>,
    letter: Option<u64>,
    anomaly: Option<Anomaly>,
}

impl Candidate {
    pub(super) fn of(kind: AnomalyKind, case: &Case) -> Self {
        let entry = case.entries.first();
        let client = entry.map_or(0, |entry| CLIENT_EVENTS + usize::from(entry.pushes));
        // Its steps, and the row as it is now.
        let table = case.record.map_or(0, |record| usize::from(record.steps) + 1);
        Self {
            kind,
            has_client: entry.is_some(),
            events: client + table,
            key: case.key,
            entry: entry.map(|entry| entry.position),
            record: case.record.map(|record| record.position),
            letter: case.letters.first().map(|letter| letter.position),
            anomaly: None,
        }
    }

    /// A worse anomaly, or one as bad whose story is better: one that knows the client's side tells more than one that
    /// does not, a short one more than a long one, and of two alike the first.
    pub(super) fn tells_more_than(&self, other: &Self) -> bool {
        let rank = |one: &Self| (one.kind, Reverse(one.has_client), one.events, one.key);
        rank(self) < rank(other)
    }

    pub(super) fn with(self, anomaly: Anomaly) -> Self {
        Self { anomaly: Some(anomaly), ..self }
    }
}

pub(super) fn story(
    candidate: Candidate,
    shelf: &impl Shelf,
    remaining: u64,
    at_ms: u64,
) -> Result<Option<Counterexample>, ShelfError> {
    let entry = candidate.entry.map(|position| shelf.entry(position)).transpose()?;
    let record = candidate.record.map(|position| shelf.record(position)).transpose()?;
    let letter = candidate.letter.map(|position| shelf.letter(position)).transpose()?;
    let sides =
        Sides { entry: entry.as_ref(), record: record.as_ref(), letter: letter.as_ref(), remaining, at_ms };
    Ok(candidate.anomaly.map(|anomaly| tell(&anomaly, &sides)))
}
