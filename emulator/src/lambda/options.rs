//! What of the execution plane can be set.

use std::time::Duration;

/// Limits and choices of the execution plane; the defaults are those of a new AWS account where AWS has one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Concurrent executions of the account. AWS default: 1000.
    pub account_concurrency: u32,
    /// What reservations must leave to the functions without one. AWS documents 100.
    pub unreserved_minimum: u32,
    /// Stop the processes of an environment while it has no invocation, as AWS freezes its sandboxes.
    pub freeze: bool,
    /// An environment unused for so long is ended. AWS gives no number ("minutes").
    pub idle: Duration,
    /// Accepted but unfinished asynchronous events; more are refused with 429.
    pub async_events_max: usize,
    /// Functions learn of FIS's faults, and of their end, when the extension polls, as on AWS; else at once.
    pub fis_polling: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            account_concurrency: 1_000,
            unreserved_minimum: 100,
            freeze: true,
            idle: Duration::from_secs(300),
            async_events_max: 10_000,
            fis_polling: false,
        }
    }
}
