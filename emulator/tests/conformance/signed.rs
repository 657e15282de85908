//! Calls to services that have no client here, signed as AWS asks it.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_sqs::config::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::world::REGION;

/// IAM is global: one endpoint, signed for this Region.
const IAM: &str = "https://iam.amazonaws.com";
const SCHEDULER: &str = "https://scheduler.us-east-1.amazonaws.com";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The name of the error; empty where there is none.
    pub(crate) code: String,
    pub(crate) body: String,
}

struct Call {
    service: &'static str,
    method: Method,
    url: String,
    content_type: &'static str,
    body: String,
}

pub(crate) async fn iam(config: &SdkConfig, action: &str, fields: &[(&str, &str)]) -> Answer {
    let mut body = format!("Action={action}&Version=2010-05-08");
    for (name, value) in fields {
        body.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    }
    let url = format!("{}/", config.endpoint_url().unwrap_or(IAM));
    send(config, Call { service: "iam", method: Method::POST, url, content_type: FORM, body }).await
}

pub(crate) async fn scheduler(config: &SdkConfig, method: Method, path: &str, body: &Value) -> Answer {
    let url = format!("{}{path}", config.endpoint_url().unwrap_or(SCHEDULER));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(config, Call { service: "scheduler", method, url, content_type: JSON, body }).await
}

async fn send(config: &SdkConfig, call: Call) -> Answer {
    let signature = signature(config, &call).await;
    let mut request = Client::new().request(call.method, call.url).body(call.body);
    request = request.header("content-type", call.content_type);
    for (name, value) in signature {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
    let body = answer.text().await.unwrap();
    // AWS writes a link behind the name of some.
    let code = kind.as_deref().and_then(|kind| kind.split(':').next()).or_else(|| code_of(&body));
    Answer { status, code: code.unwrap_or_default().to_owned(), body }
}

async fn signature(config: &SdkConfig, call: &Call) -> Vec<(String, String)> {
    let provider = config.credentials_provider().unwrap();
    let identity = provider.provide_credentials().await.unwrap().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(call.service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let headers = [("content-type", call.content_type)].into_iter();
    let body = SignableBody::Bytes(call.body.as_bytes());
    let request = SignableRequest::new(call.method.as_str(), &call.url, headers, body).unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    let headers = instructions.headers();
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn code_of(xml: &str) -> Option<&str> {
    Some(xml.split_once("<Code>")?.1.split_once("</Code>")?.0)
}
