//! One clock for a run: monotonic microseconds since its origin, and the Unix time of that origin.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MICROS_PER_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    origin: Instant,
    origin_unix_us: u64,
}

impl Timeline {
    pub(crate) fn begin() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_unix_us: micros(unix) }
    }

    pub(crate) fn now_us(&self) -> u64 {
        micros(self.origin.elapsed())
    }

    pub(crate) fn instant(&self, at_us: u64) -> Instant {
        self.origin + Duration::from_micros(at_us)
    }

    /// Of a moment before the origin, the origin.
    pub(crate) fn us_of(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.origin))
    }

    pub(crate) fn unix_ms(&self, at_us: u64) -> u64 {
        (self.origin_unix_us + at_us) / MICROS_PER_MS
    }
}

/// Saturates after half a million years.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
