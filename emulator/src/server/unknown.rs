//! What AWS says to a call that it does not know, in the protocol of the call.
//!
//! Always 4xx: the Terraform provider tries a 5xx again 25 times.

use http::StatusCode;
use serde_json::json;

use super::identify::is_form;
use crate::wire::{AwsRequest, AwsResponse};

/// Answers a request for a service that is not emulated, and logs its name: nothing is silently accepted.
pub(super) fn unknown_service(request: &AwsRequest) -> AwsResponse {
    let target = request.header("x-amz-target").unwrap_or_default();
    tracing::warn!(
        aws.service = %request.service, http.method = %request.method, http.path = %request.path, aws.target = %target,
        "the service is not emulated"
    );
    if !target.is_empty() {
        return unknown_json();
    }
    if is_form(&request.headers) || request.query.contains("Action=") {
        return unknown_query(&request.service);
    }
    unknown_rest()
}

fn unknown_json() -> AwsResponse {
    let body = json!({"__type": "com.amazon.coral.service#UnknownOperationException"});
    AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", body.to_string())
}

fn unknown_query(service: &str) -> AwsResponse {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code>\
         <Message>The service {} is not available at this endpoint.</Message></Error></ErrorResponse>",
        escape_name(service)
    );
    AwsResponse::new(StatusCode::BAD_REQUEST, "text/xml", body)
}

/// A signing name comes from the caller: only what can be one is echoed.
fn escape_name(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

fn unknown_rest() -> AwsResponse {
    let body = json!({"message": "Unable to determine service/operation name to be authorized"});
    AwsResponse::new(StatusCode::FORBIDDEN, "application/json", body.to_string())
        .with_header("x-amzn-errortype", "UnknownOperationException")
}
