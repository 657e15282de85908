//! From method and path to operation.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::LambdaError;
use super::names::FunctionRef;
use super::{Lambda, concurrency, control, event_config, invoke_api, policy, publish, tags};
use crate::wire::{AwsRequest, AwsResponse, is_object};

pub(crate) type Answer = Result<AwsResponse, LambdaError>;

/// One request, taken apart.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a AwsRequest,
    pub(crate) query: BTreeMap<String, String>,
}

impl Call<'_> {
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, LambdaError> {
        let body: &[u8] = if self.request.body.is_empty() { b"{}" } else { &self.request.body };
        if !is_object(body) {
            return Err(LambdaError::serialization("The request is not a JSON object."));
        }
        serde_json::from_slice(body).map_err(|error| LambdaError::serialization(error.to_string()))
    }

    /// The function of the path; the qualifier may be in the name or in the query, but not differ.
    pub(crate) fn function(&self, segment: &str) -> Result<FunctionRef, LambdaError> {
        let mut function = FunctionRef::parse(segment).ok_or_else(|| {
            LambdaError::validation(segment, "functionName", "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?(-iso([a-z])?)?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?")
        })?;
        let given = self.query.get("Qualifier").filter(|qualifier| !qualifier.is_empty());
        match (given, &function.qualifier) {
            (Some(query), Some(own)) if query != own => Err(LambdaError::invalid_parameter(
                "The derived qualifier from the function name does not match the specified qualifier.",
            )),
            (query, own) => {
                function.qualifier = own.clone().or_else(|| query.cloned());
                Ok(function)
            }
        }
    }
}

pub(crate) async fn route(lambda: &Lambda, request: AwsRequest) -> AwsResponse {
    let segments = segments(&request.path);
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    if is_mapping(&parts)
        && let Some(mappings) = lambda.inner.peers.event_source_mappings.get()
    {
        return mappings.handle(request).await;
    }
    let call = Call { query: query(&request.query), request: &request };
    dispatch(lambda, &call, &parts).await.unwrap_or_else(LambdaError::into_response)
}

/// The path as it is told which operation it names: whatever slashes are around it, and however its letters are written.
pub(crate) fn segments(path: &str) -> Vec<String> {
    let decode = |segment| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    path.trim_matches('/').split('/').map(decode).collect()
}

/// Whether a request names that function of its path without a version or an alias, neither there nor in its query.
pub(crate) fn names_whole_function(request: &AwsRequest, segment: &str) -> bool {
    function_of(request, segment).is_some_and(|function| function.qualifier.is_none())
}

/// The function that a request names in that segment of its path, with the version or the alias from there or from its query.
/// None: Lambda refuses the call.
pub(crate) fn function_of(request: &AwsRequest, segment: &str) -> Option<FunctionRef> {
    let call = Call { query: query(&request.query), request };
    call.function(segment).ok()
}

fn is_mapping(parts: &[&str]) -> bool {
    match parts {
        ["2015-03-31", "event-source-mappings", ..] => true,
        ["2017-03-31", "tags", arn] => arn.contains(":event-source-mapping:"),
        _ => false,
    }
}

async fn dispatch(lambda: &Lambda, call: &Call<'_>, parts: &[&str]) -> Answer {
    let method = &call.request.method;
    match parts {
        ["2015-03-31", "functions", rest @ ..] => functions(lambda, call, method, rest).await,
        ["2014-11-13", "functions", name, "invoke-async"] if method == Method::POST => {
            invoke_api::invoke_async(lambda, call, name)
        }
        ["2017-10-31", "functions", name, "concurrency"] => match *method {
            Method::PUT => concurrency::put(lambda, call, name),
            Method::DELETE => concurrency::delete(lambda, call, name),
            _ => unknown(call),
        },
        ["2019-09-30", "functions", name, "concurrency"] if method == Method::GET => {
            concurrency::get(lambda, call, name)
        }
        ["2020-06-30", "functions", name, "code-signing-config"] if method == Method::GET => {
            control::code_signing(lambda, call, name)
        }
        ["2019-09-25", "functions", name, "event-invoke-config"] => event_config::route(lambda, call, name),
        ["2019-09-25", "functions", name, "event-invoke-config", "list"] if method == Method::GET => {
            event_config::list(lambda, call, name)
        }
        ["2017-03-31", "tags", arn] => tags::route(lambda, call, arn),
        ["2016-08-19", "account-settings"] if method == Method::GET => Ok(concurrency::account(lambda)),
        _ => unknown(call),
    }
}

async fn functions(lambda: &Lambda, call: &Call<'_>, method: &Method, rest: &[&str]) -> Answer {
    match (method.as_str(), rest) {
        ("POST", []) => control::create(lambda, call).await,
        ("GET", []) => control::list(lambda, call),
        ("GET", [name]) => control::get(lambda, call, name),
        ("DELETE", [name]) => control::delete(lambda, call, name),
        ("GET", [name, "configuration"]) => control::get_configuration(lambda, call, name),
        ("PUT", [name, "configuration"]) => control::update_configuration(lambda, call, name),
        ("PUT", [name, "code"]) => control::update_code(lambda, call, name).await,
        ("POST", [name, "invocations"]) => invoke_api::handle(lambda, call, name).await,
        ("GET", [name, "versions"]) => publish::list_versions(lambda, call, name),
        ("POST", [name, "versions"]) => publish::publish(lambda, call, name),
        ("POST", [name, "aliases"]) => publish::create_alias(lambda, call, name),
        ("GET", [name, "aliases"]) => publish::list_aliases(lambda, call, name),
        ("GET", [name, "aliases", alias]) => publish::get_alias(lambda, call, name, alias),
        ("PUT", [name, "aliases", alias]) => publish::update_alias(lambda, call, name, alias),
        ("DELETE", [name, "aliases", alias]) => publish::delete_alias(lambda, call, name, alias),
        ("POST", [name, "policy"]) => policy::add(lambda, call, name),
        ("GET", [name, "policy"]) => policy::get(lambda, call, name),
        ("DELETE", [name, "policy", sid]) => policy::remove(lambda, call, name, sid),
        _ => unknown(call),
    }
}

pub(crate) fn unknown(call: &Call<'_>) -> Answer {
    tracing::warn!(http.method = %call.request.method, http.path = %call.request.path, "lambda: the operation is not emulated");
    Err(LambdaError::unknown_operation(call.request.method.as_str(), &call.request.path))
}

pub(crate) fn json(status: StatusCode, body: &Value) -> AwsResponse {
    AwsResponse::new(status, "application/json", body.to_string())
}

pub(crate) fn empty(status: StatusCode) -> AwsResponse {
    AwsResponse::new(status, "application/json", "")
}

fn query(raw: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}
