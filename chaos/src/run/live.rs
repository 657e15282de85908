//! What is known of a run while it lasts: one snapshot that the terminal draws and the local page follows.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loadtest::Counts;
use serde::Serialize;
use tokio::sync::watch;

use super::Verdict;
use crate::clock::now_ms;
use crate::observe::Sample;

/// Ten minutes of seconds for a page that is opened late.
const POINTS_MAX: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultState {
    Waiting,
    Active,
    PutBack,
}

/// A fault on the timeline of its experiment, in milliseconds since the load began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveFault {
    pub name: String,
    pub starts_ms: u64,
    pub ends_ms: u64,
    pub state: FaultState,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub name: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    pub run_id: String,
    pub experiment: String,
    /// The experiment's place among all, from 1.
    pub number: usize,
    pub of: usize,
    pub phase: String,
    pub began_at_ms: u64,
    pub load_began_at_ms: Option<u64>,
    /// For how long requests arrive.
    pub load_ms: u64,
    pub at_ms: u64,
    pub faults: Vec<LiveFault>,
    pub counts: Counts,
    /// Arrivals in the last second that was measured.
    pub arrivals_per_second: f64,
    pub queue: Option<Sample>,
    pub judged: Vec<Judged>,
    /// Set once, at the very end.
    pub verdict: Option<Verdict>,
}

/// A second of the experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LivePoint {
    pub at_ms: u64,
    pub arrivals_per_second: f64,
    pub completed: u64,
    pub post_p99_ms: f64,
    pub queue: Option<Sample>,
}

/// A snapshot with what a page needs to draw what came before it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Past {
    pub now: Snapshot,
    pub points: Vec<LivePoint>,
}

#[derive(Debug, Default)]
pub struct Live {
    now: watch::Sender<Snapshot>,
    points: Mutex<VecDeque<LivePoint>>,
}

impl Live {
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.now.subscribe()
    }

    pub fn snapshot(&self) -> Snapshot {
        self.now.borrow().clone()
    }

    pub fn past(&self) -> Past {
        Past { now: self.snapshot(), points: self.points().iter().cloned().collect() }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.now.send_modify(|now| {
            now.at_ms = now_ms();
            change(now);
        });
    }

    pub(super) fn begin(&self, experiment: &str) {
        self.points().clear();
        self.change(|now| {
            *now = Snapshot {
                run_id: std::mem::take(&mut now.run_id),
                experiment: experiment.to_owned(),
                number: now.number + 1,
                of: now.of,
                phase: "setting up".into(),
                began_at_ms: now.at_ms,
                at_ms: now.at_ms,
                judged: std::mem::take(&mut now.judged),
                ..Snapshot::default()
            };
        });
    }

    pub(super) fn observe(&self, counts: &Counts, queue: Option<Sample>) {
        self.change(|now| {
            let before = self.points().back().map(|point| point.at_ms).or(now.load_began_at_ms);
            now.arrivals_per_second = rate(now.counts.attempted, counts.attempted, before, now.at_ms);
            now.counts = *counts;
            now.queue = queue;
        });
        let now = self.snapshot();
        let mut points = self.points();
        if points.len() >= POINTS_MAX {
            points.pop_front();
        }
        points.push_back(LivePoint {
            at_ms: now.at_ms,
            arrivals_per_second: now.arrivals_per_second,
            completed: counts.succeeded + counts.dead_lettered,
            post_p99_ms: counts.post_p99_ms,
            queue,
        });
    }

    fn points(&self) -> MutexGuard<'_, VecDeque<LivePoint>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds of a run are far below 2^53")]
fn rate(before: u64, now: u64, since_ms: Option<u64>, at_ms: u64) -> f64 {
    let elapsed_ms = at_ms.saturating_sub(since_ms.unwrap_or(at_ms));
    if elapsed_ms == 0 { 0.0 } else { now.saturating_sub(before) as f64 * 1000.0 / elapsed_ms as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_experiment_forgets_the_one_before_and_keeps_its_verdict() {
        let live = Live::default();
        live.change(|now| now.of = 2);
        live.begin("first");
        live.observe(&Counts { attempted: 10, ..Counts::default() }, None);
        live.change(|now| now.judged.push(Judged { name: "first".into(), verdict: Verdict::Pass }));
        live.begin("second");
        let past = live.past();
        assert_eq!((past.now.number, past.now.of, past.now.counts.attempted), (2, 2, 0));
        assert_eq!(past.now.judged.len(), 1);
        assert_eq!(past.points, []);
    }

    #[test]
    fn arrivals_are_counted_over_the_time_since_the_last_look() {
        assert!((rate(10, 50, Some(1_000), 3_000) - 20.0).abs() < f64::EPSILON);
        assert!(rate(0, 50, None, 3_000).abs() < f64::EPSILON);
    }
}
