//! `AWS/ApiGateway` metrics of both kinds of APIs.

use emulator::invoke::InvokeOutcome;
use futures_util::SinkExt;
use reqwest::Client;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::http::api as http_api;
use crate::stand::{Stand, answered};
use crate::websocket::{api as websocket_api, api_on, refused_with, text};

/// The sum of a count on a stage, and per route of a WebSocket API where a key is given.
fn sum(stand: &Stand, name: &str, api: &str, stage: &str, route: Option<&str>) -> Option<f64> {
    let mut dimensions = vec![("ApiId", api), ("Stage", stage)];
    dimensions.extend(route.map(|route| ("Route", route)));
    stand.measured(name, "Count", &dimensions).map(|set| set.sum)
}

/// The sum of a count on a route, by method and resource, of the stage `$default` of an HTTP API.
fn sum_of_route(stand: &Stand, name: &str, api: &str, (method, resource): (&str, &str)) -> Option<f64> {
    let dimensions = [("ApiId", api), ("Stage", "$default"), ("Method", method), ("Resource", resource)];
    stand.measured(name, "Count", &dimensions).map(|set| set.sum)
}

/// The names of all dimensions.
fn dimensions(stand: &Stand) -> Vec<String> {
    let metrics = stand.settings.metrics.list(0).into_iter();
    let mut names: Vec<String> = metrics.flat_map(|metric| metric.dimensions).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    names
}

fn no_dimension_is_empty(stand: &Stand) {
    for metric in stand.settings.metrics.list(0) {
        assert!(metric.dimensions.iter().all(|(_, value)| !value.is_empty()), "{metric:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_route_counts_for_its_stage_only() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = http_api(&stand, "GET /x", json!({}), json!({})).await;
    let detailed = json!({"defaultRouteSettings": {"detailedMetricsEnabled": true}});
    stand.change_stage(&id, "$default", detailed).await;
    let get = async |path: &str, header: &str| {
        let request = Client::new().get(format!("{url}{path}")).header("x-long", header);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/x", "short").await.0, 200);
    assert_eq!(get("/nowhere", "short").await.0, 404);
    let (status, body) = get("/x", &"x".repeat(10_240)).await;
    assert_eq!((status, body.as_str()), (431, r#"{"message":"Request Header Fields Too Large"}"#));
    assert_eq!(sum(&stand, "Count", &id, "$default", None), Some(3.0));
    assert_eq!(sum(&stand, "4xx", &id, "$default", None), Some(2.0));
    assert_eq!(sum_of_route(&stand, "Count", &id, ("GET", "/x")), Some(1.0));
    no_dimension_is_empty(&stand);
}

#[tokio::test]
async fn a_route_of_an_http_api_is_measured_by_its_method_and_its_path() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = http_api(&stand, "GET /x/{id}", json!({}), json!({})).await;
    let target = stand.integration(&id, "work", json!({})).await;
    for key in ["ANY /y/{proxy+}", "$default"] {
        stand.route(&id, key, &target, json!({})).await;
    }
    let detailed = json!({"defaultRouteSettings": {"detailedMetricsEnabled": true}});
    stand.change_stage(&id, "$default", detailed).await;
    for path in ["/x/1", "/x/2", "/y/1", "/z"] {
        assert_eq!(Client::new().get(format!("{url}{path}")).send().await.unwrap().status(), 200);
    }
    for (route, count) in
        [(("GET", "/x/{id}"), 2.0), (("ANY", "/y/{proxy+}"), 1.0), (("ANY", "$default"), 1.0)]
    {
        assert_eq!(sum_of_route(&stand, "Count", &id, route), Some(count), "{route:?}");
    }
    assert_eq!(dimensions(&stand), ["ApiId", "Method", "Resource", "Stage"]);
}

#[tokio::test]
async fn a_route_of_a_websocket_api_is_measured_by_its_key() {
    let api = websocket_api(false).await;
    let detailed = json!({"defaultRouteSettings": {"detailedMetricsEnabled": true}});
    api.stand.change_stage(&api.id, "live", detailed).await;
    let (_socket, _) = api.connect().await;
    assert_eq!(sum(&api.stand, "ConnectCount", &api.id, "live", Some("$connect")), Some(1.0));
    assert_eq!(dimensions(&api.stand), ["ApiId", "Route", "Stage"]);
}

#[tokio::test]
async fn handshakes_and_messages_are_counted_by_where_they_end() {
    let api = websocket_api(false).await;
    let (mut socket, _) = api.connect().await;
    assert_eq!(refused_with(connect_async(format!("{}?refuse=401", api.url)).await), 401);
    assert_eq!(refused_with(connect_async(format!("{}?refuse=broken", api.url)).await), 502);
    for message in ["fine", "fail"] {
        socket.send(Message::text(message)).await.unwrap();
        text(&mut socket).await;
    }
    let sum = |name| sum(&api.stand, name, &api.id, "live", None);
    assert_eq!(sum("ConnectCount"), Some(3.0), "each was sent to the function");
    assert_eq!(sum("ClientError"), Some(1.0), "the function's 401");
    assert_eq!(sum("ExecutionError"), Some(2.0), "no answer that means anything");
    assert_eq!(sum("IntegrationError"), Some(0.0));
    assert_eq!(sum("MessageCount"), Some(5.0), "handshakes are messages too");
    let dimensions = [("ApiId", api.id.as_str()), ("Stage", "live")];
    let latency = api.stand.measured("IntegrationLatency", "Milliseconds", &dimensions).unwrap();
    assert_eq!(latency.count, 5.0, "three handshakes, two messages");
}

#[tokio::test]
async fn what_is_refused_before_the_function_is_a_client_error() {
    let guarded = websocket_api(true).await;
    assert_eq!(refused_with(connect_async(&guarded.url).await), 401);
    let sum_of = |name| sum(&guarded.stand, name, &guarded.id, "live", None);
    assert_eq!((sum_of("ClientError"), sum_of("ConnectCount")), (Some(1.0), None));

    let stand = Stand::start(|_, _| None).await;
    let id = stand.websocket_api().await;
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "ping", &target, json!({})).await;
    stand.stage(&id, "live").await;
    let detailed = json!({"defaultRouteSettings": {"detailedMetricsEnabled": true}});
    stand.change_stage(&id, "live", detailed).await;
    let url = format!("ws://{}/_aws/execute-api/{id}/live", stand.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text("nowhere")).await.unwrap();
    text(&mut socket).await;
    for (name, count) in [("MessageCount", 2.0), ("ClientError", 1.0), ("ConnectCount", 1.0)] {
        assert_eq!(sum(&stand, name, &id, "live", None), Some(count), "{name}");
    }
    no_dimension_is_empty(&stand);
}

#[tokio::test]
async fn what_a_function_answers_counts_by_its_status_and_an_end_is_a_message() {
    let stand = Stand::start(|_, event| match event["body"].as_str() {
        Some("503") => answered(json!({"statusCode": 503, "body": "later"})),
        Some("missing") => Some(InvokeOutcome::NotFound),
        _ => answered(json!({"statusCode": 200})),
    })
    .await;
    let api = api_on(stand, false).await;
    let (mut socket, _) = api.connect().await;
    for (n, message) in ["503", "missing"].into_iter().enumerate() {
        socket.send(Message::text(message)).await.unwrap();
        text(&mut socket).await;
        let sum = |name| sum(&api.stand, name, &api.id, "live", None);
        let errors = f64::from(u32::try_from(n + 1).unwrap());
        assert_eq!((sum("ExecutionError"), sum("IntegrationError")), (Some(errors), Some(0.0)), "{message}");
    }
    assert_eq!(sum(&api.stand, "MessageCount", &api.id, "live", None), Some(3.0));
    socket.close(None).await.unwrap();
    api.disconnected().await;
    assert_eq!(sum(&api.stand, "MessageCount", &api.id, "live", None), Some(4.0));
    assert_eq!(sum(&api.stand, "ConnectCount", &api.id, "live", None), Some(1.0));
}
