//! What the load test reads of the service's messages: no more than it judges, borrowed from the frame.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::ledger::{Outcome, TaskStatus};

/// Of the two 503s of our own only this one says that nothing was accepted; the other, `outcome-unknown`, says nothing.
const QUEUE_UNAVAILABLE: &str = "urn:task:problem:queue-unavailable";
const STATUS_UNAUTHORIZED: u16 = 401;
const STATUS_FORBIDDEN: u16 = 403;
const STATUS_TOO_MANY_REQUESTS: u16 = 429;
const STATUS_SERVICE_UNAVAILABLE: u16 = 503;

pub(crate) const DIGEST_BYTES: usize = 32;
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// One sight of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    pub(crate) status: TaskStatus,
    pub(crate) sha256: Option<Digest>,
}

impl Seen {
    pub(crate) fn is_succeeded(self) -> bool {
        self.status == TaskStatus::Succeeded
    }
}

/// The token was not believed, or there was none.
pub fn is_denial(status: u16) -> bool {
    matches!(status, STATUS_UNAUTHORIZED | STATUS_FORBIDDEN)
}

#[derive(Debug, Deserialize)]
pub(crate) struct PageView<'a> {
    #[serde(borrow)]
    pub(crate) tasks: Vec<TaskView<'a>>,
    /// The last page has none.
    #[serde(default)]
    pub(crate) next_cursor: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TaskView<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    status: TaskStatus,
    version: u64,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct DigestResult<'a> {
    #[serde(borrow)]
    sha256: Cow<'a, str>,
}

impl TaskView<'_> {
    pub(crate) fn seen(&self) -> Seen {
        let result = self.result.and_then(|raw| serde_json::from_str::<DigestResult>(raw.get()).ok());
        let sha256 = result.and_then(|result| from_hex(&result.sha256));
        Seen { version: self.version, status: self.status, sha256 }
    }
}

#[derive(Debug)]
pub(crate) enum Message<'a> {
    Task(TaskView<'a>),
    Pong,
    Error,
    Unreadable,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    task: Option<TaskView<'a>>,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else {
            return Self::Unreadable;
        };
        match (frame.kind.as_ref(), frame.task) {
            ("task", Some(task)) => Self::Task(task),
            ("pong", _) => Self::Pong,
            ("error", _) => Self::Error,
            _ => Self::Unreadable,
        }
    }
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
}

/// What an answer to POST /tasks says of the task, and what it shows of it.
///
/// Only an answer that certainly precedes the send to the queue is a refusal. A gateway's 500, 502, 503 or 504 may stand
/// for a function that timed out after the send.
pub(crate) fn judge_answer(status: u16, body: &[u8]) -> (Outcome, Option<Seen>) {
    match status {
        200 | 202 => match serde_json::from_slice::<TaskView>(body) {
            Ok(task) => (Outcome::Acknowledged { task_id: task.id.clone().into_owned() }, Some(task.seen())),
            Err(_) => (unknown(format!("status {status} without a task")), None),
        },
        _ => (judge_failure(status, body), None),
    }
}

fn judge_failure(status: u16, body: &[u8]) -> Outcome {
    let problem = serde_json::from_slice::<Problem>(body).ok().and_then(|problem| problem.kind);
    let refused = match status {
        STATUS_TOO_MANY_REQUESTS => true,
        400..=499 => true,
        STATUS_SERVICE_UNAVAILABLE => problem.as_deref() == Some(QUEUE_UNAVAILABLE),
        _ => false,
    };
    if refused {
        return Outcome::Refused { status, problem_type: problem.map(Cow::into_owned) };
    }
    unknown(format!("status {status}"))
}

pub(crate) fn unknown(reason: impl Into<String>) -> Outcome {
    Outcome::Unknown { reason: reason.into() }
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut digest = [0; DIGEST_BYTES];
    if text.len() != 2 * DIGEST_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_read_without_copying_its_id() {
        let text = r#"{"type":"task","task":{"id":"0193","kind":"digest","payload":{"text":"a"},"status":"succeeded",
            "version":3,"attempts":1,"result":{"sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb"}}}"#;
        let Message::Task(task) = Message::parse(text) else { panic!("a task frame") };
        assert!(matches!(task.id, Cow::Borrowed("0193")));
        let seen = task.seen();
        assert_eq!((seen.version, seen.status), (3, TaskStatus::Succeeded));
        assert_eq!(seen.sha256.unwrap()[..2], [0xca, 0x97]);
    }

    #[test]
    fn a_result_of_another_shape_does_not_hide_the_state() {
        let text = r#"{"type":"task","task":{"id":"1","status":"succeeded","version":3,"result":[1]}}"#;
        let Message::Task(task) = Message::parse(text) else { panic!("a task frame") };
        assert_eq!(task.seen(), Seen { version: 3, status: TaskStatus::Succeeded, sha256: None });
    }

    #[test]
    fn what_is_no_message_of_the_contract_is_unreadable() {
        for text in
            ["", "{}", r#"{"message":"Internal server error"}"#, r#"{"type":"task"}"#, r#"{"type":"x"}"#]
        {
            assert!(matches!(Message::parse(text), Message::Unreadable), "{text}");
        }
    }

    #[test]
    fn an_answer_is_a_refusal_only_when_nothing_can_have_been_sent() {
        let ours = br#"{"type":"urn:task:problem:queue-unavailable","status":503}"#;
        let gateway = br#"{"message":"Service Unavailable"}"#;
        let is_refused =
            |status, body: &[u8]| matches!(judge_answer(status, body).0, Outcome::Refused { .. });
        assert!(is_refused(503, ours));
        assert!(is_refused(429, gateway));
        assert!(is_refused(422, ours));
        assert!(!is_refused(503, gateway), "a gateway's 503 also stands for a timeout after the send");
        assert!(!is_refused(500, ours));
        let unknown = br#"{"type":"urn:task:problem:outcome-unknown","status":503}"#;
        assert!(!is_refused(503, unknown), "no answer came from the queue: the task may run");
        assert!(!is_refused(504, gateway));
    }

    #[test]
    fn an_acknowledgement_without_a_task_is_unknown_not_lost() {
        let (outcome, seen) = judge_answer(202, b"{}");
        assert_eq!((outcome, seen), (unknown("status 202 without a task"), None));
    }
}
