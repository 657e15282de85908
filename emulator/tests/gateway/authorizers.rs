//! Lambda authorizers of HTTP and WebSocket APIs: both formats, what they may be asked by, and how they fail.

use std::time::Duration;

use emulator::invoke::InvokeOutcome;
use reqwest::Client;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;

use crate::stand::{DEADLINE, Stand, answered, handshake, uri};
use crate::websocket::{api_on, refused_with};

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
    let id = url.split('/').nth_back(1).unwrap();
    stand.access_log(id, "$default", "$context.error.responseType: $context.authorizer.error").await;
    let expected = (500, r#"{"message":"Internal Server Error"}"#.to_owned());
    for token in ["fails", "throttled", "nonsense"] {
        assert_eq!(get(&url, token).await, expected, "{token}");
    }
    assert_eq!(
        stand.log_lines().await,
        [
            "AUTHORIZER_FAILURE: The Lambda function returned the following error: Unhandled. Check your \
             Lambda function code.",
            "AUTHORIZER_FAILURE: Rate Exceeded.",
            "AUTHORIZER_CONFIGURATION_ERROR: The response from the Lambda function doesn't match the format \
             that API Gateway expects.",
        ]
    );
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

/// What the authorizer of a WebSocket API does, by the token.
fn judge(function: &str, event: &Value) -> Option<InvokeOutcome> {
    if function != "authorizer" {
        return answered(json!({"statusCode": 200}));
    }
    let policy = |statements: Value| {
        answered(json!({"context": {"level": 3},
            "policyDocument": {"Version": "2012-10-17", "Statement": statements}}))
    };
    let all = |effect: &str| json!([{"Effect": effect, "Action": "execute-api:Invoke", "Resource": "*"}]);
    let fails = |message: &str| {
        let payload = json!({"errorMessage": message}).to_string().into();
        Some(InvokeOutcome::FunctionError { payload, timed_out: false })
    };
    match event["queryStringParameters"]["token"].as_str().unwrap() {
        "good" => policy(all("Allow")),
        "denied" => policy(all("Deny")),
        "unnamed" => policy(json!([])),
        "undecided" => policy(all("Perhaps")),
        "simple" => answered(json!({"isAuthorized": true})),
        "unauthorized" => fails("Unauthorized"),
        _ => fails("no keys"),
    }
}

#[tokio::test]
async fn a_refused_handshake_has_the_words_of_aws_and_both_ids() {
    let api = api_on(Stand::start(judge).await, true).await;
    let because = "User is not authorized to access this resource";
    let denied = format!("{because} with an explicit deny in an identity-based policy");
    let unnamed = format!("{because} because no identity-based policy allows the execute-api:Invoke action");
    for (token, status, message) in [
        ("unauthorized", 401, "Unauthorized"),
        ("denied", 403, denied.as_str()),
        ("unnamed", 403, unnamed.as_str()),
        ("undecided", 500, ""),
        ("simple", 500, ""),
        ("fails", 500, "Internal server error"),
    ] {
        let answer = handshake(&format!("{}?token={token}", api.url)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{token}");
        assert_eq!(answer.headers()["content-type"], "application/json; charset=UTF-8");
        let request = answer.headers()["x-amz-apigw-id"].to_str().unwrap().to_owned();
        let asked = api.stand.calls("authorizer").pop().unwrap();
        let connection = asked["requestContext"]["connectionId"].as_str().unwrap().to_owned();
        let expected =
            format!(r#"{{"message": "{message}", "connectionId":"{connection}", "requestId":"{request}"}}"#);
        assert_eq!(answer.text().await.unwrap(), expected, "{token}");
    }
    let unasked = handshake(&api.url).send().await.unwrap();
    assert_eq!(unasked.status(), 401);
    let body = unasked.text().await.unwrap();
    assert!(body.starts_with(r#"{"message": "Unauthorized", "connectionId":""#), "{body}");
    assert_eq!(api.stand.calls("work"), [] as [Value; 0]);
}

#[tokio::test]
async fn a_policy_of_nobody_lets_a_connection_in() {
    let api = api_on(Stand::start(judge).await, true).await;
    assert_eq!(refused_with(connect_async(format!("{}?token=good", api.url)).await), 101);
    let seen = &api.stand.calls("work")[0]["requestContext"]["authorizer"];
    assert_eq!((&seen["level"], seen.get("principalId")), (&json!("3"), None));
}

#[tokio::test]
async fn a_websocket_api_keeps_no_answers_of_its_authorizer() {
    let stand = Stand::start(judge).await;
    let api = stand.websocket_api().await;
    let authorizer = stand.websocket_authorizer(&api).await;
    let authorizers = format!("/v2/apis/{api}/authorizers");
    let refused = (400, json!("AuthorizerResultTtlInSeconds cannot be set for WEBSOCKET protocol Apis."));
    for seconds in [0, 60] {
        let made = json!({"name": "b", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
            "authorizerResultTtlInSeconds": seconds});
        let change = json!({"authorizerResultTtlInSeconds": seconds});
        let (status, answer) = stand.manage("POST", &authorizers, made).await;
        assert_eq!((status, answer["message"].clone()), refused, "{seconds}");
        let (status, answer) = stand.manage("PATCH", &format!("{authorizers}/{authorizer}"), change).await;
        assert_eq!((status, answer["message"].clone()), refused, "{seconds}");
    }
}
