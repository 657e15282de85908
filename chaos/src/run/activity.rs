//! What worker and sockets did in each second, from the table's histories and the ledger: for the charts.

use std::collections::BTreeMap;

use loadtest::{LedgerEntry, TaskStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::oracle::{Record, steps};

const SECOND_MS: u64 = 1_000;
/// One day of seconds, as in the load's own series.
const POINTS_MAX: usize = 86_400;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivityPoint {
    pub at_ms: u64,
    /// Attempts that a worker began.
    pub claims: u64,
    /// Of these: not the first of their task.
    pub repeated_claims: u64,
    /// Messages about tasks that reached their owner's socket.
    pub pushes: u64,
}

/// By seconds since the epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    seconds: BTreeMap<u64, ActivityPoint>,
}

impl Activity {
    pub(super) fn see(&mut self, record: &Record) {
        let claims = steps(record).filter(|(status, _)| *status == TaskStatus::Running);
        for (number, (_, at_ms)) in claims.enumerate() {
            let second = self.seconds.entry(at_ms / SECOND_MS).or_default();
            second.claims += 1;
            second.repeated_claims += u64::from(number > 0);
        }
    }

    /// One point per second from the first to the last in which something happened, quiet ones included.
    pub(super) fn points(&self, ledger: &[LedgerEntry]) -> Vec<ActivityPoint> {
        let mut seconds = self.seconds.clone();
        for push in ledger.iter().flat_map(|entry| &entry.pushes) {
            seconds.entry(push.at_ms / SECOND_MS).or_default().pushes += 1;
        }
        let (Some(first), Some(last)) = (seconds.keys().next().copied(), seconds.keys().next_back().copied())
        else {
            return Vec::new();
        };
        let point = |second: u64| ActivityPoint {
            at_ms: second * SECOND_MS,
            ..seconds.get(&second).copied().unwrap_or_default()
        };
        (first..=last).take(POINTS_MAX).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(history: &[&str]) -> Record {
        let history: Vec<String> = history.iter().map(|line| (*line).to_owned()).collect();
        serde_json::from_value(serde_json::json!({
            "task_id": "a", "owner": "o", "kind": "digest", "payload": null, "status": "succeeded", "version": 5,
            "attempts": 2, "deliveries": 2, "completions": 1, "created_at_ms": 0, "updated_at_ms": 0,
            "request_hash": "", "history": history,
        }))
        .unwrap()
    }

    #[test]
    fn a_second_attempt_counts_as_repeated_in_its_own_second_and_quiet_seconds_are_zero() {
        let record = record(&[
            "1 queued 1000",
            "2 running 1500",
            "3 queued 1600",
            "4 running 4200",
            "5 succeeded 4300",
        ]);
        let mut activity = Activity::default();
        assert_eq!(activity.points(&[]), []);
        activity.see(&record);
        let points = activity.points(&[]);
        let seen: Vec<_> =
            points.iter().map(|point| (point.at_ms, point.claims, point.repeated_claims)).collect();
        assert_eq!(seen, [(1000, 1, 0), (2000, 0, 0), (3000, 0, 0), (4000, 1, 1)]);
    }
}
