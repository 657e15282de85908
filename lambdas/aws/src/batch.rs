//! The one partial-batch runner: every record ends in exactly one of done or failed.

use std::collections::HashMap;
use std::sync::Arc;

use task_core::EpochMs;
use task_core::process::{Delivery, Done, Failed, HandleDelivery, Handled};
use tokio::task::JoinSet;

use crate::event::{BatchItemFailure, SqsBatchResponse, SqsRecord};
use crate::telemetry::WideEvent;

/// Records under way at once. AWS: a batch may hold 10,000; an environment has 1,024 file descriptors.
const RECORDS_IN_FLIGHT_MAX: usize = 32;

impl From<SqsRecord> for Delivery {
    fn from(record: SqsRecord) -> Self {
        // A missing count is read as the first: that costs an extra attempt, a guess above costs the task.
        let count = record.attributes.approximate_receive_count.and_then(|count| count.parse().ok());
        Self {
            message_id: record.message_id,
            receipt: record.receipt_handle,
            body: record.body,
            receive_count: count.unwrap_or(1),
        }
    }
}

/// How each record ended, by message id.
pub async fn run_batch<H>(
    handler: Arc<H>,
    records: Vec<SqsRecord>,
    deadline: EpochMs,
) -> Vec<(String, Handled)>
where
    H: HandleDelivery + Send + Sync + 'static,
{
    let mut under_way = JoinSet::new();
    let mut message_ids = HashMap::new();
    let mut ended = Vec::with_capacity(records.len());
    for record in records {
        if under_way.len() >= RECORDS_IN_FLIGHT_MAX {
            collect(&mut under_way, &mut message_ids, &mut ended).await;
        }
        let delivery = Delivery::from(record);
        let message_id = delivery.message_id.clone();
        let handler = Arc::clone(&handler);
        let task = under_way.spawn(async move { handler.handle(&delivery, deadline).await });
        message_ids.insert(task.id(), message_id);
    }
    while collect(&mut under_way, &mut message_ids, &mut ended).await {}
    ended
}

async fn collect(
    under_way: &mut JoinSet<Handled>,
    message_ids: &mut HashMap<tokio::task::Id, String>,
    ended: &mut Vec<(String, Handled)>,
) -> bool {
    let Some(joined) = under_way.join_next_with_id().await else {
        return false;
    };
    let (task, handled) = match joined {
        Ok((task, handled)) => (task, handled),
        Err(error) => {
            tracing::error!(is_panic = error.is_panic(), "a delivery did not end by itself");
            (error.id(), Handled::Failed(Failed::Abandoned))
        }
    };
    if let Some(message_id) = message_ids.remove(&task) {
        ended.push((message_id, handled));
    }
    true
}

pub fn response(ended: &[(String, Handled)]) -> SqsBatchResponse {
    let failed = ended.iter().filter(|(_, handled)| matches!(handled, Handled::Failed(_)));
    let batch_item_failures =
        failed.map(|(message_id, _)| BatchItemFailure { item_identifier: message_id.clone() }).collect();
    SqsBatchResponse { batch_item_failures }
}

/// Counts the ends under the names that alarms and experiments use.
pub fn count(ended: &[(String, Handled)], event: &mut WideEvent) {
    event.count("deliveries", ended.len() as u64);
    for (_, handled) in ended {
        event.count(metric(*handled), 1);
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
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Does what the body says, and notes how many it does at once.
    #[derive(Default)]
    struct Obedient {
        under_way: AtomicUsize,
        under_way_max: AtomicUsize,
    }

    impl HandleDelivery for Obedient {
        async fn handle(&self, delivery: &Delivery, _deadline: EpochMs) -> Handled {
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.under_way_max.fetch_max(under_way, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            match delivery.body.as_str() {
                "panic" => panic!("asked to"),
                "fail" => Handled::Failed(Failed::Retried),
                _ => Handled::Done(Done::Succeeded),
            }
        }
    }

    fn record(message_id: &str, body: &str) -> SqsRecord {
        let record = serde_json::json!({"messageId": message_id, "receiptHandle": "r", "body": body});
        serde_json::from_value(record).unwrap()
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_record_and_no_other() {
        let records = vec![record("a", "panic"), record("b", "succeed"), record("c", "fail")];
        let mut ended = run_batch(Arc::new(Obedient::default()), records, EpochMs(0)).await;
        ended.sort_by(|(one, _), (other, _)| one.cmp(other));
        let expected = [
            ("a".to_owned(), Handled::Failed(Failed::Abandoned)),
            ("b".to_owned(), Handled::Done(Done::Succeeded)),
            ("c".to_owned(), Handled::Failed(Failed::Retried)),
        ];
        assert_eq!(ended, expected);
        let answer = serde_json::to_value(response(&ended)).unwrap();
        let kept =
            serde_json::json!({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "c"}]});
        assert_eq!(answer, kept);
    }

    #[tokio::test]
    async fn a_large_batch_runs_side_by_side_within_its_bound_and_ends_every_record_once() {
        let handler = Arc::new(Obedient::default());
        let records = (0..1_000).map(|n| record(&n.to_string(), "succeed")).collect();
        let ended = run_batch(Arc::clone(&handler), records, EpochMs(0)).await;
        let ids: std::collections::HashSet<_> = ended.iter().map(|(id, _)| id).collect();
        assert_eq!((ended.len(), ids.len()), (1_000, 1_000));
        assert_eq!(handler.under_way_max.load(Ordering::SeqCst), RECORDS_IN_FLIGHT_MAX);
    }
}
