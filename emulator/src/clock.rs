//! Time as a dependency: the system's, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// Milliseconds since the epoch, and waiting for a later one.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Manual(Arc<ManualClock>),
}

impl Clock {
    /// A clock that stands still until [`ManualClock::advance`].
    #[must_use]
    pub fn manual(now_ms: i64) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock { now_ms: AtomicI64::new(now_ms), moved: Notify::new() });
        (Self::Manual(Arc::clone(&clock)), clock)
    }

    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => crate::repeatable::now_ms().unwrap_or_else(system_ms),
            Self::Manual(clock) => clock.now_ms.load(Ordering::SeqCst),
        }
    }

    /// Returns once `now_ms() >= at_ms`.
    pub async fn sleep_until(&self, at_ms: i64) {
        match self {
            Self::System => {
                let wait = u64::try_from(at_ms - self.now_ms()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Self::Manual(clock) => clock.wait_until(at_ms).await,
        }
    }
}

/// `2026-01-02T03:04:05Z`.
pub(crate) fn iso8601(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The hand-moved clock behind [`Clock::Manual`].
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    moved: Notify,
}

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    async fn wait_until(&self, at_ms: i64) {
        loop {
            // Registered before the check, so that a move between the two is not missed.
            let moved = self.moved.notified();
            if self.now_ms.load(Ordering::SeqCst) >= at_ms {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_only_when_moved_far_enough() {
        let (clock, hand) = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(1_500).await }
        });
        hand.advance(Duration::from_millis(499));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_millis(1));
        sleeper.await.unwrap();
    }
}
