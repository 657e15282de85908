//! The shared port: one loopback listener, and the choice of the service behind each request.

mod assemble;
mod chunked;
mod connection;
mod identify;
mod keep_alive;
mod registry;
mod start;
mod unknown;

pub use assemble::Assembly;
pub(crate) use connection::IAM_REPORT_PATH;
pub(crate) use identify::{access_key, is_signed, signed_for};
pub use registry::Registry;
pub use start::{Emulator, Options, Running, StartError};
