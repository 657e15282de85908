//! The handshake of a WebSocket API: who may connect, and what refuses them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use super::connections::{Arrival, Connection};
use super::definition::Route;
use super::http_response::ProxyAnswer;
use super::identity::Sources;
use super::integration::{Called, Integrated};
use super::live::{LiveApi, LiveStage};
use super::plane::Plane;
use super::query::Query;
use super::reply::Reply;
use super::stage_authorizer::{Denied, Grant, authorize};
use super::ws_event::{self, Handshake, Moment};
use super::ws_log::{Ended, Occasion};
use super::{iam_authorizer, names, ws_message, ws_session};
use crate::request_body::discard;

/// As IAM says it, without who and what.
const DENIED: &str =
    "User is not authorized to access this resource with an explicit deny in an identity-based policy";
const NOT_GRANTED: &str = "User is not authorized to access this resource because no identity-based policy allows \
                           the execute-api:Invoke action";

/// What is remembered of a handshake, for its metrics and its line in the access log.
#[derive(Default)]
struct Course {
    grant: Option<Grant>,
    denied: Option<Denied>,
    /// Once the function was called.
    integrated: Option<Integrated>,
}

impl Course {
    fn ended<'a>(&'a self, status: StatusCode, message: Option<&'a str>) -> Ended<'a> {
        Ended {
            status: status.as_u16(),
            message,
            grant: self.grant.as_ref(),
            denied: self.denied.as_ref(),
            integrated: self.integrated.as_ref(),
        }
    }
}

pub(super) async fn answer(
    plane: Arc<Plane>,
    api: &LiveApi,
    path: &str,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Full<Bytes>> {
    let stage = path.trim_matches('/');
    let Some(stage) = api.stages.get(stage).cloned() else {
        discard(request.body_mut()).await;
        return Reply::forbidden().into();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, mut body) = request.into_parts();
    let head = Request::from_parts(head, ());
    let Ok(switching) = create_response(&head) else {
        discard(&mut body).await;
        return Reply::message(StatusCode::UPGRADE_REQUIRED, "Upgrade Required").into();
    };
    let (mut head, ()) = head.into_parts();
    let (connection, outbound) = Connection::new(arrival(&plane, &stage, &head.headers, peer));
    let Some(admission) = Admission::begin(&plane, &connection) else { return Reply::unavailable().into() };
    let moment = Moment::now(&plane, &stage.api_id);
    let occasion = Occasion {
        settings: &plane.settings,
        stage: &stage,
        connection: &connection,
        moment: &moment,
        event_type: "CONNECT",
        route_key: "$connect",
    };
    let mut course = Course::default();
    let connected = connect(&plane, occasion, &mut head, &mut course).await;
    measure(occasion, &connected, course.integrated.as_ref());
    match connected {
        Ok(subprotocol) => {
            connection.open();
            admission.complete();
            occasion.log(&course.ended(StatusCode::OK, None));
            start(plane, connection, outbound, upgrade);
            accepted(switching, subprotocol)
        }
        Err(reply) => {
            occasion.log(&course.ended(reply.status, reply.own_message().as_deref()));
            reply.into()
        }
    }
}

/// "ConnectCount: messages sent to the $connect route integration", each of which is a message too; "ClientError: requests
/// that have a 4XX response returned by API Gateway before the integration is invoked".
fn measure<T>(occasion: Occasion<'_>, connected: &Result<T, Reply>, integrated: Option<&Integrated>) {
    let meter = occasion.meter();
    if let (Err(reply), None) = (connected, integrated) {
        let name = if reply.status.is_client_error() { "ClientError" } else { "ExecutionError" };
        meter.count(name, 1);
        return;
    }
    meter.count("ConnectCount", 1);
    meter.count("MessageCount", 1);
    if let Some(integrated) = integrated {
        occasion.measure(integrated);
    }
}

/// Takes a connection out of the table again when its handshake does not complete.
struct Admission<'a> {
    plane: &'a Plane,
    id: &'a str,
    completed: bool,
}

impl<'a> Admission<'a> {
    fn begin(plane: &'a Plane, connection: &'a Arc<Connection>) -> Option<Self> {
        plane.connections.add(connection).then_some(Self { plane, id: &connection.id, completed: false })
    }

    fn complete(mut self) {
        self.completed = true;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.completed {
            self.plane.connections.remove(self.id);
        }
    }
}

fn arrival(plane: &Plane, stage: &LiveStage, headers: &HeaderMap, peer: SocketAddr) -> Arrival {
    let agent = headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Arrival {
        id: names::opaque_id(&plane.settings),
        api_id: stage.api_id.clone(),
        stage: stage.name.clone(),
        at_ms: plane.settings.clock.now_ms(),
        source_ip: peer.ip().to_string(),
        user_agent: agent.map(str::to_owned),
    }
}

/// Runs authorizer and `$connect`; gives the subprotocol that the function chose.
async fn connect(
    plane: &Plane,
    occasion: Occasion<'_>,
    head: &mut http::request::Parts,
    course: &mut Course,
) -> Result<Option<HeaderValue>, Reply> {
    let Occasion { stage, connection, moment, .. } = occasion;
    let now_ms = plane.settings.clock.now_ms();
    if !plane.new_connections.try_take(now_ms) || !stage.admits("$connect", now_ms) {
        return Err(Reply::too_many_requests());
    }
    let Some(route) = stage.definition.websocket.get("$connect") else { return Ok(None) };
    let trace = complete_headers(plane, connection, &mut head.headers);
    let raw_query = head.uri.query();
    let query = Query::parse(raw_query.unwrap_or_default());
    let variables = &stage.variables;
    let handshake = Handshake { headers: &head.headers, raw_query, query: &query, variables };
    match authorized(plane, occasion, route, handshake).await {
        Ok(grant) => course.grant = grant,
        Err(denied) => {
            let reply = unauthorized(&denied, &connection.id, &moment.request_id);
            course.denied = Some(denied);
            return Err(reply);
        }
    }
    let grant = course.grant.as_ref();
    if let Some(principal) = grant.and_then(Grant::lasting)
        && let Ok(context) = serde_json::value::to_raw_value(&principal)
    {
        // The connection is new: nothing was set before.
        connection.authorizer.get_or_init(|| context);
    }
    let Some(integration) = &route.integration else { return Ok(None) };
    let event = ws_event::connect(connection, moment, handshake, grant);
    let (called, mut call) = ws_message::invoke(plane, stage, &route.key, integration, trace, event).await;
    let verdict = verdict(&called, &mut call, &connection.id, &moment.request_id);
    course.integrated = Some(call);
    verdict.map_err(|reply| *reply)
}

/// "AuthN/AuthZ will be performed only at connection time": messages are not judged again.
async fn authorized(
    plane: &Plane,
    occasion: Occasion<'_>,
    route: &Route,
    handshake: Handshake<'_>,
) -> Result<Option<Grant>, Denied> {
    let Occasion { stage, connection, moment, .. } = occasion;
    let arn = names::execute_api_arn(&plane.settings, &stage.api_id, &stage.name, "$connect");
    if route.signed {
        let Handshake { headers, raw_query, .. } = handshake;
        return iam_authorizer::authorize(&plane.settings, &arn, headers, raw_query).map(Some);
    }
    let Some(authorizer) = &route.authorizer else { return Ok(None) };
    let context = |name: &str| occasion.variable(name);
    let sources = Sources {
        headers: handshake.headers,
        query: handshake.query,
        variables: handshake.variables,
        context: &context,
    };
    let event = |_: &[String]| ws_event::authorizer(connection, moment, handshake, &arn);
    authorize(plane, stage, authorizer, &sources, &arn, event).await.map(Some)
}

fn unauthorized(denied: &Denied, connection_id: &str, request_id: &str) -> Reply {
    let (status, message) = match denied {
        Denied::Unidentified | Denied::Unauthorized | Denied::Token(_) => {
            (StatusCode::UNAUTHORIZED, "Unauthorized")
        }
        Denied::Forbidden => return Reply::forbidden(),
        Denied::ByAnswer { explicitly: true } => (StatusCode::FORBIDDEN, DENIED),
        Denied::ByAnswer { explicitly: false } => (StatusCode::FORBIDDEN, NOT_GRANTED),
        Denied::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        Denied::Malformed => (StatusCode::INTERNAL_SERVER_ERROR, ""),
    };
    refusal(status, message, connection_id, request_id)
}

fn complete_headers(plane: &Plane, connection: &Connection, headers: &mut HeaderMap) -> String {
    let received = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    let trace = names::trace_header(&plane.settings, connection.connected_ms, received);
    for (name, value) in [("x-amzn-trace-id", trace.as_str()), ("x-forwarded-for", &connection.source_ip)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert("x-forwarded-port", HeaderValue::from_static("443"));
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    trace
}

/// 2xx lets the client in, another status is what the client sees, and a broken function is 502.
fn verdict(
    called: &Called,
    integrated: &mut Integrated,
    connection_id: &str,
    request_id: &str,
) -> Result<Option<HeaderValue>, Box<Reply>> {
    let refused = |status, message| Err(Box::new(refusal(status, message, connection_id, request_id)));
    let answer = match called {
        Called::Answered(answer) => answer,
        Called::TimedOut => return refused(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out"),
        Called::Failed(_) | Called::Throttled => {
            return refused(StatusCode::BAD_GATEWAY, "Internal server error");
        }
    };
    let parsed = ProxyAnswer::read(answer);
    let status = parsed.as_ref().and_then(|answer| StatusCode::from_u16(answer.status_code?.0).ok());
    let (Some(answer), Some(status)) = (parsed, status.filter(|status| !status.is_informational())) else {
        integrated.fail();
        return refused(StatusCode::BAD_GATEWAY, "Internal server error");
    };
    integrated.function_status = Some(status.as_u16());
    if !status.is_success() {
        return Err(Box::new(Reply::empty(status)));
    }
    let subprotocol = answer.header(SEC_WEBSOCKET_PROTOCOL.as_str());
    Ok(subprotocol.and_then(|value| HeaderValue::from_str(value).ok()))
}

fn refusal(status: StatusCode, message: &str, connection_id: &str, request_id: &str) -> Reply {
    let mut reply = Reply::empty(status);
    reply.body = Bytes::from(error_frame(message, connection_id, request_id));
    reply.set("content-type", "application/json; charset=UTF-8");
    reply.set("x-amz-apigw-id", request_id);
    reply
}

/// With AWS's own spacing: clients that compare text exist.
pub(super) fn error_frame(message: &str, connection_id: &str, request_id: &str) -> String {
    format!(r#"{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"{request_id}"}}"#)
}

fn accepted(switching: Response<()>, subprotocol: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = switching.map(|()| Full::new(Bytes::new()));
    if let Some(subprotocol) = subprotocol {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

/// The session waits for hyper to hand over the socket, which it does once the 101 is written.
fn start(
    plane: Arc<Plane>,
    connection: Arc<Connection>,
    outbound: mpsc::Receiver<Utf8Bytes>,
    upgrade: OnUpgrade,
) {
    tokio::spawn(async move { ws_session::run(plane, connection, outbound, upgrade).await });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::invoke::InvokeOutcome;

    fn judged(called: &Called) -> Result<Option<HeaderValue>, Box<Reply>> {
        verdict(called, &mut Integrated::new(called, Duration::ZERO), "C=", "R=")
    }

    fn status_of(called: &Called) -> u16 {
        judged(called).map_or_else(|reply| reply.status.as_u16(), |_| 101)
    }

    #[test]
    fn what_connect_returns_decides_the_handshake() {
        let answered = |text: &'static str| Called::Answered(Bytes::from_static(text.as_bytes()));
        assert_eq!(status_of(&answered(r#"{"statusCode":200}"#)), 101);
        assert_eq!(status_of(&answered(r#"{"statusCode":"204"}"#)), 101);
        assert_eq!(status_of(&answered(r#"{"statusCode":401}"#)), 401);
        for no_object in ["null", "[200]", "[]"] {
            assert_eq!(status_of(&answered(no_object)), 502, "{no_object}");
        }
        assert_eq!(status_of(&Called::from(InvokeOutcome::NotFound)), 502);
        assert_eq!(status_of(&Called::TimedOut), 504);
    }

    #[test]
    fn what_an_authorizer_refuses_has_the_status_and_the_words_of_aws() {
        for (denied, status, message) in [
            (Denied::Unidentified, 401, "Unauthorized"),
            (Denied::Unauthorized, 401, "Unauthorized"),
            (Denied::ByAnswer { explicitly: true }, 403, DENIED),
            (Denied::ByAnswer { explicitly: false }, 403, NOT_GRANTED),
            (Denied::Failed("Rate Exceeded.".to_owned()), 500, "Internal server error"),
            (Denied::Malformed, 500, ""),
        ] {
            let reply = unauthorized(&denied, "C=", "R=");
            assert_eq!(reply.status.as_u16(), status, "{denied:?}");
            assert_eq!(reply.body, error_frame(message, "C=", "R="), "{denied:?}");
            assert_eq!(reply.headers["content-type"], "application/json; charset=UTF-8");
            assert_eq!(reply.headers["x-amz-apigw-id"], "R=");
        }
        assert!(NOT_GRANTED.ends_with("the execute-api:Invoke action"));
    }

    #[test]
    fn the_subprotocol_of_the_function_is_echoed() {
        let answer = r#"{"statusCode":200,"headers":{"sec-websocket-protocol":"v1"}}"#;
        let chosen = judged(&Called::Answered(Bytes::from_static(answer.as_bytes()))).unwrap();
        assert_eq!(chosen, Some(HeaderValue::from_static("v1")));
    }

    #[test]
    fn error_frames_have_the_spacing_of_aws() {
        assert_eq!(
            error_frame("Forbidden", "XDmENcnwIE0CFEQ=", "XDmGEE2RoE0FRdQ="),
            r#"{"message": "Forbidden", "connectionId":"XDmENcnwIE0CFEQ=", "requestId":"XDmGEE2RoE0FRdQ="}"#
        );
    }
}
