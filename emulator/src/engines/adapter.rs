//! Our request to an engine's, and its answer back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use winterbaume_core::{MockRequest, MockService};

use crate::iam::{form_pairs, is_form};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// Whether the service has state per region. An engine reads the region from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Global,
    Regional,
}

/// What engines say to an operation that they do not have.
const UNKNOWN_OPERATION_MARKS: [&[u8]; 4] =
    [b"InvalidAction", b"UnknownOperation", b"not implemented", b"NotImplemented"];

/// One engine as a service of ours.
pub(super) struct Engine {
    name: &'static str,
    scope: Scope,
    service: Arc<dyn MockService>,
}

impl Engine {
    pub(super) fn new(name: &'static str, scope: Scope, service: Arc<dyn MockService>) -> Self {
        Self { name, scope, service }
    }

    fn uri(&self, request: &AwsRequest) -> String {
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        match self.scope {
            Scope::Global => format!("https://{}.amazonaws.com{}{query}", self.name, request.path),
            Scope::Regional => {
                format!("https://{}.{}.amazonaws.com{}{query}", self.name, request.region, request.path)
            }
        }
    }
}

impl Service for Engine {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let what = operation_of(&request);
            let call = MockRequest {
                method: request.method.to_string(),
                uri: self.uri(&request),
                headers: request.headers.clone(),
                body: form_body(&request),
            };
            // Nothing of ours is changed halfway, and an engine's locks are given back: the next call finds it at work.
            let Ok(answer) = AssertUnwindSafe(self.service.handle(call)).catch_unwind().await else {
                tracing::error!(
                    aws.service = self.name,
                    aws.operation = what.as_str(),
                    "an engine broke off"
                );
                return broke_off(self.name);
            };
            report_unknown(self.name, &what, answer.status, &answer.body);
            AwsResponse { status: client_status(answer.status), headers: answer.headers, body: answer.body }
        })
    }
}

/// The query protocol may carry its form in the URL; engines read the body only. What is encoded badly they read in a way of
/// their own (`%zzAction` is `Action`): they get the form as it was read when the call was judged.
pub(super) fn form_body(request: &AwsRequest) -> Bytes {
    if !is_form(request) {
        return request.body.clone();
    }
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = form_pairs(request);
    let fields: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Bytes::from(fields.join("&"))
}

/// An engine's "not implemented" is a 5xx, which the Terraform provider tries again 25 times: never let one out.
fn client_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_server_error())
        .unwrap_or(StatusCode::BAD_REQUEST)
}

/// The name of the called operation, for the log.
fn operation_of(request: &AwsRequest) -> String {
    if let Some(target) = request.header("x-amz-target") {
        return target.to_owned();
    }
    let body = std::str::from_utf8(&request.body).unwrap_or_default();
    let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
    action.map_or_else(|| format!("{} {}?{}", request.method, request.path, request.query), str::to_owned)
}

fn report_unknown(service: &str, operation: &str, status: u16, body: &[u8]) {
    let marked = || UNKNOWN_OPERATION_MARKS.iter().any(|mark| contains(body, mark));
    if status >= 500 || (status >= 400 && marked()) {
        tracing::warn!(
            aws.service = service,
            aws.operation = operation,
            status,
            "the operation is not emulated"
        );
    }
}

/// What a service says to a call whose fault is not the caller's, in its protocol.
fn broke_off(service: &str) -> AwsResponse {
    const MESSAGE: &str = "We encountered an internal error. Please try again.";
    let answer = match service {
        "s3" => refused_by_s3("InternalError", MESSAGE),
        "ssm" => {
            let body = serde_json::json!({ "__type": "InternalServerError", "message": MESSAGE });
            AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.1", body.to_string())
        }
        _ => {
            let body = format!(
                "<ErrorResponse><Error><Type>Receiver</Type><Code>InternalFailure</Code>\
                 <Message>{MESSAGE}</Message></Error></ErrorResponse>"
            );
            AwsResponse::new(StatusCode::BAD_REQUEST, "text/xml", body)
        }
    };
    AwsResponse { status: StatusCode::INTERNAL_SERVER_ERROR, ..answer }
}

/// What S3 says to a call that it does not take.
pub(super) fn refused_by_s3(code: &str, message: &str) -> AwsResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>{}</RequestId></Error>",
        uuid::Uuid::new_v4().simple()
    );
    AwsResponse::new(StatusCode::BAD_REQUEST, "application/xml", body)
}

fn contains(body: &[u8], mark: &[u8]) -> bool {
    body.windows(mark.len()).any(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use http::Method;
    use winterbaume_core::MockResponse;

    use super::*;

    struct Broken;

    impl MockService for Broken {
        fn service_name(&self) -> &str {
            "broken"
        }

        fn url_patterns(&self) -> Vec<&str> {
            Vec::new()
        }

        fn handle(&self, request: MockRequest) -> Pin<Box<dyn Future<Output = MockResponse> + Send + '_>> {
            Box::pin(async move {
                assert!(request.method.is_empty(), "broken on purpose");
                MockResponse::json(200, "")
            })
        }
    }

    #[tokio::test]
    async fn a_panic_of_an_engine_ends_the_call_in_its_protocol_and_not_the_connection() {
        for (service, part) in [
            ("s3", "<Code>InternalError</Code>"),
            ("iam", "<Code>InternalFailure</Code>"),
            ("ssm", r#""__type":"InternalServerError""#),
        ] {
            let engine = Engine::new(service, Scope::Global, Arc::new(Broken));
            let answer = engine.handle(AwsRequest::unsigned(service, Method::POST, "/", "")).await;
            assert_eq!(answer.status, 500, "{service}");
            assert!(String::from_utf8_lossy(&answer.body).contains(part), "{answer:?}");
        }
    }
}
