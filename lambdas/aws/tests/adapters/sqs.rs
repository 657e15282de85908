//! The queue and its dead letters.

use serde_json::json;
use task_aws::sqs::{SqsDeadLetters, SqsTasks};
use task_core::DurationMs;
use task_core::error::ErrorClass;
use task_core::ports::{DeadLetter, DeadLetters as _, TaskQueue as _, Visibility as _};

use crate::replay::{Replay, Reply, error, ok};

const QUEUE_URL: &str = "http://127.0.0.1/123456789012/tasks";

fn queue(replay: &Replay) -> SqsTasks {
    SqsTasks::new(&replay.sdk, QUEUE_URL)
}

#[tokio::test]
async fn the_trace_travels_as_a_system_attribute() {
    let replay = Replay::start([ok(
        json!({"MessageId": "m", "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592"}),
    )])
    .await;
    queue(&replay).send("hello", Some("Root=1-2-3")).await.unwrap();
    let body = replay.only_body();
    assert_eq!(body["MessageBody"], "hello");
    assert_eq!(
        body["MessageSystemAttributes"],
        json!({"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}})
    );
}

/// Sends are tried again above, where it is known whether an earlier one may have arrived.
#[tokio::test]
async fn a_send_is_one_attempt_and_a_refusal_is_told_from_silence() {
    let cases: [(fn() -> Reply, ErrorClass); 6] = [
        (|| error(503, "ServiceUnavailable"), ErrorClass::Unknown),
        (|| error(400, "RequestThrottled"), ErrorClass::Throttled),
        (|| error(403, "AccessDeniedException"), ErrorClass::Permanent),
        (|| error(500, "InternalError"), ErrorClass::Unknown),
        (|| Reply::Hangup, ErrorClass::Unknown),
        (|| Reply::Silence, ErrorClass::Unknown),
    ];
    for (reply, class) in cases {
        let replay = Replay::start([reply()]).await;
        let failed = queue(&replay).send("hello", None).await.unwrap_err();
        assert_eq!((failed.class, replay.asked().len()), (class, 1), "{failed}");
    }
}

#[tokio::test]
async fn a_queue_that_cannot_be_reached_has_certainly_accepted_nothing() {
    let replay = Replay::start([]).await;
    // Port 1 of the loopback takes no connections.
    let sdk = replay.sdk.clone().into_builder().endpoint_url("http://127.0.0.1:1").build();
    let failed = SqsTasks::new(&sdk, QUEUE_URL).send("hello", None).await.unwrap_err();
    assert_eq!(failed.class, ErrorClass::Transient);
}

#[tokio::test]
async fn visibility_is_rounded_up_to_seconds_and_kept_within_twelve_hours() {
    for (delay_ms, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (u64::MAX, 43_200)] {
        let replay = Replay::start([ok(json!({}))]).await;
        queue(&replay).change("receipt", DurationMs(delay_ms)).await.unwrap();
        assert_eq!(replay.only_body()["VisibilityTimeout"], seconds, "{delay_ms} ms");
    }
}

#[tokio::test]
async fn a_look_at_dead_letters_hides_them_for_a_moment_and_deletes_nothing() {
    let message = json!({"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "92eb5ffee6ae2fec3ad71c777531578f"});
    let replay = Replay::start([ok(json!({"Messages": [message]}))]).await;
    let letters = SqsDeadLetters::new(&replay.sdk, QUEUE_URL).peek(DurationMs(5_000)).await.unwrap();
    assert_eq!(letters, [DeadLetter { message_id: "m".into(), body: "b".into() }]);
    let body = replay.only_body();
    assert_eq!(replay.asked()[0].0, "ReceiveMessage");
    assert_eq!((&body["MaxNumberOfMessages"], &body["VisibilityTimeout"]), (&json!(10), &json!(5)));
}
