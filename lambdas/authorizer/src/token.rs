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
