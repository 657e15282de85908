//! Which tokens are believed.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use task_aws::env::{ConfigError, Env, required};
use task_core::Owner;

const ENV_TOKEN_ISSUER: &str = "TOKEN_ISSUER";
const ENV_TOKEN_AUDIENCE: &str = "TOKEN_AUDIENCE";
const ENV_TOKEN_JWKS: &str = "TOKEN_JWKS";

/// AWS: request line and headers of an HTTP API are together 10,240 bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

struct Key {
    id: Option<String>,
    decoding: DecodingKey,
    validation: Validation,
}

/// Verifies tokens against keys that were parsed once.
pub(crate) struct Verifier {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Verifier").field("keys", &self.keys.len()).finish()
    }
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
    #[error("no key has this id")]
    UnknownKey,
    #[error("the token's algorithm is not its key's")]
    WrongAlgorithm,
    #[error("signature or claims do not hold")]
    Invalid,
    #[error("the subject is not a possible owner")]
    BadSubject,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl Verifier {
    pub(crate) fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let issuer = required(env, ENV_TOKEN_ISSUER)?;
        let audience = required(env, ENV_TOKEN_AUDIENCE)?;
        let jwks = required(env, ENV_TOKEN_JWKS)?;
        let invalid = |expected: String| ConfigError::Invalid {
            key: ENV_TOKEN_JWKS,
            // Public keys: nothing in them is secret, but the text is long.
            value: jwks.chars().take(80).collect(),
            expected,
        };
        let set: JwkSet = serde_json::from_str(&jwks)
            .map_err(|error| invalid(format!("expected a JWKS document: {error}")))?;
        let keys: Vec<Key> = set
            .keys
            .iter()
            .map(|jwk| key(jwk, &issuer, &audience))
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("expected Ed25519 or RSA signature keys".into()))?;
        if keys.is_empty() {
            return Err(invalid("expected at least one key".into()));
        }
        Ok(Self { keys })
    }

    pub(crate) fn owner(&self, token: Option<&str>) -> Result<Owner, Disbelief> {
        let token = token.filter(|token| !token.is_empty()).ok_or(Disbelief::Missing)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Disbelief::TooLong);
        }
        // `none` is no algorithm of the library and fails here.
        let header = decode_header(token).map_err(|_| Disbelief::NotAToken)?;
        let key = self.key(header.kid.as_deref()).ok_or(Disbelief::UnknownKey)?;
        if !key.validation.algorithms.contains(&header.alg) {
            return Err(Disbelief::WrongAlgorithm);
        }
        let claims =
            decode::<Claims>(token, &key.decoding, &key.validation).map_err(|_| Disbelief::Invalid)?.claims;
        Owner::parse(claims.sub).map_err(|_| Disbelief::BadSubject)
    }

    /// By its id. A token without one is tried only where there is no choice.
    fn key(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.keys.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// The key decides the algorithm; what the token claims only has to agree. RFC 8725, section 3.1.
fn key(jwk: &Jwk, issuer: &str, audience: &str) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = 0;
    Some(Key { id: jwk.common.key_id.clone(), decoding: DecodingKey::from_jwk(jwk).ok()?, validation })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::{SystemTime, UNIX_EPOCH};

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    struct Issuer {
        encoding: EncodingKey,
        verifier: Verifier,
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
            self.verifier.owner(Some(&token))
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
            json!({"exp": null}),
        ] {
            assert_eq!(issuer.verdict(&changes), Err(Disbelief::Invalid), "{changes}");
        }
        assert_eq!(issuer.verdict(&json!({"sub": "a#1"})), Err(Disbelief::BadSubject));
    }

    #[test]
    fn unsigned_and_tampered_tokens_are_refused() {
        let issuer = issuer();
        let token = encode(&header(Algorithm::EdDSA), &claims(), &issuer.encoding).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let body = URL_SAFE_NO_PAD.encode(claims().to_string().replace("alice", "mallory"));
        let tampered = format!("{}.{body}.{}", parts[0], parts[2]);
        assert_eq!(issuer.verifier.owner(Some(&tampered)), Err(Disbelief::Invalid));
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#);
        let unsigned = format!("{none}.{}.", parts[1]);
        assert_eq!(issuer.verifier.owner(Some(&unsigned)), Err(Disbelief::NotAToken));
        assert_eq!(issuer.verifier.owner(None), Err(Disbelief::Missing));
    }

    /// The public key as an HMAC secret is the oldest trick against a verifier that believes the token's algorithm.
    #[test]
    fn the_public_key_is_no_shared_secret() {
        let issuer = issuer();
        let forged =
            encode(&header(Algorithm::HS256), &claims(), &EncodingKey::from_secret(&issuer.public)).unwrap();
        assert_eq!(issuer.verifier.owner(Some(&forged)), Err(Disbelief::WrongAlgorithm));
    }

    #[test]
    fn a_token_of_an_unknown_key_is_refused() {
        let issuer = issuer();
        let header = Header { kid: Some("k2".into()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims(), &issuer.encoding).unwrap();
        assert_eq!(issuer.verifier.owner(Some(&token)), Err(Disbelief::UnknownKey));
    }
}
