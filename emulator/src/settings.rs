//! What every service needs to know about the emulated account.

use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::clock::Clock;
use crate::iam::Iam;
use crate::logs::Logs;
use crate::metrics::Metrics;

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
}

/// A seeded source of randomness, so that a run can be replayed from its seed.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<ChaCha12Rng>>);

impl Random {
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))))
    }

    /// Runs `f` with the generator. A poisoned lock is still a sound generator.
    pub fn with<T>(&self, f: impl FnOnce(&mut ChaCha12Rng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
