//! A token bucket of capacity units.

/// The least that a request costs; less than that in the bucket refuses it.
pub(super) const REQUEST_UNITS_MIN: f64 = 1.0;
/// On demand one second of a rate is there at once: nobody documents more, and the stricter is chosen.
pub(super) const ON_DEMAND_BURST_SECONDS: f64 = 1.0;

#[derive(Debug)]
pub(super) struct Bucket {
    units_per_second: f64,
    burst_seconds: f64,
    tokens: f64,
    filled_at_ms: i64,
}

impl Bucket {
    pub(super) fn full(units_per_second: f64, burst_seconds: f64, now_ms: i64) -> Self {
        let tokens = units_per_second * burst_seconds;
        Self { units_per_second, burst_seconds, tokens, filled_at_ms: now_ms }
    }

    pub(super) const fn units_per_second(&self) -> f64 {
        self.units_per_second
    }

    pub(super) fn is_exhausted(&mut self, now_ms: i64) -> bool {
        self.refill(now_ms);
        self.tokens < REQUEST_UNITS_MIN
    }

    /// What a request cost is known after it ran: the bucket may fall below zero, and refuses until it is paid.
    pub(super) fn charge(&mut self, units: f64) {
        self.tokens -= units;
    }

    /// From now on. More at once comes only with time.
    pub(super) fn set_rate(&mut self, units_per_second: f64, now_ms: i64) {
        self.refill(now_ms);
        self.units_per_second = units_per_second;
    }

    /// What was left under the rate before: a change of the rate is no gift.
    pub(super) fn carry_over(&mut self, mut before: Self) {
        before.refill(self.filled_at_ms);
        self.tokens = before.tokens.min(self.most());
    }

    fn most(&self) -> f64 {
        self.units_per_second * self.burst_seconds
    }

    #[expect(clippy::cast_precision_loss, reason = "the time between two requests fits 2^53 ms")]
    fn refill(&mut self, now_ms: i64) {
        let passed_ms = (now_ms - self.filled_at_ms).max(0) as f64;
        self.tokens = (self.tokens + self.units_per_second * passed_ms / 1e3).min(self.most());
        self.filled_at_ms = now_ms;
    }
}
