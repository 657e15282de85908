//! The task domain: what a task is, which moves are legal, and what each function does.
//!
//! This package cannot see AWS, tokio or a clock: everything outside comes in through ports, so that every
//! promise can be tested against in-memory ports, at any moment of failure, from a seed.

pub mod id;
pub mod limits;
pub mod time;
pub mod wire;

pub use id::{ConnectionId, IdempotencyKey, LeaseToken, Owner, RequestHash, TaskId, Version};
pub use time::{DurationMs, EpochMs};
