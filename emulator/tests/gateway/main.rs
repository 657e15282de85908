//! API Gateway over real sockets, with a stand-in for Lambda.

mod http;
mod stand;
mod websocket;
