//! When something began, by the two clocks that there are.

use std::time::Instant;

use crate::clock::Clock;

/// Deadlines go by the account's clock, which a test may move by hand. Durations go by the machine's, which is the one
/// that processes run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) at_ms: i64,
    at: Instant,
}

impl Moment {
    pub(crate) fn now(clock: &Clock) -> Self {
        Self { at_ms: clock.now_ms(), at: Instant::now() }
    }

    pub(crate) fn elapsed_ms(self) -> f64 {
        self.at.elapsed().as_secs_f64() * 1_000.0
    }
}
