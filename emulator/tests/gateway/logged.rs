//! Access logs of real requests, handshakes and messages.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use aws_sdk_apigatewaymanagement::primitives::Blob;
use emulator::invoke::InvokeOutcome;
use futures_util::SinkExt;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::http::api as http_api;
use crate::stand::{DEADLINE, Options, START_MS, Stand, answered};
use crate::websocket::{api as websocket_api, api_on, refused_with, text};

#[tokio::test]
async fn a_request_leaves_a_line_with_the_status_of_the_function_and_that_of_lambda() {
    let stand = Stand::start(|_, event| match event["pathParameters"]["case"].as_str() {
        Some("fails") => {
            Some(InvokeOutcome::FunctionError { payload: bytes::Bytes::from_static(b"{}"), timed_out: false })
        }
        Some("throttled") => {
            Some(InvokeOutcome::Throttled { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" })
        }
        Some("malformed") => answered(json!({"statusCode": "many"})),
        _ => answered(json!({"statusCode": 202, "body": "done"})),
    })
    .await;
    let (id, url) = http_api(&stand, "POST /{case}", json!({}), json!({"payloadFormatVersion": "2.0"})).await;
    let variables = [
        "httpMethod",
        "path",
        "routeKey",
        "status",
        "integration.status",
        "integrationStatus",
        "integration.integrationStatus",
        "responseLength",
        "identity.sourceIp",
        "identity.cognitoIdentityId",
        "error.message",
        "integrationErrorMessage",
    ];
    let format = variables.map(|name| format!("$context.{name}")).join("|");
    stand.access_log(&id, "$default", &format).await;
    for path in ["fine", "fails", "throttled", "malformed", "no/route"] {
        Client::new().post(format!("{url}/{path}")).body("{}").send().await.unwrap();
    }
    assert_eq!(
        stand.log_lines().await,
        [
            "POST|/fine|POST /{case}|202|202|200|200|4|127.0.0.1|-|-|-",
            "POST|/fails|POST /{case}|500|500|200|200|35|127.0.0.1|-|Internal Server Error|The Lambda function \
             returned the following error: Unhandled. Check your Lambda function code.",
            "POST|/throttled|POST /{case}|503|-|429|429|33|127.0.0.1|-|Service Unavailable|Rate Exceeded.",
            "POST|/malformed|POST /{case}|500|-|200|200|35|127.0.0.1|-|Internal Server Error|The response from \
             the Lambda function doesn't match the format that API Gateway expects.",
            "POST|/no/route|-|404|-|-|-|23|127.0.0.1|-|Not Found|-",
        ]
    );
}

#[tokio::test]
async fn a_line_names_the_invocation_that_it_was() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = http_api(&stand, "GET /x", json!({}), json!({})).await;
    reqwest::get(format!("{url}/x")).await.unwrap();
    let format = "$context.integration.requestId $context.awsEndpointRequestId";
    stand.access_log(&id, "$default", format).await;
    for path in ["x", "none"] {
        reqwest::get(format!("{url}/{path}")).await.unwrap();
    }
    let ids: Vec<_> = stand.requests().into_iter().map(|request| request.request_id).collect();
    assert_eq!(ids[0], None, "nobody asks for it");
    let invocation = ids[1].as_deref().unwrap();
    assert_eq!(stand.log_lines().await, [format!("{invocation} {invocation}"), "- -".to_owned()]);

    let api = websocket_api(false).await;
    api.stand.access_log(&api.id, "live", format).await;
    let (_socket, _) = api.connect().await;
    let requests = api.stand.requests();
    let invocation = requests[0].request_id.as_deref().unwrap();
    assert_eq!(api.stand.log_lines().await, [format!("- {invocation}")]);
}

#[tokio::test]
async fn logs_of_a_websocket_api_need_a_role_of_the_account() {
    let stand = Stand::with(Options { iam: true, ..Options::default() }, |_, _| None).await;
    let id = stand.websocket_api().await;
    stand.stage(&id, "live").await;
    let change = async |change: Value| {
        let (status, answer) = stand.manage("PATCH", &format!("/v2/apis/{id}/stages/live"), change).await;
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    let log = json!({"accessLogSettings": {"destinationArn": "arn:aws:logs:us-east-1:1:log-group:/a"}});
    let level = |level: &str| json!({"defaultRouteSettings": {"loggingLevel": level}});
    let message = "CloudWatch Logs role ARN must be set in account settings to enable logging";
    for refused in [log.clone(), level("INFO")] {
        assert_eq!(change(refused).await, (400, message.to_owned()));
    }
    assert_eq!(change(level("OFF")).await.0, 200);

    let (status, refused) = stand.log_role("arn:aws:iam::123456789012:role/unknown").await;
    assert_eq!(status, 400, "{refused}");
    let (status, _) = stand
        .manage(
            "PATCH",
            "/account",
            json!({"patchOperations": [
        {"op": "replace", "path": "/throttle/rateLimit", "value": "1"}]}),
        )
        .await;
    assert_eq!(status, 400);
    assert_eq!(stand.manage("GET", "/account", Value::Null).await.1.get("cloudwatchRoleArn"), None);

    let open = Stand::start(|_, _| None).await;
    let role = "arn:aws:iam::123456789012:role/logs";
    assert_eq!(open.log_role(role).await.0, 200);
    assert_eq!(open.manage("GET", "/account", Value::Null).await.1["cloudwatchRoleArn"], role);
    let id = open.websocket_api().await;
    open.stage(&id, "live").await;
    open.change_stage(&id, "live", log).await;
    open.change_stage(&id, "live", level("INFO")).await;
    assert_eq!(open.log_role("").await.1.get("cloudwatchRoleArn"), None);
}

const FORMAT: &str = "$context.eventType $context.routeKey $context.status $context.integration.status \
                      $context.integrationStatus $context.error.message";

#[tokio::test]
async fn every_handshake_message_and_end_of_a_connection_leaves_a_line() {
    let api = websocket_api(false).await;
    api.stand.access_log(&api.id, "live", &format!("$context.connectionId {FORMAT}")).await;
    let (mut socket, connection) = api.connect().await;
    for message in ["a", "fail"] {
        socket.send(Message::text(message)).await.unwrap();
        text(&mut socket).await;
    }
    let limit = json!({"throttlingBurstLimit": 0, "throttlingRateLimit": 0.0});
    api.stand.change_stage(&api.id, "live", json!({"routeSettings": {"$default": limit}})).await;
    socket.send(Message::text("b")).await.unwrap();
    text(&mut socket).await;
    socket.close(None).await.unwrap();
    api.disconnected().await;
    let lines = lines_when(&api.stand, 5).await;
    let expected = [
        "CONNECT $connect 200 - - -",
        "MESSAGE $default 200 - - -",
        "MESSAGE $default 502 - - Internal server error",
        "MESSAGE $default 429 - - Too Many Requests",
        "DISCONNECT $disconnect 200 - - -",
    ];
    assert_eq!(lines, expected.map(|line| format!("{connection} {line}")));
}

#[tokio::test]
async fn what_is_refused_leaves_a_line_too() {
    let api = websocket_api(true).await;
    api.stand.access_log(&api.id, "live", FORMAT).await;
    for query in ["", "?token=bad", "?token=good&refuse=401", "?token=good&refuse=broken"] {
        refused_with(connect_async(format!("{}{query}", api.url)).await);
    }
    assert_eq!(
        api.stand.log_lines().await,
        [
            "CONNECT $connect 401 - - Unauthorized",
            "CONNECT $connect 403 - - User is not authorized to access this resource with an explicit deny in an \
             identity-based policy",
            "CONNECT $connect 401 - - -",
            "CONNECT $connect 502 - - Internal server error",
        ]
    );
}

/// The lines of the access log, once there are so many.
async fn lines_when(stand: &Stand, count: usize) -> Vec<String> {
    let lines = async {
        loop {
            let lines = stand.log_lines().await;
            if lines.len() == count {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, lines).await.unwrap()
}

/// A request of a client that hangs up once the function `work` is called. Returns when the gateway knows it.
async fn ask_and_go(stand: &Stand, path: &str, headers: &str) {
    let mut client = TcpStream::connect(stand.address).await.unwrap();
    let head = format!("GET /_aws/execute-api/{path} HTTP/1.1\r\nhost: emulator\r\n{headers}\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    stand.calls_when("work", 1).await;
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // It may end by a reset.
    drop(tokio::time::timeout(DEADLINE, client.read_to_end(&mut answer)).await.unwrap());
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_request_whose_client_hung_up_leaves_a_line_and_is_counted() {
    let stand = Stand::start(|_, _| None).await;
    let (id, _) = http_api(&stand, "GET /x", json!({}), json!({})).await;
    stand.access_log(&id, "$default", "$context.routeKey $context.status").await;
    ask_and_go(&stand, &format!("{id}/x"), "").await;
    stand.clock.advance(Duration::from_secs(30));
    assert_eq!(lines_when(&stand, 1).await, ["GET /x 503"]);
    let counted = stand.measured("Count", "Count", &[("ApiId", id.as_str()), ("Stage", "$default")]);
    assert_eq!(counted.unwrap().sum, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hung_up_before_it_was_connected_is_disconnected_as_lost() {
    let (connect, connecting) = mpsc::channel();
    let connecting = Mutex::new(connecting);
    let stand = Stand::start(move |_, event| {
        if event["requestContext"]["eventType"] == "CONNECT" {
            tokio::task::block_in_place(|| connecting.lock().unwrap().recv().unwrap());
        }
        answered(json!({"statusCode": 200}))
    })
    .await;
    let api = api_on(stand, false).await;
    api.stand.access_log(&api.id, "live", FORMAT).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    ask_and_go(&api.stand, &format!("{}/live", api.id), upgrade).await;
    connect.send(()).unwrap();
    assert_eq!(api.disconnected().await, (json!(1006), json!("Connection closed abnormally")));
    let lines = lines_when(&api.stand, 2).await;
    assert_eq!(lines, ["CONNECT $connect 200 - - -", "DISCONNECT $disconnect 200 - - -"]);
}

#[tokio::test]
async fn a_message_is_logged_with_the_status_that_its_function_answers() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 503}))).await;
    let id = stand.websocket_api().await;
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "echo", &target, json!({})).await;
    stand.stage(&id, "live").await;
    stand.access_log(&id, "live", FORMAT).await;
    let url = format!("ws://{}/_aws/execute-api/{id}/live", stand.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text(json!({"action": "echo"}).to_string())).await.unwrap();
    let lines = lines_when(&stand, 2).await;
    assert_eq!(lines, ["CONNECT $connect 200 - - -", "MESSAGE echo 503 - - -"]);
}

#[tokio::test]
async fn a_message_without_a_route_or_in_time_is_logged_as_refused() {
    let stand = Stand::start(|_, _| None).await;
    let id = stand.websocket_api().await;
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "hang", &target, json!({})).await;
    stand.stage(&id, "live").await;
    stand.access_log(&id, "live", FORMAT).await;
    let url = format!("ws://{}/_aws/execute-api/{id}/live", stand.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text("nowhere")).await.unwrap();
    text(&mut socket).await;
    socket.send(Message::text(json!({"action": "hang"}).to_string())).await.unwrap();
    stand.calls_when("work", 1).await;
    stand.clock.advance(Duration::from_secs(29));
    let frame: Value = serde_json::from_str(&text(&mut socket).await).unwrap();
    assert_eq!(frame["message"], "Endpoint request timed out");
    assert_eq!(
        stand.log_lines().await,
        [
            "CONNECT $connect 200 - - -",
            "MESSAGE - 403 - - Forbidden",
            "MESSAGE hang 504 - - Endpoint request timed out",
        ]
    );
}

#[tokio::test]
async fn every_call_of_connections_leaves_a_line_refused_ones_too() {
    let api = websocket_api(false).await;
    let (mut socket, connection) = api.connect().await;
    let variables = [
        "eventType",
        "routeKey",
        "status",
        "connectionId",
        "identity.caller",
        "identity.userArn",
        "identity.sourceIp",
        "integrationLatency",
        "integrationStatus",
        "connectedAt",
        "messageId",
        "messageDirection",
        "error.message",
        "error.responseType",
    ];
    let format = variables.map(|name| format!("$context.{name}")).join("|");
    api.stand.access_log(&api.id, "live", &format).await;

    let client = api.management();
    let post =
        |text: &str| client.post_to_connection().connection_id(&connection).data(Blob::new(text)).send();
    post("hi").await.unwrap();
    assert_eq!(text(&mut socket).await, "hi");
    client.get_connection().connection_id(&connection).send().await.unwrap();
    post(&"x".repeat(128 * 1024 + 1)).await.unwrap_err();
    let url = |id: &str| format!("{}/@connections/{id}", api.url.replace("ws://", "http://"));
    let signed = |request: reqwest::RequestBuilder| {
        request.header("authorization", "AWS4-HMAC-SHA256 Credential=x").send()
    };
    Client::new().post(url(&connection)).send().await.unwrap();
    signed(Client::new().put(url(&connection))).await.unwrap();
    signed(Client::new().post(url("a%0Ab"))).await.unwrap();
    client.delete_connection().connection_id(&connection).send().await.unwrap();
    post("late").await.unwrap_err();

    let lines = api.stand.log_lines().await;
    // The end of the connection has a line of its own, at some time.
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("DISCONNECT")).collect();
    let root = "123456789012|arn:aws:iam::123456789012:root";
    let it = connection.as_str();
    let expected = [
        ("POST /@connections/{connectionId}", 200, it, root),
        ("GET /@connections/{connectionId}", 200, it, root),
        ("POST /@connections/{connectionId}", 413, it, root),
        ("POST /@connections/{connectionId}", 403, it, "-|-"),
        ("-", 403, it, "-|-"),
        ("POST /@connections/{connectionId}", 400, "-", "-|-"),
        ("DELETE /@connections/{connectionId}", 204, it, root),
        ("POST /@connections/{connectionId}", 410, it, root),
    ];
    assert_eq!(
        lines,
        expected.map(|(route, status, connection, signer)| format!(
            "CONNECTION_API|{route}|{status}|{connection}|{signer}|127.0.0.1|0|-|-|-|-|-|-"
        ))
    );
}

#[tokio::test]
async fn the_line_of_a_call_of_connections_has_the_id_of_its_answer() {
    let api = websocket_api(false).await;
    let url = format!("{}/@connections/abc", api.url.replace("ws://", "http://"));
    let call = || Client::new().post(&url).header("user-agent", "caller").send();
    assert_eq!(call().await.unwrap().headers().get("x-amzn-requestid"), None);
    assert_eq!(api.stand.log_lines().await, [] as [String; 0]);

    let format = "$context.requestId $context.extendedRequestId $context.requestTimeEpoch \
                  $context.identity.userAgent $context.stage $context.apiId";
    api.stand.access_log(&api.id, "live", format).await;
    let answer = call().await.unwrap();
    let id = answer.headers()["x-amzn-requestid"].to_str().unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    let lines = api.stand.log_lines().await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let words: Vec<_> = line.split(' ').collect();
    let at = START_MS.to_string();
    assert_eq!((words[0], &words[2..]), (id, &[at.as_str(), "caller", "live", api.id.as_str()][..]));
    assert!(!words[1].is_empty() && words[1] != id, "{line}");
}

#[tokio::test]
async fn a_line_has_what_the_authorizer_said_and_why_it_refused() {
    let api = websocket_api(true).await;
    let format = "$context.eventType $context.authorizer.principalId $context.authorizer.level \
                  $context.authorizer.error $context.error.responseType $context.error.messageString";
    api.stand.access_log(&api.id, "live", format).await;
    refused_with(connect_async(format!("{}?token=bad", api.url)).await);
    let (mut socket, _) = connect_async(format!("{}?token=good", api.url)).await.unwrap();
    socket.send(Message::text("a")).await.unwrap();
    text(&mut socket).await;
    socket.send(Message::text("fail")).await.unwrap();
    text(&mut socket).await;
    assert_eq!(
        api.stand.log_lines().await,
        [
            r#"CONNECT - - Forbidden ACCESS_DENIED "User is not authorized to access this resource with an explicit deny in an identity-based policy""#,
            r#"CONNECT ada 3 - - "-""#,
            r#"MESSAGE ada 3 - - "-""#,
            r#"MESSAGE ada 3 - INTEGRATION_FAILURE "Internal server error""#,
        ]
    );
}

#[tokio::test]
async fn a_format_that_aws_does_not_take_is_refused() {
    let stand = Stand::start(|_, _| None).await;
    let (http, _) = http_api(&stand, "GET /x", json!({}), json!({})).await;
    let websocket = stand.websocket_api().await;
    stand.stage(&websocket, "live").await;
    assert_eq!(stand.log_role("arn:aws:iam::123456789012:role/logs").await.0, 200);
    for (format, statuses) in [
        ("$context.requestId $context.status", [200, 200]),
        ("$context.status", [400, 400]),
        ("$context.requestId\n$context.status", [400, 400]),
        ("$context.requestId $context.nonsense", [400, 200]),
        ("", [200, 200]),
    ] {
        let log = json!({"destinationArn": "arn:aws:logs:us-east-1:1:log-group:/a", "format": format});
        for (stage, status) in [(&http, "$default"), (&websocket, "live")].into_iter().zip(statuses) {
            let path = format!("/v2/apis/{}/stages/{}", stage.0, stage.1);
            let change = json!({ "accessLogSettings": log });
            assert_eq!(stand.manage("PATCH", &path, change).await.0, status, "{format:?} {path}");
        }
    }
}
