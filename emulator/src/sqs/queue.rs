//! The messages of one queue: a state machine without clock, lock or I/O.
//!
//! Every operation costs at most the logarithm of the backlog: messages that may be received wait in `ready` by rank,
//! those that may not yet in `hidden` by the time at which they may, and `messages` holds each once, oldest first.
//! An adversary may repeat, reorder and delete late, as AWS may; a trail keeps what must survive the process. Both are
//! off by default.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::message::Content;
use super::trail::{Hidden, Kept, Trail};
use crate::adversary::{Act, Adversary, DUPLICATE_WITHIN_MS, OVERTAKES_MAX};

/// AWS quota: messages of a standard queue that were received and not yet deleted.
pub const IN_FLIGHT_MAX: usize = 120_000;
/// AWS quota: a message may stay invisible for 12 hours from its receive.
pub const VISIBILITY_TOTAL_MAX_MS: i64 = 43_200_000;
/// Most messages that one receive moves to the dead letter queue, so that no lock is held for long.
const DEAD_LETTERS_PER_RECEIVE_MAX: usize = 1_000;
/// How far the age of the oldest message looks past messages that fail again and again.
const AGE_SCAN_MAX: usize = 1_000;
/// "If a message is received more than three times and not processed, it is moved to the back of the queue" for the
/// metric `ApproximateAgeOfOldestMessage`.
const POISON_RECEIVES: u32 = 3;

/// A message's place in its queue: unique, and ordered by the time that retention counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub sent_ms: i64,
    pub sequence: u64,
}

/// A message on its way into a queue: new, or moved from another one with its history.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub id: Uuid,
    pub content: Arc<Content>,
    pub sent_ms: i64,
    pub receive_count: u32,
    pub first_receive_ms: Option<i64>,
    /// The ARN of the queue that gave the message up.
    pub dead_letter_source: Option<Arc<str>>,
    /// Its place in the queue that it is leaving, until [`Queue::departed`] says that it has arrived elsewhere.
    pub left: Option<Key>,
}

impl Parcel {
    #[must_use]
    pub fn new(id: Uuid, content: Arc<Content>, now_ms: i64) -> Self {
        Self {
            id,
            content,
            sent_ms: now_ms,
            receive_count: 0,
            first_receive_ms: None,
            dead_letter_source: None,
            left: None,
        }
    }
}

/// One received message.
#[derive(Clone, Debug)]
pub struct Received {
    pub key: Key,
    pub id: Uuid,
    pub content: Arc<Content>,
    pub receive_count: u32,
    pub first_receive_ms: i64,
    pub dead_letter_source: Option<Arc<str>>,
    /// When it may be received again, unless deleted or changed.
    pub visible_at_ms: i64,
    /// A second delivery of a message that is in flight: the same receive, under a handle of its own.
    pub is_copy: bool,
}

/// The rules of one receive.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveRules {
    pub messages_max: usize,
    pub visibility_ms: i64,
    /// From the redrive policy, when its target exists.
    pub receives_max: Option<u32>,
}

/// What one receive did.
#[derive(Debug, Default)]
pub struct ReceiveOutcome {
    pub received: Vec<Received>,
    /// To be put into the dead letter queue by the caller.
    pub dead_letters: Vec<Parcel>,
    /// Nothing was received because of [`IN_FLIGHT_MAX`].
    pub over_limit: bool,
}

/// The three approximate numbers of the API; exact here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VisibilityError {
    #[error("message does not exist")]
    Gone,
    #[error("total visibility timeout is beyond 12 hours")]
    BeyondLimit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready { rank: u64 },
    InFlight { until_ms: i64 },
    Delayed { until_ms: i64 },
}

#[derive(Debug)]
struct Message {
    parcel: Parcel,
    place: Place,
    arrived_ms: i64,
    received_ms: i64,
    afterlife: Afterlife,
}

/// Whether a message was deleted, and what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Afterlife {
    #[default]
    Living,
    /// One server has not heard of the delete: it will deliver its copy once.
    Lingering,
    /// It has. The next time that the message would be received it is dropped.
    Spent,
}

#[derive(Debug, Default)]
pub struct Queue {
    messages: BTreeMap<Key, Box<Message>>,
    /// On their way to another queue: no longer here for any caller, and not yet safe there.
    leaving: BTreeMap<Key, Box<Message>>,
    ready: BTreeMap<u64, Key>,
    hidden: BTreeSet<(i64, Key)>,
    delayed: usize,
    sequence_next: u64,
    rank_next: u64,
    /// When a message that is in flight is delivered a second time; empty without an adversary.
    echoes: BTreeSet<(i64, Key)>,
    adversary: Adversary,
    trail: Trail,
}

impl Queue {
    #[must_use]
    pub fn new(adversary: Adversary, trail: Trail) -> Self {
        Self { adversary, trail, ..Self::default() }
    }

    /// Puts a message in; with a delay it cannot be received before that has passed.
    pub fn put(&mut self, now_ms: i64, mut parcel: Parcel, delay_ms: i64) {
        self.settle(now_ms);
        parcel.left = None;
        let key = Key { sent_ms: parcel.sent_ms, sequence: self.sequence_next };
        self.sequence_next += 1;
        let place = if delay_ms > 0 {
            let until_ms = now_ms + delay_ms;
            self.hidden.insert((until_ms, key));
            self.delayed += 1;
            Place::Delayed { until_ms }
        } else {
            self.enlist(key)
        };
        let afterlife = Afterlife::Living;
        let message = Message { parcel, place, arrived_ms: now_ms, received_ms: now_ms, afterlife };
        self.trail.put(|| message.kept(key));
        self.messages.insert(key, Box::new(message));
    }

    /// Receives up to `messages_max`; a message whose receive count would exceed `receives_max` is given up instead.
    pub fn receive(&mut self, now_ms: i64, rules: ReceiveRules) -> ReceiveOutcome {
        self.settle(now_ms);
        let mut outcome = ReceiveOutcome::default();
        self.deliver_again(now_ms, rules.messages_max, &mut outcome.received);
        while outcome.received.len() < rules.messages_max
            && outcome.dead_letters.len() < DEAD_LETTERS_PER_RECEIVE_MAX
        {
            let Some((rank, key)) = self.next_ready() else { break };
            if self.hidden.len() - self.delayed >= IN_FLIGHT_MAX {
                outcome.over_limit = outcome.received.is_empty();
                break;
            }
            self.ready.remove(&rank);
            if self.is_over(key, rules.receives_max) {
                self.messages.remove(&key);
            } else if self.has_used_up(key, rules.receives_max) {
                outcome.dead_letters.extend(self.leave(key));
            } else {
                outcome.received.extend(self.hand_out(key, now_ms, rules.visibility_ms));
            }
        }
        outcome
    }

    /// The first of the line, or one that the adversary lets overtake it.
    fn next_ready(&self) -> Option<(u64, Key)> {
        let overtakes = (self.ready.len() > 1).then(|| self.adversary.strikes(Act::Reorder)).flatten();
        let ahead = overtakes.and_then(|dice| usize::try_from(1 + dice % OVERTAKES_MAX).ok());
        let overtaking = ahead.and_then(|ahead| self.ready.iter().nth(ahead));
        overtaking.or_else(|| self.ready.first_key_value()).map(|(rank, key)| (*rank, *key))
    }

    /// Messages in flight that the adversary delivers once more. Nothing of their state changes: the count of receives
    /// is approximate on AWS, and no message may be given up because of a copy.
    fn deliver_again(&mut self, now_ms: i64, messages_max: usize, received: &mut Vec<Received>) {
        while received.len() < messages_max {
            let Some(&(due_ms, key)) = self.echoes.first() else { return };
            if due_ms > now_ms {
                return;
            }
            self.echoes.pop_first();
            let in_flight = self.messages.get(&key).filter(|message| {
                matches!(message.place, Place::InFlight { .. }) && message.afterlife == Afterlife::Living
            });
            received.extend(in_flight.map(|message| Received { is_copy: true, ..message.received(key) }));
        }
    }

    /// Deleted before, and delivered once more since; or its copy would exceed the limit, which no delivery may.
    fn is_over(&self, key: Key, receives_max: Option<u32>) -> bool {
        match self.messages.get(&key).map(|message| message.afterlife) {
            Some(Afterlife::Spent) => true,
            Some(Afterlife::Lingering) => self.has_used_up(key, receives_max),
            Some(Afterlife::Living) | None => false,
        }
    }

    fn has_used_up(&self, key: Key, receives_max: Option<u32>) -> bool {
        let received = self.messages.get(&key).map_or(0, |message| message.parcel.receive_count);
        receives_max.is_some_and(|max| received >= max)
    }

    fn hand_out(&mut self, key: Key, now_ms: i64, visibility_ms: i64) -> Option<Received> {
        let until_ms = now_ms + visibility_ms;
        let message = self.messages.get_mut(&key)?;
        message.place = Place::InFlight { until_ms };
        message.received_ms = now_ms;
        message.parcel.receive_count += 1;
        message.parcel.first_receive_ms.get_or_insert(now_ms);
        if message.afterlife == Afterlife::Lingering {
            message.afterlife = Afterlife::Spent;
        } else if let Some(dice) = self.adversary.strikes(Act::DuplicateDelivery) {
            let after_ms = i64::try_from(1 + dice % DUPLICATE_WITHIN_MS).unwrap_or(1);
            self.echoes.insert((now_ms + after_ms, key));
        }
        self.hidden.insert((until_ms, key));
        self.trail.hidden(|| message.hidden(key, until_ms));
        Some(message.received(key))
    }

    /// Makes a message visible `timeout_ms` from now. A handle that has run out or was superseded still works on a
    /// standard queue.
    ///
    /// # Errors
    /// The message is gone, or would stay invisible for more than 12 hours from its last receive.
    pub fn change_visibility(
        &mut self,
        now_ms: i64,
        key: Key,
        timeout_ms: i64,
    ) -> Result<(), VisibilityError> {
        self.settle(now_ms);
        let message = self.messages.get_mut(&key).ok_or(VisibilityError::Gone)?;
        let until_ms = now_ms + timeout_ms;
        if until_ms - message.received_ms > VISIBILITY_TOTAL_MAX_MS {
            return Err(VisibilityError::BeyondLimit);
        }
        match message.place {
            Place::Ready { .. } if timeout_ms == 0 => return Ok(()),
            Place::Ready { rank } => {
                self.ready.remove(&rank);
            }
            Place::InFlight { until_ms } => {
                self.hidden.remove(&(until_ms, key));
            }
            // No handle exists before the first receive.
            Place::Delayed { .. } => return Err(VisibilityError::Gone),
        }
        message.place = Place::InFlight { until_ms };
        self.trail.hidden(|| message.hidden(key, until_ms));
        self.hidden.insert((until_ms, key));
        self.settle(now_ms);
        Ok(())
    }

    /// Deletes the message if `receive_count` names its latest receive. "If you don't provide the most recent receipt
    /// handle, the request succeeds, but the message might not be deleted": here it never is. A count above the known one
    /// is of a receive that a crash forgot.
    pub fn delete(&mut self, key: Key, receive_count: u32) -> bool {
        let Some(message) = self.messages.get_mut(&key) else { return false };
        if message.parcel.receive_count > receive_count {
            return false;
        }
        if message.afterlife == Afterlife::Living && self.adversary.strikes(Act::LateDelete).is_some() {
            message.afterlife = Afterlife::Lingering;
            self.trail.removed(key);
            return true;
        }
        self.remove(key).is_some()
    }

    /// Takes visible messages out, for a message move task: so many, or to the one that completes so many bytes. Not a
    /// receive.
    pub fn take(&mut self, now_ms: i64, messages_max: usize, bytes: usize) -> Vec<Parcel> {
        self.settle(now_ms);
        let (mut parcels, mut taken_bytes) = (Vec::new(), 0);
        while parcels.len() < messages_max
            && taken_bytes < bytes
            && let Some((_, key)) = self.ready.pop_first()
        {
            let Some(parcel) = self.leave(key) else { continue };
            taken_bytes += parcel.content.size_bytes();
            parcels.push(parcel);
        }
        parcels
    }

    /// Takes a message that is in no line out, as a parcel. None for one that was deleted.
    fn leave(&mut self, key: Key) -> Option<Parcel> {
        let message = self.messages.remove(&key).filter(|message| message.afterlife == Afterlife::Living)?;
        let parcel = Parcel { left: Some(key), ..message.parcel.clone() };
        self.leaving.insert(key, message);
        Some(parcel)
    }

    /// Parcels that left this queue are safe in another one. Said only then: a crash between the two must find the
    /// message in at least one of them.
    pub fn departed<'a>(&mut self, parcels: impl IntoIterator<Item = &'a Parcel>) {
        for key in parcels.into_iter().filter_map(|parcel| parcel.left) {
            self.leaving.remove(&key);
            self.trail.removed(key);
        }
    }

    /// Parcels that left this queue have nowhere to go: they are visible here again, known by the same handles as before.
    /// Those that were purged on their way stay gone.
    pub fn put_back(&mut self, parcels: impl IntoIterator<Item = Parcel>) {
        for key in parcels.into_iter().filter_map(|parcel| parcel.left) {
            let Some(mut message) = self.leaving.remove(&key) else { continue };
            message.place = self.enlist(key);
            // A checkpoint may have passed over its place meanwhile.
            self.trail.put(|| message.kept(key));
            self.messages.insert(key, message);
        }
    }

    /// Messages after `after` in the order of keys, as the trail keeps them: for a checkpoint, bit by bit. A bit ends after
    /// so many messages, or with the one that completes so many bytes. None once there are no more, and then those on their
    /// way to another queue are kept as well: one that arrives there later is told of after them.
    pub fn keep_again(&self, after: Option<Key>, messages_max: usize, bytes: usize) -> Option<Key> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let (mut last, mut kept_bytes) = (None, 0);
        for (key, message) in self.messages.range((from, std::ops::Bound::Unbounded)).take(messages_max) {
            if message.afterlife == Afterlife::Living {
                self.trail.put(|| message.kept(*key));
                kept_bytes += message.parcel.content.size_bytes();
            }
            last = Some(*key);
            if kept_bytes >= bytes {
                break;
            }
        }
        if last.is_none() {
            self.leaving.iter().for_each(|(key, message)| self.trail.put(|| message.kept(*key)));
        }
        last
    }

    /// The number that the next message gets, which no earlier one may have had.
    #[must_use]
    pub const fn sequence_next(&self) -> u64 {
        self.sequence_next
    }

    /// Puts back what an earlier process kept.
    pub fn restore(&mut self, sequence_next: u64, messages: impl IntoIterator<Item = Kept<Content>>) {
        self.sequence_next = self.sequence_next.max(sequence_next);
        for kept in messages {
            let key = kept.key;
            let until_ms = kept.hidden.until_ms;
            let place = match (until_ms > 0, kept.hidden.receive_count) {
                (false, _) => self.enlist(key),
                (true, 0) => {
                    self.delayed += 1;
                    Place::Delayed { until_ms }
                }
                (true, _) => Place::InFlight { until_ms },
            };
            if until_ms > 0 {
                self.hidden.insert((until_ms, key));
            }
            self.messages.insert(key, Box::new(Message::from_kept(kept, place)));
        }
    }

    /// Takes everything out, whatever its state. What it held is only to be freed, which takes a while where it is much:
    /// not under the queue's lock.
    #[must_use]
    pub fn purge(&mut self) -> Self {
        self.trail.purged();
        let (adversary, trail) = (std::mem::take(&mut self.adversary), std::mem::take(&mut self.trail));
        let (sequence_next, rank_next) = (self.sequence_next, self.rank_next);
        // Handles of purged messages must not come to name new ones, so the sequence goes on.
        let emptied = Self { sequence_next, rank_next, ..Self::new(adversary, trail) };
        std::mem::replace(self, emptied)
    }

    /// How many messages there are, whatever their state.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len() + self.leaving.len()
    }

    /// Drops the messages that are older than the retention period and returns how many.
    pub fn expire(&mut self, now_ms: i64, retention_ms: i64) -> usize {
        let mut expired = 0;
        while let Some((&key, _)) = self.messages.first_key_value() {
            if key.sent_ms + retention_ms > now_ms {
                break;
            }
            self.remove(key);
            expired += 1;
        }
        expired
    }

    pub fn counts(&mut self, now_ms: i64) -> Counts {
        self.settle(now_ms);
        Counts {
            visible: self.ready.len(),
            in_flight: self.hidden.len() - self.delayed,
            delayed: self.delayed,
        }
    }

    /// Whether a message may be received, as far as the last operation knew.
    #[must_use]
    pub fn has_visible(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next hidden message becomes visible.
    #[must_use]
    pub fn next_visible_ms(&self) -> Option<i64> {
        let hidden = self.hidden.first().map(|(until_ms, _)| *until_ms);
        let echo = self.echoes.first().map(|(due_ms, _)| *due_ms);
        hidden.into_iter().chain(echo).min()
    }

    /// Age of the oldest message, looking past those that were received too often to count.
    #[must_use]
    pub fn oldest_age_ms(&self, now_ms: i64) -> i64 {
        let healthy = self
            .messages
            .values()
            .take(AGE_SCAN_MAX)
            .find(|message| message.parcel.receive_count <= POISON_RECEIVES);
        let oldest = healthy.or_else(|| self.messages.values().next());
        oldest.map_or(0, |message| (now_ms - message.arrived_ms).max(0))
    }

    /// Moves what has become visible to the end of the line.
    fn settle(&mut self, now_ms: i64) {
        while let Some(&(until_ms, key)) = self.hidden.first() {
            if until_ms > now_ms {
                return;
            }
            self.hidden.pop_first();
            let place = self.enlist(key);
            if let Some(message) = self.messages.get_mut(&key) {
                if matches!(message.place, Place::Delayed { .. }) {
                    self.delayed -= 1;
                }
                message.place = place;
            }
        }
    }

    fn enlist(&mut self, key: Key) -> Place {
        let rank = self.rank_next;
        self.rank_next += 1;
        self.ready.insert(rank, key);
        Place::Ready { rank }
    }

    fn remove(&mut self, key: Key) -> Option<Box<Message>> {
        let message = self.messages.remove(&key)?;
        self.trail.removed(key);
        match message.place {
            Place::Ready { rank } => {
                self.ready.remove(&rank);
            }
            Place::InFlight { until_ms } => {
                self.hidden.remove(&(until_ms, key));
            }
            Place::Delayed { until_ms } => {
                self.hidden.remove(&(until_ms, key));
                self.delayed -= 1;
            }
        }
        Some(message)
    }

    /// Whether nothing is left of any message that was in the queue.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        let lines = self.ready.is_empty() && self.hidden.is_empty() && self.echoes.is_empty();
        self.messages.is_empty() && self.leaving.is_empty() && lines
    }
}

impl Message {
    fn received(&self, key: Key) -> Received {
        let visible_at_ms = match self.place {
            Place::InFlight { until_ms } | Place::Delayed { until_ms } => until_ms,
            Place::Ready { .. } => self.received_ms,
        };
        Received {
            key,
            id: self.parcel.id,
            content: Arc::clone(&self.parcel.content),
            receive_count: self.parcel.receive_count,
            first_receive_ms: self.parcel.first_receive_ms.unwrap_or(self.received_ms),
            dead_letter_source: self.parcel.dead_letter_source.clone(),
            visible_at_ms,
            is_copy: false,
        }
    }

    const fn hidden(&self, key: Key, until_ms: i64) -> Hidden {
        Hidden {
            key,
            receive_count: self.parcel.receive_count,
            first_receive_ms: self.parcel.first_receive_ms,
            received_ms: self.received_ms,
            until_ms,
        }
    }

    fn kept(&self, key: Key) -> Kept<&Content> {
        let until_ms = match self.place {
            Place::Ready { .. } => 0,
            Place::InFlight { until_ms } | Place::Delayed { until_ms } => until_ms,
        };
        Kept {
            key,
            id: self.parcel.id.as_u64_pair(),
            content: &self.parcel.content,
            arrived_ms: self.arrived_ms,
            dead_letter_source: self.parcel.dead_letter_source.as_deref().map(str::to_owned),
            hidden: self.hidden(key, until_ms),
        }
    }

    fn from_kept(kept: Kept<Content>, place: Place) -> Self {
        let (high, low) = kept.id;
        let parcel = Parcel {
            id: Uuid::from_u64_pair(high, low),
            content: Arc::new(kept.content),
            sent_ms: kept.key.sent_ms,
            receive_count: kept.hidden.receive_count,
            first_receive_ms: kept.hidden.first_receive_ms,
            dead_letter_source: kept.dead_letter_source.map(Into::into),
            left: None,
        };
        let (arrived_ms, received_ms) = (kept.arrived_ms, kept.hidden.received_ms);
        Self { parcel, place, arrived_ms, received_ms, afterlife: Afterlife::Living }
    }
}
