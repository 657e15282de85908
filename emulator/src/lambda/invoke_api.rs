//! Invoke, over HTTP and for the other services of the account.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;
use serde_json::json;

use super::Lambda;
use super::async_events;
use super::error::LambdaError;
use super::invocation::{self, Finished, Request, trace_id};
use super::names::FunctionRef;
use super::router::{Answer, Call, empty, json};
use super::store::Kind;
use crate::invoke::{InvokeOutcome, InvokeRequest};
use crate::wire::AwsResponse;

/// AWS quotas: the payload of a synchronous and of an asynchronous invocation.
const SYNC_MAX_BYTES: usize = 6_291_456;
pub(super) const ASYNC_MAX_BYTES: usize = 1_048_576;
/// AWS quota: the client context, base64.
const CLIENT_CONTEXT_MAX_BYTES: usize = 3_583;

pub(crate) async fn handle(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let request = request(lambda, call, name)?;
    match call.request.header("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => {
            check_size(&request.payload, "RequestResponse", SYNC_MAX_BYTES)?;
            let (id, trace) = (request.request_id.clone(), request.trace_id.clone());
            let finished = invocation::run(lambda.admit(request, Kind::Synchronous)?).await?;
            Ok(answer(finished, &id, &trace))
        }
        "Event" => {
            check_size(&request.payload, "Event", ASYNC_MAX_BYTES)?;
            let id = request.request_id.clone();
            async_events::accept(lambda, request)?;
            Ok(empty(StatusCode::ACCEPTED).with_header("x-amzn-requestid", &id))
        }
        "DryRun" => {
            lambda.check_invocable(&request.function)?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        other => Err(LambdaError::validation(
            other,
            "invocationType",
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        )),
    }
}

/// The old asynchronous call, which some tools still use.
pub(crate) fn invoke_async(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let request = request(lambda, call, name)?;
    check_size(&request.payload, "Event", ASYNC_MAX_BYTES)?;
    async_events::accept(lambda, request)?;
    Ok(json(StatusCode::ACCEPTED, &json!({"Status": 202})))
}

fn request(lambda: &Lambda, call: &Call<'_>, name: &str) -> Result<Request, LambdaError> {
    let function = call.function(name)?;
    let client_context = call.request.header("x-amz-client-context").map(str::to_owned);
    if client_context.as_ref().is_some_and(|context| context.len() > CLIENT_CONTEXT_MAX_BYTES) {
        return Err(LambdaError::bad_content(
            "Client context must be a valid Base64-encoded JSON object of at most 3583 bytes.",
        ));
    }
    let client_context = match client_context.map(|context| STANDARD.decode(context)) {
        None => None,
        Some(Ok(context)) => Some(String::from_utf8_lossy(&context).into_owned()),
        Some(Err(_)) => {
            return Err(LambdaError::bad_content(
                "Client context must be a valid Base64-encoded JSON object.",
            ));
        }
    };
    Ok(Request {
        function,
        payload: payload(&call.request.body)?,
        request_id: uuid::Uuid::new_v4().to_string(),
        trace_id: trace_id(call.request.header("x-amzn-trace-id"), lambda.now_ms()),
        client_context,
        tail: call.request.header("x-amz-log-type") == Some("Tail"),
    })
}

fn payload(body: &Bytes) -> Result<Bytes, LambdaError> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let unreadable = |error: String| {
        LambdaError::bad_content(format!(
            "Could not parse request body into json: Could not parse payload into json: {error}"
        ))
    };
    // The bytes of a string that is not looked at could be anything: they are text first.
    let text = std::str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| unreadable(error.to_string()))?;
    Ok(body.clone())
}

pub(super) fn check_size(payload: &Bytes, kind: &str, limit: usize) -> Result<(), LambdaError> {
    if payload.len() <= limit {
        return Ok(());
    }
    Err(LambdaError::too_large(format!(
        "{} byte payload is too large for the {kind} invocation type (limit {limit} bytes)",
        payload.len()
    )))
}

fn answer(finished: Finished, request_id: &str, trace: &str) -> AwsResponse {
    let failed = finished.result.is_err();
    let payload = finished.result.unwrap_or_else(|error| error.payload);
    let mut response = AwsResponse::new(StatusCode::OK, "application/json", payload)
        .with_header("x-amz-executed-version", &finished.version)
        .with_header("x-amzn-requestid", request_id)
        .with_header("x-amzn-trace-id", trace);
    if failed {
        response = response.with_header("x-amz-function-error", "Unhandled");
    }
    if let Some(tail) = finished.tail {
        response = response.with_header("x-amz-log-result", &STANDARD.encode(tail));
    }
    response
}

/// An invocation by another service of the account.
pub(crate) async fn invoke(lambda: &Lambda, request: InvokeRequest) -> InvokeOutcome {
    let Some(function) = FunctionRef::parse(&request.function) else { return InvokeOutcome::NotFound };
    let permitted = request.source.as_ref().map_or(Ok(()), |source| lambda.check_source(&function, source));
    let request = Request {
        function,
        payload: request.payload,
        request_id: request.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        trace_id: trace_id(request.trace_id.as_deref(), lambda.now_ms()),
        client_context: None,
        tail: false,
    };
    let too_large = check_size(&request.payload, "RequestResponse", SYNC_MAX_BYTES);
    let ended = match permitted.and(too_large).and_then(|()| lambda.admit(request, Kind::Synchronous)) {
        Ok(admitted) => invocation::run(admitted).await.map(|finished| finished.result),
        Err(refused) => Err(refused),
    };
    match ended {
        Ok(Ok(payload)) => InvokeOutcome::Success(payload),
        Ok(Err(error)) => InvokeOutcome::FunctionError { payload: error.payload, timed_out: error.timed_out },
        Err(LambdaError { status: 429, reason, .. }) => {
            InvokeOutcome::Throttled { reason: reason.unwrap_or("CallerRateLimitExceeded") }
        }
        Err(LambdaError { status: 404, .. }) => InvokeOutcome::NotFound,
        Err(LambdaError { status, code, message, .. }) => InvokeOutcome::Refused { status, code, message },
    }
}
