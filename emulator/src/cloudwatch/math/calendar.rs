//! "These functions take the period and range of the time series and return a new non-sparse time series where each value
//! is based on its timestamp", in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::series::Series;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Minute,
    Hour,
    /// Of the week: Monday is 1.
    Day,
    /// Of the month.
    Date,
    Month,
    Year,
    /// Seconds since 1970.
    Epoch,
}

impl Part {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "MINUTE" => Self::Minute,
            "HOUR" => Self::Hour,
            "DAY" => Self::Day,
            "DATE" => Self::Date,
            "MONTH" => Self::Month,
            "YEAR" => Self::Year,
            "EPOCH" => Self::Epoch,
            _ => return None,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
    fn at(self, at_ms: i64) -> f64 {
        let moment = Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(TimeZone::UTC);
        match self {
            Self::Minute => f64::from(moment.minute()),
            Self::Hour => f64::from(moment.hour()),
            Self::Day => f64::from(moment.weekday().to_monday_one_offset()),
            Self::Date => f64::from(moment.day()),
            Self::Month => f64::from(moment.month()),
            Self::Year => f64::from(moment.year()),
            Self::Epoch => moment.timestamp().as_second() as f64,
        }
    }
}

pub(super) fn of(series: &Series, part: Part) -> Series {
    series.with(series.grid.times().map(|at_ms| (at_ms, part.at(at_ms))))
}
