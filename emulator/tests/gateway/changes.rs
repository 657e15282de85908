//! What a change of an API leaves as it was: used-up limits and the answers of authorizers.

use futures_util::SinkExt;
use reqwest::Client;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::http::api;
use crate::signed::signature;
use crate::stand::{Stand, answered, uri};

const NO_TYPE: &str = "Unable to update route. Authorizer type is invalid or null.";

async fn statuses(url: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(reqwest::get(url).await.unwrap().status().as_u16());
    }
    statuses
}

fn limit(burst: u32) -> Value {
    json!({"throttlingBurstLimit": burst, "throttlingRateLimit": 1.0})
}

#[tokio::test]
async fn a_route_has_a_limit_of_its_own_and_the_others_share_that_of_the_stage() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = api(&stand, "GET /a", json!({}), json!({})).await;
    let target = stand.integration(&id, "work", json!({})).await;
    for key in ["GET /b", "GET /c"] {
        stand.route(&id, key, &target, json!({})).await;
    }
    let limits = json!({"defaultRouteSettings": limit(3), "routeSettings": {"GET /a": limit(1)}});
    stand.change_stage(&id, "$default", limits).await;
    assert_eq!(statuses(&format!("{url}/a"), 2).await, [200, 429]);
    assert_eq!(statuses(&format!("{url}/b"), 2).await, [200, 200]);
    assert_eq!(statuses(&format!("{url}/c"), 2).await, [200, 429]);
}

#[tokio::test]
async fn what_was_used_of_a_limit_stays_used_until_the_limit_changes() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = api(&stand, "GET /a", json!({}), json!({})).await;
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "GET /b", &target, json!({})).await;
    let limits = json!({"defaultRouteSettings": limit(1), "routeSettings": {"GET /a": limit(2)}});
    stand.change_stage(&id, "$default", limits).await;
    let (a, b) = (format!("{url}/a"), format!("{url}/b"));
    assert_eq!((statuses(&a, 2).await, statuses(&b, 1).await), (vec![200, 200], vec![200]));

    stand.route(&id, "GET /new", &target, json!({})).await;
    stand.change_stage(&id, "$default", json!({"stageVariables": {"k": "v"}})).await;
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{id}"), json!({"description": "d"})).await.0, 200);
    assert_eq!((statuses(&a, 1).await, statuses(&b, 1).await), (vec![429], vec![429]));

    stand.change_stage(&id, "$default", json!({"routeSettings": {"GET /a": limit(3)}})).await;
    assert_eq!((statuses(&a, 1).await, statuses(&b, 1).await), (vec![200], vec![429]), "only what changed");
}

#[tokio::test]
async fn an_authorizer_is_asked_again_when_it_changes_and_not_when_something_else_does() {
    let stand = Stand::start(|function, _| match function {
        "authorizer" => answered(json!({"isAuthorized": true})),
        _ => answered(json!({"statusCode": 200})),
    })
    .await;
    let (id, url) = api(&stand, "GET /open", json!({}), json!({})).await;
    let authorizers = format!("/v2/apis/{id}/authorizers");
    let settings = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "2.0", "enableSimpleResponses": true,
        "identitySource": ["$request.header.Authorization"]});
    let authorizer = stand.create(&authorizers, settings, "authorizerId").await;
    let target = stand.integration(&id, "work", json!({})).await;
    let guard = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
    stand.route(&id, "GET /guarded", &target, guard).await;
    let asked = async || {
        let request = Client::new().get(format!("{url}/guarded")).header("authorization", "x");
        assert_eq!(request.send().await.unwrap().status(), 200);
        stand.calls("authorizer").len()
    };
    assert_eq!((asked().await, asked().await), (1, 1));
    stand.route(&id, "GET /new", &target, json!({})).await;
    assert_eq!(asked().await, 1);
    let change = json!({"authorizerResultTtlInSeconds": 60});
    assert_eq!(stand.manage("PATCH", &format!("{authorizers}/{authorizer}"), change).await.0, 200);
    assert_eq!((asked().await, asked().await), (2, 2));
}

#[tokio::test]
async fn a_route_that_changes_its_authorization_lets_go_of_its_authorizer() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let source = json!(["$request.header.Authorization"]);
    let request = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "2.0", "identitySource": source});
    let tokens = json!({"name": "a", "authorizerType": "JWT", "identitySource": source,
        "jwtConfiguration": {"issuer": "http://127.0.0.1:1", "audience": ["tasks"]}});
    let signed = signature("AKIATEST", "execute-api");
    for (kind, authorizer, to, authorization) in
        [("CUSTOM", request, "NONE", None), ("JWT", tokens, "AWS_IAM", Some(&signed))]
    {
        let (id, url) = api(&stand, "GET /open", json!({}), json!({})).await;
        let authorizers = format!("/v2/apis/{id}/authorizers");
        let authorizer = stand.create(&authorizers, authorizer, "authorizerId").await;
        let target = stand.integration(&id, "work", json!({})).await;
        let guard =
            json!({"authorizationType": kind, "authorizerId": authorizer, "authorizationScopes": ["s"]});
        let route = stand.route(&id, "GET /guarded", &target, guard).await;
        let status = async |authorization: Option<&String>| {
            let ask = Client::new().get(format!("{url}/guarded"));
            let ask = authorization.into_iter().fold(ask, |ask, value| ask.header("authorization", value));
            ask.send().await.unwrap().status().as_u16()
        };
        assert_eq!(status(None).await, 401, "{kind}");

        let change = json!({ "authorizationType": to });
        let (_, changed) = stand.manage("PATCH", &format!("/v2/apis/{id}/routes/{route}"), change).await;
        assert_eq!(changed["authorizationType"], to);
        assert!(changed.get("authorizerId").is_none() && changed.get("authorizationScopes").is_none());
        assert_eq!(status(authorization).await, 200, "{to}");
        let path = format!("{authorizers}/{authorizer}");
        assert_eq!(stand.manage("DELETE", &path, Value::Null).await.0, 204, "{to}");
    }
}

#[tokio::test]
async fn another_authorizer_of_a_route_is_named_with_its_type() {
    let stand = Stand::start(|_, _| None).await;
    let (id, _) = api(&stand, "GET /open", json!({}), json!({})).await;
    let mut made = Vec::new();
    for name in ["a", "b"] {
        let settings = json!({"name": name, "authorizerType": "JWT",
            "identitySource": ["$request.header.Authorization"],
            "jwtConfiguration": {"issuer": "http://127.0.0.1:1", "audience": ["tasks"]}});
        made.push(stand.create(&format!("/v2/apis/{id}/authorizers"), settings, "authorizerId").await);
    }
    let target = stand.integration(&id, "work", json!({})).await;
    let guard = json!({"authorizationType": "JWT", "authorizerId": made[0]});
    let route = stand.route(&id, "GET /guarded", &target, guard).await;
    let route = format!("/v2/apis/{id}/routes/{route}");
    let (status, answer) = stand.manage("PATCH", &route, json!({"authorizerId": made[1]})).await;
    assert_eq!((status, answer["message"].as_str()), (400, Some(NO_TYPE)));
    // As Terraform says it.
    let change = json!({"authorizerId": made[1], "authorizationType": "JWT"});
    let (status, answer) = stand.manage("PATCH", &route, change).await;
    assert_eq!((status, answer["authorizerId"].as_str()), (200, Some(made[1].as_str())));
}

#[tokio::test]
async fn a_change_of_the_api_itself_is_deployed_as_well() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let api = stand.websocket_api().await;
    let target = stand.integration(&api, "work", json!({})).await;
    for key in ["ping", "$default"] {
        stand.route(&api, key, &target, json!({})).await;
    }
    stand.stage(&api, "live").await;
    let change = json!({"routeSelectionExpression": "$request.body.kind"});
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{api}"), change).await.0, 200);
    let url = format!("ws://{}/_aws/execute-api/{api}/live", stand.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text(r#"{"kind":"ping"}"#)).await.unwrap();
    assert_eq!(stand.calls_when("work", 1).await[0]["requestContext"]["routeKey"], "ping");
}

#[tokio::test]
async fn the_variables_of_a_stage_say_which_function_is_called() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let api = stand.create("/v2/apis", json!({"name": "tasks", "protocolType": "HTTP"}), "apiId").await;
    let target = stand.integration(&api, "${stageVariables.fn}:${stageVariables.alias}", json!({})).await;
    stand.route(&api, "GET /x", &target, json!({})).await;
    for stage in ["blue", "green"] {
        stand.stage(&api, stage).await;
        stand.change_stage(&api, stage, json!({"stageVariables": {"fn": "work", "alias": stage}})).await;
    }
    let url = |stage: &str| format!("http://{}/_aws/execute-api/{api}/{stage}/x", stand.address);
    for stage in ["blue", "green"] {
        assert_eq!(reqwest::get(url(stage)).await.unwrap().status(), 200);
    }
    stand.change_stage(&api, "blue", json!({"stageVariables": {"alias": "red"}})).await;
    assert_eq!(reqwest::get(url("blue")).await.unwrap().status(), 200);
    let called = stand.requests().into_iter().map(|call| call.function).collect::<Vec<_>>();
    let expected = |alias: &str| format!("arn:aws:lambda:us-east-1:123456789012:function:work:{alias}");
    assert_eq!(called, ["blue", "green", "red"].map(expected));
}
