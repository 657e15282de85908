//! `--data-dir`: what was acknowledged is still there after a kill -9.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod again;
mod process;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName, SendMessageBatchRequestEntry};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use process::{Process, refused};

const ROUNDS: u64 = 4;
const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;
/// The queue's visibility timeout: what was in flight at a kill comes back after it.
const VISIBILITY_SECONDS: &str = "1";
/// Nothing takes so long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(60);

/// What callers were told.
#[derive(Debug, Default)]
struct Told {
    sent: BTreeSet<String>,
    /// A delete was on its way; the answer may never have come.
    deleting: BTreeSet<String>,
    deleted: BTreeSet<String>,
    items: BTreeSet<String>,
}

type Shared = Arc<Mutex<Told>>;

async fn produce(sqs: aws_sdk_sqs::Client, url: String, name: String, told: Shared) {
    for n in 0.. {
        let bodies: Vec<String> = (0..5).map(|m| format!("{name}-{n}-{m}")).collect();
        let entries = bodies.iter().enumerate().map(|(id, body)| {
            SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().unwrap()
        });
        let sent = sqs.send_message_batch().queue_url(&url).set_entries(Some(entries.collect())).send().await;
        let Ok(sent) = sent else { return };
        let acknowledged =
            sent.successful().iter().map(|one| bodies[one.id().parse::<usize>().unwrap()].clone());
        told.lock().unwrap().sent.extend(acknowledged);
    }
}

async fn consume(sqs: aws_sdk_sqs::Client, url: String, told: Shared) {
    loop {
        let request = sqs.receive_message().queue_url(&url).max_number_of_messages(5).wait_time_seconds(1);
        let Ok(received) = request.send().await else { return };
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            continue;
        }
        let bodies: Vec<String> = messages.iter().map(|one| one.body().unwrap().to_owned()).collect();
        told.lock().unwrap().deleting.extend(bodies.iter().cloned());
        let entries = messages.iter().enumerate().map(|(id, one)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.receipt_handle(one.receipt_handle().unwrap()).build().unwrap()
        });
        let call = sqs.delete_message_batch().queue_url(&url).set_entries(Some(entries.collect()));
        let Ok(deleted) = call.send().await else { return };
        let done = deleted.successful().iter().map(|one| bodies[one.id().parse::<usize>().unwrap()].clone());
        told.lock().unwrap().deleted.extend(done);
    }
}

async fn put(tables: aws_sdk_dynamodb::Client, name: String, told: Shared) {
    for n in 0.. {
        let id = format!("{name}-{n}");
        let item = tables.put_item().table_name("items").item("id", AttributeValue::S(id.clone()));
        if item.send().await.is_err() {
            return;
        }
        told.lock().unwrap().items.insert(id);
    }
}

async fn set_up(process: &Process) -> String {
    let config = process.config().await;
    let tables = aws_sdk_dynamodb::Client::new(&config);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let attribute =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let table =
        tables.create_table().table_name("items").key_schema(key).billing_mode(BillingMode::PayPerRequest);
    table.attribute_definitions(attribute.build().unwrap()).send().await.unwrap();
    let sqs = aws_sdk_sqs::Client::new(&config);
    let queue = sqs.create_queue().queue_name("q");
    let queue = queue.attributes(QueueAttributeName::VisibilityTimeout, VISIBILITY_SECONDS).send().await;
    queue.unwrap().queue_url.unwrap()
}

/// Load of all kinds until the process is killed at a moment that the seed chooses.
async fn load_and_kill(process: Process, url: &str, round: u64, told: &Shared) {
    let config = process.config().await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let tables = aws_sdk_dynamodb::Client::new(&config);
    let mut load = tokio::task::JoinSet::new();
    for n in 0..PRODUCERS {
        let name = format!("{round}-{n}");
        load.spawn(produce(sqs.clone(), url.to_owned(), name.clone(), Arc::clone(told)));
        load.spawn(put(tables.clone(), name, Arc::clone(told)));
    }
    for _ in 0..CONSUMERS {
        load.spawn(consume(sqs.clone(), url.to_owned(), Arc::clone(told)));
    }
    let before = told.lock().unwrap().deleted.len();
    let moment_ms = ChaCha8Rng::seed_from_u64(round).random_range(20..300);
    let under_way = async {
        while told.lock().unwrap().deleted.len() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, under_way).await.expect("messages go through");
    tokio::time::sleep(Duration::from_millis(moment_ms)).await;
    process.kill();
    load.join_all().await;
}

/// Everything that the queue still holds, taken out.
async fn drain(process: &Process, url: &str) -> BTreeSet<String> {
    let sqs = aws_sdk_sqs::Client::new(&process.config().await);
    let mut found = BTreeSet::new();
    let empty = async {
        loop {
            let request =
                sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
            for message in request.send().await.unwrap().messages.unwrap_or_default() {
                found.insert(message.body().unwrap().to_owned());
                let delete = sqs.delete_message().queue_url(url);
                delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
            }
            let counts = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
            let counts = counts.send().await.unwrap().attributes.unwrap();
            let count = |name| counts[&name] == "0";
            if count(QueueAttributeName::ApproximateNumberOfMessages)
                && count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, empty).await.expect("the queue becomes empty");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_deleted_returns_after_kill_9_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let endpoint = process.endpoint.clone();
    let url = set_up(&process).await;
    let told = Shared::default();
    load_and_kill(process, &url, 0, &told).await;
    for round in 1..ROUNDS {
        let process = Process::start(&dir);
        assert_eq!(process.endpoint, endpoint, "URLs that were handed out stay true");
        load_and_kill(process, &url, round, &told).await;
    }
    let process = Process::start(&dir);
    let found = drain(&process, &url).await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.sent.len() > 100 && told.deleted.len() > 10 && told.items.len() > 10, "{told:?}");
    let expected: BTreeSet<_> = told.sent.difference(&told.deleting).cloned().collect();
    let lost: Vec<_> = expected.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let risen: Vec<_> = told.deleted.intersection(&found).collect();
    assert!(risen.is_empty(), "deleted, acknowledged, and back: {risen:?}");
    let tables = aws_sdk_dynamodb::Client::new(&process.config().await);
    let mut pages = tables.scan().table_name("items").into_paginator().items().send();
    let mut kept = BTreeSet::new();
    while let Some(item) = pages.next().await {
        kept.insert(item.unwrap()["id"].as_s().unwrap().clone());
    }
    let lost: Vec<_> = told.items.difference(&kept).collect();
    assert!(lost.is_empty(), "items acknowledged and lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_receive_counts_and_handles_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let sqs = aws_sdk_sqs::Client::new(&process.config().await);
    let dead = sqs.create_queue().queue_name("dead").send().await.unwrap().queue_url.unwrap();
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":1}"#;
    let work = sqs.create_queue().queue_name("work");
    let work = work.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap();
    let work = work.queue_url.unwrap();
    for body in ["failed", "held"] {
        sqs.send_message().queue_url(&work).message_body(body).send().await.unwrap();
    }
    let receive = |url: &str| {
        let request = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(5);
        async move { request.send().await.unwrap().messages.unwrap_or_default() }
    };
    let received = receive(&work).await;
    let [failed, held] = &received[..] else { panic!("two messages, not {received:?}") };
    let change = sqs.change_message_visibility().queue_url(&work).visibility_timeout(0);
    change.receipt_handle(failed.receipt_handle().unwrap()).send().await.unwrap();
    // It was received once, which is all that it may be: this receive gives it up.
    let short = sqs.receive_message().queue_url(&work).send().await.unwrap();
    assert_eq!(short.messages.unwrap_or_default().len(), 0);
    // Waits for the records of the two receives as well: records are in order.
    sqs.send_message().queue_url(&work).message_body("last").send().await.unwrap();
    process.kill();

    let process = Process::start(&dir);
    let sqs = aws_sdk_sqs::Client::new(&process.config().await);
    let letters = sqs.receive_message().queue_url(&dead).send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(letters.iter().map(|one| one.body().unwrap()).collect::<Vec<_>>(), ["failed"]);
    // A handle from before the kill still deletes.
    let delete = sqs.delete_message().queue_url(&work).receipt_handle(held.receipt_handle().unwrap());
    delete.send().await.unwrap();
    assert_eq!(drain(&process, &work).await, BTreeSet::from(["last".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_terraform_configures_reads_the_same_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let client = reqwest::Client::new();
    let before = configure(&client, &process.endpoint).await;
    assert_eq!(read_all(&client, &process.endpoint, &before).await, before.1);
    process.kill();
    let process = Process::start(&dir);
    assert_eq!(read_all(&client, &process.endpoint, &before).await, before.1);
}

/// Paths to read, and what they read.
type Configured = (Vec<(&'static str, String)>, Vec<String>);

async fn call(
    client: &reqwest::Client,
    endpoint: &str,
    service: &str,
    path: &str,
    body: Option<&str>,
) -> String {
    let credential = format!("AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request");
    let url = format!("{endpoint}{path}");
    let request = match body {
        Some(body) if service == "s3" => client.put(url).body(body.to_owned()),
        Some(body) => client.post(url).body(body.to_owned()),
        None => client.get(url),
    };
    let form = body.is_some_and(|body| body.starts_with("Action="));
    let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let request = request.header("authorization", credential).header("content-type", kind);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{service} {path}: {status} {text}");
    text
}

async fn configure(client: &reqwest::Client, endpoint: &str) -> Configured {
    let make = |service: &'static str, path: &'static str, body: &'static str| async move {
        let text = call(client, endpoint, service, path, Some(body)).await;
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default()
    };
    let api = make("apigateway", "/v2/apis", r#"{"name":"a","protocolType":"HTTP"}"#).await;
    let api = api["apiId"].as_str().unwrap().to_owned();
    call(
        client,
        endpoint,
        "apigateway",
        &format!("/v2/apis/{api}/stages"),
        Some(r#"{"stageName":"$default","autoDeploy":true}"#),
    )
    .await;
    make("iam", "/", "Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22sts%3AAssumeRole%22%2C%22Principal%22%3A%7B%22Service%22%3A%22fis.amazonaws.com%22%7D%7D%5D%7D").await;
    make("s3", "/bucket", "").await;
    make("s3", "/bucket/key", "content").await;
    let template = r#"{"clientToken":"c","description":"d","roleArn":"arn:aws:iam::123456789012:role/r","stopConditions":[{"source":"none"}],"actions":{"w":{"actionId":"aws:fis:wait","parameters":{"duration":"PT1M"}}}}"#;
    let template = make("fis", "/experimentTemplates", template).await;
    let template = template["experimentTemplate"]["id"].as_str().unwrap().to_owned();
    let paths = vec![
        ("apigateway", format!("/v2/apis/{api}")),
        ("apigateway", format!("/v2/apis/{api}/stages")),
        ("s3", "/bucket/key".to_owned()),
        ("fis", format!("/experimentTemplates/{template}")),
    ];
    let mut read = Vec::new();
    for (service, path) in &paths {
        read.push(call(client, endpoint, service, path, None).await);
    }
    (paths, read)
}

async fn read_all(client: &reqwest::Client, endpoint: &str, configured: &Configured) -> Vec<String> {
    let mut read = Vec::new();
    for (service, path) in &configured.0 {
        read.push(call(client, endpoint, service, path, None).await);
    }
    read
}

/// Calls about four queues, roles, buckets and APIs in an order that a seed chooses; those that are refused change nothing.
async fn live(client: &reqwest::Client, endpoint: &str, random: &mut ChaCha8Rng, calls: usize) {
    let account = "123456789012";
    let mut apis: Vec<String> = Vec::new();
    for _ in 0..calls {
        let (n, other) = (random.random_range(0..4), random.random_range(0..4));
        let queue = |operation: &str, more: &str| {
            format!("Action={operation}&Version=2012-11-05&QueueUrl={endpoint}/{account}/q-{n}{more}")
        };
        let role = |operation: &str, more: &str| {
            format!("Action={operation}&Version=2010-05-08&RoleName=r-{n}{more}")
        };
        let arn = format!("arn:aws:sqs:us-east-1:{account}:q-{other}");
        let redrive = format!(
            "&Attribute.1.Name=RedrivePolicy&Attribute.1.Value={{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":3}}"
        );
        let (service, method, path, body) = match random.random_range(0..12) {
            0 => (
                "sqs",
                "POST",
                "/".to_owned(),
                format!("Action=CreateQueue&Version=2012-11-05&QueueName=q-{n}"),
            ),
            1 => ("sqs", "POST", "/".to_owned(), queue("SetQueueAttributes", &redrive)),
            2 => ("sqs", "POST", "/".to_owned(), queue("TagQueue", "&Tag.1.Key=k&Tag.1.Value=v")),
            3 => ("sqs", "POST", "/".to_owned(), queue("DeleteQueue", "")),
            4 => (
                "iam",
                "POST",
                "/".to_owned(),
                role("CreateRole", "&AssumeRolePolicyDocument={\"Statement\":[]}"),
            ),
            5 => (
                "iam",
                "POST",
                "/".to_owned(),
                role("UpdateRoleDescription", &format!("&Description=of q-{other}")),
            ),
            6 => ("iam", "POST", "/".to_owned(), role("DeleteRole", "")),
            7 => ("s3", "PUT", format!("/bucket-{n}"), String::new()),
            8 => ("s3", "PUT", format!("/bucket-{n}/key"), format!("content {other}")),
            9 => (
                "s3",
                "DELETE",
                if other == 0 { format!("/bucket-{n}") } else { format!("/bucket-{n}/key") },
                String::new(),
            ),
            10 => (
                "apigateway",
                "POST",
                "/v2/apis".to_owned(),
                format!(r#"{{"name":"api-{n}","protocolType":"HTTP"}}"#),
            ),
            _ if apis.is_empty() => continue,
            _ => (
                "apigateway",
                "DELETE",
                format!("/v2/apis/{}", apis.swap_remove(n % apis.len())),
                String::new(),
            ),
        };
        let credential =
            format!("AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request");
        let kind = if body.starts_with("Action=") {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let request = client.request(method.parse().unwrap(), format!("{endpoint}{path}")).body(body);
        let answer =
            request.header("authorization", credential).header("content-type", kind).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(!status.is_server_error(), "{service} {method} {path}: {status} {text}");
        if let Some(id) =
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default()["apiId"].as_str()
        {
            apis.push(id.to_owned());
        }
    }
}

/// What can be seen of them.
async fn seen(client: &reqwest::Client, endpoint: &str) -> Vec<String> {
    let mut all = Vec::new();
    for n in 0..4 {
        let attributes = format!(
            "Action=GetQueueAttributes&Version=2012-11-05&AttributeName.1=All&QueueUrl={endpoint}/123456789012/q-{n}"
        );
        let role = format!("Action=GetRole&Version=2010-05-08&RoleName=r-{n}");
        for (service, path, body) in [
            ("sqs", "/".to_owned(), Some(attributes)),
            ("iam", "/".to_owned(), Some(role)),
            ("s3", format!("/bucket-{n}/key"), None),
            ("s3", format!("/bucket-{n}"), None),
            ("apigateway", "/v2/apis".to_owned(), None),
        ] {
            let url = format!("{endpoint}{path}");
            let request = match body {
                Some(body) => {
                    client.post(url).body(body).header("content-type", "application/x-www-form-urlencoded")
                }
                None => client.get(url),
            };
            let credential =
                format!("AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request");
            let text =
                request.header("authorization", credential).send().await.unwrap().text().await.unwrap();
            all.push(without_what_is_new_at_every_start(&text));
        }
    }
    all
}

/// Request ids, and what the engines of others do not keep: a role's id and dates, an object's date.
fn without_what_is_new_at_every_start(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["RequestId", "RoleId", "CreateDate", "LastModified", "HostId"] {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        while let Some((before, (_, after))) =
            text.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?)))
        {
            text = format!("{before}{after}");
        }
    }
    text
}

fn requests_bytes(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir.join("requests")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_about_what_is_gone_are_dropped_at_the_start_and_nothing_reads_differently() {
    for seed in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("data");
        let client = reqwest::Client::new();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut process = Process::start(&dir);
        for _ in 0..2 {
            live(&client, &process.endpoint, &mut random, 150).await;
            let before = (seen(&client, &process.endpoint).await, requests_bytes(&dir));
            process.kill();
            process = Process::start(&dir);
            let after = (seen(&client, &process.endpoint).await, requests_bytes(&dir));
            assert_eq!(after.0, before.0, "seed {seed}");
            assert!(after.1 < before.1 * 3 / 4, "seed {seed}: {} of {} bytes are left", after.1, before.1);
        }
    }
}

#[test]
fn two_emulators_never_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let second = refused(&dir, &[]);
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("in use by another emulator"), "{text}");
    process.kill();
    Process::start(&dir).kill();
}

#[test]
fn a_directory_of_another_region_or_with_a_damaged_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    Process::start(&dir).kill();
    let text = |output: std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let other = text(refused(&dir, &["--region", "eu-west-1"]));
    assert!(other.contains("made for region us-east-1, not eu-west-1"), "{other}");
    let journal = dir.join("requests/0000000001.log");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    let damaged = text(refused(&dir, &[]));
    assert!(damaged.contains("damaged at byte 0"), "{damaged}");
}
