//! Parameter mappings of an HTTP API, as Terraform sets them.

use emulator::invoke::InvokeOutcome;
use reqwest::Client;
use serde_json::{Value, json};

use crate::http::api;
use crate::stand::{Stand, answered, uri};

/// What a function sees of `POST /live/tasks/7?a=1&b=2` with these mappings.
async fn seen(format: &str, mappings: Value) -> Value {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let integration = json!({"payloadFormatVersion": format, "requestParameters": mappings});
    let (id, url) = api(&stand, "POST /tasks/{id}", json!({}), integration).await;
    stand.stage(&id, "live").await;
    stand.change_stage(&id, "live", json!({"stageVariables": {"env": "test"}})).await;
    let answer = Client::new()
        .post(format!("{url}/live/tasks/7?a=1&b=2"))
        .header("content-type", "application/json")
        .header("x-twice", "1")
        .header("x-gone", "1")
        .body(r#"{"task":{"kind":"digest"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    stand.calls("work")[0].clone()
}

fn mappings() -> Value {
    json!({
        "append:header.x-twice": "$request.body.task.kind",
        "overwrite:header.x-where": "${stageVariables.env}:${context.stage}",
        "remove:header.x-gone": "''",
        "append:querystring.a": "$request.querystring.b",
        "remove:querystring.b": "''",
        "overwrite:path": "/v2$request.path",
    })
}

#[tokio::test]
async fn a_function_sees_the_request_as_its_integration_maps_it() {
    let event = seen("2.0", mappings()).await;
    assert_eq!(event["headers"]["x-twice"], "1,digest");
    assert_eq!(event["headers"]["x-where"], "test:live");
    assert!(event["headers"].get("x-gone").is_none());
    assert_eq!(event["rawQueryString"], "a=1&a=2");
    assert_eq!(event["queryStringParameters"], json!({"a": "1,2"}));
    assert_eq!(event["rawPath"], "/v2/tasks/7");
    assert_eq!(event["requestContext"]["http"]["path"], "/live/tasks/7", "as it came");
    assert_eq!(event["pathParameters"], json!({"id": "7"}));

    let event = seen("1.0", mappings()).await;
    assert_eq!(event["multiValueHeaders"]["x-twice"], json!(["1", "digest"]));
    assert_eq!(event["queryStringParameters"], json!({"a": "2"}));
    assert_eq!(event["path"], "/v2/tasks/7");
    assert_eq!(event["requestContext"]["path"], "/live/tasks/7");
}

#[tokio::test]
async fn a_client_sees_the_answer_as_the_integration_maps_its_status() {
    let stand = Stand::start(|_, event| match event["pathParameters"]["case"].as_str() {
        Some("fails") => {
            Some(InvokeOutcome::FunctionError { payload: bytes::Bytes::from_static(b"{}"), timed_out: false })
        }
        Some(status) => {
            let body = json!({"reason": "full"}).to_string();
            answered(json!({"statusCode": status, "headers": {"server": "f"}, "body": body}))
        }
        None => None,
    })
    .await;
    let mappings = json!({
        "500": {
            "overwrite:statuscode": "403",
            "append:header.reason": "$response.body.reason",
            "append:header.status": "$context.integration.status",
            "append:header.invocation": "$context.integration.requestId",
            "remove:header.server": "''",
        },
        "404": {"overwrite:header.server": "${response.header.server}/${context.routeKey}"},
    });
    let integration = json!({"payloadFormatVersion": "2.0", "responseParameters": mappings});
    let (id, url) = api(&stand, "GET /{case}", json!({}), integration).await;
    stand.access_log(&id, "$default", "$context.status $context.integration.status").await;
    let answer = async |case: &str| reqwest::get(format!("{url}/{case}")).await.unwrap();

    let mapped = answer("500").await;
    assert_eq!(mapped.status(), 403);
    assert_eq!(mapped.headers()["reason"], "full");
    assert_eq!(mapped.headers()["status"], "500");
    assert!(!mapped.headers().contains_key("server"));
    let invocation = stand.requests()[0].request_id.clone().unwrap();
    assert_eq!(mapped.headers()["invocation"], invocation.as_str());
    assert_eq!(mapped.text().await.unwrap(), r#"{"reason":"full"}"#);

    assert_eq!(answer("404").await.headers()["server"], "f/GET /{case}");
    assert_eq!(answer("200").await.headers()["server"], "f");
    let own = answer("fails").await;
    assert_eq!(own.status(), 500, "not the function's");
    assert!(!own.headers().contains_key("reason"));
    assert_eq!(stand.log_lines().await, ["403 500", "404 404", "200 200", "500 500"]);
}

#[tokio::test]
async fn a_change_merges_mappings_and_takes_away_what_it_sets_to_nothing() {
    let stand = Stand::start(|_, _| None).await;
    let mappings = json!({"append:header.a": "1", "remove:header.b": ""});
    let by_status = json!({"200": {"append:header.a": "1"}, "404": {"append:header.b": "2"}, "500": {}});
    let integration = json!({"requestParameters": mappings, "responseParameters": by_status});
    let (id, _) = api(&stand, "GET /x", json!({}), integration).await;
    let list = format!("/v2/apis/{id}/integrations");
    let made = stand.manage("GET", &list, Value::Null).await.1["items"][0].clone();
    assert_eq!(made["requestParameters"], json!({"append:header.a": "1", "remove:header.b": "''"}));
    assert_eq!(
        made["responseParameters"],
        json!({"200": {"append:header.a": "1"}, "404": {"append:header.b": "2"}})
    );
    let path = format!("{list}/{}", made["integrationId"].as_str().unwrap());
    let change = async |change: Value| stand.manage("PATCH", &path, change).await;

    let (_, changed) = change(json!({
        "requestParameters": {"append:header.a": "", "append:header.c": "3"},
        "responseParameters": {"200": {}, "404": {"remove:header.d": "''"}},
    }))
    .await;
    assert_eq!(changed["requestParameters"], json!({"append:header.c": "3", "remove:header.b": "''"}));
    assert_eq!(changed["responseParameters"], json!({"404": {"remove:header.d": "''"}}));

    let nothing = json!({
        "requestParameters": {"append:header.c": "", "remove:header.b": ""}, "responseParameters": {"404": {}},
    });
    for _ in 0..2 {
        let (status, changed) = change(nothing.clone()).await;
        assert_eq!(status, 200, "{changed}");
        assert!(changed.get("requestParameters").is_none() && changed.get("responseParameters").is_none());
    }
    for refused in [
        json!({"requestParameters": {"append:header.authorization": "x"}}),
        json!({"requestParameters": {"overwrite:path": "$nonsense"}}),
        json!({"responseParameters": {"200": {"append:querystring.a": "1"}}}),
        json!({"responseParameters": {"99": {"append:header.a": "1"}}}),
        json!({"responseParameters": "all"}),
    ] {
        assert_eq!(change(refused.clone()).await.0, 400, "{refused}");
    }
    let websocket = stand.websocket_api().await;
    let body = json!({"integrationType": "AWS_PROXY", "integrationUri": uri("work"),
        "requestParameters": {"append:header.a": "1"}});
    let path = format!("/v2/apis/{websocket}/integrations");
    assert_eq!(stand.manage("POST", &path, body).await.0, 400);
}
