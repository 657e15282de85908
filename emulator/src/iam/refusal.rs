//! A denial on the wire, in the protocol of the call.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Denied, Validity};
use crate::cloudwatch::{self, Bar};
use crate::wire::{AwsRequest, AwsResponse};
use crate::xml::escape;

pub(super) fn response(request: &AwsRequest, denied: &Denied) -> AwsResponse {
    match request.service.as_str() {
        "lambda" if denied.action.starts_with("s3:") => code_of_function(denied),
        "sqs" => sqs(request, denied),
        "s3" => s3(request, denied),
        "iam" | "sts" => forbidden("AccessDenied", &denied.to_string()),
        "monitoring" => cloudwatch::barred(request, Bar::Denied, denied.to_string()),
        "dynamodb" => dynamodb(denied),
        "logs" | "ssm" | "tagging" => {
            json_1_1(&json!({"__type": "AccessDeniedException", "Message": denied.to_string()}))
        }
        _ => rest("AccessDeniedException", &json!({"Message": denied.to_string()})),
    }
}

/// How AWS words that a key is worth nothing, or that there is none.
struct Worthless {
    bar: Bar,
    query_code: &'static str,
    json_code: &'static str,
    message: &'static str,
    /// Where services with REST say it otherwise.
    rest_message: Option<&'static str>,
    /// S3 has words of its own.
    s3: (StatusCode, &'static str, &'static str),
}

const EXPIRED: Worthless = Worthless {
    bar: Bar::Expired,
    query_code: "ExpiredToken",
    json_code: "ExpiredTokenException",
    message: "The security token included in the request is expired",
    rest_message: None,
    s3: (StatusCode::BAD_REQUEST, "ExpiredToken", "The provided token has expired."),
};

const UNKNOWN: Worthless = Worthless {
    bar: Bar::Unknown,
    query_code: "InvalidClientTokenId",
    json_code: "UnrecognizedClientException",
    message: "The security token included in the request is invalid.",
    rest_message: None,
    s3: (
        StatusCode::FORBIDDEN,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
};

const MISSING: Worthless = Worthless {
    bar: Bar::Unsigned,
    query_code: "MissingAuthenticationToken",
    json_code: "MissingAuthenticationTokenException",
    message: "Request is missing Authentication Token",
    rest_message: Some("Missing Authentication Token"),
    s3: (StatusCode::FORBIDDEN, "AccessDenied", "Access Denied"),
};

/// A key whose time is over, or that nobody has any more.
pub(super) fn worthless(request: &AwsRequest, validity: Validity) -> AwsResponse {
    let words = match validity {
        Validity::Until { .. } => EXPIRED,
        Validity::Lasting | Validity::Over => UNKNOWN,
    };
    refused(request, words)
}

/// A call that nobody signed.
pub(super) fn unsigned(request: &AwsRequest) -> AwsResponse {
    refused(request, MISSING)
}

fn refused(request: &AwsRequest, words: Worthless) -> AwsResponse {
    let Worthless { bar, query_code, json_code, message, rest_message, s3 } = words;
    let json = json!({"__type": format!("com.amazon.coral.service#{json_code}"), "message": message});
    match request.service.as_str() {
        "s3" => s3_error(s3.0, s3.1, s3.2, request),
        "monitoring" => cloudwatch::barred(request, bar, message.to_owned()),
        "iam" | "sts" => forbidden(query_code, message),
        "sqs" if request.header("x-amz-target").is_none() => forbidden(query_code, message),
        "sqs" => of_sqs(query_code, &json),
        "dynamodb" => of_dynamodb(json.to_string()),
        "logs" | "ssm" | "tagging" => json_1_1(&json!({"__type": json_code, "message": message})),
        _ => rest(json_code, &json!({"message": rest_message.unwrap_or(message)})),
    }
}

/// SQS writes the action in lower case: `sqs:sendmessage`.
fn sqs(request: &AwsRequest, denied: &Denied) -> AwsResponse {
    let message = Denied { action: denied.action.to_ascii_lowercase(), ..denied.clone() }.to_string();
    if request.header("x-amz-target").is_none() {
        return forbidden("AccessDenied", &message);
    }
    let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": message});
    of_sqs("AccessDenied", &body)
}

/// SQS's JSON protocol also carries the code that the error had in the query protocol.
fn of_sqs(query_code: &str, body: &Value) -> AwsResponse {
    AwsResponse::new(StatusCode::FORBIDDEN, "application/x-amz-json-1.0", body.to_string())
        .with_header("x-amzn-query-error", &format!("{query_code};Sender"))
}

fn json_1_1(body: &Value) -> AwsResponse {
    AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.1", body.to_string())
}

fn rest(code: &str, body: &Value) -> AwsResponse {
    AwsResponse::new(StatusCode::FORBIDDEN, "application/json", body.to_string())
        .with_header("x-amzn-errortype", code)
}

/// Lambda tells what S3 said.
fn code_of_function(denied: &Denied) -> AwsResponse {
    let object = denied.resource.trim_start_matches("arn:aws:s3:::");
    let message = format!(
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for {object}. \
         S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
    );
    rest("AccessDeniedException", &json!({"Type": "User", "message": message}))
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

fn dynamodb(denied: &Denied) -> AwsResponse {
    let message = denied.to_string();
    let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message});
    of_dynamodb(body.to_string())
}

/// The Go and Java SDKs check the CRC32 of every answer of DynamoDB.
fn of_dynamodb(body: String) -> AwsResponse {
    let crc32 = crc32fast::hash(body.as_bytes()).to_string();
    AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", body)
        .with_header("x-amz-crc32", &crc32)
}

/// S3 puts the resource in quotes. A HEAD has no body to say it in.
fn s3(request: &AwsRequest, denied: &Denied) -> AwsResponse {
    let message = Denied { resource: format!("\"{}\"", denied.resource), ..denied.clone() }.to_string();
    s3_error(StatusCode::FORBIDDEN, "AccessDenied", &message, request)
}

fn s3_error(status: StatusCode, code: &str, message: &str, request: &AwsRequest) -> AwsResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <RequestId>{}</RequestId></Error>",
        escape(message),
        uuid::Uuid::new_v4().simple()
    );
    let body = if request.method == http::Method::HEAD { String::new() } else { body };
    AwsResponse::new(status, "application/xml", body)
}
