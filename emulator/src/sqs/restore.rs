//! Messages over a restart: brought back at the start, and their journal made anew when it has grown.

use std::sync::Weak;

use super::account::Account;
use super::trail::Trail;
use crate::store::{Journal, StoreError};

/// A journal below this size is never made anew: reading it takes less than a second.
const CHECKPOINT_BYTES_MIN: u64 = if cfg!(test) { 64 * 1024 } else { 64 * 1024 * 1024 };
/// How much larger than after the last checkpoint it may become.
const GROWTH_MAX: u64 = 3;
const LOOK_EVERY_MS: i64 = 1_000;
/// Messages written under one hold of a queue's lock.
const MESSAGES_AT_ONCE: usize = 1_000;
/// And their bytes, short of the last message: a thousand of 1 MiB would take seconds, in which nobody sends or receives.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

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
        let number = journal.begin_file().await?;
        for queue in self.all() {
            let next = queue.lock().queue.sequence_next();
            Trail::new(Some(journal), queue.incarnation).sequence(next);
            let mut after = None;
            loop {
                // The guard ends with the statement: others get their turn.
                after = queue.lock().queue.keep_again(after, MESSAGES_AT_ONCE, BYTES_AT_ONCE);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::settings::Settings;
    use crate::sqs::Sqs;
    use crate::sqs::message::Content;
    use crate::sqs::queue::{Parcel, ReceiveRules};
    use crate::sqs::queue_model::content;
    use crate::sqs::tests::settings;
    use crate::store::Store;

    /// How many messages of each queue a restart would find.
    fn found(dir: &Path, incarnations: [u64; 2]) -> [usize; 2] {
        let mut recovered = Store::open(dir).unwrap().take_recovered().unwrap();
        incarnations.map(|queue| recovered.take(queue).map_or(0, |queue| queue.messages.len()))
    }

    #[tokio::test]
    async fn large_messages_are_kept_again_a_few_at_a_time() {
        let account = Account::new(settings().0);
        let work = account.create("work", &BTreeMap::new(), BTreeMap::new()).unwrap();
        let now_ms = account.now_ms();
        let large = Arc::new(Content { body: "x".repeat(1024 * 1024), ..Content::clone(&content()) });
        work.put(now_ms, (0..10).map(|_| (Parcel::new(account.new_id(), Arc::clone(&large), now_ms), 0)));
        let first = work.lock().queue.sequence_next() - 10;
        let (mut turns, mut after) = (Vec::new(), None);
        loop {
            after = work.lock().queue.keep_again(after, MESSAGES_AT_ONCE, BYTES_AT_ONCE);
            let Some(last) = after else { break };
            turns.push(last.sequence - first + 1);
        }
        assert_eq!(turns, [4, 8, 10]);
    }

    #[tokio::test]
    async fn a_journal_is_not_made_anew_before_its_messages_are_back() {
        let directory = tempfile::tempdir().unwrap();
        let (settings, hand) = settings();
        let open = || Settings { store: Store::open(directory.path()).unwrap(), ..settings.clone() };
        let account = Account::new(open());
        let work = account.create("work", &BTreeMap::new(), BTreeMap::new()).unwrap();
        let now_ms = account.now_ms();
        let bytes = usize::try_from(CHECKPOINT_BYTES_MIN).unwrap();
        let large = Arc::new(Content { body: "x".repeat(bytes), ..Content::clone(&content()) });
        work.put(now_ms, [(Parcel::new(account.new_id(), large, now_ms), 0)]);
        account.settings.store.messages().unwrap().committed().await.unwrap();
        let incarnation = work.incarnation;
        drop((account, work));

        let sqs = Sqs::start(open());
        for _ in 0..3 {
            hand.advance(Duration::from_secs(2));
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            // By then the writer has done what it was asked before.
            sqs.account().settings.store.messages().unwrap().begin_file().await.unwrap();
        }
        // It ends while it brings back what was before the messages.
        drop(sqs);
        assert_eq!(found(directory.path(), [incarnation, 0]), [1, 0]);
    }

    #[tokio::test]
    async fn a_message_on_its_way_to_its_dead_letter_queue_is_kept_by_a_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let account =
            Account::new(Settings { store: Store::open(directory.path()).unwrap(), ..settings().0 });
        let queue = |name: &str| account.create(name, &BTreeMap::new(), BTreeMap::new()).unwrap();
        let (work, dead) = (queue("work"), queue("dead"));
        let now_ms = account.now_ms();
        work.put(now_ms, [(Parcel::new(account.new_id(), content(), now_ms), 0)]);
        let rules = ReceiveRules { messages_max: 1, visibility_ms: 0, receives_max: Some(1) };
        work.receive(now_ms, rules).unwrap();
        let letters = work.receive(now_ms, rules).unwrap().dead_letters;
        assert_eq!(letters.len(), 1);
        // Whoever received it has come no further, and what was written of it before goes.
        account.checkpoint().await.unwrap();
        let incarnations = [work.incarnation, dead.incarnation];
        drop((account, work, dead));
        assert_eq!(found(directory.path(), incarnations), [1, 0]);
    }
}
