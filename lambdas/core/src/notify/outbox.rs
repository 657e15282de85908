//! What waits to be pushed, connection by connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::id::{ConnectionId, Owner, TaskId, Version};
use crate::limits;
use crate::ports::Listener;
use crate::time::EpochMs;

/// One state of one task, as it is sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) task_id: TaskId,
    pub(super) version: Version,
    pub(super) text: String,
}

/// A push that may begin.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) owner: Owner,
    pub(super) listener: Listener,
    pub(super) message: Arc<Message>,
}

#[derive(Debug)]
struct Outbox {
    since: EpochMs,
    waiting: BTreeMap<TaskId, Arc<Message>>,
    is_busy: bool,
    /// An answer that was under way when it went may still name it; its id is given to no other.
    is_gone: bool,
    failures: u32,
}

impl Outbox {
    fn new(since: EpochMs) -> Self {
        Self { since, waiting: BTreeMap::new(), is_busy: false, is_gone: false, failures: 0 }
    }
}

/// One owner's share of the pushes.
#[derive(Debug, Default)]
struct Share {
    /// Connections that are idle and not empty, each once.
    ready: VecDeque<ConnectionId>,
    busy: usize,
    /// Whether it stands in the line of owners.
    is_in_line: bool,
}

/// One outbox per connection, and the order in which owners and their connections get their turn.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    boxes: BTreeMap<ConnectionId, Outbox>,
    shares: BTreeMap<Owner, Share>,
    /// Owners with something ready and room in their share, each once.
    line: VecDeque<Owner>,
    /// Of all shares.
    busy: usize,
    /// Pushes that connections which failed too often do not get.
    given_up: usize,
}

impl Outboxes {
    pub(super) fn put(&mut self, owner: &Owner, listener: &Listener, message: Arc<Message>) {
        let Listener { since, connection } = listener;
        let outbox = self.boxes.entry(connection.clone()).or_insert_with(|| Outbox::new(*since));
        if outbox.is_gone {
            return;
        }
        if outbox.failures >= limits::PUSH_FAILURES_PER_CONNECTION_MAX {
            self.given_up += 1;
            return;
        }
        let was_empty = outbox.waiting.is_empty();
        put_newest(&mut outbox.waiting, message);
        if was_empty && !outbox.is_busy {
            self.shares.entry(owner.clone()).or_default().ready.push_back(connection.clone());
            self.queue_up(owner);
        }
    }

    /// The next push, of the owner whose turn it is. It is under way until it is said to have ended.
    pub(super) fn take(&mut self) -> Option<Parcel> {
        while self.busy < limits::PUSHES_IN_FLIGHT_MAX {
            let owner = self.line.pop_front()?;
            let parcel = self.take_of(&owner);
            self.queue_up(&owner);
            if parcel.is_some() {
                return parcel;
            }
        }
        None
    }

    fn take_of(&mut self, owner: &Owner) -> Option<Parcel> {
        let share = self.shares.get_mut(owner)?;
        share.is_in_line = false;
        let connection = share.ready.pop_front()?;
        let outbox = self.boxes.get_mut(&connection)?;
        let (_, message) = outbox.waiting.pop_first()?;
        outbox.is_busy = true;
        share.busy += 1;
        self.busy += 1;
        Some(Parcel { owner: owner.clone(), listener: Listener { since: outbox.since, connection }, message })
    }

    /// The owner waits for its next turn, if it can make use of one.
    fn queue_up(&mut self, owner: &Owner) {
        let Some(share) = self.shares.get_mut(owner) else { return };
        let has_room = share.busy < limits::PUSHES_IN_FLIGHT_PER_OWNER_MAX;
        if has_room && !share.ready.is_empty() && !share.is_in_line {
            share.is_in_line = true;
            self.line.push_back(owner.clone());
        }
    }

    /// A push has ended, however it did.
    pub(super) fn ended(&mut self, parcel: &Parcel) {
        let Some(share) = self.shares.get_mut(&parcel.owner) else { return };
        self.busy -= 1;
        share.busy -= 1;
        if let Some(outbox) = self.boxes.get_mut(&parcel.listener.connection) {
            outbox.is_busy = false;
            if !outbox.waiting.is_empty() {
                share.ready.push_back(parcel.listener.connection.clone());
            }
        }
        self.queue_up(&parcel.owner);
    }

    /// Notes a failed push. A connection that failed too often is passed by from now on.
    pub(super) fn failed(&mut self, connection: &ConnectionId) {
        let Some(outbox) = self.boxes.get_mut(connection) else { return };
        outbox.failures += 1;
        if outbox.failures >= limits::PUSH_FAILURES_PER_CONNECTION_MAX {
            self.given_up += outbox.waiting.len();
            outbox.waiting.clear();
        }
    }

    /// The connection is gone, and what waits for it with it.
    pub(super) fn close(&mut self, connection: &ConnectionId) {
        if let Some(outbox) = self.boxes.get_mut(connection) {
            outbox.is_gone = true;
            outbox.waiting.clear();
        }
    }

    /// Pushes that were given up, not begun, or begun and not ended.
    pub(super) fn left(&self) -> usize {
        let of_box = |outbox: &Outbox| outbox.waiting.len() + usize::from(outbox.is_busy);
        self.given_up + self.boxes.values().map(of_box).sum::<usize>()
    }
}

pub(super) fn put_newest(waiting: &mut BTreeMap<TaskId, Arc<Message>>, message: Arc<Message>) {
    match waiting.get(&message.task_id) {
        Some(known) if known.version >= message.version => {}
        _ => {
            waiting.insert(message.task_id, message);
        }
    }
}
