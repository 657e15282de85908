//! The execution plane: environments, their Runtime API, and the pool that lends them to invocations.

mod environment;
mod guardian;
mod host;
mod lines;
mod output;
mod poll;
mod pool;
mod process;
mod proxy;
mod runtime_api;
mod turns;

pub(crate) use environment::{Ending, Job};
pub(crate) use host::{Host, Spec};
pub(crate) use lines::{Lines, Report, last_modified, runtime_arn, timestamp};
pub(crate) use pool::{Idle, InitFailed, InitFailure, Pool};
