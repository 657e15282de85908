//! Temporary credentials: which access key belongs to which session of which role.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::principal::Caller;
use crate::settings::Random;

/// Of all access keys and what belongs to them.
pub(crate) const KEY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// `ASIA`, as all temporary keys begin, and what tells ours from those that the engine gives.
const SESSION_KEY_PREFIX: &str = "ASIALOCAL";
/// `AKIA`, as all keys of users begin, and what tells ours from those that nobody was given.
pub(super) const USER_KEY_PREFIX: &str = "AKIALOCAL";
/// As long as AWS's.
const KEY_CHARS: usize = 20;
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

/// Who signs with a key: a session of a role, or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The role or the user whose policies speak.
    pub identity_arn: String,
    /// What refusals and policies of resources call it: `arn:aws:sts::{account}:assumed-role/{role}/{name}` of a session (a
    /// function's is named after the function), the user's own ARN of a user.
    pub arn: String,
    pub account_id: String,
    pub validity: Validity,
    /// The unique id of whom a session was given to, who may be deleted before it ends. None: it follows the name.
    pub(super) identity_id: Option<String>,
}

/// For how long a key is worth something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// A user's, while it is active; a function's, because Lambda gives new credentials before the old ones end.
    Lasting,
    Until {
        ends_ms: i64,
    },
    /// Deleted, not active, or of a session from before a restart: nobody knows any more whose it was.
    Over,
}

impl Signer {
    #[must_use]
    pub fn session(role_arn: &str, name: &str) -> Self {
        let account_id = account_of(role_arn).to_owned();
        // The session's ARN has the role's name without its path.
        let role = role_arn.rsplit('/').next().unwrap_or_default();
        let arn = format!("arn:aws:sts::{account_id}:assumed-role/{role}/{name}");
        Self {
            identity_arn: role_arn.to_owned(),
            arn,
            account_id,
            validity: Validity::Lasting,
            identity_id: None,
        }
    }

    pub(super) fn user(arn: &str) -> Self {
        let account_id = account_of(arn).to_owned();
        Self {
            identity_arn: arn.to_owned(),
            arn: arn.to_owned(),
            account_id,
            validity: Validity::Lasting,
            identity_id: None,
        }
    }

    pub(super) fn nobody() -> Self {
        let (identity_arn, arn, account_id) = Default::default();
        Self { identity_arn, arn, account_id, validity: Validity::Over, identity_id: None }
    }

    /// Whether the key is worth something.
    pub(super) fn is_valid(&self, now_ms: i64) -> bool {
        match self.validity {
            Validity::Lasting => true,
            Validity::Until { ends_ms } => now_ms < ends_ms,
            Validity::Over => false,
        }
    }

    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller::Signer { account_id: &self.account_id, identity_arn: &self.identity_arn, arn: &self.arn }
    }
}

/// The id of a user's new key.
pub(crate) fn user_key_id(random: &Random) -> String {
    key_id(USER_KEY_PREFIX, random)
}

fn key_id(prefix: &str, random: &Random) -> String {
    format!("{prefix}{}", random.text(KEY_ALPHABET, KEY_CHARS - prefix.len()))
}

pub(super) fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// The sessions, by access key. None is ever taken out: AWS cannot take temporary credentials back either, and a key that has
/// ended must not become the administrator's. There is one for each version of a function that ever was, and one, of some
/// hundred bytes, for each AssumeRole.
#[derive(Debug, Default)]
pub(super) struct Sessions(RwLock<HashMap<String, Arc<Signer>>>);

impl Sessions {
    pub(super) fn issue(&self, random: &Random, session: Signer) -> Credentials {
        let credentials = Credentials {
            access_key_id: key_id(SESSION_KEY_PREFIX, random),
            secret_access_key: random.text(KEY_ALPHABET, SECRET_CHARS),
            session_token: random.text(KEY_ALPHABET, TOKEN_CHARS),
        };
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(credentials.access_key_id.clone(), Arc::new(session));
        credentials
    }

    pub(super) fn find(&self, access_key_id: &str) -> Option<Arc<Signer>> {
        if !access_key_id.starts_with(SESSION_KEY_PREFIX) {
            return None;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(access_key_id).cloned();
        Some(known.unwrap_or_else(|| Arc::new(Signer::nobody())))
    }
}
