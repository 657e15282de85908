//! JWT authorizers: tokens verified against the keys that their issuer publishes.
//!
//! "Currently, only RSA-based algorithms are supported": a token signed with any other is refused, Ed25519 and ECDSA
//! included.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::identity::IdentitySource;
use super::model;

/// "API Gateway can cache the public key for two hours."
const KEYS_TTL_MS: i64 = 2 * 3_600_000;
/// A token whose key is unknown has the keys fetched anew, but not more often than this.
const REFETCH_AFTER_MS: i64 = 10_000;
/// "The JWKS endpoint must answer within 1,500 ms."
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_500);
/// AWS quota: "Maximum size of a JWKS: 150,000 bytes".
const DOCUMENT_BYTES_MAX: usize = 150_000;
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// What a route with a JWT authorizer asks of a token.
#[derive(Debug)]
pub(super) struct JwtAuthorizer {
    issuer: String,
    audience: Vec<String>,
    pub(super) source: IdentitySource,
}

/// The claims of a token that was let through.
#[derive(Debug)]
pub(super) struct Claims {
    claims: Map<String, Value>,
    /// Those of the route that the token has; None where the route asks for none.
    scopes: Option<Vec<String>>,
}

/// Why a token was not; what the client reads in `www-authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Missing,
    /// 401.
    Invalid(&'static str),
    /// 403.
    Scope(String),
}

impl Rejected {
    pub(super) const fn description(&self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Invalid(why) => Some(*why),
            Self::Scope(_) => Some("the token does not have any of the required scopes"),
        }
    }

    pub(super) fn challenge(&self) -> String {
        let (scopes, error) = match self {
            Self::Missing => return "Bearer".to_owned(),
            Self::Invalid(_) => ("", "invalid_token"),
            Self::Scope(scopes) => (scopes.as_str(), "insufficient_scope"),
        };
        let why = self.description().unwrap_or_default();
        format!(r#"Bearer scope="{scopes}" error="{error}" error_description="{why}""#)
    }
}

impl JwtAuthorizer {
    /// None for what the management API would have refused.
    pub(super) fn compile(settings: &model::Authorizer) -> Option<Self> {
        let configuration = settings.jwt_configuration.as_ref()?;
        Some(Self {
            issuer: configuration.issuer.clone()?,
            audience: configuration.audience.clone(),
            source: IdentitySource::parse(settings.identity_source.first()?)?,
        })
    }

    pub(super) async fn check(
        &self,
        keys: &KeyCache,
        token: Option<&str>,
        scopes: &[String],
        now_ms: i64,
    ) -> Result<Claims, Rejected> {
        let token =
            token.map(|text| text.strip_prefix("Bearer ").unwrap_or(text)).filter(|text| !text.is_empty());
        let token = token.ok_or(Rejected::Missing)?;
        let header = header_of(token).ok_or(Rejected::Invalid("the token is not valid"))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512) {
            return Err(Rejected::Invalid("unable to verify the token: only RSA signatures are supported"));
        }
        let kid = header.kid.ok_or(Rejected::Invalid("the token does not have a key id"))?;
        let key = keys.find(&self.issuer, &kid, now_ms).await?;
        let claims = verified(token, &key, header.alg)?;
        self.check_claims(&claims, now_ms)?;
        check_scopes(claims, scopes)
    }

    fn check_claims(&self, claims: &Map<String, Value>, now_ms: i64) -> Result<(), Rejected> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Rejected::Invalid("invalid issuer"));
        }
        // "API Gateway validates client_id only if aud is not present."
        let audience = claims.get("aud").or_else(|| claims.get("client_id"));
        let ours = |text: &str| self.audience.iter().any(|wanted| wanted == text);
        let fits = match audience {
            Some(Value::String(one)) => ours(one),
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).any(ours),
            _ => false,
        };
        if !fits {
            return Err(Rejected::Invalid("the token does not have a valid audience"));
        }
        let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
        // A time may have a fraction: RFC 7519, section 2.
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit 53 bits")]
        let now = now_ms as f64 / 1_000.0;
        if seconds("exp").is_none_or(|exp| exp <= now) {
            return Err(Rejected::Invalid("the token has expired"));
        }
        if seconds("nbf").is_some_and(|nbf| nbf > now) || seconds("iat").is_some_and(|iat| iat > now) {
            return Err(Rejected::Invalid("the token is not valid yet"));
        }
        Ok(())
    }
}

/// What a header says that matters here. The library's own refuses one with a parameter that it does not know and that is no
/// text; RFC 7515, section 4: "Any Header Parameter that is not understood MUST be ignored".
#[derive(Deserialize)]
struct JoseHeader {
    alg: Algorithm,
    kid: Option<String>,
}

fn header_of(token: &str) -> Option<JoseHeader> {
    part(token.split('.').next()?)
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// The claims, if the key signed them. They are looked at by us, on the emulator's clock.
fn verified(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Map<String, Value>, Rejected> {
    let claims = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let is_signed = crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or_default();
        let (_, claims) = signed.split_once('.').filter(|_| is_signed)?;
        part(claims)
    };
    claims().ok_or(Rejected::Invalid("unable to verify the token"))
}

/// "scope or scp – the token must include at least one of the scopes in the route's authorizationScopes."
fn check_scopes(claims: Map<String, Value>, wanted: &[String]) -> Result<Claims, Rejected> {
    if wanted.is_empty() {
        return Ok(Claims { claims, scopes: None });
    }
    let held = match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').map(str::to_owned).collect(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let found: Vec<String> = wanted.iter().filter(|scope| held.contains(scope)).cloned().collect();
    if found.is_empty() {
        Err(Rejected::Scope(wanted.join(" ")))
    } else {
        Ok(Claims { claims, scopes: Some(found) })
    }
}

impl Claims {
    /// One claim as text, for access logs.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.claims.get(name).map(text)
    }
}

/// `{"claims": {...}, "scopes": null | [...]}`.
impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("claims", &Texts(&self.claims))?;
        map.serialize_entry("scopes", &self.scopes)?;
        map.end()
    }
}

/// Claims whose values are all strings; a list reads `[a b]`.
#[derive(Debug)]
struct Texts<'a>(&'a Map<String, Value>);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, text(value))))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{}]", all.iter().map(text).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

/// The keys of issuers, fetched when a token first needs them.
#[derive(Debug, Default)]
pub(super) struct KeyCache(Mutex<HashMap<String, Fetched>>);

#[derive(Clone, Debug)]
struct Fetched {
    at_ms: i64,
    keys: Arc<JwkSet>,
}

impl KeyCache {
    async fn find(&self, issuer: &str, kid: &str, now_ms: i64) -> Result<DecodingKey, Rejected> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned();
        let usable = cached.filter(|fetched| {
            let age_ms = now_ms - fetched.at_ms;
            age_ms < KEYS_TTL_MS && (fetched.keys.find(kid).is_some() || age_ms < REFETCH_AFTER_MS)
        });
        let keys = match usable {
            Some(fetched) => fetched.keys,
            None => self.fetch(issuer, now_ms).await?,
        };
        let key = keys.find(kid).ok_or(Rejected::Invalid("unable to find the key of the token"))?;
        DecodingKey::from_jwk(key).map_err(|_| Rejected::Invalid("unable to verify the token"))
    }

    async fn fetch(&self, issuer: &str, now_ms: i64) -> Result<Arc<JwkSet>, Rejected> {
        let keys = tokio::time::timeout(FETCH_TIMEOUT, fetch(issuer)).await;
        let keys = keys.map_err(|_| "no answer in time".into()).and_then(|fetched| fetched);
        let keys = keys.map_err(|error: FetchError| {
            tracing::warn!(issuer, %error, "the keys of an issuer could not be fetched");
            Rejected::Invalid("unable to fetch the keys of the issuer")
        })?;
        let keys = Arc::new(keys);
        let fetched = Fetched { at_ms: now_ms, keys: Arc::clone(&keys) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(issuer.to_owned(), fetched);
        Ok(keys)
    }
}

type FetchError = Box<dyn std::error::Error + Send + Sync>;

async fn fetch(issuer: &str) -> Result<JwkSet, FetchError> {
    let discovery: Value = document(&format!("{}{DISCOVERY_PATH}", issuer.trim_end_matches('/'))).await?;
    let location = discovery["jwks_uri"].as_str().ok_or("the configuration has no jwks_uri")?;
    document(location).await.map(readable)
}

/// What an issuer publishes.
#[derive(Debug, Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// A key of a kind that is not understood does not spoil the others: RFC 7517, section 5.
fn readable(published: Published) -> JwkSet {
    let keys = published.keys.into_iter();
    JwkSet { keys: keys.filter_map(|key| serde_json::from_value(key).ok()).collect() }
}

async fn document<T: serde::de::DeserializeOwned>(url: &str) -> Result<T, FetchError> {
    if !is_loopback(url) {
        return Err(format!("{url} is not on this machine").into());
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(url.parse()?).await?;
    if !answer.status().is_success() {
        return Err(format!("{url} answered {}", answer.status()).into());
    }
    let body = Limited::new(answer.into_body(), DOCUMENT_BYTES_MAX).collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

/// The emulator speaks to nobody but this machine.
pub(super) fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    !authority.contains('@') && matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn authorizer() -> JwtAuthorizer {
        JwtAuthorizer {
            issuer: "http://127.0.0.1:1".to_owned(),
            audience: vec!["tasks".to_owned()],
            source: IdentitySource::Header("authorization".to_owned()),
        }
    }

    #[test]
    fn issuer_audience_and_times_must_all_hold() {
        let good =
            json!({"iss": "http://127.0.0.1:1", "aud": ["x", "tasks"], "exp": 100, "nbf": 10, "iat": 10});
        let with = |name: &str, value: Value| {
            let mut changed = claims(good.clone());
            changed.insert(name.to_owned(), value);
            authorizer().check_claims(&changed, 50_000)
        };
        assert_eq!(authorizer().check_claims(&claims(good.clone()), 50_000), Ok(()));
        for (name, value) in [
            ("iss", json!("http://127.0.0.1:2")),
            ("aud", json!("others")),
            ("exp", json!(50)),
            ("exp", Value::Null),
            ("nbf", json!(51)),
            ("iat", json!(51)),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name} {value}");
        }
        let at_half = |name: &str, value: f64| {
            let mut changed = claims(good.clone());
            changed.insert(name.to_owned(), json!(value));
            authorizer().check_claims(&changed, 50_500).is_ok()
        };
        for (name, before, after) in [("exp", false, true), ("nbf", true, false), ("iat", true, false)] {
            assert_eq!((at_half(name, 50.4), at_half(name, 50.6)), (before, after), "{name}");
        }
        let client = json!({"iss": "http://127.0.0.1:1", "client_id": "tasks", "exp": 100});
        assert_eq!(authorizer().check_claims(&claims(client), 50_000), Ok(()), "client_id stands in for aud");
    }

    #[test]
    fn what_is_not_known_of_a_header_is_passed_over() {
        let of = |header: Value| {
            header_of(&format!("{}.claims.signature", URL_SAFE_NO_PAD.encode(header.to_string())))
        };
        let header = of(json!({"alg": "RS256", "kid": "k1", "ver": 2, "jwk": {"kty": "RSA"}})).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, Some("k1")));
        assert!(of(json!({"alg": "none", "kid": "k1"})).is_none());
        assert!(of(json!({"kid": "k1"})).is_none());
    }

    #[test]
    fn a_key_of_an_unknown_kind_is_left_out() {
        let rsa = json!({"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256", "n": "AQAB", "e": "AQAB"});
        let keys = vec![json!({"kty": "unheard-of", "kid": "k0"}), json!(7), rsa];
        let set = readable(Published { keys });
        assert_eq!(set.keys.len(), 1);
        assert!(set.find("k1").is_some());
    }

    #[test]
    fn one_of_the_routes_scopes_is_enough_and_none_is_forbidden() {
        let wanted = ["read".to_owned(), "write".to_owned()];
        let found = check_scopes(claims(json!({"scope": "openid write"})), &wanted).unwrap();
        assert_eq!(found.scopes, Some(vec!["write".to_owned()]));
        let rejected = check_scopes(claims(json!({"scp": ["openid"]})), &wanted).unwrap_err();
        assert_eq!(rejected, Rejected::Scope("read write".to_owned()));
        assert!(rejected.challenge().contains(r#"error="insufficient_scope""#));
        assert_eq!(check_scopes(claims(json!({})), &[]).unwrap().scopes, None);
    }

    #[test]
    fn a_function_sees_every_claim_as_a_string() {
        let claims =
            check_scopes(claims(json!({"sub": "u", "exp": 1, "groups": ["a", "b"], "ok": true})), &[])
                .unwrap();
        let shown = serde_json::to_value(&claims).unwrap();
        let expected =
            json!({"claims": {"sub": "u", "exp": "1", "groups": "[a b]", "ok": "true"}, "scopes": null});
        assert_eq!(shown, expected);
    }

    #[test]
    fn only_this_machine_is_asked() {
        assert!(is_loopback("http://127.0.0.1:80/x"));
        assert!(is_loopback("http://localhost/x"));
        assert!(!is_loopback("http://127.0.0.1.example.com/x"));
        assert!(!is_loopback("https://issuer.example.com"));
        assert!(!is_loopback("http://127.0.0.1:80@evil.example.com/x"));
    }
}
