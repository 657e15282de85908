//! What every service needs to know about the emulated account.

use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use uuid::Uuid;

use crate::adversary::Adversary;
use crate::clock::Clock;
use crate::iam::Iam;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::repeatable;
use crate::store::Store;

/// The account, shared by all services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Settings {
    pub account_id: Arc<str>,
    pub region: Arc<str>,
    /// `http://127.0.0.1:PORT`, known because the listener is bound before the services are made.
    pub endpoint: Arc<str>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub logs: Logs,
    pub random: Random,
    /// Who may do what.
    pub iam: Iam,
    /// Off unless asked for.
    pub adversary: Adversary,
    /// In memory unless there is a data directory.
    pub store: Store,
}

#[cfg(test)]
impl Settings {
    /// What tests run in: an account in memory without policies, on a clock that only the hand moves.
    pub(crate) fn by_hand(start_ms: i64) -> (Self, Arc<crate::clock::ManualClock>) {
        let (clock, hand) = Clock::manual(start_ms);
        let metrics = Metrics::new(crate::metrics::SECONDS_KEPT, clock.clone());
        let settings = Self {
            account_id: "123456789012".into(),
            region: "us-east-1".into(),
            endpoint: "http://127.0.0.1:4566".into(),
            clock,
            metrics,
            logs: Logs::default(),
            random: Random::from_seed(7),
            iam: Iam::new(false),
            adversary: Adversary::default(),
            store: Store::default(),
        };
        (settings, hand)
    }
}

/// A seeded source of randomness, so that a run can be replayed from its seed.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<ChaCha12Rng>>);

impl Random {
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))))
    }

    /// Runs `f` with the generator: that of the call, if it is one that can be made again. A poisoned lock is still a sound
    /// generator.
    pub fn with<T>(&self, f: impl FnOnce(&mut ChaCha12Rng) -> T) -> T {
        match repeatable::with_random(f) {
            Ok(chosen) => chosen,
            Err(f) => f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// A seed for a source of its own.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.with(|random| random.random())
    }

    /// So many characters of an alphabet.
    #[must_use]
    pub fn text(&self, alphabet: &[u8], count: usize) -> String {
        self.with(|random| {
            (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
        })
    }

    /// As unique as any random UUID, and the same again for the same seed.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let bytes = self.with(|random| random.random::<[u8; 16]>());
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
