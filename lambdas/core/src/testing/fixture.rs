use serde_json::json;

use crate::id::{Owner, TaskId};
use crate::idempotency::request_hash;
use crate::message::{QueueMessage, SCHEMA};
use crate::time::EpochMs;

/// The message of a task of the one kind that every stack takes, as its submission sends it.
pub fn digest(task_id: TaskId, owner: &Owner, created_at_ms: EpochMs) -> QueueMessage {
    let (kind, payload) = ("digest", json!({"text": "a"}));
    QueueMessage {
        schema: SCHEMA,
        task_id,
        owner: owner.clone(),
        kind: kind.to_owned(),
        request_hash: request_hash(kind, &payload),
        payload: payload.into(),
        created_at_ms,
    }
}
