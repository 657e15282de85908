//! The wish to stop. Whoever waits, waits for it as well; what is being changed is first changed to the end.

use std::time::Duration;

use tokio::sync::watch;

#[derive(Clone, Debug)]
pub struct Halt {
    reason: watch::Sender<Option<String>>,
}

impl Default for Halt {
    fn default() -> Self {
        Self { reason: watch::Sender::new(None) }
    }
}

impl Halt {
    /// The first reason stays.
    pub fn ask(&self, reason: &str) {
        self.reason.send_if_modified(|held| {
            let first = held.is_none();
            if first {
                *held = Some(reason.to_owned());
            }
            first
        });
    }

    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    pub async fn asked(&self) {
        let mut reason = self.reason.subscribe();
        // The sender is part of `self`, so that the wait cannot fail.
        drop(reason.wait_for(Option::is_some).await);
    }

    /// Waits for the time or for the wish to stop; true when the time came first.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::time::timeout(duration, self.asked()).await.is_err()
    }
}
