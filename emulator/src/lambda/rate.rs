//! How often functions may be invoked.

use std::sync::{Mutex, PoisonError};

use crate::token_bucket::TokenBucket;

/// Invocations a second for each unit of concurrency, of callers who wait for the answer. What comes as an event is not
/// limited.
const PER_SECOND_OF_ONE: f64 = 10.0;
/// AWS does not say how many may come at once: the second's worth.
const BURST_SECONDS: f64 = 1.0;

/// Follows the concurrency, which may change at any time; a change begins a new second.
#[derive(Debug, Default)]
pub(crate) struct InvocationRate(Mutex<Option<TokenBucket>>);

impl InvocationRate {
    pub(crate) fn admits(&self, concurrency: u32, now_ms: i64) -> bool {
        let per_second = PER_SECOND_OF_ONE * f64::from(concurrency);
        let burst = per_second * BURST_SECONDS;
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = bucket.take().filter(|bucket| bucket.has_limits(per_second, burst));
        let bucket = bucket.insert(unchanged.unwrap_or_else(|| TokenBucket::new(per_second, burst, now_ms)));
        bucket.try_take(now_ms)
    }
}
