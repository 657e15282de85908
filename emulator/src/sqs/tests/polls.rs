//! Polls that wait beside each other, and what ends them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Fixture, START_MS, arn};
use crate::sqs::queue::{IN_FLIGHT_MAX, Parcel, ReceiveRules};
use crate::sqs::queue_model::content;

/// What it receives comes back after two seconds.
fn poll(sqs: &Arc<Fixture>, url: &str, wait_seconds: i64) -> JoinHandle<Value> {
    let sqs = Arc::clone(sqs);
    let input = json!({
        "QueueUrl": url, "WaitTimeSeconds": wait_seconds, "VisibilityTimeout": 2, "AttributeNames": ["All"],
    });
    tokio::spawn(async move { sqs.ok("ReceiveMessage", input).await })
}

async fn receive_count(poll: JoinHandle<Value>) -> String {
    assert!(poll.is_finished(), "it sleeps through a message");
    let received = poll.await.unwrap();
    let count = &received["Messages"][0]["Attributes"]["ApproximateReceiveCount"];
    count.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_one_poll_received_and_left_goes_to_the_one_that_waits_beside_it() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({})).await;
    let polls = [poll(&sqs, &url, 20), poll(&sqs, &url, 20)];
    sqs.rest().await;
    sqs.send(&url, "x").await;
    sqs.rest().await;
    assert_eq!(polls.iter().filter(|poll| poll.is_finished()).count(), 1);
    sqs.advance(2);
    sqs.rest().await;
    let mut counts = Vec::new();
    for poll in polls {
        counts.push(receive_count(poll).await);
    }
    counts.sort_unstable();
    assert_eq!(counts, ["1", "2"]);
}

#[tokio::test]
async fn a_delayed_message_goes_to_a_poll_that_waited_before_the_one_woken_for_it_ended() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({})).await;
    let short = poll(&sqs, &url, 1);
    sqs.rest().await;
    let long = poll(&sqs, &url, 20);
    sqs.rest().await;
    sqs.ok("SendMessage", json!({ "QueueUrl": url, "MessageBody": "later", "DelaySeconds": 5 })).await;
    sqs.rest().await;
    sqs.advance(1);
    sqs.rest().await;
    assert_eq!(receive_count(short).await, "");
    sqs.advance(4);
    sqs.rest().await;
    assert_eq!(receive_count(long).await, "1");
}

#[tokio::test]
async fn a_poll_whose_caller_goes_away_leaves_its_wake_up_to_another() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "x").await;
    assert_eq!(receive_count_of_short(&sqs, &url).await, "1");
    let given_up = poll(&sqs, &url, 20);
    sqs.rest().await;
    let other = poll(&sqs, &url, 20);
    sqs.rest().await;
    given_up.abort();
    sqs.rest().await;
    sqs.advance(2);
    sqs.rest().await;
    assert_eq!(receive_count(other).await, "2");
}

async fn receive_count_of_short(sqs: &Arc<Fixture>, url: &str) -> String {
    let poll = poll(sqs, url, 0);
    sqs.rest().await;
    receive_count(poll).await
}

#[tokio::test]
async fn a_denial_ends_every_poll_that_waits() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({})).await;
    let polls = [(); 2].map(|()| {
        let sqs = Arc::clone(&sqs);
        let input = json!({ "QueueUrl": url, "WaitTimeSeconds": 20 });
        tokio::spawn(async move { sqs.refused("ReceiveMessage", input).await })
    });
    sqs.rest().await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Deny", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": arn("q") },
    ] });
    let attributes = json!({ "Policy": policy.to_string() });
    sqs.ok("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await;
    sqs.rest().await;
    for poll in polls {
        assert!(poll.is_finished());
        assert_eq!(poll.await.unwrap().1, "AccessDenied;Sender");
    }
}

#[tokio::test]
async fn at_the_limit_in_flight_a_short_poll_is_refused_and_a_long_one_ends_empty() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({})).await;
    let queue = sqs.sqs.account().by_name("q").unwrap();
    let content = content();
    let message = |_| (Parcel::new(Uuid::nil(), Arc::clone(&content), START_MS), 0);
    queue.put(START_MS, (0..=IN_FLIGHT_MAX).map(message));
    let all = ReceiveRules { messages_max: usize::MAX, visibility_ms: 30_000, receives_max: None };
    assert_eq!(queue.receive(START_MS, all).unwrap().received.len(), IN_FLIGHT_MAX);
    let (status, code, _) = sqs.refused("ReceiveMessage", json!({ "QueueUrl": url })).await;
    assert_eq!((status, code.as_str()), (403, "OverLimit;Sender"));
    let poll = poll(&sqs, &url, 1);
    sqs.rest().await;
    assert!(!poll.is_finished());
    sqs.advance(1);
    assert_eq!(poll.await.unwrap(), json!({}));
}
