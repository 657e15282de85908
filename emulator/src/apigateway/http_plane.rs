//! The data plane of HTTP APIs: from a request to a function and back.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::{Body as _, Incoming};

use super::definition::{Format, Integration, Route};
use super::http_event::{self, Body, Facts, Question};
use super::http_log::Exchange;
use super::http_response::{self, Malformed};
use super::identity::Sources;
use super::integration::{Called, Sent, integrate};
use super::jwt::Rejected;
use super::live::{LiveApi, LiveStage};
use super::mapped_value::{Asked, Content, Values};
use super::names;
use super::plane::Plane;
use super::query::Query;
use super::reply::Reply;
use super::router::{PathVariables, decode};
use super::stage_authorizer::{Denied, Grant, authorize};
use super::{cors, iam_authorizer};
use crate::request_body::{self, discard};

/// "Payload size: 10 MB", not adjustable.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// "Total combined size of request line and header values: 10,240 bytes".
const HEAD_BYTES_MAX: usize = 10_240;
/// How a request line ends.
const PROTOCOL: &str = " HTTP/1.1";

const REQUEST_ID: &str = "apigw-requestid";

pub(super) async fn answer(
    plane: &Plane,
    api: &LiveApi,
    path: &str,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Reply {
    let request_id = names::opaque_id(&plane.settings);
    let path = if path.is_empty() { "/" } else { path };
    let (head, mut body) = request.into_parts();
    let mut reply = match select_stage(api, path) {
        Some((stage, routed)) => {
            let source_ip = peer.ip().to_string();
            Served { plane, stage, path, routed, request_id: &request_id, source_ip: &source_ip }
                .answer(head, &mut body)
                .await
        }
        None => Reply::not_found(),
    };
    discard(&mut body).await;
    reply.set(REQUEST_ID, &request_id);
    reply
}

/// "API Gateway selects the stage by the first path segment, else `$default`": and the path that routes see.
fn select_stage<'a>(api: &'a LiveApi, path: &'a str) -> Option<(&'a Arc<LiveStage>, &'a str)> {
    let tail = &path[1..];
    let (first, rest) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
    match api.stages.get(first) {
        Some(stage) if first != "$default" => Some((stage, if rest.is_empty() { "/" } else { rest })),
        _ => api.stages.get("$default").map(|stage| (stage, path)),
    }
}

/// One request on its way through one stage.
struct Served<'a> {
    plane: &'a Plane,
    stage: &'a LiveStage,
    /// As AWS shows it: with the stage's prefix.
    path: &'a str,
    /// As routes see it.
    routed: &'a str,
    request_id: &'a str,
    source_ip: &'a str,
}

/// A request head, its route and what an authorizer said.
struct Matched<'a> {
    head: http::request::Parts,
    route: &'a Route,
    variables: PathVariables,
}

impl Served<'_> {
    async fn answer(&self, head: http::request::Parts, body: &mut Incoming) -> Reply {
        let started = Instant::now();
        let mut exchange = Exchange::new(
            &self.plane.settings,
            self.stage,
            &head,
            self.request_id,
            self.source_ip,
            self.path,
        );
        let asked = self.stage.cors.as_ref().map(|cors| (cors, head.method.clone(), head.headers.clone()));
        let mut reply = self.route(head, body, &mut exchange).await;
        if let Some((cors, method, headers)) = asked {
            cors::rewrite(cors, &method, &headers, &mut reply.headers);
        }
        exchange.finish(&reply, started.elapsed());
        reply
    }

    async fn route(
        &self,
        head: http::request::Parts,
        body: &mut Incoming,
        exchange: &mut Exchange<'_>,
    ) -> Reply {
        if self.head_bytes(&head) > HEAD_BYTES_MAX {
            return Reply::message(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request Header Fields Too Large",
            );
        }
        let Some((route, variables)) = self.stage.definition.http.find(&head.method, self.routed) else {
            return self.without_route(&head);
        };
        exchange.route_key.clone_from(&route.key);
        let now_ms = self.plane.settings.clock.now_ms();
        if !self.stage.admits(&route.key, now_ms) || !self.plane.requests.try_take(now_ms) {
            return Reply::too_many_requests();
        }
        self.serve(Matched { head, route, variables }, body, exchange).await
    }

    /// "API Gateway automatically sends a response to preflight OPTIONS requests, even if there isn't an OPTIONS route". Where
    /// a route takes them, by `ANY` and `$default` too, they go to that one.
    fn without_route(&self, head: &http::request::Parts) -> Reply {
        if self.stage.cors.is_some() && cors::is_preflight(&head.method, &head.headers) {
            Reply::empty(StatusCode::NO_CONTENT)
        } else {
            Reply::not_found()
        }
    }

    /// Of the request line as AWS would see it, and of the values of the headers.
    fn head_bytes(&self, head: &http::request::Parts) -> usize {
        let query = head.uri.query().map_or(0, |query| "?".len() + query.len());
        let line = head.method.as_str().len() + " ".len() + self.path.len() + query + PROTOCOL.len();
        line + head.headers.values().map(HeaderValue::len).sum::<usize>()
    }

    async fn serve(
        &self,
        mut matched: Matched<'_>,
        body: &mut Incoming,
        exchange: &mut Exchange<'_>,
    ) -> Reply {
        let settings = &self.plane.settings;
        let trace = self.complete_headers(&mut matched.head.headers, body, exchange.started_ms);
        let path = decode(self.path);
        let raw_query = matched.head.uri.query().unwrap_or_default().to_owned();
        let query = Query::parse(&raw_query);
        let domain_name = names::domain_name(settings, &self.stage.api_id);
        let time = names::request_time(exchange.started_ms);
        let facts = Facts {
            account_id: &settings.account_id,
            api_id: &self.stage.api_id,
            stage: &self.stage.name,
            variables: &self.stage.variables,
            domain_name: &domain_name,
            request_id: self.request_id,
            route_key: &matched.route.key,
            method: &matched.head.method,
            path: &path,
            sent_path: &path,
            raw_query: &raw_query,
            query: &query,
            headers: &matched.head.headers,
            path_variables: &matched.variables,
            source_ip: self.source_ip,
            time: &time,
            time_epoch_ms: exchange.started_ms,
        };
        match self.authorized(matched.route, &facts, exchange).await {
            Ok(grant) => exchange.grant = grant,
            Err(denied) => {
                let reply = refusal(&denied);
                exchange.denied = Some(denied);
                return reply;
            }
        }
        let Some(integration) = &matched.route.integration else { return Reply::internal_error() };
        let body = match read(body).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        exchange.received(body.len());
        let event = self.event(integration, &facts, exchange, &body);
        self.call(integration, Bytes::from(event), trace, &matched.head.method, exchange).await
    }

    /// The event of a request, as the integration changes it.
    fn event(
        &self,
        integration: &Integration,
        facts: &Facts<'_>,
        exchange: &Exchange<'_>,
        body: &Bytes,
    ) -> Vec<u8> {
        let (format, grant) = (integration.format, exchange.grant.as_ref());
        let headers = with_length(facts.headers, body.len());
        let facts = &Facts { headers: &headers, ..*facts };
        let content = event_body(facts.headers, body);
        let Some(mapping) = &integration.requests else { return event(format, facts, grant, &content) };
        let path = decode(self.routed);
        let context = |name: &str| exchange.known_variable(name);
        let values = Values {
            headers: facts.headers,
            body: Content::new(body),
            stage_variables: facts.variables,
            context: &context,
            asked: Some(Asked { path: &path, variables: facts.path_variables, query: facts.query }),
        };
        let mapped = mapping.apply(facts.raw_query, &values);
        let query = Query::parse(&mapped.raw_query);
        let facts = Facts {
            headers: &mapped.headers,
            raw_query: &mapped.raw_query,
            query: &query,
            sent_path: mapped.path.as_deref().unwrap_or(facts.sent_path),
            ..*facts
        };
        event(format, &facts, grant, &content)
    }

    /// Adds what the edge of AWS adds, and gives the trace header.
    fn complete_headers(&self, headers: &mut HeaderMap, body: &Incoming, at_ms: i64) -> String {
        let received = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
        let trace = names::trace_header(&self.plane.settings, at_ms, received);
        let forwarded = match headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()) {
            Some(before) => format!("{before}, {}", self.source_ip),
            None => self.source_ip.to_owned(),
        };
        for (name, value) in [("x-amzn-trace-id", trace.as_str()), ("x-forwarded-for", &forwarded)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        // An API on AWS is only reached by TLS: functions build links from these.
        headers.insert("x-forwarded-port", HeaderValue::from_static("443"));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        if body.is_end_stream() {
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        trace
    }

    async fn authorized(
        &self,
        route: &Route,
        facts: &Facts<'_>,
        exchange: &Exchange<'_>,
    ) -> Result<Option<Grant>, Denied> {
        if !route.is_guarded() {
            return Ok(None);
        }
        let context = |name: &str| exchange.request_variable(name);
        let sources = Sources {
            headers: facts.headers,
            query: facts.query,
            variables: facts.variables,
            context: &context,
        };
        if let Some((authorizer, scopes)) = &route.tokens {
            let token = sources.one(&authorizer.source);
            let (keys, now_ms) = (&self.plane.keys, self.plane.settings.clock.now_ms());
            let checked = authorizer.check(keys, token.as_deref(), scopes, now_ms).await;
            return checked.map(|claims| Some(Grant::Token(claims))).map_err(Denied::Token);
        }
        let tail = format!("{}{}", facts.method, self.routed);
        let arn = names::execute_api_arn(&self.plane.settings, &self.stage.api_id, &self.stage.name, &tail);
        if route.signed {
            let query = Some(facts.raw_query);
            return iam_authorizer::authorize(&self.plane.settings, &arn, facts.headers, query).map(Some);
        }
        let Some(authorizer) = &route.authorizer else { return Ok(None) };
        let event = |identity: &[String]| {
            let question = Question { arn: &arn, identity };
            match authorizer.format {
                Format::V2 => http_event::authorizer_v2(facts, &question),
                Format::V1 => http_event::authorizer_v1(facts, &question),
            }
        };
        authorize(self.plane, self.stage, authorizer, &sources, &arn, event).await.map(Some)
    }

    async fn call(
        &self,
        integration: &Integration,
        event: Bytes,
        trace: String,
        method: &Method,
        exchange: &mut Exchange<'_>,
    ) -> Reply {
        let source = format!("{}/{}", self.stage.name, source_route(&exchange.route_key, method));
        let shows_id = self.stage.logs_invocations() || integration.responses.is_some();
        let request_id = shows_id.then(names::invocation_id);
        let sent = Sent { payload: event, trace_id: Some(trace), request_id, source: &source };
        let (called, mut integrated) =
            integrate(self.plane, self.stage, &integration.target, integration.timeout, sent).await;
        let reply = match called {
            Called::Answered(answer) => match http_response::reply(&answer, integration.format) {
                Ok(reply) => {
                    integrated.function_status = Some(reply.status.as_u16());
                    reply
                }
                Err(Malformed) => {
                    integrated.fail();
                    Reply::internal_error()
                }
            },
            Called::Failed(_) => Reply::internal_error(),
            Called::Throttled | Called::TimedOut => Reply::unavailable(),
        };
        let is_answered = integrated.error.is_none();
        exchange.integration = Some(integrated);
        match &integration.responses {
            Some(mapping) if is_answered => {
                mapping.apply(reply, &self.stage.variables, &|name: &str| exchange.known_variable(name))
            }
            _ => reply,
        }
    }
}

fn event(format: Format, facts: &Facts<'_>, grant: Option<&Grant>, body: &Body<'_>) -> Vec<u8> {
    match format {
        Format::V2 => http_event::integration_v2(facts, grant, body),
        Format::V1 => http_event::integration_v1(facts, grant, body),
    }
}

/// The route as a source ARN has it: `GET/tasks/{id}`, with the request's own method for `ANY`; `$default` stays as it is.
fn source_route<'a>(route_key: &'a str, method: &Method) -> Cow<'a, str> {
    match route_key.split_once(' ') {
        Some(("ANY", path)) => Cow::Owned(format!("{method}{path}")),
        Some((method, path)) => Cow::Owned(format!("{method}{path}")),
        None => Cow::Borrowed(route_key),
    }
}

fn refusal(denied: &Denied) -> Reply {
    match denied {
        Denied::Unidentified => Reply::unauthorized(),
        Denied::Forbidden | Denied::ByAnswer { .. } => Reply::forbidden(),
        Denied::Unauthorized | Denied::Failed(_) | Denied::Malformed => Reply::internal_error(),
        Denied::Token(rejected) => {
            let forbidden = matches!(rejected, Rejected::Scope(_));
            let mut reply = if forbidden { Reply::forbidden() } else { Reply::unauthorized() };
            reply.set("www-authenticate", &rejected.challenge());
            reply
        }
    }
}

/// A body that came in chunks is sent on whole, and its length is known then.
fn with_length(headers: &HeaderMap, length: usize) -> Cow<'_, HeaderMap> {
    if headers.contains_key(CONTENT_LENGTH) {
        return Cow::Borrowed(headers);
    }
    let mut headers = headers.clone();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Cow::Owned(headers)
}

async fn read(body: &mut Incoming) -> Result<Bytes, Reply> {
    match request_body::read(body, BODY_BYTES_MAX).await {
        request_body::Body::Whole(body) => Ok(body),
        request_body::Body::TooLarge => Err(Reply::too_large()),
        request_body::Body::Broken => Err(Reply::message(StatusCode::BAD_REQUEST, "Bad Request")),
    }
}

/// Text of a textual type goes as it is, all else in base64: forms too, and what has no type.
fn event_body<'a>(headers: &HeaderMap, body: &'a Bytes) -> Body<'a> {
    if body.is_empty() {
        return Body { text: None, is_base64: false };
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match std::str::from_utf8(body) {
        Ok(text) if is_textual(content_type) => Body { text: Some(Cow::Borrowed(text)), is_base64: false },
        _ => Body { text: Some(Cow::Owned(STANDARD.encode(body))), is_base64: true },
    }
}

fn is_textual(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/javascript" | "application/xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_textual_types_stay_text() {
        for (content_type, textual) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", true),
            ("application/xml", true),
            ("application/problem+json", false),
            ("image/svg+xml", false),
            ("application/octet-stream", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_textual(content_type), textual, "{content_type}");
        }
    }

    #[test]
    fn a_source_arn_names_the_route_and_not_the_path_that_came() {
        let method = Method::GET;
        assert_eq!(source_route("GET /tasks/{id}", &method), "GET/tasks/{id}");
        assert_eq!(source_route("ANY /tasks/{proxy+}", &method), "GET/tasks/{proxy+}");
        assert_eq!(source_route("$default", &method), "$default");
    }

    #[test]
    fn text_that_is_not_utf8_goes_in_base64() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let bytes = Bytes::from_static(&[0xff, 0xfe]);
        let body = event_body(&headers, &bytes);
        assert!(body.is_base64);
        assert_eq!(body.text.as_deref(), Some("//4="));
    }
}
