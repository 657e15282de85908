//! The keys that tokens are verified with: a document that was configured, or one that is fetched and kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;
use task_aws::fetch::{Fetch, FetchError};
use task_core::ports::Clock;
use task_core::{DurationMs, EpochMs, limits};

/// NIST SP 800-131A: RSA below 2,048 bits is disallowed.
const RSA_BYTES_MIN: usize = 256;

/// RFC 8032: a public key of Ed25519.
const ED25519_BYTES: usize = 32;

/// Age at which a fetched document is fetched again.
const FRESH: DurationMs = DurationMs::from_seconds(10 * 60);

/// Age beyond which a fetched document is believed no more, however often fetching has failed since: a key that the issuer
/// withdrew must not live on for ever.
const STALE_MAX: DurationMs = DurationMs::from_seconds(24 * 60 * 60);

/// Least time between two fetches. Anyone can make up key ids; none of them may turn us against the issuer.
const FETCH_EVERY_MIN: DurationMs = DurationMs::from_seconds(30);

/// The same while no document is believed: until there is one, every request is answered 500.
const FETCH_EVERY_MIN_WITHOUT_KEYS: DurationMs = DurationMs::from_seconds(2);

pub(crate) struct Key {
    id: Option<String>,
    pub(crate) algorithm: Algorithm,
    decoding: DecodingKey,
}

impl Key {
    pub(crate) fn has_signed(&self, message: &str, signature: &str) -> bool {
        let verdict = crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm);
        matches!(verdict, Ok(true))
    }

    /// Whether it is the one that a token asks for, and not only tried for want of another.
    pub(crate) fn is_named(&self, id: Option<&str>) -> bool {
        id.is_some() && self.id.as_deref() == id
    }
}

pub(crate) struct Keys(Vec<Key>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Keys").field(&self.0.len()).finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKeys {
    #[error("expected a JWKS document: {{\"keys\": [...]}}")]
    NotJwks,
    #[error("none of {0} keys is Ed25519 or RS256, of 2048 bits or more, and for signatures")]
    Unusable(usize),
    #[error("expected at most {} usable keys", limits::KEYS_MAX)]
    Count,
}

impl Keys {
    /// Keys that are not for us are passed over, also those whose kind is unknown. RFC 7517, section 5.
    pub(crate) fn of(document: &[u8]) -> Result<Self, InvalidKeys> {
        let all = documented(document)?;
        let usable: Vec<Key> = all.iter().filter_map(usable).collect();
        match usable.len() {
            0 => Err(InvalidKeys::Unusable(all.len())),
            1..=limits::KEYS_MAX => Ok(Self(usable)),
            _ => Err(InvalidKeys::Count),
        }
    }

    /// By its id. Without one, of the token or of the key, it is tried only where there is no choice.
    pub(crate) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.0.as_slice()) {
            (None, [only]) | (Some(_), [only @ Key { id: None, .. }]) => Some(only),
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, _) => None,
        }
    }
}

fn documented(document: &[u8]) -> Result<Vec<Value>, InvalidKeys> {
    let document: Value = serde_json::from_slice(document).map_err(|_| InvalidKeys::NotJwks)?;
    match document.get("keys") {
        Some(Value::Array(keys)) => Ok(keys.clone()),
        _ => Err(InvalidKeys::NotJwks),
    }
}

/// The key decides the algorithm; what a token claims only has to agree. RFC 8725, section 3.1.
fn usable(jwk: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    if !is_for_signatures(&jwk) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && bytes_of(&pair.x) == Some(ED25519_BYTES) =>
        {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::RSA(rsa) if bytes_of(&rsa.n) >= Some(RSA_BYTES_MIN) => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|declared| declared != name) {
        return None;
    }
    Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding: DecodingKey::from_jwk(&jwk).ok()? })
}

fn is_for_signatures(jwk: &Jwk) -> bool {
    let Jwk { common, .. } = jwk;
    common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify))
}

fn bytes_of(encoded: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(encoded).ok().map(|bytes| bytes.len())
}

/// Where a document comes from.
pub(crate) trait FetchJwks: Send + Sync {
    fn fetch(&self) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

impl FetchJwks for Fetch {
    async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        self.get().await
    }
}

#[derive(Default)]
struct Kept {
    keys: Option<(Arc<Keys>, EpochMs)>,
    asked_at: Option<EpochMs>,
    /// Whether the issuer gave no document of use when it was last asked: it may have keys by now that we do not know.
    is_behind: bool,
}

pub(crate) enum KeyRing<F, C> {
    Configured(Arc<Keys>),
    Fetched(Fetched<F, C>),
}

pub(crate) struct Fetched<F, C> {
    fetch: F,
    clock: C,
    kept: Mutex<Kept>,
}

impl<F: FetchJwks, C: Clock> KeyRing<F, C> {
    pub(crate) fn fetched(fetch: F, clock: C) -> Self {
        Self::Fetched(Fetched { fetch, clock, kept: Mutex::default() })
    }

    /// Keys among which that of `id` is, if there is one. `None` when that cannot be said: there are no keys to be had, or the
    /// id is not among those of a document that may be behind.
    pub(crate) async fn keys_for(&self, id: Option<&str>) -> Option<Arc<Keys>> {
        match self {
            Self::Configured(keys) => Some(Arc::clone(keys)),
            Self::Fetched(fetched) => fetched.keys_for(id).await,
        }
    }

    /// The same, after a key that was only tried for want of another has not signed: its issuer may have a new one.
    pub(crate) async fn keys_again(&self, id: Option<&str>) -> Option<Arc<Keys>> {
        match self {
            Self::Configured(keys) => Some(Arc::clone(keys)),
            Self::Fetched(fetched) => fetched.keys_again(id).await,
        }
    }
}

impl<F: FetchJwks, C: Clock> Fetched<F, C> {
    async fn keys_for(&self, id: Option<&str>) -> Option<Arc<Keys>> {
        let now = self.clock.now();
        let (keys, age) = self.believed(now).unzip();
        let is_known = keys.as_ref().is_some_and(|keys| keys.find(id).is_some());
        // An unknown id may be that of a new key: keys are rotated.
        let is_fresh = is_known && age.is_some_and(|age| age < FRESH);
        if !is_fresh && self.may_ask(now, keys.is_some()) {
            self.ask(now).await;
        }
        let (keys, _) = self.believed(now)?;
        // Else an honest client would be refused for a key that was new in the outage, and that refusal be kept.
        (keys.find(id).is_some() || !self.kept().is_behind).then_some(keys)
    }

    async fn keys_again(&self, id: Option<&str>) -> Option<Arc<Keys>> {
        let now = self.clock.now();
        if self.may_ask(now, true) {
            self.ask(now).await;
        }
        let (keys, _) = self.believed(now)?;
        let is_named = keys.find(id).is_some_and(|key| key.is_named(id));
        (is_named || !self.kept().is_behind).then_some(keys)
    }

    async fn ask(&self, now: EpochMs) {
        let fetched = self.fetch.fetch().await.map(|document| Keys::of(&document));
        let mut kept = self.kept();
        // Counted from its end: else a fetch that hangs for as long would be followed by the next at once.
        kept.asked_at = Some(self.clock.now());
        kept.is_behind = !matches!(fetched, Ok(Ok(_)));
        match fetched {
            Ok(Ok(keys)) => kept.keys = Some((Arc::new(keys), now)),
            Ok(Err(error)) => tracing::error!(%error, "the fetched key document is of no use"),
            Err(error) => tracing::error!(%error, "failed to fetch the key document"),
        }
    }

    fn believed(&self, now: EpochMs) -> Option<(Arc<Keys>, DurationMs)> {
        let kept = self.kept();
        let (keys, fetched_at) = kept.keys.as_ref()?;
        let age = now.since(*fetched_at);
        (age < STALE_MAX).then(|| (Arc::clone(keys), age))
    }

    fn may_ask(&self, now: EpochMs, has_keys: bool) -> bool {
        let every_min = if has_keys { FETCH_EVERY_MIN } else { FETCH_EVERY_MIN_WITHOUT_KEYS };
        let mut kept = self.kept();
        let may = kept.asked_at.is_none_or(|asked_at| now.since(asked_at) >= every_min);
        if may {
            kept.asked_at = Some(now);
        }
        may
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use task_core::testing::ManualClock;

    use super::*;

    /// Publishes one key, under an id that the test may change.
    struct Issuer<'a> {
        id: Mutex<&'static str>,
        is_up: Mutex<bool>,
        /// How long it takes to answer.
        takes: Mutex<DurationMs>,
        clock: &'a ManualClock,
        fetches: AtomicUsize,
    }

    impl FetchJwks for &Issuer<'_> {
        async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            self.clock.advance(*self.takes.lock().unwrap());
            if !*self.is_up.lock().unwrap() {
                return Err(FetchError::Status(503));
            }
            let id = Some(*self.id.lock().unwrap()).filter(|id| !id.is_empty());
            let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": id,
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
            let other = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": "AA", "y": "AA"});
            Ok(json!({"keys": [other, key, {"kty": "unheard-of"}]}).to_string().into_bytes())
        }
    }

    fn issuer(clock: &ManualClock) -> Issuer<'_> {
        let (id, is_up, takes) = (Mutex::new("k1"), Mutex::new(true), Mutex::new(DurationMs::ZERO));
        Issuer { id, is_up, takes, clock, fetches: AtomicUsize::new(0) }
    }

    struct Bench<'a> {
        ring: KeyRing<&'a Issuer<'a>, &'a ManualClock>,
        clock: &'a ManualClock,
    }

    impl Bench<'_> {
        /// Whether there are keys, and whether `id` is among them.
        fn ask(&self, id: &str) -> (bool, bool) {
            let keys = self.clock.block_on(self.ring.keys_for(Some(id)));
            (keys.is_some(), keys.is_some_and(|keys| keys.find(Some(id)).is_some()))
        }
    }

    fn with(test: impl FnOnce(&Issuer<'_>, &Bench<'_>)) {
        let clock = ManualClock::new(EpochMs(1_000_000));
        let issuer = issuer(&clock);
        let ring = KeyRing::fetched(&issuer, &clock);
        test(&issuer, &Bench { ring, clock: &clock });
    }

    #[test]
    fn a_document_is_fetched_once_while_it_is_fresh() {
        with(|issuer, bench| {
            for _ in 0..100 {
                assert_eq!(bench.ask("k1"), (true, true));
            }
            assert_eq!(issuer.fetches.load(Ordering::SeqCst), 1);
            bench.clock.advance(FRESH);
            assert_eq!(bench.ask("k1"), (true, true));
            assert_eq!(issuer.fetches.load(Ordering::SeqCst), 2);
        });
    }

    #[test]
    fn a_key_without_a_name_that_has_not_signed_is_looked_for_again() {
        with(|issuer, bench| {
            *issuer.id.lock().unwrap() = "";
            assert_eq!(bench.ask("k2"), (true, true), "there is no choice");
            *issuer.id.lock().unwrap() = "k2";
            let again = |id: &str| bench.clock.block_on(bench.ring.keys_again(Some(id)));
            let is_named = |id: &str| {
                again(id).is_some_and(|keys| keys.find(Some(id)).is_some_and(|key| key.is_named(Some(id))))
            };
            assert!(!is_named("k2"), "just fetched");
            bench.clock.advance(FETCH_EVERY_MIN);
            assert!(is_named("k2"));
            *issuer.is_up.lock().unwrap() = false;
            bench.clock.advance(FETCH_EVERY_MIN);
            assert!(is_named("k2") && again("k3").is_none(), "who knows which keys there are by now");
            assert_eq!(issuer.fetches.load(Ordering::SeqCst), 3);
        });
    }

    #[test]
    fn a_new_key_is_found_and_made_up_ids_do_not_turn_us_against_the_issuer() {
        with(|issuer, bench| {
            bench.ask("k1");
            *issuer.id.lock().unwrap() = "k2";
            bench.clock.advance(FETCH_EVERY_MIN);
            assert_eq!(bench.ask("k2"), (true, true));
            for _ in 0..1_000 {
                assert_eq!(bench.ask("made-up"), (true, false));
            }
            assert_eq!(issuer.fetches.load(Ordering::SeqCst), 2);
        });
    }

    #[test]
    fn while_the_issuer_is_down_known_keys_go_on_and_not_for_ever() {
        with(|issuer, bench| {
            bench.ask("k1");
            *issuer.is_up.lock().unwrap() = false;
            bench.clock.advance(FRESH);
            assert_eq!(bench.ask("k1"), (true, true));
            bench.clock.advance(STALE_MAX);
            assert_eq!(bench.ask("k1"), (false, false));
            *issuer.is_up.lock().unwrap() = true;
            bench.clock.advance(FETCH_EVERY_MIN_WITHOUT_KEYS);
            assert_eq!(bench.ask("k1"), (true, true), "with keys that are too old there are none");
        });
    }

    /// A refusal would be kept by API Gateway; that there are no keys is an error, which is not.
    #[test]
    fn an_unknown_id_is_refused_only_while_the_issuer_answers() {
        with(|issuer, bench| {
            bench.ask("k1");
            *issuer.id.lock().unwrap() = "k2";
            *issuer.is_up.lock().unwrap() = false;
            bench.clock.advance(FETCH_EVERY_MIN);
            assert_eq!(bench.ask("k2"), (false, false));
            assert_eq!(bench.ask("k2"), (false, false), "not asked again at once, and still not known");
            assert_eq!(bench.ask("k1"), (true, true), "what is known goes on");
            *issuer.is_up.lock().unwrap() = true;
            bench.clock.advance(FETCH_EVERY_MIN);
            assert_eq!(bench.ask("k2"), (true, true));
            assert_eq!(
                bench.ask("made-up"),
                (true, false),
                "a document that is not behind says that there is none"
            );
        });
    }

    #[test]
    fn without_any_document_there_are_no_keys_until_there_is_one_which_is_soon_asked_for() {
        with(|issuer, bench| {
            *issuer.is_up.lock().unwrap() = false;
            assert_eq!(bench.ask("k1"), (false, false));
            *issuer.is_up.lock().unwrap() = true;
            assert_eq!(bench.ask("k1"), (false, false), "not asked again at once");
            bench.clock.advance(FETCH_EVERY_MIN_WITHOUT_KEYS);
            assert_eq!(bench.ask("k1"), (true, true));
            *issuer.id.lock().unwrap() = "k2";
            bench.clock.advance(FETCH_EVERY_MIN_WITHOUT_KEYS);
            assert_eq!(bench.ask("k2"), (true, false), "whoever has keys asks less often");
        });
    }

    #[test]
    fn a_fetch_that_hangs_is_not_followed_by_the_next_at_once() {
        with(|issuer, bench| {
            *issuer.is_up.lock().unwrap() = false;
            *issuer.takes.lock().unwrap() = FETCH_EVERY_MIN_WITHOUT_KEYS;
            for _ in 0..100 {
                assert_eq!(bench.ask("k1"), (false, false));
            }
            assert_eq!(issuer.fetches.load(Ordering::SeqCst), 1);
        });
    }

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn keys(keys: &[Value]) -> Result<Keys, InvalidKeys> {
        Keys::of(json!({"keys": keys}).to_string().as_bytes())
    }

    fn changed(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn keys_that_are_not_for_us_are_passed_over_and_one_that_is_must_be_there() {
        let rsa = |letters: usize| json!({"kty": "RSA", "n": "A".repeat(letters), "e": "AQAB"});
        let others = [
            rsa(340),
            changed(rsa(342), "alg", "RSA-OAEP".into()),
            changed(ed25519(), "use", "enc".into()),
            changed(ed25519(), "key_ops", json!(["encrypt"])),
            changed(ed25519(), "alg", "ES256".into()),
            changed(ed25519(), "alg", 7.into()),
            changed(ed25519(), "x", "AAAA".into()),
            changed(ed25519(), "crv", "X25519".into()),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "unheard-of"}),
            json!("no key at all"),
        ];
        for other in &others {
            assert_eq!(keys(std::slice::from_ref(other)).err(), Some(InvalidKeys::Unusable(1)), "{other}");
        }
        for ours in [ed25519(), changed(ed25519(), "use", "sig".into()), rsa(342)] {
            let with_others: Vec<Value> = others.iter().cloned().chain([ours.clone()]).collect();
            assert_eq!(keys(&with_others).unwrap().0.len(), 1, "{ours}");
        }
        assert_eq!(
            keys(&others).unwrap_err().to_string().split(',').next(),
            Some("none of 11 keys is Ed25519 or RS256")
        );
    }

    #[test]
    fn a_document_has_at_least_one_key_and_not_too_many() {
        assert_eq!(keys(&[]).err(), Some(InvalidKeys::Unusable(0)));
        assert_eq!(keys(&vec![ed25519(); limits::KEYS_MAX]).err(), None);
        assert_eq!(keys(&vec![ed25519(); limits::KEYS_MAX + 1]).err(), Some(InvalidKeys::Count));
        assert_eq!(Keys::of(b"{").err(), Some(InvalidKeys::NotJwks));
        assert_eq!(Keys::of(b"[]").err(), Some(InvalidKeys::NotJwks));
    }

    /// An issuer that has one key may name it in its tokens alone.
    #[test]
    fn a_key_without_an_id_is_the_one_of_every_token_where_it_is_the_only_one() {
        let named = changed(ed25519(), "kid", "k1".into());
        let found = |all: &[Value], id: Option<&str>| keys(all).unwrap().find(id).is_some();
        assert!(found(&[ed25519()], Some("k1")) && found(&[ed25519()], None));
        assert!(found(std::slice::from_ref(&named), Some("k1")) && found(std::slice::from_ref(&named), None));
        assert!(!found(std::slice::from_ref(&named), Some("k2")));
        assert!(!found(&[named.clone(), ed25519()], Some("k2")) && !found(&[named, ed25519()], None));
    }
}
