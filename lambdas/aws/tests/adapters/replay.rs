//! An AWS that gives the answers it was told to give, in order, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use serde_json::Value;
use task_aws::sdk;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) enum Reply {
    Answer {
        status: u16,
        body: Value,
    },
    /// The connection ends without an answer.
    Hangup,
    /// Nothing ever comes.
    Silence,
}

pub(crate) fn ok(body: Value) -> Reply {
    Reply::Answer { status: 200, body }
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    Reply::Answer { status, body: serde_json::json!({"__type": code, "message": "m"}) }
}

/// What was asked: the operation, or the path where there is none, and the body.
pub(crate) type Asked = (String, Value);

pub(crate) struct Replay {
    pub(crate) sdk: SdkConfig,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Replay {
    /// With the SDK configured as in the functions.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint: &'static str =
            Box::leak(format!("http://{}", listener.local_addr().unwrap()).into_boxed_str());
        let env = HashMap::from([(sdk::ENV_REGION, "eu-central-1"), (sdk::ENV_ENDPOINT_URL, endpoint)]);
        let credentials =
            SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "test"));
        let sdk = sdk::config(&env).unwrap().into_builder().credentials_provider(credentials).build();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let notes = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&replies), Arc::clone(&notes)));
            }
        });
        Self { sdk, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The body of the only request.
    pub(crate) fn only_body(&self) -> Value {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].1.clone()
    }
}

async fn serve(mut stream: TcpStream, replies: Arc<Mutex<VecDeque<Reply>>>, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Some(request) = read(&mut stream).await {
        asked.lock().unwrap().push(request);
        let reply = replies.lock().unwrap().pop_front().expect("an answer for every request");
        let (status, body) = match reply {
            Reply::Answer { status, body } => (status, body.to_string()),
            Reply::Hangup => return,
            Reply::Silence => std::future::pending().await,
        };
        // For REST the code is in a header, for the JSON protocols in the body.
        let code = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|body| Some(body["__type"].as_str()?.to_owned()));
        let code = code.map_or(String::new(), |code| format!("x-amzn-errortype: {code}\r\n"));
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\n{code}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut read = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            head.lines().find_map(|line| {
                Some(line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name))?.1)
            })
        };
        if body.len() < header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0) {
            continue;
        }
        let path = head.split(' ').nth(1)?;
        let operation = header("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or(path);
        return Some((operation.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null)));
    }
}
