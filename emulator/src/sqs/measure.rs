//! The metrics of namespace AWS/SQS, dimension QueueName.

use std::sync::{Arc, Weak};

use super::account::Account;
use super::handle::QueueHandle;
use crate::metrics::Unit;
use crate::settings::Settings;

const NAMESPACE: &str = "AWS/SQS";
/// AWS samples the depth of a queue once a minute. A finer sample costs little and shows short faults.
const GAUGE_PERIOD_MS: i64 = 5_000;

fn record(settings: &Settings, queue: &QueueHandle, at_ms: i64, name: &str, value: f64, unit: Unit) {
    settings.metrics.record(at_ms, NAMESPACE, name, &[("QueueName", &queue.name)], value, unit);
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
const fn float(value: usize) -> f64 {
    value as f64
}

pub fn sent(settings: &Settings, queue: &QueueHandle, at_ms: i64, sizes_bytes: &[usize]) {
    if sizes_bytes.is_empty() {
        return;
    }
    record(settings, queue, at_ms, "NumberOfMessagesSent", float(sizes_bytes.len()), Unit::Count);
    for size_bytes in sizes_bytes {
        record(settings, queue, at_ms, "SentMessageSize", float(*size_bytes), Unit::Bytes);
    }
}

pub fn received(settings: &Settings, queue: &QueueHandle, at_ms: i64, messages: usize) {
    if messages == 0 {
        record(settings, queue, at_ms, "NumberOfEmptyReceives", 1.0, Unit::Count);
    } else {
        record(settings, queue, at_ms, "NumberOfMessagesReceived", float(messages), Unit::Count);
    }
}

pub fn deleted(settings: &Settings, queue: &QueueHandle, at_ms: i64, messages: usize) {
    if messages > 0 {
        record(settings, queue, at_ms, "NumberOfMessagesDeleted", float(messages), Unit::Count);
    }
}

/// Samples the depth of every queue until the account is dropped.
pub async fn sample_depths(account: Weak<Account>) {
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
        let oldest_age_ms = queue.lock().queue.oldest_age_ms(now_ms);
        let gauges = [
            ("ApproximateNumberOfMessagesVisible", counts.visible),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight),
            ("ApproximateNumberOfMessagesDelayed", counts.delayed),
        ];
        for (name, value) in gauges {
            record(&account.settings, &queue, now_ms, name, float(value), Unit::Count);
        }
        let age_seconds = float(usize::try_from(oldest_age_ms / 1_000).unwrap_or(0));
        let name = "ApproximateAgeOfOldestMessage";
        record(&account.settings, &queue, now_ms, name, age_seconds, Unit::Seconds);
    }
}
