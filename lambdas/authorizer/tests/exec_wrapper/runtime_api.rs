//! A Runtime API of one test, and a proxy of it that does what the extension of AWS FIS does.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

struct Request {
    path: String,
    is_get: bool,
    body: String,
}

/// Headers as lines, then the body.
struct Response {
    status: &'static str,
    headers: String,
    body: String,
}

/// Serves each connection on a thread of its own, one request each. The threads end with the test's process.
fn serve(handler: impl Fn(Request) -> Response + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                // A connection without a request is the shim's trial.
                let Some(request) = read(&mut stream) else { return };
                let Response { status, headers, body } = handler(request);
                let head = format!(
                    "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _caller_gone = stream.write_all((head + &body).as_bytes());
            });
        }
    });
    address
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
        if body.len() < head.lines().find_map(length).unwrap_or(0) {
            continue;
        }
        let mut words = head.split(' ');
        let is_get = words.next() == Some("GET");
        return Some(Request { path: words.next()?.to_owned(), is_get, body: body.to_owned() });
    }
}

/// Passes a request on, as it is.
fn forward(address: &str, request: &Request) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    let method = if request.is_get { "GET" } else { "POST" };
    let head = format!(
        "{method} {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        request.path,
        request.body.len()
    );
    stream.write_all((head + &request.body).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    let kept = headers.lines().filter(|line| line.starts_with("Lambda-") || line.starts_with("Content-Type"));
    let headers = kept.fold(String::new(), |all, line| all + line + "\r\n");
    let status = if status.contains("200") { "200 OK" } else { "202 Accepted" };
    Response { status, headers, body: body.to_owned() }
}

fn accepted() -> Response {
    Response { status: "202 Accepted", headers: String::new(), body: String::new() }
}

#[derive(Default)]
struct Events {
    waiting: Mutex<VecDeque<(String, String)>>,
    arrived: Condvar,
}

impl Events {
    fn next(&self) -> (String, String) {
        let mut waiting = self.waiting.lock().unwrap();
        loop {
            if let Some(event) = waiting.pop_front() {
                return event;
            }
            waiting = self.arrived.wait(waiting).unwrap();
        }
    }
}

/// Lambda's side.
pub(crate) struct RuntimeApi {
    pub(crate) address: String,
    events: Arc<Events>,
    answers: Receiver<(String, String)>,
}

impl RuntimeApi {
    pub(crate) fn start() -> Self {
        let events = Arc::new(Events::default());
        let (answered, answers) = channel();
        let (queue, answered) = (Arc::clone(&events), Mutex::new(answered));
        let address = serve(move |request| api(&queue, &answered, request));
        Self { address, events, answers }
    }

    pub(crate) fn invoke(&self, id: &str, event: &str) {
        self.events.waiting.lock().unwrap().push_back((id.to_owned(), event.to_owned()));
        self.events.arrived.notify_all();
    }

    /// Path and body of the next answer.
    pub(crate) fn answer(&self) -> (String, String) {
        self.answers.recv_timeout(DEADLINE).expect("the invocation is answered")
    }
}

fn api(events: &Events, answered: &Mutex<Sender<(String, String)>>, request: Request) -> Response {
    if !request.is_get {
        answered.lock().unwrap().send((request.path, request.body)).unwrap();
        return accepted();
    }
    let (id, event) = events.next();
    let headers = format!(
        "Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: 99999999999999\r\nContent-Type: application/json\r\n"
    );
    Response { status: "200 OK", headers, body: event }
}

#[derive(Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// `aws:lambda:invocation-add-delay`.
    Delay(Duration),
    /// `aws:lambda:invocation-error`, with `preventExecution`.
    Error,
    /// `aws:lambda:invocation-http-integration-response`, without.
    Rewrite(&'static str),
}

/// The extension's side.
pub(crate) struct Proxy {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn start(api: &RuntimeApi, fault: Fault) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (upstream, notes) = (api.address.clone(), Arc::clone(&seen));
        let address = serve(move |request| {
            if request.is_get {
                hand_over(&upstream, &request, fault)
            } else {
                hand_back(&upstream, request, fault, &notes)
            }
        });
        Self { address, seen }
    }

    /// What the function itself answered.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn hand_over(upstream: &str, request: &Request, fault: Fault) -> Response {
    let event = forward(upstream, request);
    match fault {
        Fault::Delay(delay) => std::thread::park_timeout(delay),
        Fault::Error => {
            let id = event
                .headers
                .lines()
                .find_map(|line| line.strip_prefix("Lambda-Runtime-Aws-Request-Id: "))
                .unwrap();
            let path = format!("/2018-06-01/runtime/invocation/{id}/error");
            let body = r#"{"errorType":"FaultInjected"}"#.to_owned();
            forward(upstream, &Request { path, is_get: false, body });
            // The function goes on waiting for the next one.
            return forward(upstream, request);
        }
        Fault::None | Fault::Rewrite(_) => {}
    }
    event
}

fn hand_back(upstream: &str, request: Request, fault: Fault, seen: &Mutex<Vec<String>>) -> Response {
    seen.lock().unwrap().push(request.body.clone());
    match fault {
        Fault::Rewrite(body) => forward(upstream, &Request { body: body.to_owned(), ..request }),
        _ => forward(upstream, &request),
    }
}
