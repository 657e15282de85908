//! The harness's clock. The ledger of the load test counts in the same Unix milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far this clock and AWS's may be apart: a preflight refuses more, because recovery is measured in seconds.
pub(crate) const SKEW_MS_MAX: u64 = 2_000;

pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time in milliseconds; what exceeds 64 bits is never reached.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn rfc3339(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| at_ms.to_string(), |at| at.to_string())
}

/// Rounded up: what is asked for by it never ends too early.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
