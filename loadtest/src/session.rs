//! One owner's WebSocket session: connects, reconnects, and writes every push into the book.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite};

use crate::shared::{Sample, Shared};
use crate::timeline::micros;
use crate::wire::Message;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// API Gateway answers a handshake only after `$connect`; 29 s is its longest integration.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Handshakes at once over all sessions: API Gateway takes 500 new connections per second and account.
pub(crate) const CONNECTS_AT_ONCE: usize = 8;
/// How often the first connect is tried before the run is given up.
const FIRST_CONNECT_TRIES: u32 = 3;
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Below the 10 minutes after which API Gateway closes an idle connection; a session silent for two of these is lost.
const PING_EVERY: Duration = Duration::from_secs(30);
/// The library's default of 128 KiB is allocated at once, per socket.
const READ_BUFFER_BYTES: usize = 4096;
/// The largest message of API Gateway.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
const PING: &str = r#"{"action":"ping"}"#;
/// The close code of a session that ended without a close frame.
const NO_CLOSE_CODE: &str = "none";
/// Reads after a reconnect: what is beyond is left to pushes and to the last reads.
const CATCH_UP_MAX: usize = 200;

/// What a session is told to send.
pub(crate) type Command = String;

enum End {
    /// The run is over.
    Stopped,
    Lost {
        code: String,
        /// When something last came from it.
        heard_at: Instant,
    },
}

/// Any frame proves that the session lives, but only a pong is the answer to a ping.
struct Pulse {
    asked_at: Option<Instant>,
    heard_at: Instant,
}

impl Pulse {
    fn new(opened_at: Instant) -> Self {
        Self { asked_at: None, heard_at: opened_at }
    }

    /// A ping is about to be sent; `false` when nothing at all was heard since the one before.
    fn ping(&mut self, now: Instant) -> bool {
        let alive = self.asked_at.is_none_or(|asked_at| self.heard_at >= asked_at);
        self.asked_at = Some(now);
        alive
    }

    fn lost(&self, code: impl Into<String>) -> End {
        End::Lost { code: code.into(), heard_at: self.heard_at }
    }
}

pub(crate) struct Session {
    pub(crate) owner: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) handshakes: Arc<Semaphore>,
}

impl Session {
    /// Runs until the run is stopped. Tells `first` how the first connect went.
    pub(crate) async fn run(mut self, first: oneshot::Sender<Result<(), String>>) {
        let mut stop = self.shared.stop.subscribe();
        let mut random = ChaCha8Rng::seed_from_u64(self.shared.plan.seed ^ self.owner as u64);
        let connected = tokio::select! {
            connected = self.connect_first(&mut random) => connected,
            () = stop.wait() => return,
        };
        let (mut socket, told) = match connected {
            Ok(socket) => (socket, Ok(())),
            Err(reason) => {
                // Nobody waits any more when the run was dropped.
                drop(first.send(Err(reason)));
                return;
            }
        };
        drop(first.send(told));
        loop {
            let end = tokio::select! {
                end = self.serve(&mut socket) => end,
                () = stop.wait() => End::Stopped,
            };
            match end {
                End::Stopped => return close(socket).await,
                End::Lost { code, heard_at } => self.shared.book.lost_session(self.owner, code, heard_at),
            }
            socket = tokio::select! {
                socket = self.reconnect(&mut random) => socket,
                () = stop.wait() => return,
            };
            self.shared.book.regained_session(self.owner);
            tokio::spawn(catch_up(Arc::clone(&self.shared), self.owner));
        }
    }

    async fn connect_first(&self, random: &mut ChaCha8Rng) -> Result<Socket, String> {
        let mut reason = String::new();
        for attempt in 0..FIRST_CONNECT_TRIES {
            match self.connect().await {
                Ok(socket) => return Ok(socket),
                Err(error) => reason = error,
            }
            sleep(backoff(random, attempt)).await;
        }
        Err(reason)
    }

    /// Ends only with a socket: the caller stops it with the run.
    async fn reconnect(&self, random: &mut ChaCha8Rng) -> Socket {
        let mut attempt = 0;
        loop {
            sleep(backoff(random, attempt)).await;
            if let Ok(socket) = self.connect().await {
                return socket;
            }
            attempt += 1;
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        // Closed never: the semaphore lives as long as its sessions.
        let _permit = self.handshakes.acquire().await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let result = open(&self.shared.target.owners[self.owner].socket_url).await;
        self.note_connect(began.elapsed(), result.as_ref().err());
        result
    }

    fn note_connect(&self, took: Duration, error: Option<&String>) {
        let mut inner = self.shared.book.lock();
        if error.is_some() {
            inner.connections.connect_failures += 1;
        } else {
            inner.connections.connects += 1;
            inner.connect.record_us(micros(took));
        }
        drop(inner);
        self.shared.sample(Sample { name: "connect", took, error: error.cloned() });
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        let mut ping = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = Pulse::new(Instant::now());
        loop {
            let sent = tokio::select! {
                frame = socket.next() => {
                    let Some(Ok(frame)) = frame else { return pulse.lost(close_code(None)) };
                    pulse.heard_at = Instant::now();
                    match frame {
                        Frame::Text(text) => self.receive(text.as_str(), &mut pulse),
                        Frame::Close(frame) => return pulse.lost(close_code(frame)),
                        _ => {}
                    }
                    continue;
                }
                Some(command) = self.commands.recv() => {
                    self.shared.book.lock().connections.watches += 1;
                    socket.send(Frame::text(command)).await
                }
                _ = ping.tick() => {
                    if !pulse.ping(Instant::now()) {
                        return pulse.lost("silent");
                    }
                    socket.send(Frame::text(PING)).await
                }
            };
            if sent.is_err() {
                return pulse.lost(close_code(None));
            }
        }
    }

    fn receive(&self, text: &str, pulse: &mut Pulse) {
        match Message::parse(text) {
            Message::Task(task) => {
                if let Some(ended) = self.shared.book.pushed(self.owner, &task.id, task.seen()) {
                    self.shared.sample_end(ended);
                }
            }
            Message::Pong => self.note_pong(pulse.asked_at.take()),
            Message::Error => self.shared.book.lock().connections.errors += 1,
            Message::Unreadable => self.shared.book.lock().connections.frames_unreadable += 1,
        }
    }

    fn note_pong(&self, asked: Option<Instant>) {
        let mut inner = self.shared.book.lock();
        inner.connections.pongs += 1;
        let Some(asked) = asked else { return };
        let took = asked.elapsed();
        inner.ping.record_us(micros(took));
        drop(inner);
        self.shared.sample(Sample { name: "ping", took, error: None });
    }
}

/// One handshake.
pub(crate) async fn open(url: &str) -> Result<Socket, String> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match timeout(CONNECT_TIMEOUT, connect_async_with_config(url, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(connect_reason(&error)),
        Err(_) => Err("the handshake timed out".to_owned()),
    }
}

/// What was pushed while the session was away is read.
async fn catch_up(shared: Arc<Shared>, owner: usize) {
    for task in shared.book.take_unfinished(Some(owner), 0, CATCH_UP_MAX) {
        if shared.stop.is_set() {
            return;
        }
        shared.book.lock().connections.catch_up_reads += 1;
        shared.target.read_into(&shared.book, owner, &task.task_id).await;
    }
}

async fn close(mut socket: Socket) {
    /// A peer that does not answer the close is left alone.
    const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
    // The run is over: how the close goes changes nothing.
    drop(timeout(CLOSE_TIMEOUT, socket.close(None)).await);
}

fn close_code(frame: Option<CloseFrame>) -> String {
    frame.map_or_else(|| NO_CLOSE_CODE.to_owned(), |frame| u16::from(frame.code).to_string())
}

/// The status is what matters; the URL would print the token.
fn connect_reason(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => format!("the handshake was answered {}", response.status()),
        other => other.to_string(),
    }
}

/// Full jitter: anything between nothing and the doubled base.
fn backoff(random: &mut ChaCha8Rng, attempt: u32) -> Duration {
    let ceiling = BACKOFF_BASE.saturating_mul(2_u32.saturating_pow(attempt)).min(BACKOFF_MAX);
    ceiling.mul_f64(random.random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_dies_silently_is_lost_from_the_last_that_was_heard_of_it() {
        let opened_at = Instant::now();
        let at = |seconds| opened_at + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(opened_at);
        assert!(pulse.ping(at(30)), "nobody has asked yet");
        pulse.heard_at = at(31);
        assert!(pulse.ping(at(60)), "it has answered");
        assert!(!pulse.ping(at(90)));
        let End::Lost { code, heard_at } = pulse.lost("silent") else { panic!("it is lost") };
        assert_eq!((code.as_str(), heard_at), ("silent", at(31)));
    }
}
