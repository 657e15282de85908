//! A `bootstrap` for tests: speaks the Runtime API over a plain socket, and does what the event tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Set by the wrapped self, so that it does not wrap again.
const WRAPPED: &str = "ECHO_WRAPPED";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run_wrapper_if_asked()?;
    if let Some(path) = variable("ECHO_TOLD") {
        tell_of_sigterm(path)?;
    }
    if let Some(events) = variable("ECHO_EXTENSION") {
        register_extension(&events)?;
    }
    let mut runtime = Runtime::connect()?;
    match variable("ECHO_INIT").as_deref() {
        Some("error") => {
            let body = json!({"errorType": "Init.Refused", "errorMessage": "asked to"});
            runtime.post("init/error", body.to_string().as_bytes())?;
            std::process::exit(1);
        }
        Some("exit") => std::process::exit(7),
        _ => {}
    }
    let mut count = 0_u64;
    loop {
        let (headers, event) = runtime.next()?;
        count += 1;
        let id = header(&headers, "lambda-runtime-aws-request-id");
        let event: Value = serde_json::from_slice(&event)?;
        if event["do"] == "ignore" {
            continue;
        }
        let answer = obey(&event, &headers, count);
        match answer {
            Ok(body) => runtime.post(&format!("invocation/{id}/response"), &body)?,
            Err(body) => runtime.post(&format!("invocation/{id}/error"), body.to_string().as_bytes())?,
        }
        // Work after the answer: the environment is not free before it is done.
        if let Some(address) = event["then_meet"].as_str() {
            meet(address)?;
        }
        if event["then_allocate"].is_u64() {
            hold(&event["then_allocate"]);
        }
    }
}

/// What the fault-injection shim of a real function does: the wrapper, with itself as the argument.
fn run_wrapper_if_asked() -> std::io::Result<()> {
    let honours = variable("ECHO_HONOURS_WRAPPER").is_some() && variable(WRAPPED).is_none();
    match variable("AWS_LAMBDA_EXEC_WRAPPER").filter(|_| honours) {
        Some(wrapper) => Err(Command::new(wrapper).arg(std::env::current_exe()?).env(WRAPPED, "1").exec()),
        None => Ok(()),
    }
}

/// Writes a file when the process is told to end, and stays.
fn tell_of_sigterm(path: String) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut told = {
        let _context = runtime.enter();
        signal(SignalKind::terminate())?
    };
    std::thread::spawn(move || {
        runtime.block_on(told.recv());
        drop(std::fs::write(path, b"SIGTERM"));
    });
    Ok(())
}

/// An internal extension for these events, a JSON list: Lambda then tells the runtime before it ends it. It tells of each event
/// at the address that `ECHO_HEARD` names, and stays until it is closed from there.
fn register_extension(events: &str) -> Result<(), Box<dyn std::error::Error>> {
    let address = variable("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let mut stream = BufReader::new(TcpStream::connect(&address)?);
    let body = format!(r#"{{"events":{events}}}"#);
    write!(
        stream.get_mut(),
        "POST /2020-01-01/extension/register HTTP/1.1\r\nhost: {address}\r\nlambda-extension-name: echo\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let (headers, answer) = receive(&mut stream)?;
    let id = header(&headers, "lambda-extension-identifier");
    if id.is_empty() {
        println!("refused: {}", String::from_utf8_lossy(&answer));
        return Ok(());
    }
    if let Some(heard) = variable("ECHO_HEARD") {
        std::thread::spawn(move || hear(stream, &address, &id, &heard));
    }
    Ok(())
}

fn hear(mut stream: BufReader<TcpStream>, address: &str, id: &str, heard: &str) -> std::io::Result<()> {
    loop {
        write!(
            stream.get_mut(),
            "GET /2020-01-01/extension/event/next HTTP/1.1\r\nhost: {address}\r\n\
             lambda-extension-identifier: {id}\r\n\r\n"
        )?;
        let (_, event) = receive(&mut stream)?;
        let mut told = TcpStream::connect(heard)?;
        told.write_all(&event)?;
        told.write_all(b"\n")?;
        told.read_to_end(&mut Vec::new())?;
    }
}

fn obey(event: &Value, headers: &[String], count: u64) -> Result<Vec<u8>, Value> {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let body = match text("do").as_str() {
        "error" => return Err(json!({"errorType": "Asked.For", "errorMessage": "an error"})),
        "large_error" => {
            return Err(json!({"errorType": "Asked.For", "errorMessage": "x".repeat(7_000_000)}));
        }
        "exit" => std::process::exit(i32::try_from(event["code"].as_i64().unwrap_or(0)).unwrap_or(1)),
        "hang" => loop {
            std::thread::park();
        },
        "allocate" => {
            hold(&event["mb"]);
            Value::Null
        }
        "large" => json!("x".repeat(7_000_000)),
        "print" => {
            println!("{}", text("text"));
            Value::Null
        }
        "touch" => {
            let path = text("path");
            json!(std::fs::write(path, b"ran").is_ok())
        }
        "variable" => json!(variable(&text("name"))),
        "header" => json!(header(headers, &text("name"))),
        "count" => json!(count),
        "pid" => json!(std::process::id()),
        "meet" => json!(meet(&text("address")).is_ok()),
        _ => event.clone(),
    };
    Ok(body.to_string().into_bytes())
}

/// Every page is written, so that it is resident; then it stays.
fn hold(mb: &Value) {
    let bytes = usize::try_from(mb.as_u64().unwrap_or(0)).unwrap_or(0) << 20;
    let held = std::hint::black_box(vec![1_u8; bytes]);
    while !held.is_empty() {
        std::thread::park();
    }
}

/// Comes to the address, and stays until it is closed from there.
fn meet(address: &str) -> std::io::Result<usize> {
    TcpStream::connect(address)?.read(&mut [0])
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn header(headers: &[String], name: &str) -> String {
    let found = headers
        .iter()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

struct Runtime {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Runtime {
    fn connect() -> Result<Self, Box<dyn std::error::Error>> {
        let address = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
        let stream = TcpStream::connect(&address)?;
        stream.set_nodelay(true)?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    fn next(&mut self) -> std::io::Result<(Vec<String>, Vec<u8>)> {
        self.send("GET", "invocation/next", b"")?;
        self.receive()
    }

    fn post(&mut self, call: &str, body: &[u8]) -> std::io::Result<()> {
        self.send("POST", call, body)?;
        self.receive().map(drop)
    }

    fn send(&mut self, method: &str, call: &str, body: &[u8]) -> std::io::Result<()> {
        let head = format!(
            "{method} /2018-06-01/runtime/{call} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())
    }

    fn receive(&mut self) -> std::io::Result<(Vec<String>, Vec<u8>)> {
        receive(&mut self.stream)
    }
}

fn receive(stream: &mut BufReader<TcpStream>) -> std::io::Result<(Vec<String>, Vec<u8>)> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        headers.push(line);
    }
    let length = header(&headers, "content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((headers, body))
}
