//! Calls to the emulator from a program that otherwise waits for others.

use tokio::runtime::{Builder, Runtime};

use crate::error::StackError;

/// What these calls are made on. `what` names what they would have told.
pub(crate) fn runtime(what: &'static str) -> Result<Runtime, StackError> {
    Builder::new_current_thread().enable_all().build().map_err(StackError::unreadable(what))
}
