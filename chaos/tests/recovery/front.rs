//! Fronts that keep every socket open, enough for a load to run: one that refuses every submission, and one that has each
//! done at once and is late to say so.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chaos::clock::now_ms;
use chaos::cloud::Cloud;
use futures_util::StreamExt;
use serde_json::{Value, json};
use task_core::idempotency::named_task_id;
use task_core::{IdempotencyKey, Owner};
use tokio::net::TcpListener;

const REFUSAL: &str = r#"{"type":"urn:task:problem:queue-unavailable","status":503}"#;

pub(crate) struct Front {
    pub(crate) http_url: String,
    pub(crate) websocket_url: String,
}

/// What a front that is late needs.
#[derive(Clone)]
struct Late {
    cloud: Cloud,
    table: String,
    by: Duration,
}

impl Front {
    /// Lives as long as the test's runtime.
    pub(crate) async fn up() -> Self {
        Self::of(Router::new().fallback(refuse)).await
    }

    /// A task is in the table when its submission is answered, and not before.
    pub(crate) async fn late(cloud: Cloud, table: &str, by: Duration) -> Self {
        let late = Late { cloud, table: table.to_owned(), by };
        Self::of(Router::new().route("/tasks", post(accept)).fallback(refuse).with_state(late)).await
    }

    async fn of(router: Router) -> Self {
        let (http, sockets) = (listener().await, listener().await);
        let front = Self {
            http_url: format!("http://{}", http.local_addr().unwrap()),
            websocket_url: format!("ws://{}/live", sockets.local_addr().unwrap()),
        };
        tokio::spawn(axum::serve(http, router).into_future());
        tokio::spawn(keep_open(sockets));
        front
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap()
}

async fn refuse() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::SERVICE_UNAVAILABLE, kind, REFUSAL).into_response()
}

async fn accept(State(late): State<Late>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    tokio::time::sleep(late.by).await;
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let owner = Owner::parse(subject(&text("authorization"))).unwrap();
    let key = IdempotencyKey::parse(text("idempotency-key")).unwrap();
    let task_id = named_task_id(&owner, &key).to_string();
    let item = record(&task_id, owner.as_str(), &body);
    late.cloud.dynamodb.put_item().table_name(&late.table).set_item(Some(item)).send().await.unwrap();
    let task = json!({"id": task_id, "status": "queued", "version": 1});
    (StatusCode::ACCEPTED, Json(task)).into_response()
}

/// Of the token, whose signature is not looked at.
fn subject(authorization: &str) -> String {
    let claims = authorization.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

/// A task that a worker has done.
fn record(task_id: &str, owner: &str, body: &Value) -> HashMap<String, AttributeValue> {
    let now_ms = now_ms();
    let history = [("queued", 0_u64), ("running", 1), ("succeeded", 2)];
    let history = history.iter().zip(1..).map(|((status, after_ms), version)| {
        AttributeValue::S(format!("{version} {status} {}", now_ms + after_ms))
    });
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let number = |value: u64| AttributeValue::N(value.to_string());
    let attributes = [
        ("task_id", text(task_id)),
        ("owner", text(owner)),
        ("owner_shard", text(&format!("{owner}#0"))),
        ("owner_sort", text(&format!("{now_ms:013}#{task_id}"))),
        ("kind", text(body["kind"].as_str().unwrap())),
        ("payload", text(&body["payload"].to_string())),
        ("status", text("succeeded")),
        ("version", number(3)),
        ("attempts", number(1)),
        ("deliveries", number(1)),
        ("completions", number(1)),
        ("created_at_ms", number(now_ms)),
        ("updated_at_ms", number(now_ms + 2)),
        ("request_hash", text("hash")),
        ("history", AttributeValue::L(history.collect())),
    ];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn keep_open(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
        });
    }
}
