//! Asynchronous invocations: accepted at once, retried, and given up to a destination.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Lambda;
use super::error::LambdaError;
use super::event_config::{self, EventConfig};
use super::exec::timestamp;
use super::invocation::{self, Finished, Measure, Request};
use super::invoke_api::{ASYNC_MAX_BYTES, check_size};
use super::names::FunctionRef;
use super::permission::action_on;
use super::store::Kind;
use crate::iam::{Ask, Context, Denied, Signer};
use crate::invoke::Source;
use crate::metrics::Unit;
use crate::sqs::post::{NotPosted, post};

/// AWS: "1 min before the second attempt, 2 min before the third".
const RETRY_STEP_MS: i64 = 60_000;
/// AWS: throttles and errors of the service are retried "with exponential backoff from 1 second to 5 minutes".
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

    /// An event from a service that the function's own policy must let in, for the resource `source_arn`.
    ///
    /// # Errors
    /// Code and text of the refusal.
    pub fn invoke_event_by_policy(
        &self,
        function: &str,
        service: &'static str,
        source_arn: &str,
        payload: Bytes,
    ) -> Result<(), (String, String)> {
        let unknown = || LambdaError::function_not_found(function);
        let refuse = |error: LambdaError| (error.code.to_owned(), error.message);
        let named = FunctionRef::parse(function).ok_or_else(unknown).map_err(refuse)?;
        let source = Source { service, arn: source_arn.to_owned() };
        self.check_source(&named, &source).map_err(refuse)?;
        self.invoke_event(function, payload)
    }

    fn targets(&self, function: &FunctionRef) -> Result<Targets, LambdaError> {
        let mut store = self.store();
        let unknown = || self.unknown(function);
        let found = store.get(&function.name, self.now_ms()).ok_or_else(unknown)?;
        let version = found.version(function.qualifier.as_deref()).ok_or_else(unknown)?;
        let key = event_config::key_of(function);
        Ok(Targets {
            arn: format!("{}:{key}", found.arn),
            config: found.event_configs.get(key).cloned().unwrap_or_default(),
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
    measure(lambda, &request, "AsyncEventsReceived", 1.0, Unit::Count);
    tokio::spawn(deliver(lambda.clone(), request, slot));
    Ok(())
}

fn measure(lambda: &Lambda, request: &Request, metric: &str, value: f64, unit: Unit) {
    Measure::new(&lambda.inner.host.settings, &request.function).everywhere(metric, value, unit);
}

/// Of every attempt, throttled ones too.
#[expect(clippy::cast_precision_loss, reason = "no event becomes older than six hours")]
fn measure_age(lambda: &Lambda, request: &Request, age_ms: i64) {
    measure(lambda, request, "AsyncEventAge", age_ms as f64, Unit::Milliseconds);
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
        let age_ms = clock.now_ms() - accepted_ms;
        if age_ms > targets.config.age_ms() {
            return give_up(&lambda, &request, &targets, "EventAgeExceeded", attempts, last).await;
        }
        if targets.reserved == Some(0) {
            return give_up(&lambda, &request, &targets, "ZeroReservedConcurrency", attempts, last).await;
        }
        measure_age(&lambda, &request, age_ms);
        let ended = match lambda.admit(request.clone(), Kind::Asynchronous) {
            Ok(admitted) => invocation::run(admitted).await,
            Err(refused) => Err(refused),
        };
        let wait_ms = match ended {
            Err(_) => {
                let wait_ms = throttle_wait_ms;
                throttle_wait_ms = (throttle_wait_ms * 2).min(THROTTLE_MAX_MS);
                wait_ms
            }
            Ok(finished) => {
                attempts += 1;
                if finished.result.is_ok() {
                    let Some(to) = targets.config.on_success.as_deref() else { return };
                    let record = record(&lambda, &request, &targets, "Success", attempts, Some(&finished));
                    return send(&lambda, &request, &targets, Letter::record(to, record)).await;
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
    measure(lambda, request, "AsyncEventsDropped", 1.0, Unit::Count);
    if let Some(to) = &targets.config.on_failure {
        let record = record(lambda, request, targets, condition, attempts, last.as_ref());
        send(lambda, request, targets, Letter::record(to, record)).await;
    }
    if let Some(queue) = &targets.dead_letter {
        send(lambda, request, targets, Letter::dead(queue, request, last.as_ref())).await;
    }
}

/// What Lambda sends of an event that it is done with.
struct Letter<'a> {
    to: &'a str,
    body: String,
    attributes: Option<Value>,
    /// What counts the letters of this kind that could not be delivered.
    failures: &'static str,
}

impl<'a> Letter<'a> {
    fn record(to: &'a str, record: String) -> Self {
        Self { to, body: record, attributes: None, failures: "DestinationDeliveryFailures" }
    }

    fn dead(to: &'a str, request: &Request, last: Option<&Finished>) -> Self {
        let body = String::from_utf8_lossy(&request.payload).into_owned();
        let attributes = Some(dead_letter_attributes(request, last));
        Self { to, body, attributes, failures: "DeadLetterErrors" }
    }
}

/// Why a letter was lost.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    NotPosted(#[from] NotPosted),
    #[error(transparent)]
    Refused(#[from] LambdaError),
    #[error("there is nothing of this kind here")]
    NotEmulated,
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

async fn send(lambda: &Lambda, request: &Request, targets: &Targets, letter: Letter<'_>) {
    let (to, failures) = (letter.to, letter.failures);
    if let Err(error) = deliver_letter(lambda, request, targets, letter).await {
        tracing::warn!(%error, destination = to, "what is left of an event could not be delivered");
        measure(lambda, request, failures, 1.0, Unit::Count);
    }
}

/// To a queue or another function.
async fn deliver_letter(
    lambda: &Lambda,
    request: &Request,
    targets: &Targets,
    letter: Letter<'_>,
) -> Result<(), Undelivered> {
    may_send(lambda, targets, letter.to)?;
    match letter.to.split(':').nth(2) {
        Some("sqs") => {
            let sqs = lambda.inner.peers.sqs.get().ok_or(Undelivered::NotEmulated)?;
            let settings = &lambda.inner.host.settings;
            let (session, trace_id) = (&targets.session, Some(request.trace_id.as_str()));
            Ok(post(sqs, settings, session, letter.to, &letter.body, letter.attributes, trace_id).await?)
        }
        Some("lambda") => {
            let function = FunctionRef::parse(letter.to).ok_or(Undelivered::NotEmulated)?;
            let body = Bytes::from(letter.body);
            check_size(&body, "Event", ASYNC_MAX_BYTES)?;
            Ok(accept(lambda, Request::by_service(function, body, lambda.now_ms()))?)
        }
        _ => Err(Undelivered::NotEmulated),
    }
}
