//! The one partial-batch runner: every record ends in exactly one of done or failed.

use std::collections::HashMap;
use std::sync::Arc;

use task_core::process::{Delivery, Done, Ended, Failed, HandleDelivery, Handled};
use task_core::{DurationMs, EpochMs, limits};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::event::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsRecord};
use crate::telemetry::{WideEvent, owner_hash, trace_id};

impl From<SqsRecord> for Delivery {
    fn from(record: SqsRecord) -> Self {
        // A missing count is read as the first: that costs an extra attempt, a guess above costs the task.
        let count = record.attributes.approximate_receive_count.and_then(|count| count.parse().ok());
        Self {
            message_id: record.message_id,
            receipt: record.receipt_handle,
            body: record.body,
            receive_count: count.unwrap_or(1),
            trace: record.attributes.aws_trace_header,
        }
    }
}

/// How one record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEnd {
    pub message_id: String,
    pub ended: Ended,
}

/// How each record ended, in any order.
pub async fn run_batch<H>(handler: Arc<H>, records: Vec<SqsRecord>, deadline: EpochMs) -> Vec<RecordEnd>
where
    H: HandleDelivery + Send + Sync + 'static,
{
    let mut under_way = JoinSet::new();
    let mut message_ids = HashMap::new();
    let mut ends = Vec::with_capacity(records.len());
    for record in records {
        if under_way.len() >= limits::RECORDS_IN_FLIGHT_MAX {
            collect(&mut under_way, &mut message_ids, &mut ends).await;
        }
        let delivery = Delivery::from(record);
        let message_id = delivery.message_id.clone();
        let handler = Arc::clone(&handler);
        let work = async move {
            let ended = handler.handle(&delivery, deadline).await;
            if let Handled::Failed(failed) = ended.handled {
                log_failure(&delivery, &ended, failed);
            }
            ended
        };
        // Spawned work knows nothing of the invocation's span by itself.
        let task = under_way.spawn(work.in_current_span());
        message_ids.insert(task.id(), message_id);
    }
    while collect(&mut under_way, &mut message_ids, &mut ends).await {}
    ends
}

async fn collect(
    under_way: &mut JoinSet<Ended>,
    message_ids: &mut HashMap<tokio::task::Id, String>,
    ends: &mut Vec<RecordEnd>,
) -> bool {
    let Some(joined) = under_way.join_next_with_id().await else {
        return false;
    };
    let (task, ended) = match joined {
        Ok((task, ended)) => (task, ended),
        Err(error) => {
            tracing::error!(is_panic = error.is_panic(), "a delivery did not end by itself");
            (error.id(), Handled::Failed(Failed::Abandoned).into())
        }
    };
    if let Some(message_id) = message_ids.remove(&task) {
        ends.push(RecordEnd { message_id, ended });
    }
    true
}

/// One line for each message that stays, so that a task can be followed through its failures. Success is only counted.
fn log_failure(delivery: &Delivery, ended: &Ended, failed: Failed) {
    let about = ended.about.as_ref();
    tracing::warn!(
        task.id = about.map(|about| about.task_id.to_string()),
        task.attempts = about.map(|about| about.attempts),
        owner_hash = about.map(|about| owner_hash(&about.owner)),
        trace_id = delivery.trace.as_deref().map(trace_id),
        message.id = delivery.message_id,
        message.receive_count = delivery.receive_count,
        outcome = metric(Handled::Failed(failed)),
        "a message stays on the queue"
    );
}

pub fn response(ends: &[RecordEnd]) -> SqsBatchResponse {
    let failed = ends.iter().filter(|end| matches!(end.ended.handled, Handled::Failed(_)));
    let batch_item_failures =
        failed.map(|end| BatchItemFailure { item_identifier: end.message_id.clone() }).collect();
    SqsBatchResponse { batch_item_failures }
}

/// Notes how long the oldest message of the batch has waited.
pub fn received(batch: &SqsEvent, now: EpochMs, event: &mut WideEvent) {
    let sent =
        batch.records.iter().filter_map(|record| record.attributes.sent_timestamp.as_ref()?.parse().ok());
    let age = sent.min().map_or(DurationMs::ZERO, |oldest| now.since(EpochMs(oldest)));
    event.milliseconds("queue_age_ms", age.0);
}

/// Counts the ends under the names that alarms and experiments use.
pub fn count(ends: &[RecordEnd], event: &mut WideEvent) {
    event.count("deliveries", ends.len() as u64);
    for RecordEnd { ended, .. } in ends {
        event.count(metric(ended.handled), 1);
        let attempts = ended.about.as_ref().map_or(0, |about| about.attempts);
        event.count("attempts", u64::from(attempts > 0));
        if matches!(ended.handled, Handled::Done(Done::Succeeded) | Handled::Failed(Failed::DeadLettered)) {
            // Over `succeeded` and `dead_lettered` this is the amplification: attempts per task that came to its end.
            event.count("attempts_of_ended", u64::from(attempts));
        }
    }
}

const fn metric(handled: Handled) -> &'static str {
    match handled {
        Handled::Done(Done::Succeeded) => "succeeded",
        Handled::Done(Done::AlreadySucceeded) => "duplicates",
        Handled::Done(Done::Superseded) => "superseded",
        Handled::Failed(Failed::Malformed) => "malformed",
        Handled::Failed(Failed::Retried) => "retried",
        Handled::Failed(Failed::Refused) => "refused",
        Handled::Failed(Failed::DeadLettered) => "dead_lettered",
        Handled::Failed(Failed::LeaseHeld) => "lease_held",
        Handled::Failed(Failed::Dependency(_)) => "dependency_failures",
        Handled::Failed(Failed::Abandoned) => "abandoned",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use task_core::error::ErrorClass;
    use task_core::process::About;

    use super::*;
    use crate::testing;

    /// Does what the body says, and notes how many it does at once.
    #[derive(Default)]
    struct Obedient {
        under_way: AtomicUsize,
        under_way_max: AtomicUsize,
    }

    impl HandleDelivery for Obedient {
        async fn handle(&self, delivery: &Delivery, _deadline: EpochMs) -> Ended {
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.under_way_max.fetch_max(under_way, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let handled = match delivery.body.as_str() {
                "panic" => panic!("asked to"),
                "fail" => Handled::Failed(Failed::Retried),
                _ => Handled::Done(Done::Succeeded),
            };
            handled.into()
        }
    }

    fn record(message_id: &str, body: &str) -> SqsRecord {
        let record = serde_json::json!({"messageId": message_id, "receiptHandle": "r", "body": body});
        serde_json::from_value(record).unwrap()
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_record_and_no_other() {
        let records = vec![record("a", "panic"), record("b", "succeed"), record("c", "fail")];
        let mut ends = run_batch(Arc::new(Obedient::default()), records, EpochMs(0)).await;
        ends.sort_by(|one, other| one.message_id.cmp(&other.message_id));
        let expected = [
            ("a", Handled::Failed(Failed::Abandoned)),
            ("b", Handled::Done(Done::Succeeded)),
            ("c", Handled::Failed(Failed::Retried)),
        ]
        .map(|(id, handled)| RecordEnd { message_id: id.to_owned(), ended: handled.into() });
        assert_eq!(ends, expected);
        let answer = serde_json::to_value(response(&ends)).unwrap();
        let kept =
            serde_json::json!({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "c"}]});
        assert_eq!(answer, kept);
    }

    fn about(attempts: u32) -> About {
        About {
            task_id: "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap(),
            owner: task_core::Owner::parse("alice@example.com").unwrap(),
            attempts,
        }
    }

    /// Alarms, experiments and whoever reads the logs find each under the name that was published.
    #[test]
    fn counts_carry_every_promised_name() {
        let ended = |handled, attempts| RecordEnd {
            message_id: "m".to_owned(),
            ended: Ended { handled, about: Some(about(attempts)) },
        };
        let malformed =
            RecordEnd { message_id: "m".to_owned(), ended: Handled::Failed(Failed::Malformed).into() };
        let ends = [
            ended(Handled::Done(Done::Succeeded), 3),
            ended(Handled::Done(Done::AlreadySucceeded), 0),
            ended(Handled::Done(Done::Superseded), 0),
            ended(Handled::Failed(Failed::Retried), 1),
            ended(Handled::Failed(Failed::Refused), 1),
            ended(Handled::Failed(Failed::DeadLettered), 5),
            ended(Handled::Failed(Failed::LeaseHeld), 0),
            ended(Handled::Failed(Failed::Dependency(ErrorClass::Throttled)), 0),
            ended(Handled::Failed(Failed::Abandoned), 1),
            malformed,
        ];
        let sent_at = |at: &str| {
            serde_json::json!({
                "messageId": "m", "receiptHandle": "r", "attributes": {"SentTimestamp": at}
            })
        };
        let batch = serde_json::json!({"Records": [sent_at("5000"), sent_at("2000")]});
        let mut wide = WideEvent::begin("process-task", "r-1", None);
        received(&serde_json::from_value(batch).unwrap(), EpochMs(9_000), &mut wide);
        count(&ends, &mut wide);
        let line = wide.line();
        let every = testing::promised("every");
        let counted: BTreeSet<_> = testing::metrics(&line).difference(&every).cloned().collect();
        assert_eq!(counted, testing::promised("process-task"));
        let expected = serde_json::json!({
            "queue_age_ms": 7_000, "deliveries": 10, "succeeded": 1, "duplicates": 1, "superseded": 1, "retried": 1,
            "refused": 1, "dead_lettered": 1, "lease_held": 1, "dependency_failures": 1, "abandoned": 1, "malformed": 1,
            "attempts": 5, "attempts_of_ended": 8,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name}");
        }
    }

    /// Fails, and knows whose task it was.
    struct Failing;

    impl HandleDelivery for Failing {
        async fn handle(&self, _delivery: &Delivery, _deadline: EpochMs) -> Ended {
            Ended { handled: Handled::Failed(Failed::Retried), about: Some(about(2)) }
        }
    }

    #[test]
    fn a_failure_is_logged_with_its_ids_and_without_body_or_owner() {
        let record = serde_json::json!({
            "messageId": "m-1", "receiptHandle": "secret-receipt", "body": "secret-body",
            "attributes": {"ApproximateReceiveCount": "3", "AWSTraceHeader": "Root=1-2-3;Parent=4"},
        });
        let records = vec![serde_json::from_value(record).unwrap()];
        let (_ends, lines) = testing::logged(run_batch(Arc::new(Failing), records, EpochMs(0)));
        let [line] = &lines[..] else { panic!("one line for one failure: {lines:?}") };
        let expected = serde_json::json!({
            "level": "WARN", "task.id": "0193b0e2-7c00-7000-8000-000000000001", "task.attempts": 2,
            "message.id": "m-1", "message.receive_count": 3, "trace_id": "1-2-3", "outcome": "retried",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name} in {line:#}");
        }
        assert_eq!(line["owner_hash"].as_str().map(str::len), Some(16));
        let text = line.to_string();
        assert!(!text.contains("secret") && !text.contains("alice"), "{text}");
    }

    #[tokio::test]
    async fn a_large_batch_runs_side_by_side_within_its_bound_and_ends_every_record_once() {
        let handler = Arc::new(Obedient::default());
        let records = (0..1_000).map(|n| record(&n.to_string(), "succeed")).collect();
        let ends = run_batch(Arc::clone(&handler), records, EpochMs(0)).await;
        let ids: std::collections::HashSet<_> = ends.iter().map(|end| &end.message_id).collect();
        assert_eq!((ends.len(), ids.len()), (1_000, 1_000));
        assert_eq!(handler.under_way_max.load(Ordering::SeqCst), limits::RECORDS_IN_FLIGHT_MAX);
    }
}
