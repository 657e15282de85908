//! The live view as a local page: `/` is the page, `/state` what is known, `/events` a stream of server-sent events.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{Stream, unfold};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::report::live_html;
use crate::run::{Live, Snapshot};

/// For open pages to hear the end; then they are cut off.
const GOODBYE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on this machine only. Port 0 takes a free one.
    pub async fn start(live: Arc<Live>, port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(false);
        let routes = Router::new()
            .route("/", get(page))
            .route("/state", get(state))
            .route("/events", get(events))
            .layer(middleware::from_fn(local_names_only))
            .with_state(live);
        let task = tokio::spawn(async move {
            let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
            // An error here ends the view and not the run.
            drop(axum::serve(listener, routes).with_graceful_shutdown(stopped).await);
        });
        Ok(Self { address, stop, task })
    }

    /// Streams end by themselves with the run's last snapshot.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(GOODBYE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// A page of another site that has its name point to this machine must not read a run.
async fn local_names_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "127.0.0.1" | "localhost") {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this view is for this machine only\n").into_response()
    }
}

async fn page(State(live): State<Arc<Live>>) -> Response {
    match live_html(&live.past()) {
        Ok(page) => Html(page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn state(State(live): State<Arc<Live>>) -> Response {
    axum::Json(live.past()).into_response()
}

async fn events(State(live): State<Arc<Live>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(Some((live.subscribe(), true)), next_event)).keep_alive(KeepAlive::default())
}

type Follower = Option<(watch::Receiver<Snapshot>, bool)>;

/// The first event comes at once, each other one when something has changed, and none after the verdict.
async fn next_event(follower: Follower) -> Option<(Result<Event, Infallible>, Follower)> {
    let (mut changes, is_first) = follower?;
    if !is_first {
        changes.changed().await.ok()?;
    }
    let now = changes.borrow_and_update().clone();
    let event = Event::default().event("snapshot").json_data(&now).unwrap_or_default();
    let next = now.verdict.is_none().then_some((changes, false));
    Some((Ok(event), next))
}
