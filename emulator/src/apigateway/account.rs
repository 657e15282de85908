//! What an account has for all of its APIs: the role in whose name the logs of WebSocket APIs are written. HTTP APIs need none.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, bad};
use super::model::Protocol;
use super::names::API_GATEWAY;
use super::state::State;
use crate::iam::{Ask, Context};

/// "Throttling limits per Region across HTTP APIs, REST APIs, WebSocket APIs".
const REQUESTS_PER_SECOND: f64 = 10_000.0;
const BURST: u32 = 5_000;
const ROLE: &str = "/cloudwatchRoleArn";
/// Of those that the role needs, the one without which there is no line.
const WRITES_LOGS: &str = "logs:PutLogEvents";
const NO_LOG_LEVEL: &str = "OFF";

/// UpdateAccount and GetAccount, which are of the API for REST APIs.
#[derive(Debug, Default)]
pub(super) struct Account {
    log_role: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Patch {
    patch_operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    value: Option<String>,
}

pub(super) fn handle(state: &mut State, method: &Method, body: &[u8]) -> Result<Value, ApiError> {
    match *method {
        Method::GET => {}
        Method::PATCH => update(state, body)?,
        _ => return Err(ApiError::UnknownOperation),
    }
    let mut shown = json!({
        "throttleSettings": {"burstLimit": BURST, "rateLimit": REQUESTS_PER_SECOND},
        "features": ["UsagePlans"],
        "apiKeyVersion": "4",
    });
    if let Some(role) = &state.account.log_role {
        shown["cloudwatchRoleArn"] = json!(role);
    }
    Ok(shown)
}

fn update(state: &mut State, body: &[u8]) -> Result<(), ApiError> {
    let patch: Patch =
        serde_json::from_slice(body).map_err(|error| ApiError::BadRequest(error.to_string()))?;
    for operation in patch.patch_operations {
        if operation.path != ROLE || operation.op != "replace" {
            let (path, op) = (operation.path, operation.op);
            return bad(format!("Invalid patch path '{path}' specified for op '{op}'"));
        }
        let role = operation.value.filter(|role| !role.is_empty());
        if role.as_deref().is_some_and(|role| !may_write_logs(state, role)) {
            return bad(
                "The role ARN does not have required permissions configured. Please grant trust permission for API Gateway \
                 and add the required role policy.",
            );
        }
        state.account.log_role = role;
    }
    Ok(())
}

fn may_write_logs(state: &State, role: &str) -> bool {
    let iam = &state.settings().iam;
    let context = || Context::at(state.now_ms());
    let ask = Ask { action: WRITES_LOGS, resource: "*", context: context() };
    iam.may_assume(role, API_GATEWAY, context()) && iam.check_role(role, "logs", &ask).is_ok()
}

/// A stage of a WebSocket API that logs, in a request that makes or changes it.
///
/// # Errors
/// While the account has no role for it.
pub(super) fn check_logs(state: &State, api_id: &str, stage: &[u8]) -> Result<(), ApiError> {
    let is_websocket = state.api(api_id)?.protocol() == Protocol::WebSocket;
    if !is_websocket || state.account.log_role.is_some() || !logs(stage) {
        return Ok(());
    }
    bad("CloudWatch Logs role ARN must be set in account settings to enable logging")
}

fn logs(stage: &[u8]) -> bool {
    let stage: Value = serde_json::from_slice(stage).unwrap_or_default();
    let has_level = |settings: &Value| {
        settings.get("loggingLevel").and_then(Value::as_str).is_some_and(|level| level != NO_LOG_LEVEL)
    };
    let of_routes = stage["routeSettings"].as_object().into_iter().flat_map(|routes| routes.values());
    stage["accessLogSettings"]["destinationArn"].is_string()
        || of_routes.chain([&stage["defaultRouteSettings"]]).any(has_level)
}
