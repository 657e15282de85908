//! Telling an owner's connections about changes. Never fails a task.
//!
//! Each connection has its own outbox and at most one push under way, and each owner its share of the pushes, so that clients
//! that do not read hold up nobody but themselves. What waits in an outbox is overtaken by what is newer: a client drops a push whose version is not above
//! what it has. That a task has begun waits a moment before it goes there: most tasks have ended by then.

mod held;
mod outbox;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};

use crate::deadline::within;
use crate::error::PortError;
use crate::id::{ConnectionId, Owner, TaskId};
use crate::limits;
use crate::ports::{Change, Clock, Connections, Pushed, Pusher};
use crate::time::EpochMs;
use crate::wire::{ServerMessage, Status, Task};
use held::Held;
use outbox::{Message, Outboxes, Parcel};

/// What became of the pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushReport {
    pub sent: u32,
    /// Connections that were closed; their rows are removed.
    pub gone: u32,
    /// Refused, unanswered, or given up.
    pub failed: u32,
}

/// Pushes for one batch: asks for each owner's connections once.
#[derive(Clone, Debug)]
pub struct Notifier<N, P, C> {
    pub connections: N,
    pub pusher: P,
    pub clock: C,
}

/// What the notifier waited for.
enum Step {
    Found { owner: Owner, connections: Result<Vec<ConnectionId>, PortError> },
    Pushed { parcel: Parcel, outcome: Result<Pushed, PortError> },
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

/// The connections of an owner, as far as they are known.
enum Audience {
    /// Being asked for; the newest change of each task waits.
    Asked(BTreeMap<TaskId, Arc<Message>>),
    Known(Vec<ConnectionId>),
}

/// One batch's pushes.
struct Round<'a, N, P, C> {
    notifier: &'a Notifier<N, P, C>,
    under_way: FuturesUnordered<BoxFuture<'a, Step>>,
    audiences: HashMap<Owner, Audience>,
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
            audiences: HashMap::new(),
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
            // Meanwhile, so that the end of the work need not wait for the answer.
            self.ask(&change.owner);
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

    /// Asks for the connections of an owner whose connections are neither known nor asked for.
    fn ask(&mut self, owner: &Owner) {
        if self.audiences.contains_key(owner) {
            return;
        }
        self.audiences.insert(owner.clone(), Audience::Asked(BTreeMap::new()));
        let (connections, owner) = (&self.notifier.connections, owner.clone());
        let ask = async move {
            let connections = connections.of_owner(&owner).await;
            Step::Found { owner, connections }
        };
        self.under_way.push(ask.boxed());
    }

    fn announce(&mut self, change: Change) {
        // Perhaps once more: an answer that was an error is forgotten.
        self.ask(&change.owner);
        let Some(message) = message(change.task) else {
            self.report.failed += 1;
            return;
        };
        match self.audiences.get_mut(&change.owner) {
            Some(Audience::Known(connections)) => {
                for connection in connections {
                    self.outboxes.put(&change.owner, connection, Arc::clone(&message));
                }
            }
            Some(Audience::Asked(waiting)) => outbox::put_newest(waiting, message),
            None => {}
        }
    }

    fn found(&mut self, owner: Owner, connections: Result<Vec<ConnectionId>, PortError>) {
        let Some(Audience::Asked(waiting)) = self.audiences.remove(&owner) else { return };
        // Forgotten when it failed, so that the next change asks again.
        let Ok(connections) = connections else {
            self.report.failed += count(waiting.len());
            return;
        };
        for connection in &connections {
            for message in waiting.values() {
                self.outboxes.put(&owner, connection, Arc::clone(message));
            }
        }
        self.audiences.insert(owner, Audience::Known(connections));
    }

    fn pushed(&mut self, parcel: Parcel, outcome: Result<Pushed, PortError>) {
        match outcome {
            Ok(Pushed::Sent) => self.report.sent += 1,
            Ok(Pushed::Gone) => {
                self.report.gone += 1;
                if let Some(Audience::Known(known)) = self.audiences.get_mut(&parcel.owner) {
                    known.retain(|connection| *connection != parcel.connection);
                }
                self.outboxes.close(&parcel.connection);
            }
            Err(_) => {
                self.report.failed += 1;
                self.outboxes.failed(&parcel.connection);
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
        let asked = self.audiences.values().map(|audience| match audience {
            Audience::Asked(waiting) => waiting.len(),
            Audience::Known(_) => 0,
        });
        let left = self.outboxes.left() + self.held.len() + asked.sum::<usize>();
        PushReport { failed: self.report.failed + count(left), ..self.report }
    }
}

async fn push<N: Connections, P: Pusher, C: Clock>(notifier: &Notifier<N, P, C>, parcel: Parcel) -> Step {
    let outcome = notifier.pusher.push(&parcel.connection, &parcel.message.text).await;
    if outcome == Ok(Pushed::Gone) {
        // When the removal fails the row goes with the next push, or by its time to live.
        let _later = notifier.connections.remove(&parcel.owner, &parcel.connection).await;
    }
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
