//! A denial on the wire, in the protocol of the call.

use http::StatusCode;
use serde_json::json;

use super::Denied;
use crate::wire::{AwsRequest, AwsResponse};

pub(super) fn response(request: &AwsRequest, denied: &Denied) -> AwsResponse {
    match request.service.as_str() {
        "sqs" => sqs(request, denied),
        "s3" => s3(request, denied),
        "iam" | "sts" => forbidden("AccessDenied", &denied.to_string()),
        "monitoring" => crate::cloudwatch::access_denied(request, denied.to_string()),
        "dynamodb" => dynamodb(denied),
        "logs" | "ssm" | "tagging" => {
            let body = json!({"__type": "AccessDeniedException", "Message": denied.to_string()});
            AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.1", body.to_string())
        }
        _ => {
            let body = json!({"Message": denied.to_string()});
            AwsResponse::new(StatusCode::FORBIDDEN, "application/json", body.to_string())
                .with_header("x-amzn-errortype", "AccessDeniedException")
        }
    }
}

/// Credentials whose time is over.
pub(super) fn expired(request: &AwsRequest) -> AwsResponse {
    const MESSAGE: &str = "The security token included in the request is expired";
    match request.service.as_str() {
        "s3" => s3_error("ExpiredToken", "The provided token has expired.", request),
        "monitoring" => crate::cloudwatch::expired_token(request, MESSAGE.to_owned()),
        "iam" | "sts" => forbidden("ExpiredToken", MESSAGE),
        "sqs" if request.header("x-amz-target").is_none() => forbidden("ExpiredToken", MESSAGE),
        _ => {
            let body = json!({"__type": "ExpiredTokenException", "message": MESSAGE}).to_string();
            let crc32 = crc32fast::hash(body.as_bytes()).to_string();
            AwsResponse::new(StatusCode::FORBIDDEN, "application/x-amz-json-1.1", body)
                .with_header("x-amzn-errortype", "ExpiredTokenException")
                .with_header("x-amz-crc32", &crc32)
        }
    }
}

/// SQS writes the action in lower case: `sqs:sendmessage`.
fn sqs(request: &AwsRequest, denied: &Denied) -> AwsResponse {
    let message = Denied { action: denied.action.to_ascii_lowercase(), ..denied.clone() }.to_string();
    if request.header("x-amz-target").is_none() {
        return forbidden("AccessDenied", &message);
    }
    let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": message});
    AwsResponse::new(StatusCode::FORBIDDEN, "application/x-amz-json-1.0", body.to_string())
        .with_header("x-amzn-query-error", "AccessDenied;Sender")
}

fn forbidden(code: &str, message: &str) -> AwsResponse {
    query(StatusCode::FORBIDDEN, "", code, message)
}

/// An error of the query protocol; `attributes` are those of its root.
pub(super) fn query(status: StatusCode, attributes: &str, code: &str, message: &str) -> AwsResponse {
    let body = format!(
        "<ErrorResponse{attributes}><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        escape(message),
        uuid::Uuid::new_v4()
    );
    AwsResponse::new(status, "text/xml", body)
}

/// The Go and Java SDKs check the CRC32 of every answer of DynamoDB.
fn dynamodb(denied: &Denied) -> AwsResponse {
    let body =
        json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": denied.to_string()})
            .to_string();
    let crc32 = crc32fast::hash(body.as_bytes()).to_string();
    AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", body)
        .with_header("x-amz-crc32", &crc32)
}

/// S3 puts the resource in quotes. A HEAD has no body to say it in.
fn s3(request: &AwsRequest, denied: &Denied) -> AwsResponse {
    let message = Denied { resource: format!("\"{}\"", denied.resource), ..denied.clone() }.to_string();
    s3_error("AccessDenied", &message, request)
}

fn s3_error(code: &str, message: &str, request: &AwsRequest) -> AwsResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <RequestId>{}</RequestId></Error>",
        escape(message),
        uuid::Uuid::new_v4().simple()
    );
    let body = if request.method == http::Method::HEAD { String::new() } else { body };
    AwsResponse::new(StatusCode::FORBIDDEN, "application/xml", body)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
