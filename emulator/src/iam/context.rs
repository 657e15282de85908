//! What conditions are asked about: the keys of one request.

use std::borrow::Cow;

use super::principal::Caller;

/// The keys that a service adds to those that every request has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    pub now_ms: i64,
    /// Key and value; keys in lower case. A key may come more than once.
    pub pairs: &'a [(&'a str, &'a str)],
    /// Of who asks; the evaluation adds it.
    pub(super) principal: Option<Principal<'a>>,
}

/// What a request's own identity adds to its keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Principal<'a> {
    /// A role or a user.
    Identity {
        /// `aws:PrincipalArn`, `aws:PrincipalTag/…` and others that are the same for all of its sessions; in lower case.
        keys: &'a [(String, String)],
        /// `AROA…`, `AIDA…`
        unique_id: &'a str,
        /// None of a user.
        session_name: Option<&'a str>,
        /// Whether it has a permissions boundary.
        is_bounded: bool,
    },
    /// The account's root, as which its administrator acts.
    Root { account_id: &'a str },
}

impl<'a> Principal<'a> {
    /// "For a role: role-id:caller-specified-role-name", for a user its id, for the root the account's.
    pub(super) fn user_id(&self) -> Cow<'a, str> {
        match *self {
            Self::Identity { unique_id, session_name: Some(name), .. } => {
                Cow::Owned(format!("{unique_id}:{name}"))
            }
            Self::Identity { unique_id, .. } => Cow::Borrowed(unique_id),
            Self::Root { account_id } => Cow::Borrowed(account_id),
        }
    }

    fn values(&self, key: &str) -> Vec<Cow<'a, str>> {
        match *self {
            Self::Identity { keys, .. } => {
                let own = keys.iter().filter(|(name, _)| *name == key);
                own.map(|(_, value)| Cow::Borrowed(value.as_str())).collect()
            }
            Self::Root { account_id } => match key {
                "aws:principalarn" => vec![Cow::Owned(format!("arn:aws:iam::{account_id}:root"))],
                "aws:principalaccount" => vec![Cow::Borrowed(account_id)],
                "aws:principaltype" => vec![Cow::Borrowed("Account")],
                _ => Vec::new(),
            },
        }
    }
}

impl<'a> Context<'a> {
    #[must_use]
    pub const fn at(now_ms: i64) -> Self {
        Self::with(now_ms, &[])
    }

    #[must_use]
    pub const fn with(now_ms: i64, pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self { now_ms, pairs, principal: None }
    }

    pub(super) const fn of(self, principal: Principal<'a>) -> Self {
        Self { principal: Some(principal), ..self }
    }

    /// As the caller asks, of whom no identity speaks: the administrator acts as the account's root.
    pub(super) fn by(self, caller: &Caller<'a>) -> Self {
        match *caller {
            Caller::Root { account_id } => self.of(Principal::Root { account_id }),
            _ => self,
        }
    }

    /// Whether who asks has a permissions boundary.
    pub(super) fn is_bounded(&self) -> bool {
        matches!(self.principal, Some(Principal::Identity { is_bounded: true, .. }))
    }

    /// The values of a key in lower case; empty when the request does not have it.
    pub(super) fn values(&self, key: &str) -> Vec<Cow<'a, str>> {
        match key {
            "aws:currenttime" | "aws:epochtime" => vec![Cow::Owned((self.now_ms / 1_000).to_string())],
            // On AWS every endpoint here is reached by TLS.
            "aws:securetransport" => vec![Cow::Borrowed("true")],
            "aws:userid" => self.principal.map(|of| of.user_id()).into_iter().collect(),
            _ => {
                let mut values = self.principal.map(|of| of.values(key)).unwrap_or_default();
                let pairs = self.pairs.iter().filter(|(name, _)| *name == key);
                values.extend(pairs.map(|(_, value)| Cow::Borrowed(*value)));
                values
            }
        }
    }
}
