//! The service's ports on AWS, and what every function needs around its handler.

pub mod batch;
pub mod connections;
pub mod env;
pub mod event;
pub mod exec_wrapper;
pub mod fetch;
pub mod http;
mod item;
pub mod logging;
pub mod pushes;
pub mod sdk;
pub mod sockets;
pub mod sqs;
pub mod start;
pub mod system;
pub mod tasks;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
