//! Harmless invocations of the function under fault: they show when the fault really begins and ends.
//!
//! A dry run is not throttled, so the canary is a real invocation with an event of no records.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::now_ms;
use crate::cloud::Cloud;

const EVERY: Duration = Duration::from_millis(500);
const EMPTY_EVENT: &[u8] = br#"{"Records":[]}"#;

/// What one invocation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pulse {
    Healthy,
    Throttled,
    FunctionError,
    /// The call itself failed: it says nothing about the function.
    NoAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub at_ms: u64,
    pub took_ms: u64,
    pub pulse: Pulse,
}

#[derive(Debug)]
pub struct Canary {
    stop: watch::Sender<bool>,
    beats: Arc<Mutex<Vec<Beat>>>,
    task: JoinHandle<()>,
}

impl Canary {
    pub fn start(cloud: Cloud, function: String) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let beats: Arc<Mutex<Vec<Beat>>> = Arc::default();
        let kept = Arc::clone(&beats);
        let task = tokio::spawn(async move {
            loop {
                let beat = beat(&cloud, &function).await;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
                if tokio::time::timeout(EVERY, stopped.changed()).await.is_ok() {
                    return;
                }
            }
        });
        Self { stop, beats, task }
    }

    /// So far.
    pub fn beats(&self) -> Vec<Beat> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn finish(self) -> Vec<Beat> {
        self.stop.send_replace(true);
        // A canary that panicked has said what it had to say.
        drop(self.task.await);
        std::mem::take(&mut self.beats.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn beat(cloud: &Cloud, function: &str) -> Beat {
    let at_ms = now_ms();
    // The SDK would repeat a throttled call, and hide what is looked for.
    let once = aws_sdk_lambda::config::Builder::new().retry_config(RetryConfig::disabled());
    let call = cloud.lambda.invoke().function_name(function).payload(Blob::new(EMPTY_EVENT));
    let pulse = match call.customize().config_override(once).send().await {
        Ok(answer) if answer.function_error().is_some() => Pulse::FunctionError,
        Ok(_) => Pulse::Healthy,
        Err(error) => match error.as_service_error() {
            Some(InvokeError::TooManyRequestsException(_)) => Pulse::Throttled,
            _ => Pulse::NoAnswer,
        },
    };
    Beat { at_ms, took_ms: now_ms().saturating_sub(at_ms), pulse }
}
