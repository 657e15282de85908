//! Where the behaviours are looked at: an emulator of their own, or an account that somebody put on the list.

use std::sync::Mutex;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_sqs::config::Credentials;
use emulator::{Emulator, Options, Running};

/// Accounts that may be touched, by number, with commas between.
const ACCOUNTS: &str = "CONFORMANCE_AWS_ACCOUNTS";
const REGION: &str = "us-east-1";

pub(crate) struct World {
    pub(crate) config: SdkConfig,
    pub(crate) account_id: String,
    running: Option<Running>,
    queues: Mutex<Vec<String>>,
    tables: Mutex<Vec<String>>,
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
        Self { config, account_id, running, queues: Mutex::default(), tables: Mutex::default() }
    }

    /// A name that no other run uses.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("conformance-{what}-{:08x}", rand::random::<u32>())
    }

    /// A URL that is deleted at the end.
    pub(crate) fn queue(&self, url: String) -> String {
        self.queues.lock().unwrap().push(url.clone());
        url
    }

    /// A table that is deleted at the end.
    pub(crate) fn table(&self, name: String) -> String {
        self.tables.lock().unwrap().push(name.clone());
        name
    }

    pub(crate) async fn end(self) {
        let sqs = aws_sdk_sqs::Client::new(&self.config);
        for url in self.queues.into_inner().unwrap() {
            sqs.delete_queue().queue_url(url).send().await.unwrap();
        }
        let tables = aws_sdk_dynamodb::Client::new(&self.config);
        for name in self.tables.into_inner().unwrap() {
            tables.delete_table().table_name(name).send().await.unwrap();
        }
        if let Some(running) = self.running {
            running.shutdown().await;
        }
    }
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
    world.end().await;
}
