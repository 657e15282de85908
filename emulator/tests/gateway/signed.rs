//! Routes that ask for a signature: who may invoke them, and what the function learns of who did.

use emulator::wire::{AwsRequest, Service};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Client;
use serde_json::{Value, json};

use crate::stand::{Options, Stand, answered};

const ROLE: &str = "arn:aws:iam::123456789012:role/caller";

async fn iam_call(api: &std::sync::Arc<dyn Service>, action: &str, parameters: &[(&str, &str)]) {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let parameters = parameters.iter().map(|(name, value)| format!("&{name}={}", encode(value)));
    let body = format!("Action={action}&Version=2010-05-08{}", parameters.collect::<String>());
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    let request = AwsRequest {
        method: Method::POST,
        path: "/".to_owned(),
        query: String::new(),
        headers,
        body: body.into(),
        service: "iam".to_owned(),
        region: "us-east-1".to_owned(),
        access_key_id: "AKIATEST".to_owned(),
    };
    let answer = api.handle(request).await;
    assert!(answer.status.is_success(), "{action}: {answer:?}");
}

fn signature(key: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

async fn ask(url: &str, path: &str, authorization: Option<String>) -> (u16, Value) {
    let mut request = Client::new().get(format!("{url}{path}"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test]
async fn only_who_signs_and_may_invoke_the_route_gets_through() {
    let options = Options { iam: true, ..Options::default() };
    let stand = Stand::with(options, |_, event| {
        answered(json!({"statusCode": 200, "body": event["requestContext"].to_string()}))
    })
    .await;
    emulator::engines::use_account(&stand.settings);
    let iam = emulator::engines::iam(&stand.settings);
    iam_call(
        &iam,
        "CreateRole",
        &[("RoleName", "caller"), ("AssumeRolePolicyDocument", r#"{"Statement":[]}"#)],
    )
    .await;
    let signed = json!({"authorizationType": "AWS_IAM"});
    let api = stand.create("/v2/apis", json!({"name": "a", "protocolType": "HTTP"}), "apiId").await;
    for (path, format) in [("open", "2.0"), ("shut", "2.0"), ("old", "1.0")] {
        let target = stand.integration(&api, "work", json!({"payloadFormatVersion": format})).await;
        stand.route(&api, &format!("GET /{path}/{{id}}"), &target, signed.clone()).await;
    }
    stand.stage(&api, "$default").await;
    let url = format!("http://{}/_aws/execute-api/{api}", stand.address);
    let allowed =
        |path: &str| format!("arn:aws:execute-api:us-east-1:123456789012:{api}/$default/GET/{path}/*");
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [allowed("open"), allowed("old")]},
    ]});
    let policy = policy.to_string();
    let put = [("RoleName", "caller"), ("PolicyName", "p"), ("PolicyDocument", policy.as_str())];
    iam_call(&iam, "PutRolePolicy", &put).await;
    let key = stand.settings.iam.issue(&stand.settings.random, ROLE, "f").access_key_id;

    let forbidden = (403, json!({"message": "Forbidden"}));
    assert_eq!(ask(&url, "/open/1", None).await, forbidden);
    assert_eq!(ask(&url, "/open/1", Some("Bearer x".to_owned())).await, forbidden);
    assert_eq!(
        ask(&url, "/open/1", Some(signature(&key, "sqs"))).await,
        forbidden,
        "signed for another service"
    );
    assert_eq!(ask(&url, "/shut/1", Some(signature(&key, "execute-api"))).await, forbidden);
    assert_eq!(stand.calls("work"), [] as [Value; 0]);

    let (status, context) = ask(&url, "/open/1", Some(signature(&key, "execute-api"))).await;
    assert_eq!(status, 200, "{context}");
    let iam = &context["authorizer"]["iam"];
    assert_eq!(iam["userArn"], "arn:aws:sts::123456789012:assumed-role/caller/f");
    assert_eq!((&iam["accessKey"], &iam["accountId"]), (&json!(key), &json!("123456789012")));
    assert!(iam["userId"].as_str().unwrap().ends_with(":f") && iam["callerId"] == iam["userId"], "{iam}");
    assert_eq!((&iam["cognitoIdentity"], &iam["principalOrgId"]), (&Value::Null, &Value::Null));

    let (status, context) = ask(&url, "/old/1", Some(signature(&key, "execute-api"))).await;
    assert_eq!(status, 200, "{context}");
    assert_eq!(context.get("authorizer"), None);
    assert_eq!(context["identity"]["userArn"], iam["userArn"]);

    let (status, context) = ask(&url, "/shut/1", Some(signature("AKIATEST", "execute-api"))).await;
    assert_eq!(status, 200, "the administrator may invoke everything");
    assert_eq!(context["authorizer"]["iam"]["userArn"], "arn:aws:iam::123456789012:root");
}

#[tokio::test]
async fn a_websocket_route_cannot_ask_for_a_signature() {
    let stand = Stand::start(|_, _| None).await;
    let api =
        json!({"name": "a", "protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.action"});
    let api = stand.create("/v2/apis", api, "apiId").await;
    let route = json!({"routeKey": "$connect", "authorizationType": "AWS_IAM"});
    let (status, answer) = stand.manage("POST", &format!("/v2/apis/{api}/routes"), route).await;
    assert_eq!(status, 400, "{answer}");
}
