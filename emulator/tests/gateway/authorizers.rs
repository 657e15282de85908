//! Lambda authorizers of HTTP and WebSocket APIs: both formats, what they may be asked by, and how they fail.

use std::time::Duration;

use emulator::invoke::InvokeOutcome;
use reqwest::Client;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;

use crate::stand::{DEADLINE, Stand, answered, uri};
use crate::websocket::refused_with;

/// An HTTP API with `GET /guarded`, guarded by an authorizer with these settings. Gives its URL.
async fn guarded(stand: &Stand, integration_format: &str, settings: Value) -> String {
    let api = stand.create("/v2/apis", json!({"name": "tasks", "protocolType": "HTTP"}), "apiId").await;
    let mut authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "2.0", "identitySource": ["$request.header.Authorization"]});
    authorizer.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let id = stand.create(&format!("/v2/apis/{api}/authorizers"), authorizer, "authorizerId").await;
    let target = stand.integration(&api, "work", json!({"payloadFormatVersion": integration_format})).await;
    let guard = json!({"authorizationType": "CUSTOM", "authorizerId": id});
    stand.route(&api, "GET /guarded", &target, guard).await;
    stand.stage(&api, "$default").await;
    format!("http://{}/_aws/execute-api/{api}/guarded", stand.address)
}

async fn get(url: &str, token: &str) -> (u16, String) {
    let answer = Client::new().get(url).header("authorization", token).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn an_authorizer_that_fails_takes_too_long_or_makes_no_sense_is_an_internal_error() {
    let stand = Stand::start(|function, event| match (function, event["identitySource"][0].as_str()) {
        ("authorizer", Some("fails")) => {
            Some(InvokeOutcome::FunctionError { payload: bytes::Bytes::from_static(b"{}"), timed_out: false })
        }
        ("authorizer", Some("throttled")) => {
            Some(InvokeOutcome::Throttled { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" })
        }
        ("authorizer", Some("nonsense")) => answered(json!({"isAuthorized": "yes"})),
        ("authorizer", Some("hangs")) => None,
        _ => answered(json!({"statusCode": 200})),
    })
    .await;
    let url = guarded(&stand, "2.0", json!({"enableSimpleResponses": true})).await;
    let expected = (500, r#"{"message":"Internal Server Error"}"#.to_owned());
    for token in ["fails", "throttled", "nonsense"] {
        assert_eq!(get(&url, token).await, expected, "{token}");
    }
    let asked = stand.calls("authorizer").len();
    let hanging = tokio::spawn(async move { get(&url, "hangs").await });
    stand.calls_when("authorizer", asked + 1).await;
    stand.clock.advance(Duration::from_secs(10));
    assert_eq!(tokio::time::timeout(DEADLINE, hanging).await.unwrap().unwrap(), expected);
    assert_eq!(stand.calls("work"), [] as [Value; 0]);
}

#[tokio::test]
async fn a_policy_of_either_format_decides_and_its_context_reaches_the_function() {
    for format in ["1.0", "2.0"] {
        let stand = Stand::start(|function, event| {
            if function != "authorizer" {
                return answered(json!({"statusCode": 200}));
            }
            let arn = event.get("methodArn").or_else(|| event.get("routeArn")).unwrap();
            let is_good = event["headers"]["authorization"] == "good";
            let statement = json!({"Effect": if is_good { "Allow" } else { "Deny" },
                "Action": "execute-api:Invoke", "Resource": arn});
            answered(json!({"principalId": "ada", "context": {"level": 3},
                "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}))
        })
        .await;
        let url = guarded(&stand, format, json!({"authorizerPayloadFormatVersion": format})).await;
        assert_eq!(get(&url, "good").await.0, 200, "{format}");
        assert_eq!(get(&url, "bad").await, (403, r#"{"message":"Forbidden"}"#.to_owned()), "{format}");
        let asked = &stand.calls("authorizer")[0];
        assert_eq!((&asked["type"], &asked["version"]), (&json!("REQUEST"), &json!(format)));
        let seen = &stand.calls("work")[0]["requestContext"]["authorizer"];
        if format == "1.0" {
            assert_eq!(
                (&asked["identitySource"], &asked["authorizationToken"]),
                (&json!("good"), &json!("good"))
            );
            assert_eq!((&seen["principalId"], &seen["level"]), (&json!("ada"), &json!("3")), "as strings");
        } else {
            assert_eq!(asked["identitySource"], json!(["good"]));
            assert_eq!(*seen, json!({"lambda": {"level": 3}}));
        }
    }
}

#[tokio::test]
async fn a_request_may_be_known_by_its_context() {
    let stand = Stand::start(|function, _| match function {
        "authorizer" => answered(json!({"isAuthorized": true})),
        _ => answered(json!({"statusCode": 200})),
    })
    .await;
    let known = ["httpMethod", "routeKey", "stage", "protocol", "accountId", "identity.sourceIp"];
    let sources = known.map(|name| format!("$context.{name}"));
    let settings = json!({"enableSimpleResponses": true, "identitySource": sources});
    let url = guarded(&stand, "2.0", settings).await;
    assert_eq!(get(&url, "x").await.0, 200);
    assert_eq!(
        stand.calls("authorizer")[0]["identitySource"],
        json!(["GET", "GET /guarded", "$default", "HTTP/1.1", "123456789012", "127.0.0.1"])
    );
    let settings = json!({"enableSimpleResponses": true, "identitySource": ["$context.authorizer.sub"]});
    let url = guarded(&stand, "2.0", settings).await;
    assert_eq!(get(&url, "x").await, (401, r#"{"message":"Unauthorized"}"#.to_owned()), "not known yet");
    assert_eq!(stand.calls("authorizer").len(), 1);
}

#[tokio::test]
async fn a_handshake_may_be_known_by_its_context() {
    let stand = Stand::start(crate::websocket::work).await;
    for (source, status) in [("context.identity.sourceIp", 403), ("context.messageId", 401)] {
        let api = stand.websocket_api().await;
        let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
            "identitySource": [source]});
        let id = stand.create(&format!("/v2/apis/{api}/authorizers"), authorizer, "authorizerId").await;
        let target = stand.integration(&api, "work", json!({})).await;
        let guard = json!({"authorizationType": "CUSTOM", "authorizerId": id});
        stand.route(&api, "$connect", &target, guard).await;
        stand.stage(&api, "live").await;
        let url = format!("ws://{}/_aws/execute-api/{api}/live", stand.address);
        assert_eq!(refused_with(connect_async(url).await), status, "{source}");
    }
    assert_eq!(stand.calls("authorizer").len(), 1, "only the one that has a value is asked");
}
