//! `AWS/ApiGateway` metrics of both kinds of APIs.

use futures_util::SinkExt;
use reqwest::Client;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::http::api as http_api;
use crate::stand::{Stand, answered};
use crate::websocket::{api as websocket_api, refused_with, text};

/// The sum of a count on a stage, and per route where a key is given.
fn sum(stand: &Stand, name: &str, api: &str, stage: &str, route: Option<&str>) -> Option<f64> {
    let mut dimensions = vec![("ApiId", api), ("Stage", stage)];
    dimensions.extend(route.map(|route| ("Route", route)));
    stand.measured(name, "Count", &dimensions).map(|set| set.sum)
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
    assert_eq!(sum(&stand, "Count", &id, "$default", Some("GET /x")), Some(1.0));
    no_dimension_is_empty(&stand);
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
    assert_eq!(sum("IntegrationError"), Some(1.0), "the function's 401");
    assert_eq!(sum("ExecutionError"), Some(2.0), "no answer that means anything");
    assert_eq!(sum("ClientError"), None);
    assert_eq!(sum("MessageCount"), Some(2.0));
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
    for name in ["MessageCount", "ClientError", "ConnectCount"] {
        assert_eq!(sum(&stand, name, &id, "live", None), Some(1.0), "{name}");
    }
    no_dimension_is_empty(&stand);
}
