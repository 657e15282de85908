//! Which tasks must be in the dead-letter queue, and which may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use loadtest::{Expectation, LedgerEntry};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::clock::millis;
use crate::experiment::DlqRule;

/// Set equality when both are the same; otherwise `must ⊆ found ⊆ may`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    pub must: BTreeSet<String>,
    pub may: BTreeSet<String>,
    /// Whether every dead letter that is not poison must have been received more often than is allowed.
    pub by_receive_count: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct QueueRules {
    pub visibility_timeout: Duration,
    pub max_receive_count: u64,
    /// How far the clock of the receives may be off.
    pub slack: Duration,
}

/// While a fault was in effect, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub from_ms: u64,
    pub to_ms: u64,
}

pub fn predict(
    rule: DlqRule,
    ledger: &[LedgerEntry],
    records: &BTreeMap<String, Record>,
    throttled: Option<Window>,
    queue: QueueRules,
) -> Prediction {
    let acknowledged = || ledger.iter().filter_map(|entry| Some((entry, entry.task_id()?)));
    let poison: BTreeSet<String> = acknowledged()
        .filter(|(entry, _)| entry.expectation == Expectation::DeadLetters)
        .map(|(_, id)| id.to_owned())
        .collect();
    let mut prediction =
        Prediction { must: poison.clone(), may: poison, by_receive_count: rule == DlqRule::ReceiveCounts };
    match (rule, throttled) {
        (DlqRule::Poison, _) | (DlqRule::ReceiveCounts, None) => {}
        (DlqRule::ReceiveCounts, Some(window)) => {
            for (entry, id) in acknowledged() {
                let fate = receive_fate(entry, window, queue);
                if fate.must {
                    prediction.must.insert(id.to_owned());
                }
                if fate.may {
                    prediction.may.insert(id.to_owned());
                }
            }
        }
        (DlqRule::Deliveries, _) => prediction.may.extend(
            records
                .values()
                .filter(|record| record.deliveries >= queue.max_receive_count)
                .map(|record| record.task_id.clone()),
        ),
    }
    prediction
}

struct Fate {
    must: bool,
    may: bool,
}

/// A throttled consumer's pollers keep receiving, and each receive counts: the first at once, then one per visibility
/// timeout. After `maxReceiveCount` of them the next one sends the message to the dead-letter queue. So a task that was
/// acknowledged that long, and some slack, before the end of the throttle is surely there, and one that was acknowledged
/// later, slack allowed, is surely not. Between the two either is right.
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
