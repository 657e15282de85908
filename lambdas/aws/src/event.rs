//! The events that Lambda hands over, reduced to what we read.
//!
//! Our own types and not `aws_lambda_events`: its HTTP request parses far more than we read on each call; these are the
//! documented fields that we use.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize};
use task_core::Owner;

/// Context that the authorizer attached: `lambda` for HTTP APIs, flat for WebSocket APIs.
#[derive(Debug, Default, Deserialize)]
pub struct AuthorizerContext {
    #[serde(default)]
    lambda: Option<Claims>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default, rename = "principalId")]
    principal_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
}

impl AuthorizerContext {
    pub fn owner(&self) -> Option<Owner> {
        let nested = self.lambda.as_ref().and_then(|claims| claims.sub.as_ref());
        let sub = nested.or(self.sub.as_ref()).or(self.principal_id.as_ref())?;
        Owner::parse(sub.clone()).ok()
    }
}

/// A map that holds nothing is absent in one of API Gateway's formats, null in another, and an empty object in a third.
pub fn map_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<HashMap<String, String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// HTTP API, payload format 2.0.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpEvent {
    pub route_key: String,
    #[serde(default, deserialize_with = "map_or_null")]
    pub headers: HashMap<String, String>,
    #[serde(default, deserialize_with = "map_or_null")]
    pub query_string_parameters: HashMap<String, String>,
    #[serde(default, deserialize_with = "map_or_null")]
    pub path_parameters: HashMap<String, String>,
    pub request_context: HttpRequestContext,
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default)]
    pub is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestContext {
    #[serde(default)]
    pub authorizer: Option<AuthorizerContext>,
    pub request_id: String,
}

/// WebSocket API, any route.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketEvent {
    pub request_context: SocketRequestContext,
    #[serde(default)]
    pub body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketRequestContext {
    pub route_key: String,
    pub connection_id: String,
    pub request_id: String,
    #[serde(default)]
    pub authorizer: Option<AuthorizerContext>,
}

/// Answer to a WebSocket event; `body` goes to the client where the route has a route response.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketResponse {
    pub status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A batch from the event source mapping.
#[derive(Debug, Deserialize)]
pub struct SqsEvent {
    #[serde(rename = "Records")]
    pub records: Vec<SqsRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsRecord {
    pub message_id: String,
    pub receipt_handle: String,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub attributes: SqsAttributes,
}

/// AWS sends numbers as text.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SqsAttributes {
    #[serde(default)]
    pub approximate_receive_count: Option<String>,
    #[serde(default)]
    pub sent_timestamp: Option<String>,
    #[serde(default, rename = "AWSTraceHeader")]
    pub aws_trace_header: Option<String>,
}

/// AWS: a wrong name or an unknown id here fails the whole batch.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsBatchResponse {
    pub batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    pub item_identifier: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::HttpEvent;

    #[test]
    fn maps_without_members_may_be_absent_null_or_empty() {
        let absent = json!({"routeKey": "GET /tasks", "requestContext": {"requestId": "r"}});
        for nothing in [json!(null), json!({})] {
            let mut event = absent.clone();
            for name in ["headers", "queryStringParameters", "pathParameters"] {
                event[name] = nothing.clone();
            }
            for event in [&absent, &event] {
                let read: HttpEvent = serde_json::from_value(event.clone()).unwrap();
                let maps = [read.headers, read.query_string_parameters, read.path_parameters];
                assert!(maps.iter().all(std::collections::HashMap::is_empty), "{event}");
            }
        }
    }
}
