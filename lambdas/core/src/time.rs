//! Time as numbers. Core never reads a clock; the moment comes in through a port.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochMs(pub u64);

impl EpochMs {
    #[must_use]
    pub const fn plus(self, duration: DurationMs) -> Self {
        Self(self.0.saturating_add(duration.0))
    }

    #[must_use]
    pub const fn minus(self, duration: DurationMs) -> Self {
        Self(self.0.saturating_sub(duration.0))
    }

    /// Zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> DurationMs {
        DurationMs(self.0.saturating_sub(earlier.0))
    }

    pub const fn as_seconds(self) -> u64 {
        self.0 / 1_000
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationMs(pub u64);

impl DurationMs {
    pub const ZERO: Self = Self(0);

    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    pub const fn from_days(days: u64) -> Self {
        Self::from_seconds(days.saturating_mul(86_400))
    }

    /// Whole seconds, rounded up: SQS counts in seconds, and rounding down would return a message too early.
    pub const fn as_seconds_ceil(self) -> u64 {
        self.0.div_ceil(1_000)
    }
}

/// `2026-11-22T10:00:00.000Z`: RFC 3339 in UTC with milliseconds, the only form on the wire.
impl fmt::Display for EpochMs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / 86_400_000);
        let of_day = self.0 % 86_400_000;
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// A text that is not in the one form of [`EpochMs`]'s `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a moment must look like 2026-11-22T10:00:00.000Z")]
pub struct InvalidMoment;

impl std::str::FromStr for EpochMs {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_rfc3339(text)
            .filter(|moment| moment.to_string() == text) // Refuses 30 February and every other spelling.
            .ok_or(InvalidMoment)
    }
}

fn parse_rfc3339(text: &str) -> Option<EpochMs> {
    let field = |range: std::ops::Range<usize>| -> Option<u64> { text.get(range)?.parse().ok() };
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let of_day = (field(11..13)? * 60 + field(14..16)?) * 60 + field(17..19)?;
    Some(EpochMs((days_from_civil(year, month, day) * 86_400 + of_day) * 1_000 + field(20..23)?))
}

/// Days counted in eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
const DAYS_PER_ERA: u64 = 146_097;
const DAYS_FROM_YEAR_0_TO_1970: u64 = 719_468;

fn civil_from_days(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + DAYS_FROM_YEAR_0_TO_1970;
    let (era, of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * DAYS_PER_ERA + of_era - DAYS_FROM_YEAR_0_TO_1970
}

/// Serde form of a moment on the wire: `#[serde(with = "rfc3339")]`.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::EpochMs;

    pub fn serialize<S: Serializer>(moment: &EpochMs, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(moment)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EpochMs, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_have_their_known_spelling() {
        assert_eq!(EpochMs(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(EpochMs(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(EpochMs(1_795_341_600_120).to_string(), "2026-11-22T10:00:00.120Z");
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        assert!("2026-02-29T00:00:00.000Z".parse::<EpochMs>().is_err());
        assert!("2026-02-28T24:00:00.000Z".parse::<EpochMs>().is_err());
        assert!("2026-02-28 10:00:00.000Z".parse::<EpochMs>().is_err());
        assert!("é026-02-28T10:00:00.000Z".parse::<EpochMs>().is_err());
    }

    proptest! {
        #[test]
        fn every_moment_survives_its_spelling(ms in 0_u64..253_402_300_800_000) {
            let text = EpochMs(ms).to_string();
            prop_assert_eq!(text.parse::<EpochMs>(), Ok(EpochMs(ms)));
        }

        #[test]
        fn any_text_is_parsed_or_refused_but_never_panics(text in "\\PC{0,30}") {
            let _outcome = text.parse::<EpochMs>();
        }
    }
}
