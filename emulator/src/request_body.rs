//! The body of a request, read within bounds.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

/// How much of a body that nobody wants is read for the sake of the answer.
const DISCARD_BYTES_MAX: usize = 96 * 1024 * 1024;
/// A client that pauses for longer waits for its answer before it goes on.
const DISCARD_PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    TooLarge,
    Broken,
}

/// Of a body that is too large the rest stays unread.
pub(crate) async fn read(body: &mut Incoming, bytes_max: usize) -> Body {
    match Limited::new(body, bytes_max).collect().await {
        Ok(whole) => Body::Whole(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Body::TooLarge,
        Err(_) => Body::Broken,
    }
}

/// Reads what is left of a body that was refused. A connection that is closed with bytes unread is reset, and a client that
/// writes all of a request before it reads would lose its answer.
pub(crate) async fn discard(body: &mut Incoming) {
    let mut left = DISCARD_BYTES_MAX;
    while let Ok(Some(Ok(frame))) = timeout(DISCARD_PAUSE_MAX, body.frame()).await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}
