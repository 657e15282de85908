//! How asynchronous invocations are retried and where the lost ones go.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Lambda;
use super::control::on_function;
use super::error::LambdaError;
use super::input::in_range;
use super::permission::check_destination;
use super::router::{Answer, Call, empty, json, unknown};
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

pub(crate) fn route(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let key = function.qualifier.clone().unwrap_or_default();
    let input: Input = if call.request.method == Method::GET || call.request.method == Method::DELETE {
        Input::default()
    } else {
        call.body()?
    };
    on_function(lambda, &function, |found, now_ms| {
        let arn = format!("{}:{}", found.arn, function.qualifier.as_deref().unwrap_or("$LATEST"));
        let missing =
            || LambdaError::not_found(format!("The function {arn} doesn't have an EventInvokeConfig"));
        let config = match call.request.method {
            Method::GET => {
                let config = found.event_configs.get(&key).ok_or_else(missing)?;
                return Ok(json(StatusCode::OK, &describe(&arn, config)));
            }
            Method::DELETE => {
                found.event_configs.remove(&key).ok_or_else(missing)?;
                return Ok(empty(StatusCode::NO_CONTENT));
            }
            // PUT replaces, POST (UpdateFunctionEventInvokeConfig) changes what is given.
            Method::PUT => changed(EventConfig::default(), &input, now_ms)?,
            Method::POST => {
                changed(found.event_configs.get(&key).cloned().ok_or_else(missing)?, &input, now_ms)?
            }
            _ => return unknown(call),
        };
        let role = &found.latest.pool.spec.config.role;
        for destination in [&config.on_success, &config.on_failure].into_iter().flatten() {
            check_destination(lambda, &function.name, role, destination)?;
        }
        found.event_configs.insert(key, config.clone());
        Ok(json(StatusCode::OK, &describe(&arn, &config)))
    })
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
