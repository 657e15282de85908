//! Tokens that the authorizer of a stack with its own key pair accepts: EdDSA over Ed25519, RFC 8037.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

const PEM_LABEL: &str = "PRIVATE KEY";

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot generate an Ed25519 key pair")]
    Generate,
    #[error("cannot read {}", path.display())]
    Read { path: std::path::PathBuf, source: std::io::Error },
    #[error("the key is not PEM")]
    Pem(#[source] pem::PemError),
    #[error("the PEM block is {found:?}, not a PKCS#8 {PEM_LABEL:?}")]
    Label { found: String },
    #[error("the key is not an Ed25519 key in PKCS#8: {0}")]
    Key(aws_lc_rs::error::KeyRejected),
}

/// An Ed25519 key pair and its PKCS#8 form.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The private half never reaches a log.
        f.debug_struct("KeyPair").field("kid", &self.kid()).finish_non_exhaustive()
    }
}

impl KeyPair {
    pub fn generate() -> Result<Self, TokenError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| TokenError::Generate)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| TokenError::Generate)?;
        Ok(Self { pkcs8: pkcs8.as_ref().to_vec(), pair })
    }

    pub fn from_pem(text: &str) -> Result<Self, TokenError> {
        let block = pem::parse(text).map_err(TokenError::Pem)?;
        if block.tag() != PEM_LABEL {
            return Err(TokenError::Label { found: block.tag().to_owned() });
        }
        // OpenSSL and Terraform write PKCS#8 v1, which has no public key to check the private one against.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(block.contents()).map_err(TokenError::Key)?;
        Ok(Self { pair, pkcs8: block.into_contents() })
    }

    /// The private key, PKCS#8 in PEM: write it where only its owner can read.
    pub fn to_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new(PEM_LABEL, self.pkcs8.clone()), config)
    }

    /// The public half as the JWKS document that the authorizer takes.
    pub fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid(), "alg": "EdDSA", "use": "sig",
        }]})
    }

    /// The RFC 7638 thumbprint: the same key always has the same id, and another key never has it.
    pub fn kid(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }
}

/// Signs tokens for one issuer and audience.
#[derive(Debug)]
pub struct Minter {
    key: KeyPair,
    issuer: String,
    audience: String,
}

impl Minter {
    pub fn new(
        pem: &str,
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, TokenError> {
        Ok(Self { key: KeyPair::from_pem(pem)?, issuer: issuer.into(), audience: audience.into() })
    }

    /// A token for the owner `sub`, valid from now on for `ttl`.
    pub fn token(&self, sub: &str, ttl: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.key.kid()});
        let claims = json!({
            "iss": self.issuer, "aud": self.audience, "sub": sub,
            "iat": now.as_secs(), "exp": (now + ttl).as_secs(),
        });
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// What a token says of itself. Whether that is true is for the service to find out.
#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    /// Seconds since 1970; RFC 7519 allows fractions.
    exp: Option<f64>,
}

impl Claims {
    /// `None` of what is no JWT whose `sub` names an owner.
    pub(crate) fn of(token: &str) -> Option<Self> {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&claims).ok()
    }

    /// How long it is good for; `None` of one without an end.
    pub(crate) fn left(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = (self.exp? - now.as_secs_f64()).max(0.0);
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};

    const HOUR: Duration = Duration::from_secs(3600);

    fn claims_by_an_independent_reader(
        jwks: Value,
        token: &str,
    ) -> Result<Value, jsonwebtoken::errors::Error> {
        let keys: JwkSet = serde_json::from_value(jwks).unwrap();
        let kid = jsonwebtoken::decode_header(token)?.kid.unwrap();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&["issuer"]);
        validation.set_audience(&["audience"]);
        let key = DecodingKey::from_jwk(keys.find(&kid).expect("the token names a key of the document"))?;
        Ok(decode::<Value>(token, &key, &validation)?.claims)
    }

    #[test]
    fn a_token_verifies_against_the_jwks_of_its_key() {
        let key = KeyPair::generate().unwrap();
        let minter = Minter::new(&key.to_pem(), "issuer", "audience").unwrap();
        let claims = claims_by_an_independent_reader(key.jwks(), &minter.token("owner-1", HOUR)).unwrap();
        assert_eq!(claims["sub"], "owner-1");
    }

    #[test]
    fn a_token_of_another_key_does_not_verify() {
        let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut jwks = ours.jwks();
        jwks["keys"][0]["kid"] = json!(theirs.kid());
        let token = Minter::new(&theirs.to_pem(), "issuer", "audience").unwrap().token("owner-1", HOUR);
        assert!(claims_by_an_independent_reader(jwks, &token).is_err());
    }

    #[test]
    fn a_token_says_whose_it_is() {
        let subject = |token: &str| Claims::of(token).map(|claims| claims.sub);
        let key = KeyPair::generate().unwrap();
        let minter = Minter::new(&key.to_pem(), "issuer", "audience").unwrap();
        assert_eq!(subject(&minter.token("owner-1", HOUR)).as_deref(), Some("owner-1"));
        let of_nobody = format!("head.{}.signature", encode(&json!({"iss": "issuer"})));
        for token in ["", "nonsense", "a.b.c", of_nobody.as_str()] {
            assert_eq!(subject(token), None, "{token}");
        }
    }

    #[test]
    fn a_token_says_how_long_it_is_good_for() {
        let left = |claims: Value| Claims::of(&format!("head.{}.signature", encode(&claims))).unwrap().left();
        let key = KeyPair::generate().unwrap();
        let minter = Minter::new(&key.to_pem(), "issuer", "audience").unwrap();
        let minted = Claims::of(&minter.token("owner-1", HOUR)).unwrap().left().unwrap();
        assert!(minted <= HOUR && minted > HOUR - Duration::from_secs(60), "{minted:?}");
        assert_eq!(left(json!({"sub": "owner-1", "exp": 1_000_000.5})), Some(Duration::ZERO));
        assert_eq!(left(json!({"sub": "owner-1", "exp": 1e300})), Some(Duration::MAX));
        assert_eq!(left(json!({"sub": "owner-1"})), None);
    }

    #[test]
    fn a_key_survives_its_pem() {
        let key = KeyPair::generate().unwrap();
        let again = KeyPair::from_pem(&key.to_pem()).unwrap();
        assert_eq!((again.jwks(), again.kid()), (key.jwks(), key.kid()));
    }

    #[test]
    fn what_is_not_an_ed25519_key_is_refused_by_kind() {
        assert!(matches!(KeyPair::from_pem("nonsense"), Err(TokenError::Pem(_))));
        let public = pem::encode(&pem::Pem::new("PUBLIC KEY", vec![1, 2]));
        assert!(matches!(KeyPair::from_pem(&public), Err(TokenError::Label { .. })));
        let garbage = pem::encode(&pem::Pem::new(PEM_LABEL, vec![1, 2]));
        assert!(matches!(KeyPair::from_pem(&garbage), Err(TokenError::Key(_))));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = KeyPair::generate().unwrap();
        let secret = base64::engine::general_purpose::STANDARD.encode(&key.pkcs8);
        assert!(!format!("{key:?}").contains(&secret[20..]));
        assert_eq!(format!("{key:?}"), format!("KeyPair {{ kid: {:?}, .. }}", key.kid()));
    }
}
