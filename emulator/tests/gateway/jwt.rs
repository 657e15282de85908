//! JWT authorizers against an issuer of the test: RSA only, issuer, audience, times and scopes.

use std::convert::Infallible;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stand::{START_MS, Stand, answered};

const EXPIRES: i64 = START_MS / 1_000 + 60;

/// Publishes one RSA key, beside one of a kind that nobody knows, and signs with it.
struct Issuer {
    url: String,
    key: KeyPair,
}

impl Issuer {
    async fn start() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // PKCS#1: a sequence of a modulus of 2048 bits (with its leading zero) and the exponent 65537.
        let public = key.public_key().as_ref().to_vec();
        let modulus = URL_SAFE_NO_PAD.encode(&public[9..265]);
        let keys = json!({"keys": [
            {"kty": "unheard-of", "kid": "k0"},
            {"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256", "n": modulus, "e": "AQAB"},
        ]});
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        tokio::spawn(publish(listener, discovery, keys));
        Self { url, key }
    }

    fn token(&self, header: Value, claims: Value) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn good(&self, change: Value) -> String {
        let mut claims =
            json!({"iss": self.url, "aud": "tasks", "sub": "u1", "exp": EXPIRES, "scope": "read"});
        claims.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        self.token(json!({"alg": "RS256", "kid": "k1"}), claims)
    }
}

async fn publish(listener: TcpListener, discovery: Value, keys: Value) {
    while let Ok((stream, _)) = listener.accept().await {
        let (discovery, keys) = (discovery.clone(), keys.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let body = if request.uri().path() == "/keys" { &keys } else { &discovery };
                let answer = hyper::Response::new(Full::new(Bytes::from(body.to_string())));
                async move { Ok::<_, Infallible>(answer) }
            });
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

/// An API with one route for everybody with a token, and one for those with the scope `write`.
async fn api(stand: &Stand, issuer: &str) -> String {
    let api = stand.create("/v2/apis", json!({"name": "a", "protocolType": "HTTP"}), "apiId").await;
    let target = stand.integration(&api, "echo", json!({"payloadFormatVersion": "2.0"})).await;
    let authorizer = json!({
        "name": "tokens", "authorizerType": "JWT", "identitySource": ["$request.header.Authorization"],
        "jwtConfiguration": {"issuer": issuer, "audience": ["tasks"]},
    });
    let id = stand.create(&format!("/v2/apis/{api}/authorizers"), authorizer, "authorizerId").await;
    let guarded = |scopes: Value| json!({"authorizationType": "JWT", "authorizerId": id, "authorizationScopes": scopes});
    stand.route(&api, "GET /tasks", &target, guarded(json!([]))).await;
    stand.route(&api, "POST /tasks", &target, guarded(json!(["write", "admin"]))).await;
    stand.stage(&api, "$default").await;
    api
}

async fn ask(stand: &Stand, api: &str, method: &str, token: Option<&str>) -> (u16, String, Value) {
    let url = format!("http://{}/_aws/execute-api/{api}/tasks", stand.address);
    let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (status, challenge.unwrap_or_default(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_token_of_the_issuer_is_let_through_with_its_claims_as_strings() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200, "body": "{}"}))).await;
    let issuer = Issuer::start().await;
    let api = api(&stand, &issuer.url).await;
    let token = issuer.good(json!({}));
    assert_eq!(ask(&stand, &api, "GET", Some(&format!("Bearer {token}"))).await.0, 200);
    assert_eq!(ask(&stand, &api, "GET", Some(&token)).await.0, 200, "the word Bearer may be left out");
    let event = &stand.calls("echo")[0];
    let seen = &event["requestContext"]["authorizer"]["jwt"];
    assert_eq!(seen["claims"]["sub"], "u1");
    assert_eq!(seen["claims"]["exp"], EXPIRES.to_string());
    assert_eq!(seen["scopes"], Value::Null);
}

#[tokio::test]
async fn every_other_token_is_refused_with_401_and_the_reason() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200, "body": "{}"}))).await;
    let issuer = Issuer::start().await;
    let other = Issuer::start().await;
    let api = api(&stand, &issuer.url).await;
    let claims = json!({"iss": issuer.url, "aud": "tasks", "sub": "u1", "exp": EXPIRES});
    let (status, challenge, body) = ask(&stand, &api, "GET", None).await;
    assert_eq!((status, challenge.as_str(), &body["message"]), (401, "Bearer", &json!("Unauthorized")));
    for (token, why) in [
        ("x.y.z".to_owned(), "the token is not valid"),
        (issuer.token(json!({"alg": "EdDSA", "kid": "k1"}), claims.clone()), "only RSA"),
        (issuer.token(json!({"alg": "RS256"}), claims.clone()), "key id"),
        (issuer.token(json!({"alg": "RS256", "kid": "k2"}), claims.clone()), "find the key"),
        (other.token(json!({"alg": "RS256", "kid": "k1"}), claims.clone()), "unable to verify"),
        (issuer.good(json!({"iss": "http://127.0.0.1:1"})), "issuer"),
        (issuer.good(json!({"aud": "others"})), "audience"),
        (issuer.good(json!({"exp": START_MS / 1_000})), "expired"),
        (issuer.good(json!({"nbf": EXPIRES})), "not valid yet"),
    ] {
        let (status, challenge, body) = ask(&stand, &api, "GET", Some(&token)).await;
        assert_eq!((status, &body["message"]), (401, &json!("Unauthorized")), "{why}");
        assert!(
            challenge.contains(r#"error="invalid_token""#) && challenge.contains(why),
            "{why}: {challenge}"
        );
    }
    assert!(stand.calls("echo").is_empty(), "the function was never asked");
}

#[tokio::test]
async fn a_token_without_one_of_the_routes_scopes_is_forbidden() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200, "body": "{}"}))).await;
    let issuer = Issuer::start().await;
    let api = api(&stand, &issuer.url).await;
    let (status, challenge, body) = ask(&stand, &api, "POST", Some(&issuer.good(json!({})))).await;
    assert_eq!((status, &body["message"]), (403, &json!("Forbidden")));
    assert!(challenge.contains(r#"scope="write admin" error="insufficient_scope""#), "{challenge}");
    assert_eq!(ask(&stand, &api, "POST", Some(&issuer.good(json!({"scope": "read write"})))).await.0, 200);
    let event = &stand.calls("echo")[0];
    assert_eq!(event["requestContext"]["authorizer"]["jwt"]["scopes"], json!(["write"]));
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_refused_when_the_authorizer_is_made() {
    let stand = Stand::start(|_, _| None).await;
    let api = stand.create("/v2/apis", json!({"name": "a", "protocolType": "HTTP"}), "apiId").await;
    for (issuer, source) in [
        ("https://issuer.example.com", "$request.header.Authorization"),
        ("http://127.0.0.1:1", "$context.path"),
    ] {
        let authorizer = json!({
            "name": "tokens", "authorizerType": "JWT", "identitySource": [source],
            "jwtConfiguration": {"issuer": issuer, "audience": ["tasks"]},
        });
        let path = format!("/v2/apis/{api}/authorizers");
        assert_eq!(stand.manage("POST", &path, authorizer).await.0, 400, "{issuer} {source}");
    }
}
