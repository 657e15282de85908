//! Limits of requests per second.

use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(crate) struct TokenBucket(Mutex<State>);

#[derive(Debug)]
struct State {
    rate_per_second: f64,
    burst: f64,
    tokens: f64,
    at_ms: i64,
}

/// A rate of 0 refuses everything, whatever the burst.
fn effective_burst(rate_per_second: f64, burst: f64) -> f64 {
    if rate_per_second > 0.0 { burst } else { 0.0 }
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(rate_per_second: f64, burst: f64, now_ms: i64) -> Self {
        let burst = effective_burst(rate_per_second, burst);
        Self(Mutex::new(State { rate_per_second, burst, tokens: burst, at_ms: now_ms }))
    }

    /// Changes the limits from now on. What was taken before stays taken.
    pub(crate) fn limit_to(&self, rate_per_second: f64, burst: f64, now_ms: i64) {
        let burst = effective_burst(rate_per_second, burst);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(now_ms);
        state.tokens = (state.tokens + burst - state.burst).max(0.0);
        (state.rate_per_second, state.burst) = (rate_per_second, burst);
    }

    pub(crate) fn try_take(&self, now_ms: i64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(now_ms);
        if state.tokens < 1.0 {
            return false;
        }
        state.tokens -= 1.0;
        true
    }
}

impl State {
    fn refill(&mut self, now_ms: i64) {
        // f64 holds any difference of milliseconds that a run can reach.
        let elapsed_ms = u32::try_from(now_ms - self.at_ms).map_or(0.0, f64::from);
        self.at_ms = self.at_ms.max(now_ms);
        self.tokens = (self.tokens + elapsed_ms * self.rate_per_second / 1_000.0).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &TokenBucket, now_ms: i64) -> usize {
        (0..1_000).filter(|_| bucket.try_take(now_ms)).count()
    }

    #[test]
    fn the_burst_is_spent_first_and_refills_at_the_rate() {
        let bucket = TokenBucket::new(2.0, 3.0, 0);
        assert_eq!(taken(&bucket, 0), 3);
        assert!(!bucket.try_take(499));
        assert!(bucket.try_take(500));
        assert_eq!(taken(&bucket, 60_000), 3, "never above the burst");
    }

    #[test]
    fn a_limit_of_zero_refuses_everything() {
        assert!(!TokenBucket::new(0.0, 5.0, 0).try_take(10_000));
        assert!(!TokenBucket::new(5.0, 0.0, 0).try_take(10_000));
    }

    #[test]
    fn a_change_of_the_limits_gives_nothing_back_that_was_taken() {
        let bucket = TokenBucket::new(10.0, 10.0, 0);
        assert_eq!((0..8).filter(|_| bucket.try_take(0)).count(), 8);
        bucket.limit_to(10.0, 10.0, 0);
        assert_eq!(taken(&bucket, 0), 2, "the same limits again change nothing");
        bucket.limit_to(15.0, 15.0, 0);
        assert_eq!(taken(&bucket, 0), 5, "what they are higher by can be taken at once");
        bucket.limit_to(5.0, 5.0, 0);
        assert_eq!(taken(&bucket, 199), 0);
        assert_eq!(taken(&bucket, 200), 1, "at the new rate");
        assert_eq!(taken(&bucket, 60_000), 5);
        bucket.limit_to(0.0, 5.0, 60_000);
        assert_eq!(taken(&bucket, 120_000), 0);
        bucket.limit_to(2.0, 2.0, 120_000);
        assert_eq!(taken(&bucket, 120_000), 2);
    }
}
