//! One client's WebSocket: connecting, leaving, asking.

use crate::error::PortError;
use crate::id::{ConnectionId, Owner};
use crate::limits;
use crate::list;
use crate::object::Object;
use crate::ports::{Clock, Connections, Listener, TaskStore};
use crate::problem::ProblemKind;
use crate::wire::{ClientMessage, ServerMessage};

pub async fn connect<N: Connections, C: Clock>(
    connections: &N,
    clock: &C,
    owner: &Owner,
    connection: &ConnectionId,
) -> Result<(), PortError> {
    connections.add(owner, connection, clock.now()).await
}

/// AWS: "$disconnect is best effort"; the row also goes by a 410 on push, and by its time to live.
pub async fn disconnect<N: Connections>(
    connections: &N,
    owner: &Owner,
    connection: &ConnectionId,
) -> Result<(), PortError> {
    connections.remove(owner, connection).await
}

/// The connections that changes are pushed to, of all that an owner has: the newest first, since a client that came back is
/// newer than what it left behind.
pub fn newest(all: impl IntoIterator<Item = Listener>) -> Vec<Listener> {
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by(|one, other| other.cmp(one));
    all.truncate(usize::from(limits::CONNECTIONS_PER_OWNER_MAX));
    all
}

/// The answer to one message. `watch` answers with the state of now, so that a client that asks after it connected
/// cannot miss a change.
pub async fn answer<S: TaskStore>(store: &S, owner: &Owner, body: &str, request_id: &str) -> ServerMessage {
    let error =
        |kind: ProblemKind, detail: &str| ServerMessage::Error { problem: kind.problem(detail, request_id) };
    if body.len() > limits::CLIENT_MESSAGE_BYTES_MAX {
        let detail = format!("a message is at most {} bytes", limits::CLIENT_MESSAGE_BYTES_MAX);
        return error(ProblemKind::BodyTooLarge, &detail);
    }
    match serde_json::from_str(body) {
        Ok(Object(ClientMessage::Ping)) => ServerMessage::Pong,
        Ok(Object(ClientMessage::Watch { task_id })) => match list::get(store, owner, task_id).await {
            Ok(Some(record)) => ServerMessage::Task { task: record.to_wire() },
            Ok(None) => error(ProblemKind::TaskNotFound, "no task of yours has this id"),
            Err(_) => error(ProblemKind::StoreUnavailable, "ask again in a moment"),
        },
        Err(_) => error(
            ProblemKind::MalformedMessage,
            r#"expected {"action":"ping"} or {"action":"watch","task_id":"<uuid>"}"#,
        ),
    }
}
