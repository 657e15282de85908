//! Mappings over a real queue and a function that does what the test says, on a clock that is moved by hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::EventSourceMappings;
use crate::clock::ManualClock;
use crate::invoke::{Invoke, InvokeOutcome, InvokeRequest};
use crate::repeatable;
use crate::sqs::Sqs;
use crate::sqs::queue::Counts;
use crate::sqs::tests::settings;
use crate::wire::{AwsRequest, BoxFuture, Service as _};

mod gathering;
mod places;
mod policies;
mod updates;

const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:123456789012:work";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:worker";
/// Turns of the scheduler after which what has not happened will not.
const TURNS_MAX: usize = 20_000;

/// Answers what it was told to, `{}` in the end, in the name of `worker` and `other` of 3 seconds and `slow` of 7.
struct Function {
    outcomes: Mutex<VecDeque<InvokeOutcome>>,
    events: Mutex<Vec<Value>>,
    /// In whose name each event came.
    invoked: Mutex<Vec<String>>,
    running: AtomicUsize,
    running_max: AtomicUsize,
    /// An invocation takes one permit and keeps it.
    gate: Semaphore,
    is_deleted: AtomicBool,
}

impl Function {
    fn new(outcomes: impl IntoIterator<Item = InvokeOutcome>) -> Arc<Self> {
        Arc::new(Self {
            outcomes: Mutex::new(outcomes.into_iter().collect()),
            events: Mutex::default(),
            invoked: Mutex::default(),
            running: AtomicUsize::new(0),
            running_max: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            is_deleted: AtomicBool::new(false),
        })
    }

    fn calls(&self) -> usize {
        self.events.lock().unwrap().len()
    }
}

impl Invoke for Function {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, InvokeOutcome> {
        Box::pin(async move {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.running_max.fetch_max(running, Ordering::SeqCst);
            self.events.lock().unwrap().push(serde_json::from_slice(&request.payload).unwrap());
            self.invoked.lock().unwrap().push(request.function);
            self.gate.acquire().await.unwrap().forget();
            self.running.fetch_sub(1, Ordering::SeqCst);
            let next = self.outcomes.lock().unwrap().pop_front();
            next.unwrap_or_else(|| success("{}"))
        })
    }

    fn timeout_seconds(&self, function: &str) -> Option<u32> {
        match function.rsplit(':').next() {
            _ if self.is_deleted.load(Ordering::SeqCst) => None,
            Some("worker" | "other") => Some(3),
            Some("slow") => Some(7),
            _ => None,
        }
    }
}

fn success(answer: &str) -> InvokeOutcome {
    InvokeOutcome::Success(Bytes::from(answer.to_owned()))
}

fn failure() -> InvokeOutcome {
    InvokeOutcome::FunctionError { payload: Bytes::new(), timed_out: false }
}

struct Fixture {
    sqs: Sqs,
    esm: EventSourceMappings,
    function: Arc<Function>,
    hand: Arc<ManualClock>,
}

impl Fixture {
    /// A queue `work` with a visibility timeout of 6 seconds and a mapping that is enabled.
    async fn start(function: Arc<Function>, settings_of_mapping: Value) -> (Self, String) {
        let fixture = Self::new(function).await;
        let created = fixture.create(settings_of_mapping);
        assert_eq!(created.0, 202, "{}", created.1);
        fixture.hand.advance(Duration::from_millis(200));
        let uuid = created.1["UUID"].as_str().unwrap().to_owned();
        (fixture, uuid)
    }

    async fn new(function: Arc<Function>) -> Self {
        let fixture = Self::not_begun(function).await;
        fixture.esm.begin();
        fixture
    }

    /// As while a data directory is made again.
    async fn not_begun(function: Arc<Function>) -> Self {
        let (settings, hand) = settings();
        let sqs = Sqs::start(settings.clone());
        let queues = Arc::clone(sqs.account());
        let esm = EventSourceMappings::new(settings, queues, Arc::clone(&function) as Arc<dyn Invoke>);
        let fixture = Self { sqs, esm, function, hand };
        fixture
            .call("CreateQueue", json!({ "QueueName": "work", "Attributes": { "VisibilityTimeout": "6" } }))
            .await;
        fixture
    }

    fn request(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let answer = self.esm.handle(&AwsRequest {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            service: "lambda".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: String::new(),
        });
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    fn create(&self, extra: Value) -> (u16, Value) {
        let mut body = json!({ "EventSourceArn": QUEUE_ARN, "FunctionName": "worker" });
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        self.request(Method::POST, "/2015-03-31/event-source-mappings/", &body)
    }

    fn mapping(&self, method: Method, uuid: &str, body: Value) -> (u16, Value) {
        self.request(method, &format!("/2015-03-31/event-source-mappings/{uuid}"), &body)
    }

    async fn call(&self, operation: &str, mut input: Value) -> Value {
        if operation != "CreateQueue" {
            input["QueueUrl"] = Value::from("http://127.0.0.1:4566/123456789012/work");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", format!("AmazonSQS.{operation}").parse().unwrap());
        let request = AwsRequest {
            method: Method::POST,
            path: "/".to_owned(),
            query: String::new(),
            headers,
            body: input.to_string().into(),
            service: "sqs".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: "AKID".to_owned(),
        };
        let answer = self.sqs.handle(request).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn send(&self, body: &str) -> String {
        let sent = self.call("SendMessage", json!({ "MessageBody": body })).await;
        sent["MessageId"].as_str().unwrap().to_owned()
    }

    /// Ten messages per request, in one arrival each.
    async fn send_many(&self, messages: usize) {
        for first in (0..messages).step_by(10) {
            let ids = first..messages.min(first + 10);
            let entries: Vec<Value> =
                ids.map(|n| json!({ "Id": n.to_string(), "MessageBody": "x" })).collect();
            self.call("SendMessageBatch", json!({ "Entries": entries })).await;
        }
    }

    fn counts(&self) -> Counts {
        let account = self.sqs.account();
        account.by_name("work").unwrap().counts(account.now_ms())
    }

    fn left(&self) -> usize {
        let counts = self.counts();
        counts.visible + counts.in_flight + counts.delayed
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if holds(self) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never came: {what}");
    }

    /// Lets everything run that can run without the clock.
    async fn rest(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    fn advance_ms(&self, ms: u64) {
        self.hand.advance(Duration::from_millis(ms));
    }
}

#[tokio::test]
async fn a_message_reaches_the_function_as_recorded_on_aws_and_is_deleted() {
    let (fixture, _) = Fixture::start(Function::new([]), json!({})).await;
    let sent = fixture
        .call("SendMessage", json!({
            "MessageBody": "{\"a\":\"é\"}",
            "MessageAttributes": {
                "b": { "DataType": "Binary", "BinaryValue": "AQI=" }, "n": { "DataType": "Number", "StringValue": "7" },
            },
            "MessageSystemAttributes": { "AWSTraceHeader": { "DataType": "String", "StringValue": "Root=1" } },
        }))
        .await;
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    assert_eq!(*fixture.function.invoked.lock().unwrap(), [FUNCTION_ARN]);
    let event = fixture.function.events.lock().unwrap()[0].clone();
    let handle = event["Records"][0]["receiptHandle"].clone();
    assert!(handle.is_string());
    let now = fixture.sqs.account().now_ms().to_string();
    let expected = json!({ "Records": [{
        "messageId": sent["MessageId"], "receiptHandle": handle, "body": "{\"a\":\"é\"}",
        "attributes": {
            "ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=1", "SentTimestamp": now, "SenderId": "AKID",
            "ApproximateFirstReceiveTimestamp": now,
        },
        "messageAttributes": {
            "b": { "binaryValue": "AQI=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary" },
            "n": { "stringValue": "7", "stringListValues": [], "binaryListValues": [], "dataType": "Number" },
        },
        "md5OfMessageAttributes": sent["MD5OfMessageAttributes"], "md5OfBody": sent["MD5OfMessageBody"],
        "eventSource": "aws:sqs", "eventSourceARN": QUEUE_ARN, "awsRegion": "us-east-1",
    }] });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn nothing_is_received_before_the_service_begins() {
    let fixture = Fixture::not_begun(Function::new([])).await;
    let uuid = fixture.create(json!({})).1["UUID"].as_str().unwrap().to_owned();
    fixture.send("kept").await;
    fixture.advance_ms(200);
    fixture.rest().await;
    // Made again like the first settings: the pollers of neither may receive.
    assert_eq!(fixture.mapping(Method::PUT, &uuid, json!({ "BatchSize": 5 })).0, 202);
    fixture.advance_ms(200);
    fixture.rest().await;
    assert_eq!((fixture.function.calls(), fixture.counts().visible), (0, 1));
    fixture.esm.begin();
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    let event = fixture.function.events.lock().unwrap()[0].clone();
    assert_eq!(event["Records"][0]["attributes"]["ApproximateReceiveCount"], "1");
}

#[tokio::test]
async fn a_mapping_that_never_began_stops() {
    let fixture = Fixture::not_begun(Function::new([])).await;
    fixture.create(json!({}));
    fixture.send("kept").await;
    fixture.esm.shutdown().await;
    fixture.esm.begin();
    fixture.advance_ms(200);
    fixture.rest().await;
    assert_eq!((fixture.function.calls(), fixture.counts().visible), (0, 1));
}

#[tokio::test]
async fn a_failed_batch_comes_back_by_its_visibility_timeout_only() {
    let (fixture, _) = Fixture::start(Function::new([failure()]), json!({})).await;
    fixture.send("x").await;
    fixture.until("the first call", |fixture| fixture.function.calls() == 1).await;
    fixture.rest().await;
    fixture.advance_ms(5_999);
    fixture.rest().await;
    assert_eq!((fixture.function.calls(), fixture.counts().in_flight), (1, 1));
    fixture.advance_ms(1);
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    let second = fixture.function.events.lock().unwrap()[1].clone();
    assert_eq!(second["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
}

#[tokio::test]
async fn reported_failures_stay_and_the_rest_is_deleted() {
    let function = Function::new([]);
    let (fixture, _) = Fixture::start(
        Arc::clone(&function),
        json!({ "Enabled": false, "FunctionResponseTypes": ["ReportBatchItemFailures"] }),
    )
    .await;
    let bad = fixture.send("bad").await;
    fixture.send("good").await;
    let report = json!({ "batchItemFailures": [{ "itemIdentifier": bad }] }).to_string();
    function.outcomes.lock().unwrap().push_back(success(&report));
    let uuid = fixture.request(Method::GET, "/2015-03-31/event-source-mappings", &json!({})).1;
    let uuid = uuid["EventSourceMappings"][0]["UUID"].as_str().unwrap().to_owned();
    assert_eq!(fixture.mapping(Method::PUT, &uuid, json!({ "Enabled": true })).1["State"], "Enabling");
    fixture.advance_ms(200);
    fixture.until("one left", |fixture| fixture.left() == 1).await;
    assert_eq!(fixture.counts().in_flight, 1);
}

#[tokio::test]
async fn a_malformed_report_keeps_the_whole_batch_and_without_the_flag_it_is_ignored() {
    let malformed = r#"{"batchItemFailures":[{"foo":"x"}]}"#;
    let report = json!({ "FunctionResponseTypes": ["ReportBatchItemFailures"] });
    let (fixture, _) = Fixture::start(Function::new([success(malformed)]), report).await;
    fixture.send("x").await;
    fixture.until("the call", |fixture| fixture.function.calls() == 1).await;
    fixture.rest().await;
    assert_eq!(fixture.counts().in_flight, 1);

    let (fixture, _) = Fixture::start(Function::new([success(malformed)]), json!({})).await;
    fixture.send("x").await;
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
}

#[tokio::test]
async fn a_throttled_batch_is_tried_again_while_it_is_invisible_and_then_dropped() {
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    let throttles = (0..1_000).map(|_| InvokeOutcome::Throttled { reason });
    let (fixture, _) = Fixture::start(Function::new(throttles), json!({})).await;
    fixture.send("x").await;
    fixture.until("the first call", |fixture| fixture.function.calls() == 1).await;
    for _ in 0..59 {
        fixture.advance_ms(100);
        fixture.rest().await;
    }
    let calls = fixture.function.calls();
    assert!((6..=20).contains(&calls), "backs off between {calls} tries");
    let receives = |fixture: &Fixture| {
        let events = fixture.function.events.lock().unwrap();
        let mut counts =
            events.iter().map(|event| event["Records"][0]["attributes"]["ApproximateReceiveCount"].clone());
        counts.next_back().unwrap_or_default()
    };
    assert_eq!(receives(&fixture), "1", "the same batch all the time");
    for _ in 0..20 {
        fixture.advance_ms(100);
        fixture.rest().await;
    }
    assert_eq!(receives(&fixture), "2", "a receive is spent");
    fixture.function.outcomes.lock().unwrap().clear();
    for _ in 0..20 {
        fixture.advance_ms(100);
        fixture.rest().await;
    }
    assert_eq!(fixture.left(), 0);
}

#[tokio::test]
async fn a_window_gathers_a_batch_larger_than_one_receive() {
    let settings = json!({ "BatchSize": 25, "MaximumBatchingWindowInSeconds": 5, "ScalingConfig": { "MaximumConcurrency": 2 } });
    let (fixture, _) = Fixture::start(Function::new([]), settings).await;
    fixture.rest().await;
    fixture.send_many(50).await;
    fixture.until("two full batches", |fixture| fixture.left() == 0).await;
    let sizes: Vec<usize> = fixture
        .function
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| event["Records"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 50);
    assert!(sizes.iter().all(|size| *size <= 25), "{sizes:?}");

    fixture.send("alone").await;
    fixture.rest().await;
    let before = fixture.function.calls();
    fixture.advance_ms(4_999);
    fixture.rest().await;
    assert_eq!(fixture.function.calls(), before, "the window is not over");
    fixture.advance_ms(1);
    fixture.until("the end of the window", |fixture| fixture.left() == 0).await;
}

#[tokio::test]
async fn concurrency_starts_at_five_grows_with_a_backlog_and_keeps_to_the_mapping_s_limit() {
    for (settings, at_first, later) in [
        (json!({ "BatchSize": 1 }), 5, 10),
        (json!({ "BatchSize": 1, "ScalingConfig": { "MaximumConcurrency": 3 } }), 3, 3),
    ] {
        let mut function = Function::new([]);
        Arc::get_mut(&mut function).unwrap().gate = Semaphore::new(0);
        let (fixture, _) = Fixture::start(function, settings).await;
        fixture.send_many(40).await;
        fixture.rest().await;
        assert_eq!(fixture.function.running_max.load(Ordering::SeqCst), at_first);
        fixture.advance_ms(1_000);
        fixture.rest().await;
        assert_eq!(fixture.function.running_max.load(Ordering::SeqCst), later);
    }
}

#[tokio::test]
async fn what_matches_no_filter_is_deleted_unseen() {
    let criteria = json!({ "FilterCriteria": { "Filters": [{ "Pattern": r#"{"body":{"keep":[true]}}"# }] } });
    let (fixture, _) = Fixture::start(Function::new([]), criteria).await;
    fixture.send(r#"{"keep":false}"#).await;
    fixture.send("plain").await;
    fixture.send(r#"{"keep":true}"#).await;
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    let events = fixture.function.events.lock().unwrap();
    let bodies: Vec<&Value> = events
        .iter()
        .flat_map(|event| event["Records"].as_array().unwrap())
        .map(|one| &one["body"])
        .collect();
    assert_eq!(bodies, [r#"{"keep":true}"#]);
}

#[tokio::test]
async fn a_disabled_mapping_receives_nothing_and_its_invocation_under_way_still_counts() {
    let mut function = Function::new([]);
    Arc::get_mut(&mut function).unwrap().gate = Semaphore::new(0);
    let (fixture, uuid) = Fixture::start(function, json!({ "BatchSize": 1 })).await;
    fixture.send("under way").await;
    fixture.until("the call", |fixture| fixture.function.calls() == 1).await;
    let (status, body) = fixture.mapping(Method::PUT, &uuid, json!({ "Enabled": false }));
    assert_eq!((status, &body["State"]), (202, &json!("Disabling")));
    fixture.send("later").await;
    fixture.function.gate.add_permits(1);
    fixture.until("its deletion", |fixture| fixture.left() == 1).await;
    fixture.advance_ms(200);
    fixture.rest().await;
    assert_eq!(fixture.mapping(Method::GET, &uuid, json!({})).1["State"], "Disabled");
    assert_eq!((fixture.function.calls(), fixture.counts().visible), (1, 1));
    fixture.function.gate.add_permits(1);
    fixture.mapping(Method::PUT, &uuid, json!({ "Enabled": true }));
    fixture.advance_ms(200);
    fixture.until("the other", |fixture| fixture.left() == 0).await;
    fixture.esm.shutdown().await;
}

#[tokio::test]
async fn a_mapping_without_a_function_leaves_its_queue_alone_until_there_is_one_again() {
    let (fixture, _) = Fixture::start(Function::new([]), json!({})).await;
    // Its receives wait already.
    fixture.rest().await;
    fixture.function.is_deleted.store(true, Ordering::SeqCst);
    fixture.advance_ms(1_000);
    fixture.rest().await;
    fixture.send("kept").await;
    for _ in 0..30 {
        fixture.advance_ms(1_000);
        fixture.rest().await;
    }
    let counts = fixture.counts();
    assert_eq!((fixture.function.calls(), counts.visible, counts.in_flight), (0, 1, 0));
    fixture.function.is_deleted.store(false, Ordering::SeqCst);
    fixture.advance_ms(1_000);
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    let event = fixture.function.events.lock().unwrap()[0].clone();
    assert_eq!(event["Records"][0]["attributes"]["ApproximateReceiveCount"], "1", "no receive is spent");
}

#[tokio::test]
async fn a_function_is_named_as_in_all_calls_of_lambda() {
    let fixture = Fixture::new(Function::new([])).await;
    let create = || fixture.create(json!({ "FunctionName": "my-function:worker", "Enabled": false }));
    let arn = |created: &Value| created["FunctionArn"].as_str().unwrap().to_owned();
    let (status, created) = create();
    assert_eq!(status, 202, "{created}");
    assert_eq!(arn(&created), "arn:aws:lambda:us-east-1:123456789012:function:my-function:worker");
    let older = super::control::RULES_OF_NAMES - 1;
    let now_ms = fixture.sqs.account().now_ms();
    let again = repeatable::scope_again(older, 7, now_ms, async { create() }).await;
    assert_eq!(arn(&again.1), FUNCTION_ARN, "as an older emulator read it");
    assert_eq!(fixture.create(json!({ "FunctionName": "a:b:c:worker" })).0, 400);
}

#[tokio::test]
async fn the_mappings_of_a_function_that_is_not_there_are_listed() {
    let (fixture, _) = Fixture::start(Function::new([]), json!({})).await;
    fixture.function.is_deleted.store(true, Ordering::SeqCst);
    for (name, count) in [("worker", 1), (FUNCTION_ARN, 1), ("nobody", 0)] {
        let path = format!("/2015-03-31/event-source-mappings?FunctionName={name}");
        let (status, listed) = fixture.request(Method::GET, &path, &json!({}));
        assert_eq!((status, listed["EventSourceMappings"].as_array().unwrap().len()), (200, count), "{name}");
    }
}

#[tokio::test]
async fn a_mapping_goes_through_its_states() {
    let (fixture, uuid) = Fixture::start(Function::new([]), json!({ "Tags": { "a": "1" } })).await;
    let (status, shown) = fixture.mapping(Method::GET, &uuid, json!({}));
    assert_eq!(status, 200);
    let expected = json!({
        "UUID": uuid, "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": QUEUE_ARN,
        "EventSourceMappingArn": format!("arn:aws:lambda:us-east-1:123456789012:event-source-mapping:{uuid}"),
        "FunctionArn": FUNCTION_ARN, "FunctionResponseTypes": [], "LastModified": shown["LastModified"],
        "State": "Enabled", "StateTransitionReason": "USER_INITIATED",
    });
    assert_eq!(shown, expected);
    let tags = format!(
        "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Aevent-source-mapping%3A{uuid}"
    );
    assert_eq!(fixture.request(Method::GET, &tags, &json!({})).1, json!({ "Tags": { "a": "1" } }));
    let updated = fixture.mapping(
        Method::PUT,
        &uuid,
        json!({ "BatchSize": 5, "ScalingConfig": { "MaximumConcurrency": 4 } }),
    );
    assert_eq!(
        (&updated.1["State"], &updated.1["ScalingConfig"]["MaximumConcurrency"]),
        (&json!("Updating"), &json!(4))
    );
    assert_eq!(fixture.mapping(Method::PUT, &uuid, json!({ "BatchSize": 6 })).0, 400, "still updating");
    fixture.advance_ms(200);
    let removed = fixture.mapping(Method::PUT, &uuid, json!({ "ScalingConfig": {} }));
    assert!(removed.1.get("ScalingConfig").is_none());
    fixture.advance_ms(200);
    let (status, deleting) = fixture.mapping(Method::DELETE, &uuid, json!({}));
    assert_eq!((status, &deleting["State"]), (202, &json!("Deleting")));
    assert_eq!(fixture.mapping(Method::GET, &uuid, json!({})).0, 200);
    fixture.advance_ms(200);
    let gone = fixture.mapping(Method::GET, &uuid, json!({}));
    assert_eq!(
        gone,
        (404, json!({ "Message": "The resource you requested does not exist.", "Type": "User" }))
    );
}

#[tokio::test]
async fn bad_settings_are_refused_in_the_words_of_aws() {
    let fixture = Fixture::new(Function::new([])).await;
    let cases = [
        (
            json!({ "EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:none" }),
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.",
        ),
        (
            json!({ "EventSourceArn": "arn:aws:kinesis:us-east-1:123456789012:stream/s" }),
            "The event source arn:aws:kinesis:us-east-1:123456789012:stream/s is not part of this emulator.",
        ),
        (json!({ "EventSourceArn": "tasks" }), "Unrecognized event source."),
        (json!({ "FunctionName": "none" }), "Function does not exist"),
        (
            json!({ "BatchSize": 11 }),
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        (
            json!({ "BatchSize": 0 }),
            "1 validation error detected: Value '0' at 'batchSize' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            json!({ "ScalingConfig": { "MaximumConcurrency": 1 } }),
            "1 validation error detected: Value '1' at 'scalingConfig.maximumConcurrency' failed to satisfy constraint: Member must have value greater than or equal to 2",
        ),
        (
            json!({ "FilterCriteria": { "Filters": [{ "Pattern": "{\"body\":\"x\"}" }] } }),
            "Invalid filter pattern definition.",
        ),
        (
            json!({ "ProvisionedPollerConfig": { "MinimumPollers": 2 } }),
            "ProvisionedPollerConfig is not part of this emulator for Amazon SQS event sources.",
        ),
    ];
    for (extra, message) in cases {
        let (status, body) = fixture.create(extra);
        assert_eq!((status, &body["message"]), (400, &json!(message)));
    }
    fixture.call("SetQueueAttributes", json!({ "Attributes": { "VisibilityTimeout": "2" } })).await;
    let (_, body) = fixture.create(json!({}));
    assert_eq!(
        body["message"],
        "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"
    );
    fixture.call("SetQueueAttributes", json!({ "Attributes": { "VisibilityTimeout": "3" } })).await;
    let uuid = fixture.create(json!({})).1["UUID"].as_str().unwrap().to_owned();
    let (status, body) = fixture.create(json!({}));
    let message = format!(
        "An event source mapping with SQS arn (\" {QUEUE_ARN} \") and function (\" worker \") already exists. Please update or delete the existing mapping with UUID {uuid}"
    );
    assert_eq!((status, &body["message"]), (409, &json!(message)));
}

#[tokio::test]
async fn a_payload_is_cut_at_six_megabytes() {
    let settings = json!({ "BatchSize": 100, "MaximumBatchingWindowInSeconds": 1, "ScalingConfig": { "MaximumConcurrency": 2 } });
    let (fixture, _) = Fixture::start(Function::new([]), settings).await;
    let body = "x".repeat(1_000_000);
    for _ in 0..14 {
        fixture.send(&body).await;
    }
    for _ in 0..3 {
        fixture.rest().await;
        fixture.advance_ms(1_000);
    }
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    let events = fixture.function.events.lock().unwrap();
    assert!(events.len() >= 3);
    assert!(events.iter().all(|event| event["Records"].as_array().unwrap().len() <= 6));
}
