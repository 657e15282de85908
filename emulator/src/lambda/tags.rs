//! Tags of functions.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;

use super::Lambda;
use super::control::on_function;
use super::error::LambdaError;
use super::names::FunctionRef;
use super::router::{Answer, Call, empty, json, unknown};
use crate::repeatable;

/// AWS quota.
const TAGS_MAX: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagInput {
    tags: BTreeMap<String, String>,
}

pub(crate) fn check(tags: &BTreeMap<String, String>) -> Result<(), LambdaError> {
    if tags.len() > TAGS_MAX {
        return Err(LambdaError::invalid_parameter(format!(
            "Number of tags exceeds resource tag limit of {TAGS_MAX}."
        )));
    }
    if let Some(key) = tags.keys().find(|key| key.is_empty() || key.len() > 128 || key.starts_with("aws:")) {
        return Err(LambdaError::invalid_parameter(format!("The tag key '{key}' is not allowed.")));
    }
    Ok(())
}

pub(crate) fn route(lambda: &Lambda, call: &Call<'_>, arn: &str) -> Answer {
    let function = FunctionRef::parse(arn).filter(|_| arn.starts_with("arn:")).ok_or_else(|| {
        LambdaError::validation(
            arn,
            "resource",
            "Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:.*",
        )
    })?;
    // An older emulator took them for the function's.
    if function.qualifier.is_some() && !repeatable::is_repeated() {
        return Err(LambdaError::invalid_parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    match call.request.method {
        Method::GET => {
            on_function(lambda, &function, |found, _| Ok(json(StatusCode::OK, &json!({"Tags": found.tags}))))
        }
        Method::POST => {
            let input: TagInput = call.body()?;
            on_function(lambda, &function, |found, _| {
                let mut tags = found.tags.clone();
                tags.extend(input.tags);
                check(&tags)?;
                found.tags = tags;
                Ok(empty(StatusCode::NO_CONTENT))
            })
        }
        Method::DELETE => {
            let keys = keys(&call.request.query);
            on_function(lambda, &function, |found, _| {
                found.tags.retain(|key, _| !keys.contains(key));
                Ok(empty(StatusCode::NO_CONTENT))
            })
        }
        _ => unknown(call),
    }
}

/// `tagKeys` repeats, so the parsed query, one value per key, will not do.
fn keys(query: &str) -> Vec<String> {
    query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("tagKeys="))
        .map(|key| percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned())
        .collect()
}
