//! Who answers a preflight, and what the gateway makes of a function's own CORS headers.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::http::api;
use crate::stand::{Stand, answered, uri};

/// The headers of CORS in the answer to a request from `origin`.
async fn answer(cors: Value, origin: Option<&str>) -> Vec<(String, String)> {
    let stand = Stand::start(|_, _| {
        let own = json!({"Access-Control-Allow-Origin": "https://evil.example",
            "Access-Control-Allow-Methods": "DELETE", "X-Count": "3"});
        answered(json!({"statusCode": 200, "headers": own}))
    })
    .await;
    let (id, url) = api(&stand, "GET /x", json!({}), json!({})).await;
    let change = json!({ "corsConfiguration": cors });
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{id}"), change).await.0, 200);
    let request = Client::new().get(format!("{url}/x"));
    let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-count"]), (200, &"3".parse().unwrap()));
    of_cors(answer.headers())
}

fn of_cors(headers: &HeaderMap) -> Vec<(String, String)> {
    let all = headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    let owned = all.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut found: Vec<_> = owned.collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_headers_of_the_function_give_way_to_those_of_the_configuration() {
    let everybody = json!({"allowOrigins": ["*"], "exposeHeaders": ["x-count", "x-other"]});
    assert_eq!(
        answer(everybody.clone(), Some("https://app.example")).await,
        pairs(&[("access-control-allow-origin", "*"), ("access-control-expose-headers", "x-count,x-other")])
    );
    assert_eq!(answer(everybody, None).await, [], "nobody asked");

    let one = json!({"allowOrigins": ["https://app.example"], "allowCredentials": true});
    assert_eq!(
        answer(one.clone(), Some("https://app.example")).await,
        pairs(&[
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-origin", "https://app.example"),
        ])
    );
    assert_eq!(answer(one, Some("https://evil.example")).await, [], "not even what the function said");
}

/// An API that allows an origin to call it, with this route.
async fn allowing(stand: &Stand, key: &str) -> (String, String) {
    let (id, url) = api(stand, key, json!({}), json!({})).await;
    let cors = json!({"allowOrigins": ["https://app.example"], "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["authorization"], "exposeHeaders": ["x-count"], "maxAge": 60});
    let change = json!({ "corsConfiguration": cors });
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{id}"), change).await.0, 200);
    (id, url)
}

async fn preflight(url: &str) -> Response {
    let request = Client::new().request(Method::OPTIONS, url).header("origin", "https://app.example");
    request.header("access-control-request-method", "PUT").send().await.unwrap()
}

fn allowed() -> Vec<(String, String)> {
    pairs(&[
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-max-age", "60"),
    ])
}

#[tokio::test]
async fn a_preflight_that_no_route_takes_is_answered_by_the_gateway() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (_, url) = allowing(&stand, "GET /x").await;
    for path in ["x", "nowhere"] {
        let answer = preflight(&format!("{url}/{path}")).await;
        assert_eq!((answer.status().as_u16(), of_cors(answer.headers())), (204, allowed()), "{path}");
    }
    assert_eq!(stand.requests().len(), 0);
}

#[tokio::test]
async fn a_preflight_goes_to_the_route_that_takes_it_and_its_answer_says_what_is_configured() {
    for key in ["OPTIONS /x", "ANY /x", "ANY /{proxy+}", "$default"] {
        let stand = Stand::start(|_, event| {
            let own = json!({"Access-Control-Allow-Methods": "DELETE", "X-Method": event["httpMethod"]});
            answered(json!({"statusCode": 202, "headers": own}))
        })
        .await;
        let (_, url) = allowing(&stand, key).await;
        let answer = preflight(&format!("{url}/x")).await;
        assert_eq!((answer.status().as_u16(), of_cors(answer.headers())), (202, allowed()), "{key}");
        assert_eq!(answer.headers()["x-method"], "OPTIONS", "{key}");

        let plain = Client::new().request(Method::OPTIONS, format!("{url}/x"));
        let plain = plain.header("origin", "https://app.example").send().await.unwrap();
        assert_eq!((plain.status().as_u16(), of_cors(plain.headers())), (202, vec![]), "no preflight: {key}");
    }
}

#[tokio::test]
async fn a_preflight_shows_nothing_to_the_authorizer_of_the_route_that_takes_it() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = allowing(&stand, "OPTIONS /open/{proxy+}").await;
    let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "2.0", "identitySource": ["$request.header.Authorization"]});
    let authorizer = stand.create(&format!("/v2/apis/{id}/authorizers"), authorizer, "authorizerId").await;
    let target = stand.integration(&id, "work", json!({})).await;
    let guard = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
    for key in ["ANY /any", "ANY /open/{proxy+}", "GET /get", "$default"] {
        stand.route(&id, key, &target, guard.clone()).await;
    }
    for (path, status) in [("any", 401), ("open/x", 200), ("get", 401), ("else", 401)] {
        assert_eq!(preflight(&format!("{url}/{path}")).await.status().as_u16(), status, "{path}");
    }
    assert_eq!(stand.calls("work").len(), 1);
}
