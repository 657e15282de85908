//! Harmless invocations of the function under fault: they show when the fault really begins and ends.
//!
//! A dry run is not throttled, so the canary is a real invocation, with an event that asks for nothing: no records for a
//! consumer, an empty submission, which must be refused, for a function behind the HTTP API, a ping for the one behind the
//! WebSocket API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use loadtest::stack::Function;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::now_ms;
use crate::cloud::{Cloud, invocation_limits};

const EVERY: Duration = Duration::from_millis(250);
const EMPTY_BATCH: &[u8] = br#"{"Records":[]}"#;
/// In the payload format 2.0 of an HTTP API.
const EMPTY_REQUEST: &[u8] = br#"{"version":"2.0","routeKey":"POST /tasks","rawPath":"/tasks","rawQueryString":"","headers":
{"content-type":"application/json"},"requestContext":{"accountId":"0","apiId":"canary","domainName":"canary","domainPrefix":
"canary","http":{"method":"POST","path":"/tasks","protocol":"HTTP/1.1","sourceIp":"127.0.0.1","userAgent":"canary"},
"requestId":"canary","routeKey":"POST /tasks","stage":"$default","time":"01/Jan/2026:00:00:00 +0000","timeEpoch":0},
"isBase64Encoded":false}"#;
const PING: &[u8] = br#"{"requestContext":{"routeKey":"$default","eventType":"MESSAGE","connectionId":"canary","requestId":"canary",
"authorizer":{"principalId":"canary","sub":"canary"}},"body":"{\"action\":\"ping\"}","isBase64Encoded":false}"#;
/// The functions behind the HTTP API, by their names in the repository.
const HTTP_FUNCTIONS: [&str; 2] = ["submit-task", "list-tasks"];
const SOCKET_FUNCTION: &str = "websocket";

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
    /// `statusCode` of an answer that has one.
    #[serde(default)]
    pub status: Option<u16>,
}

/// An event that asks this function, named as in the repository, for nothing.
pub fn empty_event(function: &str) -> &'static [u8] {
    match function {
        SOCKET_FUNCTION => PING,
        _ if HTTP_FUNCTIONS.contains(&function) => EMPTY_REQUEST,
        _ => EMPTY_BATCH,
    }
}

#[derive(Debug)]
pub struct Canary {
    stop: watch::Sender<bool>,
    beats: Arc<Mutex<Vec<Beat>>>,
    task: JoinHandle<()>,
}

impl Canary {
    pub fn start(cloud: Cloud, function: Function, event: &'static [u8]) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let beats: Arc<Mutex<Vec<Beat>>> = Arc::default();
        let kept = Arc::clone(&beats);
        let task = tokio::spawn(async move {
            loop {
                let beat = beat(&cloud, &function, event).await;
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

async fn beat(cloud: &Cloud, function: &Function, event: &'static [u8]) -> Beat {
    let at_ms = now_ms();
    let limits = invocation_limits(Duration::from_secs(function.timeout_seconds.into()));
    // The SDK would repeat a throttled call, and hide what is looked for.
    let once = aws_sdk_lambda::config::Builder::new().retry_config(RetryConfig::disabled());
    let once = once.timeout_config(limits);
    let call = cloud.lambda.invoke().function_name(&function.name).payload(Blob::new(event));
    let mut status = None;
    let pulse = match call.customize().config_override(once).send().await {
        Ok(answer) if answer.function_error().is_some() => Pulse::FunctionError,
        Ok(answer) => {
            status = answer.payload().and_then(|payload| status_code(payload.as_ref()));
            Pulse::Healthy
        }
        Err(error) => match error.as_service_error() {
            Some(InvokeError::TooManyRequestsException(_)) => Pulse::Throttled,
            _ => Pulse::NoAnswer,
        },
    };
    Beat { at_ms, took_ms: now_ms().saturating_sub(at_ms), pulse, status }
}

fn status_code(payload: &[u8]) -> Option<u16> {
    let answer: serde_json::Value = serde_json::from_slice(payload).ok()?;
    answer["statusCode"].as_u64().and_then(|status| status.try_into().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What the functions read of an event, whichever it is: without it they fail.
    #[test]
    fn each_function_is_sent_an_event_that_it_can_read() {
        let event = |function| -> Value { serde_json::from_slice(empty_event(function)).unwrap() };
        for function in ["process-task", "authorizer"] {
            assert_eq!(event(function)["Records"], Value::Array(Vec::new()), "{function}");
        }
        for function in ["submit-task", "list-tasks", "websocket"] {
            let context = event(function)["requestContext"].take();
            assert!(context["requestId"].is_string() && context["routeKey"].is_string(), "{function}");
        }
        let socket = event("websocket");
        assert_eq!(socket["requestContext"]["routeKey"], "$default");
        assert!(socket["requestContext"]["connectionId"].is_string(), "{socket}");
        let message: Value = serde_json::from_str(socket["body"].as_str().unwrap()).unwrap();
        assert_eq!(message, serde_json::json!({"action": "ping"}));
    }
}
