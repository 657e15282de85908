//! Telling an owner's connections about changes. Never fails a task.
//!
//! A change goes to the connections that are there after it was written: an older answer would miss a client that came in
//! between, whose own question was answered with the state before. Each connection has its own outbox and at most one push
//! under way, and each owner its share of the pushes, so that clients that do not read hold up nobody but themselves. What
//! waits in an outbox is overtaken by what is newer: a client drops a push whose version is not above what it has. That a
//! task has begun waits a moment before it goes there: most tasks have ended by then.

mod held;
mod outbox;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};

use crate::deadline::within;
use crate::error::PortError;
use crate::id::{Owner, TaskId};
use crate::limits;
use crate::ports::{Change, Clock, Connections, Listener, Pushed, Pusher};
use crate::time::EpochMs;
use crate::wire::{ServerMessage, Status, Task};
use held::Held;
use outbox::{Message, Outboxes, Parcel};

/// What became of the pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushReport {
    pub sent: u32,
    /// To connections that were closed, or not open yet.
    pub gone: u32,
    /// Refused, unanswered, or given up.
    pub failed: u32,
}

/// Pushes for one batch. Asks for an owner's connections once at a time, for all changes that came meanwhile.
#[derive(Clone, Debug)]
pub struct Notifier<N, P, C> {
    pub connections: N,
    pub pusher: P,
    pub clock: C,
}

/// What became of a push that was answered.
enum Outcome {
    Sent,
    /// Or gone already: nobody can tell.
    NotOpen,
    Gone,
}

/// What the notifier waited for.
enum Step {
    Found { owner: Owner, connections: Result<Vec<Listener>, PortError> },
    Pushed { parcel: Parcel, outcome: Result<Outcome, PortError> },
}

enum Next {
    Step(Step),
    Change(Change),
    /// Has been held back for long enough.
    Due(Change),
    /// No further change will come.
    Closed,
    /// And nothing is left to be done.
    Done,
}

/// The newest change of each task, on its way to the connections of one owner.
struct Waiting {
    /// For the answer that is under way.
    asked: BTreeMap<TaskId, Arc<Message>>,
    /// For the next: they were written when that question may have been answered already.
    later: BTreeMap<TaskId, Arc<Message>>,
}

impl Waiting {
    fn put(&mut self, message: Arc<Message>) {
        if self.asked.get(&message.task_id).is_some_and(|asked| asked.version < message.version) {
            self.asked.remove(&message.task_id);
        }
        outbox::put_newest(&mut self.later, message);
    }
}

/// One batch's pushes.
struct Round<'a, N, P, C> {
    notifier: &'a Notifier<N, P, C>,
    under_way: FuturesUnordered<BoxFuture<'a, Step>>,
    /// Of owners whose connections are being asked for.
    waiting: HashMap<Owner, Waiting>,
    held: Held<'a>,
    outboxes: Outboxes,
    report: PushReport,
    is_open: bool,
}

impl<N: Connections, P: Pusher, C: Clock> Notifier<N, P, C> {
    /// Pushes what comes out of `changes`. Ends when all is pushed, at most [`limits::PUSH_GRACE`] after the last change,
    /// and in any case at `deadline`.
    pub async fn notify<S>(&self, changes: S, deadline: EpochMs) -> PushReport
    where
        S: Stream<Item = Change> + Unpin,
    {
        let mut changes = changes;
        let mut round = Round {
            notifier: self,
            under_way: FuturesUnordered::new(),
            waiting: HashMap::new(),
            held: Held::default(),
            outboxes: Outboxes::default(),
            report: PushReport::default(),
            is_open: true,
        };
        within(&self.clock, deadline, round.until_closed(&mut changes)).await;
        let end = self.clock.now().plus(limits::PUSH_GRACE).min(deadline);
        within(&self.clock, end, round.until_done(&mut changes)).await;
        round.report_with_what_is_left()
    }
}

impl<N: Connections, P: Pusher, C: Clock> Round<'_, N, P, C> {
    async fn until_closed<S: Stream<Item = Change> + Unpin>(&mut self, changes: &mut S) {
        while self.is_open {
            let next = self.next(changes).await;
            self.take(next);
        }
    }

    async fn until_done<S: Stream<Item = Change> + Unpin>(&mut self, changes: &mut S) {
        loop {
            match self.next(changes).await {
                Next::Done => return,
                next => self.take(next),
            }
        }
    }

    /// Changes first: what is newer overtakes what waits.
    async fn next<S: Stream<Item = Change> + Unpin>(&mut self, changes: &mut S) -> Next {
        std::future::poll_fn(|context| {
            if self.is_open
                && let Poll::Ready(change) = changes.poll_next_unpin(context)
            {
                return Poll::Ready(change.map_or(Next::Closed, Next::Change));
            }
            if let Poll::Ready(change) = self.held.poll_due(context, &self.notifier.clock) {
                return Poll::Ready(Next::Due(change));
            }
            match self.under_way.poll_next_unpin(context) {
                Poll::Ready(Some(step)) => Poll::Ready(Next::Step(step)),
                Poll::Ready(None) if !self.is_open => Poll::Ready(Next::Done),
                // With nothing under way the next change wakes us.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Change(change) => self.changed(change),
            Next::Due(change) => self.announce(change),
            Next::Step(Step::Found { owner, connections }) => self.found(owner, connections),
            Next::Step(Step::Pushed { parcel, outcome }) => self.pushed(parcel, outcome),
            Next::Closed => self.closed(),
            Next::Done => {}
        }
        self.start_pushes();
    }

    fn changed(&mut self, change: Change) {
        if change.task.status == Status::Running {
            self.held.put(change, self.notifier.clock.now());
        } else {
            self.held.overtake(change.task.id);
            self.announce(change);
        }
    }

    /// What is held back now will not be overtaken any more.
    fn closed(&mut self) {
        self.is_open = false;
        while let Some(change) = self.held.take() {
            self.announce(change);
        }
    }

    fn announce(&mut self, change: Change) {
        let Some(message) = message(change.task) else {
            self.report.failed += 1;
            return;
        };
        match self.waiting.get_mut(&change.owner) {
            Some(waiting) => waiting.put(message),
            None => self.ask(change.owner, BTreeMap::from([(message.task_id, message)])),
        }
    }

    fn ask(&mut self, owner: Owner, asked: BTreeMap<TaskId, Arc<Message>>) {
        self.waiting.insert(owner.clone(), Waiting { asked, later: BTreeMap::new() });
        let connections = &self.notifier.connections;
        let ask = async move {
            let connections = connections.of_owner(&owner).await;
            Step::Found { owner, connections }
        };
        self.under_way.push(ask.boxed());
    }

    fn found(&mut self, owner: Owner, connections: Result<Vec<Listener>, PortError>) {
        let Some(Waiting { asked, later }) = self.waiting.remove(&owner) else { return };
        match connections {
            Ok(connections) => {
                for listener in &connections {
                    for message in asked.values() {
                        self.outboxes.put(&owner, listener, Arc::clone(message));
                    }
                }
            }
            Err(_) => self.report.failed += count(asked.len()),
        }
        if !later.is_empty() {
            self.ask(owner, later);
        }
    }

    fn pushed(&mut self, parcel: Parcel, outcome: Result<Outcome, PortError>) {
        match outcome {
            Ok(Outcome::Sent) => self.report.sent += 1,
            // A client that opens it now sees this change when it asks, and is to be told of the next.
            Ok(Outcome::NotOpen) => self.report.gone += 1,
            Ok(Outcome::Gone) => {
                self.report.gone += 1;
                self.outboxes.close(&parcel.listener.connection);
            }
            Err(_) => {
                self.report.failed += 1;
                self.outboxes.failed(&parcel.listener.connection);
            }
        }
        self.outboxes.ended(&parcel);
    }

    fn start_pushes(&mut self) {
        while let Some(parcel) = self.outboxes.take() {
            self.under_way.push(push(self.notifier, parcel).boxed());
        }
    }

    fn report_with_what_is_left(self) -> PushReport {
        let asked = self.waiting.values().map(|waiting| waiting.asked.len() + waiting.later.len());
        let left = self.outboxes.left() + self.held.len() + asked.sum::<usize>();
        PushReport { failed: self.report.failed + count(left), ..self.report }
    }
}

async fn push<N: Connections, P: Pusher, C: Clock>(notifier: &Notifier<N, P, C>, parcel: Parcel) -> Step {
    let Listener { since, connection } = &parcel.listener;
    let outcome = notifier.pusher.push(connection, &parcel.message.text).await;
    let outcome = match outcome {
        Ok(Pushed::Sent) => Ok(Outcome::Sent),
        Ok(Pushed::Gone) if notifier.clock.now().since(*since) < limits::CONNECT_TIME_MAX => {
            Ok(Outcome::NotOpen)
        }
        Ok(Pushed::Gone) => {
            // When the removal fails the row goes with the next push, or by its time to live.
            let _later = notifier.connections.remove(&parcel.owner, connection).await;
            Ok(Outcome::Gone)
        }
        Err(error) => Err(error),
    };
    Step::Pushed { parcel, outcome }
}

fn message(task: Task) -> Option<Arc<Message>> {
    let (task_id, version) = (task.id, task.version);
    let text = serde_json::to_string(&ServerMessage::Task { task }).ok()?;
    Some(Arc::new(Message { task_id, version, text }))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
