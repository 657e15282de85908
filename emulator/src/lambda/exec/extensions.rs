//! The internal extensions of an environment that are told of its events: parts of the runtime's own process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

/// By id, each with the way to it while it waits for the next event.
type Waiting = HashMap<String, Option<oneshot::Sender<Bytes>>>;

#[derive(Debug, Default)]
pub(crate) struct Extensions {
    all: Mutex<Waiting>,
    /// Rung when one of them waits.
    waits: Notify,
}

impl Extensions {
    fn all(&self) -> MutexGuard<'_, Waiting> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, id: &str) {
        self.all().insert(id.to_owned(), None);
    }

    /// Where the next event arrives; None for an extension that is told of none.
    pub(super) fn wait(&self, id: &str) -> Option<oneshot::Receiver<Bytes>> {
        let (sender, receiver) = oneshot::channel();
        *self.all().get_mut(id)? = Some(sender);
        self.waits.notify_waiters();
        Some(receiver)
    }

    /// Returns once each of them waits for the next event.
    pub(super) async fn all_wait(&self) {
        loop {
            // Made before the look, so that a ring between the two is not missed.
            let waits = self.waits.notified();
            if self.all().values().all(Option::is_some) {
                return;
            }
            waits.await;
        }
    }

    pub(super) fn tell(&self, event: impl Fn() -> Bytes) {
        for waiting in self.all().values_mut().filter_map(Option::take) {
            // One that has hung up since comes back to wait, or is gone with its process.
            waiting.send(event()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_event_is_over_when_every_extension_waits_again() {
        let extensions = Extensions::default();
        assert!(extensions.wait("nobody").is_none());
        assert_eq!(extensions.all_wait().now_or_never(), Some(()), "there are none");
        extensions.register("a");
        extensions.register("b");
        assert_eq!(extensions.all_wait().now_or_never(), None);
        let a = extensions.wait("a").unwrap();
        assert_eq!(extensions.all_wait().now_or_never(), None);
        let b = extensions.wait("b").unwrap();
        assert_eq!(extensions.all_wait().now_or_never(), Some(()));
        extensions.tell(|| Bytes::from_static(b"event"));
        assert_eq!((a.await.unwrap(), b.await.unwrap()), (Bytes::from("event"), Bytes::from("event")));
        let back = async { ["b", "a"].map(|id| extensions.wait(id)) };
        let both = async { tokio::join!(extensions.all_wait(), back) };
        let rung = tokio::time::timeout(Duration::from_secs(20), both).await;
        assert!(rung.is_ok(), "whoever waits for them is rung");
    }
}
