//! One open connection: a task that reads, writes, counts time and says goodbye.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt as _, Sink, SinkExt, Stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::connections::{Cause, Connection};
use super::plane::Plane;
use super::ws_message;

/// "WebSocket frame size: 32 KB", "message payload size: 128 KB".
pub(super) const FRAME_BYTES_MAX: usize = 32 * 1024;
pub(super) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// "Idle connection timeout: 10 minutes", "connection duration for WebSocket API: 2 hours".
const IDLE_MS_MAX: i64 = 10 * 60 * 1_000;
const LIFETIME_MS_MAX: i64 = 2 * 60 * 60 * 1_000;
/// The default of 128 KiB is allocated at once: 5,000 idle sockets would take 640 MB.
const READ_BUFFER_BYTES: usize = 4_096;
/// Messages of one client that run at the same time; further ones wait in the socket.
const MESSAGES_AT_ONCE_MAX: usize = 32;
/// How long the last messages and the closing handshake may take before the socket is dropped.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a connection ended, as `$disconnect` is told.
struct End {
    code: u16,
    reason: String,
    /// What the client is told; None where it already closed.
    goodbye: Option<CloseFrame>,
    silent: bool,
    /// The network is gone: nothing reaches the client any more.
    is_cut: bool,
}

pub(super) async fn run(
    plane: Arc<Plane>,
    connection: Arc<Connection>,
    outbound: mpsc::Receiver<Utf8Bytes>,
    upgrade: OnUpgrade,
) {
    let end = match upgrade.await {
        Ok(upgraded) => {
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER_BYTES)
                .write_buffer_size(0)
                .max_frame_size(Some(FRAME_BYTES_MAX))
                .max_message_size(Some(MESSAGE_BYTES_MAX));
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            let session = Session {
                plane: Arc::clone(&plane),
                connection: Arc::clone(&connection),
                socket,
                outbound,
                unflushed: false,
                waiting: None,
                running: Arc::new(Semaphore::new(MESSAGES_AT_ONCE_MAX)),
            };
            session.serve().await
        }
        Err(_) => connection.closing().now_or_never().map_or_else(End::lost, End::from_cause),
    };
    // Gone for everybody else before the function is told.
    plane.connections.remove(&connection.id);
    if !end.silent {
        ws_message::disconnect(&plane, &connection, end.code, &end.reason).await;
    }
}

struct Session {
    plane: Arc<Plane>,
    connection: Arc<Connection>,
    socket: Socket,
    outbound: mpsc::Receiver<Utf8Bytes>,
    /// Bytes wait for the client to read: nothing more is taken from the queue meanwhile.
    unflushed: bool,
    /// A message that waits for one of its predecessors to end: nothing more is read meanwhile.
    waiting: Option<Utf8Bytes>,
    running: Arc<Semaphore>,
}

enum Step {
    Flushed(Result<(), Error>),
    Received(Option<Result<Message, Error>>),
    Send(Utf8Bytes),
    Started(tokio::sync::OwnedSemaphorePermit),
    Close(Cause),
    Expired,
}

impl Session {
    async fn serve(mut self) -> End {
        let end = loop {
            let step = self.step().await;
            if let Some(end) = self.take(step) {
                break end;
            }
        };
        // From here on a push is refused as gone.
        self.outbound.close();
        if !end.is_cut {
            leave(&mut self.socket, &mut self.outbound, end.goodbye.clone()).await;
        }
        end
    }

    async fn step(&mut self) -> Step {
        let idle_ms = self.connection.last_active_ms() + IDLE_MS_MAX;
        let until_ms = idle_ms.min(self.connection.connected_ms + LIFETIME_MS_MAX);
        let reading = self.waiting.is_none();
        tokio::select! {
            cause = self.connection.closing() => Step::Close(cause),
            step = socket_step(&mut self.socket, self.unflushed, reading) => step,
            Some(text) = self.outbound.recv(), if !self.unflushed => Step::Send(text),
            Ok(permit) = Arc::clone(&self.running).acquire_owned(), if !reading => Step::Started(permit),
            () = self.plane.settings.clock.sleep_until(until_ms) => Step::Expired,
        }
    }

    fn take(&mut self, step: Step) -> Option<End> {
        match step {
            Step::Flushed(Ok(())) => self.unflushed = false,
            Step::Flushed(Err(error)) | Step::Received(Some(Err(error))) => {
                return Some(End::from_error(&error));
            }
            Step::Received(None) => return Some(End::lost()),
            Step::Received(Some(Ok(message))) => return self.receive(message),
            Step::Send(text) => {
                self.touch();
                self.unflushed = true;
                return send(&mut self.socket, text).err().map(|error| End::from_error(&error));
            }
            Step::Started(permit) => {
                if let Some(text) = self.waiting.take() {
                    ws_message::start(&self.plane, &self.connection, text, permit);
                }
            }
            Step::Close(cause) => return Some(End::from_cause(cause)),
            // A push may have moved the time of the last activity while this one was waited for.
            Step::Expired => {
                let now_ms = self.plane.settings.clock.now_ms();
                let idle = now_ms >= self.connection.last_active_ms() + IDLE_MS_MAX;
                let old = now_ms >= self.connection.connected_ms + LIFETIME_MS_MAX;
                return (idle || old).then(End::going_away);
            }
        }
        None
    }

    fn touch(&self) {
        self.connection.touch(self.plane.settings.clock.now_ms());
    }

    fn receive(&mut self, message: Message) -> Option<End> {
        self.touch();
        match message {
            Message::Text(text) => self.waiting = Some(text),
            // "API Gateway doesn't support binary frames" without a binary media type.
            Message::Binary(_) => {
                return Some(End::refused(CloseCode::Unsupported, "Binary frames are not supported"));
            }
            // The pong is queued by the library and still has to be written.
            Message::Ping(_) => self.unflushed = true,
            Message::Pong(_) | Message::Frame(_) => {}
            Message::Close(frame) => return Some(End::by_client(frame)),
        }
        None
    }
}

/// Writes what waits and reads what came, in one poll: a client that does not read can still be heard and closed.
async fn socket_step(socket: &mut Socket, unflushed: bool, reading: bool) -> Step {
    poll_fn(|context| {
        if unflushed && let Poll::Ready(flushed) = std::pin::Pin::new(&mut *socket).poll_flush(context) {
            return Poll::Ready(Step::Flushed(flushed));
        }
        if reading {
            return std::pin::Pin::new(&mut *socket).poll_next(context).map(Step::Received);
        }
        Poll::Pending
    })
    .await
}

/// "If the message is larger than 32 KB, it is split into frames of at most 32 KB."
fn send<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    text: Utf8Bytes,
) -> Result<(), Error> {
    let bytes = bytes::Bytes::from(text);
    let mut start = 0;
    loop {
        let end = bytes.len().min(start + FRAME_BYTES_MAX);
        let opcode = OpCode::Data(if start == 0 { Data::Text } else { Data::Continue });
        let frame = Frame::message(bytes.slice(start..end), opcode, end == bytes.len());
        socket.start_send_unpin(Message::Frame(frame))?;
        if end == bytes.len() {
            return Ok(());
        }
        start = end;
    }
}

/// Ends the connection, within a bound however slowly the client reads.
async fn leave<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    outbound: &mut mpsc::Receiver<Utf8Bytes>,
    goodbye: Option<CloseFrame>,
) {
    let leaving = async {
        // After its own close frame a client takes nothing more.
        if goodbye.is_some() {
            // What is left then makes way for the close frame.
            tokio::time::timeout(CLOSE_WAIT / 2, send_rest(socket, outbound)).await.ok().transpose()?;
        }
        say_goodbye(socket, goodbye).await
    };
    match tokio::time::timeout(CLOSE_WAIT, leaving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a WebSocket client did not wait for the goodbye"),
        Err(_) => tracing::debug!("a WebSocket client did not close in time"),
    }
}

/// Sends what was taken before the end: whoever pushed it was told that it was.
async fn send_rest<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    outbound: &mut mpsc::Receiver<Utf8Bytes>,
) -> Result<(), Error> {
    while let Some(text) = outbound.recv().await {
        socket.flush().await?;
        send(socket, text)?;
    }
    Ok(())
}

/// Sends the close frame, ends our direction, and reads on until the client ends its own: bytes left unread would
/// make the kernel reset the connection and take the close frame with it.
async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    frame: Option<CloseFrame>,
) -> Result<(), Error> {
    match frame {
        Some(frame) => socket.send(Message::Close(Some(frame))).await?,
        // Writes the library's answer to the client's own close frame.
        None => socket.flush().await?,
    }
    let stream = socket.get_mut();
    stream.shutdown().await?;
    let mut rest = [0_u8; 512];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

impl End {
    fn new(code: CloseCode, reason: &'static str) -> Self {
        let goodbye = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        Self {
            code: code.into(),
            reason: reason.to_owned(),
            goodbye: Some(goodbye),
            silent: false,
            is_cut: false,
        }
    }

    fn refused(code: CloseCode, reason: &'static str) -> Self {
        Self::new(code, reason)
    }

    fn going_away() -> Self {
        Self::new(CloseCode::Away, "Going away")
    }

    /// The socket broke without a close frame.
    fn lost() -> Self {
        let reason = "Connection closed abnormally".to_owned();
        Self { code: 1006, reason, goodbye: None, silent: false, is_cut: false }
    }

    fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = match frame {
            None => (1005, "Client-side close frame status not set".to_owned()),
            Some(frame) if frame.code == CloseCode::Normal && frame.reason.is_empty() => {
                (1000, "Connection Closed Normally".to_owned())
            }
            Some(frame) => (frame.code.into(), frame.reason.to_string()),
        };
        Self { code, reason, goodbye: None, silent: false, is_cut: false }
    }

    fn from_cause(cause: Cause) -> Self {
        match cause {
            Cause::Deleted => Self::new(CloseCode::Normal, "Connection Closed Normally"),
            Cause::Orphaned => Self::going_away(),
            Cause::Lost => Self { is_cut: true, ..Self::lost() },
            Cause::Stopping => Self { silent: true, ..Self::going_away() },
        }
    }

    fn from_error(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::refused(CloseCode::Size, "Message too long"),
            Error::Utf8(_) => Self::refused(CloseCode::Invalid, "Invalid UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::lost(),
            Error::Protocol(_) => Self::refused(CloseCode::Protocol, "Protocol error"),
            _ => Self::lost(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_the_close_frame_before_all_that_was_posted() {
        const POSTED: usize = 100;
        let (ours, theirs) = tokio::io::duplex(64);
        let mut socket = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let (push, mut outbound) = mpsc::channel(POSTED);
        for _ in 0..POSTED {
            push.try_send(Utf8Bytes::from("x".repeat(1_000))).unwrap();
        }
        drop(push);
        let goodbye = End::from_cause(Cause::Deleted).goodbye;
        let leaving = async {
            leave(&mut socket, &mut outbound, goodbye.clone()).await;
            drop(socket);
        };
        let reading = async {
            let mut taken = 0;
            loop {
                tokio::time::sleep(CLOSE_WAIT / 20).await;
                match client.next().await {
                    Some(Ok(Message::Text(_))) => taken += 1,
                    last => break (taken, last),
                }
            }
        };
        let ((), (taken, last)) = tokio::join!(leaving, reading);
        assert_eq!(last.unwrap().unwrap(), Message::Close(goodbye));
        assert!((1..POSTED).contains(&taken), "{taken}");
    }
}
