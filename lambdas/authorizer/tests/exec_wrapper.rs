//! The exec-wrapper shim, on a real binary: a wrapper script and two Runtime APIs, of which only one may be called.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);
const EVENT: &str = r#"{"headers":{}}"#;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn wrapper(name: &str, script: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn function(runtime_api: &str, wrapper: &str, proxy: &str) -> Killed {
    let child = Command::new(env!("CARGO_BIN_EXE_authorizer"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "authorizer")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_EXEC_WRAPPER", wrapper)
        .env("PROXY", proxy)
        .env("TOKEN_ISSUER", "i")
        .env("TOKEN_AUDIENCE", "a")
        .env(
            "TOKEN_JWKS",
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Killed(child)
}

fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let stream = listener.accept().ok()?.0;
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    Some(stream)
}

/// Which of the two is called first.
fn first_called(one: &TcpListener, other: &TcpListener) -> (usize, TcpStream) {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        for (index, listener) in [one, other].into_iter().enumerate() {
            if let Some(stream) = accept(listener) {
                return (index, stream);
            }
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("the function called neither Runtime API");
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        assert_ne!(count, 0, "the caller went away in the middle of its request");
        read.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            })
            .unwrap_or(0);
        if body.len() >= length {
            return text;
        }
    }
}

#[test]
fn a_wrapper_stands_between_the_function_and_the_runtime_api() {
    let ((real, real_address), (proxy, proxy_address)) = (listener(), listener());
    let script = wrapper(
        "wrapper",
        "#!/bin/sh\nAWS_LAMBDA_RUNTIME_API=\"$PROXY\"\nexport AWS_LAMBDA_RUNTIME_API\nexec \"$@\"\n",
    );
    let _function = function(&real_address, script.to_str().unwrap(), &proxy_address);
    let (called, mut stream) = first_called(&real, &proxy);
    assert_eq!(called, 1, "the function went past the wrapper's proxy");
    assert!(read_request(&mut stream).starts_with("GET /2018-06-01/runtime/invocation/next"));
    // The proxy hands over an event of its own and sees the answer to it.
    let head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\nLambda-Runtime-Deadline-Ms: 99999999999999\r\n\
                Content-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{EVENT}", EVENT.len()).unwrap();
    drop(stream);
    let (called, mut stream) = first_called(&real, &proxy);
    assert_eq!(called, 1);
    let answer = read_request(&mut stream);
    assert!(answer.contains("/invocation/r-1/response"), "{answer}");
    assert!(answer.ends_with(r#"{"isAuthorized":false}"#), "{answer}");
}

#[test]
fn without_its_wrapper_the_function_runs_unwrapped_and_says_so() {
    let ((real, real_address), (proxy, proxy_address)) = (listener(), listener());
    let mut function = function(&real_address, "/opt/aws-fis/missing", &proxy_address);
    let (called, _stream) = first_called(&real, &proxy);
    assert_eq!(called, 0);
    function.0.kill().unwrap();
    let mut log = String::new();
    function.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("failed to start AWS_LAMBDA_EXEC_WRAPPER"), "{log}");
}
