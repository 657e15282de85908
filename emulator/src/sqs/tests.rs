//! The service as a caller sees it: JSON in, JSON out, on a clock that stands still until moved.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::Sqs;
use crate::clock::ManualClock;
use crate::iam::tests::form;
use crate::repeatable;
use crate::settings::Settings;
use crate::store::{Store, replay};
use crate::wire::{AwsRequest, AwsResponse, Service};

mod batches;
mod measured;
mod moves;
mod polls;

const START_MS: i64 = 1_800_000_000_000;

pub(crate) fn settings() -> (Settings, Arc<ManualClock>) {
    Settings::by_hand(START_MS)
}

fn request(headers: HeaderMap, path: &str, body: String) -> AwsRequest {
    AwsRequest {
        method: Method::POST,
        path: path.to_owned(),
        query: String::new(),
        headers,
        body: body.into(),
        service: "sqs".to_owned(),
        region: "us-east-1".to_owned(),
        access_key_id: "AKIDTEST".to_owned(),
    }
}

struct Fixture {
    sqs: Sqs,
    hand: Arc<ManualClock>,
}

impl Fixture {
    fn new() -> Self {
        let (settings, hand) = settings();
        Self { sqs: Sqs::start(settings), hand }
    }

    fn advance(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
    }

    /// Lets everything run that can run without the clock.
    async fn rest(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    async fn raw(&self, operation: &str, input: &Value) -> AwsResponse {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", format!("AmazonSQS.{operation}").parse().unwrap());
        self.sqs.handle(request(headers, "/", input.to_string())).await
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        let answer = self.raw(operation, &input).await;
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(answer.status, 200, "{operation}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Status, query code and message of a refusal.
    async fn refused(&self, operation: &str, input: Value) -> (u16, String, String) {
        let answer = self.raw(operation, &input).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let code = answer.headers["x-amzn-query-error"].to_str().unwrap().to_owned();
        (answer.status.as_u16(), code, body["message"].as_str().unwrap().to_owned())
    }

    async fn queue(&self, name: &str, attributes: Value) -> String {
        let made = self.ok("CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await;
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// A queue `work` that gives up to `dead` after `receives` receives of one second each.
    async fn pair(&self, receives: u32) -> (String, String) {
        let dead = self.queue("dead", json!({})).await;
        let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": receives }).to_string();
        let work = self.queue("work", json!({ "VisibilityTimeout": "1", "RedrivePolicy": policy })).await;
        (work, dead)
    }

    async fn send(&self, url: &str, body: &str) {
        self.ok("SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await;
    }

    async fn receive(&self, url: &str) -> Vec<Value> {
        let input = json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"] });
        self.ok("ReceiveMessage", input).await["Messages"].as_array().cloned().unwrap_or_default()
    }

    /// Denies one action to everybody.
    async fn deny(&self, url: &str, action: &str) {
        let policy = json!({ "Statement": [
            { "Effect": "Deny", "Principal": "*", "Action": format!("sqs:{action}"), "Resource": "*" },
        ] });
        let attributes = json!({ "Policy": policy.to_string() });
        self.ok("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await;
    }

    async fn deny_nothing(&self, url: &str) {
        let attributes = json!({ "Policy": "" });
        self.ok("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await;
    }

    async fn attribute(&self, url: &str, name: &str) -> Option<String> {
        let found = self.ok("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": [name] })).await;
        found["Attributes"][name].as_str().map(str::to_owned)
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:123456789012:{name}")
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    assert_eq!(url, "http://127.0.0.1:4566/123456789012/q");
    let sent = sqs
        .ok("SendMessage", json!({
            "QueueUrl": url, "MessageBody": "test",
            "MessageAttributes": { "Foo": { "DataType": "String", "StringValue": "Bar" } },
            "MessageSystemAttributes": { "AWSTraceHeader": { "DataType": "String", "StringValue": "Root=1" } },
        }))
        .await;
    assert_eq!(sent["MD5OfMessageBody"], "098f6bcd4621d373cade4e832627b4f6");
    assert_eq!(sent["MD5OfMessageAttributes"], "ae7155c6026991b6d54b11589678bf9c");
    assert!(sent["MD5OfMessageSystemAttributes"].is_string());
    let received = sqs.receive(&url).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["MessageId"], sent["MessageId"]);
    let expected = json!({
        "SenderId": "AKIDTEST", "SentTimestamp": START_MS.to_string(), "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": START_MS.to_string(), "AWSTraceHeader": "Root=1",
    });
    assert_eq!(received[0]["Attributes"], expected);
    assert_eq!(
        received[0]["MessageAttributes"],
        json!({ "Foo": { "DataType": "String", "StringValue": "Bar" } })
    );
    assert!(sqs.receive(&url).await.is_empty());
    let handle = &received[0]["ReceiptHandle"];
    for _ in 0..2 {
        sqs.ok("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await;
    }
    sqs.advance(60);
    assert!(sqs.receive(&url).await.is_empty());
}

#[tokio::test]
async fn the_receive_beyond_the_limit_moves_the_message_with_its_history() {
    let sqs = Fixture::new();
    let (work, dead) = sqs.pair(2).await;
    let sent = sqs.ok("SendMessage", json!({ "QueueUrl": work, "MessageBody": "poison" })).await;
    for count in ["1", "2"] {
        let received = sqs.receive(&work).await;
        assert_eq!(received[0]["Attributes"]["ApproximateReceiveCount"], count);
        sqs.advance(1);
    }
    assert!(sqs.receive(&dead).await.is_empty(), "it is moved by a receive, not by time");
    assert!(sqs.receive(&work).await.is_empty());
    let letter = sqs.receive(&dead).await.remove(0);
    assert_eq!(letter["MessageId"], sent["MessageId"]);
    assert_eq!(letter["Body"], "poison");
    let attributes = &letter["Attributes"];
    assert_eq!(attributes["ApproximateReceiveCount"], "3");
    assert_eq!(attributes["SentTimestamp"], START_MS.to_string());
    assert_eq!(attributes["DeadLetterQueueSourceArn"], arn("work"));
}

#[tokio::test]
async fn a_move_task_brings_dead_letters_back_as_new_messages() {
    let sqs = Fixture::new();
    let (work, dead) = sqs.pair(1).await;
    let sent = sqs.ok("SendMessage", json!({ "QueueUrl": work, "MessageBody": "again" })).await;
    sqs.receive(&work).await;
    sqs.advance(1);
    sqs.receive(&work).await;
    let (status, _, message) = sqs.refused("StartMessageMoveTask", json!({ "SourceArn": arn("work") })).await;
    assert_eq!((status, message.as_str()), (400, "Source queue must be configured as a Dead Letter Queue."));
    let (status, code, _) = sqs.refused("StartMessageMoveTask", json!({ "SourceArn": arn("none") })).await;
    assert_eq!((status, code.as_str()), (404, "ResourceNotFoundException;Sender"));
    sqs.ok("StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
    let status = loop {
        let listed = sqs.ok("ListMessageMoveTasks", json!({ "SourceArn": arn("dead") })).await;
        if listed["Results"][0]["Status"] != "RUNNING" {
            break listed["Results"][0].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(status["Status"], "COMPLETED");
    assert_eq!(status["ApproximateNumberOfMessagesMoved"], 1);
    assert!(sqs.receive(&dead).await.is_empty());
    let back = sqs.receive(&work).await.remove(0);
    assert_ne!(back["MessageId"], sent["MessageId"]);
    assert_eq!(back["Body"], "again");
    assert_eq!(back["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(back["Attributes"].get("DeadLetterQueueSourceArn").is_none());
}

#[tokio::test]
async fn a_long_poll_wakes_for_an_arrival_a_delay_and_a_changed_visibility() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({ "ReceiveMessageWaitTimeSeconds": "20" })).await;
    let wait = |sqs: &Arc<Fixture>| {
        let (sqs, url) = (Arc::clone(sqs), url.clone());
        tokio::spawn(async move { sqs.receive(&url).await })
    };
    let poll = wait(&sqs);
    tokio::task::yield_now().await;
    sqs.ok("SendMessage", json!({ "QueueUrl": url, "MessageBody": "now" })).await;
    let first = poll.await.unwrap();
    assert_eq!(first[0]["Body"], "now");

    let poll = wait(&sqs);
    tokio::task::yield_now().await;
    let change =
        json!({ "QueueUrl": url, "ReceiptHandle": first[0]["ReceiptHandle"], "VisibilityTimeout": 0 });
    sqs.ok("ChangeMessageVisibility", change).await;
    assert_eq!(poll.await.unwrap()[0]["Attributes"]["ApproximateReceiveCount"], "2");

    sqs.ok("SendMessage", json!({ "QueueUrl": url, "MessageBody": "later", "DelaySeconds": 5 })).await;
    let poll = wait(&sqs);
    tokio::task::yield_now().await;
    assert!(!poll.is_finished());
    sqs.advance(5);
    assert_eq!(poll.await.unwrap()[0]["Body"], "later");

    let poll = wait(&sqs);
    tokio::task::yield_now().await;
    sqs.advance(20);
    assert!(poll.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_poll_of_a_queue_that_is_deleted_meanwhile_ends() {
    let sqs = Arc::new(Fixture::new());
    let url = sqs.queue("q", json!({})).await;
    let poll = tokio::spawn({
        let (sqs, url) = (Arc::clone(&sqs), url.clone());
        async move { sqs.refused("ReceiveMessage", json!({ "QueueUrl": url, "WaitTimeSeconds": 20 })).await }
    });
    tokio::task::yield_now().await;
    sqs.ok("DeleteQueue", json!({ "QueueUrl": url })).await;
    assert_eq!(poll.await.unwrap().1, "AWS.SimpleQueueService.NonExistentQueue;Sender");
}

#[tokio::test]
async fn refusals_carry_the_codes_statuses_and_words_of_aws() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({ "MaximumMessageSize": "1024" })).await;
    let send = |body: &str| json!({ "QueueUrl": url, "MessageBody": body });
    let cases = [
        (
            "SendMessage",
            json!({ "QueueUrl": "http://h/123456789012/none", "MessageBody": "x" }),
            400,
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
            "The specified queue does not exist.",
        ),
        (
            "SendMessage",
            send(""),
            400,
            "MissingParameter;Sender",
            "The request must contain the parameter MessageBody.",
        ),
        (
            "SendMessage",
            send(&"x".repeat(1_025)),
            400,
            "InvalidParameterValue;Sender",
            "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
        ),
        (
            "ReceiveMessage",
            json!({ "QueueUrl": url, "MaxNumberOfMessages": 11 }),
            400,
            "InvalidParameterValue;Sender",
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            "ReceiveMessage",
            json!({ "QueueUrl": url, "WaitTimeSeconds": -1 }),
            400,
            "InvalidParameterValue;Sender",
            "Value -1 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            "DeleteMessage",
            json!({ "QueueUrl": url, "ReceiptHandle": "garbage" }),
            404,
            "ReceiptHandleIsInvalid;Sender",
            "The input receipt handle \"garbage\" is not a valid receipt handle.",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "q", "Attributes": { "DelaySeconds": "9" } }),
            400,
            "QueueAlreadyExists;Sender",
            "A queue already exists with the same name and a different value for attribute DelaySeconds",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "no spaces" }),
            400,
            "InvalidParameterValue;Sender",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "x.fifo", "Attributes": { "FifoQueue": "true" } }),
            400,
            "AWS.SimpleQueueService.UnsupportedOperation;Sender",
            "FIFO queues are not part of this emulator; create a standard queue.",
        ),
        (
            "FooBar",
            json!({}),
            400,
            "InvalidAction;Sender",
            "The action FooBar is not valid for this endpoint.",
        ),
        (
            "GetQueueAttributes",
            json!({ "QueueUrl": url, "AttributeNames": ["Foobar"] }),
            400,
            "InvalidAttributeName;Sender",
            "Unknown Attribute Foobar.",
        ),
        (
            "SendMessageBatch",
            json!({ "QueueUrl": url, "Entries": [{ "Id": "a b", "MessageBody": "x" }] }),
            400,
            "AWS.SimpleQueueService.InvalidBatchEntryId;Sender",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
        ),
        (
            "DeleteMessageBatch",
            json!({ "QueueUrl": url, "Entries": [] }),
            400,
            "AWS.SimpleQueueService.EmptyBatchRequest;Sender",
            "There should be at least one DeleteMessageBatchRequestEntry in the request.",
        ),
    ];
    for (operation, input, status, code, message) in cases {
        let refused = sqs.refused(operation, input).await;
        assert_eq!(refused, (status, code.to_owned(), message.to_owned()), "{operation}");
    }
    let twenty: Vec<Value> = (0..20).map(|n| json!({ "Id": n.to_string(), "MessageBody": "x" })).collect();
    let refused = sqs.refused("SendMessageBatch", json!({ "QueueUrl": url, "Entries": twenty })).await;
    assert_eq!(refused.2, "Maximum number of entries per request are 10. You have sent 20.");
    let answer = sqs.raw("SendMessage", &json!({ "QueueUrl": 7 })).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["__type"], "com.amazon.coral.service#SerializationException");
}

#[tokio::test]
async fn an_operation_is_named_with_its_service_and_its_members_are_an_object() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let delete = |target: &str, body: &Value| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", target.parse().unwrap());
        sqs.sqs.handle(request(headers, "/", body.to_string()))
    };
    for target in ["DeleteQueue", "Other.DeleteQueue"] {
        let answer = delete(target, &json!({ "QueueUrl": url })).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (404, &b"<UnknownOperationException/>\n"[..]));
    }
    let answer = delete("AmazonSQS.DeleteQueue", &json!([url])).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["__type"], "com.amazon.coral.service#SerializationException");
    assert_eq!(sqs.ok("GetQueueUrl", json!({ "QueueName": "q" })).await["QueueUrl"], url.as_str());
    // What an older emulator took and kept is made again.
    let kept = delete("DeleteQueue", &json!({ "QueueUrl": url }));
    let again = repeatable::scope_again(0, 1, START_MS, kept).await;
    assert_eq!(again.status, 200);
}

#[tokio::test]
async fn one_bad_entry_does_not_stop_its_batch() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({ "MaximumMessageSize": "1024" })).await;
    let entries =
        json!([{ "Id": "good", "MessageBody": "x" }, { "Id": "long", "MessageBody": "x".repeat(1_025) }]);
    let answer = sqs.ok("SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    assert_eq!(answer["Successful"][0]["Id"], "good");
    let failed = json!([{
        "Id": "long", "Code": "InvalidParameterValue", "SenderFault": true,
        "Message": "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.",
    }]);
    assert_eq!(answer["Failed"], failed);
    assert_eq!(sqs.receive(&url).await.len(), 1);
}

#[tokio::test]
async fn attributes_read_back_as_on_aws() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let all = sqs.ok("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] })).await;
    let seconds = (START_MS / 1_000).to_string();
    let expected = json!({
        "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0", "CreatedTimestamp": seconds, "DelaySeconds": "0",
        "LastModifiedTimestamp": seconds, "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
        "QueueArn": arn("q"), "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    });
    assert_eq!(all["Attributes"], expected);
    assert_eq!(sqs.ok("GetQueueAttributes", json!({ "QueueUrl": url })).await, json!({}));
    assert_eq!(sqs.ok("ListQueueTags", json!({ "QueueUrl": url })).await, json!({}));
    sqs.ok("TagQueue", json!({ "QueueUrl": url, "Tags": { "a": "1" } })).await;
    assert_eq!(sqs.ok("ListQueueTags", json!({ "QueueUrl": url })).await, json!({ "Tags": { "a": "1" } }));
}

#[tokio::test]
async fn a_redrive_policy_needs_a_target_that_exists_and_allows_it() {
    let sqs = Fixture::new();
    let policy = |name: &str| json!({ "deadLetterTargetArn": arn(name), "maxReceiveCount": 1 }).to_string();
    let work = sqs.queue("work", json!({})).await;
    let set = |value: String| json!({ "QueueUrl": work, "Attributes": { "RedrivePolicy": value } });
    let (_, code, message) = sqs.refused("SetQueueAttributes", set(policy("none"))).await;
    assert_eq!(code, "InvalidParameterValue;Sender");
    assert!(message.ends_with("Reason: Dead letter target does not exist."), "{message}");
    let deny = json!({ "RedriveAllowPolicy": r#"{"redrivePermission":"denyAll"}"# });
    sqs.queue("dead", deny).await;
    assert_eq!(sqs.refused("SetQueueAttributes", set(policy("dead"))).await.0, 400);
    sqs.queue("open", json!({})).await;
    sqs.ok("SetQueueAttributes", set(policy("open"))).await;
    let url = "http://127.0.0.1:4566/123456789012/open";
    let sources = sqs.ok("ListDeadLetterSourceQueues", json!({ "QueueUrl": url })).await;
    assert_eq!(sources, json!({ "queueUrls": [work] }));
}

#[tokio::test]
async fn a_dead_letter_queue_takes_from_the_sources_that_it_names_only() {
    let sqs = Fixture::new();
    let work = arn("work");
    let allow = format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":["{work}"]}}"#);
    let dead = sqs.queue("dead", json!({ "RedriveAllowPolicy": allow })).await;
    assert_eq!(sqs.attribute(&dead, "RedriveAllowPolicy").await.unwrap(), allow);
    let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": 1 }).to_string();
    sqs.queue("work", json!({ "RedrivePolicy": policy })).await;
    let other = json!({ "QueueName": "other", "Attributes": { "RedrivePolicy": policy } });
    let (status, code, message) = sqs.refused("CreateQueue", other).await;
    assert_eq!((status, code.as_str()), (400, "InvalidParameterValue;Sender"));
    let reason = "Reason: Queue does not have permission to use the dead letter target.";
    assert!(message.ends_with(reason), "{message}");

    let spaced = format!(r#"{{ "sourceQueueArns": [ "{work}" ], "redrivePermission": "byQueue" }}"#);
    assert_eq!(sqs.queue("dead", json!({ "RedriveAllowPolicy": spaced })).await, dead, "it means the same");
    let deny = json!({ "RedriveAllowPolicy": r#"{"redrivePermission":"denyAll"}"# });
    let refused = sqs.refused("CreateQueue", json!({ "QueueName": "dead", "Attributes": deny })).await;
    assert_eq!(refused.1, "QueueAlreadyExists;Sender");
}

#[tokio::test]
async fn names_of_deleted_queues_and_purges_wait_60_seconds() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.ok("SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    sqs.ok("PurgeQueue", json!({ "QueueUrl": url })).await;
    assert_eq!(sqs.attribute(&url, "ApproximateNumberOfMessages").await.unwrap(), "0");
    let (status, code, message) = sqs.refused("PurgeQueue", json!({ "QueueUrl": url })).await;
    assert_eq!((status, code.as_str()), (403, "AWS.SimpleQueueService.PurgeQueueInProgress;Sender"));
    assert_eq!(message, "Only one PurgeQueue operation on q is allowed every 60 seconds.");
    sqs.ok("DeleteQueue", json!({ "QueueUrl": url })).await;
    let (_, code, _) = sqs.refused("CreateQueue", json!({ "QueueName": "q" })).await;
    assert_eq!(code, "AWS.SimpleQueueService.QueueDeletedRecently;Sender");
    sqs.advance(60);
    sqs.queue("q", json!({})).await;
}

#[tokio::test]
async fn a_queue_policy_that_denies_is_obeyed_until_it_expires() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn("q"),
        "Condition": { "DateLessThan": { "aws:EpochTime": (START_MS / 1_000 + 10).to_string() } },
    }] })
    .to_string();
    sqs.ok("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": { "Policy": policy } })).await;
    assert_eq!(sqs.attribute(&url, "Policy").await.unwrap(), policy);
    let send = json!({ "QueueUrl": url, "MessageBody": "x" });
    let (status, code, _) = sqs.refused("SendMessage", send.clone()).await;
    assert_eq!((status, code.as_str()), (403, "AccessDenied;Sender"));
    assert!(sqs.receive(&url).await.is_empty());
    sqs.advance(10);
    sqs.ok("SendMessage", send).await;
}

#[tokio::test]
async fn a_denial_of_all_but_one_role_is_none_of_that_role() {
    let (settings, hand) = settings();
    let iam = crate::engines::iam(&settings);
    let trust = r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}}"#;
    let [worker, other] = ["worker", "other"].map(|role| {
        let arn = format!("arn:aws:iam::123456789012:role/{role}");
        settings.iam.issue(&settings.random, &arn, "f").access_key_id
    });
    for role in ["worker", "other"] {
        let form = form("iam", "", "CreateRole", &[("RoleName", role), ("AssumeRolePolicyDocument", trust)]);
        assert_eq!(iam.handle(form).await.status, 200);
    }
    let sqs = Fixture { sqs: Sqs::start(settings), hand };
    let url = sqs.queue("q", json!({})).await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": ["sqs:SendMessage", "sqs:ReceiveMessage"], "Resource": arn("q"),
        "Condition": { "ArnNotEquals": { "aws:PrincipalArn": "arn:aws:iam::123456789012:role/worker" } },
    }] });
    let attributes = json!({ "Policy": policy.to_string() });
    sqs.ok("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await;
    for (operation, input) in [
        ("SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })),
        ("ReceiveMessage", json!({ "QueueUrl": url, "WaitTimeSeconds": 1 })),
    ] {
        let called = async |key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-target", format!("AmazonSQS.{operation}").parse().unwrap());
            let call = request(headers, "/", input.to_string());
            let answer = sqs.sqs.handle(AwsRequest { access_key_id: key.to_owned(), ..call }).await;
            (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
        };
        assert_eq!(called(&worker).await.0, 200, "{operation}");
        for (key, who) in
            [(other.as_str(), "sts::123456789012:assumed-role/other/f"), ("AKID", "iam::123456789012:root")]
        {
            let (status, body) = called(key).await;
            assert_eq!(status, 403, "{operation}: {body}");
            assert!(body.contains(&format!("User: arn:aws:{who} is not authorized")), "{body}");
        }
    }
}

#[tokio::test]
async fn the_url_of_a_queue_is_not_told_where_its_policy_denies_it() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let name = json!({ "QueueName": "q" });
    assert_eq!(sqs.ok("GetQueueUrl", name.clone()).await, json!({ "QueueUrl": url }));
    sqs.deny(&url, "GetQueueUrl").await;
    let (status, code, _) = sqs.refused("GetQueueUrl", name.clone()).await;
    assert_eq!((status, code.as_str()), (403, "AccessDenied;Sender"));
    sqs.deny_nothing(&url).await;
    sqs.ok("GetQueueUrl", name).await;
}

#[tokio::test]
async fn a_policy_beyond_the_quotas_is_refused_wherever_it_is_set() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let actions = |count: usize| {
        let actions = vec!["sqs:SendMessage"; count];
        let statement = json!({ "Effect": "Allow", "Principal": "*", "Action": actions, "Resource": "*" });
        json!({ "Policy": json!({ "Statement": [statement] }).to_string() })
    };
    let message = "8 actions were found in a statement from the submitted policy, max allowed is 7";
    let over = (403, "OverLimit;Sender".to_owned(), message.to_owned());
    let set = |count: usize| json!({ "QueueUrl": url, "Attributes": actions(count) });
    assert_eq!(sqs.refused("SetQueueAttributes", set(8)).await, over);
    assert_eq!(sqs.attribute(&url, "Policy").await, None);
    sqs.ok("SetQueueAttributes", set(7)).await;
    let create = json!({ "QueueName": "other", "Attributes": actions(8) });
    assert_eq!(sqs.refused("CreateQueue", create).await, over);
    let add = json!({
        "QueueUrl": url, "Label": "l", "AWSAccountIds": ["123456789012"], "Actions": ["SendMessageBatch"],
    });
    let message = "Value SQS:SendMessageBatch for parameter ActionName is invalid. Reason: Please refer to \
                   the appropriate WSDL for a list of valid actions.";
    let invalid = (400, "InvalidParameterValue;Sender".to_owned(), message.to_owned());
    assert_eq!(sqs.refused("AddPermission", add).await, invalid);
}

#[tokio::test]
async fn a_queue_is_named_by_its_url_or_by_its_bare_name() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    sqs.send("q", "x").await;
    assert_eq!(sqs.receive(&url).await.len(), 1);
    let send = |name: &str| json!({ "QueueUrl": name, "MessageBody": "x" });
    for (name, expected) in [
        ("none", "AWS.SimpleQueueService.NonExistentQueue;Sender"),
        ("http://127.0.0.1:4566/999999999999/q", "AWS.SimpleQueueService.NonExistentQueue;Sender"),
        ("", "InvalidAddress;Sender"),
    ] {
        let (status, code, _) = sqs.refused("SendMessage", send(name)).await;
        assert_eq!((status, code.as_str()), (400, expected), "{name}");
    }
}

#[tokio::test]
async fn retention_drops_old_messages() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({ "MessageRetentionPeriod": "60" })).await;
    sqs.ok("SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    sqs.advance(60);
    assert_eq!(sqs.attribute(&url, "ApproximateNumberOfMessages").await.unwrap(), "0");
    assert!(sqs.receive(&url).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_kept_does_not_happen() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, hand) = settings();
    let settings = Settings { store: Store::open(directory.path()).unwrap(), ..settings };
    let sqs = Fixture { sqs: Sqs::start(settings.clone()), hand };
    let url = sqs.queue("q", json!({})).await;
    settings.store.messages().unwrap().fail("no space left");
    for _ in 0..10 {
        let send = json!({ "QueueUrl": url, "MessageBody": "x" });
        assert_eq!(sqs.refused("SendMessage", send).await.0, 500);
    }
    assert_eq!(sqs.attribute(&url, "ApproximateNumberOfMessages").await.unwrap(), "0");

    settings.store.requests().unwrap().fail("no space left");
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", "AmazonSQS.CreateQueue".parse().unwrap());
    let create = request(headers, "/", json!({ "QueueName": "r" }).to_string());
    let service: Arc<dyn Service> = Arc::new(sqs.sqs.clone());
    assert_eq!(replay::call(&settings, &service, create).await.status, 500);
    let (status, code, _) = sqs.refused("GetQueueUrl", json!({ "QueueName": "r" })).await;
    assert_eq!((status, code.as_str()), (400, "AWS.SimpleQueueService.NonExistentQueue;Sender"));
}

#[tokio::test]
async fn lists_are_paged_only_where_a_page_size_is_given() {
    let sqs = Fixture::new();
    assert_eq!(sqs.ok("ListQueues", json!({})).await, json!({}));
    for n in 0..3 {
        sqs.queue(&format!("a{n}"), json!({})).await;
    }
    sqs.queue("b", json!({})).await;
    let first = sqs.ok("ListQueues", json!({ "QueueNamePrefix": "a", "MaxResults": 2 })).await;
    assert_eq!(first["QueueUrls"].as_array().unwrap().len(), 2);
    let next = json!({ "QueueNamePrefix": "a", "MaxResults": 2, "NextToken": first["NextToken"] });
    let rest = sqs.ok("ListQueues", next).await;
    assert_eq!(rest, json!({ "QueueUrls": ["http://127.0.0.1:4566/123456789012/a2"] }));
}

#[tokio::test]
async fn the_query_protocol_answers_in_xml_and_names_a_missing_queue_in_its_own_words() {
    let sqs = Fixture::new();
    let url = sqs.queue("q", json!({})).await;
    let ask = async |path: &str, body: &str| {
        let answer = sqs.sqs.handle(request(HeaderMap::new(), path, body.to_owned())).await;
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    };
    let body = format!("Action=SendMessage&Version=2012-11-05&QueueUrl={url}&MessageBody=a%3Cb");
    let (status, xml) = ask("/", &body).await;
    assert_eq!(status, 200, "{xml}");
    assert!(xml.contains("<SendMessageResult><M"), "{xml}");
    assert!(xml.contains("<MD5OfMessageBody>1a382af93ed4b8a29ebd8e859a0168d7</MD5OfMessageBody>"), "{xml}");
    let (_, xml) =
        ask("/123456789012/q", "Action=ReceiveMessage&MaxNumberOfMessages=10&AttributeName.1=All").await;
    assert!(xml.contains("<Body>a&lt;b</Body>") && xml.contains("<Name>SenderId</Name>"), "{xml}");
    let (status, xml) = ask("/123456789012/none", "Action=ReceiveMessage").await;
    assert_eq!(status, 400);
    assert!(xml.contains("<Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist for this wsdl version.</Message><Detail/>"), "{xml}");
    assert_eq!(ask("/123456789012/q", "").await, (404, "<UnknownOperationException/>\n".to_owned()));
    for (action, parameters) in [("CreateQueue", "&QueueName=other"), ("ListQueues", "")] {
        let body = format!("Action={action}{parameters}");
        let (status, xml) = ask("/123456789012/q", &body).await;
        let message = format!("The action {action} is not valid for this endpoint.");
        assert_eq!(status, 400);
        assert!(xml.contains(&format!("<Code>InvalidAction</Code><Message>{message}</Message>")), "{xml}");
        assert_eq!(ask("/", &body).await.0, 200);
    }
}
