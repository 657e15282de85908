//! Identities. Each is a type of its own, so that an owner is never passed where a connection is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits;

/// A text that was refused as an identity. Names the identity and the rule, never the text: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct InvalidId {
    pub what: &'static str,
    pub rule: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { what: $what, rule: "must be a UUID" })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

uuid_id!(
    /// The task's identity, carried in the message body: a redrive gives the message a new id, never the task.
    TaskId, "task id"
);

uuid_id!(
    /// The fencing token of one claim.
    LeaseToken, "lease token"
);

impl TaskId {
    /// Position in the sharded owner index. Stable, because it is stored with the record.
    pub fn shard(&self, shards: u16) -> u16 {
        let bytes = self.0.as_bytes();
        // The last two bytes are random in version 7 and hashed in version 5.
        u16::from_be_bytes([bytes[14], bytes[15]]) % shards.max(1)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $bytes_max:expr, $is_valid:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let is_valid: fn(&str) -> bool = $is_valid;
                if text.is_empty() || text.len() > $bytes_max || !is_valid(&text) {
                    return Err(InvalidId { what: $what, rule: $rule });
                }
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Who a task belongs to: the `sub` of the caller's token.
    Owner, "owner", limits::OWNER_BYTES_MAX,
    // `#` separates owner and shard in the index key.
    |text| !text.contains('#') && !text.chars().any(char::is_control),
    "must be 1 to 255 bytes without '#' and control characters"
);

text_id!(
    /// One WebSocket connection. Opaque: API Gateway makes it.
    ConnectionId, "connection id", limits::CONNECTION_ID_BYTES_MAX,
    |text| text.bytes().all(|byte| byte.is_ascii_graphic()),
    "must be 1 to 128 printable ASCII characters"
);

text_id!(
    /// The client's name for one request, so that repeating it is safe.
    IdempotencyKey, "Idempotency-Key", limits::IDEMPOTENCY_KEY_BYTES_MAX,
    |text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
    "must be 1 to 255 printable ASCII characters"
);

text_id!(
    /// SHA-256 of the canonical request, in lower-case hex.
    RequestHash, "request hash", 64,
    |text| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
    "must be 64 lower-case hex digits"
);

/// Grows by one at every state change of a task; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_with_the_shard_separator_is_refused() {
        assert!(Owner::parse("alice#1").is_err());
        assert!(Owner::parse("").is_err());
        assert!(Owner::parse("a".repeat(limits::OWNER_BYTES_MAX + 1)).is_err());
        assert!(Owner::parse("auth0|alice@example.com").is_ok());
    }

    #[test]
    fn a_connection_id_is_taken_up_to_its_limit() {
        let longest = "c".repeat(limits::CONNECTION_ID_BYTES_MAX);
        assert!(ConnectionId::parse(longest.as_str()).is_ok());
        assert!(ConnectionId::parse(format!("{longest}c")).is_err());
        assert!(ConnectionId::parse("").is_err());
    }

    #[test]
    fn an_idempotency_key_is_1_to_255_printable_ascii_characters() {
        assert!(IdempotencyKey::parse("a".repeat(255)).is_ok());
        assert!(IdempotencyKey::parse("a".repeat(256)).is_err());
        assert!(IdempotencyKey::parse("").is_err());
        assert!(IdempotencyKey::parse("tab\there").is_err());
        assert!(IdempotencyKey::parse("schlüssel").is_err());
    }
}
