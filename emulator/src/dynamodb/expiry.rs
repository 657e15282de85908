//! When a sweep for expired items may find one.
//!
//! The engine's sweep reads every item of every table with a time to live: with a million items that is eight seconds of one
//! processor. So whatever a write names as a moment is noted, and there is a sweep when one of these has passed. What is written in
//! another way, by arithmetic or in the text of a statement, or was there before the start, waits for the sweep of the hour.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Expired items go within two days on AWS; here within a minute, so that a test sees it.
const MINUTE_SECONDS: i64 = 60;
const HOUR_MS: i64 = 3_600_000;
/// AWS: what expired longer ago than five years is not deleted.
const AGE_SECONDS_MAX: i64 = 5 * 366 * 86_400;
/// Above 2286 a number counts something else, milliseconds for one.
const SECONDS_MAX: i64 = 9_999_999_999;
/// What does not fit waits for the sweep of the hour as well. A year has half as many minutes.
const MINUTES_MAX: usize = 1_000_000;

/// Cheap to clone: all clones note the same.
#[derive(Clone, Debug)]
pub(super) struct Expiry(Arc<Mutex<Noted>>);

#[derive(Debug)]
struct Noted {
    /// Minutes since the epoch in which something that was written may expire.
    minutes: BTreeSet<i64>,
    swept_ms: i64,
}

impl Expiry {
    /// `swept_ms` is when everything that is there had been looked at; 0 when it never was.
    pub(super) fn new(swept_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(Noted { minutes: BTreeSet::new(), swept_ms })))
    }

    /// After a write, so that a sweep that begins in between is not its last chance.
    pub(super) fn note(&self, operation: &str, body: &str, now_ms: i64) {
        if !is_write(operation) {
            return;
        }
        let oldest = now_ms / 1_000 - AGE_SECONDS_MAX;
        let moments = numbers(body).filter(|number| (oldest..=SECONDS_MAX).contains(number));
        for minute in moments.map(|seconds| seconds / MINUTE_SECONDS) {
            let mut noted = self.noted();
            if noted.minutes.len() < MINUTES_MAX {
                noted.minutes.insert(minute);
            }
        }
    }

    /// A table has another time to live: nobody has looked at what it holds.
    pub(super) fn suspect_all(&self) {
        self.noted().swept_ms = 0;
    }

    /// Whether there should be a sweep now. It counts as begun then.
    pub(super) fn begin(&self, now_ms: i64) -> bool {
        let mut noted = self.noted();
        // Not the minute that still runs: of what expires in it, a part may be left.
        let later = noted.minutes.split_off(&(now_ms / 1_000 / MINUTE_SECONDS));
        let passed = std::mem::replace(&mut noted.minutes, later);
        let is_due = !passed.is_empty() || now_ms - noted.swept_ms >= HOUR_MS;
        if is_due {
            noted.swept_ms = now_ms;
        }
        is_due
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_write(operation: &str) -> bool {
    matches!(
        operation,
        "PutItem"
            | "UpdateItem"
            | "BatchWriteItem"
            | "TransactWriteItems"
            | "ExecuteStatement"
            | "ExecuteTransaction"
            | "BatchExecuteStatement"
    )
}

/// The whole numbers among a request's attribute values, wherever they stand: `{"N": "..."}`.
fn numbers(body: &str) -> impl Iterator<Item = i64> {
    body.match_indices("\"N\"").filter_map(|(at, key)| {
        let value = body[at + key.len()..].trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        value[..value.find('"')?].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;
    const NOW: i64 = NOW_MS / 1_000;

    /// Whether there is a sweep so many seconds after such a write.
    fn is_due(operation: &str, body: &str, after_seconds: i64) -> bool {
        let expiry = Expiry::new(NOW_MS);
        expiry.note(operation, body, NOW_MS);
        expiry.begin(NOW_MS + after_seconds * 1_000)
    }

    fn put(seconds: i64) -> String {
        format!(r#"{{"TableName":"t","Item":{{"id":{{"S":"a"}},"until":{{"N" : "{seconds}"}}}}}}"#)
    }

    #[test]
    fn a_moment_is_swept_for_once_its_minute_has_passed() {
        let body = put(NOW + 90);
        assert!(!is_due("PutItem", &body, 89));
        assert!(is_due("PutItem", &body, 90 + MINUTE_SECONDS));
        // What has expired already, too.
        assert!(is_due("UpdateItem", &put(NOW - 86_400), MINUTE_SECONDS));
        assert!(!is_due("GetItem", &body, 90 + MINUTE_SECONDS), "nothing was written");
    }

    #[test]
    fn one_sweep_is_enough_for_what_has_passed_and_leaves_what_has_not() {
        let expiry = Expiry::new(NOW_MS);
        expiry.note("PutItem", &put(NOW + 60), NOW_MS);
        expiry.note("PutItem", &put(NOW + 600), NOW_MS);
        let due = [120, 180, 660, 720].map(|after| expiry.begin(NOW_MS + after * 1_000));
        assert_eq!(due, [true, false, true, false]);
    }

    #[test]
    fn what_is_no_moment_is_not_swept_for() {
        let (version, milliseconds) = (7, NOW_MS + 1);
        for number in [version, milliseconds, NOW - AGE_SECONDS_MAX - 1] {
            assert!(!is_due("PutItem", &put(number), HOUR_MS / 1_000 - 1), "{number}");
        }
        for text in [r#"{"N""#, r#"{"N":1800000000}"#, r#"{"N":"1800000000"#, r#"{"S":"N"}"#] {
            assert!(!is_due("PutItem", text, MINUTE_SECONDS), "{text}");
        }
    }

    #[test]
    fn everything_is_swept_for_every_hour_and_after_a_change() {
        let expiry = Expiry::new(NOW_MS);
        assert!(!expiry.begin(NOW_MS + HOUR_MS - 1));
        assert!(expiry.begin(NOW_MS + HOUR_MS));
        assert!(!expiry.begin(NOW_MS + HOUR_MS + 1));
        expiry.suspect_all();
        assert!(expiry.begin(NOW_MS + HOUR_MS + 2));
    }
}
