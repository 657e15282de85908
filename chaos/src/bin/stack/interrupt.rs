//! SIGINT and SIGTERM as a condition that every wait looks at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::StackError;

/// Whether the user asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    asked: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Interrupts {
    pub(crate) fn listen() -> Result<Self, StackError> {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        ctrlc::set_handler(move || {
            handler.asked.store(true, Ordering::SeqCst);
            handler.wake.notify_all();
        })?;
        Ok(Self(shared))
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Waits for `at_most`, or less when the user asks to stop.
    pub(crate) fn pause(&self, at_most: Duration) {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.wake.wait_timeout(guard, at_most).unwrap_or_else(PoisonError::into_inner));
    }
}
