//! What the plain oracle reads, and what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use loadtest::LedgerEntry;

use super::Prediction;
use crate::oracle::{Anomaly, AnomalyKind, DeadLetter, Record, Totals};

/// Everything that is known at the moment of judgement.
#[derive(Debug)]
pub(in crate::oracle) struct Evidence<'a> {
    pub ledger: &'a [LedgerEntry],
    /// By the ledger's sequence: the id that the request's idempotency key names, whatever was answered.
    pub named_ids: &'a HashMap<u64, String>,
    pub records: &'a BTreeMap<String, Record>,
    pub dead_letters: &'a [DeadLetter],
    /// Messages that are still in the tasks queue: visible, in flight or delayed.
    pub remaining: u64,
    /// The dead letters were moved back.
    pub is_moved_back: bool,
    pub prediction: &'a Prediction,
    pub max_receive_count: u64,
    /// From then on no fault keeps a receive from the workers.
    pub calm_from_ms: Option<u64>,
    pub at_ms: u64,
    /// Share of final tasks whose end no push need have told: a push is best effort.
    pub missed_pushes_percent_max: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::oracle) struct Findings {
    pub totals: Totals,
    pub anomalies: Vec<Anomaly>,
    /// This run's ids in the dead-letter queue.
    pub dead_letters: BTreeSet<String>,
    /// How many of them were likely received as often as is allowed.
    pub receives_likely: u64,
    /// Of how many nothing is known.
    pub receives_untold: u64,
}

impl Findings {
    pub(in crate::oracle) fn add(&mut self, kind: AnomalyKind, task_id: &str, detail: impl Into<String>) {
        self.anomalies.push(Anomaly { kind, task_id: task_id.to_owned(), detail: detail.into() });
    }

    pub(in crate::oracle) fn of(&self, kind: AnomalyKind) -> impl Iterator<Item = &Anomaly> {
        self.anomalies.iter().filter(move |anomaly| anomaly.kind == kind)
    }

    pub(in crate::oracle) fn count(&self, kind: AnomalyKind) -> u64 {
        self.of(kind).count() as u64
    }

    pub(in crate::oracle) fn ids(&self, kind: AnomalyKind) -> Vec<String> {
        self.of(kind).map(|anomaly| anomaly.task_id.clone()).collect()
    }
}
