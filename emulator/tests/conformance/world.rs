//! Where the behaviours are looked at: an emulator of their own, or an account that somebody put on the list.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_sqs::config::Credentials;
use emulator::{Emulator, Options, Running};
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::signed::{self, Answer};

/// Accounts that may be touched, by number, with commas between.
const ACCOUNTS: &str = "CONFORMANCE_AWS_ACCOUNTS";
pub(crate) const REGION: &str = "us-east-1";
/// Parts of the names of errors that say that there is nothing to delete.
const GONE: [&str; 4] = ["NotFound", "NonExistent", "DoesNotExist", "NoSuchEntity"];

pub(crate) struct World {
    pub(crate) config: SdkConfig,
    pub(crate) account_id: String,
    running: Option<Running>,
    made: Mutex<Vec<Made>>,
}

/// What is deleted at the end, by its name or whatever it is deleted by.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Alarm(String),
    Api(String),
    Function(String),
    QueueUrl(String),
    Role(String),
    Schedule(String),
    Table(String),
    Template(String),
}

/// How a behaviour ended. It may fail: what it made is deleted all the same.
pub(crate) fn outcome(behaviour: impl Future<Output = ()>) -> impl Future<Output = std::thread::Result<()>> {
    AssertUnwindSafe(behaviour).catch_unwind()
}

impl World {
    pub(crate) async fn emulated() -> Self {
        let options = Options { iam: false, ..Options::default() };
        let account_id = options.account_id.clone();
        let running = Emulator::start(options).await.unwrap();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(running.endpoint())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .load()
            .await;
        Self::new(config, account_id, Some(running))
    }

    /// Refuses every account that is not on the list, before anything is made there.
    pub(crate) async fn aws() -> Self {
        let allowed = std::env::var(ACCOUNTS).unwrap_or_default();
        assert!(!allowed.is_empty(), "{ACCOUNTS} names no account that may be touched");
        let config = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(REGION)).load().await;
        let account_id = account_of(&config).await;
        let known = allowed.split(',').any(|one| one.trim() == account_id);
        assert!(known, "account {account_id} is not on the list in {ACCOUNTS}: refused");
        Self::new(config, account_id, None)
    }

    fn new(config: SdkConfig, account_id: String, running: Option<Running>) -> Self {
        Self { config, account_id, running, made: Mutex::default() }
    }

    /// A name that no other run uses.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("conformance-{what}-{:08x}", rand::random::<u32>())
    }

    /// To be said as soon as it is made, or before.
    pub(crate) fn made(&self, what: Made) {
        self.made.lock().unwrap().push(what);
    }

    /// The ARN of a role that this service may take, and that may do nothing.
    pub(crate) async fn role(&self, service: &str) -> String {
        let name = self.name("role");
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}},
        ]});
        self.made(Made::Role(name.clone()));
        let fields = [("RoleName", name.as_str()), ("AssumeRolePolicyDocument", &trust.to_string())];
        let answer = self.iam("CreateRole", &fields).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        format!("arn:aws:iam::{}:role/{name}", self.account_id)
    }

    pub(crate) async fn iam(&self, action: &str, fields: &[(&str, &str)]) -> Answer {
        signed::iam(&self.config, action, fields).await
    }

    pub(crate) async fn scheduler(&self, method: Method, path: &str, body: &Value) -> Answer {
        signed::scheduler(&self.config, method, path, body).await
    }

    /// Deletes what was made. Then it fails if the behaviour did, or if something could not be deleted.
    pub(crate) async fn end(self, outcome: std::thread::Result<()>) {
        let left = self.clean_up().await;
        if let Some(running) = self.running {
            running.shutdown().await;
        }
        if let Err(failure) = outcome {
            eprintln!("left behind: {left:?}");
            std::panic::resume_unwind(failure);
        }
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// What could not be deleted, and why.
    async fn clean_up(&self) -> Vec<String> {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        let mut left = Vec::new();
        // What was made last may use what was made first.
        for one in made.iter().rev() {
            if let Err(why) = self.delete(one).await {
                left.push(format!("{one:?}: {why}"));
            }
        }
        left
    }

    async fn delete(&self, made: &Made) -> Result<(), String> {
        let config = &self.config;
        match made {
            Made::Alarm(name) => {
                let cloudwatch = aws_sdk_cloudwatch::Client::new(config);
                unless_gone(cloudwatch.delete_alarms().alarm_names(name).send().await)
            }
            Made::Api(id) => {
                unless_gone(aws_sdk_apigatewayv2::Client::new(config).delete_api().api_id(id).send().await)
            }
            Made::Function(name) => {
                let lambda = aws_sdk_lambda::Client::new(config);
                unless_gone(lambda.delete_function().function_name(name).send().await)
            }
            Made::QueueUrl(url) => {
                unless_gone(aws_sdk_sqs::Client::new(config).delete_queue().queue_url(url).send().await)
            }
            Made::Role(name) => unless_absent(&self.iam("DeleteRole", &[("RoleName", name)]).await),
            Made::Schedule(name) => {
                let path = format!("/schedules/{name}");
                unless_absent(&self.scheduler(Method::DELETE, &path, &Value::Null).await)
            }
            Made::Table(name) => {
                let tables = aws_sdk_dynamodb::Client::new(config);
                unless_gone(tables.delete_table().table_name(name).send().await)
            }
            Made::Template(id) => {
                let fis = aws_sdk_fis::Client::new(config);
                unless_gone(fis.delete_experiment_template().id(id).send().await)
            }
        }
    }
}

fn unless_gone<T>(result: Result<T, impl ProvideErrorMetadata>) -> Result<(), String> {
    let Err(error) = result else { return Ok(()) };
    refused(error.code().unwrap_or_default(), error.message().unwrap_or_default())
}

fn unless_absent(answer: &Answer) -> Result<(), String> {
    if answer.status == 200 { Ok(()) } else { refused(&answer.code, &answer.body) }
}

/// What is not there needs not be deleted.
fn refused(code: &str, message: &str) -> Result<(), String> {
    if GONE.iter().any(|part| code.contains(part)) { Ok(()) } else { Err(format!("{code}: {message}")) }
}

/// The account of the credentials. A function that does not exist is named by its whole ARN, and asking changes nothing.
async fn account_of(config: &SdkConfig) -> String {
    let lambda = aws_sdk_lambda::Client::new(config);
    let missing =
        lambda.get_function().function_name("conformance-no-such-function").send().await.unwrap_err();
    let message = missing.message().unwrap_or_default().to_owned();
    let account =
        message.split(':').find(|part| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit()));
    account.map(str::to_owned).unwrap_or_else(|| panic!("no account in the answer: {message}"))
}

#[tokio::test]
async fn the_account_is_read_from_an_answer_and_an_unknown_one_is_refused() {
    let world = World::emulated().await;
    assert_eq!(account_of(&world.config).await, world.account_id);
    world.end(Ok(())).await;
}

#[tokio::test]
async fn what_a_failed_behaviour_made_is_deleted_and_the_failure_stays_one() {
    let stand = World::emulated().await;
    let world = World::new(stand.config.clone(), stand.account_id.clone(), None);
    let sqs = aws_sdk_sqs::Client::new(&stand.config);
    let failed = outcome(async {
        let made = sqs.create_queue().queue_name(world.name("queue")).send().await.unwrap();
        world.made(Made::QueueUrl(made.queue_url.unwrap()));
        world.role("lambda.amazonaws.com").await;
        world.made(Made::Table(world.name("never-made")));
        panic!("as asked");
    })
    .await;
    assert!(outcome(world.end(failed)).await.is_err());
    assert!(sqs.list_queues().send().await.unwrap().queue_urls().is_empty());
    let roles = stand.iam("ListRoles", &[]).await;
    assert!(roles.status == 200 && !roles.body.contains("<RoleName>"), "{roles:?}");
    stand.end(Ok(())).await;
}
