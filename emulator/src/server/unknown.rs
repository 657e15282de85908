//! What is said to a call of a service that is not here, in the protocol of the call.
//!
//! Always 4xx: the Terraform provider tries a 5xx again 25 times.

use http::StatusCode;
use serde_json::json;

use super::identify::is_form;
use crate::wire::{AwsRequest, AwsResponse, not_emulated};

/// Answers a request for a service that is not emulated, and logs its name: nothing is silently accepted.
pub(super) fn unknown_service(request: &AwsRequest) -> AwsResponse {
    let target = request.header("x-amz-target").unwrap_or_default();
    tracing::warn!(
        aws.service = %request.service, http.method = %request.method, http.path = %request.path, aws.target = %target,
        "the service is not emulated"
    );
    if !target.is_empty() {
        return unknown_json(target);
    }
    if is_form(&request.headers) || request.query.contains("Action=") {
        return unknown_query(&request.service);
    }
    unknown_rest(&request.service)
}

fn unknown_json(target: &str) -> AwsResponse {
    let message = not_emulated(&printable(target));
    let body = json!({"__type": "com.amazon.coral.service#UnknownOperationException", "message": message});
    AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", body.to_string())
}

fn unknown_query(service: &str) -> AwsResponse {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code>\
         <Message>{}</Message></Error></ErrorResponse>",
        of_service(service)
    );
    AwsResponse::new(StatusCode::BAD_REQUEST, "text/xml", body)
}

fn of_service(name: &str) -> String {
    if name.is_empty() {
        return "The call is unsigned and nothing tells its service.".to_owned();
    }
    not_emulated(&format!("The service {}", printable(name)))
}

/// A name comes from the caller: only what can be one is echoed.
fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect()
}

fn unknown_rest(service: &str) -> AwsResponse {
    let body = json!({"message": of_service(service)});
    AwsResponse::new(StatusCode::FORBIDDEN, "application/json", body.to_string())
        .with_header("x-amzn-errortype", "UnknownOperationException")
}
