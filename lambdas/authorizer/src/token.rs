//! Which tokens are believed.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use task_aws::env::{ConfigError, Env, required};
use task_aws::fetch::{Fetch, FetchLimits};
use task_aws::system::SystemClock;
use task_core::object::Object;
use task_core::ports::Clock;
use task_core::{Owner, limits};

use crate::keys::{FetchJwks, Key, KeyRing, Keys};

const ENV_TOKEN_ISSUER: &str = "TOKEN_ISSUER";
const ENV_TOKEN_AUDIENCE: &str = "TOKEN_AUDIENCE";
const ENV_TOKEN_JWKS: &str = "TOKEN_JWKS";
const ENV_TOKEN_JWKS_URL: &str = "TOKEN_JWKS_URL";

/// AWS: API Gateway waits 10 s for an authorizer, and Terraform gives it 5 s.
const JWKS_LIMITS: FetchLimits = FetchLimits { time: Duration::from_secs(2), bytes: 64 * 1024 };

/// How far an issuer's clock may be ahead of ours: a token is often used within the second that it is made in, and a refusal
/// would be kept for a minute. More would only honour tokens that are meant for later.
const NBF_LEEWAY_SECONDS: f64 = 5.0;

/// Verifies tokens against keys that were parsed once.
pub(crate) struct Verifier<F, C> {
    issuer: String,
    audience: String,
    keys: KeyRing<F, C>,
}

/// Why a token is not believed. For the log; the client learns only that it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disbelief {
    #[error("there is no token")]
    Missing,
    #[error("the token is too long")]
    TooLong,
    #[error("the token is not a JWT with a known algorithm")]
    NotAToken,
    #[error("the token's header demands an extension, and none is known here")]
    Critical,
    #[error("no key has this id")]
    UnknownKey,
    #[error("the token's algorithm is not its key's")]
    WrongAlgorithm,
    #[error("signature or claims do not hold")]
    Invalid,
    #[error("the subject is not a possible owner")]
    BadSubject,
    /// Not the token's fault.
    #[error("there are no keys to verify it with")]
    NoKeys,
}

/// What a header says that matters here. Ours and not the library's, which refuses a header with any parameter that it does not know
/// and that is no text. RFC 7515, section 4: "Any Header Parameter that is not understood MUST be ignored".
#[derive(Deserialize)]
struct JoseHeader {
    /// `none` is no algorithm of the library and fails here.
    alg: Algorithm,
    #[serde(default)]
    kid: Option<String>,
    /// Whatever it names, nothing of it is known. RFC 7515, section 4.1.11.
    #[serde(rename = "crit", default, deserialize_with = "is_there")]
    is_critical: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}

/// Moments are in seconds and may have fractions: NumericDate of RFC 7519.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: Audience,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
}

/// RFC 7519, section 4.1.3: one, or an array.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Several(several) => several.iter().any(|one| one == name),
        }
    }
}

/// A token in its parts: RFC 7515, section 7.1.
struct Parts<'a> {
    header: JoseHeader,
    claims: &'a str,
    /// Header and claims, as they were signed.
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { header: read(header)?, claims, signed, signature })
    }

    fn must_be_signed_by(&self, key: &Key) -> Result<(), Disbelief> {
        if self.header.alg != key.algorithm {
            return Err(Disbelief::WrongAlgorithm);
        }
        if key.has_signed(self.signed, self.signature) { Ok(()) } else { Err(Disbelief::Invalid) }
    }
}

fn read<T: DeserializeOwned>(part: &str) -> Option<T> {
    let text = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&text).ok().map(|Object(read)| read)
}

impl Verifier<Fetch, SystemClock> {
    pub(crate) fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let given = |key| env.get(key).filter(|value| !value.is_empty());
        let keys = match (given(ENV_TOKEN_JWKS), given(ENV_TOKEN_JWKS_URL)) {
            (Some(document), None) => configured(&document)?,
            (None, Some(url)) => KeyRing::fetched(Fetch::new(secure(url)?, JWKS_LIMITS), SystemClock),
            (None, None) => return Err(ConfigError::Missing { key: "one of TOKEN_JWKS and TOKEN_JWKS_URL" }),
            (Some(_), Some(value)) => {
                let expected = "expected it or TOKEN_JWKS, not both".into();
                return Err(ConfigError::Invalid { key: ENV_TOKEN_JWKS_URL, value, expected });
            }
        };
        let issuer = required(env, ENV_TOKEN_ISSUER)?;
        Ok(Self { issuer, audience: required(env, ENV_TOKEN_AUDIENCE)?, keys })
    }
}

fn configured<F, C>(document: &str) -> Result<KeyRing<F, C>, ConfigError> {
    let keys = Keys::of(document.as_bytes()).map_err(|error| ConfigError::Invalid {
        key: ENV_TOKEN_JWKS,
        // Public keys: nothing in them is secret, but the text is long.
        value: document.chars().take(80).collect(),
        expected: error.to_string(),
    })?;
    Ok(KeyRing::Configured(Arc::new(keys)))
}

/// Whoever can change the document on its way can make up owners. Within one machine nobody stands between.
fn secure(url: String) -> Result<String, ConfigError> {
    let is_local = ["http://127.0.0.1:", "http://localhost:"].iter().any(|local| url.starts_with(local));
    if url.starts_with("https://") || is_local {
        return Ok(url);
    }
    let expected = "expected a URL that begins with https://".into();
    Err(ConfigError::Invalid { key: ENV_TOKEN_JWKS_URL, value: url, expected })
}

impl<F: FetchJwks, C: Clock> Verifier<F, C> {
    pub(crate) async fn owner(&self, token: Option<&str>) -> Result<Owner, Disbelief> {
        let token = token.filter(|token| !token.is_empty()).ok_or(Disbelief::Missing)?;
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(Disbelief::TooLong);
        }
        let token = Parts::of(token).ok_or(Disbelief::NotAToken)?;
        if token.header.is_critical {
            return Err(Disbelief::Critical);
        }
        let id = token.header.kid.as_deref();
        let keys = self.keys.keys_for(id).await.ok_or(Disbelief::NoKeys)?;
        let key = keys.find(id).ok_or(Disbelief::UnknownKey)?;
        // Nothing of the claims is read before.
        if let Err(disbelief) = token.must_be_signed_by(key) {
            if key.is_named(id) {
                return Err(disbelief);
            }
            let keys = self.keys.keys_again(id).await.ok_or(Disbelief::NoKeys)?;
            token.must_be_signed_by(keys.find(id).ok_or(Disbelief::UnknownKey)?)?;
        }
        let claims =
            read::<Claims>(token.claims).filter(|claims| self.accepts(claims)).ok_or(Disbelief::Invalid)?;
        Owner::parse(claims.sub).map_err(|_| Disbelief::BadSubject)
    }

    /// There is no leeway for `exp`.
    fn accepts(&self, claims: &Claims) -> bool {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64();
        claims.iss == self.issuer
            && claims.aud.has(&self.audience)
            && now < claims.exp
            && claims.nbf.is_none_or(|not_before| not_before <= now + NBF_LEEWAY_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::SystemTime;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use jsonwebtoken::{EncodingKey, Header, crypto, encode};
    use serde_json::{Value, json};
    use task_aws::fetch::FetchError;
    use task_core::testing::ManualClock;
    use task_core::{DurationMs, EpochMs};

    use super::*;

    struct Issuer {
        encoding: EncodingKey,
        verifier: Verifier<Fetch, SystemClock>,
        public: Vec<u8>,
    }

    fn issuer() -> Issuer {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let jwks = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": URL_SAFE_NO_PAD.encode(&public),
        }]});
        let jwks: &'static str = Box::leak(jwks.to_string().into_boxed_str());
        let env = HashMap::from([
            (ENV_TOKEN_ISSUER, "https://issuer"),
            (ENV_TOKEN_AUDIENCE, "tasks"),
            (ENV_TOKEN_JWKS, jwks),
        ]);
        Issuer {
            encoding: EncodingKey::from_ed_der(document.as_ref()),
            verifier: Verifier::from_env(&env).unwrap(),
            public,
        }
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn claims() -> Value {
        json!({"sub": "alice", "iss": "https://issuer", "aud": "tasks", "exp": now() + 60})
    }

    fn header(algorithm: Algorithm) -> Header {
        Header { kid: Some("k1".into()), ..Header::new(algorithm) }
    }

    impl Issuer {
        fn verdict(&self, changes: &Value) -> Result<Owner, Disbelief> {
            let mut claims = claims();
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let token = encode(&header(Algorithm::EdDSA), &claims, &self.encoding).unwrap();
            self.believes(&token)
        }

        /// With a header that the library would not write.
        fn verdict_with(&self, header: &Value, claims: &str) -> Result<Owner, Disbelief> {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
            let signature = crypto::sign(signed.as_bytes(), &self.encoding, Algorithm::EdDSA).unwrap();
            self.believes(&format!("{signed}.{signature}"))
        }

        fn believes(&self, token: &str) -> Result<Owner, Disbelief> {
            ManualClock::new(EpochMs(0)).block_on(self.verifier.owner(Some(token)))
        }
    }

    #[test]
    fn a_valid_token_names_its_owner() {
        assert_eq!(issuer().verdict(&json!({})).unwrap().as_str(), "alice");
    }

    #[test]
    fn expired_early_and_misdirected_tokens_are_refused() {
        let issuer = issuer();
        for changes in [
            json!({"exp": now() - 1}),
            json!({"nbf": now() + 60}),
            json!({"aud": "others"}),
            json!({"iss": "https://other"}),
            json!({"aud": ["others"]}),
            json!({"aud": 7}),
            json!({"exp": null}),
            json!({"exp": now() as f64 - 0.5}),
            json!({"nbf": "now"}),
        ] {
            assert_eq!(issuer.verdict(&changes), Err(Disbelief::Invalid), "{changes}");
        }
        assert_eq!(issuer.verdict(&json!({"sub": "a#1"})), Err(Disbelief::BadSubject));
    }

    /// Its issuer's clock may be ahead, and what some issuers count in fractions is rounded up.
    #[test]
    fn a_token_that_was_made_just_now_is_believed() {
        let issuer = issuer();
        for not_before in [json!(now()), json!(now() + 2), json!(now() as f64 + 0.6)] {
            let verdict = issuer.verdict(&json!({"nbf": not_before}));
            assert_eq!(verdict.as_ref().map(Owner::as_str), Ok("alice"), "{not_before}");
        }
    }

    #[test]
    fn fractions_of_a_second_and_several_audiences_are_understood() {
        let issuer = issuer();
        for changes in [
            json!({"exp": now() as f64 + 60.25, "iat": now() as f64 - 0.75}),
            json!({"aud": ["others", "tasks"]}),
        ] {
            assert_eq!(issuer.verdict(&changes).as_ref().map(Owner::as_str), Ok("alice"), "{changes}");
        }
    }

    /// Issuers add what they like: RFC 7515, section 4.
    #[test]
    fn parameters_of_a_header_that_are_not_known_matter_only_when_they_are_critical() {
        let issuer = issuer();
        let claims = claims().to_string();
        let verdict = |more: Value| {
            let mut header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"});
            for (name, value) in more.as_object().unwrap() {
                header[name] = value.clone();
            }
            issuer.verdict_with(&header, &claims).map(|owner| owner.as_str().to_owned())
        };
        for more in [json!({"ver": 2}), json!({"ctx": {"a": [1]}}), json!({"x5c": null}), json!({"jwk": 7})] {
            assert_eq!(verdict(more.clone()), Ok("alice".to_owned()), "{more}");
        }
        for critical in [json!(["exp"]), json!([]), Value::Null] {
            assert_eq!(verdict(json!({"crit": critical})), Err(Disbelief::Critical), "{critical}");
        }
        assert_eq!(verdict(json!({"kid": 1})), Err(Disbelief::NotAToken));
    }

    #[test]
    fn a_header_and_claims_are_objects() {
        let issuer = issuer();
        assert_eq!(
            issuer.verdict_with(&json!(["EdDSA", "k1"]), &claims().to_string()),
            Err(Disbelief::NotAToken)
        );
        let listed = json!(["alice", "https://issuer", "tasks", now() + 60, null]).to_string();
        assert_eq!(
            issuer.verdict_with(&json!({"alg": "EdDSA", "kid": "k1"}), &listed),
            Err(Disbelief::Invalid)
        );
    }

    #[test]
    fn unsigned_and_tampered_tokens_are_refused() {
        let issuer = issuer();
        let token = encode(&header(Algorithm::EdDSA), &claims(), &issuer.encoding).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let body = URL_SAFE_NO_PAD.encode(claims().to_string().replace("alice", "mallory"));
        let tampered = format!("{}.{body}.{}", parts[0], parts[2]);
        assert_eq!(issuer.believes(&tampered), Err(Disbelief::Invalid));
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#);
        let unsigned = format!("{none}.{}.", parts[1]);
        assert_eq!(issuer.believes(&unsigned), Err(Disbelief::NotAToken));
        assert_eq!(issuer.believes(""), Err(Disbelief::Missing));
    }

    /// The public key as an HMAC secret is the oldest trick against a verifier that believes the token's algorithm.
    #[test]
    fn the_public_key_is_no_shared_secret() {
        let issuer = issuer();
        let forged =
            encode(&header(Algorithm::HS256), &claims(), &EncodingKey::from_secret(&issuer.public)).unwrap();
        assert_eq!(issuer.believes(&forged), Err(Disbelief::WrongAlgorithm));
    }

    #[test]
    fn a_token_of_an_unknown_key_is_refused() {
        let issuer = issuer();
        let header = Header { kid: Some("k2".into()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims(), &issuer.encoding).unwrap();
        assert_eq!(issuer.believes(&token), Err(Disbelief::UnknownKey));
    }

    /// What an issuer publishes, one key without a name at a time.
    struct Published<'a>(&'a Mutex<Vec<u8>>);

    impl FetchJwks for Published<'_> {
        async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
            let key = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&*self.0.lock().unwrap())});
            Ok(json!({"keys": [key]}).to_string().into_bytes())
        }
    }

    #[test]
    fn the_next_key_of_an_issuer_that_names_none_is_found() {
        let (old, new) = (issuer(), issuer());
        let (published, clock) = (Mutex::new(old.public.clone()), ManualClock::new(EpochMs(1_000_000)));
        let keys = KeyRing::fetched(Published(&published), &clock);
        let verifier = Verifier { issuer: "https://issuer".into(), audience: "tasks".into(), keys };
        let verdict = |of: &Issuer| {
            let token = encode(&header(Algorithm::EdDSA), &claims(), &of.encoding).unwrap();
            clock.block_on(verifier.owner(Some(&token))).map(|owner| owner.as_str().to_owned())
        };
        assert_eq!(verdict(&old), Ok("alice".to_owned()));
        published.lock().unwrap().clone_from(&new.public);
        clock.advance(DurationMs::from_seconds(30));
        assert_eq!(verdict(&new), Ok("alice".to_owned()));
        assert_eq!(verdict(&old), Err(Disbelief::Invalid));
    }

    /// RS256, signed by hand: the library wants RSA keys in a form that the generator does not give.
    #[test]
    fn rsa_tokens_are_believed_and_an_rsa_key_verifies_nothing_else() {
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        use aws_lc_rs::signature::RSA_PKCS1_SHA256;

        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        // RFC 8017: SEQUENCE { INTEGER n, INTEGER 65537 }, and n of 2,048 bits has a leading zero.
        let public = pair.public_key().as_ref().to_vec();
        let modulus = &public[9..public.len() - 5];
        assert_eq!(modulus.len(), 256);
        let jwks = json!({"keys": [{
            "kty": "RSA", "kid": "r1", "alg": "RS256", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(modulus),
        }]});
        let jwks: &'static str = Box::leak(jwks.to_string().into_boxed_str());
        let env = HashMap::from([
            (ENV_TOKEN_ISSUER, "https://issuer"),
            (ENV_TOKEN_AUDIENCE, "tasks"),
            (ENV_TOKEN_JWKS, jwks),
        ]);
        let verifier = Verifier::from_env(&env).unwrap();
        let token = |algorithm: &str| {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "kid": "r1"}).to_string());
            let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims().to_string()));
            let mut signature = vec![0; pair.public_modulus_len()];
            let random = aws_lc_rs::rand::SystemRandom::new();
            pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        let verdict =
            |algorithm: &str| ManualClock::new(EpochMs(0)).block_on(verifier.owner(Some(&token(algorithm))));
        assert_eq!(verdict("RS256").unwrap().as_str(), "alice");
        for other in ["RS512", "PS256", "HS256", "EdDSA"] {
            assert_eq!(verdict(other), Err(Disbelief::WrongAlgorithm), "{other}");
        }
        assert_eq!(verdict("none"), Err(Disbelief::NotAToken));
    }

    #[test]
    fn a_token_beyond_the_size_of_a_header_is_not_even_read() {
        let longest = "x".repeat(limits::TOKEN_BYTES_MAX);
        assert_eq!(issuer().believes(&longest), Err(Disbelief::NotAToken));
        assert_eq!(issuer().believes(&format!("{longest}x")), Err(Disbelief::TooLong));
    }

    #[test]
    fn keys_come_from_one_place_and_over_no_open_line() {
        let base = [(ENV_TOKEN_ISSUER, "i"), (ENV_TOKEN_AUDIENCE, "a")];
        let refused = |more: &[(&'static str, &'static str)]| {
            let env: HashMap<_, _> = base.iter().chain(more).copied().collect();
            Verifier::from_env(&env).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refused(&[]).contains("TOKEN_JWKS_URL"));
        assert!(refused(&[(ENV_TOKEN_JWKS_URL, "http://issuer/jwks")]).contains("https://"));
        assert!(
            refused(&[(ENV_TOKEN_JWKS_URL, "https://issuer/jwks"), (ENV_TOKEN_JWKS, "{}")])
                .contains("not both")
        );
        assert_eq!(refused(&[(ENV_TOKEN_JWKS_URL, "https://issuer/jwks")]), "");
    }
}
