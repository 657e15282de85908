//! What waits to be pushed, connection by connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::id::{ConnectionId, Owner, TaskId, Version};
use crate::limits;

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
    pub(super) connection: ConnectionId,
    pub(super) message: Arc<Message>,
}

#[derive(Debug)]
struct Outbox {
    owner: Owner,
    waiting: BTreeMap<TaskId, Arc<Message>>,
    is_busy: bool,
    failures: u32,
}

/// One outbox per connection, and the order in which connections get their turn.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    boxes: BTreeMap<ConnectionId, Outbox>,
    /// Idle and not empty, each once.
    ready: VecDeque<ConnectionId>,
    /// Pushes that connections which failed too often do not get.
    given_up: usize,
}

impl Outboxes {
    pub(super) fn put(&mut self, owner: &Owner, connection: &ConnectionId, message: Arc<Message>) {
        let outbox = self.boxes.entry(connection.clone()).or_insert_with(|| Outbox {
            owner: owner.clone(),
            waiting: BTreeMap::new(),
            is_busy: false,
            failures: 0,
        });
        if outbox.failures >= limits::PUSH_FAILURES_PER_CONNECTION_MAX {
            self.given_up += 1;
            return;
        }
        let was_empty = outbox.waiting.is_empty();
        put_newest(&mut outbox.waiting, message);
        if was_empty && !outbox.is_busy {
            self.ready.push_back(connection.clone());
        }
    }

    /// The next push, of the connection whose turn it is. It counts as busy until it is said to be idle.
    pub(super) fn take(&mut self) -> Option<Parcel> {
        while let Some(connection) = self.ready.pop_front() {
            let Some(outbox) = self.boxes.get_mut(&connection) else { continue };
            let Some((_, message)) = outbox.waiting.pop_first() else { continue };
            outbox.is_busy = true;
            return Some(Parcel { owner: outbox.owner.clone(), connection, message });
        }
        None
    }

    pub(super) fn idle(&mut self, connection: &ConnectionId) {
        let Some(outbox) = self.boxes.get_mut(connection) else { return };
        outbox.is_busy = false;
        if !outbox.waiting.is_empty() {
            self.ready.push_back(connection.clone());
        }
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
        self.boxes.remove(connection);
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
