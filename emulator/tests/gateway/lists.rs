//! Lists in pages.

use serde_json::{Value, json};

use crate::stand::{Stand, uri};

fn ids(page: &Value, id: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item[id].as_str().unwrap().to_owned()).collect()
}

async fn page(stand: &Stand, list: &str, query: &str) -> Value {
    let (status, page) = stand.manage("GET", &format!("{list}?{query}"), Value::Null).await;
    assert_eq!(status, 200, "{list}?{query}: {page}");
    page
}

/// The ids of a list that is asked for two at a time.
async fn in_pages(stand: &Stand, list: &str, id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut query = "maxResults=2".to_owned();
    loop {
        let page = page(stand, list, &query).await;
        let shown = ids(&page, id);
        let token = page["nextToken"].as_str();
        assert!(shown.len() == 2 || token.is_none(), "{list}: {page}");
        found.extend(shown);
        let Some(token) = token else { return found };
        query = format!("maxResults=2&nextToken={token}");
    }
}

#[tokio::test]
async fn every_list_comes_in_pages_that_together_are_the_whole() {
    let stand = Stand::start(|_, _| None).await;
    let api = stand.websocket_api().await;
    let base = format!("/v2/apis/{api}");
    let target = stand.integration(&api, "work", json!({})).await;
    for n in ["a", "b", "c"] {
        stand.websocket_api().await;
        stand.integration(&api, "work", json!({})).await;
        stand.route(&api, n, &target, json!({})).await;
        stand.stage(&api, n).await;
        stand.create(&format!("{base}/deployments"), json!({}), "deploymentId").await;
        stand.create(&format!("{base}/models"), json!({"name": n}), "modelId").await;
        let authorizer = json!({"name": n, "authorizerType": "REQUEST", "authorizerUri": uri("a")});
        stand.create(&format!("{base}/authorizers"), authorizer, "authorizerId").await;
        let response = json!({"integrationResponseKey": n});
        let responses = format!("{base}/{target}/integrationresponses");
        stand.create(&responses, response, "integrationResponseId").await;
    }
    let responses = format!("{target}/integrationresponses");
    for (list, id) in [
        ("routes", "routeId"),
        ("integrations", "integrationId"),
        ("stages", "stageName"),
        ("deployments", "deploymentId"),
        ("models", "modelId"),
        ("authorizers", "authorizerId"),
        (responses.as_str(), "integrationResponseId"),
    ] {
        let list = format!("{base}/{list}");
        let whole = page(&stand, &list, "").await;
        assert!(ids(&whole, id).len() >= 3 && whole.get("nextToken").is_none(), "{list}: {whole}");
        assert_eq!(in_pages(&stand, &list, id).await, ids(&whole, id), "{list}");
    }
    let apis = in_pages(&stand, "/v2/apis", "apiId").await;
    assert_eq!((apis.len(), apis.contains(&api)), (4, true));
}

#[tokio::test]
async fn a_page_of_nothing_or_of_another_list_is_refused() {
    let stand = Stand::start(|_, _| None).await;
    for _ in 0..2 {
        stand.websocket_api().await;
    }
    let first = page(&stand, "/v2/apis", "maxResults=1").await;
    let token = first["nextToken"].as_str().unwrap();
    assert_eq!(
        page(&stand, "/v2/apis", &format!("nextToken={token}")).await["items"].as_array().unwrap().len(),
        1
    );
    let api = &ids(&first, "apiId")[0];
    for path in [
        "/v2/apis?maxResults=0".to_owned(),
        "/v2/apis?maxResults=two".to_owned(),
        "/v2/apis?nextToken=nonsense".to_owned(),
        format!("/v2/apis/{api}/routes?nextToken={token}"),
    ] {
        let (status, answer) = stand.manage("GET", &path, Value::Null).await;
        assert_eq!(status, 400, "{path}: {answer}");
    }
}
