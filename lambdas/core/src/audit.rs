//! Looking into the dead-letter queue: marks the records of what lies there, and never deletes.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde::Serialize;

use crate::deadline::within;
use crate::error::{ErrorClass, PortError};
use crate::id::TaskId;
use crate::limits;
use crate::message::QueueMessage;
use crate::ports::{Changes, Clock, Created, DeadLetter, DeadLetters, Swapped, TaskStore};
use crate::record::{Mover, TaskRecord};
use crate::state::{Event, Judge, Refused};
use crate::time::{DurationMs, EpochMs};
use crate::wire::TaskError;

/// What one audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditSummary {
    pub seen: u32,
    pub marked: u32,
    /// Already dead-lettered, or succeeded in spite of the message here.
    pub already_final: u32,
    /// Left by a submission that was refused, because its key named another task: that task lives on.
    pub superseded: u32,
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
    /// Of the queue whose dead letters these are.
    pub visibility: DurationMs,
}

enum Finding {
    Marked(TaskId),
    AlreadyFinal(TaskId),
    Superseded,
    Malformed,
    Deferred,
}

impl<S: TaskStore, D: DeadLetters, C: Clock, N: Changes> Auditor<S, D, C, N> {
    /// Peeks until nothing new is found, or `deadline` is near. Fails only when nothing can be said: then nobody must take it for an
    /// empty queue.
    pub async fn audit(&self, deadline: EpochMs) -> Result<AuditSummary, PortError> {
        let answer_by = deadline.minus(limits::ANSWER_MARGIN);
        let no_round_from = deadline.minus(limits::AUDIT_ROUND_TIME);
        if self.clock.now() >= no_round_from {
            return Err(saw_nothing(
                ErrorClass::Permanent,
                "the function's timeout is too short for one round",
            ));
        }
        let mut summary = AuditSummary::default();
        let mut met = HashSet::new();
        let mut rounds_without_news = 0;
        while met.len() < limits::AUDIT_LETTERS_MAX
            && rounds_without_news < limits::AUDIT_ROUNDS_WITHOUT_NEWS_MAX
            && self.clock.now() < no_round_from
        {
            let peek = within(&self.clock, answer_by, self.dead_letters.peek(limits::AUDIT_VISIBILITY));
            let mut letters = match peek.await {
                Some(Ok(letters)) => letters,
                Some(Err(error)) if met.is_empty() => return Err(error),
                None if met.is_empty() => {
                    return Err(saw_nothing(ErrorClass::Unknown, "the queue did not answer in time"));
                }
                // What the rounds before have found stands, and the next audit looks again.
                Some(Err(_)) | None => break,
            };
            if letters.is_empty() {
                break;
            }
            letters.retain(|letter| met.insert(letter.message_id.clone()));
            rounds_without_news = if letters.is_empty() { rounds_without_news + 1 } else { 0 };
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
            if !before.is_of(message) {
                return Ok(Finding::Superseded);
            }
            let after = match before.advance(&dead_letter(&before), self.clock.now()) {
                Ok(after) => after,
                Err(Refused::AlreadySucceeded | Refused::AlreadyDeadLettered) => {
                    self.tell_again(&before);
                    return Ok(Finding::AlreadyFinal(message.task_id));
                }
                Err(Refused::LeaseHeld { .. } | Refused::LeaseLost) => return Ok(Finding::Deferred),
            };
            let found = match &known {
                Some(before) => self.store.swap(before, &after, Mover::Other).await?,
                None => match self.store.create(&after).await? {
                    Created::New => Swapped::Done,
                    Created::Exists(stored) => Swapped::Conflict(Some(stored)),
                },
            };
            known = match found {
                Swapped::Done => return Ok(self.marked(&after)),
                // The write was retried below us and met itself.
                Swapped::Conflict(Some(stored)) if stored.is_same_move(&after) => {
                    return Ok(self.marked(&after));
                }
                Swapped::Conflict(stored) => stored.map(|stored| *stored),
            };
        }
        Ok(Finding::Deferred)
    }

    fn marked(&self, record: &TaskRecord) -> Finding {
        self.changes.changed(record.into());
        Finding::Marked(record.id)
    }

    /// Whoever wrote this end, a worker or an audit, may have died before it told anybody. A dead worker's message comes here when it
    /// is visible again.
    fn tell_again(&self, record: &TaskRecord) {
        let told_until = record.updated_at.plus(self.visibility).plus(limits::AUDIT_TELLS_FOR);
        if self.clock.now() < told_until {
            self.changes.changed(record.into());
        }
    }
}

fn saw_nothing(class: ErrorClass, why: &str) -> PortError {
    PortError { operation: "audit", class, detail: why.to_owned() }
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
            Finding::Superseded => self.superseded += 1,
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
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::id::Owner;
    use crate::idempotency::fresh_task_id;
    use crate::ports::Random as _;
    use crate::testing::{ManualClock, Memory, SeededRandom, digest};
    use crate::time::DurationMs;

    const START: EpochMs = EpochMs(1_800_000_000_000);
    /// As Terraform sets it.
    const AUDIT_TIME: DurationMs = DurationMs::from_seconds(60);
    const VISIBILITY: DurationMs = DurationMs::from_seconds(60);

    fn letter(random: &SeededRandom) -> DeadLetter {
        let message = digest(fresh_task_id(START, random), &Owner::parse("alice").unwrap(), START);
        DeadLetter { message_id: message.task_id.to_string(), body: message.to_body().unwrap() }
    }

    /// A queue with no end: each receive brings the most that one can, all of them new.
    struct Endless {
        clock: ManualClock,
        random: SeededRandom,
        peeks: AtomicU32,
        receive_takes: DurationMs,
        is_ours: bool,
        /// How many receives it answers.
        peeks_max: u32,
    }

    impl DeadLetters for &Endless {
        async fn peek(&self, visibility: DurationMs) -> Result<Vec<DeadLetter>, PortError> {
            assert_eq!(visibility, limits::AUDIT_VISIBILITY);
            if self.peeks.fetch_add(1, Ordering::SeqCst) >= self.peeks_max {
                return Err(PortError {
                    operation: "peek",
                    class: ErrorClass::Transient,
                    detail: "down".into(),
                });
            }
            (&self.clock).sleep(self.receive_takes).await;
            Ok((0..limits::RECEIVE_MAX).map(|_| self.letter()).collect())
        }
    }

    impl Endless {
        fn new(receive_takes: DurationMs) -> Self {
            Self {
                clock: ManualClock::new(START),
                random: SeededRandom::new(7),
                peeks: AtomicU32::new(0),
                receive_takes,
                is_ours: true,
                peeks_max: u32::MAX,
            }
        }

        fn letter(&self) -> DeadLetter {
            if self.is_ours {
                letter(&self.random)
            } else {
                let message_id = self.random.next().to_string();
                DeadLetter { message_id, body: "somebody else's".into() }
            }
        }

        fn audit(&self, memory: &Memory, time: DurationMs) -> Result<AuditSummary, PortError> {
            let auditor = Auditor {
                store: memory,
                dead_letters: self,
                clock: &self.clock,
                changes: memory,
                visibility: VISIBILITY,
            };
            self.clock.block_on(auditor.audit(START.plus(time)))
        }
    }

    #[test]
    fn an_audit_without_end_stops_with_as_much_as_it_can_remember() {
        let queue = Endless { is_ours: false, ..Endless::new(DurationMs::ZERO) };
        let summary = queue.audit(&Memory::default(), AUDIT_TIME).unwrap();
        assert_eq!(summary.seen as usize, limits::AUDIT_LETTERS_MAX);
        assert_eq!(summary.malformed, summary.seen);
    }

    /// Every round that began comes to its end, however long it takes within the time of a round.
    #[test]
    fn no_round_of_an_audit_begins_that_might_not_end_in_time() {
        let round = DurationMs(limits::AUDIT_ROUND_TIME.0 - limits::ANSWER_MARGIN.0 - 1);
        let time = DurationMs::from_seconds(10);
        let queue = Endless::new(round);
        let summary = queue.audit(&Memory::default(), time).unwrap();
        let rounds = queue.peeks.load(Ordering::SeqCst);
        assert_eq!(summary.marked, rounds * u32::from(limits::RECEIVE_MAX), "a round was cut off");
        let took = (&queue.clock).now().since(START);
        assert!(took.0 <= time.0 - limits::ANSWER_MARGIN.0, "{took:?} of {time:?}");
        assert!(
            took.0 > time.0 - 2 * limits::AUDIT_ROUND_TIME.0,
            "it stopped long before it had to: {took:?}"
        );
    }

    /// "Seen: 0" is what it says of an empty queue, and what somebody goes by who redrives.
    #[test]
    fn an_audit_that_could_not_look_fails_instead_of_finding_nothing() {
        let queue = Endless::new(DurationMs(20));
        assert!(queue.audit(&Memory::default(), limits::AUDIT_ROUND_TIME).is_err(), "there was no time");
        assert_eq!(queue.peeks.load(Ordering::SeqCst), 0);
        let for_one_round = DurationMs(limits::AUDIT_ROUND_TIME.0 + 1);
        assert_eq!(queue.audit(&Memory::default(), for_one_round).unwrap().seen, 10);
        let silent = Endless::new(AUDIT_TIME);
        assert!(
            silent.audit(&Memory::default(), DurationMs::from_seconds(10)).is_err(),
            "nothing was answered"
        );
    }

    #[test]
    fn what_an_audit_has_marked_is_said_and_told_although_a_later_receive_fails() {
        let memory = Memory::default();
        let queue = Endless { peeks_max: 2, ..Endless::new(DurationMs(20)) };
        let summary = queue.audit(&memory, AUDIT_TIME).unwrap();
        assert_eq!((summary.seen, summary.marked), (20, 20));
        assert_eq!(memory.changes.lock().unwrap().len(), 20);
        let down = Endless { peeks_max: 0, ..Endless::new(DurationMs(20)) };
        assert!(down.audit(&memory, AUDIT_TIME).is_err(), "it knows nothing of the queue");
    }

    /// A queue as SQS has it: a receive brings some of what nobody has in flight, in no order, and hides it for a while.
    struct Standard<'a> {
        clock: &'a ManualClock,
        random: SeededRandom,
        /// Each with when it is visible again.
        letters: Mutex<Vec<(EpochMs, DeadLetter)>>,
    }

    /// What a receive and the writes after it take on AWS.
    const ROUND_TAKES: DurationMs = DurationMs(50);
    /// Of which the first sees most, and each that follows most of the rest.
    const AUDITS_MAX: u32 = 5;

    impl DeadLetters for &Standard<'_> {
        async fn peek(&self, visibility: DurationMs) -> Result<Vec<DeadLetter>, PortError> {
            self.clock.sleep(ROUND_TAKES).await;
            let now = self.clock.now();
            let mut letters = self.letters.lock().unwrap();
            let mut visible: Vec<_> = letters.iter_mut().filter(|(shown_at, _)| *shown_at <= now).collect();
            let mut received = Vec::new();
            while !visible.is_empty() && received.len() < usize::from(limits::RECEIVE_MAX) {
                let index = usize::try_from(self.random.up_to(visible.len() as u64 - 1)).unwrap();
                let (shown_at, letter) = visible.swap_remove(index);
                *shown_at = now.plus(visibility);
                received.push(letter.clone());
            }
            Ok(received)
        }
    }

    /// While it reads, what it has read is shown again: it must not take that for the end.
    #[test]
    fn a_queue_that_is_longer_than_what_one_audit_hides_is_marked_within_a_few_audits() {
        let (memory, clock, random) = (Memory::default(), ManualClock::new(START), SeededRandom::new(7));
        let letters: Vec<_> = (0..2_500).map(|_| (START, letter(&random))).collect();
        let queue = Standard { clock: &clock, random, letters: Mutex::new(letters) };
        let auditor = Auditor {
            store: &memory,
            dead_letters: &queue,
            clock: &clock,
            changes: &memory,
            visibility: VISIBILITY,
        };
        let mut marked = 0;
        for audits in 1.. {
            assert!(audits <= AUDITS_MAX, "{marked} are marked after {AUDITS_MAX} audits");
            let next_at = (&clock).now().plus(AUDIT_TIME);
            let summary = clock.block_on(auditor.audit(next_at)).unwrap();
            assert!(audits > 1 || summary.seen > 2_000, "{summary:?}");
            assert_eq!(summary.task_ids.len(), limits::AUDIT_TASK_IDS_MAX, "the first of them are named");
            marked += summary.marked;
            if marked == 2_500 {
                return;
            }
            clock.advance(next_at.since((&clock).now()));
        }
    }
}
