use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use emulator::adversary::{Act, Adversary};
use emulator::invoke::InvokeOutcome;
use emulator::wire::Service;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::stand::{DEADLINE, Options, Stand, answered};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What `work` does: `$connect` by the query, messages by their text.
pub(crate) fn work(function: &str, event: &Value) -> Option<InvokeOutcome> {
    if function == "authorizer" {
        let effect = if event["queryStringParameters"]["token"] == "good" { "Allow" } else { "Deny" };
        return answered(json!({"principalId": "ada", "context": {"sub": "ada", "level": 3},
            "policyDocument": {"Version": "2012-10-17", "Statement":
                [{"Effect": effect, "Action": "execute-api:Invoke", "Resource": event["methodArn"]}]}}));
    }
    match (event["requestContext"]["eventType"].as_str().unwrap(), event["body"].as_str()) {
        ("CONNECT", _) => match event["queryStringParameters"]["refuse"].as_str() {
            Some("401") => answered(json!({"statusCode": 401})),
            Some("broken") => answered(json!("what?")),
            _ => answered(json!({"statusCode": 200})),
        },
        (_, Some("hang")) => None,
        (_, Some("fail")) => {
            Some(InvokeOutcome::FunctionError { payload: bytes::Bytes::from_static(b"{}"), timed_out: false })
        }
        (_, Some("list")) => answered(json!([200, {}, {}, [], "the members of an answer", false])),
        (_, body) => {
            answered(json!({"statusCode": 200, "body": format!("echo {}", body.unwrap_or_default())}))
        }
    }
}

pub(crate) struct Api {
    pub(crate) stand: Stand,
    pub(crate) id: String,
    pub(crate) url: String,
}

/// A WebSocket API on stage `live`; `$default` answers.
pub(crate) async fn api(authorized: bool) -> Api {
    api_on(Stand::start(work).await, authorized).await
}

pub(crate) async fn api_on(stand: Stand, authorized: bool) -> Api {
    let id = stand.websocket_api().await;
    let target = stand.integration(&id, "work", json!({})).await;
    let mut guard = json!({});
    if authorized {
        let authorizer = stand.websocket_authorizer(&id).await;
        guard = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
    }
    stand.route(&id, "$connect", &target, guard).await;
    stand.route(&id, "$disconnect", &target, json!({})).await;
    let answering = json!({"routeResponseSelectionExpression": "$default"});
    let route = stand.route(&id, "$default", &target, answering).await;
    let responses = format!("/v2/apis/{id}/routes/{route}/routeresponses");
    stand.create(&responses, json!({"routeResponseKey": "$default"}), "routeResponseId").await;
    stand.stage(&id, "live").await;
    let url = format!("ws://{}/_aws/execute-api/{id}/live", stand.address);
    Api { stand, id, url }
}

impl Api {
    pub(crate) async fn connect(&self) -> (Socket, String) {
        let (socket, _) = connect_async(&self.url).await.unwrap();
        let connection = self.stand.calls("work").last().unwrap()["requestContext"]["connectionId"].clone();
        (socket, connection.as_str().unwrap().to_owned())
    }

    pub(crate) fn management(&self) -> Client {
        let config = aws_sdk_apigatewaymanagement::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIA", "secret", None, None, "test"))
            .endpoint_url(format!("http://{}/_aws/execute-api/{}/live", self.stand.address, self.id))
            .build();
        Client::from_conf(config)
    }

    pub(crate) async fn disconnected(&self) -> (Value, Value) {
        let calls = tokio::time::timeout(DEADLINE, async {
            let mut count = 1;
            loop {
                let calls = self.stand.calls_when("work", count).await;
                count = calls.len() + 1;
                if let Some(call) =
                    calls.iter().find(|call| call["requestContext"]["eventType"] == "DISCONNECT")
                {
                    return call.clone();
                }
            }
        });
        let context = calls.await.unwrap()["requestContext"].clone();
        (context["disconnectStatusCode"].clone(), context["disconnectReason"].clone())
    }
}

pub(crate) async fn text(socket: &mut Socket) -> String {
    let next = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
    next.into_text().unwrap().to_string()
}

pub(crate) async fn close_code(socket: &mut Socket) -> Option<CloseCode> {
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|frame: CloseFrame| frame.code);
            }
        }
        None
    };
    tokio::time::timeout(DEADLINE, closed).await.unwrap()
}

pub(crate) fn refused_with(result: Result<impl Sized, Error>) -> u16 {
    match result {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("not refused by HTTP: {other}"),
        Ok(_) => 101,
    }
}

#[tokio::test]
async fn a_message_reaches_its_route_and_the_route_response_comes_back() {
    let api = api(false).await;
    let (mut socket, connection) = api.connect().await;
    socket.send(Message::text(r#"{"action":"ping"}"#)).await.unwrap();
    assert_eq!(text(&mut socket).await, r#"echo {"action":"ping"}"#);
    let calls = api.stand.calls("work");
    let connect = &calls[0];
    assert_eq!(connect["headers"]["Sec-WebSocket-Version"], "13");
    assert_eq!(connect["multiValueHeaders"]["Sec-WebSocket-Version"], json!(["13"]));
    let message = &calls[1];
    assert_eq!(message["requestContext"]["routeKey"], "$default");
    assert_eq!(message["requestContext"]["eventType"], "MESSAGE");
    assert_eq!(message["requestContext"]["connectionId"], json!(connection));
    assert_eq!(message["isBase64Encoded"], false);
    assert!(message.get("headers").is_none());
}

#[tokio::test]
async fn a_failing_function_sends_an_error_frame_and_the_socket_stays_open() {
    let api = api(false).await;
    let (mut socket, connection) = api.connect().await;
    let expected =
        format!(r#"{{"message": "Internal server error", "connectionId":"{connection}", "requestId":""#);
    for message in ["fail", "list"] {
        socket.send(Message::text(message)).await.unwrap();
        let frame = text(&mut socket).await;
        assert!(frame.starts_with(&expected), "{frame}");
    }
    socket.send(Message::text("again")).await.unwrap();
    assert_eq!(text(&mut socket).await, "echo again");
}

#[tokio::test]
async fn refused_handshakes_have_the_status_that_aws_gives_them() {
    let open = api(false).await;
    assert_eq!(refused_with(connect_async(format!("{}?refuse=401", open.url)).await), 401);
    assert_eq!(refused_with(connect_async(format!("{}?refuse=broken", open.url)).await), 502);
    assert_eq!(refused_with(connect_async(format!("{}x", open.url)).await), 403);
    assert_eq!(reqwest::get(open.url.replace("ws://", "http://")).await.unwrap().status(), 426);
    let guarded = api(true).await;
    assert_eq!(refused_with(connect_async(&guarded.url).await), 401);
    assert_eq!(refused_with(connect_async(format!("{}?token=bad", guarded.url)).await), 403);
}

#[tokio::test]
async fn the_context_of_the_authorizer_is_in_every_later_event() {
    let api = api(true).await;
    let (mut socket, _) = connect_async(format!("{}?token=good", api.url)).await.unwrap();
    socket.send(Message::text("hi")).await.unwrap();
    text(&mut socket).await;
    socket.close(None).await.unwrap();
    for event in api.stand.calls_when("work", 3).await {
        let authorizer = &event["requestContext"]["authorizer"];
        assert_eq!(
            (&authorizer["principalId"], &authorizer["sub"], &authorizer["level"]),
            (&json!("ada"), &json!("ada"), &json!("3"))
        );
        let is_connect = event["requestContext"]["eventType"] == "CONNECT";
        assert_eq!(authorizer.get("integrationLatency").is_some(), is_connect, "{event}");
    }
}

#[tokio::test]
async fn a_push_reaches_an_open_connection_and_is_gone_after_it_closed() {
    let api = api(false).await;
    let (mut socket, connection) = api.connect().await;
    let client = api.management();
    let long = "x".repeat(100_000);
    for payload in ["hello", &long] {
        client.post_to_connection().connection_id(&connection).data(Blob::new(payload)).send().await.unwrap();
        assert_eq!(text(&mut socket).await, payload);
    }
    let shown = client.get_connection().connection_id(&connection).send().await.unwrap();
    assert_eq!(shown.identity().unwrap().source_ip(), Some("127.0.0.1"));

    let too_long = Blob::new("x".repeat(128 * 1024 + 1));
    let error =
        client.post_to_connection().connection_id(&connection).data(too_long).send().await.unwrap_err();
    assert!(error.into_service_error().is_payload_too_large_exception());

    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await.unwrap();
    assert_eq!(api.disconnected().await, (json!(1000), json!("Connection Closed Normally")));
    let late = client.post_to_connection().connection_id(&connection).data(Blob::new("late")).send().await;
    assert!(late.unwrap_err().into_service_error().is_gone_exception());
}

#[tokio::test]
async fn delete_closes_normally() {
    let api = api(false).await;
    let (mut socket, connection) = api.connect().await;
    let client = api.management();
    client.delete_connection().connection_id(&connection).send().await.unwrap();
    let late = client.post_to_connection().connection_id(&connection).data(Blob::new("late")).send().await;
    assert!(late.unwrap_err().into_service_error().is_gone_exception(), "at once");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Normal));
    assert_eq!(api.disconnected().await.0, json!(1000));
}

#[tokio::test]
async fn what_was_posted_before_a_delete_arrives_before_the_close() {
    let api = api(false).await;
    // Both wait for the session at once, which may see either first.
    for round in 1..=20 {
        let (mut socket, connection) = api.connect().await;
        let head = |method: &str| {
            let path = format!("/_aws/execute-api/{}/live/@connections/{connection}", api.id);
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: AWS4-HMAC-SHA256 Credential=x\r\n")
        };
        let post = format!("{}content-length: 4\r\n\r\nlast", head("POST"));
        let delete = format!("{}connection: close\r\n\r\n", head("DELETE"));
        let answers = api.stand.raw(format!("{post}{delete}").as_bytes()).await;
        assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("HTTP/1.1 204"), "{answers}");
        assert_eq!(text(&mut socket).await, "last", "{round}");
        assert_eq!(close_code(&mut socket).await, Some(CloseCode::Normal));
        drop(socket);
        api.stand.calls_when("work", 2 * round).await;
    }
}

#[tokio::test]
async fn an_unsigned_or_malformed_call_is_refused() {
    let api = api(false).await;
    let url = format!("{}/@connections/abc", api.url.replace("ws://", "http://"));
    assert_eq!(reqwest::Client::new().post(&url).send().await.unwrap().status(), 403);
    let signed = reqwest::Client::new().post(&url).header("authorization", "AWS4-HMAC-SHA256 Credential=x");
    assert_eq!(signed.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn binary_and_oversize_frames_close_with_their_codes() {
    let api = api(false).await;
    let (mut socket, _) = api.connect().await;
    socket.send(Message::binary(vec![1_u8, 2])).await.unwrap();
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Unsupported));
    let (mut socket, _) = api.connect().await;
    socket.send(Message::text("x".repeat(32 * 1024 + 1))).await.unwrap();
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Size));
}

#[tokio::test]
async fn an_idle_connection_goes_away_after_ten_minutes() {
    let api = api(false).await;
    let (mut socket, _) = api.connect().await;
    // An answer proves that the session runs before time moves.
    socket.send(Message::text("hi")).await.unwrap();
    text(&mut socket).await;
    api.stand.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Away));
    assert_eq!(api.disconnected().await, (json!(1001), json!("Going away")));
}

#[tokio::test]
async fn a_slow_reader_is_reported_and_blocks_nobody() {
    let api = api(false).await;
    let (_socket, connection) = api.connect().await;
    let client = api.management();
    let payload = Blob::new("x".repeat(128 * 1024));
    // The kernel's buffers take some megabytes, the queue 256 messages: then the caller is told.
    let pushed = async {
        for _ in 0..2_000 {
            let post = client.post_to_connection().connection_id(&connection).data(payload.clone());
            if let Err(error) = post.customize().config_override(no_retry()).send().await {
                return error.into_service_error().is_limit_exceeded_exception();
            }
        }
        false
    };
    assert!(tokio::time::timeout(DEADLINE * 6, pushed).await.unwrap(), "the queue is bounded");
}

fn no_retry() -> aws_sdk_apigatewaymanagement::config::Builder {
    aws_sdk_apigatewaymanagement::Config::builder()
        .retry_config(aws_sdk_apigatewaymanagement::config::retry::RetryConfig::disabled())
}

#[tokio::test]
async fn a_stop_says_goodbye_to_all() {
    let api = api(false).await;
    let (mut socket, _) = api.connect().await;
    let (code, ()) = tokio::join!(close_code(&mut socket), api.stand.gateway.shutdown());
    assert_eq!(code, Some(CloseCode::Away));
    assert_eq!(refused_with(connect_async(&api.url).await), 503);
}

#[tokio::test]
async fn the_adversary_cuts_a_connection_between_the_look_up_and_the_push() {
    let adversary = Adversary::from_seed(Some(11));
    let stand = Stand::with(Options { adversary, ..Options::default() }, work).await;
    let api = api_on(stand, false).await;
    let (mut socket, connection) = api.connect().await;
    let client = api.management();
    let push = || client.post_to_connection().connection_id(&connection).data(Blob::new("news")).send();
    let mut refused = None;
    for _ in 0..3 * Act::GoneConnection.once_in() {
        match push().await {
            Ok(_) => assert_eq!(text(&mut socket).await, "news"),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("the seed strikes");
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 410);
    assert!(refused.into_service_error().is_gone_exception());
    // A network that ends says no goodbye.
    assert_eq!(close_code(&mut socket).await, None);
    assert_eq!(api.disconnected().await, (json!(1006), json!("Connection closed abnormally")));
    assert!(push().await.unwrap_err().into_service_error().is_gone_exception(), "and it stays gone");
}
