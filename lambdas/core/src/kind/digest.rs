use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{AttemptError, Work};
use crate::idempotency::hex;
use crate::ports::Clock;

/// SHA-256 of a text: the real work.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    text: String,
}

impl Work for Digest {
    const NAME: &'static str = "digest";

    /// The largest message takes some milliseconds.
    const NEEDS_LEASE: bool = false;

    async fn run<C: Clock>(&self, _attempt: u32, _clock: &C) -> Result<Value, AttemptError> {
        Ok(json!({"sha256": hex(&Sha256::digest(&self.text))}))
    }
}
