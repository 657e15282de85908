//! Message move tasks. Codes, texts and reasons are as they were recorded on AWS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Fixture, START_MS, arn};

async fn latest(sqs: &Fixture) -> Value {
    sqs.ok("ListMessageMoveTasks", json!({ "SourceArn": arn("dead") })).await["Results"][0].clone()
}

async fn visible(sqs: &Fixture, url: &str) -> String {
    sqs.attribute(url, "ApproximateNumberOfMessages").await.unwrap()
}

fn to_work_one_a_second() -> Value {
    json!({ "SourceArn": arn("dead"), "DestinationArn": arn("work"), "MaxNumberOfMessagesPerSecond": 1 })
}

#[tokio::test]
async fn a_task_keeps_to_its_rate_until_it_is_cancelled_and_is_the_only_one_of_its_source() {
    let sqs = Fixture::new();
    let (work, dead) = sqs.pair(1).await;
    for body in ["a", "b", "c", "d"] {
        sqs.send(&dead, body).await;
    }
    let started = sqs.ok("StartMessageMoveTask", to_work_one_a_second()).await;
    let cancel = json!({ "TaskHandle": started["TaskHandle"] });
    for moved in [1, 2] {
        sqs.rest().await;
        let task = latest(&sqs).await;
        assert_eq!((&task["Status"], &task["TaskHandle"]), (&json!("RUNNING"), &started["TaskHandle"]));
        assert_eq!(task["ApproximateNumberOfMessagesMoved"], moved);
        if moved == 1 {
            sqs.advance(1);
        }
    }
    let refused = sqs.refused("StartMessageMoveTask", to_work_one_a_second()).await;
    let message = "There is already a task running. Only one active task is allowed for a source queue arn at a given time.";
    assert_eq!(refused, (400, "InvalidParameterValue;Sender".to_owned(), message.to_owned()));

    let cancelled = sqs.ok("CancelMessageMoveTask", cancel.clone()).await;
    assert_eq!(cancelled, json!({ "ApproximateNumberOfMessagesMoved": 2 }));
    assert_eq!(latest(&sqs).await["Status"], "CANCELLING");
    sqs.advance(1);
    sqs.rest().await;
    let expected = json!({
        "Status": "CANCELLED", "SourceArn": arn("dead"), "DestinationArn": arn("work"),
        "MaxNumberOfMessagesPerSecond": 1, "ApproximateNumberOfMessagesMoved": 2,
        "ApproximateNumberOfMessagesToMove": 4, "StartedTimestamp": START_MS,
    });
    assert_eq!(latest(&sqs).await, expected);
    assert_eq!((visible(&sqs, &work).await, visible(&sqs, &dead).await), ("2".to_owned(), "2".to_owned()));
    let refused = sqs.refused("CancelMessageMoveTask", cancel).await;
    assert_eq!((refused.0, refused.2.as_str()), (404, "Task does not exist."));
    sqs.ok("StartMessageMoveTask", to_work_one_a_second()).await;
}

#[tokio::test]
async fn what_names_no_task_no_queue_or_no_rate_is_refused() {
    let sqs = Fixture::new();
    sqs.pair(1).await;
    let handle = |queue: &str| {
        let content = json!({ "taskId": "10f57157-fc38-4da9-a113-4de7e12d05aa", "sourceArn": arn(queue) });
        json!({ "TaskHandle": STANDARD.encode(content.to_string()) })
    };
    let start = |member: &str, value: Value| {
        let mut input = json!({ "SourceArn": arn("dead") });
        input[member] = value;
        input
    };
    let rate = |rate: i64| start("MaxNumberOfMessagesPerSecond", json!(rate));
    let (invalid, missing) = ("InvalidParameterValue;Sender", "ResourceNotFoundException;Sender");
    let cases = [
        (
            "CancelMessageMoveTask",
            json!({ "TaskHandle": "foobared" }),
            (400, invalid, "Value for parameter TaskHandle is invalid."),
        ),
        (
            "CancelMessageMoveTask",
            handle("none"),
            (404, missing, "The resource that you specified for the SourceArn parameter doesn't exist."),
        ),
        ("CancelMessageMoveTask", handle("dead"), (404, missing, "Task does not exist.")),
        (
            "StartMessageMoveTask",
            start("DestinationArn", json!(arn("none"))),
            (404, missing, "The resource that you specified for the DestinationArn parameter doesn't exist."),
        ),
        (
            "StartMessageMoveTask",
            start("DestinationArn", json!(arn("dead"))),
            (400, invalid, "Source queue arn and destination queue arn cannot be the same."),
        ),
        (
            "StartMessageMoveTask",
            rate(0),
            (
                400,
                invalid,
                "Value 0 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be an integer between 1 and 500.",
            ),
        ),
        (
            "StartMessageMoveTask",
            rate(501),
            (
                400,
                invalid,
                "Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be an integer between 1 and 500.",
            ),
        ),
    ];
    for (operation, input, (status, code, message)) in cases {
        let refused = sqs.refused(operation, input).await;
        assert_eq!(refused, (status, code.to_owned(), message.to_owned()), "{operation}");
    }
}

#[tokio::test]
async fn a_task_fails_at_a_message_that_has_nowhere_to_go_and_leaves_it_where_it_is() {
    let sqs = Fixture::new();
    let (work, dead) = sqs.pair(1).await;
    sqs.send(&dead, "of no source").await;
    let handle = sqs.receive(&dead).await[0]["ReceiptHandle"].clone();
    sqs.advance(30);
    sqs.ok("StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
    sqs.rest().await;
    let task = latest(&sqs).await;
    assert_eq!((&task["Status"], &task["ApproximateNumberOfMessagesMoved"]), (&json!("FAILED"), &json!(0)));
    assert_eq!(task["FailureReason"], "CouldNotDetermineMessageSource");
    assert_eq!(visible(&sqs, &dead).await, "1");
    sqs.ok("DeleteMessage", json!({ "QueueUrl": dead, "ReceiptHandle": handle })).await;
    assert_eq!(visible(&sqs, &dead).await, "0", "its handle still names it");

    for body in ["a", "b"] {
        sqs.send(&dead, body).await;
    }
    sqs.ok("StartMessageMoveTask", to_work_one_a_second()).await;
    sqs.rest().await;
    sqs.ok("DeleteQueue", json!({ "QueueUrl": work })).await;
    sqs.advance(1);
    sqs.rest().await;
    let task = latest(&sqs).await;
    assert_eq!((&task["Status"], &task["ApproximateNumberOfMessagesMoved"]), (&json!("FAILED"), &json!(1)));
    assert_eq!(task["FailureReason"], "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(visible(&sqs, &dead).await, "1");
}

#[tokio::test]
async fn a_task_is_started_listed_and_cancelled_only_where_no_policy_denies_it() {
    let sqs = Fixture::new();
    let (work, dead) = sqs.pair(1).await;
    for body in ["a", "b"] {
        sqs.send(&dead, body).await;
    }
    for (url, action) in [
        (&dead, "StartMessageMoveTask"),
        (&dead, "ReceiveMessage"),
        (&dead, "DeleteMessage"),
        (&dead, "GetQueueAttributes"),
        (&work, "SendMessage"),
    ] {
        sqs.deny(url, action).await;
        for start in [json!({ "SourceArn": arn("dead") }), to_work_one_a_second()] {
            let (status, code, _) = sqs.refused("StartMessageMoveTask", start).await;
            assert_eq!((status, code.as_str()), (403, "AccessDenied;Sender"), "{action}");
        }
        sqs.deny_nothing(url).await;
    }
    let started = sqs.ok("StartMessageMoveTask", to_work_one_a_second()).await;
    for (operation, input) in [
        ("ListMessageMoveTasks", json!({ "SourceArn": arn("dead") })),
        ("CancelMessageMoveTask", json!({ "TaskHandle": started["TaskHandle"] })),
    ] {
        sqs.deny(&dead, operation).await;
        assert_eq!(sqs.refused(operation, input.clone()).await.1, "AccessDenied;Sender", "{operation}");
        sqs.deny_nothing(&dead).await;
        sqs.ok(operation, input).await;
    }
}

#[tokio::test]
async fn a_task_fails_after_36_hours_and_leaves_what_it_has_not_moved() {
    let sqs = Fixture::new();
    let (_, dead) = sqs.pair(1).await;
    for body in ["a", "b", "c"] {
        sqs.send(&dead, body).await;
    }
    sqs.ok("StartMessageMoveTask", to_work_one_a_second()).await;
    sqs.rest().await;
    assert_eq!(latest(&sqs).await["Status"], "RUNNING");
    sqs.advance(36 * 3_600);
    sqs.rest().await;
    let task = latest(&sqs).await;
    assert_eq!((&task["Status"], &task["ApproximateNumberOfMessagesMoved"]), (&json!("FAILED"), &json!(1)));
    assert_eq!(visible(&sqs, &dead).await, "2");
}

#[tokio::test]
async fn what_is_moved_waits_for_the_delay_of_where_it_goes() {
    let sqs = Fixture::new();
    let (_, dead) = sqs.pair(1).await;
    let slow = sqs.queue("slow", json!({ "DelaySeconds": "5" })).await;
    sqs.send(&dead, "x").await;
    let start = json!({ "SourceArn": arn("dead"), "DestinationArn": arn("slow") });
    sqs.ok("StartMessageMoveTask", start).await;
    sqs.rest().await;
    assert_eq!(latest(&sqs).await["Status"], "COMPLETED");
    assert_eq!(sqs.attribute(&slow, "ApproximateNumberOfMessagesDelayed").await.unwrap(), "1");
    assert!(sqs.receive(&slow).await.is_empty());
    sqs.advance(5);
    assert_eq!(sqs.receive(&slow).await.len(), 1);
}
