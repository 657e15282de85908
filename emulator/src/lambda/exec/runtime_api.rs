//! The Runtime API of one environment, on a loopback listener of its own.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::environment::{Ending, Environment, Job};
use super::pool::Pool;
use super::proxy;
use crate::accept::accept;
use crate::request_body::{self, Body, discard};

/// AWS quota: 6 MB and a little for the envelope.
const RESPONSE_MAX_BYTES: usize = 6_291_556;
const RUNTIME: &str = "/2018-06-01/runtime/";
const EXTENSION: &str = "/2020-01-01/extension/";
/// The only event of which an internal extension may be told.
const INVOKE: &str = "INVOKE";

/// One way into an environment: the plain Runtime API, or the fault-injection extension's copy of it.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) environment: Arc<Environment>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) faulted: bool,
}

/// Serves until the task is dropped, which closes every connection.
pub(crate) async fn serve(listener: TcpListener, door: Door) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = accept(&listener) => {
                // Without it every answer may wait for the other side's delayed acknowledgement.
                stream.set_nodelay(true).ok();
                let door = door.clone();
                let service = service_fn(move |request| {
                    let door = door.clone();
                    async move { Ok::<_, Infallible>(answer(&door, request).await) }
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn answer(door: &Door, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if let Some(call) = path.strip_prefix(EXTENSION) {
        return extension(door, call, request).await;
    }
    let Some(call) = path.strip_prefix(RUNTIME) else { return refuse(StatusCode::NOT_FOUND, "NotFound") };
    let post = request.method() == Method::POST;
    match call.split('/').collect::<Vec<_>>().as_slice() {
        ["invocation", "next"] if request.method() == Method::GET => next(door).await,
        ["invocation", id, "response"] if post => match read(request.into_body()).await {
            Body::Whole(body) => complete(door, id, Ending::Response(body)),
            Body::TooLarge => {
                complete(door, id, Ending::ResponseTooLarge);
                refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")
            }
            Body::Broken => refuse(StatusCode::BAD_REQUEST, "InvalidRequest"),
        },
        ["invocation", id, "error"] if post => match read(request.into_body()).await {
            Body::Whole(body) => complete(door, id, Ending::Error(body)),
            Body::TooLarge => {
                complete(door, id, Ending::ResponseTooLarge);
                refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")
            }
            Body::Broken => refuse(StatusCode::BAD_REQUEST, "InvalidRequest"),
        },
        ["init", "error"] if post => match read(request.into_body()).await {
            Body::Whole(body) if !door.environment.ready.load(Ordering::SeqCst) => {
                door.environment.fail_init(body);
                accepted()
            }
            _ => refuse(StatusCode::FORBIDDEN, "InvalidStateTransition"),
        },
        _ => refuse(StatusCode::NOT_FOUND, "NotFound"),
    }
}

/// Blocks until there is an event. The environment counts as free while it waits here.
async fn next(door: &Door) -> Response<Full<Bytes>> {
    door.pool.give_up_unanswered(&door.environment);
    loop {
        // AWS: the init phase and an invocation are over when the extensions wait as well.
        door.environment.extensions.all_wait().await;
        let (sender, receiver) = oneshot::channel();
        door.pool.park(&door.environment, sender);
        let Ok(job) = receiver.await else {
            // The pool let go of this environment: its process is about to be killed.
            return std::future::pending().await;
        };
        door.environment.extensions.tell(|| told(&job));
        if door.faulted
            && let ControlFlow::Break(ending) = proxy::intercept(&door.environment, &job).await
        {
            door.pool.complete(&door.environment, &job.request_id, ending);
            continue;
        }
        return event(job);
    }
}

/// What an extension is told of an event.
fn told(job: &Job) -> Bytes {
    let event = json!({
        "eventType": INVOKE, "deadlineMs": job.deadline_ms, "requestId": job.request_id,
        "invokedFunctionArn": job.arn, "tracing": {"type": "X-Amzn-Trace-Id", "value": job.trace_id},
    });
    Bytes::from(event.to_string())
}

fn event(job: Job) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(job.payload));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    insert(headers, "lambda-runtime-aws-request-id", &job.request_id);
    insert(headers, "lambda-runtime-deadline-ms", &job.deadline_ms.to_string());
    insert(headers, "lambda-runtime-invoked-function-arn", &job.arn);
    insert(headers, "lambda-runtime-trace-id", &job.trace_id);
    if let Some(context) = &job.client_context {
        insert(headers, "lambda-runtime-client-context", context);
    }
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn complete(door: &Door, request_id: &str, ending: Ending) -> Response<Full<Bytes>> {
    if door.pool.complete(&door.environment, request_id, ending) {
        accepted()
    } else {
        refuse(StatusCode::BAD_REQUEST, "InvalidRequestID")
    }
}

/// The Extensions API for internal extensions, whose presence makes Lambda send SIGTERM: told of events, or of nothing, as the
/// Rust runtime's graceful shutdown wants it.
async fn extension(door: &Door, call: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match (request.method(), call) {
        (&Method::POST, "register") => {
            let Body::Whole(body) = read(request.into_body()).await else {
                return refuse(StatusCode::BAD_REQUEST, "InvalidRequest");
            };
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let events = body["events"].as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(refused) = events.iter().find(|event| **event != INVOKE) {
                return refuse_events(refused.as_str().unwrap_or_default());
            }
            let id = uuid::Uuid::new_v4().to_string();
            if !events.is_empty() {
                door.environment.extensions.register(&id);
            }
            door.environment.extension.store(true, Ordering::SeqCst);
            let spec = &door.environment.spec;
            let body = json!({
                "functionName": spec.name, "functionVersion": spec.version, "handler": spec.config.handler,
            });
            let mut response = json_response(StatusCode::OK, &body);
            insert(response.headers_mut(), "lambda-extension-identifier", &id);
            response
        }
        (&Method::GET, "event/next") => {
            let id = request.headers().get("lambda-extension-identifier").and_then(|id| id.to_str().ok());
            let told = id.and_then(|id| door.environment.extensions.wait(id));
            next_of_extension(told).await
        }
        _ => refuse(StatusCode::NOT_FOUND, "NotFound"),
    }
}

/// Blocks until there is an event, or for ever where none is wanted.
async fn next_of_extension(told: Option<oneshot::Receiver<Bytes>>) -> Response<Full<Bytes>> {
    let Some(told) = told else { return std::future::pending().await };
    let Ok(event) = told.await else { return std::future::pending().await };
    let mut response = Response::new(Full::new(event));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    insert(headers, "lambda-extension-event-identifier", &uuid::Uuid::new_v4().to_string());
    response
}

/// "Shutdown" is for external extensions, which are processes of their own.
fn refuse_events(event: &str) -> Response<Full<Bytes>> {
    let why = if event == "SHUTDOWN" {
        "ShutdownEventNotSupportedForInternalExtension"
    } else {
        "ErrorInvalidEventType"
    };
    let body = json!({"errorMessage": format!("{event}: {why}"), "errorType": "Extension.InvalidEventType"});
    json_response(StatusCode::FORBIDDEN, &body)
}

/// An oversized body is read to its end, so that the runtime gets its 413.
async fn read(mut body: Incoming) -> Body {
    let read = request_body::read(&mut body, RESPONSE_MAX_BYTES).await;
    if matches!(read, Body::TooLarge) {
        discard(&mut body).await;
    }
    read
}

fn accepted() -> Response<Full<Bytes>> {
    const OK: &[u8] = br#"{"status":"OK"}"#;
    let mut response = Response::new(Full::new(Bytes::from_static(OK)));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(status: StatusCode, error_type: &str) -> Response<Full<Bytes>> {
    let message = if error_type == "InvalidRequestID" { "Invalid request ID" } else { error_type };
    json_response(status, &json!({"errorMessage": message, "errorType": error_type}))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
