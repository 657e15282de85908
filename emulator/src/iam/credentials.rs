//! Temporary credentials: which access key belongs to which session of which role.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rand::RngExt;

use super::principal::Caller;
use crate::settings::Random;

const KEY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What follows `ASIA` in the id of a temporary key.
const KEY_CHARS: usize = 16;
const SECRET_CHARS: usize = 40;
/// AWS's are longer; "the size of the security token … is not fixed".
const TOKEN_CHARS: usize = 356;

/// What a function, or whoever took a role, signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
}

/// Who signs with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub role_arn: String,
    /// `arn:aws:sts::{account}:assumed-role/{role}/{name}`: on AWS a function's session is named after the function.
    pub arn: String,
    pub account_id: String,
    /// None for a function: Lambda gives it new credentials before the old ones end.
    pub ends_ms: Option<i64>,
}

impl Session {
    #[must_use]
    pub fn new(role_arn: &str, name: &str) -> Self {
        let account_id = role_arn.split(':').nth(4).unwrap_or_default().to_owned();
        // The session's ARN has the role's name without its path.
        let role = role_arn.rsplit('/').next().unwrap_or_default();
        let arn = format!("arn:aws:sts::{account_id}:assumed-role/{role}/{name}");
        Self { role_arn: role_arn.to_owned(), arn, account_id, ends_ms: None }
    }

    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller::Session { account_id: &self.account_id, role_arn: &self.role_arn, session_arn: &self.arn }
    }
}

/// The sessions, by access key. None is ever taken out: AWS cannot take temporary credentials back either, and a key that has
/// ended must not become the administrator's. There is one for each version of a function that ever was, and one, of some
/// hundred bytes, for each AssumeRole.
#[derive(Debug, Default)]
pub(super) struct Sessions(RwLock<HashMap<String, Arc<Session>>>);

impl Sessions {
    pub(super) fn issue(&self, random: &Random, session: Session) -> Credentials {
        let credentials = Credentials {
            access_key_id: format!("ASIA{}", letters(random, KEY_CHARS)),
            secret_access_key: letters(random, SECRET_CHARS),
            session_token: letters(random, TOKEN_CHARS),
        };
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(credentials.access_key_id.clone(), Arc::new(session));
        credentials
    }

    pub(super) fn find(&self, access_key_id: &str) -> Option<Arc<Session>> {
        if !access_key_id.starts_with("ASIA") {
            return None;
        }
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(access_key_id).cloned()
    }
}

fn letters(random: &Random, count: usize) -> String {
    random.with(|random| {
        (0..count).map(|_| char::from(KEY_ALPHABET[random.random_range(0..KEY_ALPHABET.len())])).collect()
    })
}
