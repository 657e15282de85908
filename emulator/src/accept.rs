//! The next connection of a listener, whatever becomes of those before it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// How long a refused accept (out of file descriptors) waits before the next try.
const RETRY: Duration = Duration::from_millis(50);

/// Tries until one is accepted.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                let at = listener.local_addr().ok();
                tracing::warn!(%error, ?at, "failed to accept a connection");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
