//! How asynchronous invocations are retried and where the lost ones go.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::{on_function, page_size};
use super::error::LambdaError;
use super::input::in_range;
use super::names::FunctionRef;
use super::permission::check_destination;
use super::router::{Answer, Call, empty, json, unknown};
use super::store::{LATEST, Store};
use super::{Lambda, is_older_call};
use crate::wire::not_emulated;

/// AWS: two retries and six hours, each the default and the most.
const RETRIES_MAX: u32 = 2;
const AGE_MAX_SECONDS: u32 = 21_600;

/// What was set: AWS shows nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventConfig {
    retries: Option<u32>,
    age_seconds: Option<u32>,
    pub(crate) on_success: Option<String>,
    pub(crate) on_failure: Option<String>,
    modified_ms: i64,
}

impl EventConfig {
    pub(crate) fn retries(&self) -> u32 {
        self.retries.unwrap_or(RETRIES_MAX)
    }

    pub(crate) fn age_ms(&self) -> i64 {
        i64::from(self.age_seconds.unwrap_or(AGE_MAX_SECONDS)) * 1_000
    }
}

/// That of the function itself is that of `$LATEST`.
pub(crate) fn key_of(function: &FunctionRef) -> &str {
    function.qualifier.as_deref().unwrap_or(LATEST)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<Destinations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destinations {
    on_success: Option<Destination>,
    on_failure: Option<Destination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    destination: Option<String>,
}

impl Input {
    fn is_empty(&self) -> bool {
        self.maximum_retry_attempts.is_none()
            && self.maximum_event_age_in_seconds.is_none()
            && self.destination_config.is_none()
    }

    fn destinations(&self) -> impl Iterator<Item = &str> {
        let both = self.destination_config.iter().flat_map(|given| [&given.on_success, &given.on_failure]);
        both.flatten().filter_map(|given| given.destination.as_deref())
    }
}

pub(crate) fn route(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    match call.request.method {
        Method::GET => get(lambda, &function),
        Method::DELETE => delete(lambda, &function),
        Method::PUT | Method::POST => set(lambda, call, &function),
        _ => unknown(call),
    }
}

fn arn_of(lambda: &Lambda, function: &FunctionRef) -> String {
    format!("{}:{}", lambda.function_arn(&function.name), key_of(function))
}

fn missing(arn: &str) -> LambdaError {
    LambdaError::not_found(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

fn no_function() -> LambdaError {
    LambdaError::not_found("The function doesn't exist.")
}

fn get(lambda: &Lambda, function: &FunctionRef) -> Answer {
    let arn = arn_of(lambda, function);
    let store = lambda.store();
    let found = store.functions.get(&function.name);
    let config =
        found.and_then(|found| found.event_configs.get(key_of(function))).ok_or_else(|| missing(&arn))?;
    Ok(json(StatusCode::OK, &describe(&arn, config)))
}

fn delete(lambda: &Lambda, function: &FunctionRef) -> Answer {
    let mut store = lambda.store();
    let found = store.functions.get_mut(&function.name);
    let removed = found.and_then(|found| found.event_configs.remove(key_of(function)));
    // `$LATEST` once had a configuration of its own: the first of two calls removes what is one now.
    if removed.is_none() && !is_older_call() {
        return Err(missing(&arn_of(lambda, function)));
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

fn set(lambda: &Lambda, call: &Call<'_>, function: &FunctionRef) -> Answer {
    let input: Input = call.body()?;
    if input.is_empty() && !is_older_call() {
        return Err(LambdaError::invalid_parameter(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let (config, role) = planned(lambda, call, function, &input)?;
    for destination in [&config.on_success, &config.on_failure].into_iter().flatten() {
        check_destination(lambda, &function.name, &role, destination)?;
    }
    on_function(lambda, function, |found, _| {
        let shown = describe(&arn_of(lambda, function), &config);
        found.event_configs.insert(key_of(function).to_owned(), config);
        Ok(json(StatusCode::OK, &shown))
    })
}

/// What is to be set, and the role that has to reach the destinations. Whether it may is asked without the store, in
/// which the policies of functions are looked up.
fn planned(
    lambda: &Lambda,
    call: &Call<'_>,
    function: &FunctionRef,
    input: &Input,
) -> Result<(EventConfig, String), LambdaError> {
    let now_ms = lambda.now_ms();
    let mut store = lambda.store();
    let found = store.get(&function.name, now_ms).ok_or_else(no_function)?;
    let version = match found.version(function.qualifier.as_deref()) {
        Some(version) => version,
        None if is_older_call() => &found.latest,
        None => return Err(no_function()),
    };
    let role = version.pool.spec.config.role.clone();
    // PUT replaces, POST (UpdateFunctionEventInvokeConfig) changes what is given.
    let base = match call.request.method {
        Method::PUT => EventConfig::default(),
        _ => {
            let known = found.event_configs.get(key_of(function)).cloned();
            let known = known.or_else(|| is_older_call().then(EventConfig::default));
            known.ok_or_else(|| missing(&arn_of(lambda, function)))?
        }
    };
    let config = changed(base, input, now_ms)?;
    check_functions(&store, function, input)?;
    Ok((config, role))
}

/// A function cannot be its own destination, nor one that is not there.
fn check_functions(store: &Store, function: &FunctionRef, input: &Input) -> Result<(), LambdaError> {
    if is_older_call() {
        return Ok(());
    }
    for arn in input.destinations().filter(|arn| arn.split(':').nth(2) == Some("lambda")) {
        let target = FunctionRef::parse(arn).filter(|target| store.functions.contains_key(&target.name));
        let target = target.ok_or_else(|| {
            LambdaError::invalid_parameter(format!("The destination ARN {arn} is invalid."))
        })?;
        if target.name == function.name {
            return Err(LambdaError::invalid_parameter(
                "You can't specify the function as a destination for itself.",
            ));
        }
    }
    Ok(())
}

pub(crate) fn list(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let size = page_size(call)?;
    let after = call.query.get("Marker").map(String::as_str).unwrap_or_default();
    let store = lambda.store();
    let found = store.functions.get(&function.name).ok_or_else(no_function)?;
    let later: Vec<_> = found.event_configs.iter().filter(|(key, _)| key.as_str() > after).collect();
    let shown: Vec<Value> = later
        .iter()
        .take(size)
        .map(|(key, config)| describe(&format!("{}:{key}", found.arn), config))
        .collect();
    let mut out = json!({"FunctionEventInvokeConfigs": shown});
    if later.len() > size {
        out["NextMarker"] = json!(later[size - 1].0);
    }
    Ok(json(StatusCode::OK, &out))
}

fn changed(mut config: EventConfig, input: &Input, now_ms: i64) -> Result<EventConfig, LambdaError> {
    if let Some(retries) = input.maximum_retry_attempts {
        config.retries = Some(in_range(retries, "maximumRetryAttempts", 0, RETRIES_MAX)?);
    }
    if let Some(age) = input.maximum_event_age_in_seconds {
        config.age_seconds = Some(in_range(age, "maximumEventAgeInSeconds", 60, AGE_MAX_SECONDS)?);
    }
    if let Some(destinations) = &input.destination_config {
        config.on_success = checked(destinations.on_success.as_ref())?;
        config.on_failure = checked(destinations.on_failure.as_ref())?;
    }
    config.modified_ms = now_ms;
    Ok(config)
}

/// Queues and functions are what there is here.
fn checked(destination: Option<&Destination>) -> Result<Option<String>, LambdaError> {
    let Some(arn) = destination.and_then(|destination| destination.destination.clone()) else {
        return Ok(None);
    };
    let service = arn.split(':').nth(2).unwrap_or_default();
    match service {
        "sqs" | "lambda" => Ok(Some(arn)),
        "sns" | "events" | "s3" => {
            let what = format!("The destination {arn}");
            Err(LambdaError::invalid_parameter(not_emulated(&what)))
        }
        _ => Err(LambdaError::invalid_parameter(format!(
            "The provided destination config DestinationConfig is invalid: {arn}"
        ))),
    }
}

fn describe(arn: &str, config: &EventConfig) -> Value {
    let mut destinations = json!({"OnSuccess": {}, "OnFailure": {}});
    if let Some(arn) = &config.on_success {
        destinations["OnSuccess"]["Destination"] = json!(arn);
    }
    if let Some(arn) = &config.on_failure {
        destinations["OnFailure"]["Destination"] = json!(arn);
    }
    let mut out = json!({
        "LastModified": config.modified_ms / 1_000,
        "FunctionArn": arn,
        "DestinationConfig": destinations,
    });
    if let Some(retries) = config.retries {
        out["MaximumRetryAttempts"] = json!(retries);
    }
    if let Some(age) = config.age_seconds {
        out["MaximumEventAgeInSeconds"] = json!(age);
    }
    out
}
