//! Asynchronous invocations: accepted at once, retried, and given up to a destination.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Lambda;
use super::error::LambdaError;
use super::event_config::EventConfig;
use super::exec::timestamp;
use super::invocation::{self, Finished, Request};
use super::names::FunctionRef;
use super::permission::action_on;
use super::store::{Kind, LATEST};
use crate::iam::{Ask, Context, Denied, Signer};
use crate::sqs::post::post;

/// AWS: "1 min before the second attempt, 2 min before the third".
const RETRY_STEP_MS: i64 = 60_000;
/// AWS: throttles are retried "with exponential backoff from 1 second to 5 minutes".
const THROTTLE_FIRST_MS: i64 = 1_000;
const THROTTLE_MAX_MS: i64 = 300_000;
/// AWS quota of a dead-letter message's ErrorMessage attribute.
const ERROR_MESSAGE_MAX_CHARS: usize = 1_024;

struct Targets {
    arn: String,
    config: EventConfig,
    dead_letter: Option<String>,
    reserved: Option<u32>,
    session: Signer,
}

impl Lambda {
    /// An event from another service of the account, which was judged there.
    ///
    /// # Errors
    /// Code and text of the refusal.
    pub fn invoke_event(&self, function: &str, payload: Bytes) -> Result<(), (String, String)> {
        let unknown = || LambdaError::function_not_found(function);
        let function = FunctionRef::parse(function).ok_or_else(unknown);
        function
            .and_then(|function| accept(self, Request::by_service(function, payload, self.now_ms())))
            .map_err(|error| (error.code.to_owned(), error.message))
    }

    fn targets(&self, function: &FunctionRef) -> Result<Targets, LambdaError> {
        let mut store = self.store();
        let unknown = || self.unknown(function);
        let found = store.get(&function.name, self.now_ms()).ok_or_else(unknown)?;
        let version = found.version(function.qualifier.as_deref()).ok_or_else(unknown)?;
        let key = function.qualifier.clone().unwrap_or_default();
        Ok(Targets {
            arn: format!("{}:{}", found.arn, function.qualifier.as_deref().unwrap_or(LATEST)),
            config: found.event_configs.get(&key).cloned().unwrap_or_default(),
            dead_letter: version.pool.spec.config.dead_letter_target.clone(),
            reserved: found.reserved,
            session: Signer::session(&version.pool.spec.config.role, &function.name),
        })
    }
}

/// Queues the event or refuses it; what happens to it afterwards the caller never learns.
pub(crate) fn accept(lambda: &Lambda, request: Request) -> Result<(), LambdaError> {
    lambda.check_invocable(&request.function)?;
    let slot = Arc::clone(&lambda.inner.async_slots)
        .try_acquire_owned()
        .map_err(|_| LambdaError::throttled("CallerRateLimitExceeded"))?;
    tokio::spawn(deliver(lambda.clone(), request, slot));
    Ok(())
}

/// Bounded by the event's maximum age and its number of attempts.
async fn deliver(lambda: Lambda, request: Request, _slot: OwnedSemaphorePermit) {
    let clock = lambda.inner.host.settings.clock.clone();
    let accepted_ms = clock.now_ms();
    let (mut attempts, mut throttle_wait_ms) = (0_u32, THROTTLE_FIRST_MS);
    let mut last: Option<Finished> = None;
    loop {
        // A function deleted meanwhile takes its events with it.
        let Ok(targets) = lambda.targets(&request.function) else { return };
        if clock.now_ms() - accepted_ms > targets.config.age_ms() {
            return give_up(&lambda, &request, &targets, "EventAgeExceeded", attempts, last).await;
        }
        if targets.reserved == Some(0) {
            return give_up(&lambda, &request, &targets, "ZeroReservedConcurrency", attempts, last).await;
        }
        let wait_ms = match lambda.admit(request.clone(), Kind::Asynchronous) {
            Err(_) => {
                let wait_ms = throttle_wait_ms;
                throttle_wait_ms = (throttle_wait_ms * 2).min(THROTTLE_MAX_MS);
                wait_ms
            }
            Ok(admitted) => {
                attempts += 1;
                let finished = invocation::run(admitted).await;
                if finished.result.is_ok() {
                    let record = record(&lambda, &request, &targets, "Success", attempts, Some(&finished));
                    let destination = targets.config.on_success.as_deref();
                    return send(&lambda, &request, &targets, destination, record, None).await;
                }
                last = Some(finished);
                if attempts > targets.config.retries() {
                    return give_up(&lambda, &request, &targets, "RetriesExhausted", attempts, last).await;
                }
                RETRY_STEP_MS * i64::from(attempts)
            }
        };
        clock.sleep_until(clock.now_ms() + wait_ms).await;
    }
}

async fn give_up(
    lambda: &Lambda,
    request: &Request,
    targets: &Targets,
    condition: &str,
    attempts: u32,
    last: Option<Finished>,
) {
    tracing::debug!(function.name = %request.function.name, condition, "an asynchronous event was given up");
    let record = record(lambda, request, targets, condition, attempts, last.as_ref());
    send(lambda, request, targets, targets.config.on_failure.as_deref(), record, None).await;
    if let Some(queue) = &targets.dead_letter {
        let attributes = dead_letter_attributes(request, last.as_ref());
        let event = String::from_utf8_lossy(&request.payload).into_owned();
        send(lambda, request, targets, Some(queue), event, Some(attributes)).await;
    }
}

fn record(
    lambda: &Lambda,
    request: &Request,
    targets: &Targets,
    condition: &str,
    attempts: u32,
    last: Option<&Finished>,
) -> String {
    let payload: Value = serde_json::from_slice(&request.payload).unwrap_or_default();
    let mut out = json!({
        "version": "1.0",
        "timestamp": timestamp(lambda.now_ms()),
        "requestContext": {
            "requestId": request.request_id,
            "functionArn": targets.arn,
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": payload,
    });
    if let Some(finished) = last {
        let (payload, failed) = match &finished.result {
            Ok(payload) => (payload, false),
            Err(error) => (&error.payload, true),
        };
        out["responseContext"] = json!({"statusCode": 200, "executedVersion": finished.version});
        if failed {
            out["responseContext"]["functionError"] = json!("Unhandled");
        }
        out["responsePayload"] = serde_json::from_slice(payload).unwrap_or_default();
    }
    out.to_string()
}

/// An event that never ran has neither a status nor an error.
fn dead_letter_attributes(request: &Request, last: Option<&Finished>) -> Value {
    let mut out = json!({"RequestID": {"DataType": "String", "StringValue": request.request_id}});
    let Some(error) = last.and_then(|finished| finished.result.as_ref().err()) else { return out };
    out["ErrorCode"] = json!({"DataType": "Number", "StringValue": "200"});
    let body: Value = serde_json::from_slice(&error.payload).unwrap_or_default();
    // An attribute cannot be empty.
    if let Some(message) = body["errorMessage"].as_str().filter(|message| !message.is_empty()) {
        let message: String = message.chars().take(ERROR_MESSAGE_MAX_CHARS).collect();
        out["ErrorMessage"] = json!({"DataType": "String", "StringValue": message});
    }
    out
}

/// A destination is reached in the name of the function's execution role.
fn may_send(lambda: &Lambda, targets: &Targets, destination: &str) -> Result<(), Denied> {
    let settings = &lambda.inner.host.settings;
    let Some(action) = action_on(destination) else { return Ok(()) };
    let context = Context::at(lambda.now_ms());
    settings.iam.check(&targets.session, &Ask { action, resource: destination, context })
}

/// To a queue or another function.
async fn send(
    lambda: &Lambda,
    request: &Request,
    targets: &Targets,
    destination: Option<&str>,
    body: String,
    attributes: Option<Value>,
) {
    let Some(arn) = destination else { return };
    let parts: Vec<&str> = arn.split(':').collect();
    if let Err(denied) = may_send(lambda, targets, arn) {
        tracing::warn!(%denied, "a failed event could not be sent to its destination");
        return;
    }
    match parts.as_slice() {
        ["arn", _, "sqs", ..] => {
            let Some(sqs) = lambda.inner.peers.sqs.get() else { return };
            let settings = &lambda.inner.host.settings;
            let trace_id = Some(request.trace_id.as_str());
            if let Err(error) = post(&**sqs, settings, arn, &body, attributes, trace_id).await {
                tracing::warn!(%error, destination = arn, "a failed event could not be sent to its queue");
            }
        }
        ["arn", _, "lambda", ..] => {
            let Some(function) = FunctionRef::parse(arn) else { return };
            let request = Request::by_service(function, Bytes::from(body), lambda.now_ms());
            if let Err(error) = accept(lambda, request) {
                tracing::warn!(%error, destination = arn, "a destination refused an event");
            }
        }
        _ => tracing::warn!(destination = arn, "the destination is of a kind that is not emulated"),
    }
}
