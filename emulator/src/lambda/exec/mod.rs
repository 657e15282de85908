//! The execution plane: environments, their Runtime API, and the pool that lends them to invocations.

mod environment;
mod extensions;
mod guardian;
mod host;
mod lines;
mod moment;
mod output;
mod poll;
mod pool;
mod process;
mod proxy;
mod runtime_api;
mod turns;

pub(crate) use environment::{Ending, Initialised, Job};
pub(crate) use host::{Host, Spec};
pub(crate) use lines::{Lines, Report, last_modified, runtime_arn, timestamp};
pub(crate) use moment::Moment;
pub(crate) use pool::{
    EXIT_ERROR, INVALID_ENTRYPOINT, Idle, InitFailed, InitFailure, NotLent, OUT_OF_MEMORY, Pool,
    posted_error_type,
};
pub(crate) use process::KILLED;
