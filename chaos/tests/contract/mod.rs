//! The running stack held to the published contract, from outside: what only API Gateway answers, the socket with its
//! pushes, and what the functions write to their logs.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::contract::{Answer, HttpContract, Producer, SocketContract};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chaos::cloud::Cloud;
use chaos::fault::{HttpThrottle, Lever, ReservedConcurrency};
use futures_util::{SinkExt as _, StreamExt as _};
use loadtest::token::Minter;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const OPERATIONS: [&str; 3] = ["POST /tasks", "GET /tasks", "GET /tasks/{id}"];
const DEADLINE: Duration = Duration::from_secs(20);

/// AWS: "Payload size 10 MB". What is larger does not reach a function.
const GATEWAY_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// In every payload here, and nowhere else: must be in no log.
const MARKER: &str = "marker-that-must-not-be-logged";
const OWNER: &str = "contract@example.com";

/// What process-task writes of every batch, whatever becomes of it: alarms and experiments go by these.
const OF_EVERY_BATCH: [&str; 11] = [
    "deliveries",
    "attempts",
    "queue_age_ms",
    "pushes",
    "pushes_gone",
    "push_failures",
    "cold_start",
    "duration_ms",
    "dependency_calls",
    "cpu_us",
    "memory_peak_mb",
];

/// And of one in which a task succeeded.
const OF_SUCCESS: [&str; 2] = ["succeeded", "attempts_of_ended"];

struct Service<'a> {
    description: &'a Value,
    minter: Minter,
    http: reqwest::Client,
    contract: HttpContract,
    token: String,
    /// Once the second has passed in which it was made: see [`a_second_passes`].
    expired: String,
}

/// All of it, against the stack that `description` describes.
pub(crate) async fn holds(description: &Value) {
    let auth = |key: &str| description["auth"][key].as_str().unwrap().to_owned();
    let pem = std::fs::read_to_string(auth("private_key_path")).unwrap();
    let minter = Minter::new(&pem, auth("issuer"), auth("audience")).unwrap();
    let token = minter.token(OWNER, Duration::from_secs(600));
    let expired = minter.token(OWNER, Duration::ZERO);
    a_second_passes().await;
    let http = reqwest::Client::new();
    let service = Service { description, minter, http, contract: HttpContract::default(), token, expired };
    let id = service.answers_over_http_look_as_documented().await;
    service.unbelievable_tokens_are_refused(&id).await;
    assert_eq!(service.contract.unseen(&OPERATIONS, Producer::Gateway), Vec::<String>::new());
    service.above_the_throttle_clients_are_told_so(&id).await;
    service.what_cannot_be_called_is_answered_for(&id).await;
    service.a_client_hears_of_its_tasks_and_catches_up().await;
    service.logs_hold_ids_and_no_secrets().await;
}

/// A token counts in seconds, and is valid to the end of the one in which it expires.
async fn a_second_passes() {
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let began = seconds();
    while seconds() <= began {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks again until the answer is the one that is waited for.
async fn within_deadline(what: &str, is_so: impl AsyncFn() -> bool) {
    let asked = async { while !is_so().await {} };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("{what}: never"));
}

impl Service<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.description["http_url"].as_str().unwrap())
    }

    /// Sends, and holds the answer to the contract.
    async fn ask(&self, operation: &str, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let answer = Answer { status, headers, body: response.text().await.unwrap() };
        self.contract.check(operation, &answer).unwrap();
        (status, serde_json::from_str(&answer.body).unwrap())
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        self.post_as(&self.token, body)
    }

    fn post_as(&self, token: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(self.url("/tasks")).bearer_auth(token);
        request.header("content-type", "application/json").body(body.to_string())
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(path)).bearer_auth(&self.token)
    }

    async fn answers_over_http_look_as_documented(&self) -> String {
        let digest = json!({"kind": "digest", "payload": {"text": MARKER}});
        let (status, task) = self.ask("POST /tasks", self.post(&digest).header("idempotency-key", "k")).await;
        assert_eq!(status, 202);
        let id = task["id"].as_str().unwrap().to_owned();
        let (_, again) = self.ask("POST /tasks", self.post(&digest).header("idempotency-key", "k")).await;
        assert_eq!(again["id"], task["id"], "the same key is the same task");
        let unknown = json!({"kind": "nonsense", "payload": {"text": MARKER}});
        assert_eq!(self.ask("POST /tasks", self.post(&unknown)).await.0, 422);
        assert_eq!(self.ask("POST /tasks", self.post(&json!(MARKER))).await.0, 400);
        let oversize = self.http.post(self.url("/tasks")).bearer_auth(&self.token);
        let oversize = oversize.body(vec![b' '; GATEWAY_BODY_BYTES_MAX + 1]);
        assert_eq!(self.ask("POST /tasks", oversize).await.0, 413);
        assert_eq!(self.ask("GET /tasks", self.get("/tasks?limit=1")).await.0, 200);
        assert_eq!(self.ask("GET /tasks", self.get("/tasks?limit=0")).await.0, 400);
        assert_eq!(self.ask("GET /tasks/{id}", self.get(&format!("/tasks/{id}"))).await.0, 200);
        let nobodys = "/tasks/0193b0e2-7c00-7000-8000-000000000001";
        assert_eq!(self.ask("GET /tasks/{id}", self.get(nobodys)).await.0, 404);
        id
    }

    /// By both APIs, through the same authorizer.
    async fn unbelievable_tokens_are_refused(&self, id: &str) {
        for operation in OPERATIONS {
            let request = |token: Option<&str>| {
                let (method, path) = operation.split_once(' ').unwrap();
                let request = self.http.request(method.parse().unwrap(), self.url(&path.replace("{id}", id)));
                token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth)
            };
            assert_eq!(self.ask(operation, request(None)).await.0, 401, "{operation} without a token");
            for (what, token) in self.unbelievable_tokens() {
                assert_eq!(self.ask(operation, request(Some(&token))).await.0, 403, "{operation}, {what}");
            }
        }
        assert_eq!(self.handshake(None).await.err(), Some(401), "a socket without a token");
        for (what, token) in self.unbelievable_tokens() {
            assert_eq!(self.handshake(Some(&token)).await.err(), Some(403), "a socket, {what}");
        }
    }

    fn unbelievable_tokens(&self) -> Vec<(&'static str, String)> {
        let parts: Vec<&str> = self.token.split('.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let tampered = URL_SAFE_NO_PAD.encode(claims.replace(OWNER, "mallory"));
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let auth = |key: &str| self.description["auth"][key].as_str().unwrap();
        let pem = std::fs::read_to_string(auth("private_key_path")).unwrap();
        let misdirected = Minter::new(&pem, auth("issuer"), "others").unwrap();
        let foreign = Minter::new(&pem, "https://other", auth("audience")).unwrap();
        vec![
            ("no token at all", "nonsense".to_owned()),
            ("tampered", format!("{}.{tampered}.{}", parts[0], parts[2])),
            ("unsigned", format!("{none}.{}.", parts[1])),
            ("expired", self.expired.clone()),
            ("for another audience", misdirected.token(OWNER, DEADLINE)),
            ("of another issuer", foreign.token(OWNER, DEADLINE)),
        ]
    }

    fn text(&self, pointer: &str) -> String {
        self.description.pointer(pointer).unwrap().as_str().unwrap().to_owned()
    }

    /// One request of an operation, as `token` may make it.
    fn request(&self, operation: &str, id: &str, token: &str) -> reqwest::RequestBuilder {
        if operation == "POST /tasks" {
            return self.post_as(token, &json!({"kind": "digest", "payload": {"text": MARKER}}));
        }
        let path = operation.trim_start_matches("GET ").replace("{id}", id);
        self.http.get(self.url(&path)).bearer_auth(token)
    }

    /// With a stage that takes one request a second, the first of which may be any of these.
    async fn above_the_throttle_clients_are_told_so(&self, id: &str) {
        let (api_id, stage) = (self.text("/http_api/id"), self.text("/http_api/stage"));
        let throttle = HttpThrottle { api_id, stage, route: None, rate_per_second: 1.0, burst: 1 };
        let asked = async || {
            for operation in OPERATIONS {
                let is_refused =
                    async || self.ask(operation, self.request(operation, id, &self.token)).await.0 == 429;
                within_deadline(&format!("{operation} above the throttle"), is_refused).await;
            }
        };
        self.under(Lever::HttpThrottle(throttle), asked).await;
        assert_eq!(self.contract.unseen(&OPERATIONS, Producer::Throttle), Vec::<String>::new());
    }

    /// With no environment left for a function, and then none for the authorizer.
    async fn what_cannot_be_called_is_answered_for(&self, id: &str) {
        for (function, operations) in [("submit-task", &OPERATIONS[..1]), ("list-tasks", &OPERATIONS[1..])] {
            let asked = async || {
                for operation in operations {
                    let is_down =
                        async || self.ask(operation, self.request(operation, id, &self.token)).await.0 == 503;
                    within_deadline(&format!("{operation} without its function"), is_down).await;
                }
            };
            self.under(self.never_runs(function), asked).await;
        }
        // A verdict is kept: each attempt comes with a token that was never seen.
        let lifetimes = std::sync::atomic::AtomicU64::new(1_000);
        let asked = async || {
            for operation in OPERATIONS {
                let is_down = async || {
                    let lifetime = lifetimes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let token = self.minter.token(OWNER, Duration::from_secs(lifetime));
                    self.ask(operation, self.request(operation, id, &token)).await.0 == 500
                };
                within_deadline(&format!("{operation} without the authorizer"), is_down).await;
            }
        };
        self.under(self.never_runs("authorizer"), asked).await;
        assert_eq!(self.contract.unseen(&OPERATIONS, Producer::Failure), Vec::<String>::new());
    }

    fn never_runs(&self, function: &str) -> Lever {
        let text = |key: &str| self.text(&format!("/functions/{function}/{key}"));
        Lever::ReservedConcurrency(ReservedConcurrency {
            function: text("name"),
            function_arn: text("arn"),
            concurrency: 0,
        })
    }

    /// Asks while the lever is moved, and puts it back to what it was.
    async fn under(&self, lever: Lever, asked: impl AsyncFn()) {
        let cloud = Cloud::connect(self.description["endpoint"].as_str(), &self.text("/region")).await;
        let prior = lever.read(&cloud).await.unwrap();
        lever.engage(&cloud, &prior).await.unwrap();
        asked().await;
        lever.put_back(&cloud, &prior).await.unwrap();
        assert_eq!(lever.read(&cloud).await.unwrap(), prior);
    }

    async fn handshake(&self, token: Option<&str>) -> Result<Socket, u16> {
        let url = self.description["websocket_url"].as_str().unwrap();
        let query = token.map_or_else(String::new, |token| format!("?token={token}"));
        match connect_async(format!("{url}{query}")).await {
            Ok((stream, _)) => Ok(Socket { stream, contract: SocketContract::default() }),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("the handshake got no answer: {error}"),
        }
    }

    async fn a_client_hears_of_its_tasks_and_catches_up(&self) {
        let mut socket = self.handshake(Some(&self.token)).await.unwrap();
        assert_eq!(socket.ask(&json!({"action": "ping"})).await, json!({"type": "pong"}));
        let answer = socket.ask(&json!({"action": "shout", "text": MARKER})).await;
        assert_eq!(answer["problem"]["type"], "urn:task:problem:malformed-message");
        let digest = json!({"kind": "digest", "payload": {"text": MARKER}});
        let (_, task) = self.ask("POST /tasks", self.post(&digest)).await;
        let pushed = socket.until_succeeded(&task["id"]).await;
        // The client was away; what it missed it asks for.
        drop(socket);
        let mut socket = self.handshake(Some(&self.token)).await.unwrap();
        let watched = socket.ask(&json!({"action": "watch", "task_id": task["id"]})).await;
        assert_eq!(watched["task"], pushed["task"], "what was pushed last is the state of now");
    }

    async fn logs_hold_ids_and_no_secrets(&self) {
        let functions = self.description["functions"].as_object().unwrap();
        for (function, it) in functions {
            let group = format!("/aws/lambda/{}", it["name"].as_str().unwrap());
            let messages = self.log(&group).await;
            for message in &messages {
                for secret in [MARKER, OWNER, &self.token] {
                    assert!(!message.contains(secret), "{function} logged {secret}: {message}");
                }
            }
            if ["submit-task", "list-tasks", "websocket", "authorizer", "process-task"]
                .contains(&function.as_str())
            {
                let events =
                    messages.iter().filter_map(|message| serde_json::from_str::<Value>(message).ok());
                let wide: Vec<Value> = events.filter(|event| event["function"] == it["name"]).collect();
                let is_whole =
                    |event: &&Value| event["request_id"].is_string() && event["duration_ms"].is_u64();
                assert!(wide.iter().any(|event| is_whole(&event)), "{function} wrote no wide event");
                if function == "process-task" {
                    each_batch_has_its_metrics_once(&wide);
                }
            }
        }
    }

    async fn log(&self, group: &str) -> Vec<String> {
        let endpoint = self.description["endpoint"].as_str().unwrap();
        let credential = "AWS4-HMAC-SHA256 Credential=local/20261122/us-east-1/logs/aws4_request, SignedHeaders=host, Signature=0";
        let (mut messages, mut body) = (Vec::new(), json!({"logGroupName": group}));
        loop {
            let request = self.http.post(endpoint).header("authorization", credential);
            let request = request.header("x-amz-target", "Logs_20140328.FilterLogEvents");
            let request = request.header("content-type", "application/x-amz-json-1.1");
            let answer = request.body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{group}");
            let page: Value = answer.json().await.unwrap();
            let events = page["events"].as_array().unwrap().iter();
            messages.extend(events.map(|event| event["message"].as_str().unwrap().to_owned()));
            match page["nextToken"].as_str() {
                Some(next) => body["nextToken"] = next.into(),
                None => return messages,
            }
        }
    }
}

/// Every request to the worker is one invocation, and every invocation writes one event.
fn each_batch_has_its_metrics_once(events: &[Value]) {
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["request_id"].as_str()).collect();
    assert_eq!(ids.len(), events.len(), "an invocation wrote no event of its own");
    let mut defined_somewhere = BTreeSet::new();
    for event in events {
        let metrics = event["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        let defined: BTreeSet<&str> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        for name in OF_EVERY_BATCH {
            assert!(defined.contains(name) && event[name].is_u64(), "{name} is missing in {event:#}");
        }
        defined_somewhere.extend(defined);
    }
    for name in OF_SUCCESS {
        assert!(defined_somewhere.contains(name), "tasks succeeded, and {name} was never written");
    }
}

struct Socket {
    stream: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    contract: SocketContract,
}

impl Socket {
    /// The answer, past what is pushed meanwhile.
    async fn ask(&mut self, message: &Value) -> Value {
        self.stream.send(Message::text(message.to_string())).await.unwrap();
        loop {
            let heard = self.hear().await;
            let is_push = heard["type"] == "task" && heard["task"]["id"] != message["task_id"];
            if !is_push {
                return heard;
            }
        }
    }

    async fn until_succeeded(&mut self, id: &Value) -> Value {
        let mut version = 0;
        loop {
            let heard = self.hear().await;
            if heard["task"]["id"] != *id {
                continue;
            }
            assert!(heard["task"]["version"].as_u64().unwrap() > version, "pushed twice: {heard}");
            version = heard["task"]["version"].as_u64().unwrap();
            if heard["task"]["status"] == "succeeded" {
                return heard;
            }
        }
    }

    async fn hear(&mut self) -> Value {
        loop {
            let message =
                tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("a message in time");
            if let Message::Text(text) = message.unwrap().unwrap() {
                self.contract.check_sent(&text).unwrap();
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}
