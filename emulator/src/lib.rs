//! An embedded AWS: one process, one loopback port, no account.
//!
//! The control planes answer what the Terraform provider and the SDKs ask; the data planes run the unmodified Lambda
//! binaries. Every service is a [`wire::Service`], chosen by the SigV4 credential scope of the request.

mod accept;
pub mod adversary;
pub mod apigateway;
pub mod cli;
pub mod clock;
pub mod cloudwatch;
pub mod dynamodb;
pub mod engines;
pub mod esm;
pub mod fis;
pub mod iam;
pub mod invoke;
pub mod lambda;
pub mod logs;
pub mod metrics;
mod pages;
pub mod repeatable;
mod request_body;
pub mod scheduler;
pub mod server;
pub mod settings;
pub mod sqs;
pub mod store;
mod threads;
mod token_bucket;
pub mod wire;
mod xml;

pub use server::{Emulator, Options, Running, StartError};
