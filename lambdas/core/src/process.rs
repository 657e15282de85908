//! One delivery of one message, from claim to effect.
//!
//! Delivery is at least once; the effect is exactly once, because every move of a record is a compare-and-swap and the move
//! to `succeeded` counts the effect. The record is only read when the usual guess fails.

mod attempt;
mod claim;

use crate::deadline::within;
use crate::error::{ErrorClass, PortError};
use crate::id::{Owner, TaskId};
use crate::kind::KindsAllowed;
use crate::limits;
use crate::message::QueueMessage;
use crate::ports::{Changes, Clock, Random, TaskStore, Visibility};
use crate::record::TaskRecord;
use crate::retry::{backoff, outage_backoff};
use crate::state::Refused;
use crate::time::{DurationMs, EpochMs};

use claim::{Begun, NotClaimed};

/// One message as the event source mapping hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub message_id: String,
    pub receipt: String,
    pub body: String,
    /// Counts from 1.
    pub receive_count: u32,
    /// X-Ray header that the submission put on the message.
    pub trace: Option<String>,
}

/// How a delivery ended, and what it was about as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub handled: Handled,
    /// Absent when the message is not one of ours.
    pub about: Option<About>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub task_id: TaskId,
    pub owner: Owner,
    /// Of the whole task, with this one; 0 when the task was not claimed here.
    pub attempts: u32,
}

impl From<Handled> for Ended {
    fn from(handled: Handled) -> Self {
        Self { handled, about: None }
    }
}

/// Every delivery ends in exactly one of the two.
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
    /// The attempt did not end, in this function's time or at all. No time was left to say when the message shall come
    /// back: that is after the queue's visibility timeout.
    Abandoned,
}

/// Handles one delivery. Implemented by [`Worker`], and by what wraps it in tests.
pub trait HandleDelivery: Sync {
    fn handle(&self, delivery: &Delivery, deadline: EpochMs) -> impl Future<Output = Ended> + Send;
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

impl<S, V, C, R, N> HandleDelivery for Worker<S, V, C, R, N>
where
    S: TaskStore + Send,
    V: Visibility + Send,
    C: Clock + Send,
    R: Random + Send,
    N: Changes + Send,
{
    async fn handle(&self, delivery: &Delivery, deadline: EpochMs) -> Ended {
        let answer_by = deadline.minus(limits::ANSWER_MARGIN);
        let Ok(message) = QueueMessage::parse(&delivery.body) else {
            within(&self.clock, answer_by, self.show_after(delivery, DurationMs::ZERO)).await;
            return Handled::Failed(Failed::Malformed).into();
        };
        let mut attempts = 0;
        let deliver = self.deliver(&message, delivery, deadline, &mut attempts);
        // A call that hangs costs its own task this delivery, and not the whole batch its answer.
        let handled = within(&self.clock, answer_by, deliver).await;
        let about = About { task_id: message.task_id, owner: message.owner, attempts };
        Ended { handled: handled.unwrap_or(Handled::Failed(Failed::Abandoned)), about: Some(about) }
    }
}

impl<S: TaskStore, V: Visibility, C: Clock, R: Random, N: Changes> Worker<S, V, C, R, N> {
    async fn deliver(
        &self,
        message: &QueueMessage,
        delivery: &Delivery,
        deadline: EpochMs,
        attempts: &mut u32,
    ) -> Handled {
        let begun = match self.begin(message, delivery.receive_count, deadline).await {
            Ok(begun) => begun,
            Err(refusal) => return self.not_claimed(message, delivery, refusal).await,
        };
        *attempts = begun.attempts();
        match begun {
            Begun::Claimed(claimed) => self.attempt(delivery, claimed, deadline).await,
            Begun::Succeeded(record) => {
                self.tell(&record);
                Handled::Done(Done::Succeeded)
            }
        }
    }

    async fn not_claimed(&self, message: &QueueMessage, delivery: &Delivery, refusal: NotClaimed) -> Handled {
        let receive_count = delivery.receive_count;
        match refusal {
            NotClaimed::Superseded => Handled::Done(Done::Superseded),
            NotClaimed::AlreadySucceeded(record) => {
                // Whoever wrote this end may have died before it told anybody.
                self.tell(&record);
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
            NotClaimed::Dependency(error) => self.dependency_failed(delivery, &error, DurationMs::ZERO).await,
        }
    }

    /// `lease_left` is how long the record may still show our lease, because its end could not be written.
    async fn dependency_failed(
        &self,
        delivery: &Delivery,
        error: &PortError,
        lease_left: DurationMs,
    ) -> Handled {
        // Who receives it next is the dead-letter queue, whose auditor tells how it ended: nothing is gained by waiting.
        let is_last = delivery.receive_count >= self.policy.max_receive_count;
        let pause = if is_last {
            DurationMs::ZERO
        } else {
            outage_backoff(delivery.receive_count, self.policy.visibility, &self.random)
        };
        self.show_after(delivery, pause.max(lease_left)).await;
        Handled::Failed(Failed::Dependency(error.class))
    }

    /// At most: heartbeats may have moved the end that was taken at the claim.
    fn lease_left(&self, deadline: EpochMs) -> DurationMs {
        self.lease_end(deadline).since(self.clock.now())
    }

    /// Best effort: when it fails the queue's own visibility timeout brings the message back.
    async fn show_after(&self, delivery: &Delivery, delay: DurationMs) {
        let _fallback = self.visibility.change(&delivery.receipt, delay).await;
    }

    fn tell(&self, record: &TaskRecord) {
        self.changes.changed(record.into());
    }
}
