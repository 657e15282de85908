//! Winning the right to work on a task.

use super::{Worker, is_same_move};
use crate::error::PortError;
use crate::idempotency::fresh_lease_token;
use crate::limits;
use crate::message::QueueMessage;
use crate::ports::{Changes, Clock, Created, Random, Swapped, TaskStore, Visibility};
use crate::record::TaskRecord;
use crate::state::{Event, Lease, Refused};
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

/// A won claim.
pub(super) struct Claimed {
    pub(super) record: TaskRecord,
    pub(super) lease: Lease,
}

impl<S: TaskStore, V: Visibility, C: Clock, R: Random, N: Changes> Worker<S, V, C, R, N> {
    pub(super) async fn claim(
        &self,
        message: &QueueMessage,
        receive_count: u32,
        deadline: EpochMs,
    ) -> Result<Claimed, NotClaimed> {
        let lease = Lease { token: fresh_lease_token(&self.random), until: self.lease_end(deadline) };
        let mut known = if receive_count <= 1 {
            Known::Assumed(Box::new(TaskRecord::queued(message)))
        } else {
            self.stored(message).await?
        };
        for _ in 0..limits::SWAP_ROUNDS_MAX {
            let after = self.claimed(message, &known, lease, receive_count)?;
            let found = match &known {
                Known::Assumed(before) | Known::Stored(before) => self.store.swap(before, &after).await?,
                Known::Absent => match self.store.create(&after).await? {
                    Created::New => Swapped::Done,
                    Created::Exists(stored) => Swapped::Conflict(Some(stored)),
                },
            };
            known = match found {
                Swapped::Done => return Ok(Claimed { record: after, lease }),
                // The write was retried below us and met itself.
                Swapped::Conflict(Some(stored)) if is_same_move(&stored, &after) => {
                    return Ok(Claimed { record: *stored, lease });
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

    fn claimed(
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
        if before.request_hash != message.request_hash || before.owner != message.owner {
            return Err(NotClaimed::Superseded);
        }
        let mut after =
            before.advance(&Event::Claim(lease), self.clock.now()).map_err(NotClaimed::Refused)?;
        after.deliveries = before.deliveries.max(receive_count);
        Ok(after)
    }
}
