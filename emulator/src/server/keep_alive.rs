//! Connections that are kept alive. Between two requests hyper holds 16 KiB of buffers for each of them, and each environment of
//! a function keeps some: an idle connection is taken out of hyper, and goes back when something arrives.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Under load the next request comes sooner, and hyper keeps the connection.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// Serves until the client is gone or the connection has become another protocol's.
///
/// # Errors
/// When the connection breaks, or what comes is not HTTP.
pub(super) async fn serve<A, F>(stream: TcpStream, answer: A) -> hyper::Result<()>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let mut link = Link::new(stream);
    loop {
        // An error comes again when the connection is read.
        link.arrival().await.ok();
        // Boxed, so that a parked connection is not as large as a served one.
        match Box::pin(until_idle(link, PARK_AFTER, &answer)).await? {
            Some(idle) => link = idle,
            None => return Ok(()),
        }
    }
}

/// The connection once it is idle; None once it is nobody's any more.
async fn until_idle<A, F>(link: Link, park_after: Duration, answer: &A) -> hyper::Result<Option<Link>>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let activity = Arc::clone(&link.activity);
    let service = service_fn(|request| {
        let answering = Answering::begin(&activity);
        let answer = answer(request);
        async move {
            let answer = answer.await;
            drop(answering);
            answer
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(link), service)
        .with_upgrades();
    loop {
        let begun = activity.begun.load(Ordering::Relaxed);
        tokio::select! {
            ended = &mut connection => return ended.map(|()| None),
            () = tokio::time::sleep(park_after) => {}
        }
        if activity.is_idle_since(begun) {
            let parts = connection.into_parts();
            return Ok(parts.map(|parts| parts.io.into_inner().with_unread(&parts.read_buf)));
        }
    }
}

/// What hyper does not tell of a connection that it serves.
#[derive(Debug, Default)]
struct Activity {
    /// Requests so far.
    begun: AtomicUsize,
    is_answering: AtomicBool,
    /// A part of an answer waits until the client has read what came before.
    is_blocked: AtomicBool,
}

impl Activity {
    fn is_idle_since(&self, begun: usize) -> bool {
        let is_busy = self.is_answering.load(Ordering::Relaxed) || self.is_blocked.load(Ordering::Relaxed);
        !is_busy && self.begun.load(Ordering::Relaxed) == begun
    }
}

/// A request whose answer is being made, or whose client has gone meanwhile.
struct Answering(Arc<Activity>);

impl Answering {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.is_answering.store(true, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.is_answering.store(false, Ordering::Relaxed);
    }
}

/// The client's connection, with what hyper has read of it and not used.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    unread: Bytes,
    activity: Arc<Activity>,
}

impl Link {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Bytes::new(), activity: Arc::default() }
    }

    /// Copied: even if nothing is left of them, hyper's bytes would keep its whole buffer.
    fn with_unread(self, unread: &[u8]) -> Self {
        Self { unread: Bytes::copy_from_slice(unread), ..self }
    }

    /// Until there is something to read, be it the end.
    async fn arrival(&self) -> io::Result<()> {
        if self.unread.is_empty() { self.stream.readable().await } else { Ok(()) }
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.activity.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;

    use super::*;

    const PARK_AFTER: Duration = Duration::from_millis(1);
    /// Longer than it takes to park a connection that may be.
    const MEANWHILE: Duration = Duration::from_millis(50);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: emulator\r\n\r\n";

    async fn connected() -> (TcpStream, Link) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Link::new(listener.accept().await.unwrap().0))
    }

    async fn until_idle_answering(link: Link, body: &'static [u8]) -> Option<Link> {
        link.arrival().await.unwrap();
        let answer = move |_| async move { Ok(Response::new(Full::new(Bytes::from_static(body)))) };
        until_idle(link, PARK_AFTER, &answer).await.unwrap()
    }

    /// The body of the answer that ends with these bytes.
    async fn read_until(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        while !answer.ends_with(end) {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "the connection ended early");
        }
        answer
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_is_answered_as_before_and_ends_with_its_client() {
        let (mut client, mut link) = connected().await;
        for body in [b"first", b"other"] {
            client.write_all(REQUEST).await.unwrap();
            link = until_idle_answering(link, body).await.expect("idle, and not at its end");
            assert!(read_until(&mut client, body).await.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
        drop(client);
        assert!(until_idle_answering(link, b"").await.is_none());
    }

    #[tokio::test]
    async fn what_came_of_a_request_before_a_connection_was_idle_is_not_lost() {
        let (mut client, link) = connected().await;
        let (first, rest) = REQUEST.split_at(9);
        client.write_all(first).await.unwrap();
        let link = until_idle_answering(link, b"").await.unwrap();
        assert_eq!(link.unread, first);
        client.write_all(rest).await.unwrap();
        until_idle_answering(link, b"whole").await.unwrap();
        read_until(&mut client, b"whole").await;
    }

    #[tokio::test]
    async fn an_idle_connection_keeps_no_buffer() {
        for (sent, unread) in [(REQUEST, 0), (&REQUEST[..9], 9)] {
            let (mut client, link) = connected().await;
            client.write_all(sent).await.unwrap();
            let link = until_idle_answering(link, b"").await.unwrap();
            // What is static has no buffer and cannot become one's own.
            let kept = link.unread.try_into_mut().map_or(0, |buffer| buffer.capacity());
            assert_eq!(kept, unread);
        }
    }

    #[tokio::test]
    async fn a_connection_whose_request_is_being_answered_is_not_idle() {
        let (mut client, link) = connected().await;
        client.write_all(REQUEST).await.unwrap();
        let release = Arc::new(Notify::new());
        let answer = |_| {
            let release = Arc::clone(&release);
            async move {
                release.notified().await;
                Ok(Response::new(Full::new(Bytes::from_static(b"late"))))
            }
        };
        let late = async {
            tokio::time::sleep(MEANWHILE).await;
            release.notify_one();
            read_until(&mut client, b"late").await
        };
        let (idle, _) = tokio::join!(until_idle(link, PARK_AFTER, &answer), late);
        assert!(idle.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_answer_that_its_client_does_not_read_yet_is_kept_for_it() {
        static LARGE: [u8; 32 << 20] = [b'x'; 32 << 20];
        let (mut client, link) = connected().await;
        client.write_all(REQUEST).await.unwrap();
        let slow = async {
            tokio::time::sleep(MEANWHILE).await;
            let mut answer = Vec::new();
            while answer.len() < LARGE.len() {
                assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "{} bytes came", answer.len());
            }
        };
        // Dropped where it ends, so that a client whose answer was lost sees the end.
        let served = async { drop(until_idle_answering(link, &LARGE).await) };
        tokio::join!(served, slow);
    }
}
