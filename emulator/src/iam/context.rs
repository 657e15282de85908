//! What conditions are asked about: the keys of one request.

use std::borrow::Cow;

/// The keys that a service adds to those that every request has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    pub now_ms: i64,
    /// Key and value; keys in lower case. A key may come more than once.
    pub pairs: &'a [(&'a str, &'a str)],
}

impl<'a> Context<'a> {
    #[must_use]
    pub const fn at(now_ms: i64) -> Self {
        Self { now_ms, pairs: &[] }
    }

    #[must_use]
    pub const fn with(now_ms: i64, pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self { now_ms, pairs }
    }

    /// The values of a key in lower case; empty when the request does not have it.
    pub(super) fn values(&self, key: &str) -> Vec<Cow<'a, str>> {
        match key {
            "aws:currenttime" | "aws:epochtime" => vec![Cow::Owned((self.now_ms / 1_000).to_string())],
            // On AWS every endpoint here is reached by TLS.
            "aws:securetransport" => vec![Cow::Borrowed("true")],
            _ => self
                .pairs
                .iter()
                .filter(|(name, _)| *name == key)
                .map(|(_, value)| Cow::Borrowed(*value))
                .collect(),
        }
    }
}
