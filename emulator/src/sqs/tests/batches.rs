//! Entries of batches that fail alone, sizes, and which attributes come with a message.

use serde_json::{Value, json};

use super::Fixture;

type Names = &'static [&'static str];

/// Id and code of each entry that failed.
fn failures(answer: &Value) -> Vec<(&str, &str)> {
    let failed = answer["Failed"].as_array().unwrap();
    assert!(failed.iter().all(|one| one["SenderFault"] == true && one["Message"].is_string()), "{failed:?}");
    failed.iter().map(|one| (one["Id"].as_str().unwrap(), one["Code"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn entries_that_change_visibility_fail_alone() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "kept").await;
    sqs.send(&url, "gone").await;
    let received = sqs.receive(&url).await;
    let (kept, gone) = (&received[0]["ReceiptHandle"], &received[1]["ReceiptHandle"]);
    sqs.ok("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": gone })).await;
    let entries = json!([
        { "Id": "good", "ReceiptHandle": kept, "VisibilityTimeout": 0 },
        { "Id": "garbage", "ReceiptHandle": "garbage", "VisibilityTimeout": 0 },
        { "Id": "gone", "ReceiptHandle": gone, "VisibilityTimeout": 0 },
        { "Id": "long", "ReceiptHandle": kept, "VisibilityTimeout": 43_201 },
        { "Id": "none", "ReceiptHandle": kept },
    ]);
    let input = json!({ "QueueUrl": url, "Entries": entries });
    let answer = sqs.ok("ChangeMessageVisibilityBatch", input).await;
    assert_eq!(answer["Successful"], json!([{ "Id": "good" }]));
    let expected = [
        ("garbage", "ReceiptHandleIsInvalid"),
        ("gone", "InvalidParameterValue"),
        ("long", "InvalidParameterValue"),
        ("none", "MissingParameter"),
    ];
    assert_eq!(failures(&answer), expected);
    assert_eq!(sqs.receive(&url).await[0]["Body"], "kept");
}

#[tokio::test]
async fn entries_that_delete_fail_alone() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "x").await;
    let received = sqs.receive(&url).await;
    let entries = json!([
        { "Id": "garbage", "ReceiptHandle": "garbage" },
        { "Id": "none" },
        { "Id": "good", "ReceiptHandle": received[0]["ReceiptHandle"] },
    ]);
    let answer = sqs.ok("DeleteMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    assert_eq!(answer["Successful"], json!([{ "Id": "good" }]));
    let expected = [("garbage", "ReceiptHandleIsInvalid"), ("none", "MissingParameter")];
    assert_eq!(failures(&answer), expected);
    sqs.advance(30);
    assert!(sqs.receive(&url).await.is_empty());
}

#[tokio::test]
async fn a_batch_is_too_long_as_a_whole() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let entries =
        json!([{ "Id": "1", "MessageBody": "x".repeat(1_048_576) }, { "Id": "2", "MessageBody": "x" }]);
    let refused = sqs.refused("SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    let message = "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.";
    let code = "AWS.SimpleQueueService.BatchRequestTooLong;Sender";
    assert_eq!(refused, (400, code.to_owned(), message.to_owned()));
    assert!(sqs.receive(&url).await.is_empty());
}

#[tokio::test]
async fn name_type_and_value_of_attributes_count_for_the_size() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({ "MaximumMessageSize": "1024" })).await;
    let send = |value_bytes: usize| {
        let attribute = json!({ "DataType": "String", "StringValue": "v".repeat(value_bytes) });
        let body = "x".repeat(1_024 - "name".len() - "String".len() - 14);
        json!({ "QueueUrl": url, "MessageBody": body, "MessageAttributes": { "name": attribute } })
    };
    sqs.ok("SendMessage", send(14)).await;
    let (status, code, message) = sqs.refused("SendMessage", send(15)).await;
    assert_eq!((status, code.as_str()), (400, "InvalidParameterValue;Sender"));
    let expected = "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.";
    assert_eq!(message, expected);
}

#[tokio::test]
async fn attributes_come_as_asked_for_with_the_digest_of_those_that_come() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let attributes = json!({ "Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi") });
    let send = json!({ "QueueUrl": url, "MessageBody": "msg", "MessageAttributes": attributes });
    sqs.ok("SendMessage", send).await;
    let all: Names = &["General", "Hello", "Help.Me"];
    // Names and digests as recorded on AWS.
    let cases: [(Names, Names, Option<&str>); 10] = [
        (&[], &[], None),
        (&["All"], all, Some("4c360f3fdafd970e05fae2f149d997f5")),
        (&["*"], all, Some("4c360f3fdafd970e05fae2f149d997f5")),
        (&[".*"], all, Some("4c360f3fdafd970e05fae2f149d997f5")),
        (&["Foo", "Help"], &[], None),
        (&["Hello", "General"], &["General", "Hello"], Some("fca026605781cb4126a1e9044df24232")),
        (&["Foo", "Hello"], &["Hello"], Some("a311262e065454b75da111d535b8dacd")),
        (&["Hel.*"], &["Hello", "Help.Me"], Some("83fee93c1bcd8b9a5a923ffacdc636c7")),
        (&["AWS."], &[], None),
        (&["..foo"], &[], None),
    ];
    for (wanted, expected, md5) in cases {
        let input = json!({ "QueueUrl": url, "VisibilityTimeout": 0, "MessageAttributeNames": wanted });
        let received = sqs.ok("ReceiveMessage", input).await;
        let message = &received["Messages"][0];
        let found = message["MessageAttributes"].as_object().into_iter().flat_map(|found| found.keys());
        assert_eq!(found.map(String::as_str).collect::<Vec<_>>(), expected, "{wanted:?}");
        assert_eq!(message["MD5OfMessageAttributes"].as_str(), md5, "{wanted:?}");
    }
}

#[tokio::test]
async fn a_message_without_any_of_the_system_attributes_asked_for_has_no_such_member() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send(&url, "x").await;
    for (names, expected) in [
        (json!([]), None),
        (json!(["AWSTraceHeader", "DeadLetterQueueSourceArn"]), None),
        (json!(["AWSTraceHeader", "SenderId"]), Some(json!({ "SenderId": "AKIDTEST" }))),
    ] {
        let input = json!({ "QueueUrl": url, "VisibilityTimeout": 0, "MessageSystemAttributeNames": names });
        let received = sqs.ok("ReceiveMessage", input).await;
        assert_eq!(received["Messages"][0].get("Attributes"), expected.as_ref(), "{names}");
    }
}
