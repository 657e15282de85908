//! What conditions are asked about: the keys of one request.

use std::borrow::Cow;

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
pub(super) struct Principal<'a> {
    /// `aws:PrincipalArn`, `aws:PrincipalTag/…` and others that are the same for all of its sessions; in lower case.
    pub(super) keys: &'a [(String, String)],
    /// `AROA…`, `AIDA…`
    pub(super) unique_id: &'a str,
    /// None of a user.
    pub(super) session_name: Option<&'a str>,
}

impl<'a> Principal<'a> {
    /// "For a role: role-id:caller-specified-role-name", for a user its id.
    pub(super) fn user_id(&self) -> Cow<'a, str> {
        match self.session_name {
            Some(name) => Cow::Owned(format!("{}:{name}", self.unique_id)),
            None => Cow::Borrowed(self.unique_id),
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

    /// The values of a key in lower case; empty when the request does not have it.
    pub(super) fn values(&self, key: &str) -> Vec<Cow<'a, str>> {
        match key {
            "aws:currenttime" | "aws:epochtime" => vec![Cow::Owned((self.now_ms / 1_000).to_string())],
            // On AWS every endpoint here is reached by TLS.
            "aws:securetransport" => vec![Cow::Borrowed("true")],
            "aws:userid" => self.principal.map(|of| of.user_id()).into_iter().collect(),
            _ => {
                let own = self.principal.map(|of| of.keys).unwrap_or_default().iter();
                let own =
                    own.filter(|(name, _)| *name == key).map(|(_, value)| Cow::Borrowed(value.as_str()));
                let pairs = self.pairs.iter().filter(|(name, _)| *name == key);
                own.chain(pairs.map(|(_, value)| Cow::Borrowed(*value))).collect()
            }
        }
    }
}
