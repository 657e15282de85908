//! Times inside neutral values: seconds since the epoch, under members that are known to be times.

use jiff::Timestamp;
use serde_json::Value;

/// Members whose value, or each of whose values, is a time.
const TIME_MEMBERS: [&str; 8] = [
    "Timestamp",
    "Timestamps",
    "StartTime",
    "EndTime",
    "LastModified",
    "StateUpdatedTimestamp",
    "StateTransitionedTimestamp",
    "AlarmConfigurationUpdatedTimestamp",
];

pub(super) fn is_time(member: &str) -> bool {
    TIME_MEMBERS.contains(&member)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit 2^53 for 280,000 years")]
pub(super) fn from_ms(at_ms: i64) -> Value {
    Value::from(at_ms as f64 / 1e3)
}

/// Seconds since the epoch (CBOR, JSON) or ISO 8601 (query).
pub(super) fn to_ms(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => {
            let iso = || text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
            iso().or_else(|| seconds_to_ms(text.parse().ok()?))
        }
        _ => seconds_to_ms(value.as_f64()?),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be finite and within range first")]
fn seconds_to_ms(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1e3).round();
    (ms.is_finite() && ms.abs() < 9e15).then_some(ms as i64)
}

/// `2026-01-02T03:04:05.678Z`, as the query protocol writes times.
pub(super) fn iso(value: &Value) -> String {
    let at = to_ms(value).and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
