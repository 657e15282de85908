//! This machine's clock beside AWS's: windows are on the one, histories on the other.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use loadtest::stack::Stack;

use super::Finding;
use crate::clock::{SKEW_MS_MAX, now_ms};
use crate::cloud::{CallError, Cloud};

/// The header `Date` has whole seconds.
const DATE_GRAIN_MS: u64 = 1_000;

/// Keeps the header `Date` of an answer.
#[derive(Clone, Debug, Default)]
struct KeepDate(Arc<Mutex<Option<String>>>);

impl Intercept for KeepDate {
    fn name(&self) -> &'static str {
        "KeepDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

pub(super) async fn look(cloud: &Cloud, stack: &Stack) -> Result<Finding, CallError> {
    let name = "clock";
    let Some(queue) = stack.queues.get("tasks") else {
        return Ok(Finding::new(name, false, "the stack has no queue `tasks`"));
    };
    let kept = KeepDate::default();
    let before_ms = now_ms();
    let call = cloud.sqs.get_queue_attributes().queue_url(&queue.url).customize().interceptor(kept.clone());
    call.send().await.map_err(CallError::of("sqs:GetQueueAttributes"))?;
    let after_ms = now_ms();
    let date = kept.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(there_ms) = date.as_deref().and_then(unix_ms) else {
        return Ok(Finding::new(name, false, "the answer has no date to compare with"));
    };
    let skew_ms = skew_ms(there_ms, before_ms, after_ms);
    let detail = format!("at least {skew_ms} ms apart, at most {SKEW_MS_MAX} ms");
    Ok(Finding::new(name, skew_ms <= SKEW_MS_MAX, detail))
}

fn unix_ms(date: &str) -> Option<u64> {
    let at = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    u64::try_from(at.as_millisecond()).ok()
}

/// The answer was dated between the two moments, within the second that it names: what does not fit is skew.
fn skew_ms(there_ms: u64, before_ms: u64, after_ms: u64) -> u64 {
    let ahead_ms = there_ms.saturating_sub(after_ms);
    let behind_ms = before_ms.saturating_sub(there_ms + DATE_GRAIN_MS);
    ahead_ms.max(behind_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_whole_second_cannot_explain_is_skew() {
        assert_eq!(skew_ms(10_000, 10_100, 10_200), 0);
        assert_eq!(skew_ms(10_000, 10_999, 11_100), 0);
        assert_eq!(skew_ms(10_000, 14_000, 14_100), 3_000, "this clock is ahead");
        assert_eq!(skew_ms(10_000, 6_900, 7_000), 3_000, "this clock is behind");
    }

    #[test]
    fn a_date_header_is_read() {
        assert_eq!(unix_ms("Tue, 14 Nov 2023 22:13:20 GMT"), Some(1_700_000_000_000));
        assert_eq!(unix_ms("yesterday"), None);
    }
}
