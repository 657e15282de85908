//! How often functions may be invoked.

use std::sync::OnceLock;

use crate::token_bucket::TokenBucket;

/// Invocations a second for each unit of concurrency, of callers who wait for the answer. What comes as an event is not
/// limited.
const PER_SECOND_OF_ONE: f64 = 10.0;
/// AWS does not say how many may come at once: the second's worth.
const BURST_SECONDS: f64 = 1.0;

/// Follows the concurrency, which may change at any time.
#[derive(Debug, Default)]
pub(crate) struct InvocationRate(OnceLock<TokenBucket>);

impl InvocationRate {
    pub(crate) fn admits(&self, concurrency: u32, now_ms: i64) -> bool {
        let per_second = PER_SECOND_OF_ONE * f64::from(concurrency);
        let burst = per_second * BURST_SECONDS;
        let bucket = self.0.get_or_init(|| TokenBucket::new(per_second, burst, now_ms));
        bucket.limit_to(per_second, burst, now_ms);
        bucket.try_take(now_ms)
    }
}
