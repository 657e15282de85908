//! Telling an owner's connections about changes. Never fails a task.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};

use crate::id::{ConnectionId, Owner, TaskId};
use crate::limits;
use crate::ports::{Change, Connections, Pushed, Pusher};
use crate::wire::ServerMessage;

/// What became of the pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushReport {
    pub sent: u32,
    /// Connections that were closed; their rows are removed.
    pub gone: u32,
    pub failed: u32,
}

impl PushReport {
    pub const fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.gone += other.gone;
        self.failed += other.failed;
    }
}

/// Pushes for one batch: asks for each owner's connections once.
#[derive(Debug)]
pub struct Notifier<N, P> {
    connections: N,
    pusher: P,
    known: HashMap<Owner, Vec<ConnectionId>>,
}

enum PushEnd {
    Sent,
    Gone { owner: Owner, connection: ConnectionId },
    Failed,
}

impl<N: Connections, P: Pusher> Notifier<N, P> {
    pub fn new(connections: N, pusher: P) -> Self {
        Self { connections, pusher, known: HashMap::new() }
    }

    /// Pushes the newest of the changes of each task.
    pub async fn notify(&mut self, changes: Vec<Change>) -> PushReport {
        let mut report = PushReport::default();
        let mut pushes = Vec::new();
        for change in newest_per_task(changes) {
            let Ok(message) = serde_json::to_string(&ServerMessage::Task { task: change.task }) else {
                report.failed += 1;
                continue;
            };
            let Some(connections) = self.connections_of(&change.owner).await else {
                report.failed += 1;
                continue;
            };
            let message = std::sync::Arc::new(message);
            pushes.extend(connections.iter().cloned().map(|to| (change.owner.clone(), to, message.clone())));
        }
        let ends: Vec<PushEnd> = stream::iter(pushes)
            .map(|(owner, connection, message)| self.push(owner, connection, message))
            .buffer_unordered(limits::PUSHES_IN_FLIGHT_MAX)
            .collect()
            .await;
        report.add(self.count(ends));
        report
    }

    async fn connections_of(&mut self, owner: &Owner) -> Option<&[ConnectionId]> {
        if !self.known.contains_key(owner) {
            let connections = self.connections.of_owner(owner).await.ok()?;
            self.known.insert(owner.clone(), connections);
        }
        self.known.get(owner).map(Vec::as_slice)
    }

    async fn push(&self, owner: Owner, connection: ConnectionId, message: std::sync::Arc<String>) -> PushEnd {
        match self.pusher.push(&connection, &message).await {
            Ok(Pushed::Sent) => PushEnd::Sent,
            Ok(Pushed::Gone) => {
                // When the removal fails the row goes with the next push, or by its time to live.
                let _later = self.connections.remove(&owner, &connection).await;
                PushEnd::Gone { owner, connection }
            }
            Err(_) => PushEnd::Failed,
        }
    }

    fn count(&mut self, ends: Vec<PushEnd>) -> PushReport {
        let mut report = PushReport::default();
        for end in ends {
            match end {
                PushEnd::Sent => report.sent += 1,
                PushEnd::Failed => report.failed += 1,
                PushEnd::Gone { owner, connection } => {
                    report.gone += 1;
                    if let Some(known) = self.known.get_mut(&owner) {
                        known.retain(|other| *other != connection);
                    }
                }
            }
        }
        report
    }
}

/// A client drops a push that is not newer than what it has, so an overtaken change need not be sent.
fn newest_per_task(changes: Vec<Change>) -> Vec<Change> {
    let mut newest: HashMap<TaskId, Change> = HashMap::with_capacity(changes.len());
    for change in changes {
        match newest.get(&change.task.id) {
            Some(known) if known.task.version >= change.task.version => {}
            _ => {
                newest.insert(change.task.id, change);
            }
        }
    }
    newest.into_values().collect()
}
