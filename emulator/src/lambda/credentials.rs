//! The temporary credentials of functions: which access key belongs to which role.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rand::RngExt;

use crate::settings::Random;

const KEY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Shared between Lambda, which hands the keys out, and whoever must know the caller behind a key.
#[derive(Clone, Debug, Default)]
pub struct RoleCredentials(Arc<RwLock<HashMap<String, RoleSession>>>);

/// Who signs with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSession {
    pub role_arn: String,
    /// On AWS the session of a function is named after it.
    pub session_name: String,
}

impl RoleCredentials {
    /// A new `ASIA...` key for a session of `role_arn`.
    pub(crate) fn issue(&self, random: &Random, role_arn: &str, function: &str) -> String {
        let suffix: String = random.with(|random| {
            (0..16).map(|_| char::from(KEY_ALPHABET[random.random_range(0..KEY_ALPHABET.len())])).collect()
        });
        let key = format!("ASIA{suffix}");
        let session = RoleSession { role_arn: role_arn.to_owned(), session_name: function.to_owned() };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), session);
        key
    }

    pub(crate) fn revoke(&self, key: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The role session that signs with `access_key_id`, if it is one of a function.
    #[must_use]
    pub fn session(&self, access_key_id: &str) -> Option<RoleSession> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(access_key_id).cloned()
    }
}
