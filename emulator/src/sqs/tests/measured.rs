//! What SQS says of its queues to CloudWatch.

use serde_json::json;

use super::{Fixture, START_MS};
use crate::metrics::MetricId;
use crate::sqs::queue::ReceiveRules;

const MINUTE_MS: i64 = 60_000;
const FLOWS: [&str; 4] =
    ["NumberOfMessagesSent", "NumberOfMessagesReceived", "NumberOfEmptyReceives", "NumberOfMessagesDeleted"];

/// Number and sum of the values of queue `q` in a minute after the start.
fn in_minute(sqs: &Fixture, minute: i64, name: &str) -> Option<(f64, f64)> {
    let id = MetricId::new("AWS/SQS", name, vec![("QueueName".to_owned(), "q".to_owned())]);
    let start_ms = START_MS + minute * MINUTE_MS;
    let metrics = &sqs.sqs.account().settings.metrics;
    let set = metrics.statistics(&id, "Count", start_ms, start_ms + MINUTE_MS)?;
    Some((set.count, set.sum))
}

fn all_in_minute(sqs: &Fixture, minute: i64) -> [Option<(f64, f64)>; 4] {
    FLOWS.map(|name| in_minute(sqs, minute, name))
}

#[tokio::test]
async fn a_queue_in_use_says_every_minute_how_much_went_through_also_that_nothing_did() {
    const ZERO: Option<(f64, f64)> = Some((1.0, 0.0));
    const ONE: Option<(f64, f64)> = Some((1.0, 1.0));
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "x").await;
    let handle = sqs.receive(&url).await[0]["ReceiptHandle"].clone();
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 0), [ONE, ONE, None, None], "they may still come");
    sqs.advance(45);
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 0), [ONE, ONE, ZERO, ZERO], "a value has no zero beside it");

    sqs.advance(60);
    sqs.ok("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await;
    assert!(sqs.receive(&url).await.is_empty());
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 1), [ZERO, ZERO, ONE, ONE]);

    sqs.advance(6 * 3_600);
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 361), [ZERO; 4], "six hours are not over");
    sqs.advance(60);
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 362), [None; 4], "nobody has used it for more than six hours");
    sqs.ok("ListQueueTags", json!({ "QueueUrl": url })).await;
    sqs.advance(10);
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 362), [ZERO; 4], "any call will do");
}

#[tokio::test]
async fn messages_keep_the_metrics_of_a_queue_going_that_nobody_calls() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "x").await;
    sqs.rest().await;
    sqs.advance(7 * 3_600 + 45);
    sqs.rest().await;
    assert_eq!(all_in_minute(&sqs, 420), [Some((1.0, 0.0)); 4]);
}

#[tokio::test]
async fn every_delete_with_a_valid_handle_counts_also_one_that_removes_nothing() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({ "VisibilityTimeout": "1" })).await;
    sqs.send(&url, "x").await;
    let superseded = sqs.receive(&url).await[0]["ReceiptHandle"].clone();
    sqs.advance(1);
    let latest = sqs.receive(&url).await[0]["ReceiptHandle"].clone();
    for handle in [&superseded, &latest, &latest] {
        sqs.ok("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await;
    }
    let deleted = || in_minute(&sqs, 0, "NumberOfMessagesDeleted");
    assert_eq!(deleted(), Some((3.0, 3.0)));
    sqs.refused("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": "garbage" })).await;
    let entries = json!([
        { "Id": "again", "ReceiptHandle": latest },
        { "Id": "older", "ReceiptHandle": superseded },
        { "Id": "garbage", "ReceiptHandle": "garbage" },
    ]);
    sqs.ok("DeleteMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    assert_eq!(deleted(), Some((4.0, 5.0)));
}

#[tokio::test]
async fn what_a_mapping_deletes_twice_counts_twice() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "x").await;
    let account = sqs.sqs.account();
    let queue = account.by_name("q").unwrap();
    let rules = ReceiveRules { messages_max: 1, visibility_ms: 30_000, receives_max: None };
    let received = queue.receive(START_MS, rules).unwrap().received;
    for _ in 0..2 {
        account.delete_received(&queue, &received);
    }
    assert_eq!(in_minute(&sqs, 0, "NumberOfMessagesDeleted"), Some((2.0, 2.0)));
}
