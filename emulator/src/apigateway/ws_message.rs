//! What a client's message leads to, and what is said when a connection ends.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::connections::Connection;
use super::definition::{Definition, Integration, Route};
use super::http_log::millis;
use super::http_response::ProxyAnswer;
use super::integration::{Called, call};
use super::live::LiveStage;
use super::names;
use super::plane::Plane;
use super::websocket::{error_frame, meter};
use super::ws_event::{self, Kind, Moment};
use crate::invoke::InvokeRequest;
use crate::metrics::Unit;

/// Runs beside the connection, so that pushes go on meanwhile. The permit counts the messages in flight.
pub(super) fn start(
    plane: &Arc<Plane>,
    connection: &Arc<Connection>,
    text: Utf8Bytes,
    permit: OwnedSemaphorePermit,
) {
    let (plane, connection) = (Arc::clone(plane), Arc::clone(connection));
    tokio::spawn(async move {
        handle(&plane, &connection, &text).await;
        drop(permit);
    });
}

async fn handle(plane: &Plane, connection: &Connection, text: &str) {
    let Some(stage) = plane.live.stage(&connection.api_id, &connection.stage) else { return };
    let moment = Moment::of_message(plane, &connection.api_id);
    let error = |message: &str| Utf8Bytes::from(error_frame(message, &connection.id, &moment.request_id));
    let Some(route) = select(&stage.definition, text) else {
        meter(plane, &stage, "").count("ClientError", 1);
        return connection.answer(error("Forbidden")).await;
    };
    meter(plane, &stage, &route.key).count("MessageCount", 1);
    if !stage.admits(&route.key, moment.at_ms) || !plane.requests.try_take(moment.at_ms) {
        meter(plane, &stage, &route.key).count("ClientError", 1);
        return connection.answer(error("Too Many Requests")).await;
    }
    let Some(integration) = &route.integration else {
        return connection.answer(error("Internal server error")).await;
    };
    let event = ws_event::message(connection, &moment, &route.key, &stage.variables, text);
    let called = invoke(plane, &stage, route, integration, event).await;
    log(plane, &stage, connection, &moment, route, &called);
    match called {
        Called::Answered(answer) if route.answers => match answer_text(&answer) {
            Some(text) if text.is_empty() => {}
            Some(text) => connection.answer(text).await,
            None => connection.answer(error("Internal server error")).await,
        },
        // "By default, the response of the integration is not sent": only a route response makes it so.
        Called::Answered(_) => {}
        Called::TimedOut => connection.answer(error("Endpoint request timed out")).await,
        Called::Failed(_) | Called::Throttled => connection.answer(error("Internal server error")).await,
    }
}

/// The route whose key is the selected value, else `$default`. No message reaches `$connect` or `$disconnect`.
fn select<'a>(definition: &'a Definition, text: &str) -> Option<&'a Arc<Route>> {
    let body: Option<Value> = serde_json::from_str(text).ok();
    let selected = body
        .as_ref()
        .and_then(|body| definition.selection.iter().try_fold(body, |value, key| value.get(key)));
    let key = match selected {
        Some(Value::String(key)) => Some(key.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
        _ => None,
    };
    let own = key.filter(|key| !key.starts_with('$')).and_then(|key| definition.websocket.get(&key));
    own.or_else(|| definition.websocket.get("$default"))
}

async fn invoke(
    plane: &Plane,
    stage: &LiveStage,
    route: &Route,
    integration: &Integration,
    event: Vec<u8>,
) -> Called {
    let trace = names::trace_header(&plane.settings, plane.settings.clock.now_ms(), None);
    let request = InvokeRequest {
        function: integration.function.clone(),
        payload: Bytes::from(event),
        trace_id: Some(trace),
        source: Some(names::source(&plane.settings, &stage.api_id, &format!("{}/{}", stage.name, route.key))),
    };
    let started = Instant::now();
    let called = call(&plane.invoke, &plane.settings.clock, integration.timeout, request).await;
    let meter = meter(plane, stage, &route.key);
    meter.record("IntegrationLatency", millis(started.elapsed()), Unit::Milliseconds);
    let failed = !matches!(called, Called::Answered(_));
    meter.count("IntegrationError", u32::from(failed));
    called
}

/// The body of a function's answer; None when the answer has no status or its body is no text.
fn answer_text(answer: &Bytes) -> Option<Utf8Bytes> {
    let answer: ProxyAnswer<'_> = serde_json::from_slice(answer).ok()?;
    answer.status_code?;
    Utf8Bytes::try_from(answer.body_bytes()?).ok()
}

/// "`$disconnect` is best effort": what the function answers is of no account.
pub(super) async fn disconnect(plane: &Plane, connection: &Connection, code: u16, reason: &str) {
    let Some(stage) = plane.live.stage(&connection.api_id, &connection.stage) else { return };
    let Some(route) = stage.definition.websocket.get("$disconnect") else { return };
    let Some(integration) = &route.integration else { return };
    let moment = Moment::now(plane, &connection.api_id);
    let event =
        ws_event::disconnect(connection, &moment, &stage.variables, Kind::Disconnect { code, reason });
    let called = invoke(plane, &stage, route, integration, event).await;
    log(plane, &stage, connection, &moment, route, &called);
}

fn log(
    plane: &Plane,
    stage: &LiveStage,
    connection: &Connection,
    moment: &Moment,
    route: &Route,
    called: &Called,
) {
    let Some(log) = &stage.access_log else { return };
    let (status, reason) = match called {
        Called::Answered(_) => (200, None),
        Called::Failed(reason) => (500, Some(reason.clone())),
        Called::Throttled => (429, Some("Rate Exceeded.".to_owned())),
        Called::TimedOut => (504, Some("Endpoint request timed out".to_owned())),
    };
    let line = log.line(|name| {
        Some(match name {
            "requestId" | "extendedRequestId" => moment.request_id.clone(),
            "messageId" => moment.message_id.clone()?,
            "connectionId" => connection.id.clone(),
            "connectedAt" => connection.connected_ms.to_string(),
            "eventType" => if moment.message_id.is_some() { "MESSAGE" } else { "DISCONNECT" }.to_owned(),
            "routeKey" => route.key.clone(),
            "apiId" => stage.api_id.clone(),
            "accountId" => plane.settings.account_id.to_string(),
            "stage" => stage.name.clone(),
            "status" | "integration.status" | "integrationStatus" => status.to_string(),
            "integrationErrorMessage" | "integration.error" | "error.message" => reason.clone()?,
            "requestTime" => names::request_time(moment.at_ms),
            "requestTimeEpoch" => (moment.at_ms / 1_000).to_string(),
            "identity.sourceIp" => connection.source_ip.clone(),
            "identity.userAgent" => connection.user_agent.clone()?,
            _ => return None,
        })
    });
    plane.settings.logs.put(&log.group, &format!("access/{}", stage.name), moment.at_ms, &line);
}
