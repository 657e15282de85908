//! A decorator that fails port calls on purpose: before or after they had their effect, or by never returning.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::error::{ErrorClass, PortError};
use crate::id::{ConnectionId, Owner, TaskId};
use crate::ports::*;
use crate::record::{Mover, TaskRecord};
use crate::state::Lease;
use crate::testing::memory::{SeededRandom, give_way};
use crate::time::{DurationMs, EpochMs};

/// The panic that stands for the death of the process.
#[derive(Clone, Copy, Debug)]
pub struct Crash;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused; nothing happened.
    Refuse(ErrorClass),
    /// It happened, and the answer was lost.
    LoseAnswer,
    /// It happened, its answer was lost below us and the call tried again there: the second answer is all that is heard.
    RetriedBelow,
    /// The process dies before the call.
    CrashBefore,
    /// The process dies after the call.
    CrashAfter,
    /// Nothing happened, and no answer ever comes.
    HangBefore,
    /// It happened, and no answer ever comes.
    HangAfter,
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::Refuse(ErrorClass::Transient),
        Self::Refuse(ErrorClass::Throttled),
        Self::Refuse(ErrorClass::Permanent),
        Self::LoseAnswer,
        Self::RetriedBelow,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::HangBefore,
        Self::HangAfter,
    ];
}

/// The calls of [`TaskStore`], by their names here.
const STORE: [&str; 5] = ["get", "create", "swap", "extend", "saw_delivery"];

/// Which call, counted from 0 over all ports, fails how.
#[derive(Debug)]
pub struct Faults {
    planned: BTreeMap<u64, Fault>,
    /// From which call on the table of tasks refuses everything, whatever is planned.
    store_down_from: Option<u64>,
    calls: Mutex<u64>,
    /// How often each call gives way to others first, so that two deliveries interleave.
    pauses: SeededRandom,
}

impl Faults {
    pub fn at(seed: u64, planned: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self {
            planned: planned.into_iter().collect(),
            store_down_from: None,
            calls: Mutex::new(0),
            pauses: SeededRandom::new(seed),
        }
    }

    /// An outage of the table alone, which begins before the call of this number.
    pub fn store_down_from(seed: u64, call: u64) -> Self {
        Self { store_down_from: Some(call), ..Self::none(seed) }
    }

    pub fn none(seed: u64) -> Self {
        Self::at(seed, [])
    }

    pub fn are_planned(&self) -> bool {
        !self.planned.is_empty()
    }

    pub fn calls(&self) -> u64 {
        *self.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn next(&self, operation: &str) -> Option<Fault> {
        let mut calls = self.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_down = self.store_down_from.is_some_and(|from| *calls >= from) && STORE.contains(&operation);
        let fault = if is_down {
            Some(Fault::Refuse(ErrorClass::Transient))
        } else {
            self.planned.get(&calls).copied()
        };
        *calls += 1;
        fault
    }

    async fn run<T, F>(&self, operation: &'static str, call: impl Fn() -> F) -> Result<T, PortError>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        for _ in 0..self.pauses.next() % 3 {
            give_way().await;
        }
        let failed = |class| PortError { operation, class, detail: "injected".into() };
        match self.next(operation) {
            None => call().await,
            Some(Fault::Refuse(class)) => Err(failed(class)),
            Some(Fault::LoseAnswer) => {
                call().await?;
                Err(failed(ErrorClass::Unknown))
            }
            Some(Fault::RetriedBelow) => {
                call().await?;
                call().await
            }
            Some(Fault::CrashBefore) => std::panic::panic_any(Crash),
            Some(Fault::CrashAfter) => {
                call().await?;
                std::panic::panic_any(Crash)
            }
            Some(Fault::HangBefore) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                call().await?;
                std::future::pending().await
            }
        }
    }
}

/// Every port of `inner`, with faults.
#[derive(Debug)]
pub struct Faulty<'a, P> {
    pub inner: P,
    pub faults: &'a Faults,
}

impl<P: TaskStore> TaskStore for Faulty<'_, P> {
    async fn get(&self, id: TaskId) -> Result<Option<TaskRecord>, PortError> {
        self.faults.run("get", || self.inner.get(id)).await
    }

    async fn create(&self, record: &TaskRecord) -> Result<Created, PortError> {
        self.faults.run("create", || self.inner.create(record)).await
    }

    async fn swap(
        &self,
        before: &TaskRecord,
        after: &TaskRecord,
        mover: Mover,
    ) -> Result<Swapped, PortError> {
        self.faults.run("swap", || self.inner.swap(before, after, mover)).await
    }

    async fn extend(&self, id: TaskId, lease: Lease) -> Result<Extended, PortError> {
        self.faults.run("extend", || self.inner.extend(id, lease)).await
    }

    async fn saw_delivery(&self, id: TaskId, receive_count: u32) -> Result<(), PortError> {
        self.faults.run("saw_delivery", || self.inner.saw_delivery(id, receive_count)).await
    }
}

impl<P: OwnerIndex> OwnerIndex for Faulty<'_, P> {
    async fn shard(&self, query: ShardQuery<'_>) -> Result<ShardPage, PortError> {
        self.faults.run("shard", || self.inner.shard(query)).await
    }
}

impl<P: OpenTasks> OpenTasks for Faulty<'_, P> {
    async fn open(&self, owner: &Owner, enough: u32) -> Result<u32, PortError> {
        self.faults.run("open", || self.inner.open(owner, enough)).await
    }
}

impl<P: TaskQueue> TaskQueue for Faulty<'_, P> {
    async fn send(&self, body: &str, trace: Option<&str>) -> Result<(), PortError> {
        self.faults.run("send", || self.inner.send(body, trace)).await
    }
}

impl<P: Visibility> Visibility for Faulty<'_, P> {
    async fn change(&self, receipt: &str, delay: DurationMs) -> Result<(), PortError> {
        self.faults.run("change", || self.inner.change(receipt, delay)).await
    }
}

impl<P: DeadLetters> DeadLetters for Faulty<'_, P> {
    async fn peek(&self, visibility: DurationMs) -> Result<Vec<DeadLetter>, PortError> {
        self.faults.run("peek", || self.inner.peek(visibility)).await
    }
}

impl<P: Connections> Connections for Faulty<'_, P> {
    async fn add(&self, owner: &Owner, connection: &ConnectionId, now: EpochMs) -> Result<(), PortError> {
        self.faults.run("add", || self.inner.add(owner, connection, now)).await
    }

    async fn remove(&self, owner: &Owner, connection: &ConnectionId) -> Result<(), PortError> {
        self.faults.run("remove", || self.inner.remove(owner, connection)).await
    }

    async fn of_owner(&self, owner: &Owner) -> Result<Vec<Listener>, PortError> {
        self.faults.run("of_owner", || self.inner.of_owner(owner)).await
    }
}

impl<P: Pusher> Pusher for Faulty<'_, P> {
    async fn push(&self, connection: &ConnectionId, message: &str) -> Result<Pushed, PortError> {
        self.faults.run("push", || self.inner.push(connection, message)).await
    }
}
