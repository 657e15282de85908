//! Token buckets: "API Gateway uses the token bucket algorithm, where a token counts for a request."

use std::sync::{Mutex, PoisonError};

/// Account limits across all APIs of a region: 10,000 requests per second with a burst of 5,000.
pub(super) const ACCOUNT_RATE_PER_SECOND: f64 = 10_000.0;
pub(super) const ACCOUNT_BURST: f64 = 5_000.0;
/// "New connections per second per account (across all WebSocket APIs) per Region: 500".
pub(super) const NEW_CONNECTIONS_PER_SECOND: f64 = 500.0;

#[derive(Debug)]
pub(super) struct TokenBucket {
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
    pub(super) fn new(rate_per_second: f64, burst: f64, now_ms: i64) -> Self {
        let tokens = if rate_per_second > 0.0 { burst } else { 0.0 };
        Self { rate_per_second, burst, level: Mutex::new(Level { tokens, at_ms: now_ms }) }
    }

    pub(super) fn has_limits(&self, rate_per_second: f64, burst: f64) -> bool {
        self.rate_per_second == rate_per_second && self.burst == burst
    }

    pub(super) fn try_take(&self, now_ms: i64) -> bool {
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
