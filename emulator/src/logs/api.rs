//! The Logs API over the store: awsJson1.1.

mod events;
mod groups;
mod metric_filters;
#[cfg(test)]
mod tests;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Logs, group_in_arn};
use crate::settings::Settings;
use crate::threads::Threads;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service, not_emulated};

const TARGET: &str = "Logs_20140328.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Those that match a pattern with as much as a caller likes.
const SEARCHES: [&str; 2] = ["FilterLogEvents", "TestMetricFilter"];
/// How many of them may hold a thread and a page at once.
const SEARCHES_MAX: usize = 4;
const UNAVAILABLE: &str = "ServiceUnavailableException";

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    shape: &'static str,
    message: String,
}

impl Failure {
    fn new(shape: &'static str, message: impl Into<String>) -> Self {
        Self { shape, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// What AWS says of a value that its model does not let in.
    fn bad_value(value: &str, member: &str, constraint: &str) -> Self {
        Self::invalid(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must \
             {constraint}"
        ))
    }

    fn no_group() -> Self {
        Self::new("ResourceNotFoundException", "The specified log group does not exist.")
    }

    fn no_stream() -> Self {
        Self::new("ResourceNotFoundException", "The specified log stream does not exist.")
    }

    fn status(&self) -> StatusCode {
        if self.shape == UNAVAILABLE { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST }
    }
}

type Outcome = Result<Value, Failure>;

/// CloudWatch Logs of the account.
#[derive(Clone, Debug)]
pub struct LogsApi {
    logs: Logs,
    settings: Settings,
    searches: Threads,
}

impl LogsApi {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let searches = Threads::at_most(SEARCHES_MAX);
        Self { logs: settings.logs.clone(), settings: settings.clone(), searches }
    }

    /// A search is on a thread of its own, so that it keeps no other call of the account waiting.
    async fn answer(&self, operation: &str, input: Value) -> Outcome {
        if !SEARCHES.contains(&operation) {
            return self.call(operation, &input);
        }
        let (api, operation) = (self.clone(), operation.to_owned());
        let ended = self.searches.run(move || api.call(&operation, &input)).await;
        ended.unwrap_or_else(|error| Err(Failure::new(UNAVAILABLE, error.to_string())))
    }

    fn call(&self, operation: &str, input: &Value) -> Outcome {
        match operation {
            "CreateLogGroup" => self.create_group(input),
            "DeleteLogGroup" => self.delete_group(input),
            "DescribeLogGroups" => self.describe_groups(input),
            "PutRetentionPolicy" => self.put_retention(input),
            "DeleteRetentionPolicy" => self.delete_retention(input),
            "PutLogGroupDeletionProtection" => self.put_protection(input),
            "AssociateKmsKey" => self.associate_key(input),
            "DisassociateKmsKey" => self.disassociate_key(input),
            "ListTagsForResource" => self.list_tags(input, "resourceArn"),
            "ListTagsLogGroup" => self.list_tags(input, "logGroupName"),
            "TagResource" => self.tag(input, "resourceArn"),
            "TagLogGroup" => self.tag(input, "logGroupName"),
            "UntagResource" => self.untag(input, "resourceArn", "tagKeys"),
            "UntagLogGroup" => self.untag(input, "logGroupName", "tags"),
            "CreateLogStream" => self.create_stream(input),
            "DeleteLogStream" => self.delete_stream(input),
            "DescribeLogStreams" => self.describe_streams(input),
            "PutLogEvents" => self.put_events(input),
            "GetLogEvents" => self.get_events(input),
            "FilterLogEvents" => self.filter_events(input),
            "PutMetricFilter" => self.put_metric_filter(input),
            "DeleteMetricFilter" => self.delete_metric_filter(input),
            "DescribeMetricFilters" => self.describe_metric_filters(input),
            "TestMetricFilter" => Self::test_metric_filter(input),
            _ => {
                tracing::warn!(
                    aws.service = "logs",
                    aws.operation = operation,
                    "the operation is not emulated"
                );
                Err(Failure::new("UnknownOperationException", not_emulated(operation)))
            }
        }
    }

    /// A group by name or by ARN, with or without the trailing `:*`.
    fn group_name<'a>(input: &'a Value, member: &str) -> Result<&'a str, Failure> {
        let given = text(input, member)
            .or_else(|| text(input, "logGroupIdentifier"))
            .ok_or_else(|| Failure::invalid(format!("{member} is required")))?;
        Ok(name_of(given))
    }
}

/// The name of a group that is given by name or by ARN.
fn name_of(identifier: &str) -> &str {
    group_in_arn(identifier).unwrap_or(identifier)
}

fn text<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member)?.as_str().filter(|text| !text.is_empty())
}

/// A limit within `1..=max`; `default` when absent.
fn limit(input: &Value, default: usize, max: usize) -> Result<usize, Failure> {
    let Some(value) = input.get("limit").filter(|value| !value.is_null()) else { return Ok(default) };
    let limit = value
        .as_u64()
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| Failure::invalid(format!("limit must be between 1 and {max}")))
}

impl Service for LogsApi {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let operation = request.header("x-amz-target").and_then(|target| target.strip_prefix(TARGET));
            let outcome = match serde_json::from_slice::<Value>(&request.body) {
                Ok(input) if input.is_object() => self.answer(operation.unwrap_or_default(), input).await,
                _ => Err(Failure::new("SerializationException", "")),
            };
            match outcome {
                Ok(output) => AwsResponse::new(StatusCode::OK, CONTENT_TYPE, output.to_string()),
                Err(failure) => {
                    let body = json!({"__type": failure.shape, "message": failure.message});
                    AwsResponse::new(failure.status(), CONTENT_TYPE, body.to_string())
                }
            }
        })
    }
}
