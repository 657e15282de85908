//! An emulator as a process of its own, so that it can be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;

/// Generous: the machine may be busy. Nothing waits for it unless something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(crate) struct Process {
    child: Child,
    pub(crate) endpoint: String,
}

fn command(dir: &Path) -> (Command, PathBuf) {
    let ready = dir.with_extension("ready");
    let mut command = Command::new(env!("CARGO_BIN_EXE_emulator"));
    command.args(["up", "--port", "0", "--ready-file"]).arg(&ready).arg("--data-dir").arg(dir);
    (command, ready)
}

/// An emulator that is expected not to start.
pub(crate) fn refused(dir: &Path, more: &[&str]) -> Output {
    command(dir).0.args(more).output().unwrap()
}

impl Process {
    /// Starts on the directory and waits until it is ready.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    pub(crate) fn start_with(dir: &Path, more: &[&str]) -> Self {
        let (mut command, ready) = command(dir);
        command.args(more);
        drop(std::fs::remove_file(&ready));
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(text) = std::fs::read(&ready) {
                let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
                return Self { child, endpoint: text["endpoint"].as_str().unwrap().to_owned() };
            }
            assert!(child.try_wait().unwrap().is_none(), "the emulator ended before it was ready");
            assert!(Instant::now() < until, "the emulator is not ready in time");
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// SIGKILL: no code of the emulator's runs any more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn config(&self) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(READY_WITHIN).build())
            .load()
            .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
