//! A target that misbehaves on demand: what the load test must notice is done to it here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use loadtest::stack::Stack;
use loadtest::token::KeyPair;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response as Handshake};

/// A session that does not answer a ping for so long is broken.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// No run is ever told this id in an answer.
const STRAY: &str = "task-of-an-earlier-run";

/// What the target does with one POST. The default is to accept it and to end it well at once.
#[derive(Clone, Debug)]
pub(crate) struct Reaction {
    pub(crate) delay: Duration,
    pub(crate) answer: Answer,
    pub(crate) pushes: Pushes,
    pub(crate) end: End,
    /// Makes a new task even if the key was seen.
    pub(crate) forgets_key: bool,
}

impl Default for Reaction {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            answer: Answer::Accept,
            pushes: Pushes::Once,
            end: End::Succeeds,
            forgets_key: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,
    /// Our own 503: nothing accepted.
    Refuse,
    /// The task is made, and the gateway answers 500.
    AcceptAndFail,
    /// Nothing is made, and the gateway answers 500.
    Fail,
    /// Nothing is made: the token is not taken.
    Deny,
}

/// How the target answers reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reads {
    #[default]
    Right,
    /// With 500.
    Fail,
    /// With the tasks of all owners on every page.
    OfAll,
    /// With a wrong result of whatever was pushed with the right one.
    OtherResult,
    /// With every task as running, whatever was pushed of the version that it has.
    OtherStatus,
    /// With no task on any page.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushes {
    Once,
    Twice,
    Never,
    /// All of them before the POST is answered.
    Early,
    /// To the sessions of all owners.
    ToAll,
    /// After them the end of a task that this run never asked for: one of before, or of another client of the owner.
    AndStray,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeds,
    DeadLetters,
    WrongResult,
    Never,
}

/// One POST as the target sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post {
    /// From the idempotency key.
    pub(crate) sequence: u64,
    /// How often this key was sent before.
    pub(crate) repeats: u32,
}

type Behaviour = Box<dyn Fn(Post) -> Reaction + Send + Sync>;

struct Task {
    /// As it was made.
    number: u64,
    owner: String,
    text: String,
    end: End,
    /// The session answered a ping that was sent after the pushes, or there is nothing to hear.
    is_heard: bool,
}

#[derive(Default)]
struct Tasks {
    by_id: HashMap<String, Task>,
    by_key: HashMap<String, String>,
    posts_by_key: HashMap<String, u32>,
    sockets: HashMap<String, mpsc::UnboundedSender<Message>>,
    made: u64,
    reads: Reads,
}

pub(crate) struct Fake {
    tasks: Mutex<Tasks>,
    behaviour: Behaviour,
    heard: Notify,
}

impl Fake {
    pub(crate) async fn start(
        behaviour: impl Fn(Post) -> Reaction + Send + Sync + 'static,
    ) -> (Arc<Self>, Stack, tempfile::TempDir) {
        let fake =
            Arc::new(Self { tasks: Mutex::default(), behaviour: Box::new(behaviour), heard: Notify::new() });
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stack = write_stack(&folder, http.local_addr().unwrap(), socket.local_addr().unwrap());
        let router = Router::new()
            .route("/base/tasks", get(list).post(submit))
            .route("/base/tasks/{id}", get(read))
            .with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(http, router).await });
        tokio::spawn(accept_sockets(Arc::clone(&fake), socket));
        (fake, stack, folder)
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap()
    }

    pub(crate) fn answer_reads(&self, reads: Reads) {
        self.lock().reads = reads;
    }

    pub(crate) fn made(&self) -> u64 {
        self.lock().made
    }

    /// Closes every session with the code of API Gateway's two-hour limit.
    pub(crate) fn close_sockets(&self) {
        use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        for (_, socket) in self.lock().sockets.drain() {
            let frame = CloseFrame { code: CloseCode::Away, reason: "Going away".into() };
            drop(socket.send(Message::Close(Some(frame))));
        }
    }

    fn push(&self, owner: &str, task: &Value, times: u32) {
        let text = json!({"type": "task", "task": task}).to_string();
        if let Some(socket) = self.lock().sockets.get(owner) {
            for _ in 0..times {
                drop(socket.send(Message::text(text.clone())));
            }
        }
    }

    /// The id, and whether this POST made it.
    fn make(&self, owner: &str, key: &str, text: String, reaction: &Reaction) -> (String, bool) {
        let mut tasks = self.lock();
        if !reaction.forgets_key
            && let Some(id) = tasks.by_key.get(key)
        {
            return (id.clone(), false);
        }
        tasks.made += 1;
        let id = format!("task-{}", tasks.made);
        tasks.by_key.insert(key.to_owned(), id.clone());
        let is_heard = reaction.pushes == Pushes::Never;
        let (number, owner) = (tasks.made, owner.to_owned());
        tasks.by_id.insert(id.clone(), Task { number, owner, text, end: reaction.end, is_heard });
        (id, true)
    }

    fn progress(&self, owner: &str, id: &str, pushes: Pushes) {
        let times = match pushes {
            Pushes::Never => return,
            Pushes::Once | Pushes::Early | Pushes::ToAll | Pushes::AndStray => 1,
            Pushes::Twice => 2,
        };
        let told = self.told(owner, pushes);
        let tell = |task: &Value| told.iter().for_each(|owner| self.push(owner, task, times));
        let tasks = self.lock();
        let end = tasks.by_id[id].end;
        let view = wire(id, &tasks.by_id[id]);
        drop(tasks);
        for (version, status) in [(1, "queued"), (2, "running")] {
            tell(&json!({"id": id, "status": status, "version": version}));
        }
        if end != End::Never {
            tell(&view);
        }
        if pushes == Pushes::AndStray {
            tell(&json!({"id": STRAY, "status": "succeeded", "version": 3}));
        }
        self.ask_whether_heard(owner, id);
    }

    fn told(&self, owner: &str, pushes: Pushes) -> Vec<String> {
        match pushes {
            Pushes::ToAll => self.lock().sockets.keys().cloned().collect(),
            _ => vec![owner.to_owned()],
        }
    }

    /// A session answers a ping after it has taken all that came before it.
    fn ask_whether_heard(&self, owner: &str, id: &str) {
        let ping = Message::Ping(id.to_owned().into());
        let asked = self.lock().sockets.get(owner).is_some_and(|socket| socket.send(ping).is_ok());
        if !asked {
            self.note_heard(id);
        }
    }

    fn note_heard(&self, id: &str) {
        if let Some(task) = self.lock().by_id.get_mut(id) {
            task.is_heard = true;
        }
        self.heard.notify_waiters();
    }

    async fn until_heard(&self, id: &str) {
        let wait = async {
            loop {
                let heard = self.heard.notified();
                tokio::pin!(heard);
                heard.as_mut().enable();
                if self.lock().by_id[id].is_heard {
                    return;
                }
                heard.await;
            }
        };
        tokio::time::timeout(HEARD_WITHIN, wait).await.expect("the session answers pings");
    }
}

/// A read shows an end only after its push, so that no test depends on which of the two is faster.
fn read_wire(id: &str, task: &Task, reads: Reads) -> Value {
    if !task.is_heard {
        return json!({"id": id, "status": "running", "version": 2});
    }
    let mut view = wire(id, task);
    if reads == Reads::OtherResult && view.get("result").is_some() {
        view["result"]["sha256"] = "00".repeat(32).into();
    }
    if reads == Reads::OtherStatus {
        view["status"] = "running".into();
    }
    view
}

fn wire(id: &str, task: &Task) -> Value {
    let sha256 = match task.end {
        End::WrongResult => "00".repeat(32),
        End::Succeeds | End::DeadLetters | End::Never => sha256_hex(&task.text),
    };
    match task.end {
        End::Never => json!({"id": id, "status": "running", "version": 2}),
        End::DeadLetters => json!({"id": id, "status": "dead_lettered", "version": 3}),
        End::Succeeds | End::WrongResult => {
            json!({"id": id, "status": "succeeded", "version": 3, "result": {"sha256": sha256}})
        }
    }
}

fn sha256_hex(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn submit(State(fake): State<Arc<Fake>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let Some(owner) = owner_of(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let repeats = {
        let mut tasks = fake.lock();
        let sent = tasks.posts_by_key.entry(key.clone()).or_insert(0);
        *sent += 1;
        *sent - 1
    };
    let sequence = key.rsplit('-').next().unwrap().parse().unwrap();
    let reaction = (fake.behaviour)(Post { sequence, repeats });
    let text = body["payload"]["text"].as_str().unwrap_or_default().to_owned();
    tokio::time::sleep(reaction.delay).await;
    if reaction.answer == Answer::Refuse {
        let problem = json!({"type": "urn:task:problem:queue-unavailable", "status": 503});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(problem)).into_response();
    }
    if reaction.answer == Answer::Deny {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if reaction.answer == Answer::Fail {
        return failed();
    }
    let (id, is_new) = fake.make(&owner, &key, text, &reaction);
    if is_new {
        carry_out(&fake, owner, id.clone(), reaction.pushes).await;
    }
    if reaction.answer == Answer::AcceptAndFail {
        return failed();
    }
    let task = json!({"id": id, "status": "queued", "version": 1});
    (StatusCode::ACCEPTED, Json(task)).into_response()
}

fn failed() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"message": "Internal Server Error"}))).into_response()
}

async fn carry_out(fake: &Arc<Fake>, owner: String, id: String, pushes: Pushes) {
    if pushes == Pushes::Early {
        /// The answer gets a later millisecond than the push.
        const TICK: Duration = Duration::from_millis(2);
        fake.progress(&owner, &id, pushes);
        fake.until_heard(&id).await;
        tokio::time::sleep(TICK).await;
        return;
    }
    let fake = Arc::clone(fake);
    tokio::spawn(async move { fake.progress(&owner, &id, pushes) });
}

async fn read(State(fake): State<Arc<Fake>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let tasks = fake.lock();
    match tasks.by_id.get(&id) {
        _ if tasks.reads == Reads::Fail => failed(),
        Some(task) if Some(&task.owner) == owner_of(&headers).as_ref() => {
            Json(read_wire(&id, task, tasks.reads)).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Newest first.
async fn list(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Response {
    /// As many as the load test asks for.
    const PAGE: usize = 20;
    let Some(owner) = owner_of(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let tasks = fake.lock();
    if tasks.reads == Reads::Fail {
        return failed();
    }
    let is_shown = |task: &Task| match tasks.reads {
        Reads::OfAll => true,
        Reads::Empty => false,
        Reads::Right | Reads::Fail | Reads::OtherResult | Reads::OtherStatus => task.owner == owner,
    };
    let mut shown: Vec<_> = tasks.by_id.iter().filter(|(_, task)| is_shown(task)).collect();
    shown.sort_by_key(|(_, task)| std::cmp::Reverse(task.number));
    let page: Vec<Value> =
        shown.iter().take(PAGE).map(|(id, task)| read_wire(id, task, tasks.reads)).collect();
    Json(json!({"tasks": page})).into_response()
}

/// Reads the owner out of the token. Whether a token verifies is proven beside the tokens.
fn subject(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

fn owner_of(headers: &HeaderMap) -> Option<String> {
    subject(headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?)
}

async fn accept_sockets(fake: Arc<Fake>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_socket(Arc::clone(&fake), stream));
    }
}

#[expect(clippy::result_large_err, reason = "the handshake callback's signature is the library's")]
async fn serve_socket(fake: Arc<Fake>, stream: TcpStream) {
    let mut owner = None;
    let find_owner = |request: &Request, response: Handshake| {
        owner = request.uri().query().and_then(|query| subject(query.strip_prefix("token=")?));
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, find_owner).await else { return };
    let (mut sink, mut source) = socket.split();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let Some(owner) = owner else { return };
    fake.lock().sockets.insert(owner, sender.clone());
    loop {
        tokio::select! {
            Some(message) = receiver.recv() => {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            received = source.next() => match received {
                Some(Ok(Message::Text(text))) => drop(sender.send(answer_socket(&fake, text.as_str()))),
                Some(Ok(Message::Pong(id))) => fake.note_heard(&String::from_utf8_lossy(&id)),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

fn answer_socket(fake: &Fake, text: &str) -> Message {
    let request: Value = serde_json::from_str(text).unwrap();
    let id = request["task_id"].as_str().unwrap_or_default();
    let answer = match (request["action"].as_str(), fake.lock().by_id.get(id)) {
        (Some("watch"), Some(task)) => json!({"type": "task", "task": wire(id, task)}),
        (Some("watch"), None) => json!({"type": "error", "problem": {"status": 404}}),
        _ => json!({"type": "pong"}),
    };
    Message::text(answer.to_string())
}

fn write_stack(folder: &tempfile::TempDir, http: SocketAddr, socket: SocketAddr) -> Stack {
    let key = folder.path().join("key.pem");
    std::fs::write(&key, KeyPair::generate().unwrap().to_pem()).unwrap();
    let named = json!({"name": "n", "arn": "a"});
    let stack = json!({
        "endpoint": null, "region": "us-east-1", "account_id": "123456789012",
        "http_url": format!("http://{http}/base"), "websocket_url": format!("ws://{socket}/live"),
        "http_api": {"id": "a", "stage": "$default"}, "websocket_api": {"id": "b", "stage": "live"},
        "functions": {},
        "queues": {"tasks": {"url": "u", "arn": "a", "visibility_timeout_seconds": 6, "max_receive_count": 5}},
        "tables": {"tasks": named, "connections": named},
        "event_source_mapping_id": "uuid", "fault_injection": null,
        "auth": {"issuer": "i", "audience": "a", "private_key_path": key},
    });
    let path = folder.path().join("stack.json");
    std::fs::write(&path, stack.to_string()).unwrap();
    Stack::load(&path).unwrap()
}
