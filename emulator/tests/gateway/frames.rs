//! What a WebSocket client is sent and told: by route, by size, and when something is refused.

use std::time::Duration;

use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::stand::{DEADLINE, Stand};
use crate::websocket::{Api, Socket, api, close_code, refused_with, text, work};

const KB: usize = 1_024;
/// As long as an integration may take, unless it says less.
const INTEGRATION_LIMIT: Duration = Duration::from_secs(29);

/// An API on stage `live` with these routes to a function of the same name, and no `$connect`.
async fn routed(keys: &[&str]) -> Api {
    let stand = Stand::start(work).await;
    let id = stand.websocket_api().await;
    for key in keys {
        let target = stand.integration(&id, key.trim_start_matches('$'), json!({})).await;
        stand.route(&id, key, &target, json!({})).await;
    }
    stand.stage(&id, "live").await;
    let url = format!("ws://{}/_aws/execute-api/{id}/live", stand.address);
    Api { stand, id, url }
}

async fn say(socket: &mut Socket, message: &str) {
    socket.send(Message::text(message)).await.unwrap();
}

/// The message of an error frame, whose spacing is AWS's.
fn refusal(frame: &str) -> String {
    let parsed: Value = serde_json::from_str(frame).unwrap();
    let [message, connection, request] =
        ["message", "connectionId", "requestId"].map(|name| parsed[name].as_str().unwrap().to_owned());
    let written =
        format!(r#"{{"message": "{message}", "connectionId":"{connection}", "requestId":"{request}"}}"#);
    assert_eq!(frame, written);
    message
}

#[tokio::test]
async fn a_message_goes_to_the_route_that_its_action_names() {
    let api = routed(&["ping", "1", "$default"]).await;
    let (mut socket, _) = connect_async(&api.url).await.unwrap();
    for (message, function, route) in [
        (r#"{"action":"ping"}"#, "ping", "ping"),
        (r#"{"action":1}"#, "1", "1"),
        (r#"{"action":"unknown"}"#, "default", "$default"),
        ("no JSON", "default", "$default"),
        (r#"{"action":"$default"}"#, "default", "$default"),
    ] {
        let before = api.stand.calls(function).len();
        say(&mut socket, message).await;
        let calls = api.stand.calls_when(function, before + 1).await;
        let event = calls.last().unwrap();
        assert_eq!((&event["requestContext"]["routeKey"], &event["body"]), (&json!(route), &json!(message)));
    }
}

#[tokio::test]
async fn a_message_that_leads_nowhere_is_refused_and_the_socket_stays_open() {
    let api = routed(&["ping"]).await;
    let (mut socket, _) = connect_async(&api.url).await.unwrap();
    for message in [r#"{"action":"unknown"}"#, "no JSON", r#"{"action":"$connect"}"#] {
        say(&mut socket, message).await;
        assert_eq!(refusal(&text(&mut socket).await), "Forbidden");
    }
    say(&mut socket, r#"{"action":"ping"}"#).await;
    api.stand.calls_when("ping", 1).await;
}

#[tokio::test]
async fn messages_beyond_a_limit_are_refused_one_by_one() {
    let api = api(false).await;
    let (mut socket, _) = api.connect().await;
    let limit = json!({"throttlingBurstLimit": 1, "throttlingRateLimit": 1.0});
    api.stand.change_stage(&api.id, "live", json!({"routeSettings": {"$default": limit}})).await;
    say(&mut socket, "a").await;
    assert_eq!(text(&mut socket).await, "echo a");
    say(&mut socket, "b").await;
    assert_eq!(refusal(&text(&mut socket).await), "Too Many Requests");
    api.stand.clock.advance(Duration::from_secs(1));
    say(&mut socket, "c").await;
    assert_eq!(text(&mut socket).await, "echo c");
}

#[tokio::test]
async fn a_function_that_takes_too_long_leaves_an_error_frame() {
    let api = api(false).await;
    let (mut socket, _) = api.connect().await;
    say(&mut socket, "hang").await;
    api.stand.calls_when("work", 2).await;
    api.stand.clock.advance(INTEGRATION_LIMIT);
    assert_eq!(refusal(&text(&mut socket).await), "Endpoint request timed out");
    say(&mut socket, "again").await;
    assert_eq!(text(&mut socket).await, "echo again");
}

#[tokio::test]
async fn a_message_of_128_kb_may_come_in_frames_of_32_kb_and_no_longer_one() {
    let api = api(false).await;
    let (mut socket, _) = api.connect().await;
    let part = |first: bool, last: bool| {
        let data = if first { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(vec![b'x'; 32 * KB], OpCode::Data(data), last))
    };
    for n in 0..4 {
        socket.send(part(n == 0, n == 3)).await.unwrap();
    }
    assert_eq!(text(&mut socket).await, format!("echo {}", "x".repeat(128 * KB)));
    for n in 0..4 {
        socket.send(part(n == 0, false)).await.unwrap();
    }
    let one_more = Frame::message(vec![b'x'], OpCode::Data(Data::Continue), true);
    socket.send(Message::Frame(one_more)).await.unwrap();
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Size));
}

#[tokio::test]
async fn what_is_no_text_or_breaks_the_protocol_closes_with_its_code() {
    for (data, opcode, code) in [
        (vec![0xff_u8, 0xfe], Data::Text, CloseCode::Invalid),
        (vec![b'x'], Data::Continue, CloseCode::Protocol),
    ] {
        let api = api(false).await;
        let (mut socket, _) = api.connect().await;
        let frame = Frame::message(data, OpCode::Data(opcode), true);
        socket.send(Message::Frame(frame)).await.unwrap();
        assert_eq!(close_code(&mut socket).await, Some(code));
        assert_eq!(api.disconnected().await.0, json!(u16::from(code)));
    }
}

#[tokio::test]
async fn handshakes_beyond_a_limit_are_refused() {
    let api = api(false).await;
    let limit = json!({"throttlingBurstLimit": 1, "throttlingRateLimit": 1.0});
    api.stand.change_stage(&api.id, "live", json!({"routeSettings": {"$connect": limit}})).await;
    let _open = api.connect().await;
    assert_eq!(refused_with(connect_async(&api.url).await), 429);
    assert_eq!(api.stand.calls("work").len(), 1, "the function is not asked");
}

#[tokio::test]
async fn nothing_can_be_posted_to_a_connection_while_connect_runs() {
    let stand = Stand::start(|_, _| None).await;
    let id = stand.websocket_api().await;
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "$connect", &target, json!({})).await;
    stand.stage(&id, "live").await;
    let url = format!("ws://{}/_aws/execute-api/{id}/live", stand.address);
    let api = Api { stand, id, url };
    let connecting = tokio::spawn(connect_async(api.url.clone()));
    let event = &api.stand.calls_when("work", 1).await[0];
    let connection = event["requestContext"]["connectionId"].as_str().unwrap();
    let post = api.management().post_to_connection().connection_id(connection).data(Blob::new("early"));
    assert!(post.send().await.unwrap_err().into_service_error().is_gone_exception());
    api.stand.clock.advance(INTEGRATION_LIMIT);
    let connected = tokio::time::timeout(DEADLINE, connecting).await.unwrap().unwrap();
    assert_eq!(refused_with(connected), 504);
}

#[tokio::test]
async fn models_that_would_judge_messages_are_refused() {
    let stand = Stand::start(|_, _| None).await;
    let id = stand.websocket_api().await;
    let routes = format!("/v2/apis/{id}/routes");
    let model = json!({"routeKey": "ping", "modelSelectionExpression": "$request.body.action",
        "requestModels": {"ping": "Ping"}});
    let (status, answer) = stand.manage("POST", &routes, model).await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("modelSelectionExpression"), "{answer}");
    let none = json!({"routeKey": "ping", "modelSelectionExpression": ""});
    assert_eq!(stand.manage("POST", &routes, none).await.0, 201);
}
