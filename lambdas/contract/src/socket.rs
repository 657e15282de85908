//! Messages on the WebSocket.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;

use crate::document::{Violation, asyncapi, resolved, validate, validator};

/// Judges messages, and remembers which kinds it has seen.
#[derive(Debug)]
pub struct SocketContract {
    document: Value,
    seen: Mutex<BTreeSet<String>>,
}

impl Default for SocketContract {
    fn default() -> Self {
        Self { document: asyncapi(), seen: Mutex::default() }
    }
}

impl SocketContract {
    /// Holds a message of the service to its documentation: the kind is what its `type` says.
    pub fn check_sent(&self, text: &str) -> Result<(), Violation> {
        self.check(text, "type")
    }

    /// Holds a message of a client to its documentation.
    pub fn check_received(&self, text: &str) -> Result<(), Violation> {
        self.check(text, "action")
    }

    fn check(&self, text: &str, selector: &str) -> Result<(), Violation> {
        let message: Value = serde_json::from_str(text)
            .map_err(|error| Violation(format!("a message that is not JSON: {error}")))?;
        let kind = message[selector].as_str().unwrap_or_default().to_owned();
        let Some(documented) = self.document["channels"]["socket"]["messages"].get(&kind) else {
            return Err(Violation(format!("a message of {selector} {kind:?} is not documented")));
        };
        let name = documented["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let pointer = format!("/components/messages/{}/payload", name.unwrap_or_default());
        assert!(resolved(&self.document, documented).get("payload").is_some(), "{kind} has a payload");
        validate(&validator("asyncapi.yaml", &pointer), &format!("message {kind}"), &message)?;
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(kind);
        Ok(())
    }

    /// Documented kinds that no check has passed yet.
    pub fn unseen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let all = self.document["channels"]["socket"]["messages"].as_object();
        let all = all.into_iter().flatten().map(|(kind, _)| kind.clone());
        let unseen: BTreeSet<String> = all.filter(|kind| !seen.contains(kind)).collect();
        unseen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_held_to_their_kind() {
        let contract = SocketContract::default();
        contract.check_received(r#"{"action":"ping"}"#).unwrap();
        contract.check_sent(r#"{"type":"pong"}"#).unwrap();
        assert!(contract.check_sent(r#"{"type":"pong","more":1}"#).is_err());
        assert!(contract.check_sent(r#"{"type":"shout"}"#).is_err());
        assert!(contract.check_sent(r#"{"type":"task","task":{"id":"x"}}"#).is_err());
        assert!(contract.check_received(r#"{"action":"watch"}"#).is_err());
        assert_eq!(contract.unseen(), ["error", "task", "watch"]);
    }
}
