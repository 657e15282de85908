//! What the gateway makes of a function's own CORS headers.

use reqwest::Client;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::http::api;
use crate::stand::{Stand, answered};

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
