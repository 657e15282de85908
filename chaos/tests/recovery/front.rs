//! A front that refuses every submission and keeps every socket open: enough for a load to run.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::net::TcpListener;

const REFUSAL: &str = r#"{"type":"urn:task:problem:queue-unavailable","status":503}"#;

pub(crate) struct Front {
    pub(crate) http_url: String,
    pub(crate) websocket_url: String,
}

impl Front {
    /// Lives as long as the test's runtime.
    pub(crate) async fn up() -> Self {
        let (http, sockets) = (listener().await, listener().await);
        let front = Self {
            http_url: format!("http://{}", http.local_addr().unwrap()),
            websocket_url: format!("ws://{}/live", sockets.local_addr().unwrap()),
        };
        tokio::spawn(axum::serve(http, Router::new().fallback(refuse)).into_future());
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

async fn keep_open(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
        });
    }
}
