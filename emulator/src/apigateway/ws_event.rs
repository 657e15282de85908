//! The events of a WebSocket API.

use http::{HeaderMap, HeaderName};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::connections::Connection;
use super::iam_authorizer::Signer;
use super::model::Texts;
use super::query::{Last, Query};
use super::stage_authorizer::{Grant, Principal};
use super::{names, plane::Plane};

/// One event's own ids and time.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) request_id: String,
    pub(super) message_id: Option<String>,
    pub(super) at_ms: i64,
    time: String,
    domain_name: String,
}

impl Moment {
    pub(super) fn now(plane: &Plane, api_id: &str) -> Self {
        let at_ms = plane.settings.clock.now_ms();
        Self {
            request_id: names::opaque_id(&plane.settings),
            message_id: None,
            at_ms,
            time: names::request_time(at_ms),
            domain_name: names::domain_name(&plane.settings, api_id),
        }
    }

    pub(super) fn of_message(plane: &Plane, api_id: &str) -> Self {
        Self { message_id: Some(names::opaque_id(&plane.settings)), ..Self::now(plane, api_id) }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// With what was asked of it: later events have less of that.
    Connect(Option<&'a Grant>),
    Message,
    Disconnect {
        code: u16,
        reason: &'a str,
    },
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<HeaderLists<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Last<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<QueryLists<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'a Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_context: Option<Context<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    route_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Authorizer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_status_code: Option<u16>,
    event_type: &'static str,
    extended_request_id: &'a str,
    request_time: &'a str,
    message_direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'a str>,
    stage: &'a str,
    connected_at: i64,
    request_time_epoch: i64,
    identity: Identity<'a>,
    request_id: &'a str,
    domain_name: &'a str,
    connection_id: &'a str,
    api_id: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Authorizer<'a> {
    OfConnect(Principal<'a>),
    Lasting(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(flatten)]
    signer: Option<Signer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    source_ip: &'a str,
}

/// What a handshake brought along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handshake<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) raw_query: Option<&'a str>,
    pub(super) query: &'a Query<'a>,
    pub(super) variables: &'a Texts,
}

pub(super) fn connect(
    connection: &Connection,
    moment: &Moment,
    handshake: Handshake<'_>,
    grant: Option<&Grant>,
) -> Vec<u8> {
    let event = connecting(connection, moment, handshake, grant);
    written(&Event { is_base64_encoded: Some(false), ..event })
}

pub(super) fn authorizer(
    connection: &Connection,
    moment: &Moment,
    handshake: Handshake<'_>,
    arn: &str,
) -> Vec<u8> {
    let event = Event {
        kind: Some("REQUEST"),
        method_arn: Some(arn),
        stage_variables: Some(handshake.variables),
        ..connecting(connection, moment, handshake, None)
    };
    written(&event)
}

fn connecting<'a>(
    connection: &'a Connection,
    moment: &'a Moment,
    handshake: Handshake<'a>,
    grant: Option<&'a Grant>,
) -> Event<'a> {
    let query = Some(handshake.query).filter(|query| !query.is_empty());
    Event {
        headers: Some(Headers(handshake.headers)),
        multi_value_headers: Some(HeaderLists(handshake.headers)),
        query_string_parameters: query.map(Query::as_last),
        multi_value_query_string_parameters: query.map(QueryLists),
        stage_variables: Some(handshake.variables).filter(|variables| !variables.is_empty()),
        request_context: Some(context(connection, moment, "$connect", Kind::Connect(grant))),
        ..Event::default()
    }
}

pub(super) fn message(
    connection: &Connection,
    moment: &Moment,
    route_key: &str,
    variables: &Texts,
    body: &str,
) -> Vec<u8> {
    written(&Event {
        stage_variables: Some(variables).filter(|variables| !variables.is_empty()),
        request_context: Some(context(connection, moment, route_key, Kind::Message)),
        body: Some(body),
        is_base64_encoded: Some(false),
        ..Event::default()
    })
}

pub(super) fn disconnect(
    connection: &Connection,
    moment: &Moment,
    variables: &Texts,
    kind: Kind<'_>,
) -> Vec<u8> {
    let headers = disconnect_headers(&moment.domain_name);
    written(&Event {
        headers: Some(Headers(&headers)),
        multi_value_headers: Some(HeaderLists(&headers)),
        stage_variables: Some(variables).filter(|variables| !variables.is_empty()),
        request_context: Some(context(connection, moment, "$disconnect", kind)),
        is_base64_encoded: Some(false),
        ..Event::default()
    })
}

/// Exactly these four, as recorded.
fn disconnect_headers(domain_name: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        "host",
        http::HeaderValue::from_str(domain_name).unwrap_or_else(|_| http::HeaderValue::from_static("")),
    );
    for name in ["x-api-key", "x-forwarded-for", "x-restapi"] {
        headers.insert(name, http::HeaderValue::from_static(""));
    }
    headers
}

fn context<'a>(
    connection: &'a Connection,
    moment: &'a Moment,
    route_key: &'a str,
    kind: Kind<'a>,
) -> Context<'a> {
    let lasting = || connection.authorizer.get().map(|lasting| Authorizer::Lasting(lasting));
    let (event_type, authorizer, code, reason) = match kind {
        Kind::Connect(grant) => {
            ("CONNECT", grant.and_then(Grant::principal).map(Authorizer::OfConnect), None, None)
        }
        Kind::Message => ("MESSAGE", lasting(), None, None),
        Kind::Disconnect { code, reason } => ("DISCONNECT", lasting(), Some(code), Some(reason)),
    };
    let signer = match kind {
        Kind::Connect(grant) => grant.and_then(Grant::identity).map(Signer::from),
        Kind::Message | Kind::Disconnect { .. } => None,
    };
    Context {
        route_key,
        authorizer,
        message_id: moment.message_id.as_deref(),
        disconnect_status_code: code,
        event_type,
        extended_request_id: &moment.request_id,
        request_time: &moment.time,
        message_direction: "IN",
        disconnect_reason: reason,
        stage: &connection.stage,
        connected_at: connection.connected_ms,
        request_time_epoch: moment.at_ms,
        identity: Identity {
            signer,
            user_agent: connection.user_agent.as_deref(),
            source_ip: &connection.source_ip,
        },
        request_id: &moment.request_id,
        domain_name: &moment.domain_name,
        connection_id: &connection.id,
        api_id: &connection.api_id,
    }
}

fn written(event: &Event<'_>) -> Vec<u8> {
    // Plain structs into memory: this cannot fail, and a function that sees an empty event fails loudly.
    serde_json::to_vec(event).unwrap_or_default()
}

/// Names as clients write them. The server reads them in lower case, so that their case is made up again here:
/// `sec-websocket-key` becomes `Sec-WebSocket-Key`, and what AWS itself writes in lower case stays so.
fn written_name(name: &HeaderName) -> String {
    match name.as_str() {
        lower @ ("x-api-key" | "x-restapi") => lower.to_owned(),
        other => other.split('-').map(capitalised).collect::<Vec<_>>().join("-"),
    }
}

fn capitalised(word: &str) -> String {
    if word == "websocket" {
        return "WebSocket".to_owned();
    }
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn shown(headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    headers.keys().filter(|name| !matches!(name.as_str(), "connection" | "upgrade"))
}

fn text(value: &http::HeaderValue) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

struct Headers<'a>(&'a HeaderMap);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = |name| self.0.get_all(name).iter().next_back().map(text);
        serializer.collect_map(shown(self.0).map(|name| (written_name(name), last(name))))
    }
}

struct HeaderLists<'a>(&'a HeaderMap);

impl Serialize for HeaderLists<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = |name| self.0.get_all(name).iter().map(text).collect::<Vec<_>>();
        serializer.collect_map(shown(self.0).map(|name| (written_name(name), all(name))))
    }
}

struct QueryLists<'a>(&'a Query<'a>);

impl Serialize for QueryLists<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_lists().serialize(serializer)
    }
}
