//! What a client's message leads to, and what is said when a connection ends.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::connections::Connection;
use super::definition::{Definition, Integration, Route};
use super::http_response::ProxyAnswer;
use super::integration::{Called, Integrated, Sent, integrate};
use super::live::LiveStage;
use super::names;
use super::plane::Plane;
use super::websocket::error_frame;
use super::ws_event::{self, Kind, Moment};
use super::ws_log::{Ended, Occasion};

/// Why a message leads to nothing: the access log has the status, the client the text.
#[derive(Clone, Copy)]
struct Refusal {
    status: u16,
    message: &'static str,
}

const FORBIDDEN: Refusal = Refusal { status: 403, message: "Forbidden" };
const THROTTLED: Refusal = Refusal { status: 429, message: "Too Many Requests" };
const NOWHERE: Refusal = Refusal { status: 500, message: "Internal server error" };
const FAILED: Refusal = Refusal { status: 502, message: "Internal server error" };
const TIMED_OUT: Refusal = Refusal { status: 504, message: "Endpoint request timed out" };

/// What goes back to the client, if anything does.
type Outcome = Result<Option<Utf8Bytes>, Refusal>;

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
    let route = select(&stage.definition, text);
    let occasion = Occasion {
        settings: &plane.settings,
        stage: &stage,
        connection,
        moment: &moment,
        event_type: "MESSAGE",
        route_key: route.map_or("", |route| route.key.as_str()),
    };
    occasion.meter().count("MessageCount", 1);
    let outcome = match admitted(plane, occasion, route) {
        Ok((route, Some(integration))) => {
            let event = ws_event::message(connection, &moment, &route.key, &stage.variables, text);
            run(plane, occasion, route, integration, event).await
        }
        Ok((_, None)) => ended(occasion, Err(NOWHERE), None),
        Err(refusal) => {
            occasion.meter().count("ClientError", 1);
            ended(occasion, Err(refusal), None)
        }
    };
    match outcome {
        Ok(Some(text)) => connection.answer(text).await,
        Ok(None) => {}
        Err(Refusal { message, .. }) => {
            connection.answer(error_frame(message, &connection.id, &moment.request_id).into()).await;
        }
    }
}

/// The route and its function, before which a message may be refused.
fn admitted<'a>(
    plane: &Plane,
    occasion: Occasion<'_>,
    route: Option<&'a Arc<Route>>,
) -> Result<(&'a Route, Option<&'a Integration>), Refusal> {
    let route: &Route = route.ok_or(FORBIDDEN)?;
    let at_ms = occasion.moment.at_ms;
    if !occasion.stage.admits(&route.key, at_ms) || !plane.requests.try_take(at_ms) {
        return Err(THROTTLED);
    }
    Ok((route, route.integration.as_ref()))
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

/// Calls the function of a route and reads what it answers.
async fn run(
    plane: &Plane,
    occasion: Occasion<'_>,
    route: &Route,
    integration: &Integration,
    event: Vec<u8>,
) -> Outcome {
    let trace = names::trace_header(&plane.settings, plane.settings.clock.now_ms(), None);
    let (called, mut integrated) = invoke(plane, occasion.stage, &route.key, integration, trace, event).await;
    let outcome = match called {
        Called::Answered(answer) => read(route, &answer, &mut integrated),
        Called::TimedOut => Err(TIMED_OUT),
        Called::Failed(_) | Called::Throttled => Err(FAILED),
    };
    occasion.measure(&integrated);
    ended(occasion, outcome, Some(&integrated))
}

pub(super) async fn invoke(
    plane: &Plane,
    stage: &LiveStage,
    route_key: &str,
    integration: &Integration,
    trace: String,
    event: Vec<u8>,
) -> (Called, Integrated) {
    let source = format!("{}/{route_key}", stage.name);
    let request_id = stage.logs_invocations().then(names::invocation_id);
    let sent = Sent { payload: Bytes::from(event), trace_id: Some(trace), request_id, source: &source };
    integrate(plane, stage, &integration.target, integration.timeout, sent).await
}

/// "By default, the response of the integration is not sent": only a route response makes it so. It needs a status, and a
/// body that is text.
fn read(route: &Route, answer: &Bytes, integrated: &mut Integrated) -> Outcome {
    let answer = ProxyAnswer::read(answer);
    let status = answer.as_ref().and_then(|answer| Some(answer.status_code?.0));
    integrated.function_status = status;
    if !route.answers {
        return Ok(None);
    }
    let body = answer.filter(|_| status.is_some()).and_then(|answer| answer.body_bytes());
    let Some(text) = body.and_then(|body| Utf8Bytes::try_from(body).ok()) else {
        integrated.fail();
        return Err(FAILED);
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Writes the line of the access log, with the status that the function answered.
fn ended(occasion: Occasion<'_>, outcome: Outcome, integrated: Option<&Integrated>) -> Outcome {
    let (status, message) = match &outcome {
        Ok(_) => (integrated.and_then(|integrated| integrated.function_status).unwrap_or(200), None),
        Err(Refusal { status, message }) => (*status, Some(*message)),
    };
    occasion.log(&Ended { status, message, integrated, ..Ended::default() });
    outcome
}

/// "`$disconnect` is best effort": what the function answers is of no account.
pub(super) async fn disconnect(plane: &Plane, connection: &Connection, code: u16, reason: &str) {
    let Some(stage) = plane.live.stage(&connection.api_id, &connection.stage) else { return };
    let Some(route) = stage.definition.websocket.get("$disconnect") else { return };
    let Some(integration) = &route.integration else { return };
    let moment = Moment::now(plane, &connection.api_id);
    let occasion = Occasion {
        settings: &plane.settings,
        stage: &stage,
        connection,
        moment: &moment,
        event_type: "DISCONNECT",
        route_key: &route.key,
    };
    occasion.meter().count("MessageCount", 1);
    let event =
        ws_event::disconnect(connection, &moment, &stage.variables, Kind::Disconnect { code, reason });
    run(plane, occasion, route, integration, event).await.ok();
}
