//! Workers that are wrong on purpose: a harness that has never caught anything proves nothing.
//!
//! Each wraps the stock worker and leaves it as it is.

use task_aws::env::{ConfigError, Env};
use task_core::EpochMs;
use task_core::message::QueueMessage;
use task_core::process::{Delivery, Done, HandleDelivery, Handled};

pub(crate) const ENV_SABOTAGE: &str = "TASKS_SABOTAGE";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Acknowledges one in so many tasks without doing or recording anything.
    Drop { one_in: u64 },
    /// Acknowledges tasks that failed.
    SwallowPoison,
}

impl Sabotage {
    pub(crate) fn from_env(env: &impl Env) -> Result<Option<Self>, ConfigError> {
        let Some(value) = env.get(ENV_SABOTAGE).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let parsed = match value.split_once(':') {
            Some(("drop", one_in)) => {
                one_in.parse().ok().filter(|one_in| *one_in > 0).map(|one_in| Self::Drop { one_in })
            }
            None if value == "swallow-poison" => Some(Self::SwallowPoison),
            _ => None,
        };
        let expected = "expected drop:<n> or swallow-poison".to_owned();
        parsed.map(Some).ok_or(ConfigError::Invalid { key: ENV_SABOTAGE, value, expected })
    }
}

#[derive(Debug)]
pub(crate) struct Sabotaged<H> {
    pub(crate) inner: H,
    pub(crate) sabotage: Option<Sabotage>,
}

impl<H: HandleDelivery + Send> HandleDelivery for Sabotaged<H> {
    async fn handle(&self, delivery: &Delivery, deadline: EpochMs) -> Handled {
        match self.sabotage {
            Some(Sabotage::Drop { one_in }) if is_dropped(&delivery.body, one_in) => {
                Handled::Done(Done::Succeeded)
            }
            Some(Sabotage::SwallowPoison) => {
                let _swallowed = self.inner.handle(delivery, deadline).await;
                Handled::Done(Done::Succeeded)
            }
            _ => self.inner.handle(delivery, deadline).await,
        }
    }
}

/// By the task's id, so that every delivery of one task meets the same end.
fn is_dropped(body: &str, one_in: u64) -> bool {
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
    let Ok(message) = QueueMessage::parse(body) else {
        return false;
    };
    let hash = message
        .task_id
        .to_string()
        .bytes()
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    // The low bits of FNV depend on few bits of the input.
    (hash >> 32).is_multiple_of(one_in)
}
