//! A queue that is shared: one lock around its messages, and a bell for those who wait for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

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
    /// Whether a call named the queue since its metrics were last taken.
    touched: AtomicBool,
}

/// What the lock guards.
#[derive(Debug)]
pub struct State {
    pub queue: Queue,
    pub attributes: Arc<Attributes>,
    pub tags: BTreeMap<String, String>,
    pub modified_ms: i64,
    pub purged_ms: Option<i64>,
    /// When its metrics last found it in use.
    pub used_ms: i64,
    /// What GetQueueAttributes answered last, and when; only an adversary remembers it.
    pub shown: Option<(i64, BTreeMap<&'static str, String>)>,
    /// Set once, by DeleteQueue: whoever still holds the handle learns it here.
    pub deleted: bool,
    /// When each poll that waits wakes by itself, and a number that tells it from the others.
    alarms: BTreeSet<(i64, u64)>,
    alarms_set: u64,
}

impl State {
    /// Whether a message is there, or becomes visible before any of the polls that wait wakes by itself.
    fn is_slept_through(&self) -> bool {
        let next_ms = self.queue.next_visible_ms();
        let late = |(next_ms, (alarm_ms, _)): (i64, &(i64, u64))| next_ms < *alarm_ms;
        self.queue.has_visible() || next_ms.zip(self.alarms.first()).is_some_and(late)
    }
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
            used_ms: now_ms,
            shown: None,
            deleted: false,
            alarms: BTreeSet::new(),
            alarms_set: 0,
        };
        Self {
            name: name.into(),
            arn: arn.into(),
            incarnation,
            created_ms: now_ms,
            state: Mutex::new(state),
            arrivals: Notify::new(),
            touched: AtomicBool::new(false),
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

    /// A call names the queue, which keeps its metrics going.
    pub fn touch(&self) {
        // Read first: a shared cache line that is only read costs the threads nothing.
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a call named the queue since this was last asked.
    pub fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
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
        self.ring();
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
        // One arrival of many messages rings once; whoever takes the first hands the bell on. What was taken comes back
        // when its timeout ends, and somebody has to be awake then.
        let hands_on = !outcome.received.is_empty() && state.is_slept_through();
        drop(state);
        if hands_on {
            self.ring();
        }
        Some(outcome)
    }

    /// Puts messages back that could not be moved elsewhere, and wakes a waiter. They end with a queue that was deleted.
    pub fn put_back(&self, parcels: impl IntoIterator<Item = Parcel>) {
        let mut state = self.lock();
        if state.deleted {
            return;
        }
        state.queue.put_back(parcels);
        drop(state);
        self.ring();
    }

    /// The ring of the bell to wait for. Must be made before the receive whose emptiness is waited out, so that a ring
    /// between the two is not missed.
    pub fn arrival(&self) -> Notified<'_> {
        self.arrivals.notified()
    }

    /// A poll that ends at `deadline_ms` and has not waited yet.
    #[must_use]
    pub fn waiter(&self, deadline_ms: i64) -> Waiter<'_> {
        Waiter { queue: self, deadline_ms, alarm: None }
    }

    /// Wakes a waiter: a message became visible, or will at another time than before.
    pub fn ring(&self) {
        self.arrivals.notify_one();
    }

    /// Wakes all who wait: what they wait for may have become impossible.
    pub fn ring_all(&self) {
        self.arrivals.notify_waiters();
    }

    /// Ends the queue: waiters learn that it is gone. What it held comes out of it, only to be freed, which takes a while
    /// where it is much: whoever comes meanwhile must not wait for the lock.
    #[must_use]
    pub fn close(&self) -> Queue {
        let mut state = self.lock();
        state.deleted = true;
        let backlog = std::mem::take(&mut state.queue);
        drop(state);
        self.ring_all();
        backlog
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

/// One poll among those that wait on a queue.
///
/// When a hidden message becomes visible one of them must wake, and a thousand need not: one has its alarm set to that
/// time and the others rely on it. Whoever ends while they do wakes another, which then sets its own.
#[derive(Debug)]
pub struct Waiter<'a> {
    queue: &'a QueueHandle,
    deadline_ms: i64,
    /// Its entry among the alarms. It stays while the poll is awake: it is about to look, or to end.
    alarm: Option<(i64, u64)>,
}

impl Waiter<'_> {
    /// Sleeps until the bell rings for it, until its alarm, or until its deadline.
    pub async fn wait(&mut self, clock: &Clock, arrival: Notified<'_>) {
        let alarm_ms = self.set_alarm();
        tokio::select! {
            () = arrival => {}
            () = clock.sleep_until(alarm_ms) => {}
        }
    }

    fn set_alarm(&mut self) -> i64 {
        let mut state = self.queue.lock();
        if let Some(before) = self.alarm.take() {
            state.alarms.remove(&before);
        }
        let next_ms = state.queue.next_visible_ms().unwrap_or(self.deadline_ms);
        let another_wakes = state.alarms.first().is_some_and(|(alarm_ms, _)| *alarm_ms <= next_ms);
        let alarm_ms = if another_wakes { self.deadline_ms } else { next_ms.min(self.deadline_ms) };
        state.alarms_set += 1;
        let alarm = (alarm_ms, state.alarms_set);
        state.alarms.insert(alarm);
        self.alarm = Some(alarm);
        alarm_ms
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let Some(alarm) = self.alarm else { return };
        let mut state = self.queue.lock();
        state.alarms.remove(&alarm);
        let hands_on = state.is_slept_through();
        drop(state);
        if hands_on {
            self.queue.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::sqs::queue_model::content;

    const RULES: ReceiveRules = ReceiveRules { messages_max: 1, visibility_ms: 2_000, receives_max: None };

    /// A queue whose one message is in flight until 2,000.
    fn queue_in_flight() -> QueueHandle {
        let attributes = Attributes::default();
        let queue = QueueHandle::new("q", "arn".to_owned(), 1, 0, attributes, BTreeMap::new());
        queue.put(0, [(Parcel::new(Uuid::nil(), content(), 0), 0)]);
        assert!(queue.arrival().now_or_never().is_some(), "the ring of the arrival");
        assert_eq!(queue.receive(0, RULES).unwrap().received.len(), 1);
        queue
    }

    fn alarms(queue: &QueueHandle) -> Vec<i64> {
        queue.lock().alarms.iter().map(|(alarm_ms, _)| *alarm_ms).collect()
    }

    #[test]
    fn of_many_who_wait_one_wakes_for_a_hidden_message_and_hands_the_alarm_on() {
        let queue = queue_in_flight();
        let mut waiters: Vec<Waiter<'_>> = (0..100).map(|_| queue.waiter(20_000)).collect();
        for waiter in &mut waiters {
            waiter.set_alarm();
        }
        assert_eq!(alarms(&queue)[..2], [2_000, 20_000]);
        assert!(!queue.lock().is_slept_through());
        drop(waiters.remove(0));
        assert!(queue.lock().is_slept_through(), "until the one that it woke sets its alarm");
        waiters[0].set_alarm();
        assert_eq!(alarms(&queue)[..2], [2_000, 20_000]);
        drop(waiters);
        assert!(alarms(&queue).is_empty());
    }

    #[test]
    fn a_poll_that_ends_while_another_relies_on_its_alarm_wakes_it() {
        let queue = queue_in_flight();
        let (clock, hand) = Clock::manual(0);
        let mut first = queue.waiter(20_000);
        first.set_alarm();
        let mut second = queue.waiter(20_000);
        {
            let mut wait = pin!(second.wait(&clock, queue.arrival()));
            assert!(wait.as_mut().now_or_never().is_none());
            drop(first);
            assert!(wait.now_or_never().is_some(), "the bell rings for it");
        }
        let mut wait = pin!(second.wait(&clock, queue.arrival()));
        assert!(wait.as_mut().now_or_never().is_none());
        hand.advance(Duration::from_secs(2));
        assert!(wait.now_or_never().is_some(), "it has set the alarm itself");
    }
}
