//! Looking into the dead-letter queue: marks the records of what lies there, and never deletes.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde::Serialize;

use crate::deadline::within;
use crate::error::PortError;
use crate::id::TaskId;
use crate::limits;
use crate::message::QueueMessage;
use crate::ports::{Change, Changes, Clock, Created, DeadLetter, DeadLetters, Swapped, TaskStore};
use crate::record::TaskRecord;
use crate::state::{Event, Judge, Refused};
use crate::time::EpochMs;
use crate::wire::TaskError;

/// What one audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditSummary {
    pub seen: u32,
    pub marked: u32,
    /// Already dead-lettered, or succeeded in spite of the message here.
    pub already_final: u32,
    pub malformed: u32,
    /// Being worked on, or not to be written now: left for the next audit.
    pub deferred: u32,
    /// The first of the marked and the already final.
    pub task_ids: Vec<TaskId>,
}

#[derive(Debug)]
pub struct Auditor<S, D, C, N> {
    pub store: S,
    pub dead_letters: D,
    pub clock: C,
    pub changes: N,
}

enum Finding {
    Marked(TaskId),
    AlreadyFinal(TaskId),
    Malformed,
    Deferred,
}

impl<S: TaskStore, D: DeadLetters, C: Clock, N: Changes> Auditor<S, D, C, N> {
    /// Peeks until nothing new is found, or `deadline` is near.
    pub async fn audit(&self, deadline: EpochMs) -> Result<AuditSummary, PortError> {
        let answer_by = deadline.minus(limits::ANSWER_MARGIN);
        let mut summary = AuditSummary::default();
        let mut met = HashSet::new();
        for _ in 0..limits::AUDIT_ROUNDS_MAX {
            if self.clock.now() >= deadline.minus(limits::AUDIT_ROUND_TIME) {
                break;
            }
            let peek = within(&self.clock, answer_by, self.dead_letters.peek(limits::AUDIT_VISIBILITY));
            let Some(letters) = peek.await else { break };
            let mut letters = letters?;
            letters.retain(|letter| met.insert(letter.message_id.clone()));
            if letters.is_empty() {
                break;
            }
            for finding in join_all(letters.iter().map(|letter| self.examine(letter, answer_by))).await {
                summary.add(&finding);
            }
        }
        Ok(summary)
    }

    async fn examine(&self, letter: &DeadLetter, answer_by: EpochMs) -> Finding {
        let Ok(message) = QueueMessage::parse(&letter.body) else {
            return Finding::Malformed;
        };
        match within(&self.clock, answer_by, self.mark(&message)).await {
            Some(Ok(finding)) => finding,
            Some(Err(_)) | None => Finding::Deferred,
        }
    }

    async fn mark(&self, message: &QueueMessage) -> Result<Finding, PortError> {
        let mut known = self.store.get(message.task_id).await?;
        for _ in 0..limits::SWAP_ROUNDS_MAX {
            let before = known.clone().unwrap_or_else(|| TaskRecord::queued(message));
            let after = match before.advance(&dead_letter(&before), self.clock.now()) {
                Ok(after) => after,
                Err(Refused::AlreadySucceeded | Refused::AlreadyDeadLettered) => {
                    return Ok(Finding::AlreadyFinal(message.task_id));
                }
                Err(Refused::LeaseHeld { .. } | Refused::LeaseLost) => return Ok(Finding::Deferred),
            };
            let found = match &known {
                Some(before) => self.store.swap(before, &after).await?,
                None => match self.store.create(&after).await? {
                    Created::New => Swapped::Done,
                    Created::Exists(stored) => Swapped::Conflict(Some(stored)),
                },
            };
            match found {
                Swapped::Done => {
                    self.changes.changed(Change { owner: after.owner.clone(), task: after.to_wire() });
                    return Ok(Finding::Marked(message.task_id));
                }
                Swapped::Conflict(stored) => known = stored.map(|stored| *stored),
            }
        }
        Ok(Finding::Deferred)
    }
}

/// Keeps the reason of the last attempt, if there was one.
fn dead_letter(before: &TaskRecord) -> Event {
    let error = before.error.clone().unwrap_or_else(|| TaskError {
        kind: "dead_lettered".into(),
        message: "the message was delivered too often without an answer".into(),
    });
    Event::DeadLetter { judge: Judge::Auditor, error }
}

impl AuditSummary {
    fn add(&mut self, finding: &Finding) {
        self.seen += 1;
        match finding {
            Finding::Marked(_) => self.marked += 1,
            Finding::AlreadyFinal(_) => self.already_final += 1,
            Finding::Malformed => self.malformed += 1,
            Finding::Deferred => self.deferred += 1,
        }
        if let Finding::Marked(id) | Finding::AlreadyFinal(id) = finding
            && self.task_ids.len() < limits::AUDIT_TASK_IDS_MAX
        {
            self.task_ids.push(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;
    use crate::id::Owner;
    use crate::idempotency::{fresh_task_id, request_hash};
    use crate::message::SCHEMA;
    use crate::testing::{ManualClock, Memory, SeededRandom};
    use crate::time::DurationMs;

    const START: EpochMs = EpochMs(1_800_000_000_000);

    /// A queue with no end: each receive brings the most that one can, all of them new.
    struct Endless<'a> {
        clock: &'a ManualClock,
        receive_takes: DurationMs,
        random: SeededRandom,
        peeks: AtomicU32,
    }

    impl DeadLetters for &Endless<'_> {
        async fn peek(&self, visibility: DurationMs) -> Result<Vec<DeadLetter>, PortError> {
            assert_eq!(visibility, limits::AUDIT_VISIBILITY);
            self.peeks.fetch_add(1, Ordering::SeqCst);
            self.clock.sleep(self.receive_takes).await;
            Ok((0..limits::RECEIVE_MAX).map(|_| self.letter()).collect())
        }
    }

    impl Endless<'_> {
        fn letter(&self) -> DeadLetter {
            let payload = json!({"text": "a"});
            let message = QueueMessage {
                schema: SCHEMA,
                task_id: fresh_task_id(START, &self.random),
                owner: Owner::parse("alice").unwrap(),
                kind: "digest".into(),
                request_hash: request_hash("digest", &payload),
                payload: payload.into(),
                created_at_ms: START,
            };
            DeadLetter { message_id: message.task_id.to_string(), body: message.to_body().unwrap() }
        }
    }

    /// Rounds, the summary, and how long it took.
    fn audit(receive_takes: DurationMs, time: DurationMs) -> (u32, AuditSummary, DurationMs) {
        let (memory, clock) = (Memory::default(), ManualClock::new(START));
        let queue =
            Endless { clock: &clock, receive_takes, random: SeededRandom::new(7), peeks: AtomicU32::new(0) };
        let auditor = Auditor { store: &memory, dead_letters: &queue, clock: &clock, changes: &memory };
        let summary = clock.block_on(auditor.audit(START.plus(time))).unwrap();
        (queue.peeks.load(Ordering::SeqCst), summary, (&clock).now().since(START))
    }

    #[test]
    fn an_audit_without_end_stops_after_its_rounds_and_names_its_first_tasks() {
        let (rounds, summary, _) = audit(DurationMs::ZERO, DurationMs::from_seconds(60));
        assert_eq!(rounds, limits::AUDIT_ROUNDS_MAX);
        assert_eq!(summary.marked, limits::AUDIT_ROUNDS_MAX * u32::from(limits::RECEIVE_MAX));
        assert_eq!(summary.task_ids.len(), limits::AUDIT_TASK_IDS_MAX);
    }

    /// Every round that began comes to its end, however long it takes within the time of a round.
    #[test]
    fn no_round_of_an_audit_begins_that_might_not_end_in_time() {
        let round = DurationMs(limits::AUDIT_ROUND_TIME.0 - limits::ANSWER_MARGIN.0 - 1);
        let time = DurationMs::from_seconds(10);
        let (rounds, summary, took) = audit(round, time);
        assert_eq!(summary.marked, rounds * u32::from(limits::RECEIVE_MAX), "a round was cut off");
        assert!(took.0 <= time.0 - limits::ANSWER_MARGIN.0, "{took:?} of {time:?}");
        assert!(
            took.0 > time.0 - 2 * limits::AUDIT_ROUND_TIME.0,
            "it stopped long before it had to: {took:?}"
        );
    }
}
