//! SQS: standard queues with visibility, delay, redrive and message moves.
//!
//! [`queue`] is the state machine of one queue; [`account`] finds queues and adds waiting and redrive; [`service`] speaks
//! the JSON and the query protocol. FIFO queues are refused.

pub mod account;
pub mod admin;
pub mod attributes;
pub mod consume;
pub mod error;
pub mod handle;
pub mod measure;
pub mod message;
pub mod moves;
pub mod policy;
pub mod post;
pub mod query;
pub mod queue;
pub mod receipt;
pub mod requests;
pub mod responses;
mod restore;
pub mod send;
pub mod service;
pub mod trail;

pub use error::{ErrorKind, SqsError};
pub use message::{Attribute, AttributeValue, Attributes, Content};
pub use service::Sqs;

#[cfg(test)]
mod queue_model;
#[cfg(test)]
pub(crate) mod tests;
