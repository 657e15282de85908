//! Winning the right to work on a task, or doing without: work that needs no lease is claimed and ended by one write.

use futures_util::FutureExt as _;
use serde_json::Value;

use super::Worker;
use crate::error::PortError;
use crate::idempotency::fresh_lease_token;
use crate::kind::Job;
use crate::limits;
use crate::message::QueueMessage;
use crate::ports::{Changes, Clock, Created, Random, Swapped, TaskStore, Visibility};
use crate::record::{Mover, TaskRecord};
use crate::state::{Event, Lease, Refused, TaskState};
use crate::time::EpochMs;

/// What is known of the record before the claim.
enum Known {
    /// A guess: as submit writes it. A first delivery is nearly always right about it and saves a read.
    Assumed(Box<TaskRecord>),
    Stored(Box<TaskRecord>),
    Absent,
}

/// Why there is nothing to work on.
pub(super) enum NotClaimed {
    /// The record of a delivery that had its effect.
    AlreadySucceeded(Box<TaskRecord>),
    /// For any other reason.
    Refused(Refused),
    Superseded,
    Dependency(PortError),
    Contended,
}

impl From<PortError> for NotClaimed {
    fn from(error: PortError) -> Self {
        Self::Dependency(error)
    }
}

/// What the first write of a delivery made of the task.
pub(super) enum Begun {
    Claimed(Claimed),
    /// It is done.
    Succeeded(TaskRecord),
}

impl Begun {
    fn new(record: TaskRecord, lease: Lease) -> Self {
        if matches!(record.state, TaskState::Succeeded { .. }) {
            Self::Succeeded(record)
        } else {
            Self::Claimed(Claimed { record, lease })
        }
    }

    pub(super) const fn attempts(&self) -> u32 {
        match self {
            Self::Claimed(Claimed { record, .. }) | Self::Succeeded(record) => record.attempts,
        }
    }
}

/// A won claim.
pub(super) struct Claimed {
    pub(super) record: TaskRecord,
    pub(super) lease: Lease,
}

impl<S: TaskStore, V: Visibility, C: Clock, R: Random, N: Changes> Worker<S, V, C, R, N> {
    pub(super) async fn begin(
        &self,
        message: &QueueMessage,
        receive_count: u32,
        deadline: EpochMs,
    ) -> Result<Begun, NotClaimed> {
        let lease = Lease { token: fresh_lease_token(&self.random), until: self.lease_end(deadline) };
        let mut known = if receive_count <= 1 {
            Known::Assumed(Box::new(TaskRecord::queued(message)))
        } else {
            self.stored(message).await?
        };
        for _ in 0..limits::SWAP_ROUNDS_MAX {
            let after = self.moved(message, &known, lease, receive_count)?;
            let found = match &known {
                Known::Assumed(before) | Known::Stored(before) => {
                    self.store.swap(before, &after, Mover::Other).await?
                }
                Known::Absent => match self.store.create(&after).await? {
                    Created::New => Swapped::Done,
                    Created::Exists(stored) => Swapped::Conflict(Some(stored)),
                },
            };
            known = match found {
                Swapped::Done => return Ok(Begun::new(after, lease)),
                // The write was retried below us and met itself.
                Swapped::Conflict(Some(stored)) if stored.is_same_move(&after) => {
                    return Ok(Begun::new(*stored, lease));
                }
                Swapped::Conflict(Some(stored)) => Known::Stored(stored),
                Swapped::Conflict(None) => Known::Absent,
            };
        }
        Err(NotClaimed::Contended)
    }

    /// The end of a lease that is taken or extended now. Beyond the deadline this worker is dead: Lambda kills it.
    pub(super) fn lease_end(&self, deadline: EpochMs) -> EpochMs {
        self.clock.now().plus(limits::LEASE_TIME).min(deadline.plus(limits::LEASE_MARGIN))
    }

    async fn stored(&self, message: &QueueMessage) -> Result<Known, PortError> {
        Ok(match self.store.get(message.task_id).await? {
            Some(record) => Known::Stored(Box::new(record)),
            None => Known::Absent,
        })
    }

    /// The record after the claim, or after the end of work that needs no lease.
    fn moved(
        &self,
        message: &QueueMessage,
        known: &Known,
        lease: Lease,
        receive_count: u32,
    ) -> Result<TaskRecord, NotClaimed> {
        let created;
        let before = match known {
            Known::Assumed(record) | Known::Stored(record) => record,
            Known::Absent => {
                created = TaskRecord::queued(message);
                &created
            }
        };
        if !before.is_of(message) {
            return Err(NotClaimed::Superseded);
        }
        let now = self.clock.now();
        let mut after = before.advance(&Event::Claim(lease), now).map_err(|refused| match refused {
            Refused::AlreadySucceeded => NotClaimed::AlreadySucceeded(Box::new(before.clone())),
            refused => NotClaimed::Refused(refused),
        })?;
        after.deliveries = before.deliveries.max(receive_count);
        let Some(result) = self.result_at_once(&after) else { return Ok(after) };
        after.advance(&Event::Succeed { token: lease.token, result }, now).map_err(NotClaimed::Refused)
    }

    /// The result, of work that needs no lease. Whatever else becomes of it is for an attempt under a lease.
    fn result_at_once(&self, claimed: &TaskRecord) -> Option<Value> {
        let job = Job::parse(&claimed.kind, &claimed.payload, self.policy.kinds).ok()?;
        if job.needs_lease() {
            return None;
        }
        job.run(claimed.attempts, &self.clock).now_or_never()?.ok()
    }
}
