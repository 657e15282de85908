//! Whole lives of tasks under faults: submissions, deliveries, audits, redrives and clients, in which calls are refused,
//! answers are lost, calls hang and processes die, from a seed. Then the faults end, and every promise must hold.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::world::{OWNERS, World, silence_expected_crashes};
use futures_util::future::join;
use proptest::prelude::*;
use serde_json::json;
use task_core::error::{ErrorClass, PortError};
use task_core::ports::{Clock as _, Created, Extended, Swapped, TaskStore};
use task_core::process::{Failed, Handled};
use task_core::record::{Mover, TaskRecord};
use task_core::state::Lease;
use task_core::testing::{Fault, Faults};
use task_core::wire::{NewTask, Status};
use task_core::{DurationMs, TaskId, limits};

/// One step of a history, under faults.
async fn live(world: &World) {
    match world.roll(8) {
        0..=2 => world.submit_any(&world.faults()).await,
        3 => {
            let client = usize::try_from(world.roll(2)).unwrap();
            world.connect(client, &world.faults()).await;
        }
        4 => {
            world.audit(&world.faults()).await;
        }
        5 if world.roll(3) == 0 => world.redrive(),
        _ => {
            // Two environments at once, the second a little later.
            let second = async {
                (&world.clock).sleep(DurationMs(world.roll(world.function_time.0 * 2))).await;
                world.work(&world.faults()).await;
            };
            join(async { world.work(&world.faults()).await }, second).await;
        }
    }
    world.clock.advance(DurationMs(world.roll(world.visibility().0)));
}

fn any_history(seed: u64, function_time: DurationMs) {
    silence_expected_crashes();
    let world = World::with_function_time(seed, function_time);
    world.add_clients();
    world.clock.block_on(async {
        for _ in 0..16 {
            live(&world).await;
        }
        world.heal().await;
        world.check();
        world.redrive();
        world.heal().await;
        world.check();
    });
    world.check_only_poison_is_dead();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn under_any_faults_nothing_acknowledged_is_lost_and_every_effect_is_single(seed in any::<u64>()) {
        any_history(seed, DurationMs::from_seconds(1));
    }

    /// A function of a minute outlives its leases: heartbeats, takeovers, and workers that come back too late.
    #[test]
    fn long_work_with_heartbeats_keeps_the_same_promises(seed in any::<u64>()) {
        any_history(seed, DurationMs::from_seconds(60));
    }
}

/// Nobody asks here: what a connected client knows, it was told.
#[test]
fn without_faults_a_connected_client_hears_the_end_of_every_task() {
    for seed in 0..32 {
        let world = World::new(seed);
        world.add_clients();
        world.clock.block_on(async {
            world.reconnect_all().await;
            for _ in 0..10 {
                world.submit_any(&world.no_faults()).await;
            }
            while !world.queue.lock().unwrap().is_empty() {
                world.work(&world.no_faults()).await;
                world.clock.advance(DurationMs::from_seconds(1));
            }
        });
        world.check();
    }
}

/// It asks once, when it is connected, and is told the rest: also of work that was under way when it came, and when a push found its
/// connection before it was open.
#[test]
fn a_client_that_connects_while_tasks_run_knows_the_end_of_every_task() {
    for seed in 0..256 {
        let world = World::new(seed);
        world.add_clients();
        world.clock.block_on(async {
            for _ in 0..10 {
                world.submit_any(&world.no_faults()).await;
            }
            let come = async {
                for client in 0..OWNERS.len() {
                    (&world.clock).sleep(DurationMs(world.roll(world.function_time.0 / 2))).await;
                    world.connect(client, &world.no_faults()).await;
                }
            };
            join(come, world.work_and_push()).await;
            while !world.queue.lock().unwrap().is_empty() {
                world.work_and_push().await;
                world.clock.advance(DurationMs::from_seconds(1));
            }
        });
        world.check();
    }
}

/// Of the table alone: each receive finds it down, up to the last.
#[test]
fn an_outage_of_seven_visibility_timeouts_dead_letters_no_healthy_task() {
    // It begins before the claims, or when some have been won and their ends cannot be written.
    for (seed, calls_before) in (0..32).zip([0, 1, 2, 5].into_iter().cycle()) {
        let world = World::new(seed);
        world.clock.block_on(async {
            for number in 0..4 {
                let (kind, payload) = if number % 2 == 0 {
                    ("digest", json!({"text": number.to_string()}))
                } else {
                    ("flaky", json!({"failures": 0}))
                };
                let healthy = NewTask { kind: kind.into(), payload };
                world.submit(&world.owner(), None, &healthy, &world.no_faults()).await;
            }
            world.work(&Faults::store_down_from(seed, calls_before)).await;
            let ends_at = world.now().plus(DurationMs(7 * world.visibility().0));
            while world.now() < ends_at {
                world.clock.advance(DurationMs(500));
                world.work(&Faults::store_down_from(seed, 0)).await;
            }
            let used_up = world.queue.lock().unwrap().messages.values().map(|message| message.receives).max();
            assert!(used_up >= Some(3), "the outage was hardly noticed: {used_up:?} receives");
            world.heal().await;
        });
        assert!(world.memory.dead_letters.lock().unwrap().is_empty(), "seed {seed}: a healthy task is dead");
        world.check();
    }
}

/// Its heartbeats fail, so a second delivery takes over; the first comes to its end, and then the second dies.
#[test]
fn a_worker_that_was_taken_over_acknowledges_nothing() {
    silence_expected_crashes();
    let world = World::with_function_time(1, DurationMs::from_seconds(60));
    let refuse = Fault::Refuse(ErrorClass::Transient);
    // The claim, then a heartbeat every four seconds for forty.
    let first = Faults::at(1, (1..=9).map(|call| (call, refuse)));
    // A read and the claim, then nine heartbeats of two calls each, and the record of the end.
    let second = Faults::at(2, [(20, Fault::CrashBefore)]);
    world.clock.block_on(async {
        let sleep = NewTask { kind: "sleep".into(), payload: json!({"duration_ms": 40_000}) };
        world.submit(&world.owner(), None, &sleep, &world.no_faults()).await;
        let taking_over = async {
            (&world.clock).sleep(DurationMs::from_seconds(20)).await;
            world.queue.lock().unwrap().show_all(world.now());
            world.work(&second).await;
        };
        join(world.work(&first), taking_over).await;
        assert!(!world.queue.lock().unwrap().is_empty(), "the message of an unfinished task was deleted");
        assert!(second.calls() > 20, "the second worker never came to its end");
        world.heal().await;
    });
    world.check();
}

/// A table that leaves two heartbeats in a row without an answer, each for as long as a call may take.
struct Halting<'a> {
    world: &'a World,
    heartbeats: AtomicU32,
}

impl TaskStore for &Halting<'_> {
    async fn get(&self, id: TaskId) -> Result<Option<TaskRecord>, PortError> {
        (&self.world.memory).get(id).await
    }

    async fn create(&self, record: &TaskRecord) -> Result<Created, PortError> {
        (&self.world.memory).create(record).await
    }

    async fn swap(
        &self,
        before: &TaskRecord,
        after: &TaskRecord,
        mover: Mover,
    ) -> Result<Swapped, PortError> {
        (&self.world.memory).swap(before, after, mover).await
    }

    async fn extend(&self, id: TaskId, lease: Lease) -> Result<Extended, PortError> {
        if matches!(self.heartbeats.fetch_add(1, Ordering::SeqCst), 1 | 2) {
            (&self.world.clock).sleep(limits::CALL_TIME_MAX).await;
            let detail = "timeout".to_owned();
            return Err(PortError { operation: "extend", class: ErrorClass::Unknown, detail });
        }
        (&self.world.memory).extend(id, lease).await
    }

    async fn saw_delivery(&self, id: TaskId, receive_count: u32) -> Result<(), PortError> {
        (&self.world.memory).saw_delivery(id, receive_count).await
    }
}

/// The next one is in time.
#[test]
fn two_heartbeats_that_hang_cost_a_worker_nothing() {
    let world = World::with_function_time(1, DurationMs::from_seconds(60));
    let table = Halting { world: &world, heartbeats: AtomicU32::new(0) };
    world.clock.block_on(async {
        let sleep = NewTask { kind: "sleep".into(), payload: json!({"duration_ms": 40_000}) };
        world.submit(&world.owner(), None, &sleep, &world.no_faults()).await;
        let second = async {
            // By the first heartbeat, the only one that was heard of so far, the message is shown again now.
            let shown_after = limits::HEARTBEAT_EVERY.0 + limits::LEASE_TIME.0 + limits::LEASE_MARGIN.0;
            (&world.clock).sleep(DurationMs(shown_after)).await;
            assert_eq!(table.heartbeats.load(Ordering::SeqCst), 4, "two that hung, and one after them");
            world.queue.lock().unwrap().show_all(world.now());
            world.work(&world.no_faults()).await
        };
        let (_, ended) = join(world.work_with(&table), second).await;
        assert_eq!(ended[0].handled, Handled::Failed(Failed::LeaseHeld));
    });
    let record = world.memory.records.lock().unwrap().values().next().cloned().unwrap();
    assert_eq!((record.state.status(), record.attempts), (Status::Succeeded, 1));
}

#[test]
fn a_worker_that_dies_at_long_work_holds_its_task_for_seconds() {
    silence_expected_crashes();
    let world = World::with_function_time(1, DurationMs::from_seconds(60));
    // The claim, the heartbeat, and what it tells the queue.
    let faults = Faults::at(1, [(2, Fault::CrashAfter)]);
    world.clock.block_on(async {
        let sleep = NewTask { kind: "sleep".into(), payload: json!({"duration_ms": 40_000}) };
        world.submit(&world.owner(), None, &sleep, &world.no_faults()).await;
        world.work(&faults).await;
    });
    let shown_at = world.queue.lock().unwrap().messages.values().next().unwrap().visible_at;
    assert_eq!(shown_at.since(world.now()).0, limits::LEASE_TIME.0 + limits::LEASE_MARGIN.0);
    let record = world.memory.records.lock().unwrap().values().next().cloned().unwrap();
    assert!(record.state.lease().unwrap().until < shown_at, "shown while the lease still holds");
}
