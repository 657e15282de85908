//! Which actions on which resources a request needs.
//!
//! An operation that is not known here needs an action that no policy names, so that nothing goes through unseen: only who
//! may do everything with the service gets as far as it.

mod dynamodb;
mod json;
mod query;
mod rest;
mod s3;
mod sqs;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::context::Context;
use super::policy::Ask;
use crate::wire::AwsRequest;
pub(super) use s3::to_know_absence;
pub(crate) use s3::{deleted_objects, has_encoded_name, is_form_of_browser, is_known_to_s3, is_read_by_s3};
pub(super) use sqs::{moved_back, sending_to};

/// The registry's name for the mappings, which answer for Lambda.
const MAPPINGS: &str = "event-source-mappings";

/// One action on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// `service:Action`.
    pub(super) action: Cow<'static, str>,
    pub(super) resource: String,
    /// Condition keys, in lower case.
    pub(super) context: Vec<(&'static str, String)>,
}

impl Need {
    fn new(action: impl Into<Cow<'static, str>>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), context: Vec::new() }
    }

    /// Puts it to whoever answers, with the keys of the request at this time.
    pub(super) fn put<T>(&self, now_ms: i64, answer: impl FnOnce(&Ask<'_>) -> T) -> T {
        let pairs: Vec<(&str, &str)> =
            self.context.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let context = Context::with(now_ms, &pairs);
        answer(&Ask { action: &self.action, resource: &self.resource, context })
    }

    /// For actions that have no resource to name.
    fn anywhere(action: impl Into<Cow<'static, str>>) -> Self {
        Self::new(action, "*")
    }
}

/// Where ARNs of the request's resources lie.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    region: &'a str,
    account_id: &'a str,
}

impl Place<'_> {
    fn arn(&self, service: &str, name: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{name}", self.region, self.account_id)
    }
}

pub(super) fn of(request: &AwsRequest, account_id: &str) -> Vec<Need> {
    let place = Place { region: &request.region, account_id };
    let needs = match request.service.as_str() {
        "sqs" => sqs::needs(request, place),
        "dynamodb" => dynamodb::needs(request, place),
        "logs" => json::logs(request, place),
        "ssm" => json::ssm(request, place),
        "tagging" => json::tagging(request),
        "monitoring" => query::cloudwatch(request, place),
        "iam" => query::iam(request, place),
        "sts" => query::sts(request),
        "s3" => s3::needs(request),
        "lambda" | MAPPINGS => rest::lambda(request, place),
        "apigateway" => vec![rest::apigateway(request)],
        "fis" => rest::fis(request, place),
        "scheduler" => rest::scheduler(request, place),
        "xray" => return rest::xray(request),
        // Nothing answers there.
        _ => return Vec::new(),
    };
    if needs.is_empty() && !is_free(request) { vec![unknown(request)] } else { needs }
}

fn is_free(request: &AwsRequest) -> bool {
    request.service == "sts"
        && form_value(request, "Action").is_some_and(|action| query::FREE.contains(&action.as_str()))
}

fn unknown(request: &AwsRequest) -> Need {
    let service = match request.service.as_str() {
        "monitoring" => "cloudwatch",
        "tagging" => "tag",
        MAPPINGS => "lambda",
        service => service,
    };
    let by_path = || format!("{} {}", request.method, request.path);
    let operation = request.header("x-amz-target").map_or_else(by_path, str::to_owned);
    tracing::warn!(aws.service = service, aws.operation = operation, "iam: no action is known for this call");
    Need::new(format!("{service}:UnknownOperation"), operation)
}

/// The operation in the target header of the JSON protocols.
fn target(request: &AwsRequest) -> Option<&str> {
    request.header("x-amz-target")?.rsplit_once('.').map(|(_, operation)| operation)
}

/// The body as JSON; null when it is none: its service will say so.
fn body(request: &AwsRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// Whether the service of the request speaks the query protocol and no other: a target in a header says nothing there.
pub(crate) fn is_form(request: &AwsRequest) -> bool {
    matches!(request.service.as_str(), "iam" | "sts")
}

/// The parameters of a form, in the query and in the body.
pub(crate) fn form_pairs(request: &AwsRequest) -> Vec<(String, String)> {
    let body = String::from_utf8_lossy(&request.body);
    let pairs = request.query.split('&').chain(body.split('&')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(&value.replace('+', " ")))).collect()
}

/// One parameter of a form. Of several of the name the last, which is the one that the services read.
pub(crate) fn form_value(request: &AwsRequest, name: &str) -> Option<String> {
    let body = String::from_utf8_lossy(&request.body);
    let mut pairs = request.query.split('&').chain(body.split('&')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.rfind(|(key, _)| decode(key) == name)?;
    Some(decode(&value.replace('+', " ")))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
