//! From a WebSocket event to a use case and back.

use std::convert::Infallible;

use task_aws::event::{AuthorizerContext, SocketEvent, SocketResponse};
use task_aws::logging::for_request;
use task_aws::telemetry::WideEvent;
use task_core::connection;
use task_core::error::PortError;
use task_core::ports::{Clock, Connections, TaskStore};
use task_core::{ConnectionId, Owner};

const STATUS_OK: u16 = 200;
const STATUS_UNAUTHORIZED: u16 = 401;
const STATUS_UNAVAILABLE: u16 = 503;

#[derive(Debug)]
pub(crate) struct Socket<S, N, C> {
    pub(crate) store: S,
    pub(crate) connections: N,
    pub(crate) clock: C,
}

impl<S: TaskStore, N: Connections, C: Clock> Socket<S, N, C> {
    pub(crate) async fn answer(
        &self,
        event: &SocketEvent,
        trace: Option<&str>,
    ) -> Result<SocketResponse, Infallible> {
        let context = &event.request_context;
        let mut wide = WideEvent::begin("websocket", &context.request_id, trace);
        let owner = context.authorizer.as_ref().and_then(AuthorizerContext::owner);
        let connection = ConnectionId::parse(context.connection_id.clone());
        let (Some(owner), Ok(connection)) = (owner, connection) else {
            wide.count("refused", 1);
            return Ok(status(STATUS_UNAUTHORIZED));
        };
        wide.owner(&owner);
        Ok(for_request(&context.request_id, self.route(event, &owner, &connection, &mut wide)).await)
    }

    async fn route(
        &self,
        event: &SocketEvent,
        owner: &Owner,
        connection: &ConnectionId,
        wide: &mut WideEvent,
    ) -> SocketResponse {
        match event.request_context.route_key.as_str() {
            "$connect" => {
                let outcome = connection::connect(&self.connections, &self.clock, owner, connection).await;
                // Not before: a client that was turned away was never connected.
                wide.count(if outcome.is_ok() { "connected" } else { "refused" }, 1);
                done(outcome)
            }
            "$disconnect" => {
                wide.count("disconnected", 1);
                done(connection::disconnect(&self.connections, owner, connection).await)
            }
            _ => {
                wide.count("messages", 1);
                self.message(owner, event).await
            }
        }
    }

    async fn message(&self, owner: &Owner, event: &SocketEvent) -> SocketResponse {
        let body = event.body.as_deref().unwrap_or_default();
        let message = connection::answer(&self.store, owner, body, &event.request_context.request_id).await;
        SocketResponse { status_code: STATUS_OK, body: serde_json::to_string(&message).ok() }
    }
}

/// On `$connect` anything but 2xx refuses the handshake with that status: a client that would hear nothing must know.
fn done(outcome: Result<(), PortError>) -> SocketResponse {
    status(if outcome.is_ok() { STATUS_OK } else { STATUS_UNAVAILABLE })
}

const fn status(status_code: u16) -> SocketResponse {
    SocketResponse { status_code, body: None }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
