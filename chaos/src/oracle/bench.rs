//! A generated run of any size, judged: how much memory and time the oracle needs.

use std::path::Path;
use std::time::{Duration, Instant};

use loadtest::{Expectation, Final, LedgerEntry, Outcome, Push, Source, TaskKind, TaskStatus};
use serde_json::json;

use super::{
    Absences, Ending, Evidence, Findings, LedgerIndex, LetterIndex, OracleError, Rules, Shelf, ShelfError,
    TableIndex, judge,
};
use crate::experiment::DlqRule;
use crate::oracle::{DeadLetter, QueueRules, Record};

const MAX_RECEIVE_COUNT: u64 = 5;
const OWNERS: u64 = 16;
/// One task in so many is poison, one is retried, one was answered by nothing.
const POISON_ONE_IN: u64 = 50;
const RETRIED_ONE_IN: u64 = 10;
const UNKNOWN_ONE_IN: u64 = 1_000;
/// Between two steps of a history.
const STEP_MS: u64 = 1_000;
/// No generated task has more.
const LAST_VERSION: u64 = 5;
const EPOCH_MS: u64 = 1_700_000_000_000;
/// An odd factor: multiplication by it visits every id once, in an order that no id order resembles.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub struct Measured {
    pub findings: Findings,
    /// To make the tasks, without reading them: it is not the oracle's.
    pub generated_in: Duration,
    /// From the first entry read to the verdict, generation included.
    pub judged_in: Duration,
}

/// Generates and judges `tasks` tasks, of which the one in the middle was lost.
pub fn bench(tasks: u64, dir: &Path) -> Result<Measured, OracleError> {
    let generated = Generated { tasks };
    let began = Instant::now();
    generated.walk();
    let generated_in = began.elapsed();
    let began = Instant::now();
    let findings = judge(generated.evidence(dir)?, &rules(), &generated)?;
    Ok(Measured { findings, generated_in, judged_in: began.elapsed() })
}

pub(super) fn rules() -> Rules {
    let queue = QueueRules {
        visibility_timeout: Duration::from_secs(6),
        max_receive_count: MAX_RECEIVE_COUNT,
        slack: Duration::ZERO,
    };
    Rules {
        dead_letters: Ending::By(DlqRule::Poison),
        throttled: Vec::new(),
        queue,
        faults_end_ms: None,
        calm_from_ms: None,
        missed_pushes_percent_max: 1.0,
        absences: Absences::default(),
    }
}

/// Everything is computed from the position of a task, so that nothing needs to be kept.
struct Generated {
    tasks: u64,
}

impl Generated {
    fn walk(&self) {
        for position in 0..self.tasks {
            std::hint::black_box((self.request(position), self.row(position)));
        }
    }

    fn evidence(&self, dir: &Path) -> Result<Evidence, OracleError> {
        let (mut ledger, mut table) = (LedgerIndex::new(dir), TableIndex::new(dir));
        let mut dead_letters = LetterIndex::new(dir);
        for position in 0..self.tasks {
            let entry = self.request(position);
            ledger.add(position, &entry, Some(&task_id(position)))?;
            if let Some(record) = self.row(position) {
                table.add(position, &record)?;
            }
            if is_poison(position) {
                dead_letters.add(position, &self.dead_letter(position))?;
            }
        }
        Ok(Evidence { ledger, table, dead_letters, remaining: 0, at_ms: EPOCH_MS + self.tasks })
    }

    fn request(&self, position: u64) -> LedgerEntry {
        let at_ms = EPOCH_MS + position;
        let outcome = match position % UNKNOWN_ONE_IN {
            1 => Outcome::Unknown { reason: "timeout".into() },
            _ => Outcome::Acknowledged { task_id: task_id(position) },
        };
        let status = if is_poison(position) { TaskStatus::DeadLettered } else { TaskStatus::Succeeded };
        let pushes = [(2, TaskStatus::Running), (LAST_VERSION, status)];
        LedgerEntry {
            sequence: position,
            owner: owner(position),
            idempotency_key: format!("bench-{position}"),
            kind: if is_poison(position) { TaskKind::Poison } else { TaskKind::Digest },
            expectation: if is_poison(position) { Expectation::DeadLetters } else { Expectation::Succeeds },
            phase: "before".into(),
            intended_at_ms: at_ms,
            sent_at_ms: Some(at_ms),
            answered_at_ms: Some(at_ms + 5),
            outcome,
            sends: 1,
            duplicate: None,
            probes: Vec::new(),
            pushes: pushes.map(|(version, status)| Push { at_ms: at_ms + version, version, status }).into(),
            final_state: Some(Final { at_ms: at_ms + 3, version: 3, status, source: Source::Push }),
            result_ok: Some(true),
        }
    }

    fn row(&self, position: u64) -> Option<Record> {
        use TaskStatus::{DeadLettered, Queued, Running, Succeeded};
        let steps: &[TaskStatus] = match position {
            lost if lost == self.tasks / 2 && !is_poison(lost) => return None,
            poison if is_poison(poison) => &[Queued, Running, DeadLettered],
            retried if retried % RETRIED_ONE_IN == 3 => &[Queued, Running, Queued, Running, Succeeded],
            _ => &[Queued, Running, Succeeded],
        };
        let at_ms = EPOCH_MS + position;
        let step = |(version, status): (u64, &TaskStatus)| {
            format!("{version} {} {}", name(*status), at_ms + version * STEP_MS)
        };
        let status = steps.last().copied()?;
        Some(Record {
            task_id: task_id(position),
            owner: owner(position),
            kind: "digest".into(),
            payload: json!({"text": "bench"}),
            status,
            version: steps.len() as u64,
            attempts: 1,
            deliveries: if steps.len() > 3 { 2 } else { 1 },
            completions: u64::from(status == Succeeded),
            created_at_ms: at_ms,
            updated_at_ms: at_ms + steps.len() as u64 * STEP_MS,
            request_hash: "hash".into(),
            history: (1..).zip(steps).map(step).collect(),
        })
    }

    fn dead_letter(&self, position: u64) -> DeadLetter {
        let body = json!({
            "schema": 1, "task_id": task_id(position), "owner": owner(position), "kind": "digest",
            "payload": {"text": "bench"}, "created_at_ms": EPOCH_MS + position, "request_hash": "hash",
        });
        DeadLetter {
            message_id: format!("message-{position}"),
            receive_count: MAX_RECEIVE_COUNT + 1,
            own_receives: 1,
            body: body.to_string(),
        }
    }
}

impl Shelf for Generated {
    fn entry(&self, position: u64) -> Result<LedgerEntry, ShelfError> {
        Ok(self.request(position))
    }

    fn record(&self, position: u64) -> Result<Record, ShelfError> {
        self.row(position).ok_or(ShelfError::Missing { what: "record", position })
    }

    fn letter(&self, position: u64) -> Result<DeadLetter, ShelfError> {
        Ok(self.dead_letter(position))
    }

    fn named_id(&self, entry: &LedgerEntry) -> Option<String> {
        Some(task_id(entry.sequence))
    }
}

fn is_poison(position: u64) -> bool {
    position % POISON_ONE_IN == 7
}

fn name(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Queued => "queued",
        TaskStatus::Running => "running",
        TaskStatus::Succeeded => "succeeded",
        TaskStatus::DeadLettered => "dead_lettered",
    }
}

fn owner(position: u64) -> String {
    format!("bench-{}", position % OWNERS)
}

/// A UUID of version 5, as the service's are, far from that of the task before.
fn task_id(position: u64) -> String {
    let scattered = position.wrapping_mul(SCATTER);
    uuid::Builder::from_sha1_bytes((u128::from(scattered) << 64 | u128::from(position)).to_be_bytes())
        .into_uuid()
        .to_string()
}

#[cfg(test)]
pub(super) fn record_for_tests(position: u64) -> Record {
    Generated { tasks: u64::MAX }
        .row(position)
        .expect("invariant: only the task in the middle of a run is lost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::AnomalyKind;

    #[test]
    fn the_generated_run_has_one_lost_task_and_the_oracle_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let findings = bench(1_000, dir.path()).unwrap().findings;
        assert_eq!(findings.count(AnomalyKind::Lost), 1);
        assert_eq!(findings.anomalies.len(), 1, "{:?}", findings.anomalies);
        assert_eq!(findings.anomalies[0].task_id, task_id(500));
        assert_eq!(findings.dead_letters.found, 20);
        assert_eq!(findings.totals.redelivered, 100);
        let story = findings.counterexample.unwrap();
        assert!(story.timeline.iter().any(|event| event.source == "client"));
    }
}
