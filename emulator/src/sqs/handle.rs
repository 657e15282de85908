//! A queue that is shared: one lock around its messages, and a bell for those who wait for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::attributes::Attributes;
use super::queue::{Counts, Parcel, Queue, ReceiveOutcome, ReceiveRules, Received};
use super::receipt::Receipt;
use crate::clock::Clock;

/// One queue of the account.
#[derive(Debug)]
pub struct QueueHandle {
    pub name: Arc<str>,
    pub arn: Arc<str>,
    /// Tells this queue from an earlier one of the same name.
    pub incarnation: u64,
    pub created_ms: i64,
    state: Mutex<State>,
    arrivals: Notify,
}

/// What the lock guards.
#[derive(Debug)]
pub struct State {
    pub queue: Queue,
    pub attributes: Arc<Attributes>,
    pub tags: BTreeMap<String, String>,
    pub modified_ms: i64,
    pub purged_ms: Option<i64>,
    /// What GetQueueAttributes answered last, and when; only an adversary remembers it.
    pub shown: Option<(i64, BTreeMap<&'static str, String>)>,
    /// Set once, by DeleteQueue: whoever still holds the handle learns it here.
    pub deleted: bool,
}

impl QueueHandle {
    #[must_use]
    pub fn new(
        name: &str,
        arn: String,
        incarnation: u64,
        now_ms: i64,
        attributes: Attributes,
        tags: BTreeMap<String, String>,
    ) -> Self {
        let state = State {
            queue: Queue::default(),
            attributes: Arc::new(attributes),
            tags,
            modified_ms: now_ms,
            purged_ms: None,
            shown: None,
            deleted: false,
        };
        Self {
            name: name.into(),
            arn: arn.into(),
            incarnation,
            created_ms: now_ms,
            state: Mutex::new(state),
            arrivals: Notify::new(),
        }
    }

    /// The guarded state. A panic elsewhere cannot have left it half-changed in a way that matters more than stopping.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn attributes(&self) -> Arc<Attributes> {
        Arc::clone(&self.lock().attributes)
    }

    /// Replaces the messages of a queue that nobody knows yet.
    #[must_use]
    pub fn holding(self, queue: Queue) -> Self {
        self.lock().queue = queue;
        self
    }

    /// Puts messages in and wakes a waiter. False when the queue was deleted meanwhile.
    pub fn put(&self, now_ms: i64, parcels: impl IntoIterator<Item = (Parcel, i64)>) -> bool {
        let mut state = self.lock();
        if state.deleted {
            return false;
        }
        for (parcel, delay_ms) in parcels {
            state.queue.put(now_ms, parcel, delay_ms);
        }
        drop(state);
        self.arrivals.notify_one();
        true
    }

    /// One receive without waiting. Drops what retention has ended.
    pub fn receive(&self, now_ms: i64, rules: ReceiveRules) -> Option<ReceiveOutcome> {
        let mut state = self.lock();
        if state.deleted {
            return None;
        }
        let retention_ms = state.attributes.retention_seconds * 1_000;
        state.queue.expire(now_ms, retention_ms);
        let outcome = state.queue.receive(now_ms, rules);
        let more = !outcome.received.is_empty() && state.queue.counts(now_ms).visible > 0;
        drop(state);
        if more {
            // One arrival of many messages rings once; whoever takes the first hands the bell on.
            self.arrivals.notify_one();
        }
        Some(outcome)
    }

    /// Waits for a message to arrive or to become visible, or for `deadline_ms`. Must be made before the receive
    /// whose emptiness it waits out, so that an arrival between the two is not missed.
    pub fn arrival(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrivals.notified()
    }

    /// Sleeps until a hidden message becomes visible, or the deadline.
    pub async fn next_visible(&self, clock: &Clock, deadline_ms: i64) {
        let due_ms = self.lock().queue.next_visible_ms().unwrap_or(deadline_ms);
        clock.sleep_until(due_ms.min(deadline_ms)).await;
    }

    /// Wakes a waiter: a message became visible by other means than an arrival.
    pub fn ring(&self) {
        self.arrivals.notify_one();
    }

    /// Ends the queue: messages are freed, waiters learn that it is gone.
    pub fn close(&self) {
        let mut state = self.lock();
        state.deleted = true;
        state.queue = Queue::default();
        drop(state);
        self.arrivals.notify_waiters();
    }

    pub fn counts(&self, now_ms: i64) -> Counts {
        let mut state = self.lock();
        let retention_ms = state.attributes.retention_seconds * 1_000;
        state.queue.expire(now_ms, retention_ms);
        state.queue.counts(now_ms)
    }

    /// The handle that a received message is known by.
    #[must_use]
    pub fn receipt(&self, received: &Received) -> Receipt {
        Receipt {
            queue: self.incarnation,
            key: received.key,
            receive_count: received.receive_count,
            is_copy: received.is_copy,
        }
    }

    /// Reads a receipt handle; None for garbage and for handles of other queues.
    #[must_use]
    pub fn read_receipt(&self, handle: &str) -> Option<Receipt> {
        Receipt::decode(handle).filter(|receipt| receipt.queue == self.incarnation)
    }
}
