//! The real clock and the real randomness.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use task_core::ports::{Clock, Random};
use task_core::{DurationMs, EpochMs};

#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> EpochMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        EpochMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&self, duration: DurationMs) {
        tokio::time::sleep(Duration::from_millis(duration.0)).await;
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
