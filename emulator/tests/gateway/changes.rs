//! What a change of an API leaves as it was: used-up limits and the answers of authorizers.

use reqwest::Client;
use serde_json::{Value, json};

use crate::http::api;
use crate::stand::{Stand, answered, uri};

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
