//! Messages over a restart: brought back at the start, and their journal made anew when it has grown.

use std::sync::Weak;

use super::account::Account;
use super::trail::Trail;
use crate::store::{Journal, StoreError};

/// A journal below this size is never made anew: reading it takes less than a second.
const CHECKPOINT_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// How much larger than after the last checkpoint it may become.
const GROWTH_MAX: u64 = 3;
const LOOK_EVERY_MS: i64 = 1_000;
/// Messages written under one hold of a queue's lock.
const MESSAGES_AT_ONCE: usize = 1_000;

impl Account {
    /// Puts the messages of the process before this one into the queues, which must be back already. Messages of queues
    /// that were deleted are left behind.
    ///
    /// # Errors
    /// When the journal cannot be made anew.
    pub async fn restore(&self) -> Result<(), StoreError> {
        let Some(mut recovered) = self.settings.store.take_recovered() else { return Ok(()) };
        for queue in self.all() {
            if let Some(kept) = recovered.take(queue.incarnation) {
                queue.lock().queue.restore(kept.sequence_next, kept.messages.into_values());
                queue.ring();
            }
        }
        self.checkpoint().await
    }

    /// Tells the whole state in a new file of the journal, beside the changes that go on meanwhile, and drops the files
    /// before it.
    ///
    /// # Errors
    /// When a file cannot be made or removed.
    async fn checkpoint(&self) -> Result<(), StoreError> {
        let Some(journal) = self.settings.store.messages() else { return Ok(()) };
        let number = journal.begin_file()?;
        for queue in self.all() {
            let next = queue.lock().queue.sequence_next();
            Trail::new(Some(journal), queue.incarnation).sequence(next);
            let mut after = None;
            loop {
                // The guard ends with the statement: others get their turn.
                after = queue.lock().queue.keep_again(after, MESSAGES_AT_ONCE);
                if after.is_none() || !is_safe(journal).await {
                    break;
                }
            }
        }
        // Only what is told again and safe may be forgotten.
        if is_safe(journal).await { journal.remove_before(number) } else { Ok(()) }
    }
}

async fn is_safe(journal: &Journal) -> bool {
    journal.committed().await.is_ok()
}

/// Keeps the journal bounded by what is alive, for as long as the account lives.
pub(super) async fn keep_small(account: Weak<Account>) {
    let mut size_bytes = 0;
    loop {
        let Some(clock) = account.upgrade().map(|account| account.settings.clock.clone()) else { return };
        clock.sleep_until(clock.now_ms() + LOOK_EVERY_MS).await;
        let Some(account) = account.upgrade() else { return };
        let Some(journal) = account.settings.store.messages() else { return };
        if journal.file_bytes() < CHECKPOINT_BYTES_MIN.max(size_bytes * GROWTH_MAX) {
            continue;
        }
        if let Err(error) = account.checkpoint().await {
            tracing::warn!(%error, "the journal of messages was not made anew");
        }
        size_bytes = journal.file_bytes();
    }
}
