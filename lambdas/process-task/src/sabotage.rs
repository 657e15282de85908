//! Workers that are wrong on purpose: a harness that has never caught anything proves nothing.
//!
//! Each mode is a decorator around the stock worker or one of its ports; the stock worker itself stays as it is.

mod ports;
#[cfg(test)]
mod tests;

use aws_sdk_sqs::Client;
use task_aws::env::{ConfigError, Env};
use task_core::EpochMs;
use task_core::id::TaskId;
use task_core::message::QueueMessage;
use task_core::ports::TaskStore;
use task_core::process::{Delivery, Done, Ended, HandleDelivery, Handled};
use task_core::wire::Status;

pub(crate) use ports::{
    Bystanders, SabotagedChanges, SabotagedConnections, SabotagedStore, SabotagedVisibility,
};

pub(crate) const ENV_SABOTAGE: &str = "TASKS_SABOTAGE";

const EXPECTED: &str = "expected drop:<n>, swallow-poison, ack-before-effect, double-effect, forget-push, stray-push, \
                        no-backoff, lose-on-redrive or crash:<n>";

/// What is wrong with this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Acknowledges one in so many tasks without doing or recording anything.
    Drop { one_in: u64 },
    /// Acknowledges tasks that failed.
    SwallowPoison,
    /// Deletes the message before it works: what fails after that has no second attempt.
    AckBeforeEffect,
    /// Completes every task twice.
    DoubleEffect,
    /// Tells no connection of any change.
    ForgetPush,
    /// Tells a connection of another owner as well.
    StrayPush,
    /// Shows every message again at once.
    NoBackoff,
    /// Acknowledges a task that came back from the dead-letter queue without doing it.
    LoseOnRedrive,
    /// The process ends in the middle of every so-manieth task. Legal: a fault, not a defect.
    Crash { every: u64 },
}

impl Sabotage {
    pub(crate) fn from_env(env: &impl Env) -> Result<Option<Self>, ConfigError> {
        let Some(value) = env.get(ENV_SABOTAGE).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let parsed = Self::parse(&value);
        parsed.map(Some).ok_or(ConfigError::Invalid { key: ENV_SABOTAGE, value, expected: EXPECTED.into() })
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count.parse().ok().filter(|count| *count > 0)?)),
            None => (text, None),
        };
        Some(match (name, count) {
            ("drop", Some(one_in)) => Self::Drop { one_in },
            ("crash", Some(every)) => Self::Crash { every },
            ("swallow-poison", None) => Self::SwallowPoison,
            ("ack-before-effect", None) => Self::AckBeforeEffect,
            ("double-effect", None) => Self::DoubleEffect,
            ("forget-push", None) => Self::ForgetPush,
            ("stray-push", None) => Self::StrayPush,
            ("no-backoff", None) => Self::NoBackoff,
            ("lose-on-redrive", None) => Self::LoseOnRedrive,
            _ => return None,
        })
    }
}

/// Deleting a message, which the stock worker leaves to the event source mapping.
pub(crate) trait Delete: Sync {
    fn delete(&self, receipt: &str) -> impl Future<Output = ()> + Send;
}

#[derive(Clone, Debug)]
pub(crate) struct SqsDelete {
    pub(crate) client: Client,
    pub(crate) queue_url: String,
}

impl Delete for SqsDelete {
    async fn delete(&self, receipt: &str) {
        let request = self.client.delete_message().queue_url(&self.queue_url).receipt_handle(receipt);
        if let Err(error) = request.send().await {
            // The queue still holds it, so this delivery is as safe as a stock one.
            eprintln!("sabotage: the message was not deleted: {error}");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Sabotaged<H, S, D> {
    pub(crate) inner: H,
    pub(crate) store: S,
    pub(crate) delete: D,
    pub(crate) mode: Option<Sabotage>,
}

impl<H, S, D> HandleDelivery for Sabotaged<H, S, D>
where
    H: HandleDelivery + Send,
    S: TaskStore + Send,
    D: Delete + Send,
{
    async fn handle(&self, delivery: &Delivery, deadline: EpochMs) -> Ended {
        match self.mode {
            Some(Sabotage::Drop { one_in }) if is_dropped(&delivery.body, one_in) => {
                return Handled::Done(Done::Succeeded).into();
            }
            Some(Sabotage::LoseOnRedrive) if self.is_redriven(&delivery.body).await => {
                return Handled::Done(Done::Succeeded).into();
            }
            Some(Sabotage::AckBeforeEffect) => self.delete.delete(&delivery.receipt).await,
            _ => {}
        }
        let ended = self.inner.handle(delivery, deadline).await;
        if self.mode == Some(Sabotage::SwallowPoison) {
            return Ended { handled: Handled::Done(Done::Succeeded), ..ended };
        }
        ended
    }
}

impl<H: Sync, S: TaskStore, D: Sync> Sabotaged<H, S, D> {
    async fn is_redriven(&self, body: &str) -> bool {
        let Some(id) = task_id(body) else { return false };
        let record = self.store.get(id).await.ok().flatten();
        record.is_some_and(|record| record.state.status() == Status::DeadLettered)
    }
}

fn task_id(body: &str) -> Option<TaskId> {
    QueueMessage::parse(body).ok().map(|message| message.task_id)
}

fn is_dropped(body: &str, one_in: u64) -> bool {
    task_id(body).is_some_and(|id| hash(id).is_multiple_of(one_in))
}

/// By the task's id, so that every delivery of one task meets the same end.
pub(crate) fn hash(id: TaskId) -> u64 {
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = id
        .to_string()
        .bytes()
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    // The low bits of FNV depend on few bits of the input.
    hash >> 32
}
