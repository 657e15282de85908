//! The published contract, as a judge: `docs/openapi.yaml` for HTTP and `docs/asyncapi.yaml` for the socket.
//!
//! It knows nothing of the service's code, so that both the handlers and the running stack can be held to it.

mod document;
mod http;
mod socket;

pub use document::Violation;
pub use http::{Answer, HttpContract, Producer};
pub use socket::SocketContract;
