//! API Gateway v2: the management API, and the data planes of HTTP and WebSocket APIs.
//!
//! The control plane (`management`, `state`) changes records and publishes what is to be served (`live`); the data
//! planes (`http_plane`, `websocket`, `at_connections`) only read that.

mod access_log;
mod account;
mod at_connections;
mod authorizer_cache;
mod connections;
mod cors;
mod definition;
mod error;
mod gateway;
mod http_event;
mod http_log;
mod http_plane;
mod http_response;
mod iam_authorizer;
mod identity;
mod integration;
mod jwt;
mod live;
mod management;
mod mapped_value;
mod mapping;
mod measure;
mod model;
mod names;
mod page;
mod plane;
mod policy;
mod query;
mod quick_create;
mod record;
mod reply;
mod resources;
mod router;
mod stage_authorizer;
mod state;
mod target;
mod throttle;
mod to_the_end;
mod websocket;
mod ws_event;
mod ws_log;
mod ws_message;
mod ws_session;

pub use gateway::Gateway;

use crate::repeatable;

/// Where both data planes live on the shared port.
pub const MOUNT: &str = "/_aws/execute-api/";

/// The first rules that refuse API keys, formats of access logs and a cache of a WebSocket authorizer, and by which a change
/// of an API itself is deployed.
const RULES_OF_SETTINGS: u32 = 1;
/// The first rules by which a route that asks no authorizer names none.
const RULES_OF_GUARDS: u32 = 3;

/// Whether the call is made again and was accepted under older rules: it comes out as it did then.
fn is_older_call() -> bool {
    repeatable::is_older_than(RULES_OF_SETTINGS)
}
