//! Pushes: concurrent, bounded, newest only, and no connection at the expense of another.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join;
use futures_util::stream::{self, Stream};
use task_core::error::{ErrorClass, PortError};
use task_core::idempotency::fresh_task_id;
use task_core::notify::{Notifier, PushReport};
use task_core::ports::{Change, Clock as _, Connections, Listener, Pushed, Pusher};
use task_core::record::TaskRecord;
use task_core::testing::{ManualClock, Memory, SeededRandom, digest};
use task_core::wire::{ServerMessage, Status, Task};
use task_core::{ConnectionId, DurationMs, EpochMs, Owner, Version, limits};

/// What a push to a connection is like.
#[derive(Clone, Copy)]
enum Line {
    Quick,
    Slow(DurationMs),
    Broken,
    Gone,
}

/// Connections by their owner and line, and what came over them when.
struct Lines {
    clock: ManualClock,
    lines: BTreeMap<ConnectionId, (Owner, Line)>,
    tried: Mutex<Vec<ConnectionId>>,
    sent: Mutex<Vec<(ConnectionId, Task, EpochMs)>>,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
}

impl Lines {
    /// All of them Alice's.
    fn new(lines: impl IntoIterator<Item = (String, Line)>) -> Self {
        let lines =
            lines.into_iter().map(|(id, line)| (ConnectionId::parse(id).unwrap(), (alice(), line))).collect();
        Self {
            clock: ManualClock::new(EpochMs(0)),
            lines,
            tried: Mutex::default(),
            sent: Mutex::default(),
            under_way: AtomicUsize::new(0),
            under_way_max: AtomicUsize::new(0),
        }
    }

    fn and(mut self, owner: &Owner, id: &str, line: Line) -> Self {
        self.lines.insert(ConnectionId::parse(id).unwrap(), (owner.clone(), line));
        self
    }

    /// Pushes that began, delivered or not.
    fn tried(&self, id: &str) -> usize {
        self.tried.lock().unwrap().iter().filter(|connection| connection.as_str() == id).count()
    }

    fn got(&self, id: &str) -> Vec<(Task, EpochMs)> {
        let sent = self.sent.lock().unwrap();
        let to = sent.iter().filter(|(connection, _, _)| connection.as_str() == id);
        to.map(|(_, task, at)| (task.clone(), *at)).collect()
    }

    async fn carry(&self, connection: &ConnectionId, message: &str) -> Result<Pushed, PortError> {
        match self.lines[connection].1 {
            Line::Quick => (&self.clock).sleep(DurationMs(1)).await,
            Line::Slow(time) => (&self.clock).sleep(time).await,
            Line::Broken => {
                let detail = "broken".to_owned();
                return Err(PortError { operation: "push", class: ErrorClass::Unknown, detail });
            }
            Line::Gone => return Ok(Pushed::Gone),
        }
        let ServerMessage::Task { task } = serde_json::from_str(message).unwrap() else {
            panic!("not a task")
        };
        self.sent.lock().unwrap().push((connection.clone(), task, (&self.clock).now()));
        Ok(Pushed::Sent)
    }
}

impl Pusher for &Lines {
    async fn push(&self, connection: &ConnectionId, message: &str) -> Result<Pushed, PortError> {
        self.tried.lock().unwrap().push(connection.clone());
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.under_way_max.fetch_max(under_way, Ordering::SeqCst);
        let outcome = self.carry(connection, message).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

fn alice() -> Owner {
    Owner::parse("alice").unwrap()
}

/// The first state of a new task of Alice's.
fn change(random: &SeededRandom) -> Change {
    change_of(&alice(), random)
}

fn change_of(owner: &Owner, random: &SeededRandom) -> Change {
    let record = TaskRecord::queued(&digest(fresh_task_id(EpochMs(0), random), owner, EpochMs(0)));
    Change { owner: owner.clone(), task: record.to_wire() }
}

fn notify(lines: &Lines, memory: &Memory, changes: Vec<Change>, time: DurationMs) -> PushReport {
    let clock = &lines.clock;
    let notifier = Notifier { connections: memory, pusher: lines, clock };
    clock.block_on(async {
        for (connection, (owner, _)) in &lines.lines {
            memory.add(owner, connection, EpochMs(0)).await.unwrap();
        }
        notifier.notify(stream::iter(changes), clock.now().plus(time)).await
    })
}

const MINUTE: DurationMs = DurationMs::from_seconds(60);

#[test]
fn a_slow_connection_holds_up_nobody_but_itself() {
    let slow = Line::Slow(DurationMs(500));
    let lines = Lines::new([("quick".to_owned(), Line::Quick), ("slow".to_owned(), slow)]);
    let random = SeededRandom::new(1);
    let changes: Vec<_> = (0..20).map(|_| change(&random)).collect();
    let report = notify(&lines, &Memory::default(), changes, MINUTE);
    let quick = lines.got("quick");
    assert_eq!(quick.len(), 20);
    assert!(quick.iter().all(|(_, at)| at.0 <= 20), "the quick one waited: {quick:?}");
    // And the slow one cannot stretch the batch: what it did not take in time is given up.
    assert!((&lines.clock).now().0 <= limits::PUSH_GRACE.0 + 20);
    assert_eq!(report.sent + report.failed, 40);
}

#[test]
fn a_broken_connection_is_passed_by_and_a_gone_one_is_forgotten() {
    let lines = Lines::new([
        ("broken".to_owned(), Line::Broken),
        ("gone".to_owned(), Line::Gone),
        ("quick".to_owned(), Line::Quick),
    ]);
    let (random, memory) = (SeededRandom::new(1), Memory::default());
    let changes: Vec<_> = (0..10).map(|_| change(&random)).collect();
    lines.clock.advance(limits::CONNECT_TIME_MAX);
    let report = notify(&lines, &memory, changes, MINUTE);
    assert_eq!(report, PushReport { sent: 10, gone: 1, failed: 10 });
    let tried = ["quick", "gone", "broken"].map(|id| lines.tried(id));
    assert_eq!(tried, [10, 1, limits::PUSH_FAILURES_PER_CONNECTION_MAX as usize]);
    let left = memory.connections.lock().unwrap();
    let left: Vec<&str> = left.keys().map(|(_, connection)| connection.as_str()).collect();
    assert_eq!(left, ["broken", "quick"]);
}

/// API Gateway opens a connection when `$connect` was answered, which is after its row was written.
#[test]
fn a_connection_that_is_not_open_yet_keeps_its_row() {
    let lines = Lines::new([("opening".to_owned(), Line::Gone)]);
    let (random, memory) = (SeededRandom::new(1), Memory::default());
    lines.clock.advance(DurationMs(limits::CONNECT_TIME_MAX.0 - 1));
    let changes: Vec<_> = (0..3).map(|_| change(&random)).collect();
    let report = notify(&lines, &memory, changes, MINUTE);
    assert_eq!(report, PushReport { sent: 0, gone: 3, failed: 0 }, "who opens it meanwhile is to be told");
    assert_eq!(memory.connections.lock().unwrap().len(), 1, "who opens it now would hear nothing");
}

#[test]
fn pushes_run_side_by_side_within_their_bound() {
    let count = usize::from(limits::CONNECTIONS_PER_OWNER_MAX);
    let lines = Lines::new((0..count).map(|n| (format!("c{n:03}"), Line::Slow(DurationMs(10)))));
    let random = SeededRandom::new(1);
    let report = notify(&lines, &Memory::default(), vec![change(&random)], MINUTE);
    assert_eq!(report.sent as usize, count);
    assert_eq!(lines.under_way_max.load(Ordering::SeqCst), limits::PUSHES_IN_FLIGHT_PER_OWNER_MAX);
    assert_eq!((&lines.clock).now(), EpochMs(40), "four rounds of ten milliseconds");
}

#[test]
fn the_pushes_of_many_owners_stay_within_a_bound_of_their_own() {
    let owners = 2 * limits::PUSHES_IN_FLIGHT_MAX / limits::PUSHES_IN_FLIGHT_PER_OWNER_MAX;
    let random = SeededRandom::new(1);
    let (mut lines, mut changes) = (Lines::new([]), Vec::new());
    for owner in (0..owners).map(|number| Owner::parse(format!("owner-{number}")).unwrap()) {
        for number in 0..limits::PUSHES_IN_FLIGHT_PER_OWNER_MAX {
            lines = lines.and(&owner, &format!("{owner}-{number}"), Line::Slow(DurationMs(10)));
        }
        changes.push(change_of(&owner, &random));
    }
    let report = notify(&lines, &Memory::default(), changes, MINUTE);
    assert_eq!(report, PushReport { sent: u32::try_from(lines.lines.len()).unwrap(), gone: 0, failed: 0 });
    assert_eq!(lines.under_way_max.load(Ordering::SeqCst), limits::PUSHES_IN_FLIGHT_MAX);
}

#[test]
fn one_owners_slow_connections_leave_room_for_another() {
    let count = usize::from(limits::CONNECTIONS_PER_OWNER_MAX);
    let (bob, random) = (Owner::parse("bob").unwrap(), SeededRandom::new(1));
    let mut lines = Lines::new([]).and(&bob, "quick", Line::Quick);
    let mut changes = Vec::new();
    // Of the ten owners that a batch can have, nine have slow clients, as many as they may.
    for owner in (0..9).map(|number| Owner::parse(format!("slow-{number}")).unwrap()) {
        for number in 0..count {
            lines = lines.and(&owner, &format!("{owner}-{number}"), Line::Slow(MINUTE));
        }
        changes.push(change_of(&owner, &random));
    }
    changes.extend((0..5).map(|_| change_of(&bob, &random)));
    let report = notify(&lines, &Memory::default(), changes, MINUTE);
    let quick = lines.got("quick");
    assert!(quick.len() == 5 && quick.iter().all(|(_, at)| at.0 <= 5), "Bob waited for others: {quick:?}");
    assert_eq!(report.failed as usize, 9 * count, "what the slow clients did not take is counted");
}

#[test]
fn a_state_that_was_overtaken_is_not_sent() {
    let lines = Lines::new([("quick".to_owned(), Line::Quick)]);
    let first = change(&SeededRandom::new(1));
    let mut second = first.clone();
    second.task.version = Version(2);
    let report = notify(&lines, &Memory::default(), vec![first, second], MINUTE);
    assert_eq!(report.sent, 1);
    assert_eq!(lines.got("quick")[0].0.version, Version(2));
}

#[test]
fn pushing_ends_at_its_deadline_and_counts_what_it_gave_up() {
    let lines = Lines::new([("slow".to_owned(), Line::Slow(MINUTE))]);
    let random = SeededRandom::new(1);
    let changes = vec![change(&random), change(&random)];
    let report = notify(&lines, &Memory::default(), changes, DurationMs(100));
    assert_eq!(report, PushReport { sent: 0, gone: 0, failed: 2 });
    assert_eq!((&lines.clock).now(), EpochMs(100));
}

/// A table that takes its time to answer with what it saw when it was asked.
struct SlowTable<'a> {
    inner: &'a Memory,
    clock: &'a ManualClock,
    questions: &'a AtomicUsize,
}

const LOOK_MS: u64 = 10;

impl Connections for SlowTable<'_> {
    async fn add(&self, owner: &Owner, connection: &ConnectionId, now: EpochMs) -> Result<(), PortError> {
        self.inner.add(owner, connection, now).await
    }

    async fn remove(&self, owner: &Owner, connection: &ConnectionId) -> Result<(), PortError> {
        self.inner.remove(owner, connection).await
    }

    async fn of_owner(&self, owner: &Owner) -> Result<Vec<Listener>, PortError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let seen = self.inner.of_owner(owner).await;
        self.clock.sleep(DurationMs(LOOK_MS)).await;
        seen
    }
}

/// Changes of one batch, each at its time.
fn at_their_times(
    clock: &ManualClock,
    changes: Vec<(EpochMs, Change)>,
    end: EpochMs,
) -> impl Stream<Item = Change> {
    stream::unfold(changes.into_iter(), move |mut left| async move {
        let next = left.next();
        let at = next.as_ref().map_or(end, |(at, _)| *at);
        clock.sleep(at.since(clock.now())).await;
        next.map(|(_, change)| (change, left))
    })
}

/// Otherwise it would hear nothing of work that was under way when it came, or wait for a later task to be told.
#[test]
fn a_client_that_connects_during_a_batch_is_told_of_what_is_written_from_then_on() {
    let lines = Lines::new([("late".to_owned(), Line::Quick)]);
    let (memory, random, questions) = (Memory::default(), SeededRandom::new(1), AtomicUsize::new(0));
    let clock = &lines.clock;
    let connections = SlowTable { inner: &memory, clock, questions: &questions };
    let notifier = Notifier { connections, pusher: &lines, clock };
    // The first is asked for at once, and its answer is under way when the client comes and three more are written.
    let connects_at = 5;
    let changes: Vec<_> = [0, 6, 7, 8, 600].map(|at| (EpochMs(at), change(&random))).into();
    let written: Vec<_> = changes.iter().map(|(at, change)| (at.0, change.task.id)).collect();
    clock.block_on(async {
        let connect = async {
            clock.sleep(DurationMs(connects_at)).await;
            (&memory).add(&alice(), lines.lines.keys().next().unwrap(), clock.now()).await.unwrap();
        };
        let changes = at_their_times(clock, changes, EpochMs(700));
        join(connect, notifier.notify(pin!(changes), EpochMs(MINUTE.0))).await
    });
    let heard: BTreeSet<_> = lines.got("late").iter().map(|(task, _)| task.id).collect();
    let later = written.iter().filter(|(at, _)| *at > connects_at);
    assert_eq!(heard, later.map(|(_, id)| *id).collect());
    assert_eq!(
        questions.load(Ordering::SeqCst),
        3,
        "one question serves all that came while another was open"
    );
}

/// A task of Alice's in one state after another, each at its time in milliseconds.
fn life(states: &[(u64, Status)]) -> Vec<(EpochMs, Change)> {
    let first = change(&SeededRandom::new(1));
    let change = |(version, (at, status)): (u64, &(u64, Status))| {
        let mut change = first.clone();
        (change.task.version, change.task.status) = (Version(version), *status);
        (EpochMs(*at), change)
    };
    (2..).zip(states).map(change).collect()
}

/// What Alice hears of such a life, and when. The work ends at `end`.
fn heard(life: Vec<(EpochMs, Change)>, end: u64) -> Vec<(Status, u64)> {
    let lines = Lines::new([("quick".to_owned(), Line::Quick)]);
    let memory = &Memory::default();
    let clock = &lines.clock;
    let notifier = Notifier { connections: memory, pusher: &lines, clock };
    let changes = at_their_times(clock, life, EpochMs(end));
    clock.block_on(async {
        memory.add(&alice(), lines.lines.keys().next().unwrap(), clock.now()).await.unwrap();
        notifier.notify(pin!(changes), EpochMs(MINUTE.0)).await
    });
    lines.got("quick").into_iter().map(|(task, at)| (task.status, at.0)).collect()
}

/// Of every push of these tests.
const PUSH_MS: u64 = 1;
const HELD_MS: u64 = limits::BEGUN_HELD.0;

#[test]
fn the_beginning_of_short_work_is_not_told_and_its_end_is_told_at_once() {
    let life = life(&[(10, Status::Running), (10 + HELD_MS - 1, Status::Succeeded)]);
    assert_eq!(heard(life, 500), [(Status::Succeeded, 10 + HELD_MS - 1 + PUSH_MS)]);
}

#[test]
fn the_beginning_of_long_work_is_told_while_it_goes_on() {
    let life = life(&[(10, Status::Running), (400, Status::Succeeded)]);
    let expected = [(Status::Running, 10 + HELD_MS + PUSH_MS), (Status::Succeeded, 400 + PUSH_MS)];
    assert_eq!(heard(life, 500), expected);
}

#[test]
fn a_beginning_whose_end_was_not_written_is_told_with_the_end_of_the_batch() {
    assert_eq!(heard(life(&[(10, Status::Running)]), 20), [(Status::Running, 20 + PUSH_MS)]);
}

/// The one that is overtaken was the next to be due.
#[test]
fn a_beginning_is_held_back_for_its_own_time_whatever_becomes_of_others() {
    let mut both = life(&[(10, Status::Running), (30, Status::Succeeded)]);
    let other = change(&SeededRandom::new(2));
    let other = Change { task: Task { status: Status::Running, version: Version(2), ..other.task }, ..other };
    both.insert(1, (EpochMs(20), other));
    let expected = [(Status::Succeeded, 30 + PUSH_MS), (Status::Running, 20 + HELD_MS + PUSH_MS)];
    assert_eq!(heard(both, 500), expected);
}
