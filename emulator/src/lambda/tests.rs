//! Who is admitted and who is throttled, what becomes of events, and which calls are accepted. No function runs here.

use std::io::{Cursor, Write as _};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::control::UPLOAD_MAX_BYTES;
use super::invocation::{Admitted, Request};
use super::invoke_api::ASYNC_MAX_BYTES;
use super::names::FunctionRef;
use super::store::Kind;
use super::*;
use crate::clock::ManualClock;
use crate::iam::tests::form;
use crate::metrics::{MetricId, StatisticSet, Unit};
use crate::sqs::tests::settings;

mod aliases;

/// An account of so many concurrent executions, with the functions `f` and `g`.
async fn account(concurrency: u32) -> Lambda {
    account_by_hand(concurrency).await.0
}

/// With the hand of its clock.
async fn account_by_hand(concurrency: u32) -> (Lambda, Arc<ManualClock>) {
    let (settings, hand) = settings();
    let options = Options { account_concurrency: concurrency, unreserved_minimum: 1, ..Options::default() };
    let lambda = Lambda::new(settings, options).unwrap();
    for name in ["f", "g"] {
        call(&lambda, Method::POST, "/2015-03-31/functions", &creation(name)).await;
    }
    hand.advance(Duration::from_secs(1));
    (lambda, hand)
}

fn creation(name: &str) -> Value {
    let mut package = ZipWriter::new(Cursor::new(Vec::new()));
    package.start_file("bootstrap", SimpleFileOptions::default()).unwrap();
    let package = STANDARD.encode(package.finish().unwrap().into_inner());
    json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap",
        "Role": "arn:aws:iam::123456789012:role/f", "Code": {"ZipFile": package},
    })
}

async fn call(lambda: &Lambda, method: Method, path: &str, input: &Value) {
    let (status, answer) = ask(lambda, method, path, input).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
}

async fn ask(lambda: &Lambda, method: Method, path: &str, input: &Value) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = AwsRequest::unsigned("lambda", method, path, &input.to_string());
    let answer = lambda.handle(AwsRequest { query: query.to_owned(), ..request }).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// As a data directory has it of an emulator that knew of no rules.
async fn ask_again(lambda: &Lambda, method: Method, path: &str, input: &Value) -> (u16, Value) {
    repeatable::scope_again(0, 7, lambda.now_ms(), ask(lambda, method, path, input)).await
}

/// What runs, or the reason why not.
fn admit(lambda: &Lambda, name: &str) -> Result<Admitted, Option<&'static str>> {
    admit_as(lambda, name, Kind::Synchronous)
}

fn admit_as(lambda: &Lambda, name: &str, kind: Kind) -> Result<Admitted, Option<&'static str>> {
    let function = FunctionRef::parse(name).unwrap();
    let request = Request::by_service(function, Bytes::new(), lambda.now_ms());
    lambda.admit(request, kind).map_err(|error| error.reason)
}

#[tokio::test]
async fn a_list_is_not_taken_for_the_members_in_their_order() {
    let lambda = account(3).await;
    let path = "/2017-10-31/functions/f/concurrency";
    let (status, answer) = ask(&lambda, Method::PUT, path, &json!([1])).await;
    assert_eq!(status, 400, "{answer}");
    let (status, answer) = ask_again(&lambda, Method::PUT, path, &json!([1])).await;
    assert_eq!(status, 200, "as an older emulator took it: {answer}");
}

#[tokio::test]
async fn an_account_has_so_many_executions_at_the_same_time_and_no_more() {
    let lambda = account(3).await;
    let mut running: Vec<Admitted> =
        ["f", "f", "g"].into_iter().map(|name| admit(&lambda, name).unwrap()).collect();
    for name in ["f", "g"] {
        assert_eq!(admit(&lambda, name).unwrap_err(), Some("ConcurrentInvocationLimitExceeded"));
    }
    running.pop();
    running.push(admit(&lambda, "f").unwrap());
    assert!(admit(&lambda, "g").is_err());
}

#[tokio::test]
async fn a_reservation_is_a_cap_for_the_function_and_kept_from_the_others() {
    let lambda = account(3).await;
    let reserve = json!({"ReservedConcurrentExecutions": 1});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    let _others = [admit(&lambda, "g").unwrap(), admit(&lambda, "g").unwrap()];
    assert_eq!(admit(&lambda, "g").unwrap_err(), Some("ConcurrentInvocationLimitExceeded"));
    let _own = admit(&lambda, "f").unwrap();
    assert_eq!(admit(&lambda, "f").unwrap_err(), Some("ReservedFunctionConcurrentInvocationLimitExceeded"));
}

#[tokio::test]
async fn ten_invocations_a_second_are_admitted_for_each_unit_of_concurrency() {
    let (lambda, hand) = account_by_hand(4).await;
    let reserve = json!({"ReservedConcurrentExecutions": 2});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    // One after the other, so that it is never concurrency that is wanting.
    let admitted = |name| (0..100).map_while(|_| admit(&lambda, name).ok()).count();
    for _ in 0..2 {
        assert_eq!((admitted("f"), admitted("g")), (20, 20));
        for (name, reason) in [
            ("f", "ReservedFunctionInvocationRateLimitExceeded"),
            ("g", "FunctionInvocationRateLimitExceeded"),
        ] {
            assert_eq!(admit(&lambda, name).unwrap_err(), Some(reason));
            assert!(admit_as(&lambda, name, Kind::Asynchronous).is_ok(), "events are not limited");
        }
        hand.advance(Duration::from_secs(1));
    }
    let reserve = json!({"ReservedConcurrentExecutions": 1});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    assert_eq!((admitted("f"), admitted("g")), (10, 30));
}

#[tokio::test]
async fn what_is_taken_of_the_account_is_measured_with_each_invocation() {
    let lambda = account(5).await;
    let reserve = json!({"ReservedConcurrentExecutions": 2});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    let most = |metric| measured_by(&lambda, metric, &[], Unit::Count).unwrap().maximum;
    let _others = [admit(&lambda, "g").unwrap(), admit(&lambda, "f").unwrap()];
    // The package cannot be run: that is measured too.
    for (name, executions, unreserved) in [("f", 3.0, 1.0), ("g", 3.0, 2.0)] {
        invocation::run(admit(&lambda, name).unwrap()).await.unwrap();
        assert_eq!(most("ConcurrentExecutions"), executions, "{name}");
        assert_eq!(most("UnreservedConcurrentExecutions"), unreserved, "{name}");
        assert_eq!(most("ClaimedAccountConcurrency"), 2.0 + unreserved, "{name}: reserved, used or not");
    }
}

/// Of the function `f`, whatever the time.
fn measured(lambda: &Lambda, metric: &str, unit: Unit) -> Option<StatisticSet> {
    measured_by(lambda, metric, &[("FunctionName", "f")], unit)
}

fn measured_by(
    lambda: &Lambda,
    metric: &str,
    dimensions: &[(&str, &str)],
    unit: Unit,
) -> Option<StatisticSet> {
    let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let id = MetricId::new("AWS/Lambda", metric, dimensions.collect());
    lambda.inner.host.settings.metrics.statistics(&id, unit.name(), 0, lambda.now_ms() + 1)
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("what is waited for comes");
}

#[tokio::test]
async fn a_record_that_is_larger_than_an_event_may_be_is_lost_and_counts() {
    let (lambda, _hand) = account_by_hand(3).await;
    let to = "arn:aws:lambda:us-east-1:123456789012:function:g";
    let failed = json!({"DestinationConfig": {"OnFailure": {"Destination": to}}});
    let of_latest = "/2019-09-25/functions/f/event-invoke-config?Qualifier=$LATEST";
    call(&lambda, Method::PUT, of_latest, &failed).await;
    let reserve = json!({"ReservedConcurrentExecutions": 0});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    let event = json!("x".repeat(ASYNC_MAX_BYTES - 2)).to_string();
    lambda.invoke_event("f", Bytes::from(event)).unwrap();
    until(|| measured(&lambda, "DestinationDeliveryFailures", Unit::Count).is_some()).await;
    let received = measured_by(&lambda, "AsyncEventsReceived", &[("FunctionName", "g")], Unit::Count);
    assert_eq!(received, None);
}

#[tokio::test]
async fn an_event_that_is_lost_counts_and_so_does_each_letter_that_nobody_takes() {
    let (lambda, hand) = account_by_hand(3).await;
    // No queues are here to take anything.
    let queue = "arn:aws:sqs:us-east-1:123456789012:q";
    let dead = json!({"DeadLetterConfig": {"TargetArn": queue}});
    call(&lambda, Method::PUT, "/2015-03-31/functions/f/configuration", &dead).await;
    hand.advance(Duration::from_secs(1));
    let failed = json!({"DestinationConfig": {"OnFailure": {"Destination": queue}}});
    let of_latest = "/2019-09-25/functions/f/event-invoke-config?Qualifier=$LATEST";
    call(&lambda, Method::PUT, of_latest, &failed).await;
    let reserve = json!({"ReservedConcurrentExecutions": 0});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    lambda.invoke_event("f", Bytes::from_static(b"{}")).unwrap();
    until(|| measured(&lambda, "DeadLetterErrors", Unit::Count).is_some()).await;
    for metric in
        ["AsyncEventsReceived", "AsyncEventsDropped", "DestinationDeliveryFailures", "DeadLetterErrors"]
    {
        assert_eq!(measured(&lambda, metric, Unit::Count).unwrap().sum, 1.0, "{metric}");
    }
    assert_eq!(measured(&lambda, "AsyncEventAge", Unit::Milliseconds), None, "there was no attempt");
}

#[tokio::test]
async fn each_attempt_counts_how_old_its_event_is_by_then() {
    let (lambda, hand) = account_by_hand(1).await;
    let _occupied = admit(&lambda, "g").unwrap();
    lambda.invoke_event("f", Bytes::from_static(b"{}")).unwrap();
    let attempts = || measured(&lambda, "AsyncEventAge", Unit::Milliseconds).map_or(0.0, |ages| ages.count);
    until(|| attempts() >= 1.0).await;
    until(|| {
        hand.advance(Duration::from_millis(100));
        attempts() >= 2.0
    })
    .await;
    let ages = measured(&lambda, "AsyncEventAge", Unit::Milliseconds).unwrap();
    assert_eq!(ages.minimum, 0.0);
    assert!(ages.maximum >= 1_000.0, "throttled events wait a second: {ages:?}");
    assert_eq!(measured(&lambda, "AsyncEventsDropped", Unit::Count), None);
}

#[tokio::test]
async fn what_the_machine_refuses_is_no_error_of_the_function_and_spends_no_attempt() {
    let (lambda, hand) = account_by_hand(3).await;
    let once = json!({"MaximumRetryAttempts": 0});
    call(&lambda, Method::PUT, "/2019-09-25/functions/f/event-invoke-config", &once).await;
    let root = lambda.inner.host.root.clone();
    std::fs::remove_dir_all(&root).unwrap();
    // No sandbox can be made in a file.
    std::fs::write(&root, "").unwrap();
    let invocations = "/2015-03-31/functions/f/invocations";
    let (status, answer) = ask(&lambda, Method::POST, invocations, &json!({})).await;
    assert_eq!((status, &answer["Type"]), (500, &json!("Service")), "{answer}");
    lambda.invoke_event("f", Bytes::from_static(b"{}")).unwrap();
    let attempts = || measured(&lambda, "AsyncEventAge", Unit::Milliseconds).map_or(0.0, |ages| ages.count);
    until(|| {
        hand.advance(Duration::from_millis(100));
        attempts() >= 3.0
    })
    .await;
    for metric in ["Invocations", "Errors", "AsyncEventsDropped"] {
        assert_eq!(measured(&lambda, metric, Unit::Count), None, "{metric}");
    }
    std::fs::remove_file(&root).unwrap();
}

#[tokio::test]
async fn what_is_not_built_of_a_function_is_refused_by_name() {
    let lambda = account(3).await;
    for (member, value) in [
        ("CodeSigningConfigArn", json!("arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-1")),
        ("TenancyConfig", json!({"TenantIsolationMode": "PER_TENANT"})),
        ("DurableConfig", json!({"ExecutionTimeout": 60})),
        ("CapacityProviderConfig", json!({"LambdaManagedInstancesCapacityProviderConfig": {}})),
    ] {
        let mut input = json!({
            "FunctionName": "h", "Runtime": "provided.al2023", "Handler": "bootstrap",
            "Role": "arn:aws:iam::123456789012:role/f",
        });
        input[member] = value;
        let (status, answer) = ask(&lambda, Method::POST, "/2015-03-31/functions", &input).await;
        let message = format!("{member} is not supported by the emulator.");
        assert_eq!((status, &answer["message"]), (400, &json!(message)));
    }
}

#[tokio::test]
async fn a_permission_is_for_somebody_who_may_be_there() {
    let lambda = account(3).await;
    let api = crate::engines::iam(&lambda.inner.host.settings);
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"},
    }]})
    .to_string();
    let role = [("RoleName", "known"), ("AssumeRolePolicyDocument", trust.as_str())];
    assert_eq!(api.handle(form("iam", "", "CreateRole", &role)).await.status, 200);
    let path = "/2015-03-31/functions/f/policy";
    let permission = |sid: String, principal: &str| {
        let action = "lambda:InvokeFunction";
        json!({"StatementId": sid, "Action": action, "Principal": principal})
    };
    for (n, somebody) in [
        "*",
        "123456789012",
        "s3.amazonaws.com",
        "lambda.alarms.cloudwatch.amazonaws.com",
        "s3.amazonaws.com.cn",
        "alexa-appkit.amazon.com",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:role/known",
        "arn:aws:iam::210987654321:role/elsewhere",
        "arn:aws:sts::123456789012:assumed-role/known/session",
    ]
    .into_iter()
    .enumerate()
    {
        call(&lambda, Method::POST, path, &permission(format!("s{n}"), somebody)).await;
    }
    for (n, nobody) in [
        "",
        "somebody",
        "12345678901",
        "example.com",
        ".amazonaws.com",
        "amazonaws.com",
        "a b.amazonaws.com",
        "arn:aws:iam::123456789012:role/unknown",
        "arn:aws:iam::123456789012:user/known",
        "arn:aws:iam::123456789012:group/g",
        "arn:aws:sqs:us-east-1:123456789012:q",
    ]
    .into_iter()
    .enumerate()
    {
        let input = permission(format!("n{n}"), nobody);
        let (status, answer) = ask(&lambda, Method::POST, path, &input).await;
        let message = "The provided principal was invalid. Please check the principal and try again.";
        assert_eq!((status, &answer["message"]), (400, &json!(message)), "{nobody}");
        assert_eq!(ask_again(&lambda, Method::POST, path, &input).await.0, 201, "as it was taken: {nobody}");
    }
}

/// S3 with nothing in it.
struct NoBucket;

impl Service for NoBucket {
    fn handle(&self, _: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        let error =
            "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
        Box::pin(std::future::ready(AwsResponse::new(http::StatusCode::NOT_FOUND, "application/xml", error)))
    }
}

#[tokio::test]
async fn what_s3_says_of_a_package_is_told_and_no_bucket_has_another_name_than_one_of_s3() {
    let lambda = account(3).await;
    lambda.set_s3(Arc::new(NoBucket));
    let path = "/2015-03-31/functions/f/code";
    let message = async |bucket: &str| {
        let code = json!({"S3Bucket": bucket, "S3Key": "k"});
        let (status, answer) = ask(&lambda, Method::PUT, path, &code).await;
        assert_eq!(status, 400, "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        message("b").await,
        "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist"
    );
    for bucket in ["b?policy", "b/k", "%62", "b."] {
        assert!(message(bucket).await.contains("'s3Bucket'"), "{bucket}");
    }
}

/// A bucket of one package, whatever is asked for.
struct Bucket(Bytes);

impl Service for Bucket {
    fn handle(&self, _: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        let answer = AwsResponse::new(http::StatusCode::OK, "application/zip", self.0.clone());
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test]
async fn a_package_from_s3_is_bound_by_its_unpacked_size_alone() {
    let lambda = account(3).await;
    let mut package = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    package.start_file("bootstrap", stored).unwrap();
    package.write_all(&vec![0; UPLOAD_MAX_BYTES]).unwrap();
    let package = package.finish().unwrap().into_inner();
    let sent = json!({"ZipFile": STANDARD.encode(&package)});
    let path = "/2015-03-31/functions/f/code";
    let (status, answer) = ask(&lambda, Method::PUT, path, &sent).await;
    assert_eq!(status, 413, "{answer}");
    lambda.set_s3(Arc::new(Bucket(package.into())));
    let kept = json!({"S3Bucket": "b", "S3Key": "k"});
    let (status, answer) = ask(&lambda, Method::PUT, path, &kept).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn all_versions_are_listed_page_by_page_and_take_room() {
    let lambda = account(3).await;
    let list = async |query: &str| {
        let path = format!("/2015-03-31/functions?{query}");
        let (status, page) = ask(&lambda, Method::GET, &path, &Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let named = |function: &Value| {
            let arn = function["FunctionArn"].as_str().unwrap();
            arn.split_once(":function:").unwrap().1.to_owned()
        };
        let names: Vec<String> = page["Functions"].as_array().unwrap().iter().map(named).collect();
        (names, page["NextMarker"].as_str().map(str::to_owned))
    };
    call(&lambda, Method::POST, "/2015-03-31/functions/f/versions", &json!({})).await;
    assert_eq!(list("").await, (vec!["f".to_owned(), "g".to_owned()], None));
    let (mut seen, mut marker) = (Vec::new(), Some(String::new()));
    while let Some(after) = marker {
        let after = if after.is_empty() { after } else { format!("&Marker={after}") };
        let (page, next) = list(&format!("FunctionVersion=ALL&MaxItems=1{after}")).await;
        assert_eq!(page.len(), 1);
        seen.extend(page);
        marker = next;
    }
    assert_eq!(seen, ["f:$LATEST", "f:1", "g:$LATEST"]);
    let (status, _) =
        ask(&lambda, Method::GET, "/2015-03-31/functions?FunctionVersion=1", &Value::Null).await;
    assert_eq!(status, 400);

    let (_, found) = ask(&lambda, Method::GET, "/2015-03-31/functions/f", &Value::Null).await;
    let size = found["Configuration"]["CodeSize"].as_u64().unwrap();
    let (_, settings) = ask(&lambda, Method::GET, "/2016-08-19/account-settings", &Value::Null).await;
    assert_eq!(settings["AccountUsage"], json!({"TotalCodeSize": 3 * size, "FunctionCount": 2}));
}

#[tokio::test]
async fn only_a_change_that_names_the_variables_takes_empty_ones_away() {
    let (lambda, hand) = account_by_hand(3).await;
    let nothing = json!({"Variables": {}});
    let mut input = creation("h");
    input["Environment"] = nothing.clone();
    call(&lambda, Method::POST, "/2015-03-31/functions", &input).await;
    let path = "/2015-03-31/functions/h/configuration";
    let change = async |change: Value| {
        hand.advance(Duration::from_secs(1));
        ask(&lambda, Method::PUT, path, &change).await.1["Environment"].clone()
    };
    assert_eq!(change(json!({"MemorySize": 256})).await, nothing);
    hand.advance(Duration::from_secs(1));
    let (_, older) = ask_again(&lambda, Method::PUT, path, &json!({"MemorySize": 512})).await;
    assert_eq!((&older["MemorySize"], &older["Environment"]), (&json!(512), &Value::Null), "as it did then");
    let one = json!({"Variables": {"KEY": "v"}});
    assert_eq!(change(json!({ "Environment": one })).await, one);
    assert_eq!(change(json!({ "Environment": nothing })).await, Value::Null);
}

#[tokio::test]
async fn what_an_older_emulator_accepted_is_accepted_again() {
    let lambda = account(3).await;
    let permission = json!({"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"});
    let itself = "arn:aws:lambda:us-east-1:123456789012:function:f";
    let itself = json!({"DestinationConfig": {"OnSuccess": {"Destination": itself}}});
    let topic = "arn:aws:sns:us-east-1:123456789012:t";
    let unsupported = json!({"DeadLetterConfig": {"TargetArn": topic}, "DurableConfig": {}});
    for (method, path, input, refused) in [
        (Method::POST, "2015-03-31/functions/f/policy?Qualifier=$LATEST", &permission, 400),
        (Method::POST, "2015-03-31/functions/f/policy?Qualifier=nobody", &permission, 404),
        (Method::PUT, "2019-09-25/functions/f/event-invoke-config", &json!({}), 400),
        (Method::PUT, "2019-09-25/functions/f/event-invoke-config", &itself, 400),
        (Method::PUT, "2019-09-25/functions/f/event-invoke-config?Qualifier=9", &json!({}), 400),
        (Method::POST, "2019-09-25/functions/g/event-invoke-config", &itself, 404),
        (Method::DELETE, "2019-09-25/functions/g/event-invoke-config?Qualifier=9", &json!({}), 404),
        (Method::PUT, "2015-03-31/functions/f/configuration", &unsupported, 400),
    ] {
        let path = format!("/{path}");
        let (status, answer) = ask(&lambda, method.clone(), &path, input).await;
        assert_eq!(status, refused, "{method} {path}: {answer}");
        let (status, answer) = ask_again(&lambda, method.clone(), &path, input).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    }
}

#[tokio::test]
async fn what_an_older_emulator_made_of_a_call_is_made_of_it_again() {
    let lambda = account(3).await;
    let versions = "/2015-03-31/functions/f/versions";
    let described = json!({"Description": "d"});
    call(&lambda, Method::POST, versions, &json!({})).await;
    let (_, answer) = ask(&lambda, Method::POST, versions, &described).await;
    assert_eq!(answer["Version"], "1", "nothing but the description is another");
    let revision = async || ask(&lambda, Method::GET, "/2015-03-31/functions/f", &Value::Null).await.1;
    let before = revision().await["Configuration"]["RevisionId"].clone();
    let (_, answer) = ask_again(&lambda, Method::POST, versions, &described).await;
    assert_eq!((&answer["Version"], &answer["Description"]), (&json!("2"), &json!("d")));
    let permission = json!({"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"});
    ask_again(&lambda, Method::POST, "/2015-03-31/functions/f/policy", &permission).await;
    assert_eq!(revision().await["Configuration"]["RevisionId"], before, "later calls may name it");
}

#[tokio::test]
async fn an_event_of_a_service_is_taken_by_the_policy_of_the_function() {
    let lambda = account(1).await;
    // So that nothing runs.
    let _occupied = admit(&lambda, "g").unwrap();
    let service = "lambda.alarms.cloudwatch.amazonaws.com";
    let alarm = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a";
    let allow = json!({"StatementId": "alarm", "Action": "lambda:InvokeFunction", "Principal": service,
        "SourceArn": alarm, "SourceAccount": "123456789012"});
    call(&lambda, Method::POST, "/2015-03-31/functions/f/policy", &allow).await;
    lambda.inner.host.settings.iam.enforce(true);
    let invoke = |function: &str, alarm: &str| {
        lambda.invoke_event_by_policy(function, service, alarm, Bytes::from_static(b"{}"))
    };
    invoke("f", alarm).unwrap();
    for (function, alarm) in [("f", "arn:aws:cloudwatch:us-east-1:123456789012:alarm:b"), ("g", alarm)] {
        assert_eq!(invoke(function, alarm).unwrap_err().0, "AccessDeniedException");
    }
}
