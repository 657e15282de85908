//! Whatever comes in, a parser answers: with success, or with a typed 4xx. Never a panic, a 5xx or a dropped connection.
//!
//! Bounded and seeded: the same cases in every run. `FUZZ_CASES=20000 cargo test --test fuzz` looks longer.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use emulator::{Emulator, Options};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Per parser: the whole suite takes seconds.
const CASES: u32 = 300;
const SEED: [u8; 32] = *b"the same cases in every fuzz run";

/// One request, as hostile as its parts.
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    path: String,
    target: Option<&'static str>,
    body: Vec<u8>,
}

/// What no parser expects in the place of a value.
fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(u64::MAX)),
        Just(json!(-1)),
        any::<String>().prop_map(Value::from),
        Just(json!("")),
        Just(json!("\u{0}\u{FFFF}é😀")),
        Just(json!("arn:aws:sqs:::")),
        Just(json!("a".repeat(5_000))),
        Just(json!("{\"Statement\":{\"Effect\":\"Deny\"}}")),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// How a valid body is spoilt.
#[derive(Clone, Debug)]
enum Spoil {
    Nothing,
    Replace(Vec<(prop::sample::Index, Value)>),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    Flip(Vec<(prop::sample::Index, u8)>),
    Bytes(Vec<u8>),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        1 => Just(Spoil::Nothing),
        8 => prop::collection::vec((any::<prop::sample::Index>(), odd_value()), 1..4).prop_map(Spoil::Replace),
        2 => any::<prop::sample::Index>().prop_map(Spoil::Remove),
        1 => any::<prop::sample::Index>().prop_map(Spoil::Cut),
        2 => prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4).prop_map(Spoil::Flip),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Spoil::Bytes),
    ]
}

/// The JSON pointers of all values, the root first.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, &format!("{at}/{name}"), out);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

fn spoilt(mut valid: Value, spoil: Spoil) -> Vec<u8> {
    let pick = |valid: &Value, index: &prop::sample::Index| {
        let mut all = Vec::new();
        pointers(valid, "", &mut all);
        all[index.index(all.len())].clone()
    };
    match spoil {
        Spoil::Nothing => {}
        Spoil::Bytes(bytes) => return bytes,
        Spoil::Replace(changes) => {
            for (index, value) in changes {
                let pointer = pick(&valid, &index);
                *valid.pointer_mut(&pointer).unwrap() = value;
            }
        }
        Spoil::Remove(index) => {
            let pointer = pick(&valid, &index);
            if let Some((parent, name)) = pointer.rsplit_once('/')
                && let Some(members) = valid.pointer_mut(parent).and_then(Value::as_object_mut)
            {
                members.remove(name);
            }
        }
        Spoil::Cut(index) => {
            let text = valid.to_string().into_bytes();
            return text[..index.index(text.len())].to_vec();
        }
        Spoil::Flip(changes) => {
            let mut text = valid.to_string().into_bytes();
            for (index, byte) in changes {
                let at = index.index(text.len());
                text[at] ^= byte;
            }
            return text;
        }
    }
    valid.to_string().into_bytes()
}

/// A spoilt call of one of these: method, path, target, body.
fn spoilt_call(
    calls: Vec<(&'static str, &'static str, Option<&'static str>, Value)>,
) -> impl Strategy<Value = Case> {
    (prop::sample::select(calls), spoil()).prop_map(|((method, path, target, body), spoil)| Case {
        method,
        path: path.to_owned(),
        target,
        body: spoilt(body, spoil),
    })
}

/// Segments of paths: known words, odd words, and percent signs that encode nothing.
fn path(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => prop::sample::select(words).prop_map(str::to_owned),
        1 => "[ -~]{0,12}".prop_map(|text| text.replace([' ', '#', '"', '<', '>', '`', '{', '}', '^', '|', '\\'], "_")),
        1 => Just("%".to_owned()),
        1 => Just("%ff%00".to_owned()),
        1 => Just("a".repeat(300)),
    ];
    prop::collection::vec(segment, 1..6).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"])
}

/// Runs the cases against one emulator, whose set-up calls must succeed.
fn run(service: &'static str, set_up: &[Case], cases: impl Strategy<Value = Case>) {
    let runtime = Runtime::new().unwrap();
    let running = runtime.block_on(Emulator::start(Options::default())).unwrap();
    let client = Client::new();
    let send = |case: &Case| runtime.block_on(send(&client, running.endpoint(), service, case));
    for case in set_up {
        let (status, body) = send(case).unwrap();
        assert!((200..300).contains(&status), "{case:?}: {status} {body}");
    }
    let number = std::env::var("FUZZ_CASES").ok().map_or(CASES, |text| text.parse().unwrap());
    let config =
        Config { cases: number, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let outcome = TestRunner::new_with_rng(config, random).run(&cases, |case| {
        let (status, body) = send(&case).map_err(TestCaseError::fail)?;
        prop_assert!((200..300).contains(&status) || (400..500).contains(&status), "{status}: {body}");
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{service}: {failure}");
    }
    runtime.block_on(running.shutdown());
}

/// The status, and the body for the message. An error is a connection that ended, or a refusal that names no type.
async fn send(client: &Client, endpoint: &str, service: &str, case: &Case) -> Result<(u16, String), String> {
    let credential = format!("AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request");
    let method = Method::from_bytes(case.method.as_bytes()).unwrap();
    let mut request = client.request(method, format!("{endpoint}{}", case.path)).body(case.body.clone());
    request = request.header("authorization", credential);
    request = match case.target {
        Some(target) => request.header("x-amz-target", target),
        None if service == "lambda" || service == "apigateway" || service == "fis" => request,
        None => request.header("content-type", "application/x-www-form-urlencoded"),
    };
    let answer = request.send().await.map_err(|error| format!("no answer: {error}"))?;
    let status = answer.status().as_u16();
    let named = answer.headers().contains_key("x-amzn-errortype");
    let body =
        String::from_utf8_lossy(&answer.bytes().await.map_err(|error| error.to_string())?).into_owned();
    let typed = named || body.contains("__type") || body.contains("<Code>") || body.contains("Exception");
    if status >= 400 && !typed {
        return Err(format!("{status} without a type: {body}"));
    }
    Ok((status, body))
}

fn json_call(target: &'static str, body: Value) -> Case {
    Case { method: "POST", path: "/".to_owned(), target: Some(target), body: body.to_string().into() }
}

const QUEUE: &str = "http://127.0.0.1/123456789012/queue";

fn queue() -> Case {
    json_call("AmazonSQS.CreateQueue", json!({"QueueName": "queue"}))
}

#[test]
fn sqs_over_json_answers_anything() {
    let entries = json!([{"Id": "a", "MessageBody": "b", "DelaySeconds": 1}]);
    let attributes = json!({"n": {"DataType": "String", "StringValue": "v"}, "b": {"DataType": "Binary", "BinaryValue": "AA=="}});
    let of = |target, body| ("POST", "/", Some(target), body);
    let calls = vec![
        of(
            "AmazonSQS.SendMessage",
            json!({"QueueUrl": QUEUE, "MessageBody": "b", "MessageAttributes": attributes}),
        ),
        of("AmazonSQS.SendMessageBatch", json!({"QueueUrl": QUEUE, "Entries": entries})),
        of(
            "AmazonSQS.ReceiveMessage",
            json!({"QueueUrl": QUEUE, "AttributeNames": ["All"], "MaxNumberOfMessages": 1}),
        ),
        of("AmazonSQS.DeleteMessage", json!({"QueueUrl": QUEUE, "ReceiptHandle": "x"})),
        of(
            "AmazonSQS.ChangeMessageVisibility",
            json!({"QueueUrl": QUEUE, "ReceiptHandle": "x", "VisibilityTimeout": 1}),
        ),
        of(
            "AmazonSQS.CreateQueue",
            json!({"QueueName": "other", "Attributes": {"DelaySeconds": "1"}, "tags": {"k": "v"}}),
        ),
        of(
            "AmazonSQS.SetQueueAttributes",
            json!({"QueueUrl": QUEUE, "Attributes": {"RedrivePolicy": "{}", "VisibilityTimeout": "1"}}),
        ),
        of(
            "AmazonSQS.AddPermission",
            json!({"QueueUrl": QUEUE, "Label": "l", "AWSAccountIds": ["1"], "Actions": ["*"]}),
        ),
        of(
            "AmazonSQS.StartMessageMoveTask",
            json!({"SourceArn": "arn:aws:sqs:us-east-1:123456789012:queue"}),
        ),
        of("AmazonSQS.ListQueues", json!({"MaxResults": 1, "NextToken": "x"})),
        of("AmazonSQS.TagQueue", json!({"QueueUrl": QUEUE, "Tags": {"k": "v"}})),
        of("AmazonSQS.NoSuchOperation", json!({})),
    ];
    run("sqs", &[queue()], spoilt_call(calls));
}

#[test]
fn sqs_over_the_query_protocol_answers_anything() {
    let field = prop_oneof![
        prop::sample::select(vec![
            "Action=SendMessage",
            "Action=SendMessageBatch",
            "Action=CreateQueue",
            "Action=SetQueueAttributes",
            "Action=DeleteMessageBatch",
            "Action=ReceiveMessage",
            "QueueUrl=http://127.0.0.1/123456789012/queue",
            "MessageBody=b",
            "Attribute.1.Name=DelaySeconds",
            "Attribute.1.Value=1",
            "Attribute.99999999999.Name=x",
            "SendMessageBatchRequestEntry.1.Id=a",
            "SendMessageBatchRequestEntry.1.MessageBody=b",
            "QueueName=q",
            "MessageAttribute.1.Name=n",
            "MessageAttribute.1.Value.DataType=String",
            "Version=2012-11-05",
            "a.b.c.d.e=1",
            "MessageAttribute.1.Value.StringValue=v",
            "DelaySeconds=x",
            "MaxNumberOfMessages=-1",
            "Attribute=1",
            "=",
            "%",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,24}",
    ];
    let cases = prop::collection::vec(field, 0..10).prop_map(|fields| Case {
        method: "POST",
        path: "/".to_owned(),
        target: None,
        body: fields.join("&").into_bytes(),
    });
    run("sqs", &[queue()], cases);
}

#[test]
fn policies_of_queues_are_stored_or_refused_and_never_stop_the_service() {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "s", "Effect": "Deny", "Principal": {"AWS": ["*"]}, "Action": ["sqs:SendMessage"], "Resource": "*",
        "Condition": {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    }]});
    let cases = spoil().prop_map(move |spoil| {
        let document = String::from_utf8_lossy(&spoilt(policy.clone(), spoil)).into_owned();
        let body = json!({"QueueUrl": QUEUE, "Attributes": {"Policy": document}});
        json_call("AmazonSQS.SetQueueAttributes", body)
    });
    run("sqs", &[queue()], cases);
}

#[test]
fn lambda_answers_anything_on_any_path() {
    const WORDS: &[&str] = &[
        "2015-03-31",
        "2017-10-31",
        "2019-09-25",
        "2017-03-31",
        "functions",
        "f",
        "invocations",
        "configuration",
        "code",
        "versions",
        "aliases",
        "concurrency",
        "policy",
        "event-source-mappings",
        "tags",
        "event-invoke-config",
        "arn:aws:lambda:us-east-1:123456789012:function:f",
        "?Qualifier=1",
        "?MaxItems=x",
    ];
    let function = json!({
        "FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Runtime": "provided.al2023", "Handler": "h",
        "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}, "Environment": {"Variables": {"AB": "c"}}, "Timeout": 3,
        "MemorySize": 128, "Layers": ["arn:aws:lambda:us-east-1:1:layer:l:1"], "LoggingConfig": {"LogFormat": "JSON"},
    });
    let mapping = json!({
        "EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:queue", "FunctionName": "f", "BatchSize": 10,
        "FilterCriteria": {"Filters": [{"Pattern": "{\"body\":{\"a\":[{\"numeric\":[\">\",1]}]}}"}]},
        "ScalingConfig": {"MaximumConcurrency": 2}, "FunctionResponseTypes": ["ReportBatchItemFailures"],
    });
    let permission =
        json!({"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "sqs.amazonaws.com"});
    let known = spoilt_call(vec![
        ("POST", "/2015-03-31/functions", None, function),
        ("POST", "/2015-03-31/event-source-mappings", None, mapping),
        ("POST", "/2015-03-31/functions/f/policy", None, permission),
        ("PUT", "/2017-10-31/functions/f/concurrency", None, json!({"ReservedConcurrentExecutions": 1})),
    ]);
    let any = (methods(), path(WORDS), spoil()).prop_map(|(method, path, spoil)| Case {
        method,
        path,
        target: None,
        body: spoilt(json!({"Description": "d", "FunctionVersion": "1", "Name": "n"}), spoil),
    });
    run("lambda", &[], prop_oneof![known, any]);
}

#[test]
fn the_management_of_apis_answers_anything() {
    const WORDS: &[&str] = &[
        "v2",
        "apis",
        "a",
        "routes",
        "stages",
        "$default",
        "integrations",
        "authorizers",
        "deployments",
        "models",
        "tags",
        "routeresponses",
        "cors",
        "routesettings",
        "accesslogsettings",
        "?maxResults=x&nextToken=y",
    ];
    let api = json!({
        "name": "a", "protocolType": "HTTP", "corsConfiguration": {"allowOrigins": ["*"], "maxAge": 1}, "tags": {"k": "v"},
        "routeSelectionExpression": "$request.method $request.path",
    });
    let known = spoilt_call(vec![("POST", "/v2/apis", None, api)]);
    let any = (methods(), path(WORDS), spoil()).prop_map(|(method, path, spoil)| Case {
        method,
        path,
        target: None,
        body: spoilt(json!({"routeKey": "GET /x", "stageName": "s", "integrationType": "AWS_PROXY"}), spoil),
    });
    run("apigateway", &[], prop_oneof![known, any]);
}

#[test]
fn fis_answers_any_template() {
    let template = json!({
        "clientToken": "t", "description": "d", "roleArn": "arn:aws:iam::123456789012:role/r",
        "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"}],
        "targets": {"f": {"resourceType": "aws:lambda:function", "selectionMode": "PERCENT(50)",
            "resourceArns": ["arn:aws:lambda:us-east-1:123456789012:function:f"], "resourceTags": {"k": "v"}}},
        "actions": {"a": {"actionId": "aws:lambda:invocation-error", "targets": {"Functions": "f"}, "startAfter": ["w"],
            "parameters": {"duration": "PT1M", "invocationPercentage": "100", "preventExecution": "true"}},
            "w": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}},
        "experimentOptions": {"emptyTargetResolutionMode": "skip"}, "tags": {"k": "v"},
    });
    let experiment = json!({"clientToken": "c", "experimentTemplateId": "EXT1", "tags": {}});
    const WORDS: &[&str] =
        &["experimentTemplates", "experiments", "actions", "EXT1", "tags", "safetyLevers", "?maxResults=x"];
    let known = spoilt_call(vec![
        ("POST", "/experimentTemplates", None, template),
        ("POST", "/experiments", None, experiment),
    ]);
    let any = (methods(), path(WORDS)).prop_map(|(method, path)| Case {
        method,
        path,
        target: None,
        body: b"{}".to_vec(),
    });
    run("fis", &[], prop_oneof![4 => known, 1 => any]);
}

#[test]
fn the_json_services_answer_anything() {
    let table = json!({"TableName": "items", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]});
    let policy =
        json!({"ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/items", "Policy": "{}"});
    let of = |target, body| ("POST", "/", Some(target), body);
    let calls = vec![
        of("DynamoDB_20120810.CreateTable", table.clone()),
        of(
            "DynamoDB_20120810.PutItem",
            json!({"TableName": "items", "Item": {"id": {"S": "a"}, "n": {"N": "1"}}}),
        ),
        of(
            "DynamoDB_20120810.UpdateItem",
            json!({"TableName": "items", "Key": {"id": {"S": "a"}},
            "UpdateExpression": "SET #a = :b", "ExpressionAttributeNames": {"#a": "x"}, "ExpressionAttributeValues": {":b": {"S": "y"}}}),
        ),
        of(
            "DynamoDB_20120810.Query",
            json!({"TableName": "items", "KeyConditionExpression": "id = :i",
            "ExpressionAttributeValues": {":i": {"S": "a"}}}),
        ),
        of(
            "DynamoDB_20120810.TransactWriteItems",
            json!({"TransactItems": [{"Put": {"TableName": "items", "Item": {"id": {"S": "b"}}}}]}),
        ),
        of("DynamoDB_20120810.PutResourcePolicy", policy),
        of(
            "DynamoDB_20120810.UpdateContinuousBackups",
            json!({"TableName": "items",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 1}}),
        ),
    ];
    let set_up = json_call("DynamoDB_20120810.CreateTable", table);
    run("dynamodb", &[set_up], spoilt_call(calls));
}

#[test]
fn logs_and_metrics_answer_anything() {
    let of = |target, body| ("POST", "/", Some(target), body);
    let logs = vec![
        of("Logs_20140328.CreateLogGroup", json!({"logGroupName": "g", "tags": {"k": "v"}})),
        of(
            "Logs_20140328.PutLogEvents",
            json!({"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]}),
        ),
        of(
            "Logs_20140328.FilterLogEvents",
            json!({"logGroupName": "g", "filterPattern": "\"a\" b", "limit": 1, "startTime": 0}),
        ),
        of("Logs_20140328.PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 7})),
    ];
    run("logs", &[], spoilt_call(logs));
    let alarm = json!({"AlarmName": "a", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"});
    let query = json!({"StartTime": 1, "EndTime": 2, "MetricDataQueries": [{"Id": "a", "Expression": "m1/m2"},
        {"Id": "m1", "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "p99"}}]});
    let math = json!({"AlarmName": "b", "EvaluationPeriods": 1, "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold", "Metrics": [{"Id": "e", "Expression": "100*FILL(m1,0)/SUM(METRICS())"},
        {"Id": "m1", "ReturnData": false, "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}}]});
    let metrics = vec![
        of("GraniteServiceVersion20100801.PutMetricAlarm", alarm),
        of("GraniteServiceVersion20100801.PutMetricAlarm", math),
        of("GraniteServiceVersion20100801.GetMetricData", query),
        of(
            "GraniteServiceVersion20100801.PutMetricData",
            json!({"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1.0}]}),
        ),
    ];
    run("monitoring", &[], spoilt_call(metrics));
}
