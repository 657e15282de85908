//! HTTP requests and answers in API Gateway's form.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use task_core::Owner;
use task_core::limits;
use task_core::problem::ProblemKind;
use task_core::wire::{CONTENT_TYPE_JSON, CONTENT_TYPE_PROBLEM, HEADER_REQUEST_ID};

use crate::event::HttpEvent;

/// Answer in payload format 2.0.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    pub status_code: u16,
    pub headers: BTreeMap<&'static str, String>,
    pub body: String,
}

/// A refusal: what kind, and what the client can do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: ProblemKind,
    pub detail: String,
}

impl Refusal {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl HttpResponse {
    pub fn json(status_code: u16, body: &impl Serialize, request_id: &str) -> Self {
        Self::with_type(status_code, body, CONTENT_TYPE_JSON, request_id)
    }

    pub fn refused(refusal: &Refusal, request_id: &str) -> Self {
        let problem = refusal.kind.problem(refusal.detail.clone(), request_id);
        let mut response = Self::with_type(problem.status, &problem, CONTENT_TYPE_PROBLEM, request_id);
        if refusal.kind.is_temporary() {
            response.headers.insert("retry-after", limits::RETRY_AFTER_SECONDS.to_string());
        }
        response
    }

    fn with_type(status_code: u16, body: &impl Serialize, content_type: &str, request_id: &str) -> Self {
        let headers = BTreeMap::from([
            ("content-type", content_type.to_owned()),
            (HEADER_REQUEST_ID, request_id.to_owned()),
        ]);
        let body = serde_json::to_string(body).expect("wire types have string keys and finite numbers");
        Self { status_code, headers, body }
    }
}

impl HttpEvent {
    pub fn owner(&self) -> Result<Owner, Refusal> {
        let authorizer = self.request_context.authorizer.as_ref();
        authorizer
            .and_then(crate::event::AuthorizerContext::owner)
            .ok_or_else(|| Refusal::new(ProblemKind::Unauthenticated, "send Authorization: Bearer <token>"))
    }

    /// API Gateway hands names over in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as bytes; API Gateway encodes what it does not take for text.
    pub fn body_bytes(&self) -> Result<Vec<u8>, Refusal> {
        let too_large = || {
            let detail = format!("a request body is at most {} bytes", limits::REQUEST_BODY_BYTES_MAX);
            Refusal::new(ProblemKind::BodyTooLarge, detail)
        };
        let text = self.body.as_deref().unwrap_or_default();
        let bytes = if self.is_base64_encoded {
            if text.len() / 4 * 3 > limits::REQUEST_BODY_BYTES_MAX + 2 {
                return Err(too_large());
            }
            STANDARD
                .decode(text)
                .map_err(|_| Refusal::new(ProblemKind::MalformedRequest, "the body is not valid base64"))?
        } else {
            text.as_bytes().to_vec()
        };
        if bytes.len() > limits::REQUEST_BODY_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
    }
}
