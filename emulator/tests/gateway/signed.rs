//! Routes that ask for a signature: who may invoke them, and what the function learns of who did.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use emulator::wire::{AwsRequest, Service};
use futures_util::SinkExt;
use http::{HeaderMap, HeaderValue, Method};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::http::api;
use crate::stand::{self, Options, START_MS, Stand, answered, uri};

const ROLE: &str = "arn:aws:iam::123456789012:role/caller";

/// A stand where policies hold, with one role. Its functions answer with the context of their event.
struct Account {
    stand: Stand,
    iam: Arc<dyn Service>,
}

impl Account {
    async fn start() -> Self {
        let options = Options { iam: true, ..Options::default() };
        let stand = Stand::with(options, |_, event| {
            answered(json!({"statusCode": 200, "body": event["requestContext"].to_string()}))
        })
        .await;
        emulator::engines::use_account(&stand.settings);
        let iam = emulator::engines::iam(&stand.settings);
        let trust = [("RoleName", "caller"), ("AssumeRolePolicyDocument", r#"{"Statement":[]}"#)];
        iam_call(&iam, "CreateRole", &trust).await;
        Self { stand, iam }
    }

    /// Lets the role invoke these routes and no others: `{api}/{stage}/{route}`.
    async fn allow(&self, routes: &[String]) {
        let arn = |route: &String| format!("arn:aws:execute-api:us-east-1:123456789012:{route}");
        let allowed = routes.iter().map(arn).collect::<Vec<_>>();
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": allowed},
        ]});
        let policy = policy.to_string();
        let put = [("RoleName", "caller"), ("PolicyName", "p"), ("PolicyDocument", policy.as_str())];
        iam_call(&self.iam, "PutRolePolicy", &put).await;
    }

    /// Credentials of a function `f` that runs as the role.
    fn credentials(&self) -> Credentials {
        let issued = self.stand.settings.iam.issue(&self.stand.settings.random, ROLE, "f");
        let token = Some(issued.session_token);
        Credentials::new(issued.access_key_id, issued.secret_access_key, token, None, "test")
    }

    /// A WebSocket API whose `$connect` asks for a signature: its id, and the URL of its stage.
    async fn push_api(&self) -> (String, String) {
        let api = self.stand.websocket_api().await;
        let target = self.stand.integration(&api, "work", json!({})).await;
        self.stand.route(&api, "$connect", &target, json!({"authorizationType": "AWS_IAM"})).await;
        self.stand.route(&api, "$default", &target, json!({})).await;
        self.stand.stage(&api, "live").await;
        let url = format!("ws://{}/_aws/execute-api/{api}/live", self.stand.address);
        (api, url)
    }
}

async fn iam_call(api: &Arc<dyn Service>, action: &str, parameters: &[(&str, &str)]) {
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

pub(crate) fn signature(key: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

async fn ask(url: &str, path: &str, authorization: Option<String>) -> (u16, Value) {
    answer(Client::new().get(format!("{url}{path}")), authorization).await
}

async fn answer(mut request: RequestBuilder, authorization: Option<String>) -> (u16, Value) {
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

/// What refuses a handshake.
async fn refusal(url: &str, authorization: Option<String>) -> (u16, Value) {
    answer(stand::handshake(url), authorization).await
}

/// A handshake as AWS's own signer signs it.
fn handshake(url: &str, credentials: &Credentials, location: SignatureLocation) -> Request {
    let identity = credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.signature_location = location;
    settings.expires_in = Some(Duration::from_secs(60));
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("execute-api")
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(START_MS.unsigned_abs()))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let signable = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(b"")).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let mut request = url.into_client_request().unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request
}

#[tokio::test]
async fn only_who_signs_and_may_invoke_the_route_gets_through() {
    let account = Account::start().await;
    let stand = &account.stand;
    let signed = json!({"authorizationType": "AWS_IAM"});
    let api = stand.create("/v2/apis", json!({"name": "a", "protocolType": "HTTP"}), "apiId").await;
    for (path, format) in [("open", "2.0"), ("shut", "2.0"), ("old", "1.0")] {
        let target = stand.integration(&api, "work", json!({"payloadFormatVersion": format})).await;
        stand.route(&api, &format!("GET /{path}/{{id}}"), &target, signed.clone()).await;
    }
    stand.stage(&api, "$default").await;
    let url = format!("http://{}/_aws/execute-api/{api}", stand.address);
    account.allow(&["open", "old"].map(|path| format!("{api}/$default/GET/{path}/*"))).await;
    let key = account.credentials().access_key_id().to_owned();

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
async fn a_signed_handshake_is_let_in_and_only_connect_learns_who_signed() {
    let account = Account::start().await;
    let (api, url) = account.push_api().await;
    account.allow(&[format!("{api}/live/$connect")]).await;
    let credentials = account.credentials();
    for (n, location) in [SignatureLocation::Headers, SignatureLocation::QueryParams].into_iter().enumerate()
    {
        let (mut socket, _) = connect_async(handshake(&url, &credentials, location)).await.unwrap();
        socket.send(Message::text("hi")).await.unwrap();
        let calls = account.stand.calls_when("work", 2 * n + 2).await;
        let [connect, message] = calls[2 * n..].iter().collect::<Vec<_>>()[..] else { panic!("{calls:?}") };

        assert_eq!(connect["requestContext"]["eventType"], "CONNECT");
        let identity = &connect["requestContext"]["identity"];
        assert_eq!(identity["userArn"], "arn:aws:sts::123456789012:assumed-role/caller/f");
        assert_eq!(identity["accountId"], "123456789012");
        assert_eq!(identity["accessKey"], credentials.access_key_id());
        let user = identity["user"].as_str().unwrap();
        assert!(user.ends_with(":f") && identity["caller"] == user, "{identity}");
        assert_eq!(identity["sourceIp"], "127.0.0.1");
        assert_eq!(connect["requestContext"].get("authorizer"), None);

        assert_eq!(message["requestContext"]["eventType"], "MESSAGE");
        assert_eq!(message["requestContext"]["identity"], json!({"sourceIp": "127.0.0.1"}));
    }
}

#[tokio::test]
async fn a_handshake_that_is_unsigned_broken_or_denied_is_refused() {
    let account = Account::start().await;
    let (open, url) = account.push_api().await;
    let (_, shut) = account.push_api().await;
    account.allow(&[format!("{open}/live/$connect")]).await;
    let key = account.credentials().access_key_id().to_owned();
    let unsigned_query =
        format!("{url}?X-Amz-Credential={key}%2F20260101%2Fus-east-1%2Fexecute-api%2Faws4_request");
    let signed = signature(&key, "execute-api");
    for (case, url, authorization) in [
        ("unsigned", &url, None),
        ("a token", &url, Some("Bearer x".to_owned())),
        ("another algorithm", &url, Some(signed.replace("AWS4-HMAC-SHA256", "Bearer"))),
        ("no credential", &url, Some("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0".to_owned())),
        ("a credential without a signature", &unsigned_query, None),
        ("another service", &url, Some(signature(&key, "sqs"))),
        ("another API", &shut, Some(signed.clone())),
    ] {
        assert_eq!(refusal(url, authorization).await, (403, json!({"message": "Forbidden"})), "{case}");
    }
    account.allow(&[format!("{open}/live/$default"), format!("{open}/test/$connect")]).await;
    assert_eq!(refusal(&url, Some(signed)).await.0, 403, "another route, another stage");
    assert_eq!(account.stand.calls("work"), [] as [Value; 0]);
}

/// Roles by name: whether API Gateway gets them, and whether they may invoke functions.
async fn roles(iam: &Arc<dyn Service>, roles: &[(&str, bool, bool)]) {
    for (name, is_trusting, may_invoke) in roles {
        let service = if *is_trusting { "apigateway.amazonaws.com" } else { "lambda.amazonaws.com" };
        let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Action": "sts:AssumeRole", "Principal": {"Service": service}}]});
        let trust = trust.to_string();
        let create = [("RoleName", *name), ("AssumeRolePolicyDocument", trust.as_str())];
        iam_call(iam, "CreateRole", &create).await;
        let effect = if *may_invoke { "Allow" } else { "Deny" };
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": effect,
            "Action": "lambda:InvokeFunction", "Resource": "*"}]});
        let policy = policy.to_string();
        let put = [("RoleName", *name), ("PolicyName", "p"), ("PolicyDocument", policy.as_str())];
        iam_call(iam, "PutRolePolicy", &put).await;
    }
}

#[tokio::test]
async fn who_may_not_call_connections_is_named_in_the_access_log() {
    let account = Account::start().await;
    let (api, url) = account.push_api().await;
    roles(&account.iam, &[("logs", true, false)]).await;
    let policy =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"}]}"#;
    let put = [("RoleName", "logs"), ("PolicyName", "w"), ("PolicyDocument", policy)];
    iam_call(&account.iam, "PutRolePolicy", &put).await;
    let format = "$context.status $context.identity.caller $context.identity.user $context.identity.userArn";
    account.stand.access_log(&api, "live", format).await;

    let authorization = signature(account.credentials().access_key_id(), "execute-api");
    let url = format!("{}/@connections/abcd", url.replace("ws://", "http://"));
    let (status, refusal) = answer(Client::new().post(url), Some(authorization)).await;
    assert_eq!(status, 403, "{refusal}");
    let lines = account.stand.log_lines().await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let [status, caller, user, arn] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!((status, arn), ("403", "arn:aws:sts::123456789012:assumed-role/caller/f"));
    assert!(caller.ends_with(":f") && user == caller, "{line}");
}

#[tokio::test]
async fn a_function_with_credentials_is_called_in_the_name_of_the_role_or_not_at_all() {
    let account = Account::start().await;
    let stand = &account.stand;
    let those = [("good", true, true), ("powerless", true, false), ("untrusting", false, true)];
    roles(&account.iam, &those).await;
    for (role, status) in [("good", 200), ("powerless", 500), ("untrusting", 500), ("missing", 500)] {
        let role = format!("arn:aws:iam::123456789012:role/{role}");
        let (id, url) = api(stand, "GET /x", json!({}), json!({"credentialsArn": role})).await;
        assert_eq!(ask(&url, "/x", None).await.0, status, "{role}");

        let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
            "authorizerPayloadFormatVersion": "2.0", "authorizerCredentialsArn": role});
        let authorizers = format!("/v2/apis/{id}/authorizers");
        let authorizer = stand.create(&authorizers, authorizer, "authorizerId").await;
        let target = stand.integration(&id, "work", json!({})).await;
        let guard = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
        stand.route(&id, "GET /guarded", &target, guard).await;
        assert_eq!(ask(&url, "/guarded", None).await.0, 500, "what it answers is no policy: {role}");
    }
    let called = stand.requests().into_iter().map(|call| (call.function, call.source.is_none()));
    let arn = |name: &str| format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
    assert_eq!(
        called.collect::<Vec<_>>(),
        [(arn("work"), true), (arn("authorizer"), true)],
        "by none but the good role, and not by the functions' policies"
    );
    // Nothing means none, as Terraform takes a role away.
    let (_, url) = api(stand, "GET /x", json!({}), json!({"credentialsArn": ""})).await;
    assert_eq!(ask(&url, "/x", None).await.0, 200);
    assert!(stand.requests().last().unwrap().source.is_some());
}

#[tokio::test]
async fn of_a_websocket_api_only_the_connect_route_is_guarded() {
    let stand = Stand::start(|_, _| None).await;
    let api = stand.websocket_api().await;
    let authorizer = stand.websocket_authorizer(&api).await;
    let routes = format!("/v2/apis/{api}/routes");
    let connect = stand
        .create(&routes, json!({"routeKey": "$connect", "authorizationType": "AWS_IAM"}), "routeId")
        .await;
    let other = stand.create(&routes, json!({"routeKey": "$default"}), "routeId").await;
    let (connect, other) = (format!("{routes}/{connect}"), format!("{routes}/{other}"));
    for (method, path, change) in [
        ("POST", &routes, json!({"routeKey": "$disconnect", "authorizationType": "AWS_IAM"})),
        (
            "POST",
            &routes,
            json!({"routeKey": "x", "authorizationType": "CUSTOM", "authorizerId": authorizer}),
        ),
        ("PATCH", &other, json!({"authorizationType": "AWS_IAM"})),
        ("PATCH", &connect, json!({"routeKey": "x"})),
    ] {
        let (status, answer) = stand.manage(method, path, change.clone()).await;
        let message = "Currently, authorization is restricted to the $connect route only";
        assert_eq!((status, &answer["message"]), (400, &json!(message)), "{method} {change}");
    }
}
