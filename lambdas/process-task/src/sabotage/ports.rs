//! The worker's ports, wrong on purpose.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use task_core::error::PortError;
use task_core::id::TaskId;
use task_core::ports::{
    Change, Changes, Connections, Created, Extended, Listener, Swapped, TaskStore, Visibility,
};
use task_core::record::{HistoryEntry, Mover, TaskRecord};
use task_core::state::Lease;
use task_core::wire::Status;
use task_core::{ConnectionId, DurationMs, EpochMs, Owner};

use super::{Sabotage, hash};

/// What Lambda reports is `Runtime.ExitError`; the number only has to be none of ours.
const EXIT_SABOTAGED: i32 = 99;

/// Tasks that this process has come to the middle of.
static TASKS_BEGUN: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
pub(crate) struct SabotagedStore<S> {
    pub(crate) inner: S,
    pub(crate) mode: Option<Sabotage>,
    /// Ends the process; a panic in tests.
    pub(crate) crash: fn(),
}

impl<S> SabotagedStore<S> {
    pub(crate) fn new(inner: S, mode: Option<Sabotage>) -> Self {
        Self { inner, mode, crash: || std::process::exit(EXIT_SABOTAGED) }
    }

    fn crashes_now(&self) -> bool {
        let Some(Sabotage::Crash { every }) = self.mode else { return false };
        (TASKS_BEGUN.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
    }
}

impl<S: TaskStore> SabotagedStore<S> {
    /// The write of `after`, with what is wrong about the end of an attempt.
    async fn end<T>(
        &self,
        after: &TaskRecord,
        write: impl Future<Output = Result<T, PortError>> + Send,
        is_written: impl FnOnce(&T) -> bool + Send,
    ) -> Result<T, PortError> {
        let crashes = after.state.status() != Status::Running && self.crashes_now();
        // Half of them before the effect is recorded, half of them after it and before it is acknowledged.
        let is_early = hash(after.id).is_multiple_of(2);
        if crashes && is_early {
            (self.crash)();
        }
        let written = write.await?;
        if crashes {
            (self.crash)();
        }
        if self.mode == Some(Sabotage::DoubleEffect)
            && is_written(&written)
            && after.state.status() == Status::Succeeded
        {
            self.inner.swap(after, &completed_again(after), Mover::Holder).await?;
        }
        Ok(written)
    }
}

impl<S: TaskStore> TaskStore for SabotagedStore<S> {
    async fn get(&self, id: TaskId) -> Result<Option<TaskRecord>, PortError> {
        self.inner.get(id).await
    }

    async fn create(&self, record: &TaskRecord) -> Result<Created, PortError> {
        self.end(record, self.inner.create(record), |created| *created == Created::New).await
    }

    async fn swap(
        &self,
        before: &TaskRecord,
        after: &TaskRecord,
        mover: Mover,
    ) -> Result<Swapped, PortError> {
        self.end(after, self.inner.swap(before, after, mover), |swapped| *swapped == Swapped::Done).await
    }

    async fn extend(&self, id: TaskId, lease: Lease) -> Result<Extended, PortError> {
        self.inner.extend(id, lease).await
    }

    async fn saw_delivery(&self, id: TaskId, receive_count: u32) -> Result<(), PortError> {
        self.inner.saw_delivery(id, receive_count).await
    }
}

/// What a worker without a fence would write when it completes what is complete.
fn completed_again(record: &TaskRecord) -> TaskRecord {
    let mut again = record.clone();
    again.version = record.version.next();
    again.completions += 1;
    again.history.push(HistoryEntry {
        version: again.version,
        status: Status::Succeeded,
        at: record.updated_at,
    });
    again
}

#[derive(Clone, Debug)]
pub(crate) struct SabotagedVisibility<V> {
    pub(crate) inner: V,
    pub(crate) mode: Option<Sabotage>,
}

impl<V: Visibility> Visibility for SabotagedVisibility<V> {
    async fn change(&self, receipt: &str, delay: DurationMs) -> Result<(), PortError> {
        match self.mode {
            Some(Sabotage::NoBackoff) => self.inner.change(receipt, DurationMs::ZERO).await,
            // Shown again, it would be received before its batch is acknowledged, and survive that.
            Some(Sabotage::SwallowPoison) => Ok(()),
            _ => self.inner.change(receipt, delay).await,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SabotagedChanges<N> {
    pub(crate) inner: N,
    pub(crate) mode: Option<Sabotage>,
}

impl<N: Changes> Changes for SabotagedChanges<N> {
    fn changed(&self, change: Change) {
        if self.mode != Some(Sabotage::ForgetPush) {
            self.inner.changed(change);
        }
    }
}

/// The last owner that this process pushed for, and the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bystanders(Arc<Mutex<Vec<Owner>>>);

impl Bystanders {
    /// The last owner that is another than this one, which is the last from now on.
    fn beside(&self, owner: &Owner) -> Option<Owner> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let other = owners.iter().find(|known| *known != owner).cloned();
        *owners = std::iter::once(owner.clone()).chain(other.clone()).collect();
        other
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SabotagedConnections<N> {
    pub(crate) inner: N,
    pub(crate) mode: Option<Sabotage>,
    pub(crate) bystanders: Bystanders,
}

impl<N: Connections> Connections for SabotagedConnections<N> {
    async fn add(&self, owner: &Owner, connection: &ConnectionId, now: EpochMs) -> Result<(), PortError> {
        self.inner.add(owner, connection, now).await
    }

    async fn remove(&self, owner: &Owner, connection: &ConnectionId) -> Result<(), PortError> {
        self.inner.remove(owner, connection).await
    }

    async fn of_owner(&self, owner: &Owner) -> Result<Vec<Listener>, PortError> {
        let mut connections = self.inner.of_owner(owner).await?;
        if self.mode == Some(Sabotage::StrayPush)
            && let Some(bystander) = self.bystanders.beside(owner)
        {
            // The owner itself is told, whatever is known of the other.
            let others = self.inner.of_owner(&bystander).await.unwrap_or_default();
            connections.extend(others.into_iter().next());
        }
        Ok(connections)
    }
}
