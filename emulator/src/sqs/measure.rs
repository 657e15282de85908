//! The metrics of namespace AWS/SQS, dimension QueueName.

use std::sync::{Arc, Weak};

use super::account::Account;
use super::handle::QueueHandle;
use super::queue::Counts;
use crate::metrics::{MetricId, Unit};
use crate::settings::Settings;

const NAMESPACE: &str = "AWS/SQS";
const QUEUE_NAME: &str = "QueueName";
const SENT: &str = "NumberOfMessagesSent";
const RECEIVED: &str = "NumberOfMessagesReceived";
const EMPTY_RECEIVES: &str = "NumberOfEmptyReceives";
const DELETED: &str = "NumberOfMessagesDeleted";
/// "A non-negative value is reported if the queue is active."
const FLOWS: [&str; 4] = [SENT, RECEIVED, EMPTY_RECEIVES, DELETED];
/// AWS samples the depth of a queue once a minute. A finer sample costs little and shows short faults.
const GAUGE_PERIOD_MS: i64 = 5_000;
const MINUTE_MS: i64 = 60_000;
/// A queue is active "for up to six hours if it contains any messages, or if any action accesses it".
const ACTIVE_MS: i64 = 6 * 60 * MINUTE_MS;

fn record(settings: &Settings, queue: &QueueHandle, at_ms: i64, name: &str, value: f64, unit: Unit) {
    settings.metrics.record(at_ms, NAMESPACE, name, &[(QUEUE_NAME, &queue.name)], value, unit);
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
const fn float(value: usize) -> f64 {
    value as f64
}

pub fn sent(settings: &Settings, queue: &QueueHandle, at_ms: i64, sizes_bytes: &[usize]) {
    if sizes_bytes.is_empty() {
        return;
    }
    record(settings, queue, at_ms, SENT, float(sizes_bytes.len()), Unit::Count);
    for size_bytes in sizes_bytes {
        record(settings, queue, at_ms, "SentMessageSize", float(*size_bytes), Unit::Bytes);
    }
}

/// Records one of the two. The other has its zero of the minute: receives are too many to say each time what they
/// were not.
pub fn received(settings: &Settings, queue: &QueueHandle, at_ms: i64, messages: usize) {
    if messages == 0 {
        record(settings, queue, at_ms, EMPTY_RECEIVES, 1.0, Unit::Count);
    } else {
        record(settings, queue, at_ms, RECEIVED, float(messages), Unit::Count);
    }
}

/// AWS counts "every successful deletion operation that uses a valid receipt handle, including duplicate
/// deletions".
pub fn deleted(settings: &Settings, queue: &QueueHandle, at_ms: i64, messages: usize) {
    if messages > 0 {
        record(settings, queue, at_ms, DELETED, float(messages), Unit::Count);
    }
}

/// Samples every queue until the account is dropped.
pub async fn sample_queues(account: Weak<Account>) {
    while let Some(strong) = account.upgrade() {
        let clock = strong.settings.clock.clone();
        let now_ms = clock.now_ms();
        sample_once(&strong, now_ms);
        drop(strong);
        clock.sleep_until(now_ms + GAUGE_PERIOD_MS).await;
    }
}

fn sample_once(account: &Arc<Account>, now_ms: i64) {
    for queue in account.all() {
        let counts = queue.counts(now_ms);
        sample_depth(&account.settings, &queue, counts, now_ms);
        if is_active(&queue, counts, now_ms) {
            fill_minute(&account.settings, &queue, now_ms);
        }
    }
}

fn sample_depth(settings: &Settings, queue: &QueueHandle, counts: Counts, now_ms: i64) {
    let oldest_age_ms = queue.lock().queue.oldest_age_ms(now_ms);
    let gauges = [
        ("ApproximateNumberOfMessagesVisible", counts.visible),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed),
    ];
    for (name, value) in gauges {
        record(settings, queue, now_ms, name, float(value), Unit::Count);
    }
    let age_seconds = float(usize::try_from(oldest_age_ms / 1_000).unwrap_or(0));
    record(settings, queue, now_ms, "ApproximateAgeOfOldestMessage", age_seconds, Unit::Seconds);
}

fn is_active(queue: &QueueHandle, counts: Counts, now_ms: i64) -> bool {
    let mut state = queue.lock();
    if queue.take_touched() || counts != Counts::default() {
        state.used_ms = now_ms;
    }
    now_ms - state.used_ms <= ACTIVE_MS
}

/// A zero for whatever has no value in this minute. Not before half of it is over: a zero beside a value would count in
/// averages.
fn fill_minute(settings: &Settings, queue: &QueueHandle, now_ms: i64) {
    let into_minute_ms = now_ms.rem_euclid(MINUTE_MS);
    if into_minute_ms < MINUTE_MS / 2 {
        return;
    }
    let start_ms = now_ms - into_minute_ms;
    for name in FLOWS {
        let id = MetricId::new(NAMESPACE, name, vec![(QUEUE_NAME.to_owned(), queue.name.to_string())]);
        let said = settings.metrics.statistics(&id, Unit::Count.name(), start_ms, start_ms + MINUTE_MS);
        if said.is_none() {
            record(settings, queue, now_ms, name, 0.0, Unit::Count);
        }
    }
}
