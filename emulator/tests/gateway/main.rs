//! API Gateway over real sockets, with a stand-in for Lambda.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod authorizers;
mod changes;
mod cors;
mod frames;
mod fuzz;
mod http;
mod jwt;
mod lists;
mod logged;
mod mapped;
mod measured;
mod signed;
mod stand;
mod websocket;
