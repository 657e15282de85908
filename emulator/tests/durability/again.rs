//! What begins, ends or is named without a call of its own: the calls about it must still be made again.

use std::collections::BTreeSet;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::store::Store;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::DEADLINE;
use super::process::Process;

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const LOOK_EVERY: Duration = Duration::from_millis(20);
const UPDATE_CODE: &str = "/2015-03-31/functions/f/code";
/// Two of them are more than any one call may bring, which is 72 MiB.
const PART_BYTES: usize = 45 * 1024 * 1024;

/// Calls as an SDK makes them.
struct Caller<'a> {
    process: &'a Process,
    access_key_id: String,
}

impl<'a> Caller<'a> {
    fn administrator(process: &'a Process) -> Self {
        Self { process, access_key_id: "AKID".to_owned() }
    }

    async fn ask(&self, service: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        self.ask_with(service, method, path, body, None).await
    }

    async fn ask_with(
        &self,
        service: &str,
        method: &str,
        path: &str,
        body: &str,
        header: Option<(&str, &str)>,
    ) -> (u16, String) {
        let (target, path) = path.strip_prefix('#').map_or((None, path), |target| (Some(target), "/"));
        let form = body.starts_with("Action=");
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let credential = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/{service}/aws4_request",
            self.access_key_id
        );
        let url = format!("{}{path}", self.process.endpoint);
        let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
        request = request.header("authorization", credential).header("content-type", kind);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn call(&self, service: &str, method: &str, path: &str, body: &str) -> String {
        let (status, text) = self.ask(service, method, path, body).await;
        assert!((200..300).contains(&status), "{service} {method} {path}: {status} {text}");
        text
    }

    async fn json(&self, service: &str, path: &str, input: &Value) -> Value {
        let text = self.call(service, "POST", path, &input.to_string()).await;
        serde_json::from_str(&text).unwrap()
    }

    /// Puts an object in parts. Returns the answer to the call that completes it.
    async fn upload(&self, path: &str, parts: &[&str]) -> String {
        let begun = self.call("s3", "POST", &format!("{path}?uploads"), "").await;
        let upload = between(&begun, "<UploadId>", "</UploadId>");
        let mut listed = String::new();
        for (number, part) in (1..).zip(parts) {
            self.call("s3", "PUT", &format!("{path}?partNumber={number}&uploadId={upload}"), part).await;
            listed += &format!("<Part><PartNumber>{number}</PartNumber></Part>");
        }
        let parts = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
        self.call("s3", "POST", &format!("{path}?uploadId={upload}"), &parts).await
    }

    /// A bucket that keeps versions.
    async fn versioned_bucket(&self, path: &str) {
        self.call("s3", "PUT", path, "").await;
        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.call("s3", "PUT", &format!("{path}?versioning"), on).await;
    }

    /// The names of all versions and delete markers in a bucket.
    async fn versions(&self, path: &str) -> BTreeSet<String> {
        let text = self.call("s3", "GET", &format!("{path}?versions"), "").await;
        text.split("<VersionId>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    }

    /// A call of IAM or STS, in the form's own words.
    async fn form(&self, service: &str, form: &str) -> String {
        let version = if service == "sts" { "2011-06-15" } else { "2010-05-08" };
        let (action, rest) = form.split_once('&').unwrap_or((form, ""));
        self.call(service, "POST", "/", &format!("Action={action}&Version={version}&{rest}")).await
    }

    async fn role(&self) {
        let services = r#"["fis.amazonaws.com","scheduler.amazonaws.com","lambda.amazonaws.com"]"#;
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"Service":{services}}}}}]}}"#
        );
        self.form("iam", &format!("CreateRole&RoleName=r&AssumeRolePolicyDocument={trust}")).await;
        let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        self.form("iam", &format!("PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument={all}")).await;
    }

    async fn function(&self) {
        let input = json!({
            "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": ROLE,
            "Code": {"ZipFile": package("exit 1")},
        });
        self.call("lambda", "POST", "/2015-03-31/functions", &input.to_string()).await;
        let until = Instant::now() + DEADLINE;
        while self.configuration().await["State"] != "Active" {
            assert!(Instant::now() < until, "the function is never active");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn configuration(&self) -> Value {
        let text = self.call("lambda", "GET", "/2015-03-31/functions/f/configuration", "").await;
        serde_json::from_str(&text).unwrap()
    }

    async fn has_schedule(&self) -> bool {
        self.ask("scheduler", "GET", "/schedules/once", "").await.0 == 200
    }

    /// A schedule that sends one message to a queue and deletes itself.
    async fn schedule_that_is_done(&self) {
        self.role().await;
        self.call("sqs", "POST", "#AmazonSQS.CreateQueue", r#"{"QueueName":"q"}"#).await;
        self.call("scheduler", "POST", "/schedules/once", &schedule(&soon())).await;
        self.schedule_is_gone().await;
    }

    async fn schedule_is_gone(&self) {
        let until = Instant::now() + DEADLINE;
        while self.has_schedule().await {
            assert!(Instant::now() < until, "the schedule is never done");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn schedule_to_say(&self, expression: &str, text: &str) {
        let body = schedule_that_says(expression, text);
        self.call("scheduler", "POST", &format!("/schedules/{text}"), &body).await;
    }

    /// What comes to the queue until this text does; it is not there any more then.
    async fn heard_until(&self, last: &str) -> Vec<String> {
        let url = format!("{}/{ACCOUNT}/q", self.process.endpoint);
        let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1});
        let mut heard: Vec<String> = Vec::new();
        let until = Instant::now() + DEADLINE;
        while !heard.iter().any(|text| text == last) {
            assert!(Instant::now() < until, "{last} never comes, but {heard:?}");
            let received = self.json("sqs", "#AmazonSQS.ReceiveMessage", &receive).await;
            for message in received["Messages"].as_array().into_iter().flatten() {
                heard.push(message["Body"].as_str().unwrap().to_owned());
                let delete = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}).to_string();
                self.call("sqs", "POST", "#AmazonSQS.DeleteMessage", &delete).await;
            }
        }
        heard
    }
}

/// A bootstrap of one line, in base64.
fn package(line: &str) -> String {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .unix_permissions(0o755)
        .compression_method(zip::CompressionMethod::Stored);
    writer.start_file("bootstrap", options).unwrap();
    writer.write_all(format!("#!/bin/sh\n{line}\n").as_bytes()).unwrap();
    STANDARD.encode(writer.finish().unwrap().into_inner())
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    text.split_once(open).unwrap().1.split_once(close).unwrap().0
}

fn schedule(at: &str) -> String {
    json!({
        "ScheduleExpression": format!("at({at})"), "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {"Arn": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:q"), "RoleArn": ROLE},
    })
    .to_string()
}

/// One that sends this text and stays.
fn schedule_that_says(expression: &str, text: &str) -> String {
    json!({
        "ScheduleExpression": expression, "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:q"), "RoleArn": ROLE, "Input": text},
    })
    .to_string()
}

/// In two seconds at most.
fn soon() -> String {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    soon.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// A schedule of the 14th of November 2023 as an older emulator kept it.
fn record_of_2023(name: &str, body: &str) -> Vec<u8> {
    let head = json!({
        "at_ms": 1_700_000_000_000_i64, "seed": 9, "rules": 2, "service": "scheduler", "region": "us-east-1",
        "access_key_id": "AKID", "method": "POST", "path": format!("/schedules/{name}"), "query": "", "headers": [],
    });
    let head = head.to_string().into_bytes();
    let mut record = u32::try_from(head.len()).unwrap().to_le_bytes().to_vec();
    record.extend(head);
    record.extend(body.as_bytes());
    record
}

/// Adds calls to a directory that no emulator uses.
async fn keep(dir: &Path, records: &[Vec<u8>]) {
    let store = Store::open(dir).unwrap();
    let journal = store.requests().unwrap();
    records.iter().for_each(|record| journal.append(record));
    journal.committed().await.unwrap();
    store.close();
}

fn restarted(process: Process, dir: &Path) -> Process {
    process.kill();
    Process::start(dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_uploaded_in_parts_is_whole_again() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.call("s3", "PUT", "/bucket", "").await;
    caller.upload("/bucket/key", &["first ", "second"]).await;
    // One that is never completed.
    caller.call("s3", "POST", "/bucket/other?uploads", "").await;
    let before = caller.call("s3", "GET", "/bucket/key", "").await;
    assert_eq!(before, "first second");
    let process = restarted(process, &dir);
    assert_eq!(Caller::administrator(&process).call("s3", "GET", "/bucket/key", "").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_larger_than_any_call_is_whole_again() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.call("s3", "PUT", "/bucket", "").await;
    let (first, second) = ("a".repeat(PART_BYTES), "b".repeat(PART_BYTES));
    caller.upload("/bucket/key", &[&first, &second]).await;
    let process = restarted(process, &dir);
    let read = Caller::administrator(&process).call("s3", "GET", "/bucket/key", "").await;
    assert_eq!(read.len(), 2 * PART_BYTES);
    assert!(read.starts_with(&first) && read.ends_with(&second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_was_met_is_not_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.call("s3", "PUT", "/bucket", "").await;
    let uploaded = caller.upload("/bucket/key", &["first ", "second"]).await;
    let tag = between(&uploaded, "<ETag>", "</ETag>").replace("&quot;", "").replace('"', "");
    let condition = Some(("if-match", tag.as_str()));
    let (status, text) = caller.ask_with("s3", "PUT", "/bucket/key", "third", condition).await;
    assert_eq!(status, 200, "{text}");
    let process = restarted(process, &dir);
    assert_eq!(Caller::administrator(&process).call("s3", "GET", "/bucket/key", "").await, "third");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_a_bucket_are_shown_again() {
    const SETTINGS: [(&str, &str); 5] = [
        ("accelerate", "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>"),
        ("acl", "<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList/></AccessControlPolicy>"),
        ("logging", "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>"),
        (
            "requestPayment",
            "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
        ),
        (
            "versioning",
            "<VersioningConfiguration><MfaDelete>Disabled</MfaDelete><Status>Enabled</Status></VersioningConfiguration>",
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    let locked = Some(("x-amz-bucket-object-lock-enabled", "true"));
    assert_eq!(caller.ask_with("s3", "PUT", "/locked", "", locked).await.0, 200);
    caller.call("s3", "PUT", "/bucket", "").await;
    for (name, document) in SETTINGS {
        caller.call("s3", "PUT", &format!("/bucket?{name}"), document).await;
    }
    caller.call("s3", "DELETE", "/bucket?ownershipControls", "").await;
    let mut paths: Vec<String> = SETTINGS.iter().map(|(name, _)| format!("/bucket?{name}")).collect();
    paths.extend(["/locked?object-lock".to_owned(), "/locked?versioning".to_owned()]);
    let mut before = Vec::new();
    for path in &paths {
        before.push(caller.call("s3", "GET", path, "").await);
    }
    assert!(before.iter().all(|text| !text.is_empty()), "{before:?}");
    let process = restarted(process, &dir);
    let caller = Caller::administrator(&process);
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(caller.call("s3", "GET", path, "").await, before, "{path}");
    }
    let (status, text) = caller.ask("s3", "GET", "/bucket?ownershipControls", "").await;
    assert!(status == 404 && text.contains("OwnershipControlsNotFoundError"), "{status} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_objects_keep_their_names_and_their_deletions_over_every_restart() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    for bucket in ["/gone", "/kept"] {
        caller.versioned_bucket(bucket).await;
        caller.call("s3", "PUT", &format!("{bucket}/key"), "content").await;
    }
    for version in caller.versions("/gone").await {
        caller.call("s3", "DELETE", &format!("/gone/key?versionId={version}"), "").await;
    }
    caller.call("s3", "DELETE", "/gone", "").await;
    let version = caller.versions("/kept").await;
    caller.call("s3", "DELETE", "/kept/key", "").await;
    let both = caller.versions("/kept").await;
    assert_eq!((version.len(), both.len()), (1, 2));

    let process = restarted(process, &dir);
    let caller = Caller::administrator(&process);
    assert_eq!(caller.versions("/kept").await, both);
    for marker in both.difference(&version) {
        caller.call("s3", "DELETE", &format!("/kept/key?versionId={marker}"), "").await;
    }

    let process = restarted(process, &dir);
    let caller = Caller::administrator(&process);
    assert_eq!(caller.call("s3", "GET", "/kept/key", "").await, "content");
    for version in version {
        caller.call("s3", "DELETE", &format!("/kept/key?versionId={version}"), "").await;
    }
    caller.call("s3", "DELETE", "/kept", "").await;

    let process = restarted(process, &dir);
    for bucket in ["/gone", "/kept"] {
        assert_eq!(Caller::administrator(&process).ask("s3", "GET", bucket, "").await.0, 404, "{bucket}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_chooses_nothing_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let seed = ["--seed", "7"];
    let mut process = Process::start_with(&dir, &seed);
    for name in ["a", "b"] {
        let caller = Caller::administrator(&process);
        let queue = caller.json("sqs", "#AmazonSQS.CreateQueue", &json!({ "QueueName": name })).await;
        let message = json!({"QueueUrl": queue["QueueUrl"], "MessageBody": name});
        caller.json("sqs", "#AmazonSQS.SendMessage", &message).await;
        caller.json("apigateway", "/v2/apis", &json!({"name": name, "protocolType": "HTTP"})).await;
        process.kill();
        process = Process::start_with(&dir, &seed);
    }
    let caller = Caller::administrator(&process);
    for name in ["a", "b"] {
        let url = format!("{}/{ACCOUNT}/{name}", process.endpoint);
        let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
        let received = caller.json("sqs", "#AmazonSQS.ReceiveMessage", &receive).await;
        assert_eq!(received["Messages"].as_array().map(Vec::len), Some(1), "{received}");
        assert_eq!(received["Messages"][0]["Body"], name);
    }
    let apis = caller.call("apigateway", "GET", "/v2/apis", "").await;
    let apis: Value = serde_json::from_str(&apis).unwrap();
    let names = apis["items"].as_array().unwrap().iter().map(|api| api["name"].as_str().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_keys_that_were_handed_out_are_still_those_of_their_users() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.form("iam", "CreateUser&UserName=u").await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let made = caller.form("iam", "CreateAccessKey&UserName=u").await;
        keys.push(between(&made, "<AccessKeyId>", "</AccessKeyId>").to_owned());
    }
    caller.form("iam", &format!("DeleteAccessKey&UserName=u&AccessKeyId={}", keys[0])).await;
    let process = restarted(process, &dir);
    let user = Caller { process: &process, access_key_id: keys[1].clone() };
    let who = user.form("sts", "GetCallerIdentity").await;
    assert!(who.contains(&format!("arn:aws:iam::{ACCOUNT}:user/u")), "{who}");
    let listed = Caller::administrator(&process).form("iam", "ListAccessKeys&UserName=u").await;
    assert!(listed.contains(&keys[1]) && !listed.contains(&keys[0]), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_group_that_a_function_made_keeps_its_retention_and_its_filters() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.role().await;
    caller.function().await;
    let code = json!({"ZipFile": package("exit 2"), "DryRun": true}).to_string();
    caller.call("lambda", "PUT", UPDATE_CODE, &code).await;
    let before = caller.configuration().await["CodeSha256"].clone();
    caller.call("lambda", "POST", "/2015-03-31/functions/f/invocations", "{}").await;
    let retention = r#"{"logGroupName":"/aws/lambda/f","retentionInDays":7}"#;
    caller.call("logs", "POST", "#Logs_20140328.PutRetentionPolicy", retention).await;
    let filter = json!({"logGroupName": "/aws/lambda/f", "filterName": "n", "filterPattern": "{ $.n > 1 }",
        "metricTransformations": [{"metricNamespace": "N", "metricName": "m", "metricValue": "$.n"}]});
    caller.call("logs", "POST", "#Logs_20140328.PutMetricFilter", &filter.to_string()).await;
    let process = restarted(process, &dir);
    let caller = Caller::administrator(&process);
    let groups = caller.call("logs", "POST", "#Logs_20140328.DescribeLogGroups", "{}").await;
    let groups: Value = serde_json::from_str(&groups).unwrap();
    assert_eq!(groups["logGroups"][0]["retentionInDays"], 7, "{groups}");
    assert_eq!(groups["logGroups"][0]["metricFilterCount"], 1, "{groups}");
    assert_eq!(caller.configuration().await["CodeSha256"], before, "a dry run changed nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_may_have_the_name_of_one_that_was_done() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.schedule_that_is_done().await;
    caller.call("scheduler", "POST", "/schedules/once", &schedule("2099-01-01T00:00:00")).await;
    let process = restarted(process, &dir);
    let read = Caller::administrator(&process).call("scheduler", "GET", "/schedules/once", "").await;
    assert!(read.contains("2099-01-01"), "{read}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_was_done_is_neither_there_again_nor_kept() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.schedule_that_is_done().await;
    // Its turn comes when the deletion is on disk.
    caller.call("sqs", "POST", "#AmazonSQS.CreateQueue", r#"{"QueueName":"other"}"#).await;
    let process = restarted(process, &dir);
    assert!(!Caller::administrator(&process).has_schedule().await);
    let mut kept = String::new();
    for file in std::fs::read_dir(dir.join("requests")).unwrap() {
        kept += &String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(kept.contains("CreateQueue") && !kept.contains("/schedules/once"), "{kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_ran_does_not_run_again_at_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.role().await;
    caller.call("sqs", "POST", "#AmazonSQS.CreateQueue", r#"{"QueueName":"q"}"#).await;
    caller.schedule_to_say(&format!("at({})", soon()), "first").await;
    assert_eq!(caller.heard_until("first").await, ["first"]);
    let process = restarted(process, &dir);
    let caller = Caller::administrator(&process);
    // It begins at once.
    caller.schedule_to_say("rate(1 day)", "second").await;
    assert_eq!(caller.heard_until("second").await, ["second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_whose_time_passed_under_an_older_emulator_do_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.role().await;
    caller.call("sqs", "POST", "#AmazonSQS.CreateQueue", r#"{"QueueName":"q"}"#).await;
    process.kill();
    let recurring = schedule_that_says("cron(0 0 1 1 ? 2024)", "recurring");
    let once = record_of_2023("once", &schedule("2023-11-15T00:00:00"));
    keep(&dir, &[once, record_of_2023("recurring", &recurring)]).await;
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.schedule_is_gone().await;
    caller.schedule_to_say("rate(1 day)", "last").await;
    assert_eq!(caller.heard_until("last").await, ["last"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_of_an_experiment_that_ran_are_gone_with_it_and_an_engaged_lever_stays_engaged() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.role().await;
    let template = json!({
        "clientToken": "c", "description": "d", "roleArn": ROLE, "stopConditions": [{"source": "none"}],
        "actions": {"w": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}},
    });
    let made = caller.call("fis", "POST", "/experimentTemplates", &template.to_string()).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let start = json!({"clientToken": "c", "experimentTemplateId": made["experimentTemplate"]["id"]});
    let started = caller.call("fis", "POST", "/experiments", &start.to_string()).await;
    let started: Value = serde_json::from_str(&started).unwrap();
    let arn = started["experiment"]["arn"].as_str().unwrap();
    let arn = arn.replace(':', "%3A").replace('/', "%2F");
    caller.call("fis", "POST", &format!("/tags/{arn}"), r#"{"tags":{"a":"b"}}"#).await;
    let engage = r#"{"state":{"status":"engaged","reason":"stop"}}"#;
    caller.call("fis", "PATCH", "/safetyLevers/default/state", engage).await;
    let process = restarted(process, &dir);
    let lever = Caller::administrator(&process).call("fis", "GET", "/safetyLevers/default", "").await;
    assert!(lever.contains("engaged") && !lever.contains("disengaged"), "{lever}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_stays_when_a_version_of_it_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start(&dir);
    let caller = Caller::administrator(&process);
    caller.role().await;
    caller.function().await;
    let published = caller.json("lambda", "/2015-03-31/functions/f/versions", &json!({})).await;
    assert_eq!(published["Version"], "1");
    caller.call("lambda", "DELETE", "/2015-03-31/functions/f:1", "").await;
    let before = caller.configuration().await["CodeSha256"].clone();
    let process = restarted(process, &dir);
    assert_eq!(Caller::administrator(&process).configuration().await["CodeSha256"], before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_allowed_without_policies_is_made_again_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let process = Process::start_with(&dir, &["--iam", "off"]);
    let caller = Caller::administrator(&process);
    caller.call("sqs", "POST", "#AmazonSQS.CreateQueue", r#"{"QueueName":"q"}"#).await;
    // Its role does not exist.
    caller.function().await;
    let arn = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:q");
    let mapping = json!({"FunctionName": "f", "EventSourceArn": arn}).to_string();
    caller.call("lambda", "POST", "/2015-03-31/event-source-mappings", &mapping).await;
    let process = restarted(process, &dir);
    let caller = Caller::administrator(&process);
    let kept = caller.call("lambda", "GET", "/2015-03-31/event-source-mappings", "").await;
    assert!(kept.contains(&arn), "{kept}");
    // But not made for another queue.
    caller.call("sqs", "POST", "#AmazonSQS.CreateQueue", r#"{"QueueName":"other"}"#).await;
    let mapping = mapping.replace(&arn, &format!("arn:aws:sqs:us-east-1:{ACCOUNT}:other"));
    let (status, refusal) = caller.ask("lambda", "POST", "/2015-03-31/event-source-mappings", &mapping).await;
    assert_eq!(status, 400, "{refusal}");
}
