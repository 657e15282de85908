//! The adapters against recorded answers of AWS, over real HTTP: what is asked, what each answer means, how often the SDK
//! tries again.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod dynamodb;
mod fetch;
mod replay;
mod sockets;
mod sqs;
