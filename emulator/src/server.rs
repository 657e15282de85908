//! The shared port: one loopback listener, and the choice of the service behind each request.

mod assemble;
mod connection;
mod identify;
mod registry;
mod start;
mod unknown;

pub use assemble::Assembly;
pub use registry::Registry;
pub use start::{Emulator, Options, Running, StartError};
