//! Whatever comes in, a parser answers: with success, or with a typed 4xx. Never a panic, a 5xx or a dropped connection.
//!
//! Seeded, and bounded in time: rounds of cases, each from the next seed and on an emulator of its own, until the time is
//! over. `FUZZ_SECONDS=60 cargo test --test fuzz` looks longer; the message of a failure says how to repeat its round.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::time::{Duration, Instant};

use emulator::{Emulator, Options, Running};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The time of all parsers together, in seconds; each has its share, and at least one round.
const SECONDS: &str = "FUZZ_SECONDS";
const SECONDS_DEFAULT: u64 = 10;
const PARSERS: u32 = 14;
/// The seed of the first round.
const SEED: &str = "FUZZ_SEED";
const SEED_DEFAULT: u64 = 1;
/// Of one round.
const CASES: u32 = 100;

const ROLE: &str = "arn:aws:iam::123456789012:role/fuzzer";
/// Services that are told apart by method and path.
const REST: [&str; 5] = ["lambda", "apigateway", "fis", "scheduler", "s3"];

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

/// An action with fields of it and others: some known, some of no meaning, and `more`.
fn forms(
    actions: &'static [&'static str],
    known: &'static [&'static str],
    more: impl Strategy<Value = String>,
) -> impl Strategy<Value = Case> {
    let field = prop_oneof![
        6 => prop::sample::select(known).prop_map(str::to_owned),
        1 => "[ -~]{0,24}",
        2 => more,
    ];
    (prop::sample::select(actions), prop::collection::vec(field, 0..10)).prop_map(|(action, fields)| {
        let body = format!("Action={action}&{}", fields.join("&"));
        Case { method: "POST", path: "/".to_owned(), target: None, body: body.into_bytes() }
    })
}

/// A field with a spoilt document in it.
fn document(name: &'static str, valid: Value) -> impl Strategy<Value = String> {
    spoil().prop_map(move |spoil| {
        let text = String::from_utf8_lossy(&spoilt(valid.clone(), spoil)).into_owned();
        format!("{name}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC))
    })
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"])
}

/// A number from the environment.
fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Who signs a case. What a user or a role signs is read once more, for what it asks of their policies.
#[derive(Clone, Copy, Debug)]
enum Signer {
    Administrator,
    User,
    Role,
}

fn signers() -> impl Strategy<Value = Signer> {
    prop_oneof![2 => Just(Signer::Administrator), 1 => Just(Signer::User), 1 => Just(Signer::Role)]
}

/// An emulator with a user and a session of a role in it.
struct Stand<'a> {
    runtime: &'a Runtime,
    running: Running,
    client: Client,
    user: String,
    role: String,
}

impl<'a> Stand<'a> {
    fn start(runtime: &'a Runtime) -> Self {
        let running = runtime.block_on(Emulator::start(Options::default())).unwrap();
        let (client, user, role) = (Client::new(), String::new(), String::new());
        let stand = Self { runtime, running, client, user, role };
        let (user, role) = (stand.new_user(), stand.new_session());
        Self { user, role, ..stand }
    }

    /// Allowed everything, with two exceptions that have to be looked at each time.
    fn new_user(&self) -> String {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:*:*:*:${aws:username}*"},
            {"Effect": "Deny", "Action": "*", "Resource": "*",
                "Condition": {"StringLike": {"s3:prefix": "secret/*"}, "Bool": {"aws:SecureTransport": "true"}}},
        ]});
        let name = ("UserName", "fuzzer");
        self.iam("CreateUser", &[name]);
        self.iam("PutUserPolicy", &[name, ("PolicyName", "p"), ("PolicyDocument", &policy.to_string())]);
        access_key(&self.iam("CreateAccessKey", &[name]))
    }

    /// Allowed some of what comes.
    fn new_session(&self) -> String {
        let actions = ["sqs:*Message*", "dynamodb:*Item", "lambda:Create*", "iam:PassRole", "s3:*Object"];
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:*:*:*:*", "arn:aws:s3:::bucket/*"]},
            {"Effect": "Allow", "Action": ["logs:*", "scheduler:*", "ssm:*"], "Resource": "*",
                "Condition": {"StringNotEquals": {"aws:PrincipalTag/team": "other"}}},
        ]});
        let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root", "Service": "scheduler.amazonaws.com"}}]});
        let name = ("RoleName", "fuzzer");
        self.iam("CreateRole", &[name, ("AssumeRolePolicyDocument", &trust.to_string())]);
        self.iam("PutRolePolicy", &[name, ("PolicyName", "p"), ("PolicyDocument", &policy.to_string())]);
        let session = [("RoleArn", ROLE), ("RoleSessionName", "fuzz")];
        access_key(&self.ask("sts", &form("AssumeRole", "2011-06-15", &session)))
    }

    fn iam(&self, action: &str, fields: &[(&str, &str)]) -> String {
        self.ask("iam", &form(action, "2010-05-08", fields))
    }

    /// A call of the administrator's that must succeed.
    fn ask(&self, service: &str, case: &Case) -> String {
        let (status, body) = self.send(service, Signer::Administrator, case).unwrap();
        assert!((200..300).contains(&status), "{case:?}: {status} {body}");
        body
    }

    fn send(&self, service: &str, signer: Signer, case: &Case) -> Result<(u16, String), String> {
        let key: &str = match signer {
            Signer::Administrator => "AKID",
            Signer::User => &self.user,
            Signer::Role => &self.role,
        };
        self.runtime.block_on(send(&self.client, self.running.endpoint(), service, key, case))
    }
}

fn form(action: &str, version: &str, fields: &[(&str, &str)]) -> Case {
    let mut body = format!("Action={action}&Version={version}");
    for (name, value) in fields {
        body.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    }
    Case { method: "POST", path: "/".to_owned(), target: None, body: body.into_bytes() }
}

fn access_key(answer: &str) -> String {
    let (_, key) = answer.split_once("<AccessKeyId>").unwrap();
    key.split_once("</AccessKeyId>").unwrap().0.to_owned()
}

/// Runs rounds of these cases until the time is over. The set-up calls must succeed.
fn run(service: &'static str, set_up: &[Case], cases: impl Strategy<Value = Case>) {
    let share = Duration::from_secs(variable(SECONDS, SECONDS_DEFAULT)) / PARSERS;
    let (runtime, began) = (Runtime::new().unwrap(), Instant::now());
    let signed = (signers(), cases);
    let mut seed = variable(SEED, SEED_DEFAULT);
    loop {
        round(&runtime, service, set_up, &signed, seed);
        if began.elapsed() >= share {
            return;
        }
        seed = seed.wrapping_add(1);
    }
}

fn round(
    runtime: &Runtime,
    service: &'static str,
    set_up: &[Case],
    cases: &impl Strategy<Value = (Signer, Case)>,
    seed: u64,
) {
    let stand = Stand::start(runtime);
    for case in set_up {
        stand.ask(service, case);
    }
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, random).run(cases, |(signer, case)| {
        let (status, body) = stand.send(service, signer, &case).map_err(TestCaseError::fail)?;
        prop_assert!((200..300).contains(&status) || (400..500).contains(&status), "{status}: {body}");
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{service}: {failure}\n{SEED}={seed} {SECONDS}=0 repeats the round");
    }
    runtime.block_on(stand.running.shutdown());
}

/// The status, and the body for the message. An error is a connection that ended, or a refusal that names no type.
async fn send(
    client: &Client,
    endpoint: &str,
    service: &str,
    key: &str,
    case: &Case,
) -> Result<(u16, String), String> {
    let credential = format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request");
    let method = Method::from_bytes(case.method.as_bytes()).unwrap();
    let mut request = client.request(method, format!("{endpoint}{}", case.path)).body(case.body.clone());
    request = request.header("authorization", credential);
    request = match case.target {
        Some(target) => request.header("x-amz-target", target),
        None if REST.contains(&service) => request,
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
    const ACTIONS: &[&str] = &[
        "SendMessage",
        "SendMessageBatch",
        "CreateQueue",
        "SetQueueAttributes",
        "DeleteMessageBatch",
        "ReceiveMessage",
        "NoSuchOperation",
        "",
    ];
    const FIELDS: &[&str] = &[
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
    ];
    let redrive = json!({"deadLetterTargetArn": "arn:aws:sqs:", "maxReceiveCount": 1});
    run("sqs", &[queue()], forms(ACTIONS, FIELDS, document("Attribute.1.Value", redrive)));
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
        "list",
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
        of(
            "Logs_20140328.PutMetricFilter",
            json!({"logGroupName": "g", "filterName": "f", "filterPattern": "{ $.a[0] = \"x*\" && ($.n > 5) }",
            "metricTransformations": [{"metricNamespace": "N", "metricName": "m", "metricValue": "$.n", "defaultValue": 0}]}),
        ),
        of(
            "Logs_20140328.TestMetricFilter",
            json!({"filterPattern": "[ip, ..., status = 4*, bytes = %1+%]", "logEventMessages": ["a [b c] 404 \"1 2\""]}),
        ),
        of(
            "Logs_20140328.DescribeMetricFilters",
            json!({"logGroupName": "g", "filterNamePrefix": "f", "limit": 1}),
        ),
    ];
    run("logs", &[], spoilt_call(logs));
    let alarm = json!({"AlarmName": "a", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"});
    let query = json!({"StartTime": 1, "EndTime": 2, "MetricDataQueries": [{"Id": "a", "Expression": "m1/m2"},
        {"Id": "m1", "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "p99"}}]});
    let math = json!({"AlarmName": "b", "EvaluationPeriods": 1, "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold", "Metrics": [{"Id": "e", "Expression": "100*FILL(m1,0)/SUM(METRICS())"},
        {"Id": "m1", "ReturnData": false, "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}}]});
    let composite = json!({"AlarmName": "c", "AlarmRule": "ALARM(\"a\") OR NOT (AT_LEAST(50%, OK, (a, b)) AND TRUE)",
        "ActionsSuppressor": "a", "ActionsSuppressorWaitPeriod": 1, "ActionsSuppressorExtensionPeriod": 1});
    let metrics = vec![
        of("GraniteServiceVersion20100801.PutCompositeAlarm", composite),
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

#[test]
fn the_scheduler_answers_any_schedule() {
    const WORDS: &[&str] = &[
        "schedules",
        "schedule-groups",
        "s",
        "g",
        "default",
        "tags",
        "arn:aws:scheduler:us-east-1:123456789012:schedule-group/g",
        "?groupName=g&clientToken=t",
        "?MaxResults=x&NextToken=y",
        "?ScheduleGroup=g&State=x",
    ];
    let schedule = json!({
        "ClientToken": "t", "Description": "d", "GroupName": "default", "ScheduleExpression": "cron(0/5 8 ? * MON-FRI *)",
        "ScheduleExpressionTimezone": "UTC", "StartDate": 4_000_000_000_u64, "EndDate": 4_100_000_000_u64, "State": "ENABLED",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}, "ActionAfterCompletion": "NONE",
        "Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": ROLE, "Input": "{}",
            "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 1},
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:queue"}},
    });
    let expression = prop_oneof![
        "[0-9*?/,LW#A-Z -]{0,30}".prop_map(|fields| format!("cron({fields})")),
        "[0-9]{0,19} (minute|hour|day)s?".prop_map(|rate| format!("rate({rate})")),
        "[0-9T:.-]{0,24}".prop_map(|time| format!("at({time})")),
        any::<String>(),
    ];
    let known = spoilt_call(vec![
        ("POST", "/schedules/s", None, schedule.clone()),
        ("PUT", "/schedules/s", None, schedule.clone()),
        ("POST", "/schedule-groups/g", None, json!({"Tags": [{"Key": "k", "Value": "v"}]})),
    ]);
    let timed = expression.prop_map(move |expression| {
        let mut schedule = schedule.clone();
        schedule["ScheduleExpression"] = Value::from(expression);
        let body = schedule.to_string().into_bytes();
        Case { method: "POST", path: "/schedules/t".to_owned(), target: None, body }
    });
    let any = (methods(), path(WORDS)).prop_map(|(method, path)| Case {
        method,
        path,
        target: None,
        body: b"{}".to_vec(),
    });
    run("scheduler", &[], prop_oneof![2 => known, 2 => timed, 1 => any]);
}

#[test]
fn iam_answers_any_form() {
    const ACTIONS: &[&str] = &[
        "CreateRole",
        "GetRole",
        "UpdateRole",
        "UpdateRoleDescription",
        "UpdateAssumeRolePolicy",
        "DeleteRole",
        "TagRole",
        "PutRolePolicy",
        "GetRolePolicy",
        "AttachRolePolicy",
        "PutRolePermissionsBoundary",
        "CreatePolicy",
        "CreatePolicyVersion",
        "GetPolicyVersion",
        "CreateUser",
        "PutUserPolicy",
        "CreateAccessKey",
        "UpdateAccessKey",
        "DeleteAccessKey",
        "CreateGroup",
        "AddUserToGroup",
        "ListRoles",
        "ListPolicies",
        "GetAccountAuthorizationDetails",
        "NoSuchOperation",
        "",
    ];
    const FIELDS: &[&str] = &[
        "RoleName=r",
        "UserName=u",
        "GroupName=g",
        "PolicyName=p",
        "PolicyArn=arn:aws:iam::123456789012:policy/p",
        "PolicyArn=arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        "PermissionsBoundary=arn:aws:iam::123456789012:policy/p",
        "VersionId=v1",
        "SetAsDefault=true",
        "AccessKeyId=AKIAX",
        "Status=Inactive",
        "Path=/a/",
        "Path=%ff%00",
        "Description=",
        "Description=%3Ca%26",
        "Tags.member.1.Key=k",
        "Tags.member.1.Value=v",
        "Tags.member.99999999999.Key=x",
        "MaxSessionDuration=x",
        "MaxSessionDuration=7200",
        "MaxItems=-1",
        "Marker=x",
        "Version=2010-05-08",
        "=",
        "%",
    ];
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "s", "Effect": "Allow", "Action": ["sqs:*", "s3:Get?bject"], "Resource": ["arn:aws:sqs:*:*:${aws:username}", "*"],
        "Condition": {"ForAnyValue:StringLike": {"s3:prefix": ["${*}a*", "b"]}, "NumericLessThan": {"s3:max-keys": "10"}},
    }]});
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": ["123456789012"], "Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "e"}, "DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}},
    }]});
    let documents = prop_oneof![
        document("PolicyDocument", policy),
        document("PolicyDocument", trust.clone()),
        document("AssumeRolePolicyDocument", trust),
    ];
    run("iam", &[], forms(ACTIONS, FIELDS, documents));
}

#[test]
fn sts_answers_any_form() {
    const ACTIONS: &[&str] = &[
        "AssumeRole",
        "AssumeRoleWithWebIdentity",
        "AssumeRoleWithSAML",
        "GetSessionToken",
        "GetFederationToken",
        "GetCallerIdentity",
        "GetAccessKeyInfo",
        "DecodeAuthorizationMessage",
        "NoSuchOperation",
        "",
    ];
    const FIELDS: &[&str] = &[
        "RoleArn=arn:aws:iam::123456789012:role/fuzzer",
        "RoleArn=arn:aws:iam::123456789012:role/none",
        "RoleSessionName=s1",
        "RoleSessionName=%00",
        "DurationSeconds=900",
        "DurationSeconds=-1",
        "DurationSeconds=99999999999999999999",
        "ExternalId=e",
        "PolicyArns.member.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess",
        "WebIdentityToken=a.b.c",
        "PrincipalArn=arn:aws:iam::123456789012:saml-provider/p",
        "SAMLAssertion=PA%3D%3D",
        "Name=n",
        "AccessKeyId=AKIA",
        "EncodedMessage=x",
        "Version=2011-06-15",
        "=",
        "%",
    ];
    let policy = json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    run("sts", &[], forms(ACTIONS, FIELDS, document("Policy", policy)));
}

#[test]
fn ssm_answers_any_parameter() {
    let of = |target, body| ("POST", "/", Some(target), body);
    let tags = json!([{"Key": "k", "Value": "v"}]);
    let filters = json!([{"Key": "Name", "Option": "Equals", "Values": ["/p"]}]);
    let calls = vec![
        of(
            "AmazonSSM.PutParameter",
            json!({"Name": "/p", "Value": "v", "Type": "String", "Overwrite": true, "Tier": "Standard"}),
        ),
        of("AmazonSSM.PutParameter", json!({"Name": "/q", "Value": "v", "Type": "StringList", "Tags": tags})),
        of("AmazonSSM.GetParameter", json!({"Name": "/p:1", "WithDecryption": true})),
        of("AmazonSSM.GetParameters", json!({"Names": ["/p", "/none"]})),
        of("AmazonSSM.GetParametersByPath", json!({"Path": "/", "Recursive": true, "MaxResults": 1})),
        of("AmazonSSM.GetParameterHistory", json!({"Name": "/p", "MaxResults": 1})),
        of("AmazonSSM.DescribeParameters", json!({"ParameterFilters": filters, "NextToken": "x"})),
        of("AmazonSSM.LabelParameterVersion", json!({"Name": "/p", "ParameterVersion": 1, "Labels": ["l"]})),
        of(
            "AmazonSSM.AddTagsToResource",
            json!({"ResourceType": "Parameter", "ResourceId": "/p", "Tags": tags}),
        ),
        of("AmazonSSM.ListTagsForResource", json!({"ResourceType": "Parameter", "ResourceId": "/p"})),
        of("AmazonSSM.DeleteParameter", json!({"Name": "/p"})),
        of("AmazonSSM.NoSuchOperation", json!({})),
    ];
    run("ssm", &[], spoilt_call(calls));
}

#[test]
fn s3_answers_anything_on_any_path() {
    const WORDS: &[&str] = &[
        "bucket",
        "other",
        "key",
        "?acl",
        "?cors",
        "?delete",
        "?encryption",
        "?lifecycle",
        "?list-type=2&prefix=secret%2F&max-keys=x",
        "?location",
        "?policy",
        "?publicAccessBlock",
        "?tagging",
        "?uploads",
        "?uploadId=u&partNumber=1",
        "?versioning",
        "?versions&max-keys=-1",
        "?website",
    ];
    const DOCUMENTS: &[&str] = &[
        "<Delete><Object><Key>key</Key></Object><Quiet>true</Quiet></Delete>",
        "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part></CompleteMultipartUpload>",
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
        r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/*"}]}"#,
    ];
    let flipped = (prop::sample::select(DOCUMENTS), any::<prop::sample::Index>(), any::<u8>());
    let flipped = flipped.prop_map(|(document, index, byte)| {
        let mut text = document.as_bytes().to_vec();
        let at = index.index(text.len());
        text[at] ^= byte;
        text
    });
    let body = prop_oneof![
        2 => prop::sample::select(DOCUMENTS).prop_map(|document| document.as_bytes().to_vec()),
        2 => flipped,
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let any = (methods(), path(WORDS), body).prop_map(|(method, path, body)| Case {
        method,
        path,
        target: None,
        body,
    });
    let bucket = Case { method: "PUT", path: "/bucket".to_owned(), target: None, body: Vec::new() };
    run("s3", &[bucket], any);
}
