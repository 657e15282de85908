//! The open WebSocket connections, found by id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages that wait for a slow reader. AWS names no number; a caller beyond it is told so (429) instead of waiting.
pub(super) const OUTBOUND_MESSAGES_MAX: usize = 256;
/// How long a stop waits for sockets to say goodbye.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Why the gateway itself ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// `DELETE @connections/{id}`.
    Deleted,
    /// Its API or stage is no more.
    Orphaned,
    /// Its network ended, without a word.
    Lost,
    /// The emulator stops: nobody is left to run `$disconnect`.
    Stopping,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) api_id: String,
    pub(super) stage: String,
    pub(super) connected_ms: i64,
    pub(super) source_ip: String,
    pub(super) user_agent: Option<String>,
    /// `requestContext.authorizer` of every event after `$connect`, once an authorizer let the connection in.
    pub(super) authorizer: OnceLock<Box<RawValue>>,
    last_active_ms: AtomicI64,
    /// Set when `$connect` succeeded: nothing can be posted before.
    open: AtomicBool,
    /// Set as soon as it is to end: nothing can be posted from then on, although its session still says goodbye.
    ending: AtomicBool,
    outbound: mpsc::Sender<Utf8Bytes>,
    closing: Mutex<Option<Cause>>,
    closing_set: Notify,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Gone,
    /// The client reads too slowly.
    Full,
}

/// Who connects, and to what.
pub(super) struct Arrival {
    pub(super) id: String,
    pub(super) api_id: String,
    pub(super) stage: String,
    pub(super) at_ms: i64,
    pub(super) source_ip: String,
    pub(super) user_agent: Option<String>,
}

impl Connection {
    pub(super) fn new(arrival: Arrival) -> (Arc<Self>, mpsc::Receiver<Utf8Bytes>) {
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES_MAX);
        let connection = Self {
            id: arrival.id,
            api_id: arrival.api_id,
            stage: arrival.stage,
            connected_ms: arrival.at_ms,
            source_ip: arrival.source_ip,
            user_agent: arrival.user_agent,
            authorizer: OnceLock::new(),
            last_active_ms: AtomicI64::new(arrival.at_ms),
            open: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            outbound,
            closing: Mutex::new(None),
            closing_set: Notify::new(),
        };
        (Arc::new(connection), messages)
    }

    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    fn takes_posts(&self) -> bool {
        self.open.load(Ordering::Acquire) && !self.ending.load(Ordering::Acquire)
    }

    pub(super) fn touch(&self, at_ms: i64) {
        self.last_active_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    pub(super) fn last_active_ms(&self) -> i64 {
        self.last_active_ms.load(Ordering::Relaxed)
    }

    /// Never waits: a slow reader is its own problem, not that of who pushes.
    pub(super) fn push(&self, text: Utf8Bytes) -> Result<(), Refused> {
        if !self.takes_posts() {
            return Err(Refused::Gone);
        }
        self.outbound.try_send(text).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Gone,
        })
    }

    /// For answers to the client's own messages: these may wait for it. A closed connection drops them.
    pub(super) async fn answer(&self, text: Utf8Bytes) {
        if self.outbound.send(text).await.is_err() {
            tracing::debug!(connection.id = self.id, "an answer came after the end of its connection");
        }
    }

    /// The first cause counts.
    pub(super) fn close(&self, cause: Cause) {
        self.ending.store(true, Ordering::Release);
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        self.closing_set.notify_one();
    }

    pub(super) async fn closing(&self) -> Cause {
        loop {
            let set = self.closing_set.notified();
            if let Some(cause) = *self.closing.lock().unwrap_or_else(PoisonError::into_inner) {
                return cause;
            }
            set.await;
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    table: Mutex<Table>,
    removed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<String, Arc<Connection>>,
    stopping: bool,
}

impl Connections {
    /// False once the emulator stops.
    pub(super) fn add(&self, connection: &Arc<Connection>) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.stopping {
            table.by_id.insert(connection.id.clone(), Arc::clone(connection));
        }
        !table.stopping
    }

    pub(super) fn remove(&self, id: &str) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).by_id.remove(id);
        self.removed.notify_waiters();
    }

    /// A connection that completed `$connect` and is not to end.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_id.get(id).filter(|connection| connection.takes_posts()).cloned()
    }

    pub(super) fn close_where(&self, cause: Cause, applies: impl Fn(&Connection) -> bool) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in table.by_id.values().filter(|connection| applies(connection)) {
            connection.close(cause);
        }
    }

    /// Closes all, admits no more, and waits for the goodbyes within a bound.
    pub(super) async fn stop(&self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
        self.close_where(Cause::Stopping, |_| true);
        if tokio::time::timeout(STOP_WAIT, self.emptied()).await.is_err() {
            tracing::warn!("some WebSocket connections did not close in time");
        }
    }

    /// A handshake whose function still runs is nobody's any more at a stop.
    fn has_open(&self) -> bool {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_id.values().any(|connection| connection.open.load(Ordering::Acquire))
    }

    async fn emptied(&self) {
        loop {
            let removed = self.removed.notified();
            tokio::pin!(removed);
            // Registered before the check, so that a removal between the two is not missed.
            removed.as_mut().enable();
            if !self.has_open() {
                return;
            }
            removed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn arrived() -> (Arc<Connection>, mpsc::Receiver<Utf8Bytes>) {
        Connection::new(Arrival {
            id: "C=".to_owned(),
            api_id: "api".to_owned(),
            stage: "live".to_owned(),
            at_ms: 0,
            source_ip: "127.0.0.1".to_owned(),
            user_agent: None,
        })
    }

    #[test]
    fn a_stop_waits_for_open_connections_only() {
        let (connection, _messages) = arrived();
        let connections = Connections::default();
        assert!(connections.add(&connection));
        assert!(connections.emptied().now_or_never().is_some(), "`$connect` still runs");
        connection.open();
        assert!(connections.emptied().now_or_never().is_none());
        connections.remove("C=");
        assert!(connections.emptied().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_posted_before_a_connection_is_open_or_once_it_is_to_end() {
        let (connection, _messages) = arrived();
        let connections = Connections::default();
        assert!(connections.add(&connection));
        assert!(connections.get("C=").is_none(), "`$connect` still runs");
        connection.open();
        let found = connections.get("C=").unwrap();
        assert_eq!(found.push("a".into()), Ok(()));
        // Its session has not heard of it yet.
        connection.close(Cause::Deleted);
        assert!(connections.get("C=").is_none());
        assert_eq!(found.push("b".into()), Err(Refused::Gone), "found just before");
    }
}
