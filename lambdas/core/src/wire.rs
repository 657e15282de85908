//! What travels between the service and its clients: HTTP bodies and WebSocket messages.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{TaskId, Version};
use crate::time::{EpochMs, rfc3339};

pub const HEADER_IDEMPOTENCY_KEY: &str = "idempotency-key";
pub const HEADER_REQUEST_ID: &str = "x-request-id";
pub const CONTENT_TYPE_JSON: &str = "application/json";
pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// Body of `POST /tasks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    pub kind: String,
    pub payload: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    Running,
    Succeeded,
    DeadLettered,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Succeeded, Self::DeadLettered];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::DeadLettered => "dead_lettered",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// No further change is to be expected; a redrive may still revive a dead-lettered task.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::DeadLettered)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A task as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub kind: String,
    pub status: Status,
    pub version: Version,
    pub attempts: u32,
    #[serde(with = "rfc3339")]
    pub created_at: EpochMs,
    #[serde(with = "rfc3339")]
    pub updated_at: EpochMs,
    /// Only when succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why the last attempt failed; absent when none failed, or when a later one succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// Stable code, for example `poison`.
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
}

/// Body of `GET /tasks`, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskPage {
    pub tasks: Vec<Task>,
    /// Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// RFC 9457 problem details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:task:problem:<name>`; stable, meant for programs.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub request_id: String,
}

/// What a client sends on its WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ClientMessage {
    Ping,
    Watch { task_id: TaskId },
}

/// What a client receives on its WebSocket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    Pong,
    Task { task: Task },
    Error { problem: Problem },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_has_the_shape_of_the_contract() {
        let text = json!({
            "id": "0193b0e2-7c00-7000-8000-000000000001", "kind": "digest", "status": "dead_lettered", "version": 3,
            "attempts": 1, "created_at": "2026-11-22T10:00:00.000Z", "updated_at": "2026-11-22T10:00:00.120Z",
            "error": {"type": "poison", "message": "m"}
        });
        let task: Task = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(task.status, Status::DeadLettered);
        assert_eq!(serde_json::to_value(&task).unwrap(), text);
    }

    #[test]
    fn messages_are_told_apart_by_action_and_type() {
        assert_eq!(serde_json::to_value(ClientMessage::Ping).unwrap(), json!({"action": "ping"}));
        assert_eq!(serde_json::to_value(ServerMessage::Pong).unwrap(), json!({"type": "pong"}));
        assert!(serde_json::from_value::<ClientMessage>(json!({"action": "shout"})).is_err());
    }
}
