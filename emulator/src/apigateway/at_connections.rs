//! `@connections`: what a backend may do to an open connection.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::connections::{Cause, Connection, Refused};
use super::live::LiveApi;
use super::measure::Meter;
use super::names;
use super::plane::Plane;
use super::reply::Reply;
use super::router::decode;
use super::ws_log::ConnectionCall;
use super::ws_session::MESSAGE_BYTES_MAX;
use crate::adversary::Act;
use crate::clock::iso8601;
use crate::iam::{Ask, Context, Denied};
use crate::request_body::{self, Body, discard};
use crate::server::{access_key, is_signed};

/// `/{stage}/@connections/{id}`, where some SDKs write `%40connections`: the stage and the id, still encoded.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    let (stage, rest) = path.strip_prefix('/')?.split_once('/')?;
    let (keyword, id) = rest.split_once('/').unwrap_or((rest, ""));
    (decode(keyword) == "@connections").then_some((stage, id))
}

pub(super) async fn answer(
    plane: &Plane,
    api: &LiveApi,
    api_id: &str,
    (stage, id): (&str, &str),
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Reply {
    let (stage, id) = (decode(stage), decode(id));
    let live = api.stages.get(&stage);
    let call = live.and_then(|live| ConnectionCall::begin(&plane.settings, live, &id, &request, peer));
    let mut reply = handle(plane, api_id, &stage, &id, &mut request).await;
    if let Some(call) = call {
        call.log(reply.status);
        reply.set("x-amzn-requestid", &call.request_id);
    }
    discard(request.body_mut()).await;
    reply
}

async fn handle(
    plane: &Plane,
    api_id: &str,
    stage: &str,
    id: &str,
    request: &mut Request<Incoming>,
) -> Reply {
    if !is_signed(request.headers(), request.uri().query()) {
        return refusal(StatusCode::FORBIDDEN, "ForbiddenException", "Missing Authentication Token");
    }
    if let Err(denied) = permitted(plane, api_id, stage, request) {
        let body = json!({ "Message": denied.to_string() });
        let mut reply = refusal(StatusCode::FORBIDDEN, "AccessDeniedException", "");
        reply.body = body.to_string().into();
        return reply;
    }
    if !names::is_opaque_id(id) {
        return refusal(
            StatusCode::BAD_REQUEST,
            "BadRequestException",
            &format!("Invalid connectionId: {id}"),
        );
    }
    let Some(connection) =
        plane.connections.get(id).filter(|open| open.api_id == api_id && open.stage == stage)
    else {
        return gone();
    };
    match request.method().clone() {
        Method::POST => post(plane, &connection, request.body_mut()).await,
        Method::GET => get(&connection),
        Method::DELETE => {
            connection.close(Cause::Deleted);
            Reply::empty(StatusCode::NO_CONTENT)
        }
        _ => refusal(StatusCode::FORBIDDEN, "ForbiddenException", "Missing Authentication Token"),
    }
}

/// A function needs `execute-api:ManageConnections`. The resource holds the method but no connection: AWS puts
/// `{connectionId}` in its place, in the decision and in the refusal.
fn permitted(plane: &Plane, api_id: &str, stage: &str, request: &Request<Incoming>) -> Result<(), Denied> {
    let settings = &plane.settings;
    let Some(signer) = settings.iam.signer(&access_key(request)) else { return Ok(()) };
    let tail = format!("{}/@connections/{{connectionId}}", request.method());
    let resource = names::execute_api_arn(settings, api_id, stage, &tail);
    let context = Context::at(settings.clock.now_ms());
    let ask = Ask { action: "execute-api:ManageConnections", resource: &resource, context };
    settings.iam.check(&signer, &ask)
}

async fn post(plane: &Plane, connection: &Arc<Connection>, body: &mut Incoming) -> Reply {
    let body = match request_body::read(body, MESSAGE_BYTES_MAX).await {
        Body::Whole(body) => body,
        Body::TooLarge => {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", "Message too long");
        }
        Body::Broken => {
            return refusal(StatusCode::BAD_REQUEST, "BadRequestException", "The body is incomplete");
        }
    };
    // Messages go out as text frames, which must be UTF-8.
    let Ok(text) = Utf8Bytes::try_from(body) else {
        return refusal(StatusCode::BAD_REQUEST, "BadRequestException", "The message is not valid UTF-8");
    };
    let pushed = match plane.settings.adversary.strikes(Act::GoneConnection) {
        // Its network ended between the caller's look at its table and this call.
        Some(_) => {
            connection.close(Cause::Lost);
            Err(Refused::Gone)
        }
        None => connection.push(text),
    };
    match pushed {
        Ok(()) => {
            let settings = &plane.settings;
            let meter = Meter { settings, api_id: &connection.api_id, stage: &connection.stage, route: None };
            meter.count("MessageCount", 1);
            Reply::empty(StatusCode::OK)
        }
        Err(Refused::Gone) => gone(),
        Err(Refused::Full) => refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "LimitExceededException",
            "The client reads slower than messages are posted",
        ),
    }
}

fn get(connection: &Connection) -> Reply {
    let body = json!({
        "connectedAt": iso8601(connection.connected_ms),
        "identity": { "sourceIp": connection.source_ip, "userAgent": connection.user_agent.as_deref().unwrap_or_default() },
        "lastActiveAt": iso8601(connection.last_active_ms()),
    });
    let mut reply = Reply::message(StatusCode::OK, "");
    reply.body = body.to_string().into();
    reply
}

fn gone() -> Reply {
    let mut reply = Reply::empty(StatusCode::GONE);
    reply.set("x-amzn-errortype", "GoneException");
    reply
}

fn refusal(status: StatusCode, code: &'static str, message: &str) -> Reply {
    let mut reply = Reply::message(status, "");
    reply.body = json!({ "message": message }).to_string().into();
    reply.set("x-amzn-errortype", code);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_path_are_understood() {
        assert_eq!(split("/live/@connections/abc%3D"), Some(("live", "abc%3D")));
        assert_eq!(split("/live/%40connections/abc%3D"), Some(("live", "abc%3D")));
        assert_eq!(split("/live/@connections"), Some(("live", "")));
        assert_eq!(split("/live"), None);
        assert_eq!(split("/live/other/abc"), None);
    }
}
