//! Whole lives of tasks under faults: submissions and deliveries in which calls are refused, answers are lost and
//! processes die, from a seed. Then the faults end, and every promise must hold.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use task_core::audit::Auditor;
use task_core::error::ErrorClass;
use task_core::kind::KindsAllowed;
use task_core::message::QueueMessage;
use task_core::ports::{Clock as _, DeadLetter};
use task_core::process::{Delivery, HandleDelivery as _, Handled, Policy, Worker};
use task_core::record::TaskRecord;
use task_core::submit::{Submission, Submit, SubmitError};
use task_core::testing::{Fault, Faults, Faulty, ManualClock, Memory, SeededRandom, block_on};
use task_core::wire::{NewTask, Status};
use task_core::{DurationMs, EpochMs, IdempotencyKey, Owner, TaskId};

const MAX_RECEIVE_COUNT: u32 = 5;
const VISIBILITY: DurationMs = DurationMs::from_seconds(6);
const FUNCTION_TIME: DurationMs = DurationMs::from_seconds(1);
const POLICY: Policy = Policy {
    max_receive_count: MAX_RECEIVE_COUNT,
    visibility: VISIBILITY,
    kinds: KindsAllowed::WithTestTasks,
};

/// What SQS does with a message, and what it may do.
struct Message {
    body: String,
    receives: u32,
    visible_at: EpochMs,
}

struct World {
    memory: Memory,
    clock: ManualClock,
    random: SeededRandom,
    queue: BTreeMap<usize, Message>,
    sent: usize,
    acknowledged: BTreeSet<TaskId>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            memory: Memory::default(),
            clock: ManualClock::new(EpochMs(1_800_000_000_000)),
            random: SeededRandom::new(seed),
            queue: BTreeMap::new(),
            sent: 0,
            acknowledged: BTreeSet::new(),
        }
    }

    fn roll(&self, sides: u64) -> u64 {
        self.random.next() % sides
    }

    fn now(&self) -> EpochMs {
        (&self.clock).now()
    }

    /// Each call may fail, about one in four.
    fn faults(&self) -> Faults {
        let fault = |roll| match roll {
            0 => Fault::Refuse(ErrorClass::Transient),
            1 => Fault::Refuse(ErrorClass::Throttled),
            2 => Fault::LoseAnswer,
            3 => Fault::CrashBefore,
            _ => Fault::CrashAfter,
        };
        let planned: Vec<_> =
            (0..12).filter(|_| self.roll(4) == 0).map(|call| (call, fault(self.roll(5)))).collect();
        Faults::at(self.random.next(), planned)
    }

    fn new_task(&self) -> NewTask {
        let (kind, payload): (&str, Value) = match self.roll(4) {
            0 => ("poison", json!({})),
            1 => ("flaky", json!({"failures": self.roll(4)})),
            _ => ("digest", json!({"text": self.roll(3).to_string()})),
        };
        NewTask { kind: kind.into(), payload }
    }

    fn submit(&mut self, faults: &Faults) {
        let submit = Submit {
            store: Faulty { inner: &self.memory, faults },
            queue: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
            random: &self.random,
            kinds: KindsAllowed::WithTestTasks,
        };
        let owner = Owner::parse("alice").unwrap();
        let key = (self.roll(2) == 0).then(|| IdempotencyKey::parse(format!("k{}", self.roll(4))).unwrap());
        let new_task = self.new_task();
        let submission = Submission {
            owner: &owner,
            key: key.as_ref(),
            new_task: &new_task,
            trace: None,
            deadline: self.now().plus(FUNCTION_TIME),
        };
        let sent_before = self.memory.sent.lock().unwrap().len();
        let records_before = self.memory.records.lock().unwrap().len();
        let outcome = block_on(AssertUnwindSafe(submit.submit(submission)).catch_unwind());
        let sent = self.memory.sent.lock().unwrap().clone();
        match outcome {
            Ok(Ok(submitted)) => {
                self.acknowledged.insert(submitted.record().id);
            }
            Ok(Err(SubmitError::Refused(_))) => {
                assert_eq!(sent.len(), sent_before, "a refused submission left a message");
                assert_eq!(
                    self.memory.records.lock().unwrap().len(),
                    records_before,
                    "a refused submission left a record"
                );
            }
            Ok(Err(_)) | Err(_) => {}
        }
        for (key, message) in sent.iter().enumerate().skip(self.sent) {
            let message = Message { body: message.body.clone(), receives: 0, visible_at: self.now() };
            self.queue.insert(key, message);
        }
        self.sent = sent.len();
    }

    /// Picks messages as SQS may: visible ones, and now and then one that is not.
    fn receive(&mut self) -> Vec<(usize, Delivery)> {
        let now = self.now();
        let mut deliveries = Vec::new();
        for key in self.queue.keys().copied().collect::<Vec<_>>() {
            let is_duplicate = self.roll(10) == 0;
            let message = self.queue.get_mut(&key).unwrap();
            if message.visible_at > now && !is_duplicate {
                continue;
            }
            if message.receives >= MAX_RECEIVE_COUNT {
                let message = self.queue.remove(&key).unwrap();
                let letter = DeadLetter { message_id: key.to_string(), body: message.body };
                self.memory.dead_letters.lock().unwrap().push(letter);
                continue;
            }
            message.receives += 1;
            message.visible_at = now.plus(VISIBILITY);
            let delivery = Delivery {
                message_id: key.to_string(),
                receipt: key.to_string(),
                body: message.body.clone(),
                receive_count: message.receives,
            };
            if is_duplicate {
                deliveries.push((key, delivery.clone()));
            }
            deliveries.push((key, delivery));
        }
        deliveries
    }

    fn work(&mut self, faults: &Faults) {
        let deliveries = self.receive();
        let deadline = self.now().plus(FUNCTION_TIME);
        let worker = Worker {
            store: Faulty { inner: &self.memory, faults },
            visibility: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
            random: &self.random,
            changes: &self.memory,
            policy: POLICY,
        };
        let ended = block_on(join_all(deliveries.iter().map(|(key, delivery)| {
            let handled = AssertUnwindSafe(worker.handle(delivery, deadline)).catch_unwind();
            handled.map(|outcome| (*key, outcome))
        })));
        for (receipt, delay) in std::mem::take(&mut *self.memory.visibility.lock().unwrap()) {
            let now = (&self.clock).now();
            if let Some(message) = self.queue.get_mut(&receipt.parse::<usize>().unwrap()) {
                message.visible_at = now.plus(delay);
            }
        }
        for (key, outcome) in ended {
            if let Ok(Handled::Done(_)) = outcome {
                self.queue.remove(&key);
            }
        }
    }

    fn audit(&self) {
        let auditor = Auditor {
            store: &self.memory,
            dead_letters: &self.memory,
            clock: &self.clock,
            changes: &self.memory,
        };
        block_on(auditor.audit(self.now().plus(DurationMs::from_seconds(60)))).unwrap();
    }

    fn heal(&mut self) {
        for round in 0_u64.. {
            if self.queue.is_empty() {
                break;
            }
            assert!(round < 2_000, "the queue does not drain");
            self.work(&Faults::none(round));
            self.clock.advance(DurationMs::from_seconds(1));
        }
        self.clock.advance(DurationMs::from_seconds(60));
        self.audit();
    }

    fn check(&self) {
        let letters = self.memory.dead_letters.lock().unwrap();
        let dead: BTreeSet<TaskId> =
            letters.iter().map(|letter| QueueMessage::parse(&letter.body).unwrap().task_id).collect();
        let records = self.memory.records.lock().unwrap();
        for id in &self.acknowledged {
            let record = records.get(id).unwrap_or_else(|| panic!("acknowledged {id} was lost"));
            assert!(record.state.status().is_final(), "{id} has no end: {record:?}");
            let has_succeeded = record.state.status() == Status::Succeeded;
            assert!(
                has_succeeded || dead.contains(id),
                "{id} is dead-lettered and not in the dead-letter queue"
            );
        }
        for record in records.values() {
            check_record(record);
        }
    }
}

fn check_record(record: &TaskRecord) {
    let status = record.state.status();
    assert_eq!(record.completions, u32::from(status == Status::Succeeded), "{record:?}");
    assert!(record.kind != "poison" || status != Status::Succeeded, "poison succeeded");
    let claims = record.history.iter().filter(|entry| entry.status == Status::Running).count();
    assert_eq!(record.attempts as usize, claims);
    for (entry, version) in record.history.iter().zip(1..) {
        assert_eq!(entry.version.0, version, "a version is missing in {:?}", record.history);
    }
    for pair in record.history.windows(2) {
        let moved = (pair[0].status, pair[1].status);
        assert!(pair[0].at <= pair[1].at, "history goes back in time");
        assert!(
            matches!(moved, (Status::Queued | Status::DeadLettered, Status::Running) | (Status::Running, _))
                || moved == (Status::Queued, Status::DeadLettered),
            "{moved:?} is not a legal move"
        );
    }
}

fn silence_expected_crashes() {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<task_core::testing::Crash>().is_none() {
            eprintln!("{info}");
        }
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn under_any_faults_nothing_acknowledged_is_lost_and_every_effect_is_single(seed in any::<u64>()) {
        silence_expected_crashes();
        let mut world = World::new(seed);
        for _ in 0..12 {
            let faults = world.faults();
            if world.roll(2) == 0 {
                world.submit(&faults);
            } else {
                world.work(&faults);
                world.clock.advance(DurationMs(world.roll(8_000)));
            }
        }
        world.heal();
        world.check();
    }
}

/// One fault at every call of one life, so that no step escapes by chance.
#[test]
fn a_fault_at_any_single_step_of_submit_and_process_loses_nothing() {
    silence_expected_crashes();
    let kinds = [
        Fault::Refuse(ErrorClass::Transient),
        Fault::Refuse(ErrorClass::Throttled),
        Fault::LoseAnswer,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ];
    for (fault, step, seed) in kinds.iter().flat_map(|fault| (0..8).map(move |step| (fault, step, step))) {
        for in_submit in [true, false] {
            let mut world = World::new(seed);
            let faulty = Faults::at(seed, [(step, *fault)]);
            world.submit(&if in_submit { faulty } else { Faults::none(seed) });
            let faulty = Faults::at(seed, [(step, *fault)]);
            world.work(&if in_submit { Faults::none(seed) } else { faulty });
            world.heal();
            world.check();
        }
    }
}
