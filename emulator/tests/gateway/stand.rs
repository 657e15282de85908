//! A gateway on a port of its own, and functions made of closures.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use emulator::adversary::Adversary;
use emulator::apigateway::Gateway;
use emulator::clock::{Clock, ManualClock};
use emulator::iam::Iam;
use emulator::invoke::{Invoke, InvokeOutcome, InvokeRequest};
use emulator::logs::{Logs, LogsApi};
use emulator::metrics::{MetricId, Metrics, StatisticSet};
use emulator::settings::{Random, Settings};
use emulator::store::Store;
use emulator::wire::{AwsRequest, BoxFuture, DataPlane, Service};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// Waiting for what must happen is bounded; nothing here takes longer unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What a function does with an event; None: it never ends.
pub(crate) type Function = dyn Fn(&str, &Value) -> Option<InvokeOutcome> + Send + Sync;

pub(crate) struct Functions {
    function: Box<Function>,
    calls: Mutex<Vec<InvokeRequest>>,
    called: Notify,
}

/// The last part of an ARN: the name, or the alias where there is one.
fn name(function: &str) -> &str {
    function.rsplit(':').next().unwrap()
}

impl Functions {
    fn events(&self, function: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        let of_it = calls.iter().filter(|call| name(&call.function) == function);
        of_it.map(|call| serde_json::from_slice(&call.payload).unwrap()).collect()
    }
}

impl Invoke for Functions {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, InvokeOutcome> {
        Box::pin(async move {
            let event: Value = serde_json::from_slice(&request.payload).unwrap();
            self.calls.lock().unwrap().push(request.clone());
            self.called.notify_waiters();
            match (self.function)(name(&request.function), &event) {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            }
        })
    }

    fn timeout_seconds(&self, _function: &str) -> Option<u32> {
        Some(1)
    }
}

pub(crate) fn answered(answer: Value) -> Option<InvokeOutcome> {
    Some(InvokeOutcome::Success(Bytes::from(answer.to_string())))
}

/// What most tests leave off.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) iam: bool,
    pub(crate) adversary: Adversary,
}

pub(crate) struct Stand {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) settings: Settings,
    functions: Arc<Functions>,
}

impl Stand {
    pub(crate) async fn start(
        function: impl Fn(&str, &Value) -> Option<InvokeOutcome> + Send + Sync + 'static,
    ) -> Self {
        Self::with(Options::default(), function).await
    }

    pub(crate) async fn with(
        options: Options,
        function: impl Fn(&str, &Value) -> Option<InvokeOutcome> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (clock, hand) = Clock::manual(START_MS);
        let settings = Settings {
            account_id: "123456789012".into(),
            region: "us-east-1".into(),
            endpoint: format!("http://{address}").into(),
            clock,
            metrics: Metrics::default(),
            logs: Logs::default(),
            random: Random::from_seed(7),
            iam: Iam::new(options.iam),
            adversary: options.adversary,
            store: Store::default(),
        };
        let functions = Arc::new(Functions {
            function: Box::new(function),
            calls: Mutex::default(),
            called: Notify::new(),
        });
        let gateway = Gateway::new(&settings, Arc::<Functions>::clone(&functions));
        tokio::spawn(serve(listener, gateway.clone()));
        Self { gateway, address, clock: hand, settings, functions }
    }

    /// A management call, of a path with or without a query: the status and the body.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: hyper::HeaderMap::new(),
            body: if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) },
            service: "apigateway".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: "AKIA".to_owned(),
        };
        let answer = Service::handle(&self.gateway, request).await;
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status.as_u16(), body)
    }

    /// Creates something and gives the member that names it.
    pub(crate) async fn create(&self, path: &str, body: Value, id: &str) -> String {
        let (status, answer) = self.manage("POST", path, body).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer[id].as_str().unwrap().to_owned()
    }

    pub(crate) async fn websocket_api(&self) -> String {
        let body = json!({"name": "push", "protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.action"});
        self.create("/v2/apis", body, "apiId").await
    }

    /// A REQUEST authorizer of a WebSocket API, by the query.
    pub(crate) async fn websocket_authorizer(&self, api: &str) -> String {
        let body = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
            "identitySource": ["route.request.querystring.token"]});
        self.create(&format!("/v2/apis/{api}/authorizers"), body, "authorizerId").await
    }

    pub(crate) async fn integration(&self, api: &str, function: &str, extra: Value) -> String {
        let mut body = json!({"integrationType": "AWS_PROXY", "integrationUri": uri(function)});
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
        let id = self.create(&format!("/v2/apis/{api}/integrations"), body, "integrationId").await;
        format!("integrations/{id}")
    }

    pub(crate) async fn route(&self, api: &str, key: &str, target: &str, extra: Value) -> String {
        let mut body = json!({"routeKey": key, "target": target});
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
        self.create(&format!("/v2/apis/{api}/routes"), body, "routeId").await
    }

    pub(crate) async fn stage(&self, api: &str, name: &str) {
        let body = json!({"stageName": name, "autoDeploy": true});
        self.create(&format!("/v2/apis/{api}/stages"), body, "stageName").await;
    }

    /// Changes a stage.
    pub(crate) async fn change_stage(&self, api: &str, stage: &str, change: Value) {
        let (status, answer) = self.manage("PATCH", &format!("/v2/apis/{api}/stages/{stage}"), change).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The account's role for the logs of WebSocket APIs.
    pub(crate) async fn log_role(&self, role: &str) -> (u16, Value) {
        let operation = json!({"op": "replace", "path": "/cloudwatchRoleArn", "value": role});
        self.manage("PATCH", "/account", json!({"patchOperations": [operation]})).await
    }

    /// Gives a stage an access log of this format and the request id, which each needs; `log_lines` reads it.
    pub(crate) async fn access_log(&self, api: &str, stage: &str, format: &str) {
        assert_eq!(self.log_role("arn:aws:iam::123456789012:role/logs").await.0, 200);
        let destination = "arn:aws:logs:us-east-1:123456789012:log-group:/access";
        let settings =
            json!({"destinationArn": destination, "format": format!("{format} $context.requestId")});
        self.change_stage(api, stage, json!({ "accessLogSettings": settings })).await;
    }

    /// What was logged, without the request ids.
    pub(crate) async fn log_lines(&self) -> Vec<String> {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("x-amz-target", "Logs_20140328.FilterLogEvents".parse().unwrap());
        let request = AwsRequest {
            method: hyper::Method::POST,
            path: "/".to_owned(),
            query: String::new(),
            headers,
            body: Bytes::from(json!({"logGroupName": "/access"}).to_string()),
            service: "logs".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: "AKIA".to_owned(),
        };
        let answer = LogsApi::new(&self.settings).handle(request).await;
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        let events = found["events"].as_array().into_iter().flatten();
        let line = |event: &Value| event["message"].as_str().unwrap().rsplit_once(' ').unwrap().0.to_owned();
        events.map(line).collect()
    }

    /// The status of the answer to a request whose client writes all of it before it reads: a request line with headers, without
    /// their end, and a body.
    pub(crate) async fn exchange(&self, head: &str, body: &[u8]) -> u16 {
        let end = format!("\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = self.raw(&[head.as_bytes(), end.as_bytes(), body].concat()).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// All that comes back for requests that are written before anything is read. The last one ends the connection.
    pub(crate) async fn raw(&self, requests: &[u8]) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(requests).await.unwrap();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        String::from_utf8(answers).unwrap()
    }

    /// What was measured of an API's stage, and of one of its routes where `dimensions` has it.
    pub(crate) fn measured(
        &self,
        name: &str,
        unit: &str,
        dimensions: &[(&str, &str)],
    ) -> Option<StatisticSet> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let id = MetricId::new("AWS/ApiGateway", name, dimensions.iter().map(owned).collect());
        self.settings.metrics.statistics(&id, unit, START_MS, i64::MAX)
    }

    pub(crate) fn calls(&self, function: &str) -> Vec<Value> {
        self.functions.events(function)
    }

    /// All calls, as functions were asked for them.
    pub(crate) fn requests(&self) -> Vec<InvokeRequest> {
        self.functions.calls.lock().unwrap().clone()
    }

    /// The events of a function, once it was called that often.
    pub(crate) async fn calls_when(&self, function: &str, count: usize) -> Vec<Value> {
        let wait = async {
            loop {
                let called = self.functions.called.notified();
                tokio::pin!(called);
                called.as_mut().enable();
                let calls = self.calls(function);
                if calls.len() >= count {
                    return calls;
                }
                called.await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the function is called within the deadline")
    }
}

/// A handshake by hand: a WebSocket client does not show the body that refuses it.
pub(crate) fn handshake(url: &str) -> reqwest::RequestBuilder {
    reqwest::Client::new()
        .get(url.replace("ws://", "http://"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

pub(crate) fn uri(function: &str) -> String {
    format!(
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:{function}/invocations"
    )
}

async fn serve(listener: TcpListener, gateway: Gateway) {
    while let Ok((stream, peer)) = listener.accept().await {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, std::convert::Infallible>(DataPlane::handle(&gateway, request, peer).await) }
            });
            // A client that goes away ends its own connection only.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await,
            );
        });
    }
}
