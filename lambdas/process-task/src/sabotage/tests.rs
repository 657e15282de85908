//! Each mode does the wrong that its name says, and nothing is wrong without a mode.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use serde_json::{Value, json};
use task_core::idempotency::request_hash;
use task_core::kind::KindsAllowed;
use task_core::message::SCHEMA;
use task_core::ports::Connections as _;
use task_core::process::{Failed, Policy, Worker};
use task_core::record::TaskRecord;
use task_core::state::TaskState;
use task_core::testing::{ManualClock, Memory, SeededRandom};
use task_core::{ConnectionId, DurationMs, Owner};

use super::*;

struct NoteDeletes(Mutex<Vec<String>>);

impl Delete for &NoteDeletes {
    async fn delete(&self, receipt: &str) {
        self.0.lock().unwrap().push(receipt.to_owned());
    }
}

struct Bench {
    memory: Memory,
    clock: ManualClock,
    deletes: NoteDeletes,
    mode: Option<Sabotage>,
}

fn bench(mode: &str) -> Bench {
    let leaked: &'static str = Box::leak(mode.to_owned().into_boxed_str());
    Bench {
        memory: Memory::default(),
        clock: ManualClock::new(EpochMs(1_800_000_000_000)),
        deletes: NoteDeletes(Mutex::default()),
        mode: Sabotage::from_env(&HashMap::from([(ENV_SABOTAGE, leaked)])).unwrap(),
    }
}

fn message(kind: &str, payload: Value) -> QueueMessage {
    QueueMessage {
        schema: SCHEMA,
        task_id: "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap(),
        owner: Owner::parse("alice").unwrap(),
        kind: kind.to_owned(),
        request_hash: request_hash(kind, &payload),
        payload: payload.into(),
        created_at_ms: EpochMs(1_700_000_000_000),
    }
}

impl Bench {
    fn handle(&self, message: &QueueMessage) -> Handled {
        let worker = Worker {
            store: SabotagedStore { inner: &self.memory, mode: self.mode, crash: || panic!("crashed") },
            visibility: SabotagedVisibility { inner: &self.memory, mode: self.mode },
            clock: &self.clock,
            random: SeededRandom::new(7),
            changes: SabotagedChanges { inner: &self.memory, mode: self.mode },
            policy: Policy {
                max_receive_count: 5,
                visibility: DurationMs::from_seconds(6),
                kinds: KindsAllowed::WithTestTasks,
            },
        };
        let sabotaged =
            Sabotaged { inner: worker, store: &self.memory, delete: &self.deletes, mode: self.mode };
        let delivery = Delivery {
            message_id: "m".into(),
            receipt: "r".into(),
            body: message.to_body().unwrap(),
            receive_count: 2,
            trace: None,
        };
        self.clock.block_on(sabotaged.handle(&delivery, EpochMs(1_800_000_010_000))).handled
    }

    fn store(&self, message: &QueueMessage, state: TaskState) {
        let record = TaskRecord { state, ..TaskRecord::queued(message) };
        self.memory.records.lock().unwrap().insert(record.id, record);
    }

    fn record(&self, message: &QueueMessage) -> TaskRecord {
        self.memory.record(message.task_id).unwrap()
    }
}

fn digest() -> QueueMessage {
    message("digest", json!({"text": "a"}))
}

fn leased() -> QueueMessage {
    message("flaky", json!({"failures": 0}))
}

fn failing() -> QueueMessage {
    message("poison", json!({"failure": "retryable"}))
}

#[test]
fn without_a_mode_the_worker_is_the_stock_one() {
    let bench = bench("");
    assert_eq!(bench.handle(&digest()), Handled::Done(Done::Succeeded));
    assert_eq!(bench.record(&digest()).completions, 1);
    assert_eq!(bench.memory.changes.lock().unwrap().len(), 1);
    assert!(bench.deletes.0.lock().unwrap().is_empty());
}

#[test]
fn an_unknown_mode_is_refused_and_named() {
    for value in ["drop", "drop:0", "crash:x", "double-effect:2", "sleep"] {
        let error = Sabotage::from_env(&HashMap::from([(ENV_SABOTAGE, value)])).unwrap_err().to_string();
        assert!(error.contains(value) && error.contains("lose-on-redrive"), "{error}");
    }
}

#[test]
fn a_dropped_task_is_acknowledged_without_a_trace() {
    let bench = bench("drop:1");
    assert_eq!(bench.handle(&digest()), Handled::Done(Done::Succeeded));
    assert!(bench.memory.record(digest().task_id).is_none());
}

#[test]
fn swallowed_poison_is_acknowledged_although_it_failed() {
    let bench = bench("swallow-poison");
    assert_eq!(bench.handle(&failing()), Handled::Done(Done::Succeeded));
    assert_eq!(bench.record(&failing()).completions, 0);
    let changed = bench.memory.visibility.lock().unwrap().clone();
    assert!(changed.is_empty(), "it is shown to nobody before it is acknowledged: {changed:?}");
}

#[test]
fn an_early_acknowledgement_leaves_a_failed_task_without_its_message() {
    let bench = bench("ack-before-effect");
    assert_eq!(bench.handle(&failing()), Handled::Failed(Failed::Retried));
    assert_eq!(*bench.deletes.0.lock().unwrap(), ["r"]);
}

#[test]
fn a_double_effect_completes_twice() {
    for task in [digest(), leased()] {
        for is_stored in [false, true] {
            let bench = bench("double-effect");
            if is_stored {
                bench.store(&task, TaskState::Queued);
            }
            bench.handle(&task);
            assert_eq!(bench.record(&task).completions, 2, "{}", task.kind);
        }
    }
}

#[test]
fn a_forgotten_push_leaves_the_effect_and_tells_nobody() {
    let bench = bench("forget-push");
    assert_eq!(bench.handle(&digest()), Handled::Done(Done::Succeeded));
    assert!(bench.memory.changes.lock().unwrap().is_empty());
}

/// Which connections hear of a task of each of these owners, one after the other; all are named as their owners are.
fn told(mode: &str, owners: &[&str]) -> Vec<Vec<String>> {
    let bench = bench(mode);
    let connections =
        SabotagedConnections { inner: &bench.memory, mode: bench.mode, bystanders: Bystanders::default() };
    let mut told = Vec::new();
    for name in owners {
        let (owner, connection) = (Owner::parse(*name).unwrap(), ConnectionId::parse(*name).unwrap());
        bench.clock.block_on(connections.add(&owner, &connection, EpochMs(1))).unwrap();
        let of_owner = bench.clock.block_on(connections.of_owner(&owner)).unwrap();
        told.push(of_owner.iter().map(|listener| listener.connection.as_str().to_owned()).collect());
    }
    told
}

#[test]
fn a_stray_push_goes_to_a_connection_of_another_owner_and_still_to_its_own() {
    let owners = ["alice", "alice", "bob", "bob", "alice"];
    let strays =
        [vec!["alice"], vec!["alice"], vec!["bob", "alice"], vec!["bob", "alice"], vec!["alice", "bob"]];
    assert_eq!(told("stray-push", &owners), strays);
    assert_eq!(told("", &owners), owners.map(|owner| vec![owner]));
}

#[test]
fn without_back_off_a_failed_task_is_shown_again_at_once() {
    for (mode, is_zero) in [("no-backoff", true), ("", false)] {
        let bench = bench(mode);
        assert_eq!(bench.handle(&failing()), Handled::Failed(Failed::Retried));
        let changed = bench.memory.visibility.lock().unwrap().clone();
        assert_eq!(changed.iter().all(|(_, delay)| *delay == DurationMs::ZERO), is_zero, "{changed:?}");
    }
}

#[test]
fn a_task_lost_on_redrive_is_acknowledged_and_stays_dead_lettered() {
    let bench = bench("lose-on-redrive");
    bench.store(&digest(), TaskState::DeadLettered);
    assert_eq!(bench.handle(&digest()), Handled::Done(Done::Succeeded));
    assert_eq!(bench.record(&digest()).state, TaskState::DeadLettered);
}

#[test]
fn a_crash_comes_in_the_middle_of_a_task() {
    for (task, before_its_end) in [(digest(), Status::Queued), (leased(), Status::Running)] {
        let bench = bench("crash:1");
        bench.store(&task, TaskState::Queued);
        let crashed = std::panic::catch_unwind(AssertUnwindSafe(|| bench.handle(&task)));
        assert!(crashed.is_err());
        let status = bench.record(&task).state.status();
        assert!([before_its_end, Status::Succeeded].contains(&status), "{status}");
    }
}
