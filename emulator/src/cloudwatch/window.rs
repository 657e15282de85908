//! The time that a read spans.

use serde_json::Value;

use super::failure::Failure;
use super::math::Grid;
use super::request::time_ms;

/// From `StartTime` to `EndTime`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    start_ms: i64,
    end_ms: i64,
}

impl Window {
    /// `refuse` is the code with which the operation refuses a window that ends before it starts.
    pub(super) fn read(input: &Value, refuse: fn(&'static str) -> Failure) -> Result<Self, Failure> {
        let start_ms = time_ms(input, "StartTime")?.ok_or_else(|| Failure::missing("StartTime"))?;
        let end_ms = time_ms(input, "EndTime")?.ok_or_else(|| Failure::missing("EndTime"))?;
        if start_ms >= end_ms {
            return Err(refuse("The parameter StartTime must be less than the parameter EndTime."));
        }
        Ok(Self { start_ms, end_ms })
    }

    /// As many as the limits of the API count: of the window as it was asked for, before it is aligned.
    pub(super) fn datapoints(self, period_s: i64) -> i64 {
        Grid::new(self.start_ms, self.end_ms, period_s * 1000).datapoints
    }

    /// Its periods, aligned as CloudWatch aligns them.
    pub(super) fn grid(self, period_s: i64) -> Grid {
        let period_ms = period_s * 1000;
        // "The start time is rounded down to the nearest minute"; for shorter periods to the period.
        let step_ms = period_ms.min(60_000);
        let start_ms = self.start_ms.div_euclid(step_ms) * step_ms;
        Grid { datapoints: self.datapoints(period_s), ..Grid::new(start_ms, self.end_ms, period_ms) }
    }
}

pub(super) fn check_period(period_s: i64) -> Result<(), Failure> {
    let is_valid = matches!(period_s, 1 | 5 | 10 | 20 | 30) || (period_s > 0 && period_s % 60 == 0);
    let message = "The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60.";
    if is_valid { Ok(()) } else { Err(Failure::validation(message)) }
}
