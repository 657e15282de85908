//! All ports over one in-memory world, with the clock in the test's hands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::connection::newest;
use crate::error::PortError;
use crate::id::{ConnectionId, Owner, TaskId};
use crate::limits;
use crate::list::SortKey;
use crate::ports::*;
use crate::record::{Mover, TaskRecord};
use crate::state::{Event, Lease, apply};
use crate::time::{DurationMs, EpochMs};

/// A clock that stands still until the test moves it, or until [`ManualClock::block_on`] has nothing else left to do.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
    sleepers: Mutex<BTreeMap<(EpochMs, u64), Waker>>,
    sleeps: AtomicU64,
}

impl ManualClock {
    pub const fn new(now: EpochMs) -> Self {
        Self { now: AtomicU64::new(now.0), sleepers: Mutex::new(BTreeMap::new()), sleeps: AtomicU64::new(0) }
    }

    pub fn advance(&self, duration: DurationMs) {
        self.now.fetch_add(duration.0, Ordering::SeqCst);
        let now = Clock::now(&self);
        let mut sleepers = locked(&self.sleepers);
        while let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }

    /// Runs `future`. When nothing in it can go on, the clock jumps to the next moment that something in it waits for, so
    /// that a wait of hours takes no time.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            woken.0.store(false, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            if !woken.0.load(Ordering::SeqCst) {
                self.jump();
            }
        }
    }

    fn jump(&self) {
        let next = locked(&self.sleepers).keys().next().map(|(due, _)| *due);
        let due = next.expect("something in the future waits, and time is all that it can wait for");
        self.advance(due.since(Clock::now(&self)));
    }
}

struct Woken(AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One wait; forgotten by the clock when it is given up.
struct Sleep<'a> {
    clock: &'a ManualClock,
    key: (EpochMs, u64),
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.key.0 {
            return Poll::Ready(());
        }
        locked(&self.clock.sleepers).insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        locked(&self.clock.sleepers).remove(&self.key);
    }
}

impl Clock for &ManualClock {
    fn now(&self) -> EpochMs {
        EpochMs(self.now.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: DurationMs) {
        let number = self.sleeps.fetch_add(1, Ordering::SeqCst);
        Sleep { clock: self, key: (Clock::now(self).plus(duration), number) }.await;
    }
}

/// Lets the other futures go first, once.
pub(crate) async fn give_way() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            Poll::Ready(())
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// `SplitMix64`: the same numbers for the same seed, on every machine and version.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }
}

impl Random for &SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        (**self).fill(bytes);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    pub body: String,
    pub trace: Option<String>,
}

/// Tables, queues and sockets.
#[derive(Debug, Default)]
pub struct Memory {
    pub records: Mutex<BTreeMap<TaskId, TaskRecord>>,
    pub sent: Mutex<Vec<SentMessage>>,
    pub visibility: Mutex<Vec<(String, DurationMs)>>,
    pub dead_letters: Mutex<Vec<DeadLetter>>,
    pub connections: Mutex<BTreeMap<(Owner, ConnectionId), EpochMs>>,
    pub closed: Mutex<BTreeSet<ConnectionId>>,
    pub pushed: Mutex<Vec<(ConnectionId, String)>>,
    pub changes: Mutex<Vec<Change>>,
    peeked: Mutex<BTreeSet<String>>,
}

impl Memory {
    pub fn record(&self, id: TaskId) -> Option<TaskRecord> {
        locked(&self.records).get(&id).cloned()
    }

    /// What was peeked at is visible again, as after its visibility timeout.
    pub fn show_dead_letters(&self) {
        locked(&self.peeked).clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl TaskStore for &Memory {
    async fn get(&self, id: TaskId) -> Result<Option<TaskRecord>, PortError> {
        Ok(self.record(id))
    }

    async fn create(&self, record: &TaskRecord) -> Result<Created, PortError> {
        let mut records = locked(&self.records);
        if let Some(stored) = records.get(&record.id) {
            return Ok(Created::Exists(Box::new(stored.clone())));
        }
        records.insert(record.id, record.clone());
        Ok(Created::New)
    }

    async fn swap(
        &self,
        before: &TaskRecord,
        after: &TaskRecord,
        mover: Mover,
    ) -> Result<Swapped, PortError> {
        let mut records = locked(&self.records);
        match records.get_mut(&before.id) {
            Some(stored) if is_as_thought(stored, before, mover) => {
                let deliveries = stored.deliveries.max(after.deliveries);
                *stored = TaskRecord { deliveries, ..after.clone() };
                Ok(Swapped::Done)
            }
            stored => Ok(Swapped::Conflict(stored.map(|stored| Box::new(stored.clone())))),
        }
    }

    async fn extend(&self, id: TaskId, lease: Lease) -> Result<Extended, PortError> {
        let mut records = locked(&self.records);
        let Some(stored) = records.get_mut(&id) else { return Ok(Extended::Lost) };
        let extended = apply(&stored.state, &Event::Extend(lease), lease.until);
        Ok(match extended {
            Ok(state) => {
                stored.state = state;
                Extended::Yes
            }
            Err(_) => Extended::Lost,
        })
    }

    async fn saw_delivery(&self, id: TaskId, receive_count: u32) -> Result<(), PortError> {
        if let Some(stored) = locked(&self.records).get_mut(&id) {
            stored.deliveries = stored.deliveries.max(receive_count);
        }
        Ok(())
    }
}

/// As the condition of the DynamoDB adapter.
fn is_as_thought(stored: &TaskRecord, before: &TaskRecord, mover: Mover) -> bool {
    let token = |record: &TaskRecord| record.state.lease().map(|lease| lease.token);
    stored.version == before.version
        && stored.request_hash == before.request_hash
        && stored.created_at == before.created_at
        && token(stored) == token(before)
        && before.lease_taken_over_by(mover).is_none_or(|lease| stored.state.lease() == Some(lease))
}

impl OwnerIndex for (&Memory, u16) {
    async fn shard(&self, query: ShardQuery<'_>) -> Result<ShardPage, PortError> {
        let mut records: Vec<_> = locked(&self.0.records)
            .values()
            .filter(|record| record.owner == *query.owner && record.id.shard(self.1) == query.shard)
            .filter(|record| query.before.is_none_or(|before| SortKey::of(record) < before))
            .filter(|record| query.status.is_none_or(|status| record.state.status() == status))
            .cloned()
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse(SortKey::of(record)));
        let has_more = records.len() > usize::from(query.limit);
        records.truncate(usize::from(query.limit));
        let stopped_at = if has_more { records.last().map(SortKey::of) } else { None };
        Ok(ShardPage { tasks: records.iter().map(TaskRecord::to_wire).collect(), stopped_at })
    }
}

impl OpenTasks for &Memory {
    async fn open(&self, owner: &Owner, _enough: u32) -> Result<u32, PortError> {
        let records = locked(&self.records);
        let open =
            records.values().filter(|record| record.owner == *owner && !record.state.status().is_final());
        Ok(u32::try_from(open.count()).unwrap_or(u32::MAX))
    }
}

impl TaskQueue for &Memory {
    async fn send(&self, body: &str, trace: Option<&str>) -> Result<(), PortError> {
        locked(&self.sent).push(SentMessage { body: body.to_owned(), trace: trace.map(ToOwned::to_owned) });
        Ok(())
    }
}

impl Visibility for &Memory {
    async fn change(&self, receipt: &str, delay: DurationMs) -> Result<(), PortError> {
        locked(&self.visibility).push((receipt.to_owned(), delay));
        Ok(())
    }
}

impl DeadLetters for &Memory {
    async fn peek(&self, _visibility: DurationMs) -> Result<Vec<DeadLetter>, PortError> {
        let mut peeked = locked(&self.peeked);
        let letters = locked(&self.dead_letters);
        Ok(letters
            .iter()
            .filter(|letter| peeked.insert(letter.message_id.clone()))
            .take(usize::from(limits::RECEIVE_MAX))
            .cloned()
            .collect())
    }
}

impl Connections for &Memory {
    async fn add(&self, owner: &Owner, connection: &ConnectionId, now: EpochMs) -> Result<(), PortError> {
        locked(&self.connections).insert((owner.clone(), connection.clone()), now);
        Ok(())
    }

    async fn remove(&self, owner: &Owner, connection: &ConnectionId) -> Result<(), PortError> {
        locked(&self.connections).remove(&(owner.clone(), connection.clone()));
        Ok(())
    }

    async fn of_owner(&self, owner: &Owner) -> Result<Vec<Listener>, PortError> {
        let connections = locked(&self.connections);
        let of_owner = connections.iter().filter(|((other, _), _)| other == owner);
        Ok(newest(of_owner.map(|((_, id), at)| Listener { since: *at, connection: id.clone() })))
    }
}

impl Pusher for &Memory {
    async fn push(&self, connection: &ConnectionId, message: &str) -> Result<Pushed, PortError> {
        if locked(&self.closed).contains(connection) {
            return Ok(Pushed::Gone);
        }
        locked(&self.pushed).push((connection.clone(), message.to_owned()));
        Ok(Pushed::Sent)
    }
}

impl Changes for &Memory {
    fn changed(&self, change: Change) {
        locked(&self.changes).push(change);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::LeaseToken;
    use crate::state::Judge;
    use crate::testing::digest;
    use crate::wire::TaskError;

    /// As the adapter of DynamoDB, whose condition its own tests show.
    #[test]
    fn a_heartbeat_between_a_look_and_a_takeover_keeps_the_task_with_its_holder() {
        let id = "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap();
        let queued = TaskRecord::queued(&digest(id, &Owner::parse("alice").unwrap(), EpochMs(0)));
        let token = |number: u8| -> LeaseToken {
            format!("00000000-0000-4000-8000-00000000000{number}").parse().unwrap()
        };
        let lease = |number: u8, until: u64| Lease { token: token(number), until: EpochMs(until) };
        let seen = queued.advance(&Event::Claim(lease(1, 1_000)), EpochMs(1)).unwrap();
        let error = TaskError { kind: "dead_lettered".into(), message: "m".into() };
        let moves = [
            (Event::Claim(lease(2, 9_000)), Mover::Other),
            (Event::DeadLetter { judge: Judge::Auditor, error }, Mover::Other),
            (Event::Succeed { token: token(1), result: json!({}) }, Mover::Holder),
        ];
        for (event, mover) in moves {
            let (memory, clock) = (Memory::default(), ManualClock::new(EpochMs(2_000)));
            let memory = &memory;
            let swapped = clock.block_on(async {
                memory.create(&seen).await.unwrap();
                assert_eq!(memory.extend(seen.id, lease(1, 5_000)).await, Ok(Extended::Yes));
                let after = seen.advance(&event, EpochMs(2_000)).unwrap();
                memory.swap(&seen, &after, mover).await.unwrap()
            });
            assert_eq!(swapped == Swapped::Done, mover == Mover::Holder, "{event:?}: {swapped:?}");
        }
    }
}
