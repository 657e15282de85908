//! Which actions on which resources a request needs. An operation that no service here has needs nothing: it is refused
//! by its service as unknown.

mod dynamodb;
mod json;
mod query;
mod rest;
mod sqs;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::wire::AwsRequest;

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

    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        self.context.iter().map(|(key, value)| (*key, value.as_str())).collect()
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
    match request.service.as_str() {
        "sqs" => sqs::needs(request, place),
        "dynamodb" => dynamodb::needs(request, place),
        "logs" => json::logs(request, place),
        "ssm" => json::ssm(request, place),
        "tagging" => json::tagging(request),
        "monitoring" => query::cloudwatch(request, place),
        "iam" => query::iam(request, place),
        "sts" => query::sts(request),
        "s3" => rest::s3(request),
        "lambda" => rest::lambda(request, place),
        "apigateway" => vec![rest::apigateway(request)],
        "fis" => rest::fis(request, place),
        "scheduler" => rest::scheduler(request, place),
        "xray" => rest::xray(request),
        _ => Vec::new(),
    }
}

/// The operation in the target header of the JSON protocols.
fn target(request: &AwsRequest) -> Option<&str> {
    request.header("x-amz-target")?.rsplit_once('.').map(|(_, operation)| operation)
}

/// The body as JSON; null when it is none: its service will say so.
fn body(request: &AwsRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// One parameter of a form, in the query or in the body.
pub(super) fn form_value(request: &AwsRequest, name: &str) -> Option<String> {
    let body = std::str::from_utf8(&request.body).unwrap_or_default();
    let pairs = request.query.split('&').chain(body.split('&')).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(&value.replace('+', " "))).next()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
