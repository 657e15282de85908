//! The members of each answer, serialised straight to bytes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::error::SqsError;
use super::message::{Attribute, AttributeValue, attributes_md5};
use super::queue::Received;

#[derive(Debug, Serialize)]
pub struct Empty {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrl {
    pub queue_url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueAttributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrls {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// The one list whose name begins in lower case.
#[derive(Debug, Serialize)]
pub struct SourceQueueUrls {
    #[serde(rename = "queueUrls")]
    pub queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub struct Sent {
    #[serde(rename = "Id", skip_serializing_if = "Option::is_none")]
    pub entry_id: Option<String>,
    #[serde(rename = "MessageId")]
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub body_md5: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "String::is_empty")]
    pub attributes_md5: String,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "String::is_empty")]
    pub system_attributes_md5: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EntryId {
    pub id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    id: String,
    code: &'static str,
    message: String,
    sender_fault: bool,
}

/// A batch: what went through and what did not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Batch<T> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failure>,
}

// Derived, it would ask for a default of what went through.
impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { successful: Vec::new(), failed: Vec::new() }
    }
}

impl<T> Batch<T> {
    pub fn push(&mut self, id: String, result: Result<T, SqsError>) {
        match result {
            Ok(one) => self.successful.push(one),
            Err(error) => self.failed.push(Failure {
                id,
                code: error.kind.query_code(),
                message: error.message,
                sender_fault: true,
            }),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MoveTaskHandle {
    pub task_handle: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessagesMoved {
    pub approximate_number_of_messages_moved: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MoveTasks {
    pub results: Vec<MoveTask>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MoveTask {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_handle: Option<String>,
    pub status: &'static str,
    pub source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_number_of_messages_per_second: Option<i64>,
    pub approximate_number_of_messages_moved: usize,
    pub approximate_number_of_messages_to_move: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<&'static str>,
    pub started_timestamp: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Messages {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
}

/// Which attributes a receive asked for.
#[derive(Debug, Default)]
pub struct Wanted {
    pub system: Vec<String>,
    pub user: Vec<String>,
}

impl Wanted {
    fn system(&self, name: &str) -> bool {
        self.system.iter().any(|wanted| wanted == name || wanted == "All")
    }

    /// Names, `All`, `*`, `.*`, or `prefix.*`.
    fn user(&self, name: &str) -> bool {
        self.user.iter().any(|wanted| {
            wanted == name
                || matches!(&**wanted, "All" | "*")
                || wanted.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
        })
    }
}

/// A received message as the caller wants to see it.
#[derive(Debug)]
pub struct Message {
    pub received: Received,
    pub receipt_handle: String,
    pub wanted: Arc<Wanted>,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = &self.received.content;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("MessageId", &Shown(&self.received.id))?;
        map.serialize_entry("ReceiptHandle", &self.receipt_handle)?;
        map.serialize_entry("MD5OfBody", &content.body_md5)?;
        map.serialize_entry("Body", &content.body)?;
        let system = self.system_attributes();
        if !system.is_empty() {
            map.serialize_entry("Attributes", &SystemAttributes(&system))?;
        }
        let attributes = content.attributes.iter().filter(|(name, _)| self.wanted.user(name));
        let attributes: Vec<(&String, &Attribute)> = attributes.collect();
        if !attributes.is_empty() {
            let all = attributes.len() == content.attributes.len();
            let md5 =
                if all { content.attributes_md5.clone() } else { attributes_md5(attributes.iter().copied()) };
            map.serialize_entry("MD5OfMessageAttributes", &md5)?;
            map.serialize_entry("MessageAttributes", &UserAttributes(&attributes))?;
        }
        map.end()
    }
}

impl Message {
    /// Those that were asked for and that the message has.
    fn system_attributes(&self) -> Vec<(&'static str, &dyn Display)> {
        let Self { received, wanted, .. } = self;
        let content = &received.content;
        let all: [(&'static str, Option<&dyn Display>); 7] = [
            ("SenderId", Some(&content.sender_id)),
            ("SentTimestamp", Some(&received.key.sent_ms)),
            ("ApproximateReceiveCount", Some(&received.receive_count)),
            ("ApproximateFirstReceiveTimestamp", Some(&received.first_receive_ms)),
            ("MessageGroupId", content.group_id.as_ref().map(|id| id as &dyn Display)),
            ("AWSTraceHeader", content.trace_header.as_ref().map(|header| header as &dyn Display)),
            ("DeadLetterQueueSourceArn", received.dead_letter_source.as_ref().map(|arn| arn as &dyn Display)),
        ];
        let asked = all.into_iter().filter(|(name, _)| wanted.system(name));
        asked.filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Serialises as the text that it displays, without a string in between.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct SystemAttributes<'a>(&'a [(&'static str, &'a dyn Display)]);

impl Serialize for SystemAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Shown(value))))
    }
}

struct UserAttributes<'a>(&'a [(&'a String, &'a Attribute)]);

impl Serialize for UserAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, attribute)| (name, UserAttribute(attribute))))
    }
}

struct UserAttribute<'a>(&'a Attribute);

impl Serialize for UserAttribute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match &self.0.value {
            AttributeValue::Text(text) => map.serialize_entry("StringValue", text)?,
            AttributeValue::Binary(bytes) => map.serialize_entry("BinaryValue", &STANDARD.encode(bytes))?,
        }
        map.serialize_entry("DataType", &self.0.data_type)?;
        map.end()
    }
}
