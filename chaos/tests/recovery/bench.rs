//! An emulator with the resources that faults change, made by the ordinary APIs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_apigatewayv2::types::ProtocolType;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, Tag,
};
use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use chaos::cloud::Cloud;
use chaos::fault::{Lever, ReservedConcurrency};
use chaos::iam::RolePolicy;
use chaos::journal::{Journal, Step};
use loadtest::stack::{Api, Auth, FaultInjection, Function, Queue, Stack, Table};
use loadtest::token::KeyPair;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::front::Front;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
const ROLE: &str = "arn:aws:iam::123456789012:role/chaos";
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const ALLOWED: (&str, &str) = ("chaos", "allowed");
const FUNCTIONS: [&str; 4] = ["submit-task", "list-tasks", "process-task", "audit-dead-letters"];
/// Every kind of setting, overlapping, so that each moment has another set of them in effect.
const EXPERIMENT: &str = r#"
name = "every-setting"
hypothesis = "Whatever ends this run, nothing stays changed."
[load]
rate_per_second = 5
duration = "3s"
settle = "1s"
owners = 1
[abort]
refused_percent = 100
[[fault]]
kind = "lambda-reserved-concurrency"
target = "list-tasks"
start = "0s"
duration = "3s"
concurrency = 0
[[fault]]
kind = "mapping-maximum-concurrency"
target = "process-task"
start = "200ms"
duration = "2s"
concurrency = 2
[[fault]]
kind = "http-throttle"
target = "http-api"
route = "POST /tasks"
start = "100ms"
duration = "2s"
rate_per_second = 5
burst = 5
[[fault]]
kind = "mapping-disabled"
target = "process-task"
start = "300ms"
duration = "1s"
[[fault]]
kind = "http-throttle"
target = "http-api"
start = "500ms"
duration = "2s"
rate_per_second = 5
burst = 5
[[fault]]
kind = "table-on-demand-cap"
target = "tasks"
start = "0s"
duration = "2s"
write_units = 5
[[fault]]
kind = "table-deny"
target = "tasks"
start = "800ms"
duration = "2s"
[[fault]]
kind = "queue-visibility-timeout"
target = "tasks"
start = "1s"
duration = "2s"
visibility_timeout = "0s"
[[fault]]
kind = "queue-deny"
target = "tasks"
start = "600ms"
duration = "2s"
[[fault]]
kind = "role-permission"
target = "process-task"
start = "400ms"
duration = "2s"
actions = ["dynamodb:UpdateItem"]
[[fault]]
kind = "fis-invocation-error"
target = "submit-task"
start = "0s"
duration = "3s"
prevent_execution = true
"#;

pub(crate) struct Bench {
    folder: TempDir,
    _emulator: Emulator,
    cloud: Cloud,
    stack: Stack,
}

/// Ends with its owner, also when a start that takes too long panics.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Bench {
    pub(crate) async fn up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (emulator, endpoint) = start_emulator(folder.path()).await;
        let cloud = Cloud::connect(Some(&endpoint), REGION).await;
        let stack = Box::pin(make_stack(&cloud, folder.path(), endpoint)).await;
        std::fs::write(folder.path().join("stack.json"), serde_json::to_vec(&stack).unwrap()).unwrap();
        std::fs::write(folder.path().join("experiment.toml"), EXPERIMENT).unwrap();
        Self { folder, _emulator: emulator, cloud, stack }
    }

    /// A file beside the others.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn experiment(&self) -> PathBuf {
        self.folder().join("experiment.toml")
    }

    pub(crate) fn stack_file(&self) -> PathBuf {
        self.folder().join("stack.json")
    }

    pub(crate) fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The folder of a run that died with this fault in effect.
    pub(crate) fn left_open(&self, folder: &Path, account_id: &str, lever: &Lever, prior: &Value) {
        std::fs::create_dir_all(folder).unwrap();
        let journal = Journal::open(folder).unwrap();
        let (endpoint, region) = (self.stack.endpoint.clone(), self.stack.region.clone());
        journal.record(Step::Target { endpoint, region, account_id: account_id.into() }).unwrap();
        let (lever, prior) = (lever.clone(), prior.clone());
        journal.record(Step::Intent { fault: 0, experiment: "one".into(), lever, prior }).unwrap();
    }

    /// Zero on `list-tasks`.
    pub(crate) fn throttle(&self) -> Lever {
        let function = &self.stack.functions["list-tasks"];
        Lever::ReservedConcurrency(ReservedConcurrency {
            function: function.name.clone(),
            function_arn: function.arn.clone(),
            concurrency: 0,
        })
    }

    /// Templates that are there, and experiments that have not ended.
    pub(crate) async fn experiments_left(&self) -> usize {
        let templates = self.cloud.fis.list_experiment_templates().send().await.unwrap();
        let experiments = self.cloud.fis.list_experiments().send().await.unwrap();
        let status = |status: Option<&aws_sdk_fis::types::ExperimentState>| {
            status.and_then(|state| state.status()).map(|status| status.as_str().to_owned())
        };
        let live = experiments.experiments().iter().map(|experiment| status(experiment.state()));
        let live =
            live.filter(|status| matches!(status.as_deref(), Some("running" | "pending" | "initiating")));
        templates.experiment_templates().len() + live.count()
    }
}

/// The emulator is another package's program: it lies beside ours once the workspace is built.
async fn start_emulator(folder: &Path) -> (Emulator, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_chaos")).with_file_name("emulator");
    let ready = folder.join("ready.json");
    let mut command = Command::new(&program);
    command.args(["up", "--port", "0", "--ready-file"]).arg(&ready);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let emulator = Emulator(command.spawn().unwrap_or_else(|error| {
        panic!("{}: {error}; build the whole workspace", program.display());
    }));
    let until = Instant::now() + START_LIMIT;
    loop {
        if let Some(ready) =
            std::fs::read(&ready).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        {
            return (emulator, ready["endpoint"].as_str().unwrap().to_owned());
        }
        assert!(Instant::now() < until, "the emulator does not become ready");
        sleep(LOOK).await;
    }
}

async fn make_stack(cloud: &Cloud, folder: &Path, endpoint: String) -> Stack {
    let front = Front::up().await;
    make_role(cloud, &endpoint).await;
    let key = folder.join("key.pem");
    std::fs::write(&key, KeyPair::generate().unwrap().to_pem()).unwrap();
    let mut functions = BTreeMap::new();
    for name in FUNCTIONS {
        functions.insert(name.to_owned(), make_function(cloud, name).await);
    }
    let queues = BTreeMap::from([
        ("tasks".to_owned(), make_queue(cloud, "tasks").await),
        ("tasks-dlq".to_owned(), make_queue(cloud, "tasks-dlq").await),
    ]);
    let mapping = cloud
        .lambda
        .create_event_source_mapping()
        .function_name("process-task")
        .event_source_arn(&queues["tasks"].arn)
        .send()
        .await
        .unwrap();
    Stack {
        endpoint: Some(endpoint),
        region: REGION.into(),
        account_id: ACCOUNT.into(),
        http_url: front.http_url,
        websocket_url: front.websocket_url,
        http_api: make_api(cloud).await,
        websocket_api: Api { id: "none".into(), stage: "live".into() },
        functions,
        queues,
        tables: BTreeMap::from([("tasks".to_owned(), make_table(cloud).await)]),
        event_source_mapping_id: mapping.uuid().unwrap().to_owned(),
        fault_injection: Some(FaultInjection {
            role_arn: ROLE.into(),
            bucket: "faults".into(),
            prefix: "FisConfigs/".into(),
            at_once: false,
        }),
        auth: Auth { issuer: "i".into(), audience: "a".into(), private_key_path: Some(key) },
    }
}

/// The harness itself makes no roles, so its client cannot.
async fn make_role(cloud: &Cloud, endpoint: &str) {
    let trust = "AssumeRolePolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                 %22Principal%22%3A%7B%22Service%22%3A%5B%22lambda.amazonaws.com%22%2C%22fis.amazonaws.com%22%5D%7D%2C\
                 %22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D";
    let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
    let call = reqwest::Client::new().post(format!("{endpoint}/")).header("authorization", scope);
    let call = call.header("content-type", "application/x-www-form-urlencoded");
    let answer =
        call.body(format!("Action=CreateRole&Version=2010-05-08&RoleName=chaos&{trust}")).send().await;
    let answer = answer.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    // The mapping receives in its name.
    let everything =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    cloud.iam.put(RolePolicy { role: "chaos", name: "everything" }, everything).await.unwrap();
}

async fn make_function(cloud: &Cloud, name: &str) -> Function {
    let (key, value) = ALLOWED;
    // FIS looks for its configuration's place, and finds it here; nothing ever reads it.
    let location =
        ("AWS_FIS_CONFIGURATION_LOCATION".to_owned(), "arn:aws:s3:::faults/FisConfigs/".to_owned());
    let made = cloud
        .lambda
        .create_function()
        .function_name(name)
        .role(ROLE)
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .timeout(1)
        .environment(Environment::builder().set_variables(Some([location].into())).build())
        .code(FunctionCode::builder().zip_file(Blob::new(package())).build())
        .tags(key, value)
        .send()
        .await
        .unwrap();
    let active = cloud.lambda.wait_until_function_active_v2().function_name(name);
    active.wait(START_LIMIT).await.unwrap();
    Function {
        name: name.into(),
        arn: made.function_arn().unwrap().to_owned(),
        role_arn: made.role().unwrap().to_owned(),
        timeout_seconds: 1,
    }
}

/// Ends at once: nobody relies on what it answers.
fn package() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let executable = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("bootstrap", executable).unwrap();
    zip.write_all(b"#!/bin/sh\nexit 1\n").unwrap();
    zip.finish().unwrap().into_inner()
}

async fn make_queue(cloud: &Cloud, name: &str) -> Queue {
    use aws_sdk_sqs::types::QueueAttributeName::{QueueArn, VisibilityTimeout};
    let (key, value) = ALLOWED;
    let call = cloud.sqs.create_queue().queue_name(name).attributes(VisibilityTimeout, "6").tags(key, value);
    let url = call.send().await.unwrap().queue_url.unwrap();
    let found =
        cloud.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueArn).send().await.unwrap();
    let arn = found.attributes().unwrap()[&QueueArn].clone();
    Queue { url, arn, visibility_timeout_seconds: Some(6), max_receive_count: Some(5) }
}

async fn make_table(cloud: &Cloud) -> Table {
    let (key, value) = ALLOWED;
    let attribute = |name: &str| {
        let of = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        of.build().unwrap()
    };
    let key_of =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let all = Projection::builder().projection_type(ProjectionType::All).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name("owner-index")
        .key_schema(key_of("owner_shard", KeyType::Hash))
        .key_schema(key_of("owner_sort", KeyType::Range))
        .projection(all);
    let made = cloud
        .dynamodb
        .create_table()
        .table_name("tasks")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("task_id"))
        .attribute_definitions(attribute("owner_shard"))
        .attribute_definitions(attribute("owner_sort"))
        .key_schema(key_of("task_id", KeyType::Hash))
        .global_secondary_indexes(index.build().unwrap())
        .tags(Tag::builder().key(key).value(value).build().unwrap())
        .send()
        .await
        .unwrap();
    let arn = made.table_description().and_then(|table| table.table_arn()).unwrap().to_owned();
    Table { name: "tasks".into(), arn }
}

async fn make_api(cloud: &Cloud) -> Api {
    let (key, value) = ALLOWED;
    let call = cloud.apigateway.create_api().name("http").protocol_type(ProtocolType::Http).tags(key, value);
    let id = call.send().await.unwrap().api_id.unwrap();
    let stage = "$default";
    cloud.apigateway.create_stage().api_id(&id).stage_name(stage).send().await.unwrap();
    Api { id, stage: stage.into() }
}
