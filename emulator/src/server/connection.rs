//! From an HTTP request to a service and back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use uuid::Uuid;

use super::assemble::Assembly;
use super::chunked::unframe;
use super::identify::{Caller, Clues, identify};
use super::unknown::unknown_service;
use crate::request_body::{self, Body, discard};
use crate::settings::Settings;
use crate::store::replay;
use crate::wire::{AwsRequest, AwsResponse};

/// The largest body read for a service: a Lambda zip of 50 MB in base64, AWS's largest direct upload, with its JSON.
const BODY_BYTES_MAX: usize = 72 * 1024 * 1024;

const EXECUTE_API_PREFIX: &str = "/_aws/execute-api/";
const HEALTH_PATH: &str = "/_emulator/health";
/// What roles were granted and never used, and what they were refused.
pub(crate) const IAM_REPORT_PATH: &str = "/_emulator/iam/report";
/// Services whose engines keep apart what lies in several Regions.
const REGIONAL: [&str; 2] = ["s3", "ssm"];
const REQUEST_ID: &str = "x-amzn-requestid";

/// What all connections share.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) assembly: Assembly,
    pub(super) settings: Settings,
    pub(super) seed: u64,
}

impl Port {
    /// Answers one request; never fails, because a broken request still deserves an answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path();
        let mut response = if path.starts_with(EXECUTE_API_PREFIX) {
            self.execute_api(request, peer).await
        } else if path == HEALTH_PATH {
            into_http(self.health())
        } else if path == IAM_REPORT_PATH {
            into_http(self.iam_report())
        } else {
            into_http(self.call_service(request).await)
        };
        stamp_request_id(response.headers_mut());
        Ok(response)
    }

    async fn execute_api(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        match &self.assembly.execute_api {
            Some(plane) => plane.handle(request, peer).await,
            None => into_http(message(StatusCode::NOT_FOUND, "Not Found")),
        }
    }

    async fn call_service(&self, request: Request<Incoming>) -> AwsResponse {
        let (mut parts, mut body) = request.into_parts();
        let body = match request_body::read(&mut body, BODY_BYTES_MAX).await {
            Body::Whole(body) => body,
            Body::TooLarge => {
                discard(&mut body).await;
                return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
            }
            Body::Broken => {
                tracing::debug!("the body of a request broke off");
                return message(StatusCode::BAD_REQUEST, "the body of the request is incomplete");
            }
        };
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let mut caller = identify(Clues { headers: &parts.headers, path: &path, query: &query, body: &body });
        if caller == Caller::default() && self.is_in_bucket(&path, &self.settings.region).await {
            caller.service = "s3".to_owned();
        }
        let body = if caller.service == "s3" { unframe(&mut parts.headers, body) } else { Ok(body) };
        let body = match body {
            Ok(body) => body,
            Err(malformed) => return malformed.response(),
        };
        let request = AwsRequest {
            method: parts.method,
            path,
            query,
            headers: parts.headers,
            body,
            region: self.region_of(&caller),
            service: caller.service,
            access_key_id: caller.access_key_id,
        };
        let now_ms = self.settings.clock.now_ms();
        if let Some(denied) = self.settings.iam.judge(&request, &self.settings.account_id, now_ms) {
            return denied;
        }
        let Some(service) = self.assembly.services.get(&request.service) else {
            return unknown_service(&request);
        };
        let read = (request.service == "s3").then(|| AwsRequest { body: Bytes::new(), ..request.clone() });
        let answer = replay::call(&self.settings, service, request).await;
        match read {
            Some(read) if answer.status == StatusCode::NOT_FOUND => self.hide_absence(&read, answer).await,
            _ => answer,
        }
    }

    /// That a bucket is not there everybody may know.
    async fn hide_absence(&self, read: &AwsRequest, answer: AwsResponse) -> AwsResponse {
        if !self.is_in_bucket(&read.path, &read.region).await {
            return answer;
        }
        self.settings.iam.hide_absence(read, self.settings.clock.now_ms()).unwrap_or(answer)
    }

    /// Of S3 nothing else tells a call that nobody signed. Such a call names no Region.
    async fn is_in_bucket(&self, path: &str, region: &str) -> bool {
        let bucket = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let Some(s3) = self.assembly.services.get("s3").filter(|_| !bucket.is_empty()) else { return false };
        let head = AwsRequest {
            method: Method::HEAD,
            path: format!("/{bucket}"),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            service: "s3".to_owned(),
            region: region.to_owned(),
            access_key_id: String::new(),
        };
        s3.handle(head).await.status.is_success()
    }

    /// Everything else lies in the emulator's Region and is judged by its ARN there, whatever Region a call was signed for.
    fn region_of(&self, caller: &Caller) -> String {
        let is_apart = REGIONAL.contains(&caller.service.as_str()) && !caller.region.is_empty();
        if is_apart { caller.region.clone() } else { self.settings.region.to_string() }
    }

    fn iam_report(&self) -> AwsResponse {
        // Serialising the report has no way to fail: no maps with keys that are not strings.
        let body = serde_json::to_vec(&self.settings.iam.report()).unwrap_or_default();
        AwsResponse::new(StatusCode::OK, "application/json", body)
    }

    fn health(&self) -> AwsResponse {
        let body = json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "services": self.assembly.services.names().collect::<Vec<_>>(),
            "seed": self.seed,
            "persistence": if self.settings.store.dir().is_some() { "directory" } else { "memory" },
            "adversary": self.settings.adversary.show(),
            "region": &*self.settings.region,
            "account_id": &*self.settings.account_id,
            "pid": std::process::id(),
        });
        AwsResponse::new(StatusCode::OK, "application/json", body.to_string())
    }
}

fn message(status: StatusCode, text: &str) -> AwsResponse {
    AwsResponse::new(status, "application/json", json!({ "message": text }).to_string())
}

fn into_http(answer: AwsResponse) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// Every AWS answer can be quoted by its id; a service that made its own keeps it.
fn stamp_request_id(headers: &mut HeaderMap) {
    if headers.contains_key(REQUEST_ID) {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert(REQUEST_ID, value);
    }
}
