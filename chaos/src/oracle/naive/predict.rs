//! Which tasks must be in the dead-letter queue, and which may be.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use loadtest::{Expectation, LedgerEntry, Outcome, TaskKind, TaskStatus};
use serde_json::Value;

use crate::clock::millis;
use crate::experiment::DlqRule;
use crate::oracle::{DeadLetter, QueueRules, Record, Window};

/// Set equality when both are the same; otherwise `must ⊆ found ⊆ may`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::oracle) struct Prediction {
    pub must: BTreeSet<String>,
    pub may: BTreeSet<String>,
    /// By the clock alone, where the receives that workers saw have narrowed it: how many must, and how many may be there.
    pub by_clock: Option<(u64, u64)>,
    /// Of these the clock says that their receives may be used up.
    pub due: BTreeSet<String>,
}

/// What a prediction is made from.
#[derive(Clone, Copy, Debug)]
pub(in crate::oracle) struct Premises<'a> {
    pub ledger: &'a [LedgerEntry],
    /// By the ledger's sequence: the id that the request's idempotency key names, whatever was answered.
    pub named_ids: &'a HashMap<u64, String>,
    pub records: &'a BTreeMap<String, Record>,
    pub dead_letters: &'a [DeadLetter],
    /// Each time that the worker could not run at all.
    pub throttled: &'a [Window],
    pub queue: QueueRules,
}

impl<'a> Premises<'a> {
    fn acknowledged(&self) -> impl Iterator<Item = (&'a LedgerEntry, &'a str)> {
        self.ledger.iter().filter_map(|entry| Some((entry, entry.task_id()?)))
    }

    fn is_ours(&self, letter: &DeadLetter) -> bool {
        let body: Value = serde_json::from_str(&letter.body).unwrap_or_default();
        self.ledger.iter().any(|entry| body["owner"] == entry.owner.as_str())
    }

    /// Of dead letters that were received as often as they may be, by SQS's own count.
    fn letters_used_up(&self) -> BTreeSet<String> {
        let used_up = self
            .dead_letters
            .iter()
            .filter(|letter| letter.receives() >= self.queue.max_receive_count && self.is_ours(letter));
        used_up.filter_map(DeadLetter::task_id).collect()
    }

    /// Those for which `is` holds: acknowledged ones must be there, those of unknown fate may be.
    fn ending(&self, is: impl Fn(&LedgerEntry) -> bool) -> Prediction {
        let must: BTreeSet<String> =
            self.acknowledged().filter(|(entry, _)| is(entry)).map(|(_, id)| id.to_owned()).collect();
        let unknown = self.ledger.iter().filter(|entry| matches!(entry.outcome, Outcome::Unknown { .. }));
        let unknown =
            unknown.filter(|entry| is(entry)).filter_map(|entry| self.named_ids.get(&entry.sequence));
        let may = must.iter().chain(unknown).cloned().collect();
        Prediction { must, may, ..Prediction::default() }
    }
}

pub(in crate::oracle) fn predict(rule: DlqRule, premises: &Premises<'_>) -> Prediction {
    let mut prediction = premises.ending(|entry| entry.expectation == Expectation::DeadLetters);
    match rule {
        DlqRule::ReceiveCounts if !premises.throttled.is_empty() => {
            by_receive_counts(&mut prediction, premises);
        }
        DlqRule::Poison | DlqRule::ReceiveCounts => {}
        DlqRule::Deliveries => {
            let used_up = premises.records.values().filter(|record| is_used_up(record, premises.queue));
            prediction.may.extend(used_up.map(|record| record.task_id.clone()));
        }
        DlqRule::OwnReceives => {
            prediction.may.extend(premises.letters_used_up());
        }
    }
    prediction
}

/// After the dead letters went back and all is quiet: only what can never succeed may be there again.
pub(in crate::oracle) fn after_redrive(premises: &Premises<'_>) -> Prediction {
    premises.ending(|entry| entry.kind == TaskKind::Poison)
}

/// SQS hands out a message no more often than this: what a worker saw on its last receive may be a dead letter next.
fn is_used_up(record: &Record, queue: QueueRules) -> bool {
    record.deliveries >= queue.max_receive_count
}

/// The clock gives a first answer with a margin on both sides. Inside of the margin the message's own receives decide: SQS
/// counts them, and a worker that got the message after the throttle wrote the count down. A task that succeeded on an
/// allowed receive was not yet due; one that no worker ever saw, and that is due by the clock, can be nowhere else.
fn by_receive_counts(prediction: &mut Prediction, premises: &Premises<'_>) {
    let (mut must_by_clock, mut may_by_clock) = (prediction.must.len() as u64, prediction.may.len() as u64);
    let letters_used_up = premises.letters_used_up();
    for (entry, id) in premises.acknowledged() {
        let fates: Vec<Fate> =
            premises.throttled.iter().map(|window| receive_fate(entry, *window, premises.queue)).collect();
        let fate = Fate { must: fates.iter().any(|fate| fate.must), may: fates.iter().any(|fate| fate.may) };
        if fate.may {
            prediction.due.insert(id.to_owned());
        }
        if entry.expectation == Expectation::DeadLetters {
            continue;
        }
        must_by_clock += u64::from(fate.must);
        may_by_clock += u64::from(fate.may);
        if !fate.may {
            continue;
        }
        match premises.records.get(id) {
            Some(record)
                if record.status == TaskStatus::Succeeded
                    && !is_used_up(record, premises.queue)
                    && !letters_used_up.contains(id) => {}
            Some(record) if record.deliveries > 0 => {
                prediction.may.insert(id.to_owned());
            }
            _ => {
                prediction.must.insert(id.to_owned());
                prediction.may.insert(id.to_owned());
            }
        }
    }
    prediction.by_clock = Some((must_by_clock, may_by_clock));
}

struct Fate {
    must: bool,
    may: bool,
}

/// A throttled consumer's pollers keep receiving, and each receive counts: the first at once, then one per visibility
/// timeout. After `maxReceiveCount` of them the next one sends the message to the dead-letter queue. So a task that was
/// acknowledged that long, and some slack, before the end of the throttle is due, and one that was acknowledged later,
/// slack allowed, is not.
fn receive_fate(entry: &LedgerEntry, window: Window, queue: QueueRules) -> Fate {
    let (Some(sent_at_ms), Some(answered_at_ms)) = (entry.sent_at_ms, entry.answered_at_ms) else {
        return Fate { must: false, may: true };
    };
    let life_ms = millis(queue.visibility_timeout).saturating_mul(queue.max_receive_count);
    let slack_ms = millis(queue.slack);
    let surely_inside = sent_at_ms >= window.from_ms + slack_ms;
    Fate {
        must: surely_inside && answered_at_ms + life_ms + slack_ms < window.to_ms,
        may: sent_at_ms + life_ms < window.to_ms + slack_ms,
    }
}
