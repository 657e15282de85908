//! Limits of requests per second.

use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate_per_second: f64,
    burst: f64,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    tokens: f64,
    at_ms: i64,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 refuses everything, whatever the burst.
    pub(crate) fn new(rate_per_second: f64, burst: f64, now_ms: i64) -> Self {
        let tokens = if rate_per_second > 0.0 { burst } else { 0.0 };
        Self { rate_per_second, burst, level: Mutex::new(Level { tokens, at_ms: now_ms }) }
    }

    pub(crate) fn has_limits(&self, rate_per_second: f64, burst: f64) -> bool {
        self.rate_per_second == rate_per_second && self.burst == burst
    }

    pub(crate) fn try_take(&self, now_ms: i64) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        // f64 holds any difference of milliseconds that a run can reach.
        let elapsed_ms = u32::try_from(now_ms - level.at_ms).map_or(0.0, f64::from);
        level.at_ms = level.at_ms.max(now_ms);
        level.tokens = (level.tokens + elapsed_ms * self.rate_per_second / 1_000.0).min(self.burst);
        if level.tokens < 1.0 {
            return false;
        }
        level.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_is_spent_first_and_refills_at_the_rate() {
        let bucket = TokenBucket::new(2.0, 3.0, 0);
        assert_eq!((0..5).filter(|_| bucket.try_take(0)).count(), 3);
        assert!(!bucket.try_take(499));
        assert!(bucket.try_take(500));
        assert_eq!((0..9).filter(|_| bucket.try_take(60_000)).count(), 3, "never above the burst");
    }

    #[test]
    fn a_limit_of_zero_refuses_everything() {
        assert!(!TokenBucket::new(0.0, 5.0, 0).try_take(10_000));
        assert!(!TokenBucket::new(5.0, 0.0, 0).try_take(10_000));
    }
}
