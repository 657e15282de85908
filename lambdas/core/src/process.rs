//! One delivery of one message, from claim to effect.
//!
//! Delivery is at least once; the effect is exactly once, because every move of a record is a compare-and-swap and the move
//! to `succeeded` counts the effect. The record is only read when the usual guess fails.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use serde_json::Value;

use crate::deadline::within;
use crate::error::{ErrorClass, PortError};
use crate::id::LeaseToken;
use crate::idempotency::fresh_lease_token;
use crate::kind::{AttemptError, Job, KindsAllowed};
use crate::limits;
use crate::message::QueueMessage;
use crate::ports::{Change, Changes, Clock, Created, Random, Swapped, TaskStore, Visibility};
use crate::record::TaskRecord;
use crate::retry::{backoff, outage_backoff};
use crate::state::{Event, Judge, Lease, Refused, TaskState};
use crate::time::{DurationMs, EpochMs};
use crate::wire::TaskError;

/// One message as the event source mapping hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub message_id: String,
    pub receipt: String,
    pub body: String,
    /// Counts from 1.
    pub receive_count: u32,
}

/// How a delivery ended. Every delivery ends in exactly one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The message is to be deleted.
    Done(Done),
    /// The message is to stay.
    Failed(Failed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Succeeded,
    /// A duplicate of a delivery that had its effect.
    AlreadySucceeded,
    /// Left by a submission that was refused, because its key named another task.
    Superseded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Not a message of ours; on its way to the dead-letter queue.
    Malformed,
    /// The attempt failed and another will follow.
    Retried,
    /// The task will never succeed; on its way to the dead-letter queue.
    Refused,
    /// The last attempt failed.
    DeadLettered,
    /// Another worker is at it.
    LeaseHeld,
    /// A dependency failed, which is not the task's fault.
    Dependency(ErrorClass),
    /// The attempt did not end, in this function's time or at all.
    Abandoned,
}

/// Handles one delivery. Implemented by [`Worker`], and by what wraps it in tests.
pub trait HandleDelivery: Sync {
    fn handle(&self, delivery: &Delivery, deadline: EpochMs) -> impl Future<Output = Handled> + Send;
}

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// As in the queue's redrive policy.
    pub max_receive_count: u32,
    /// As on the queue.
    pub visibility: DurationMs,
    pub kinds: KindsAllowed,
}

#[derive(Debug)]
pub struct Worker<S, V, C, R, N> {
    pub store: S,
    pub visibility: V,
    pub clock: C,
    pub random: R,
    pub changes: N,
    pub policy: Policy,
}

/// What is known of the record before the claim.
enum Known {
    /// A guess: as submit writes it. A first delivery is nearly always right about it and saves a read.
    Assumed(Box<TaskRecord>),
    Stored(Box<TaskRecord>),
    Absent,
}

/// Why there is nothing to work on.
enum NotClaimed {
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
struct Claimed {
    record: TaskRecord,
    lease: Lease,
}

impl<S, V, C, R, N> HandleDelivery for Worker<S, V, C, R, N>
where
    S: TaskStore + Send,
    V: Visibility + Send,
    C: Clock + Send,
    R: Random + Send,
    N: Changes + Send,
{
    async fn handle(&self, delivery: &Delivery, deadline: EpochMs) -> Handled {
        let Ok(message) = QueueMessage::parse(&delivery.body) else {
            self.show_after(delivery, DurationMs::ZERO).await;
            return Handled::Failed(Failed::Malformed);
        };
        match self.claim(&message, delivery.receive_count, deadline).await {
            Ok(claimed) => self.attempt(delivery, claimed, deadline).await,
            Err(refusal) => self.not_claimed(&message, delivery, refusal).await,
        }
    }
}

impl<S, V, C, R, N> Worker<S, V, C, R, N>
where
    S: TaskStore,
    V: Visibility,
    C: Clock,
    R: Random,
    N: Changes,
{
    async fn claim(
        &self,
        message: &QueueMessage,
        receive_count: u32,
        deadline: EpochMs,
    ) -> Result<Claimed, NotClaimed> {
        // Beyond the deadline this worker is dead: Lambda kills it. So nobody waits longer than that for a lost lease.
        let lease =
            Lease { token: fresh_lease_token(&self.random), until: deadline.plus(limits::LEASE_MARGIN) };
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

    async fn not_claimed(&self, message: &QueueMessage, delivery: &Delivery, refusal: NotClaimed) -> Handled {
        let receive_count = delivery.receive_count;
        match refusal {
            NotClaimed::Superseded => Handled::Done(Done::Superseded),
            NotClaimed::Refused(Refused::AlreadySucceeded) => {
                // Only a count for the oracle: losing it loses nothing.
                let _count = self.store.saw_delivery(message.task_id, receive_count).await;
                Handled::Done(Done::AlreadySucceeded)
            }
            NotClaimed::Refused(Refused::LeaseHeld { until }) => {
                self.show_after(delivery, until.since(self.clock.now())).await;
                Handled::Failed(Failed::LeaseHeld)
            }
            // A claim is refused for no other reason; losing every round means that others are at it.
            NotClaimed::Refused(_) | NotClaimed::Contended => {
                self.show_after(delivery, backoff(receive_count, &self.random)).await;
                Handled::Failed(Failed::LeaseHeld)
            }
            NotClaimed::Dependency(error) => self.dependency_failed(delivery, &error, None).await,
        }
    }

    async fn attempt(&self, delivery: &Delivery, claimed: Claimed, deadline: EpochMs) -> Handled {
        self.tell(&claimed.record);
        let work_until = deadline.minus(limits::ANSWER_MARGIN);
        let work = AssertUnwindSafe(self.run(&claimed.record)).catch_unwind();
        let outcome = match within(&self.clock, work_until, work).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_panic)) => Err(retryable("panicked", "the attempt panicked")),
            None => Err(retryable("out_of_time", "the attempt did not end in the time it had")),
        };
        match outcome {
            Ok(result) => self.succeed(delivery, claimed, result).await,
            Err(error) => self.fail(delivery, claimed, &error).await,
        }
    }

    async fn run(&self, record: &TaskRecord) -> Result<Value, AttemptError> {
        let job = Job::parse(&record.kind, &record.payload, self.policy.kinds).map_err(|error| {
            AttemptError::Permanent(TaskError { kind: "invalid_task".into(), message: error.to_string() })
        })?;
        job.run(record.attempts, &self.clock).await
    }

    async fn succeed(&self, delivery: &Delivery, claimed: Claimed, result: Value) -> Handled {
        let event = Event::Succeed { token: claimed.lease.token, result };
        match self.settle(&claimed.record, &event).await {
            Ok(Settled::Moved) => Handled::Done(Done::Succeeded),
            Ok(Settled::Lost(Refused::AlreadySucceeded)) => Handled::Done(Done::AlreadySucceeded),
            Ok(Settled::Lost(_)) => {
                self.show_after(delivery, backoff(delivery.receive_count, &self.random)).await;
                Handled::Failed(Failed::LeaseHeld)
            }
            Err(error) => self.dependency_failed(delivery, &error, Some(claimed.lease)).await,
        }
    }

    async fn fail(&self, delivery: &Delivery, claimed: Claimed, error: &AttemptError) -> Handled {
        let is_last = delivery.receive_count >= self.policy.max_receive_count;
        let is_permanent = matches!(error, AttemptError::Permanent(_));
        let settled = self.settle(&claimed.record, &failure(claimed.lease.token, error, is_last)).await;
        let delay = match &settled {
            // Nothing holds it up any more, and nothing is gained by waiting: on to the next receive or the redrive.
            Ok(_) if is_permanent || is_last => DurationMs::ZERO,
            Ok(_) => backoff(delivery.receive_count, &self.random),
            // The record still shows our lease; coming back sooner would only use up a receive.
            Err(_) => backoff(delivery.receive_count, &self.random).max(self.remaining(claimed.lease)),
        };
        self.show_after(delivery, delay).await;
        Handled::Failed(match settled {
            Err(error) => Failed::Dependency(error.class),
            Ok(Settled::Lost(_)) => Failed::LeaseHeld,
            Ok(Settled::Moved) if is_last => Failed::DeadLettered,
            Ok(Settled::Moved) if is_permanent => Failed::Refused,
            Ok(Settled::Moved) => Failed::Retried,
        })
    }

    /// Ends an attempt with `event`. Lost when another worker has taken over.
    async fn settle(&self, claimed: &TaskRecord, event: &Event) -> Result<Settled, PortError> {
        let after = match claimed.advance(event, self.clock.now()) {
            Ok(after) => after,
            Err(refused) => return Ok(Settled::Lost(refused)),
        };
        match self.store.swap(claimed, &after).await? {
            Swapped::Done => {}
            Swapped::Conflict(Some(stored)) if is_same_move(&stored, &after) => {}
            Swapped::Conflict(Some(stored)) if matches!(stored.state, TaskState::Succeeded { .. }) => {
                return Ok(Settled::Lost(Refused::AlreadySucceeded));
            }
            Swapped::Conflict(_) => return Ok(Settled::Lost(Refused::LeaseLost)),
        }
        self.tell(&after);
        Ok(Settled::Moved)
    }

    async fn dependency_failed(
        &self,
        delivery: &Delivery,
        error: &PortError,
        lease: Option<Lease>,
    ) -> Handled {
        let pause = outage_backoff(delivery.receive_count, self.policy.visibility, &self.random);
        let lease_left = lease.map_or(DurationMs::ZERO, |lease| self.remaining(lease));
        self.show_after(delivery, pause.max(lease_left)).await;
        Handled::Failed(Failed::Dependency(error.class))
    }

    fn remaining(&self, lease: Lease) -> DurationMs {
        lease.until.since(self.clock.now())
    }

    /// Best effort: when it fails the queue's own visibility timeout brings the message back.
    async fn show_after(&self, delivery: &Delivery, delay: DurationMs) {
        let _fallback = self.visibility.change(&delivery.receipt, delay).await;
    }

    fn tell(&self, record: &TaskRecord) {
        self.changes.changed(Change { owner: record.owner.clone(), task: record.to_wire() });
    }
}

enum Settled {
    Moved,
    Lost(Refused),
}

/// Whether `stored` is what we meant to write: a lost answer and a retried write look like a lost race.
fn is_same_move(stored: &TaskRecord, after: &TaskRecord) -> bool {
    stored.version == after.version && stored.state == after.state && stored.updated_at == after.updated_at
}

fn retryable(kind: &str, message: &str) -> AttemptError {
    AttemptError::Retryable(TaskError { kind: kind.into(), message: message.into() })
}

fn failure(token: LeaseToken, error: &AttemptError, is_last: bool) -> Event {
    let mut error = error.error().clone();
    if let Some((end, _)) = error.message.char_indices().nth(limits::ERROR_MESSAGE_CHARS_MAX) {
        error.message.truncate(end);
    }
    if is_last {
        Event::DeadLetter { judge: Judge::Holder(token), error }
    } else {
        Event::GiveBack { token, error }
    }
}
