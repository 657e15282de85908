//! The queue message: the durable form of an accepted task.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{Owner, RequestHash, TaskId};
use crate::object::Object;
use crate::time::EpochMs;

pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueMessage {
    pub schema: u32,
    pub task_id: TaskId,
    pub owner: Owner,
    pub kind: String,
    /// Shared with every state of the record: it is as large as a request, and no move changes it.
    #[serde(with = "shared")]
    pub payload: Arc<Value>,
    pub created_at_ms: EpochMs,
    pub request_hash: RequestHash,
}

/// A body that is not a message of ours. Says where, never what: bodies are not logged.
#[derive(Debug, thiserror::Error)]
pub enum MalformedMessage {
    #[error("not a task message")]
    Json(#[source] serde_json::Error),
    #[error("schema {0} is not {SCHEMA}")]
    Schema(u32),
}

impl QueueMessage {
    pub fn parse(body: &str) -> Result<Self, MalformedMessage> {
        let Object(message) = serde_json::from_str::<Object<Self>>(body).map_err(MalformedMessage::Json)?;
        if message.schema != SCHEMA {
            return Err(MalformedMessage::Schema(message.schema));
        }
        Ok(message)
    }

    pub fn to_body(&self) -> Result<String, serde_json::Error> {
        let body = serde_json::to_string(self)?;
        // SQS: "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"; JSON escapes the rest.
        if body.contains(['\u{FFFE}', '\u{FFFF}']) {
            return Ok(body.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff"));
        }
        Ok(body)
    }
}

/// Serde's own form of an `Arc` is behind a feature that would change every package's serde.
mod shared {
    use super::{Arc, Value};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Value>, D::Error> {
        Value::deserialize(deserializer).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::idempotency;

    fn message(text: &str) -> QueueMessage {
        let payload = json!({"text": text});
        QueueMessage {
            schema: SCHEMA,
            task_id: "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap(),
            owner: Owner::parse("alice").unwrap(),
            kind: "digest".into(),
            request_hash: idempotency::request_hash("digest", &payload),
            payload: payload.into(),
            created_at_ms: EpochMs(7),
        }
    }

    fn is_legal_for_sqs(letter: char) -> bool {
        matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
    }

    #[test]
    fn letters_that_sqs_refuses_are_escaped() {
        let sent = message("a\u{0}\u{FFFE}\u{FFFF}b");
        let body = sent.to_body().unwrap();
        assert!(body.chars().all(is_legal_for_sqs));
        assert_eq!(QueueMessage::parse(&body).unwrap(), sent);
    }

    #[test]
    fn a_message_of_another_schema_is_refused() {
        let mut other = message("a");
        other.schema = 2;
        assert!(matches!(QueueMessage::parse(&other.to_body().unwrap()), Err(MalformedMessage::Schema(2))));
    }

    #[test]
    fn an_array_of_a_messages_fields_is_no_message() {
        let fields = serde_json::to_value(message("a")).unwrap();
        let names = ["schema", "task_id", "owner", "kind", "payload", "created_at_ms", "request_hash"];
        let array = json!(names.map(|name| fields[name].clone())).to_string();
        assert_eq!(
            serde_json::from_str::<QueueMessage>(&array).unwrap(),
            message("a"),
            "or it proves nothing"
        );
        assert!(matches!(QueueMessage::parse(&array), Err(MalformedMessage::Json(_))));
    }

    proptest! {
        #[test]
        fn any_text_survives_the_queue(text in any::<String>()) {
            let sent = message(&text);
            let body = sent.to_body().unwrap();
            prop_assert!(body.chars().all(is_legal_for_sqs));
            prop_assert_eq!(QueueMessage::parse(&body).unwrap(), sent);
        }

        #[test]
        fn any_body_is_parsed_or_refused_but_never_panics(body in any::<String>()) {
            let _outcome = QueueMessage::parse(&body);
        }
    }
}
