//! The queues of the account: found by name, ARN or URL, made, deleted, and received from with redrive.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use uuid::Uuid;

use super::attributes::Attributes;
use super::error::{ErrorKind, SqsError};
use super::handle::QueueHandle;
use super::measure;
use super::moves::Moves;
use super::queue::{Parcel, Queue, ReceiveRules, Received};
use super::service::{Principal, check_policy};
use super::trail::Trail;
use crate::iam::{self, PolicySource};
use crate::repeatable;
use crate::settings::Settings;

/// "You must wait 60 seconds after deleting a queue before you can create another with the same name."
pub const RECREATE_WAIT_MS: i64 = 60_000;
const QUEUE_NAME_MAX: usize = 80;
/// Messages that a call frees by itself. A million takes seconds.
const FREED_BY_A_CALL_MAX: usize = 1_000;

/// All queues, and what is known of those just deleted.
#[derive(Debug)]
pub struct Account {
    pub settings: Settings,
    pub moves: Moves,
    queues: RwLock<BTreeMap<Arc<str>, Arc<QueueHandle>>>,
    deleted_ms: Mutex<HashMap<Arc<str>, i64>>,
}

/// One ReceiveMessage, its parameters checked.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    pub messages_max: usize,
    /// None for the queue's own.
    pub visibility_ms: Option<i64>,
    /// None for the queue's own; zero for a short poll.
    pub wait_ms: Option<i64>,
}

impl PolicySource for Account {
    fn policy(&self, arn: &str) -> Option<Arc<iam::Policy>> {
        self.by_arn(arn)?.attributes().policy.as_ref().map(|policy| Arc::clone(policy.rules()))
    }

    fn dead_letter_sources(&self, arn: &str) -> Vec<String> {
        self.sources_of(arn).iter().map(|queue| queue.arn.to_string()).collect()
    }
}

impl Account {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, moves: Moves::default(), queues: RwLock::default(), deleted_ms: Mutex::default() }
    }

    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.settings.clock.now_ms()
    }

    /// An id from the seeded source: as unique as a random UUID, and the same again for the same seed.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        self.settings.random.uuid()
    }

    #[must_use]
    pub fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.settings.region, self.settings.account_id)
    }

    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.settings.endpoint, self.settings.account_id)
    }

    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Arc<QueueHandle>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    #[must_use]
    pub fn by_arn(&self, arn: &str) -> Option<Arc<QueueHandle>> {
        let (_, name) = arn.rsplit_once(':')?;
        self.by_name(name).filter(|queue| *queue.arn == *arn)
    }

    /// The last two segments of a queue URL are account and name; the host may be any that leads here. As on AWS the
    /// bare name of a queue does as well.
    ///
    /// # Errors
    /// `InvalidAddress` for what names nothing, `QueueDoesNotExist`.
    pub fn by_url(&self, url: &str) -> Result<Arc<QueueHandle>, SqsError> {
        let mut segments = url.trim_end_matches('/').rsplit('/');
        let (name, account) = (segments.next().unwrap_or_default(), segments.next());
        if name.is_empty() {
            let message = format!("The address {url} is not valid for this endpoint.");
            return Err(SqsError::new(ErrorKind::InvalidAddress, message));
        }
        let ours = account.is_none_or(|account| account == &*self.settings.account_id);
        ours.then(|| self.by_name(name)).flatten().ok_or_else(SqsError::queue_does_not_exist)
    }

    /// In the order of names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<QueueHandle>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Queues whose redrive policy names `arn`, in the order of names.
    #[must_use]
    pub fn sources_of(&self, arn: &str) -> Vec<Arc<QueueHandle>> {
        let mut all = self.all();
        all.retain(|queue| {
            queue.attributes().redrive.as_ref().is_some_and(|redrive| redrive.target_arn == arn)
        });
        all
    }

    /// # Errors
    /// A bad name or attribute, an existing queue with another attribute, or one deleted less than a minute ago.
    pub fn create(
        &self,
        name: &str,
        changes: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
    ) -> Result<Arc<QueueHandle>, SqsError> {
        check_name(name, changes)?;
        if let Some(existing) = self.by_name(name) {
            return same_queue(existing, changes);
        }
        let now_ms = self.now_ms();
        self.check_not_just_deleted(name, now_ms)?;
        let attributes = Attributes::default().with(changes)?;
        self.check_redrive(&self.arn(name), &attributes, changes)?;
        let incarnation = self.settings.random.seed();
        let trail = Trail::new(self.settings.store.messages(), incarnation);
        let queue = Queue::new(self.settings.adversary.clone(), trail);
        let queue =
            QueueHandle::new(name, self.arn(name), incarnation, now_ms, attributes, tags).holding(queue);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = queues.get(name) {
            let existing = Arc::clone(existing);
            drop(queues);
            return same_queue(existing, changes);
        }
        let queue = Arc::new(queue);
        queues.insert(Arc::clone(&queue.name), Arc::clone(&queue));
        Ok(queue)
    }

    fn check_not_just_deleted(&self, name: &str, now_ms: i64) -> Result<(), SqsError> {
        let mut deleted = self.deleted_ms.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.retain(|_, at_ms| now_ms - *at_ms < RECREATE_WAIT_MS);
        if !deleted.contains_key(name) {
            return Ok(());
        }
        Err(SqsError::new(
            ErrorKind::QueueDeletedRecently,
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        ))
    }

    /// # Errors
    /// As of [`Attributes::with`], and for a dead letter queue that does not exist or does not allow this source.
    pub fn set_attributes(
        &self,
        queue: &QueueHandle,
        changes: &BTreeMap<String, String>,
    ) -> Result<(), SqsError> {
        let check = |attributes: &Attributes| self.check_redrive(&queue.arn, attributes, changes);
        check(&queue.attributes().with(changes)?)?;
        let mut state = queue.lock();
        // Read again under the lock, so that two changes at once do not undo each other.
        state.attributes = Arc::new(state.attributes.with(changes)?);
        state.modified_ms = self.now_ms();
        drop(state);
        queue.ring_all();
        Ok(())
    }

    /// "Enforced when a source sets its redrive policy."
    fn check_redrive(
        &self,
        source_arn: &str,
        attributes: &Attributes,
        changes: &BTreeMap<String, String>,
    ) -> Result<(), SqsError> {
        let (Some(redrive), Some(text)) = (&attributes.redrive, changes.get("RedrivePolicy")) else {
            return Ok(());
        };
        let refuse = |reason: &str| Err(SqsError::parameter("RedrivePolicy", text, reason));
        // Its dead letters would never leave it. What was accepted once is not asked again when it is made again.
        if redrive.target_arn == source_arn && !repeatable::is_repeated() {
            return refuse("A queue cannot be its own dead letter target.");
        }
        let Some(target) = self.by_arn(&redrive.target_arn) else {
            return refuse("Dead letter target does not exist.");
        };
        match &target.attributes().redrive_allow {
            Some(allow) if !allow.allows(source_arn) => {
                refuse("Queue does not have permission to use the dead letter target.")
            }
            _ => Ok(()),
        }
    }

    /// Forgets the queue, frees its messages and wakes whoever waits on it. Must be called within a tokio runtime where the
    /// queue may hold many.
    pub fn delete(&self, queue: &QueueHandle) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).remove(&queue.name);
        let mut deleted = self.deleted_ms.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.insert(Arc::clone(&queue.name), self.now_ms());
        drop(deleted);
        self.moves.forget(&queue.arn);
        free(queue.close());
    }

    /// Receives, waiting as asked; returns as soon as there is at least one message.
    ///
    /// # Errors
    /// `QueueDoesNotExist` when the queue is or gets deleted, `OverLimit` for a short poll at the in-flight limit.
    pub async fn receive(
        &self,
        principal: &Principal,
        queue: &QueueHandle,
        request: Receive,
    ) -> Result<Vec<Received>, SqsError> {
        queue.touch();
        let clock = &self.settings.clock;
        let started_ms = clock.now_ms();
        let wait_ms = request.wait_ms.unwrap_or_else(|| queue.attributes().wait_seconds * 1_000);
        let deadline_ms = started_ms + wait_ms;
        let mut waiter = queue.waiter(deadline_ms);
        loop {
            let arrival = queue.arrival();
            let now_ms = clock.now_ms();
            let (received, moved) = self.receive_now(principal, queue, request, wait_ms == 0)?;
            if !received.is_empty() || now_ms >= deadline_ms {
                measure::received(&self.settings, queue, now_ms, received.len());
                return Ok(received);
            }
            if moved {
                // Of dead letters that go in a circle there is no end: others get their turn.
                tokio::task::yield_now().await;
            } else {
                waiter.wait(clock, arrival).await;
            }
        }
    }

    /// One receive, with its dead letters moved. True when some were.
    fn receive_now(
        &self,
        principal: &Principal,
        queue: &QueueHandle,
        request: Receive,
        short: bool,
    ) -> Result<(Vec<Received>, bool), SqsError> {
        let now_ms = self.now_ms();
        // Asked again at every turn, so that a denial also ends the waits that began before it.
        check_policy(self, principal, queue, "ReceiveMessage")?;
        let attributes = queue.attributes();
        let redrive = attributes.redrive.as_ref();
        // Without its target a redrive policy cannot act: the messages stay. Nor do they leave for where they are, which
        // policies of older data directories want.
        let redrive = redrive.filter(|redrive| redrive.target_arn != *queue.arn);
        let redrive = redrive.and_then(|redrive| Some((redrive, self.by_arn(&redrive.target_arn)?)));
        let rules = ReceiveRules {
            messages_max: request.messages_max,
            visibility_ms: request.visibility_ms.unwrap_or(attributes.visibility_seconds * 1_000),
            receives_max: redrive.as_ref().map(|(redrive, _)| redrive.receives_max()),
        };
        let outcome = queue.receive(now_ms, rules).ok_or_else(SqsError::queue_does_not_exist)?;
        let moved = !outcome.dead_letters.is_empty();
        if let (Some((_, target)), true) = (redrive, moved) {
            give_up(queue, &target, now_ms, outcome.dead_letters);
        }
        if outcome.over_limit && short {
            let message = "Too many messages in flight, limit is 120000.";
            return Err(SqsError::new(ErrorKind::OverLimit, message));
        }
        Ok((outcome.received, moved))
    }

    /// Deletes received messages without going over the wire, for an event source mapping.
    pub fn delete_received<'a>(&self, queue: &QueueHandle, received: impl IntoIterator<Item = &'a Received>) {
        let mut deleted = 0;
        let mut state = queue.lock();
        for one in received {
            state.queue.delete(one.key, one.receive_count);
            deleted += 1;
        }
        drop(state);
        measure::deleted(&self.settings, queue, self.now_ms(), deleted);
    }
}

/// Moves what was received too often to the dead letter queue. If that was deleted a moment ago the messages stay.
fn give_up(queue: &QueueHandle, target: &QueueHandle, now_ms: i64, letters: Vec<Parcel>) {
    let moved = letters.iter().map(|letter| {
        let dead_letter_source = Some(Arc::clone(&queue.arn));
        (Parcel { dead_letter_source, ..letter.clone() }, 0)
    });
    if target.put(now_ms, moved) {
        queue.lock().queue.departed(&letters);
    } else {
        queue.put_back(letters);
    }
}

/// Frees what was taken out of a queue: much of it, within a tokio runtime, beside the threads of the calls.
pub fn free(backlog: Queue) {
    if backlog.messages() <= FREED_BY_A_CALL_MAX {
        drop(backlog);
    } else {
        tokio::task::spawn_blocking(move || drop(backlog));
    }
}

/// CreateQueue is idempotent for equal attributes.
fn same_queue(
    existing: Arc<QueueHandle>,
    changes: &BTreeMap<String, String>,
) -> Result<Arc<QueueHandle>, SqsError> {
    match existing.attributes().difference(changes)? {
        None => Ok(existing),
        Some(attribute) => Err(SqsError::new(
            ErrorKind::QueueNameExists,
            format!(
                "A queue already exists with the same name and a different value for attribute {attribute}"
            ),
        )),
    }
}

fn check_name(name: &str, changes: &BTreeMap<String, String>) -> Result<(), SqsError> {
    let fifo = changes.get("FifoQueue").is_some_and(|value| value == "true");
    if fifo || name.ends_with(".fifo") {
        return Err(SqsError::new(
            ErrorKind::UnsupportedOperation,
            "FIFO queues are not part of this emulator; create a standard queue.",
        ));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=QUEUE_NAME_MAX).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(());
    }
    Err(SqsError::new(
        ErrorKind::InvalidParameterValue,
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    ))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::sqs::queue::Counts;
    use crate::sqs::queue_model::content;
    use crate::sqs::tests::settings;

    /// Waiting for what must happen is bounded; nothing here takes longer unless it is broken.
    const DEADLINE: Duration = Duration::from_secs(10);

    #[test]
    fn a_message_stays_where_it_is_when_its_dead_letter_queue_goes_at_that_moment() {
        let account = Account::new(settings().0);
        let queue = |name: &str| account.create(name, &BTreeMap::new(), BTreeMap::new()).unwrap();
        let (work, dead) = (queue("work"), queue("dead"));
        let now_ms = account.now_ms();
        work.put(now_ms, [(Parcel::new(account.new_id(), content(), now_ms), 0)]);
        let rules = ReceiveRules { messages_max: 1, visibility_ms: 0, receives_max: Some(1) };
        let received = work.receive(now_ms, rules).unwrap().received.remove(0);
        let letters = work.receive(now_ms, rules).unwrap().dead_letters;
        assert_eq!(letters.len(), 1);
        account.delete(&dead);
        give_up(&work, &dead, now_ms, letters);
        assert_eq!(work.counts(now_ms).visible, 1);
        let unlimited = ReceiveRules { receives_max: None, ..rules };
        let again = work.receive(now_ms, unlimited).unwrap().received.remove(0);
        assert_eq!((again.id, again.receive_count), (received.id, 2));
        assert_eq!((again.key, again.dead_letter_source), (received.key, None), "handles still name it");
    }

    fn with_redrive(target_arn: &str) -> BTreeMap<String, String> {
        let policy = format!(r#"{{"deadLetterTargetArn":"{target_arn}","maxReceiveCount":1}}"#);
        BTreeMap::from([("RedrivePolicy".to_owned(), policy)])
    }

    #[tokio::test]
    async fn a_queue_that_became_its_own_dead_letter_queue_long_ago_keeps_its_messages() {
        let account = Account::new(settings().0);
        let queue = account.create("q", &BTreeMap::new(), BTreeMap::new()).unwrap();
        let own = with_redrive(&queue.arn);
        let refused = account.set_attributes(&queue, &own).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidParameterValue);
        assert!(
            refused.message.ends_with("Reason: A queue cannot be its own dead letter target."),
            "{refused}"
        );
        let now_ms = account.now_ms();
        repeatable::scope_again(0, 1, now_ms, async { account.set_attributes(&queue, &own) }).await.unwrap();
        queue.put(now_ms, [(Parcel::new(account.new_id(), content(), now_ms), 0)]);
        let request = Receive { messages_max: 1, visibility_ms: Some(0), wait_ms: Some(20_000) };
        let nobody = Principal::Judged;
        for receive_count in 1..=3 {
            let (received, moved) = account.receive_now(&nobody, &queue, request, false).unwrap();
            assert_eq!((received[0].receive_count, moved), (receive_count, false));
        }
    }

    #[tokio::test]
    async fn a_receive_that_moves_dead_letters_lets_others_have_their_turn() {
        let account = Account::new(settings().0);
        let dead = account.create("dead", &BTreeMap::new(), BTreeMap::new()).unwrap();
        let work = account.create("work", &with_redrive(&dead.arn), BTreeMap::new()).unwrap();
        let now_ms = account.now_ms();
        let parcel =
            |receive_count| Parcel { receive_count, ..Parcel::new(account.new_id(), content(), now_ms) };
        // More than go at once, and one behind them that may be received.
        work.put(now_ms, (0..=1_000).map(|_| (parcel(1), 0)));
        work.put(now_ms, [(parcel(0), 0)]);
        let request = Receive { messages_max: 1, visibility_ms: None, wait_ms: Some(20_000) };
        let nobody = Principal::Judged;
        let mut receive = pin!(account.receive(&nobody, &work, request));
        assert!(receive.as_mut().now_or_never().is_none(), "it goes on without a pause");
        assert_eq!(dead.counts(now_ms).visible, 1_000);
        assert_eq!(receive.await.unwrap().len(), 1);
        assert_eq!(dead.counts(now_ms).visible, 1_001);
    }

    #[tokio::test]
    async fn what_a_deleted_or_a_purged_queue_held_is_freed_however_much_it_is() {
        let account = Account::new(settings().0);
        let (content, now_ms) = (content(), account.now_ms());
        for messages in [FREED_BY_A_CALL_MAX, FREED_BY_A_CALL_MAX + 1] {
            let queue = account.create(&format!("q{messages}"), &BTreeMap::new(), BTreeMap::new()).unwrap();
            let parcel = |_| (Parcel::new(account.new_id(), Arc::clone(&content), now_ms), 0);
            queue.put(now_ms, (0..messages).map(parcel));
            let purged = queue.lock().queue.purge();
            assert_eq!((purged.messages(), queue.counts(now_ms)), (messages, Counts::default()));
            queue.put(now_ms, (0..messages).map(parcel));
            let closed = queue.close();
            assert_eq!(closed.messages(), messages);
            // They come out of the queue whole: nobody waits for its lock while they are freed.
            assert_eq!(Arc::strong_count(&content), 1 + 2 * messages);
            free(purged);
            free(closed);
            let freed = async {
                while Arc::strong_count(&content) > 1 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(DEADLINE, freed).await.unwrap();
        }
    }
}
