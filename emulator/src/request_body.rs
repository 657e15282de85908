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
/// And so does one that never pauses, and never ends.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

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
/// writes all of a request before it reads would lose its answer. One that waits for `100 Continue` is given it: whether it still
/// waits, or has begun to send, nobody can tell.
pub(crate) async fn discard<B: hyper::body::Body<Data = Bytes> + Unpin>(body: &mut B) {
    let reading = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Ok(Some(Ok(frame))) = timeout(DISCARD_PAUSE_MAX, body.frame()).await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(size) else { return };
            left = rest;
        }
    };
    if timeout(DISCARD_TIME_MAX, reading).await.is_err() {
        tracing::debug!("the body of a request that is refused does not end");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// How long a body is read that has a byte after each pause, and no end.
    async fn discarded_for(pause: Duration) -> Duration {
        let bytes = stream::unfold((), move |()| async move {
            sleep(pause).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a"))), ()))
        });
        let mut body = StreamBody::new(Box::pin(bytes));
        let since = Instant::now();
        discard(&mut body).await;
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pauses_or_never_ends_has_its_answer_in_time() {
        assert_eq!(discarded_for(DISCARD_PAUSE_MAX * 2).await, DISCARD_PAUSE_MAX);
        assert_eq!(discarded_for(DISCARD_PAUSE_MAX * 9 / 10).await, DISCARD_TIME_MAX);
    }
}
