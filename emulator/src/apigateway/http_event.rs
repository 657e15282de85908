//! The events of an HTTP API, written straight into a buffer from borrowed parts.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::iam_authorizer::Signer;
use super::model::Texts;
use super::query::{Joined, Query};
use super::router::PathVariables;
use super::stage_authorizer::{Authorized, Grant};

/// Headers of one hop: they are not the client's.
const NOT_FORWARDED: [&str; 5] = ["connection", "keep-alive", "te", "transfer-encoding", "upgrade"];

/// All that the events say about a request.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) account_id: &'a str,
    pub(super) api_id: &'a str,
    pub(super) stage: &'a str,
    pub(super) variables: &'a Texts,
    pub(super) domain_name: &'a str,
    pub(super) request_id: &'a str,
    pub(super) route_key: &'a str,
    pub(super) method: &'a Method,
    /// Decoded; with the stage's prefix, unless the stage is `$default`.
    pub(super) path: &'a str,
    /// The same, unless the integration sends its function another one.
    pub(super) sent_path: &'a str,
    pub(super) raw_query: &'a str,
    pub(super) query: &'a Query<'a>,
    pub(super) headers: &'a HeaderMap,
    pub(super) path_variables: &'a PathVariables,
    pub(super) source_ip: &'a str,
    pub(super) time: &'a str,
    pub(super) time_epoch_ms: i64,
}

impl Facts<'_> {
    pub(super) fn user_agent(&self) -> &str {
        self.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
    }
}

/// What only an authorizer's event has.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) arn: &'a str,
    pub(super) identity: &'a [String],
}

/// The body as events carry it.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) is_base64: bool,
}

/// Payload format 2.0. Members that are empty are absent, not null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventV2<'a> {
    version: &'static str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_source: Option<&'a [String]>,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<&'a str>,
    headers: JoinedHeaders<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Joined<'a>>,
    request_context: ContextV2<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_parameters: Option<Pairs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'a Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextV2<'a> {
    account_id: &'a str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Authorized<'a>>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: HttpV2<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'a str,
    time: &'a str,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpV2<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: &'a str,
    user_agent: &'a str,
}

pub(super) fn integration_v2(facts: &Facts<'_>, grant: Option<&Grant>, body: &Body<'_>) -> Vec<u8> {
    let mut event = event_v2(facts, grant);
    event.body = body.text.as_deref();
    event.is_base64_encoded = Some(body.is_base64);
    written(&event, body.text.as_deref().map_or(0, str::len))
}

pub(super) fn authorizer_v2(facts: &Facts<'_>, question: &Question<'_>) -> Vec<u8> {
    let mut event = event_v2(facts, None);
    event.kind = Some("REQUEST");
    event.route_arn = Some(question.arn);
    event.identity_source = Some(question.identity);
    written(&event, 0)
}

fn event_v2<'a>(facts: &'a Facts<'a>, grant: Option<&'a Grant>) -> EventV2<'a> {
    EventV2 {
        version: "2.0",
        kind: None,
        route_arn: None,
        identity_source: None,
        route_key: facts.route_key,
        raw_path: facts.sent_path,
        raw_query_string: facts.raw_query,
        cookies: cookies(facts.headers),
        headers: JoinedHeaders(facts.headers),
        query_string_parameters: (!facts.query.is_empty()).then(|| facts.query.as_joined()),
        request_context: ContextV2 {
            account_id: facts.account_id,
            api_id: facts.api_id,
            authorizer: grant.map(Grant::context),
            domain_name: facts.domain_name,
            domain_prefix: facts.api_id,
            http: HttpV2 {
                method: facts.method.as_str(),
                path: facts.path,
                protocol: "HTTP/1.1",
                source_ip: facts.source_ip,
                user_agent: facts.user_agent(),
            },
            request_id: facts.request_id,
            route_key: facts.route_key,
            stage: facts.stage,
            time: facts.time,
            time_epoch: facts.time_epoch_ms,
        },
        path_parameters: Pairs::present(facts.path_variables),
        stage_variables: Some(facts.variables).filter(|variables| !variables.is_empty()),
        body: None,
        is_base64_encoded: None,
    }
}

/// Serialising plain structs into memory cannot fail; should it ever, the function sees an empty event and fails.
fn written(event: &impl Serialize, body_len: usize) -> Vec<u8> {
    /// What an event without a body commonly takes.
    const EVENT_BYTES_USUAL: usize = 2_048;
    let mut buffer = Vec::with_capacity(EVENT_BYTES_USUAL + body_len);
    match serde_json::to_writer(&mut buffer, event) {
        Ok(()) => buffer,
        Err(error) => {
            tracing::error!(%error, "failed to write the event of a request");
            Vec::new()
        }
    }
}

fn cookies(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

fn forwarded(name: &HeaderName) -> bool {
    !NOT_FORWARDED.contains(&name.as_str())
}

fn value_text(value: &http::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// Lower-case names, repeated ones joined with a comma, without `cookie`.
struct JoinedHeaders<'a>(&'a HeaderMap);

impl Serialize for JoinedHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in self.0.keys().filter(|name| forwarded(name) && **name != http::header::COOKIE) {
            let mut values = self.0.get_all(name).iter();
            let Some(first) = values.next() else { continue };
            let mut joined = value_text(first);
            for value in values {
                let joined = joined.to_mut();
                joined.push(',');
                joined.push_str(&value_text(value));
            }
            map.serialize_entry(name.as_str(), &joined)?;
        }
        map.end()
    }
}

/// In format 1.0 these names, and no others, are written with capitals.
fn name_v1(name: &HeaderName) -> &str {
    match name.as_str() {
        "content-length" => "Content-Length",
        "content-type" => "Content-Type",
        "host" => "Host",
        "user-agent" => "User-Agent",
        "x-amzn-trace-id" => "X-Amzn-Trace-Id",
        "x-forwarded-for" => "X-Forwarded-For",
        "x-forwarded-port" => "X-Forwarded-Port",
        "x-forwarded-proto" => "X-Forwarded-Proto",
        other => other,
    }
}

/// The last value of each header.
struct LastHeaders<'a>(&'a HeaderMap);

impl Serialize for LastHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = self.0.keys().filter(|name| forwarded(name));
        serializer.collect_map(
            names.filter_map(|name| {
                Some((name_v1(name), value_text(self.0.get_all(name).iter().next_back()?)))
            }),
        )
    }
}

/// All values of each header.
struct ListedHeaders<'a>(&'a HeaderMap);

impl Serialize for ListedHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = self.0.keys().filter(|name| forwarded(name));
        serializer.collect_map(
            names
                .map(|name| (name_v1(name), self.0.get_all(name).iter().map(value_text).collect::<Vec<_>>())),
        )
    }
}

/// Path variables as an object.
struct Pairs<'a>(&'a PathVariables);

impl<'a> Pairs<'a> {
    fn present(variables: &'a PathVariables) -> Option<Self> {
        (!variables.is_empty()).then_some(Self(variables))
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Payload format 1.0. Members that are empty are null here, as REST APIs write them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventV1<'a> {
    version: &'static str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_token: Option<&'a str>,
    resource: &'a str,
    path: &'a str,
    http_method: &'a str,
    headers: LastHeaders<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<ListedHeaders<'a>>,
    query_string_parameters: Option<super::query::Last<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<QueryLists<'a>>,
    request_context: ContextV1<'a>,
    path_parameters: Option<Pairs<'a>>,
    stage_variables: Option<&'a Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextV1<'a> {
    account_id: &'a str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<super::stage_authorizer::Principal<'a>>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    extended_request_id: &'a str,
    http_method: &'a str,
    identity: IdentityV1<'a>,
    path: &'a str,
    protocol: &'static str,
    request_id: &'a str,
    request_time: &'a str,
    request_time_epoch: i64,
    resource_id: &'a str,
    resource_path: &'a str,
    stage: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityV1<'a> {
    #[serde(flatten)]
    signer: Option<Signer<'a>>,
    source_ip: &'a str,
    user_agent: &'a str,
}

struct QueryLists<'a>(&'a Query<'a>);

impl Serialize for QueryLists<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_lists().serialize(serializer)
    }
}

pub(super) fn integration_v1(facts: &Facts<'_>, grant: Option<&Grant>, body: &Body<'_>) -> Vec<u8> {
    let mut event = event_v1(facts, grant);
    event.multi_value_headers = Some(ListedHeaders(facts.headers));
    event.multi_value_query_string_parameters = (!facts.query.is_empty()).then_some(QueryLists(facts.query));
    event.body = Some(body.text.as_deref());
    event.is_base64_encoded = Some(body.is_base64);
    written(&event, body.text.as_deref().map_or(0, str::len))
}

pub(super) fn authorizer_v1(facts: &Facts<'_>, question: &Question<'_>) -> Vec<u8> {
    let identity = question.identity.join(",");
    let mut event = event_v1(facts, None);
    event.kind = Some("REQUEST");
    event.method_arn = Some(question.arn);
    event.identity_source = Some(&identity);
    event.authorization_token = Some(&identity);
    written(&event, 0)
}

fn event_v1<'a>(facts: &'a Facts<'a>, grant: Option<&'a Grant>) -> EventV1<'a> {
    let resource = facts.route_key.split_once(' ').map_or(facts.route_key, |(_, path)| path);
    EventV1 {
        version: "1.0",
        kind: None,
        method_arn: None,
        identity_source: None,
        authorization_token: None,
        resource,
        path: facts.sent_path,
        http_method: facts.method.as_str(),
        headers: LastHeaders(facts.headers),
        multi_value_headers: None,
        query_string_parameters: (!facts.query.is_empty()).then(|| facts.query.as_last()),
        multi_value_query_string_parameters: None,
        request_context: ContextV1 {
            account_id: facts.account_id,
            api_id: facts.api_id,
            authorizer: grant.and_then(Grant::principal),
            domain_name: facts.domain_name,
            domain_prefix: facts.api_id,
            extended_request_id: facts.request_id,
            http_method: facts.method.as_str(),
            identity: IdentityV1 {
                signer: grant.and_then(Grant::identity).map(Signer::from),
                source_ip: facts.source_ip,
                user_agent: facts.user_agent(),
            },
            path: facts.path,
            protocol: "HTTP/1.1",
            request_id: facts.request_id,
            request_time: facts.time,
            request_time_epoch: facts.time_epoch_ms,
            resource_id: facts.route_key,
            resource_path: resource,
            stage: facts.stage,
        },
        path_parameters: Pairs::present(facts.path_variables),
        stage_variables: Some(facts.variables).filter(|variables| !variables.is_empty()),
        body: None,
        is_base64_encoded: None,
    }
}
