//! A running emulator with its SDK clients, and functions made of the test `bootstrap`.

use std::collections::HashMap;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Credentials;
use aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime, State};
use emulator::clock::ManualClock;
use emulator::{Emulator, Options, Running};
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/f";
/// Generous: the machine may be busy. Nothing waits for it unless something is wrong.
const ACTIVE_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Account {
    pub(crate) running: Running,
    pub(crate) lambda: Client,
    /// Of a clock that only the test moves.
    pub(crate) hand: Option<Arc<ManualClock>>,
}

impl Account {
    /// With or without the policies of roles being enforced.
    pub(crate) async fn start(iam: bool) -> Self {
        Self::on(Emulator::start(Options { iam, ..Options::default() }).await.unwrap()).await
    }

    pub(crate) async fn on(running: Running) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(running.endpoint())
            .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "test"))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .load()
            .await;
        Self { lambda: Client::new(&config), running, hand: None }
    }

    /// Creates a function and waits until it can be invoked.
    pub(crate) async fn function(
        &self,
        name: &str,
        timeout: i32,
        variables: &[(&str, &str)],
        layers: &[&str],
    ) {
        let variables: HashMap<String, String> =
            variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let environment = Environment::builder().set_variables(Some(variables)).build();
        let mut request = self.creation(name, package()).timeout(timeout).environment(environment);
        for layer in layers {
            request = request.layers(*layer);
        }
        request.send().await.unwrap();
        self.active(name).await;
    }

    /// The call that creates a function of this package.
    pub(crate) fn creation(&self, name: &str, package: Vec<u8>) -> CreateFunctionFluentBuilder {
        let call = self.lambda.create_function().function_name(name).role(ROLE).handler("bootstrap");
        let code = FunctionCode::builder().zip_file(Blob::new(package)).build();
        call.runtime(Runtime::Providedal2023).code(code)
    }

    pub(crate) async fn active(&self, name: &str) {
        let wait = async {
            loop {
                let found =
                    self.lambda.get_function_configuration().function_name(name).send().await.unwrap();
                if found.state() == Some(&State::Active)
                    && found.last_update_status().is_some_and(|s| s.as_str() == "Successful")
                {
                    return;
                }
                if let Some(hand) = &self.hand {
                    hand.advance(Duration::from_millis(100));
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(ACTIVE_WITHIN, wait).await.expect("the function becomes active");
    }

    pub(crate) async fn invoke(&self, name: &str, event: Value) -> InvokeOutput {
        self.lambda.invoke().function_name(name).payload(Blob::new(event.to_string())).send().await.unwrap()
    }

    pub(crate) async fn result(&self, name: &str, event: Value) -> Value {
        body(&self.invoke(name, event).await)
    }
}

pub(crate) fn body(output: &InvokeOutput) -> Value {
    serde_json::from_slice(output.payload().unwrap().as_ref()).unwrap()
}

fn bootstrap_path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(|deps| deps.parent()).unwrap();
    directory.join("examples/echo_bootstrap")
}

/// The test `bootstrap`.
pub(crate) fn echo() -> Vec<u8> {
    std::fs::read(bootstrap_path()).expect("`cargo test` builds the example echo_bootstrap")
}

/// The test `bootstrap` as a deployment package.
pub(crate) fn package() -> Vec<u8> {
    package_of(&[("bootstrap", &echo())])
}

/// A deployment package of these files, which can all be executed.
pub(crate) fn package_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .unix_permissions(0o755)
        .compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
