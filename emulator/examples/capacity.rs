//! What the emulator can take, beside what it must: messages a second, memory of idle connections, pushes a second, and how
//! long a page of a long history takes.
//!
//! `cargo run --release -p emulator --example capacity`. The emulator runs in a process of its own, so that its memory is its
//! own; the load comes from this one, on the same machine. Exits with 1 when a limit is missed.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use emulator::{Emulator, Options};
use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// As in the emulator's own binary: what is measured must be what runs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CLIENTS: usize = 8;
const MEASURED_FOR: Duration = Duration::from_secs(5);
/// The most that one call of SQS takes.
const BATCH: usize = 10;
const BODY_BYTES: usize = 200;
const CONNECTIONS: usize = 5_000;
/// Handshakes under way at a time.
const CONNECTING: usize = 64;
/// AWS takes 500 new connections a second, and so does the emulator: the others are told to come again.
const COME_AGAIN: Duration = Duration::from_millis(50);
/// Each connection has a socket in both processes.
const FILES: u64 = 2 * CONNECTIONS as u64 + 1_000;
/// The mode in which this program is the emulator.
const SERVE: &str = "serve";

const MESSAGES_PER_SECOND_MIN: f64 = 20_000.0;
const CONNECTIONS_MB_MAX: f64 = 150.0;
const PUSHES_PER_SECOND_MIN: f64 = 2_000.0;
const KEPT_ALIVE_MB_MAX: f64 = 30.0;
/// Of one partition, half a kilobyte each: 1 MB, where a page ends, are some 1,700 of them.
const HISTORY_ITEMS: usize = 30_000;
/// The most that one BatchWriteItem takes.
const PUTS: usize = 25;
/// A partition takes a thousand writes a second.
const PUTS_EVERY: Duration = Duration::from_millis(26);
const COUNTS: usize = 5;
const COUNT_MS_MAX: f64 = 20.0;
/// An idle connection gives its buffers back after a second: what all of them take is what is left when it no longer falls.
const IDLE_FOR: Duration = Duration::from_secs(2);
const IDLE_WITHIN: Duration = Duration::from_secs(20);

type Failed = Box<dyn Error + Send + Sync>;
type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, FILES.min(most), most)?;
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve().await;
    }
    let server = Server::start()?;
    let mut figures = [messages(&server).await?, connections(&server).await?].concat();
    // Memory that the others gave back would hide some of what these take.
    figures.push(kept_alive(&Server::start()?).await?);
    figures.push(page_of_a_history(&Server::start()?).await?);
    println!("| figure | measured | limit |");
    println!("| --- | --: | --: |");
    for figure in &figures {
        println!("{figure}");
    }
    let missed = figures.iter().filter(|figure| !figure.is_met()).count();
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Until the standard input ends: the other process is gone then.
async fn serve() -> Result<ExitCode, Failed> {
    let running = Emulator::start(Options { iam: false, ..Options::default() }).await?;
    println!("{}", running.endpoint());
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    running.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

struct Server {
    child: Child,
    /// `127.0.0.1:PORT`
    address: String,
}

impl Server {
    fn start() -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("the emulator has no output")?;
        let mut endpoint = String::new();
        BufReader::new(output).read_line(&mut endpoint)?;
        let address = endpoint.trim().strip_prefix("http://").ok_or("the emulator did not start")?;
        Ok(Self { child, address: address.to_owned() })
    }

    /// Resident now.
    fn memory_mb(&self) -> Result<f64, Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: f64 = line.split_whitespace().next().ok_or("no VmRSS")?.parse()?;
        Ok(kilobytes / 1_024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Clone, Debug)]
struct Figure {
    name: &'static str,
    measured: f64,
    unit: &'static str,
    /// None where nothing was promised.
    limit: Option<Limit>,
}

impl Figure {
    fn is_met(&self) -> bool {
        match self.limit {
            Some(Limit::AtLeast(least)) => self.measured >= least,
            Some(Limit::AtMost(most)) => self.measured <= most,
            None => true,
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, measured, unit, .. } = self;
        write!(f, "| {name} | {measured:.0} {unit} | ")?;
        match self.limit {
            Some(Limit::AtLeast(least)) => write!(f, ">= {least:.0} {unit}")?,
            Some(Limit::AtMost(most)) => write!(f, "<= {most:.0} {unit}")?,
            None => write!(f, "none")?,
        }
        let missed = if self.is_met() { "" } else { " **missed**" };
        write!(f, "{missed} |")
    }
}

/// One connection that is kept open, with as little of HTTP as the answers need.
struct Http {
    stream: TcpStream,
    address: String,
    buffer: Vec<u8>,
}

impl Http {
    async fn connect(address: &str) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address: address.to_owned(), buffer: Vec::new() })
    }

    async fn call(&mut self, service: &str, path: &str, target: &str, body: &str) -> Result<Value, Failed> {
        let address = &self.address;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-target: {target}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=AKIDCAPACITY/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=00\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (status, body) = self.answer().await?;
        if !(200..300).contains(&status) {
            return Err(format!("{path} {target}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn answer(&mut self) -> Result<(u16, Vec<u8>), Failed> {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
        let status = text.split(' ').nth(1).ok_or("no status")?.parse()?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
        while self.buffer.len() < head + length {
            self.read().await?;
        }
        let body = self.buffer[head..head + length].to_vec();
        self.buffer.drain(..head + length);
        Ok((status, body))
    }

    async fn read(&mut self) -> Result<(), Failed> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the connection ended within an answer".into()),
            _ => Ok(()),
        }
    }

    async fn dynamodb(&mut self, operation: &str, body: &Value) -> Result<Value, Failed> {
        self.call("dynamodb", "/", &format!("DynamoDB_20120810.{operation}"), &body.to_string()).await
    }

    async fn sqs(&mut self, operation: &str, body: &Value) -> Result<Value, Failed> {
        self.call("sqs", "/", &format!("AmazonSQS.{operation}"), &body.to_string()).await
    }
}

/// A page without a `Limit`, of a partition that is far larger: nobody is answered meanwhile.
async fn page_of_a_history(server: &Server) -> Result<Figure, Failed> {
    let mut http = Http::connect(&server.address).await?;
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let typed = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let table = json!({
        "TableName": "history", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [key("owner", "HASH"), key("moment", "RANGE")],
        "AttributeDefinitions": [typed("owner"), typed("moment")],
    });
    http.dynamodb("CreateTable", &table).await?;
    let mut pace = tokio::time::interval(PUTS_EVERY);
    for first in (0..HISTORY_ITEMS).step_by(PUTS) {
        pace.tick().await;
        let put = |number: usize| {
            let item = json!({
                "owner": {"S": "alice"}, "moment": {"S": format!("{number:013}")}, "status": {"S": "succeeded"},
                "text": {"S": "x".repeat(550)},
            });
            json!({"PutRequest": {"Item": item}})
        };
        let puts: Vec<Value> = (first..first + PUTS).map(put).collect();
        let written = http.dynamodb("BatchWriteItem", &json!({"RequestItems": {"history": puts}})).await?;
        if written["UnprocessedItems"] != json!({}) {
            return Err(format!("of a batch some were not written: {}", written["UnprocessedItems"]).into());
        }
    }
    let count = json!({
        "TableName": "history", "Select": "COUNT", "ScanIndexForward": false,
        "KeyConditionExpression": "#owner = :owner", "FilterExpression": "#status = :status",
        "ExpressionAttributeNames": {"#owner": "owner", "#status": "status"},
        "ExpressionAttributeValues": {":owner": {"S": "alice"}, ":status": {"S": "queued"}},
    });
    let mut took_ms = Vec::new();
    for _ in 0..COUNTS {
        let since = Instant::now();
        http.dynamodb("Query", &count).await?;
        took_ms.push(since.elapsed().as_secs_f64() * 1_000.0);
    }
    took_ms.sort_by(f64::total_cmp);
    Ok(Figure {
        name: "DynamoDB: a page of a partition of 30,000 items, counted",
        measured: took_ms[COUNTS / 2],
        unit: "ms",
        limit: Some(Limit::AtMost(COUNT_MS_MAX)),
    })
}

/// Eight clients on one queue, first ten messages a call, then one. A message counts once, when it is deleted.
async fn messages(server: &Server) -> Result<Vec<Figure>, Failed> {
    let batches = Figure {
        name: "SQS: messages sent, received and deleted, 8 clients, batches of ten",
        measured: passed(server, "batches", pass_batches).await?,
        unit: "/s",
        limit: Some(Limit::AtLeast(MESSAGES_PER_SECOND_MIN)),
    };
    // Three calls a message: as many messages as in batches would be ten times as many calls.
    let singles = Figure {
        name: "SQS: messages sent, received and deleted, 8 clients, one a call",
        measured: passed(server, "singles", pass_singles).await?,
        unit: "/s",
        limit: None,
    };
    Ok(vec![batches, singles])
}

/// Messages per second through a new queue.
async fn passed<F>(
    server: &Server,
    queue: &str,
    pass: impl Fn(Http, String, Instant) -> F,
) -> Result<f64, Failed>
where
    F: Future<Output = Result<usize, Failed>> + Send + 'static,
{
    let created =
        Http::connect(&server.address).await?.sqs("CreateQueue", &json!({"QueueName": queue})).await?;
    let url = created["QueueUrl"].as_str().ok_or("no QueueUrl")?;
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(Http::connect(&server.address).await?);
    }
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for http in connections {
        clients.spawn(pass(http, url.to_owned(), started + MEASURED_FOR));
    }
    let mut deleted = 0;
    while let Some(client) = clients.join_next().await {
        deleted += client??;
    }
    Ok(per_second(deleted, started.elapsed()))
}

async fn pass_batches(mut http: Http, url: String, until: Instant) -> Result<usize, Failed> {
    let entries: Vec<Value> =
        (0..BATCH).map(|n| json!({"Id": n.to_string(), "MessageBody": body()})).collect();
    let send = json!({"QueueUrl": url, "Entries": entries});
    let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": BATCH});
    let mut deleted = 0;
    while Instant::now() < until {
        http.sqs("SendMessageBatch", &send).await?;
        let received = http.sqs("ReceiveMessage", &receive).await?;
        let handle = |(n, message): (usize, &Value)| json!({"Id": n.to_string(), "ReceiptHandle": message["ReceiptHandle"]});
        let entries: Vec<Value> = messages_of(&received).iter().enumerate().map(handle).collect();
        if entries.is_empty() {
            continue;
        }
        let answer = http.sqs("DeleteMessageBatch", &json!({"QueueUrl": url, "Entries": entries})).await?;
        deleted += answer["Successful"].as_array().map_or(0, Vec::len);
    }
    Ok(deleted)
}

async fn pass_singles(mut http: Http, url: String, until: Instant) -> Result<usize, Failed> {
    let send = json!({"QueueUrl": url, "MessageBody": body()});
    let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 1});
    let mut deleted = 0;
    while Instant::now() < until {
        http.sqs("SendMessage", &send).await?;
        let received = http.sqs("ReceiveMessage", &receive).await?;
        for message in messages_of(&received) {
            let delete = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
            http.sqs("DeleteMessage", &delete).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

fn body() -> String {
    "x".repeat(BODY_BYTES)
}

fn messages_of(received: &Value) -> &[Value] {
    received["Messages"].as_array().map_or(&[], Vec::as_slice)
}

/// Idle WebSocket connections, then pushes to all of them in turn.
async fn connections(server: &Server) -> Result<Vec<Figure>, Failed> {
    let api = make_api(server).await?;
    let url = format!("ws://{}/_aws/execute-api/{api}/live", server.address);
    let before_mb = server.memory_mb()?;
    let open = open_all(&url).await?;
    let measured = server.memory_mb()? - before_mb;
    let limit = Some(Limit::AtMost(CONNECTIONS_MB_MAX));
    let memory = Figure { name: "memory of 5,000 idle WebSocket connections", measured, unit: "MB", limit };
    let pushes = push_to_all(server, &api, open).await?;
    Ok(vec![memory, pushes])
}

/// HTTP connections between two requests, of which every idle environment of a function has some.
async fn kept_alive(server: &Server) -> Result<Figure, Failed> {
    let before_mb = server.memory_mb()?;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut http = Http::connect(&server.address).await?;
        http.sqs("ListQueues", &json!({})).await?;
        open.push(http);
    }
    let until = Instant::now() + IDLE_WITHIN;
    let (mut measured, mut fell_at) = (server.memory_mb()? - before_mb, Instant::now());
    while fell_at.elapsed() < IDLE_FOR && Instant::now() < until {
        tokio::time::sleep(COME_AGAIN).await;
        let now_mb = server.memory_mb()? - before_mb;
        if now_mb < measured {
            (measured, fell_at) = (now_mb, Instant::now());
        }
    }
    let limit = Some(Limit::AtMost(KEPT_ALIVE_MB_MAX));
    Ok(Figure { name: "memory of 5,000 idle HTTP connections", measured, unit: "MB", limit })
}

/// A WebSocket API without functions: whoever connects stays, and learns its id by an answer that fails.
async fn make_api(server: &Server) -> Result<String, Failed> {
    let mut http = Http::connect(&server.address).await?;
    let api = json!({"name": "push", "protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.action"});
    let api = http.call("apigateway", "/v2/apis", "", &api.to_string()).await?;
    let api = api["apiId"].as_str().ok_or("no apiId")?.to_owned();
    let stage = json!({"stageName": "live", "autoDeploy": true}).to_string();
    http.call("apigateway", &format!("/v2/apis/{api}/stages"), "", &stage).await?;
    Ok(api)
}

async fn open_all(url: &str) -> Result<Vec<Socket>, Failed> {
    let opening = futures_util::stream::iter((0..CONNECTIONS).map(|_| open_one(url)));
    let opened: Vec<Result<Socket, Failed>> = opening.buffer_unordered(CONNECTING).collect().await;
    opened.into_iter().collect()
}

async fn open_one(url: &str) -> Result<Socket, Failed> {
    loop {
        match connect_async(url).await {
            Ok((socket, _)) => return Ok(socket),
            Err(SocketError::Http(answer)) if answer.status() == 429 => tokio::time::sleep(COME_AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Eight backends post, all clients read; a push counts when its client has it.
async fn push_to_all(server: &Server, api: &str, sockets: Vec<Socket>) -> Result<Figure, Failed> {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut ids = Vec::new();
    for mut socket in sockets {
        ids.push(id_of(&mut socket).await?);
        let arrived = arrived.clone();
        tokio::spawn(async move {
            while let Some(Ok(Message::Text(_))) = socket.next().await {
                if arrived.send(()).is_err() {
                    return;
                }
            }
        });
    }
    drop(arrived);
    let started = Instant::now();
    let mut backends = JoinSet::new();
    for chunk in ids.chunks(CONNECTIONS.div_ceil(CLIENTS)) {
        backends.spawn(push(server.address.clone(), api.to_owned(), chunk.to_vec(), started + MEASURED_FOR));
    }
    let mut posted = 0;
    while let Some(backend) = backends.join_next().await {
        posted += backend??;
    }
    for _ in 0..posted {
        arrivals.recv().await.ok_or("a connection ended")?;
    }
    let measured = per_second(posted, started.elapsed());
    let limit = Some(Limit::AtLeast(PUSHES_PER_SECOND_MIN));
    Ok(Figure { name: "pushes by @connections, 8 backends, 5,000 clients", measured, unit: "/s", limit })
}

/// "{"message":"Forbidden","connectionId":"…"}": without a route for a message the gateway says who asked.
async fn id_of(socket: &mut Socket) -> Result<String, Failed> {
    use futures_util::SinkExt;
    socket.send(Message::text("{}")).await?;
    let answer = socket.next().await.ok_or("a connection ended")??;
    let answer: Value = serde_json::from_str(answer.to_text()?)?;
    Ok(answer["connectionId"].as_str().ok_or_else(|| format!("no connectionId in {answer}"))?.to_owned())
}

async fn push(address: String, api: String, ids: Vec<String>, until: Instant) -> Result<usize, Failed> {
    let mut http = Http::connect(&address).await?;
    let news =
        json!({"type": "task", "task": {"id": "0193", "status": "succeeded", "version": 3}}).to_string();
    let mut posted = 0;
    for id in ids.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let id = id.replace('=', "%3D");
        http.call("execute-api", &format!("/_aws/execute-api/{api}/live/@connections/{id}"), "", &news)
            .await?;
        posted += 1;
    }
    Ok(posted)
}

fn per_second(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}
