//! A length of time in an experiment file: `"20s"`, `"500ms"`, `"2m"`, or `"6.5 receives"`.
//!
//! What a queue does depends on its visibility timeout, which is seconds on a laptop and minutes on AWS. A length in
//! receives is that many visibility timeouts, so that one file says the same thing to both.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Twelve hours: FIS allows no longer action, and no experiment should.
const SECONDS_MAX: f64 = 12.0 * 3600.0;
/// `maxReceiveCount` may be at most 1000.
const RECEIVES_MAX: f64 = 1000.0;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    Seconds(f64),
    Receives(f64),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "not a length of time: {given:?}; expected for example \"20s\", \"500ms\", \"2m\" or \"6.5 receives\""
)]
pub struct SpanError {
    given: String,
}

impl Span {
    pub const ZERO: Self = Self::Seconds(0.0);

    /// The length on a queue with this visibility timeout.
    pub fn resolve(self, visibility_timeout: Duration) -> Duration {
        match self {
            Self::Seconds(seconds) => Duration::from_secs_f64(seconds),
            Self::Receives(receives) => visibility_timeout.mul_f64(receives),
        }
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError { given: text.to_owned() };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, unit) = trimmed.split_at(split);
        let number: f64 = number.parse().map_err(|_| error())?;
        let (span, max) = match unit.trim() {
            "ms" => (Self::Seconds(number / 1000.0), SECONDS_MAX * 1000.0),
            "s" => (Self::Seconds(number), SECONDS_MAX),
            "m" => (Self::Seconds(number * 60.0), SECONDS_MAX / 60.0),
            "receive" | "receives" => (Self::Receives(number), RECEIVES_MAX),
            _ => return Err(error()),
        };
        if number <= max { Ok(span) } else { Err(error()) }
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(formatter, "{seconds}s"),
            Self::Receives(receives) => write!(formatter, "{receives} receives"),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|receives?)\s*$",
            "description": "A length of time: \"20s\", \"500ms\", \"2m\", or \"6.5 receives\" (visibility timeouts of the tasks queue)."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receives_follow_the_visibility_timeout_and_seconds_do_not() {
        let visibility = Duration::from_secs(6);
        let resolve = |text: &str| text.parse::<Span>().unwrap().resolve(visibility);
        assert_eq!(resolve("6.5 receives"), Duration::from_secs(39));
        assert_eq!(resolve("500ms"), Duration::from_millis(500));
        assert_eq!(resolve("2m"), Duration::from_secs(120));
        assert_eq!(resolve("20 s"), Duration::from_secs(20));
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in ["", "20", "s", "-1s", "1.2.3s", "20h", "13000m", "2000 receives", "NaNs", "1e9s"] {
            assert!(text.parse::<Span>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for span in [Span::Seconds(0.5), Span::Receives(6.5), Span::ZERO] {
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}
