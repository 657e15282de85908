//! A message that a service of the account sends: a destination, a dead letter.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::settings::Settings;
use crate::wire::{AwsRequest, Service};

/// Why a queue did not take a message: SQS's own code and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct NotPosted {
    pub code: String,
    pub message: String,
}

/// Sends one message to the queue of this ARN, with the trace of what it is about if it has one. Permissions are the caller's matter.
///
/// # Errors
/// When the ARN names no queue, or the queue refuses.
pub async fn post(
    sqs: &dyn Service,
    settings: &Settings,
    queue_arn: &str,
    body: &str,
    attributes: Option<Value>,
    trace_id: Option<&str>,
) -> Result<(), NotPosted> {
    let parts: Vec<&str> = queue_arn.split(':').collect();
    let ["arn", _, "sqs", _, account, queue] = parts.as_slice() else {
        let message = format!("{queue_arn} is no queue");
        return Err(NotPosted { code: "InvalidAddress".to_owned(), message });
    };
    let mut message =
        json!({"QueueUrl": format!("{}/{account}/{queue}", settings.endpoint), "MessageBody": body});
    if let Some(attributes) = attributes {
        message["MessageAttributes"] = attributes;
    }
    if let Some(trace_id) = trace_id {
        message["MessageSystemAttributes"] =
            json!({"AWSTraceHeader": {"DataType": "String", "StringValue": trace_id}});
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.SendMessage"));
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    let request = AwsRequest {
        method: Method::POST,
        path: "/".into(),
        query: String::new(),
        headers,
        body: Bytes::from(message.to_string()),
        service: "sqs".into(),
        region: settings.region.to_string(),
        access_key_id: String::new(),
    };
    let answer = sqs.handle(request).await;
    if answer.status.is_success() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    let code = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
    Err(NotPosted { code, message: text("message") })
}
