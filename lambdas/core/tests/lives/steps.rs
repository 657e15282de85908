//! Every use case, with every fault at every one of its calls, so that no step escapes by chance.

use crate::world::{World, silence_expected_crashes};
use futures_util::future::join;
use serde_json::{Value, json};
use task_core::error::ErrorClass;
use task_core::ports::{Clock as _, DeadLetter};
use task_core::process::{Done, Failed, Handled};
use task_core::record::TaskRecord;
use task_core::state::{Event, Lease};
use task_core::testing::{Fault, Faults};
use task_core::wire::{NewTask, Status, Task};
use task_core::{DurationMs, Owner, limits};

/// What comes before, without faults, and then the step that is broken.
struct Scenario {
    name: &'static str,
    function_time: DurationMs,
    before: fn(&World),
    step: fn(&World, &Faults),
}

const SECOND: DurationMs = DurationMs::from_seconds(1);

const NOT_OURS: &str = r#"{"schema":2,"order":"somebody else's"}"#;

fn submit(world: &World, key: Option<&str>, kind: &str, payload: Value, faults: &Faults) {
    let new_task = NewTask { kind: kind.to_owned(), payload };
    let alice = Owner::parse("alice").unwrap();
    world.clock.block_on(world.submit(&alice, key, &new_task, faults));
}

fn submitted(world: &World, kind: &str, payload: Value) {
    submit(world, None, kind, payload, &Faults::none(0));
}

fn work(world: &World, faults: &Faults) {
    world.clock.block_on(world.work(faults));
}

/// A delivery whose worker dies after the call of this number, until the message is shown again.
fn dies_after(world: &World, call: u64) {
    work(world, &Faults::at(0, [(call, Fault::CrashAfter)]));
    world.clock.advance(world.visibility());
}

fn connected(world: &World) {
    world.add_clients();
    world.clock.block_on(world.reconnect_all());
}

/// Of a `flaky` task that succeeds at once, and under a lease.
fn leased() -> Value {
    json!({"failures": 0})
}

fn lease_of_another_worker(world: &World) -> Lease {
    Lease {
        token: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        until: world.now().plus(world.function_time),
    }
}

/// Every record, as a worker leaves it that takes a lease for all work, and dies.
fn claimed_by_a_dead_worker(world: &World) {
    let lease = lease_of_another_worker(world);
    for record in world.memory.records.lock().unwrap().values_mut() {
        *record = record.advance(&Event::Claim(lease), world.now()).unwrap();
    }
}

/// The same, by a worker that dies when it has written the end.
fn ended_by_a_dead_worker(world: &World) {
    claimed_by_a_dead_worker(world);
    let end = Event::Succeed { token: lease_of_another_worker(world).token, result: json!({}) };
    for record in world.memory.records.lock().unwrap().values_mut() {
        *record = record.advance(&end, world.now()).unwrap();
    }
}

fn only_record(world: &World) -> TaskRecord {
    world.memory.records.lock().unwrap().values().next().cloned().unwrap()
}

/// What Alice knows of the only task.
fn known_to_alice(world: &World) -> Option<Task> {
    let clients = world.clients.lock().unwrap();
    let alice = clients.iter().find(|client| client.owner.as_str() == "alice").unwrap();
    alice.seen.get(&only_record(world).id).cloned()
}

/// Receives until the next one is the last.
fn until_the_last_receive(world: &World) {
    for _ in 1..crate::world::MAX_RECEIVE_COUNT {
        work(world, &Faults::none(0));
        world.clock.advance(world.visibility());
    }
}

fn until_dead(world: &World) {
    until_the_last_receive(world);
    work(world, &Faults::none(0));
    world.clock.advance(world.visibility());
    work(world, &Faults::none(0));
    assert_eq!(world.memory.dead_letters.lock().unwrap().len(), 1);
}

fn scenarios() -> Vec<Scenario> {
    let short = |name, before, step| Scenario { name, function_time: SECOND, before, step };
    vec![
        short(
            "a submission",
            |_| {},
            |world, faults| submit(world, None, "digest", json!({"text": "a"}), faults),
        ),
        short(
            "a submission with a key",
            |_| {},
            |world, faults| {
                submit(world, Some("k"), "digest", json!({"text": "a"}), faults);
            },
        ),
        short(
            "a repeated submission",
            |world| submit(world, Some("k"), "digest", json!({"text": "a"}), &Faults::none(0)),
            |world, faults| submit(world, Some("k"), "digest", json!({"text": "a"}), faults),
        ),
        short("a first delivery", |world| submitted(world, "digest", json!({"text": "a"})), work),
        short("a first delivery under a lease", |world| submitted(world, "flaky", leased()), work),
        short(
            "a first delivery, with clients that listen",
            |world| {
                connected(world);
                submitted(world, "digest", json!({"text": "a"}));
            },
            work,
        ),
        short(
            "a push to a connection that is gone",
            |world| {
                connected(world);
                world
                    .memory
                    .closed
                    .lock()
                    .unwrap()
                    .extend(world.clients.lock().unwrap()[0].connection.take());
                submitted(world, "digest", json!({"text": "a"}));
            },
            work,
        ),
        short(
            "a delivery without a record",
            |world| {
                submitted(world, "digest", json!({"text": "a"}));
                world.memory.records.lock().unwrap().clear();
            },
            work,
        ),
        short(
            "a delivery after the worker died",
            |world| {
                submitted(world, "flaky", leased());
                dies_after(world, 0);
            },
            work,
        ),
        short(
            "a delivery without a lease of what a dead worker had claimed",
            |world| {
                submitted(world, "digest", json!({"text": "a"}));
                claimed_by_a_dead_worker(world);
                work(world, &Faults::none(0));
                world.clock.advance(world.visibility());
            },
            work,
        ),
        short(
            "a delivery of what has succeeded",
            |world| {
                submitted(world, "flaky", leased());
                dies_after(world, 1);
            },
            work,
        ),
        short(
            "a delivery of what has succeeded without a lease",
            |world| {
                submitted(world, "digest", json!({"text": "a"}));
                dies_after(world, 0);
            },
            work,
        ),
        short("an attempt that fails", |world| submitted(world, "flaky", json!({"failures": 1})), work),
        short("an attempt that fails for good", |world| submitted(world, "poison", json!({})), work),
        short(
            "the last attempt",
            |world| {
                submitted(world, "poison", json!({}));
                until_the_last_receive(world);
            },
            work,
        ),
        short(
            "an attempt that does not end",
            |world| submitted(world, "sleep", json!({"duration_ms": 5_000})),
            work,
        ),
        Scenario {
            name: "long work with heartbeats",
            function_time: DurationMs::from_seconds(60),
            before: |world| submitted(world, "sleep", json!({"duration_ms": 40_000})),
            step: work,
        },
        short(
            "an audit",
            |world| {
                submitted(world, "poison", json!({}));
                until_dead(world);
                // As if the table had not answered any of the workers.
                world.memory.records.lock().unwrap().clear();
                connected(world);
            },
            |world, faults| {
                world.clock.block_on(world.audit(faults));
            },
        ),
        short("a message that is not ours", |world| world.send_foreign(NOT_OURS), work),
        short(
            "a delivery after a redrive",
            |world| {
                submitted(world, "poison", json!({}));
                until_dead(world);
                world.clock.block_on(world.heal());
                world.redrive();
            },
            work,
        ),
        short("a handshake", World::add_clients, |world, faults| {
            world.clock.block_on(world.connect(0, faults))
        }),
        short(
            "a question on the socket",
            |world| {
                connected(world);
                submitted(world, "digest", json!({"text": "a"}));
            },
            |world, faults| {
                let id = *world.acknowledged.lock().unwrap().first().unwrap();
                world.clock.block_on(world.watch(0, id, faults));
            },
        ),
    ]
}

fn run(scenario: &Scenario, seed: u64, faults: &Faults) {
    let world = World::with_function_time(seed, scenario.function_time);
    (scenario.before)(&world);
    (scenario.step)(&world, faults);
    world.clock.block_on(world.heal());
    world.check();
}

#[test]
fn a_fault_at_any_single_step_of_any_use_case_loses_nothing() {
    silence_expected_crashes();
    for scenario in scenarios() {
        let counted = Faults::none(0);
        run(&scenario, 0, &counted);
        assert!(counted.calls() > 0, "{} makes no call", scenario.name);
        // A fault early may make a use case call more often, hence some more steps than without.
        for step in 0..counted.calls() + 4 {
            for fault in Fault::ALL {
                eprintln!("{}: {fault:?} at call {step}", scenario.name);
                run(&scenario, step, &Faults::at(step, [(step, fault)]));
            }
        }
    }
}

/// Two faults in a row reach the ways that one fault opens.
#[test]
fn two_faults_in_one_delivery_lose_nothing() {
    silence_expected_crashes();
    for scenario in scenarios().into_iter().filter(|scenario| scenario.name.contains("deliver")) {
        for (first, second) in (0..5).flat_map(|first| (first + 1..6).map(move |second| (first, second))) {
            for (one, other) in Fault::ALL.iter().flat_map(|one| Fault::ALL.map(|other| (*one, other))) {
                run(&scenario, first, &Faults::at(first, [(first, one), (second, other)]));
            }
        }
    }
}

/// The amplification of an outage: however the calls of one delivery fail, it makes no more of them than this.
#[test]
fn one_delivery_makes_a_bounded_number_of_calls() {
    silence_expected_crashes();
    for scenario in scenarios() {
        // Heartbeats and clients come on top, and are bounded by limits of their own.
        if !scenario.name.contains("deliver") && !scenario.name.contains("attempt")
            || scenario.name.contains("clients")
        {
            continue;
        }
        for (step, fault) in (0..8).flat_map(|step| Fault::ALL.map(|fault| (step, fault))) {
            let world = World::with_function_time(step, scenario.function_time);
            (scenario.before)(&world);
            let faults = Faults::at(step, (step..8).map(|call| (call, fault)));
            let delivered = || world.queue.lock().unwrap().deliveries;
            let before = delivered();
            (scenario.step)(&world, &faults);
            let pushes = 1; // The look-up of the owner's connections.
            assert!(
                faults.calls()
                    <= (delivered() - before) * (u64::from(limits::CALLS_PER_DELIVERY_MAX) + pushes),
                "{}, {fault:?} from call {step} on: {} calls",
                scenario.name,
                faults.calls()
            );
        }
    }
}

/// A third of the writes, and a wait for the table, that short work would pay for a lease that it has no use for.
#[test]
fn a_task_without_a_lease_is_one_write_and_shows_the_same_life() {
    for (kind, payload, writes) in [("digest", json!({"text": "a"}), 1), ("flaky", leased(), 2)] {
        for is_late in [false, true] {
            let world = World::new(0);
            submitted(&world, kind, payload.clone());
            if is_late {
                // The message was there before the record.
                world.memory.records.lock().unwrap().clear();
            }
            let faults = Faults::none(0);
            work(&world, &faults);
            let connections = 1;
            // The guess that a record is there, and the record.
            let calls = writes + connections + u64::from(is_late);
            assert_eq!(faults.calls(), calls, "{kind}");
            let records = world.memory.records.lock().unwrap();
            let record = records.values().next().unwrap();
            let statuses: Vec<_> = record.history.iter().map(|entry| entry.status).collect();
            assert_eq!(statuses, [Status::Queued, Status::Running, Status::Succeeded], "{kind}");
            let counts = (record.version.0, record.attempts, record.deliveries, record.completions);
            assert_eq!(counts, (3, 1, 1, 1), "{kind}");
        }
    }
}

/// And every audit that follows sees the same letters: what it counts there is how many there are, not how many came.
#[test]
fn a_message_that_is_not_ours_goes_to_the_dead_letter_queue_as_it_is_and_is_counted() {
    let world = World::new(0);
    world.send_foreign(NOT_OURS);
    for _ in 0..crate::world::MAX_RECEIVE_COUNT {
        let ended = world.clock.block_on(world.work(&Faults::none(0)));
        assert_eq!(ended.len(), 1, "it comes back at once");
        assert_eq!((ended[0].handled, &ended[0].about), (Handled::Failed(Failed::Malformed), &None));
    }
    work(&world, &Faults::none(0));
    let letters = world.memory.dead_letters.lock().unwrap().clone();
    assert_eq!(letters.iter().map(|letter| letter.body.as_str()).collect::<Vec<_>>(), [NOT_OURS]);
    for _ in 0..2 {
        let summary = world.clock.block_on(world.audit(&Faults::none(0))).unwrap();
        assert_eq!((summary.seen, summary.malformed, summary.marked), (1, 1, 0));
    }
    assert!(world.memory.records.lock().unwrap().is_empty(), "it names no task");
}

/// The worker could say nothing: an audit that marks is the only one who can tell, and it tells at once.
#[test]
fn a_connected_client_hears_what_an_audit_marked() {
    silence_expected_crashes();
    let dies_at_last: fn(&World) = |world| {
        until_the_last_receive(world);
        // A read, and then the claim.
        work(world, &Faults::at(0, [(1, Fault::CrashAfter)]));
    };
    let never_heard_of: fn(&World) = |world| {
        until_the_last_receive(world);
        work(world, &Faults::none(0));
        world.memory.records.lock().unwrap().clear();
    };
    // A look, a read, and the write, which may be tried again below it and meet itself.
    let write = 2;
    let twice = Some((write, Fault::RetriedBelow));
    for (last_receive, error) in [(dies_at_last, "poison"), (never_heard_of, "dead_lettered")] {
        for planned in [None, twice] {
            let world = World::new(0);
            submitted(&world, "poison", json!({"failure": "retryable"}));
            last_receive(&world);
            world.clock.advance(world.visibility());
            work(&world, &Faults::none(0));
            assert_eq!(world.memory.dead_letters.lock().unwrap().len(), 1);
            connected(&world);
            let summary = world.clock.block_on(world.audit(&Faults::at(0, planned))).unwrap();
            assert_eq!((summary.seen, summary.marked), (1, 1), "{planned:?}");

            let task = only_record(&world).to_wire();
            assert_eq!(task.status, Status::DeadLettered);
            assert_eq!(task.error.as_ref().unwrap().kind, error);
            assert_eq!(known_to_alice(&world), Some(task), "nobody was told: {planned:?}");
        }
    }
}

/// The delivery that finds this end is the only one who can tell, and the client neither asks nor connects again.
#[test]
fn a_connected_client_hears_of_an_end_whose_writer_told_nobody() {
    silence_expected_crashes();
    // What needs no lease is one write; what needs one is claimed before.
    for (kind, payload, end) in [("digest", json!({"text": "a"}), 0), ("flaky", leased(), 1)] {
        for fault in [Fault::LoseAnswer, Fault::CrashAfter, Fault::HangAfter] {
            let world = World::new(0);
            connected(&world);
            submitted(&world, kind, payload.clone());
            work(&world, &Faults::at(0, [(end, fault)]));
            let task = only_record(&world).to_wire();
            assert_eq!(task.status, Status::Succeeded, "{kind}: {fault:?}");
            assert_ne!(known_to_alice(&world), Some(task.clone()), "{kind}: {fault:?}");

            world.clock.advance(world.visibility());
            let ended = world.clock.block_on(world.work(&Faults::none(0)));
            assert_eq!(ended[0].handled, Handled::Done(Done::AlreadySucceeded));
            assert_eq!(known_to_alice(&world), Some(task), "{kind}: {fault:?}");
        }
    }
}

/// It acknowledges the message, so that nobody comes after it to tell.
#[test]
fn a_worker_that_was_taken_over_tells_of_the_end_that_it_finds() {
    let world = World::with_function_time(0, DurationMs::from_seconds(60));
    connected(&world);
    submitted(&world, "sleep", json!({"duration_ms": 20_000}));
    // The claim comes through, and none of the heartbeats.
    let heartbeats = (1..=4).map(|call| (call, Fault::Refuse(ErrorClass::Transient)));
    let late = Faults::at(0, heartbeats);
    let other = async {
        (&world.clock).sleep(limits::LEASE_TIME).await;
        ended_by_a_dead_worker(&world);
    };
    let (ended, ()) = world.clock.block_on(join(world.work(&late), other));
    assert_eq!(ended[0].handled, Handled::Done(Done::AlreadySucceeded));
    assert_eq!(known_to_alice(&world), Some(only_record(&world).to_wire()));
}

/// The last attempt's end was written, and its worker died of it or heard nothing: the message goes on to the dead letters.
#[test]
fn an_audit_tells_of_an_end_while_somebody_may_still_wait_for_it() {
    silence_expected_crashes();
    let audited = |world: &World| {
        let summary = world.clock.block_on(world.audit(&Faults::none(0))).unwrap();
        assert_eq!((summary.marked, summary.already_final), (0, 1));
        known_to_alice(world)
    };
    for (seconds, fault) in [(1, Fault::CrashAfter), (60, Fault::CrashAfter), (10, Fault::LoseAnswer)] {
        let world = World::with_function_time(0, DurationMs::from_seconds(seconds));
        submitted(&world, "poison", json!({"failure": "retryable"}));
        until_the_last_receive(&world);
        connected(&world);
        // A read, the claim, and the end.
        work(&world, &Faults::at(0, [(2, fault)]));
        let task = only_record(&world).to_wire();
        assert_eq!(task.status, Status::DeadLettered);
        world.clock.advance(world.visibility());
        work(&world, &Faults::none(0));
        assert_ne!(known_to_alice(&world), Some(task.clone()));

        assert_eq!(audited(&world), Some(task), "{seconds} s, {fault:?}");
        world.clock.advance(limits::AUDIT_TELLS_FOR);
        world.clients.lock().unwrap().iter_mut().for_each(|client| client.seen.clear());
        assert_eq!(audited(&world), None, "every audit would tell of every dead letter");
    }
}

/// Its message came into the queue all the same, and from there to the dead letters, while the task of its key is alive.
#[test]
fn a_dead_letter_of_a_refused_submission_marks_no_other_task() {
    let world = World::new(0);
    submit(&world, Some("k"), "digest", json!({"text": "a"}), &Faults::none(0));
    // The look-up fails, so that only the record shows that the key was used before.
    let unseen = Faults::at(0, [(0, Fault::Refuse(ErrorClass::Transient))]);
    submit(&world, Some("k"), "digest", json!({"text": "b"}), &unseen);
    let (key, message) = world.queue.lock().unwrap().messages.pop_last().unwrap();
    let letter = DeadLetter { message_id: key.to_string(), body: message.body };
    world.memory.dead_letters.lock().unwrap().push(letter);
    assert_eq!(world.queue.lock().unwrap().messages.len(), 1);

    let before = only_record(&world);
    let summary = world.clock.block_on(world.audit(&Faults::none(0))).unwrap();
    assert_eq!((summary.seen, summary.superseded, summary.marked), (1, 1, 0));
    assert_eq!(only_record(&world), before);
    work(&world, &Faults::none(0));
    assert_eq!(only_record(&world).state.status(), Status::Succeeded);
    world.check();
}

/// What cannot be written down comes back like what cannot be read: after a pause that outlasts outages.
#[test]
fn an_attempt_whose_end_cannot_be_recorded_waits_as_in_an_outage() {
    for failures in [0, 9] {
        for seed in 0..16 {
            let world = World::new(seed);
            submitted(&world, "flaky", json!({"failures": failures}));
            // The claim, and then the end of the attempt.
            let faults = Faults::store_down_from(seed, 1);
            let ended = world.clock.block_on(world.work(&faults));
            assert_eq!(
                ended[0].handled,
                Handled::Failed(Failed::Dependency(ErrorClass::Transient)),
                "{failures}"
            );
            let shown_at = world.queue.lock().unwrap().messages.values().next().unwrap().visible_at;
            let pause = shown_at.since(world.now()).0;
            assert!(pause >= world.visibility().0 / 2, "{failures}: came back after {pause} ms");
        }
    }
}
