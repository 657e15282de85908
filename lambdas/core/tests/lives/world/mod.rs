//! A world to live whole lives of tasks in: the queue as SQS may behave, Lambda's invocations that end in time or not at
//! all, clients that come and go. Everything follows from a seed.

mod check;
mod clients;
mod queue;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use futures_channel::mpsc;
use futures_util::FutureExt as _;
use futures_util::future::{Either, join, join_all, select};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use task_core::admission::Admission;
use task_core::audit::{AuditSummary, Auditor};
use task_core::kind::KindsAllowed;
use task_core::message::QueueMessage;
use task_core::notify::Notifier;
use task_core::ports::{Change, Changes, Clock as _, TaskStore};
use task_core::process::{Delivery, Ended, Failed, HandleDelivery as _, Handled, Policy, Worker};
use task_core::submit::{Submission, Submit, SubmitError, Submitted};
use task_core::testing::{Crash, Fault, Faults, Faulty, ManualClock, Memory, SeededRandom};
use task_core::wire::NewTask;
use task_core::{DurationMs, EpochMs, IdempotencyKey, Owner, TaskId, limits};

use clients::Client;
use queue::{Queue, QueuePort};

pub(crate) const MAX_RECEIVE_COUNT: u32 = 5;
/// As Terraform sets it.
const AUDIT_TIME: DurationMs = DurationMs::from_seconds(60);
pub(crate) const OWNERS: [&str; 2] = ["alice", "bob"];

/// How one invocation of a function ended.
#[derive(Debug)]
pub(crate) enum Invocation<T> {
    Answered(T),
    Crashed,
    /// Lambda killed it.
    TimedOut,
}

pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) clock: ManualClock,
    pub(crate) random: SeededRandom,
    pub(crate) function_time: DurationMs,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) acknowledged: Mutex<BTreeSet<TaskId>>,
    /// Bodies that somebody else put on the queue.
    pub(crate) foreign: Mutex<Vec<String>>,
    pub(crate) clients: Mutex<Vec<Client>>,
}

impl World {
    /// Functions of one second, as the local stack has them.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_function_time(seed, DurationMs::from_seconds(1))
    }

    pub(crate) fn with_function_time(seed: u64, function_time: DurationMs) -> Self {
        Self {
            memory: Memory::default(),
            clock: ManualClock::new(EpochMs(1_800_000_000_000)),
            random: SeededRandom::new(seed),
            function_time,
            queue: Mutex::new(Queue::default()),
            acknowledged: Mutex::default(),
            foreign: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    /// AWS: "set the queue's visibility timeout to at least six times the function timeout".
    pub(crate) fn visibility(&self) -> DurationMs {
        DurationMs(self.function_time.0 * 6)
    }

    pub(crate) fn roll(&self, sides: u64) -> u64 {
        self.random.next() % sides
    }

    pub(crate) fn now(&self) -> EpochMs {
        (&self.clock).now()
    }

    pub(crate) fn owner(&self) -> Owner {
        let index = usize::try_from(self.roll(OWNERS.len() as u64)).unwrap();
        Owner::parse(OWNERS[index]).unwrap()
    }

    /// Each of the first calls may fail, about one in four.
    pub(crate) fn faults(&self) -> Faults {
        let pick = || Fault::ALL[usize::try_from(self.roll(Fault::ALL.len() as u64)).unwrap()];
        let planned: Vec<_> = (0..12).filter(|_| self.roll(4) == 0).map(|call| (call, pick())).collect();
        Faults::at(self.random.next(), planned)
    }

    pub(crate) fn no_faults(&self) -> Faults {
        Faults::none(self.random.next())
    }

    /// What Lambda does around a handler. A dying process takes everything with it that it had under way.
    pub(crate) async fn invoke<T>(
        &self,
        time: DurationMs,
        handler: impl Future<Output = T>,
    ) -> Invocation<T> {
        let clock = &self.clock;
        let deadline = clock.sleep(time);
        let handler = AssertUnwindSafe(handler).catch_unwind();
        match select(std::pin::pin!(handler), std::pin::pin!(deadline)).await {
            Either::Left((Ok(answer), _)) => Invocation::Answered(answer),
            Either::Left((Err(panic), _)) if panic.is::<Crash>() => Invocation::Crashed,
            Either::Left((Err(panic), _)) => std::panic::resume_unwind(panic),
            Either::Right(_) => Invocation::TimedOut,
        }
    }

    pub(crate) fn new_task(&self) -> NewTask {
        let (kind, payload): (&str, Value) = match self.roll(5) {
            0 => ("poison", json!({"failure": if self.roll(2) == 0 { "permanent" } else { "retryable" }})),
            1 => ("flaky", json!({"failures": self.roll(4)})),
            2 => ("sleep", json!({"duration_ms": self.roll(self.function_time.0 * 3 / 4)})),
            _ => ("digest", json!({"text": self.roll(3).to_string()})),
        };
        NewTask { kind: kind.into(), payload }
    }

    pub(crate) async fn submit_any(&self, faults: &Faults) {
        let key = (self.roll(2) == 0).then(|| format!("k{}", self.roll(4)));
        let (owner, new_task) = (self.owner(), self.new_task());
        self.submit(&owner, key.as_deref(), &new_task, faults).await;
    }

    pub(crate) async fn submit(&self, owner: &Owner, key: Option<&str>, new_task: &NewTask, faults: &Faults) {
        let submit = Submit {
            store: Faulty { inner: &self.memory, faults },
            queue: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
            random: &self.random,
            kinds: KindsAllowed::WithTestTasks,
            admission: Admission::new(limits::TASKS_IN_FLIGHT_PER_OWNER_MAX),
        };
        let key = key.map(|key| IdempotencyKey::parse(key).unwrap());
        let deadline = self.now().plus(self.function_time);
        let submission = Submission { owner, key: key.as_ref(), new_task, trace: None, deadline };
        let before = self.left_behind();
        match self.invoke(self.function_time, submit.submit(submission)).await {
            Invocation::Answered(Ok(submitted)) => {
                if let Submitted::Repeated(_) = submitted {
                    assert_eq!(self.left_behind(), before, "a repeated submission left something");
                }
                self.acknowledged.lock().unwrap().insert(submitted.record().id);
            }
            Invocation::Answered(Err(SubmitError::Refused(_) | SubmitError::TooManyInFlight { .. })) => {
                assert_eq!(self.left_behind(), before, "a refused submission left something");
            }
            Invocation::Answered(Err(_)) | Invocation::Crashed => {}
            Invocation::TimedOut => panic!("a submission did not answer in its time"),
        }
        self.queue.lock().unwrap().take_over(&self.memory, self.now());
    }

    /// Messages and records.
    fn left_behind(&self) -> (usize, usize) {
        (self.memory.sent.lock().unwrap().len(), self.memory.records.lock().unwrap().len())
    }

    pub(crate) fn send_foreign(&self, body: &str) {
        self.foreign.lock().unwrap().push(body.to_owned());
        self.queue.lock().unwrap().send(body.to_owned(), self.now());
    }

    /// One batch: work, pushes, and the answer by which done messages are deleted. How each delivery ended, if the batch
    /// was answered.
    pub(crate) async fn work(&self, faults: &Faults) -> Vec<Ended> {
        let deadline = self.now().plus(self.function_time);
        let deliveries = self.queue.lock().unwrap().receive(self, faults);
        let changes = Mutex::new(Vec::new());
        let handler = async {
            let store = Faulty { inner: &self.memory, faults };
            let ended = self.deliver(&deliveries, store, faults, Noted(&changes), deadline).await;
            let changes = std::mem::take(&mut *changes.lock().unwrap());
            self.push(stream::iter(changes), faults, deadline).await;
            ended
        };
        self.batch(&deliveries, handler).await
    }

    /// The same without faults, and with pushes that go on beside the work.
    pub(crate) async fn work_and_push(&self) {
        let deadline = self.now().plus(self.function_time);
        let faults = self.no_faults();
        let deliveries = self.queue.lock().unwrap().receive(self, &faults);
        let (sender, changes) = mpsc::unbounded();
        let handler = async {
            let store = Faulty { inner: &self.memory, faults: &faults };
            let work = self.deliver(&deliveries, store, &faults, Sent(sender), deadline);
            join(work, self.push(changes, &faults, deadline)).await.0
        };
        self.batch(&deliveries, handler).await;
    }

    /// The same without faults and without pushes, of a worker that has this table.
    pub(crate) async fn work_with(&self, store: impl TaskStore + Send) -> Vec<Ended> {
        let deadline = self.now().plus(self.function_time);
        let faults = self.no_faults();
        let deliveries = self.queue.lock().unwrap().receive(self, &faults);
        let changes = Mutex::new(Vec::new());
        let handler = self.deliver(&deliveries, store, &faults, Noted(&changes), deadline);
        self.batch(&deliveries, handler).await
    }

    async fn deliver<S: TaskStore + Send, N: Changes + Send>(
        &self,
        deliveries: &[(usize, Delivery)],
        store: S,
        faults: &Faults,
        changes: N,
        deadline: EpochMs,
    ) -> Vec<Ended> {
        let worker = Worker {
            store,
            visibility: Faulty { inner: QueuePort { queue: &self.queue, clock: &self.clock }, faults },
            clock: &self.clock,
            random: &self.random,
            changes,
            policy: Policy {
                max_receive_count: MAX_RECEIVE_COUNT,
                visibility: self.visibility(),
                kinds: KindsAllowed::WithTestTasks,
            },
        };
        join_all(deliveries.iter().map(|(_, delivery)| worker.handle(delivery, deadline))).await
    }

    async fn batch(
        &self,
        deliveries: &[(usize, Delivery)],
        handler: impl Future<Output = Vec<Ended>>,
    ) -> Vec<Ended> {
        let ended = match self.invoke(self.function_time, handler).await {
            Invocation::Answered(ended) => ended,
            Invocation::Crashed => Vec::new(),
            Invocation::TimedOut => panic!("a batch did not answer in its time"),
        };
        for ((key, delivery), ended) in deliveries.iter().zip(&ended) {
            check_end(delivery, ended);
            if matches!(ended.handled, Handled::Done(_)) {
                self.queue.lock().unwrap().delete(*key);
            }
        }
        self.deliver_pushes();
        ended
    }

    async fn push<S>(&self, changes: S, faults: &Faults, deadline: EpochMs)
    where
        S: Stream<Item = Change> + Unpin,
    {
        let notifier = Notifier {
            connections: Faulty { inner: &self.memory, faults },
            pusher: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
        };
        notifier.notify(changes, deadline.minus(limits::ANSWER_MARGIN)).await;
    }

    /// What it found, if it was answered.
    pub(crate) async fn audit(&self, faults: &Faults) -> Option<AuditSummary> {
        let letters_before = self.memory.dead_letters.lock().unwrap().clone();
        self.memory.show_dead_letters();
        let deadline = self.now().plus(AUDIT_TIME);
        let changes = Mutex::new(Vec::new());
        let auditor = Auditor {
            store: Faulty { inner: &self.memory, faults },
            dead_letters: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
            changes: Noted(&changes),
            visibility: self.visibility(),
        };
        let handler = async {
            let summary = auditor.audit(deadline).await;
            let changes = std::mem::take(&mut *changes.lock().unwrap());
            self.push(stream::iter(changes), faults, deadline).await;
            summary
        };
        let audited = self.invoke(AUDIT_TIME, handler).await;
        assert!(!matches!(audited, Invocation::TimedOut), "an audit did not answer in its time");
        self.deliver_pushes();
        assert_eq!(
            *self.memory.dead_letters.lock().unwrap(),
            letters_before,
            "an audit changed the dead letters"
        );
        match audited {
            Invocation::Answered(summary) => summary.ok(),
            Invocation::Crashed | Invocation::TimedOut => None,
        }
    }

    /// `StartMessageMoveTask`: new messages to SQS, with the bodies that they had.
    pub(crate) fn redrive(&self) {
        let letters = std::mem::take(&mut *self.memory.dead_letters.lock().unwrap());
        let mut queue = self.queue.lock().unwrap();
        for letter in letters {
            queue.send(letter.body, self.now());
        }
    }

    /// Without faults, until the queue is empty and the audit has nothing left to mark.
    pub(crate) async fn heal(&self) {
        for round in 0.. {
            if self.queue.lock().unwrap().is_empty() {
                break;
            }
            assert!(round < 5_000, "the queue does not drain");
            self.work(&self.no_faults()).await;
            self.clock.advance(DurationMs(self.function_time.0.min(1_000)));
        }
        self.clock.advance(self.visibility());
        let summary = self.audit(&self.no_faults()).await.expect("an audit without faults is answered");
        assert_eq!(summary.malformed as usize, self.foreign.lock().unwrap().len(), "{summary:?}");
        self.reconnect_all().await;
    }
}

/// A message is called malformed exactly when it is not ours, and such a one is never acknowledged.
fn check_end(delivery: &Delivery, ended: &Ended) {
    let is_malformed = ended.handled == Handled::Failed(Failed::Malformed);
    assert_eq!(is_malformed, task_of(&delivery.body).is_none(), "{ended:?}");
}

/// Collects the changes of one invocation, which dies with them.
struct Noted<'a>(&'a Mutex<Vec<Change>>);

impl Changes for Noted<'_> {
    fn changed(&self, change: Change) {
        self.0.lock().unwrap().push(change);
    }
}

/// Hands them on at once.
struct Sent(mpsc::UnboundedSender<Change>);

impl Changes for Sent {
    fn changed(&self, change: Change) {
        self.0.unbounded_send(change).unwrap();
    }
}

pub(crate) fn task_of(body: &str) -> Option<TaskId> {
    QueueMessage::parse(body).ok().map(|message| message.task_id)
}

/// Crashes are expected by the hundred; other panics are shown.
pub(crate) fn silence_expected_crashes() {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<Crash>().is_none() {
            eprintln!("{info}");
        }
    }));
}
