//! What of a queue survives the process: every change of a message, as a record of the journal.
//!
//! Records are written under the lock of their queue, so their order is the order of the changes. They are upserts by
//! queue and key: a record that is read twice, or together with a newer one, changes nothing.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::message::Content;
use super::queue::Key;
use crate::store::Journal;

/// The part of a message that a receive or a change of visibility sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    pub key: Key,
    pub receive_count: u32,
    pub first_receive_ms: Option<i64>,
    pub received_ms: i64,
    /// 0 for a message that may be received.
    pub until_ms: i64,
}

/// A whole message. `C` is borrowed when written and owned when read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<C> {
    pub key: Key,
    pub id: (u64, u64),
    pub content: C,
    pub arrived_ms: i64,
    pub dead_letter_source: Option<String>,
    pub hidden: Hidden,
}

#[derive(Debug, Serialize, Deserialize)]
enum Change<C> {
    Put(Kept<C>),
    Hidden(Hidden),
    Removed(Key),
    Purged,
    /// Keys below it were given out, whether or not their messages still exist.
    Sequence(u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Record<C> {
    /// The queue's incarnation: an earlier queue of the same name is another one.
    queue: u64,
    change: Change<C>,
}

/// Where one queue writes its changes; nowhere, unless there is a data directory.
#[derive(Clone, Debug, Default)]
pub struct Trail(Option<(Journal, u64)>);

impl Trail {
    #[must_use]
    pub fn new(journal: Option<&Journal>, incarnation: u64) -> Self {
        Self(journal.map(|journal| (journal.clone(), incarnation)))
    }

    pub(super) fn put<'a>(&self, message: impl FnOnce() -> Kept<&'a Content>) {
        self.write(|| Change::Put(message()));
    }

    pub(super) fn hidden(&self, hidden: impl FnOnce() -> Hidden) {
        self.write(|| Change::<&Content>::Hidden(hidden()));
    }

    pub(super) fn removed(&self, key: Key) {
        self.write(|| Change::<&Content>::Removed(key));
    }

    pub(super) fn purged(&self) {
        self.write(|| Change::<&Content>::Purged);
    }

    pub(super) fn sequence(&self, next: u64) {
        self.write(|| Change::<&Content>::Sequence(next));
    }

    fn write<'a>(&self, change: impl FnOnce() -> Change<&'a Content>) {
        let Some((journal, queue)) = &self.0 else { return };
        let mut bytes = Vec::new();
        match ciborium::into_writer(&Record { queue: *queue, change: change() }, &mut bytes) {
            Ok(()) => journal.append(&bytes),
            // Writing these types into memory has no way to fail. If it did, no answer may claim that it was kept.
            Err(error) => journal.fail(&error.to_string()),
        }
    }
}

/// The messages that a journal tells of, by the incarnation of their queue.
#[derive(Debug, Default)]
pub struct Recovered {
    queues: HashMap<u64, RecoveredQueue>,
}

#[derive(Debug, Default)]
pub struct RecoveredQueue {
    pub messages: BTreeMap<Key, Kept<Content>>,
    pub sequence_next: u64,
}

impl Recovered {
    /// Takes the next record in.
    ///
    /// # Errors
    /// When the record is none of ours.
    pub fn apply(&mut self, record: &[u8]) -> Result<(), String> {
        let record: Record<Content> = ciborium::from_reader(record).map_err(|error| error.to_string())?;
        let queue = self.queues.entry(record.queue).or_default();
        match record.change {
            Change::Put(message) => {
                queue.sequence_next = queue.sequence_next.max(message.key.sequence + 1);
                queue.messages.insert(message.key, message);
            }
            Change::Hidden(hidden) => {
                if let Some(message) = queue.messages.get_mut(&hidden.key) {
                    message.hidden = hidden;
                }
            }
            Change::Removed(key) => {
                queue.messages.remove(&key);
            }
            Change::Purged => queue.messages.clear(),
            Change::Sequence(next) => queue.sequence_next = queue.sequence_next.max(next),
        }
        Ok(())
    }

    pub fn take(&mut self, incarnation: u64) -> Option<RecoveredQueue> {
        self.queues.remove(&incarnation)
    }
}
