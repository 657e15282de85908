//! What begins or ends without a call, so that a call after it was kept and the beginning or end was not.
//!
//! That the later call succeeded proves that it had happened: it is made up for when the call is made again.

use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::kept::operation;
use super::touch::touches;
use crate::wire::{AwsRequest, AwsResponse};

/// The call to be made before this one, which was refused as it was answered.
pub(super) fn missing(request: &AwsRequest, answer: &AwsResponse) -> Option<AwsRequest> {
    match request.service.as_str() {
        "logs" => group_of_whoever_logged(request, answer),
        "scheduler" => end_of_a_schedule_that_was_done(request, answer),
        _ => None,
    }
}

/// Functions and access logs make their log groups themselves.
fn group_of_whoever_logged(request: &AwsRequest, answer: &AwsResponse) -> Option<AwsRequest> {
    let error = String::from_utf8_lossy(&answer.body);
    let is_missing = error.contains("ResourceNotFoundException") && operation(request)? != "CreateLogGroup";
    let (group, _) = touches(request, None).filter(|_| is_missing)?.pop()?;
    let mut create = request.clone();
    create.headers.insert("x-amz-target", HeaderValue::from_static("Logs_20140328.CreateLogGroup"));
    create.body = json!({ "logGroupName": group.name }).to_string().into();
    Some(create)
}

/// `ActionAfterCompletion` is `DELETE`. An older emulator did not keep that the schedule was deleted.
fn end_of_a_schedule_that_was_done(request: &AwsRequest, answer: &AwsResponse) -> Option<AwsRequest> {
    if answer.status != StatusCode::CONFLICT || !request.path.starts_with("/schedules/") {
        return None;
    }
    let input: Value = serde_json::from_slice(&request.body).ok()?;
    let group = input["GroupName"].as_str().unwrap_or("default");
    let query = format!("groupName={}", utf8_percent_encode(group, NON_ALPHANUMERIC));
    Some(AwsRequest { method: Method::DELETE, query, body: bytes::Bytes::new(), ..request.clone() })
}
