//! The task domain: what a task is, which moves are legal, and what each function does.
//!
//! This package cannot see AWS, tokio or a clock: everything outside comes in through [`ports`], so that every
//! promise can be tested against in-memory ports, at any moment of failure, from a seed.

pub mod admission;
pub mod audit;
pub mod connection;
mod deadline;
pub mod error;
pub mod id;
pub mod idempotency;
pub mod kind;
pub mod limits;
pub mod list;
pub mod message;
pub mod notify;
pub mod object;
pub mod ports;
pub mod problem;
pub mod process;
pub mod record;
pub mod retry;
pub mod state;
pub mod submit;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod wire;

pub use id::{ConnectionId, IdempotencyKey, LeaseToken, Owner, RequestHash, TaskId, Version};
pub use time::{DurationMs, EpochMs};
