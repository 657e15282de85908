//! The event that a function gets: written straight to bytes, and cut where it would not fit an invocation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::sqs::handle::QueueHandle;
use crate::sqs::queue::Received;
use crate::sqs::{Attribute, AttributeValue};

/// AWS quota: a batch is released when its payload reaches 6 MB.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1_024 * 1_024;
const OPEN: &[u8] = br#"{"Records":["#;
const CLOSE: &[u8] = b"]}";

/// A payload and the messages in it.
#[derive(Debug)]
pub struct Invocation {
    pub payload: Bytes,
    pub messages: Vec<Received>,
}

impl Invocation {
    /// When the first of its messages may be received again: from then on another batch may hold it.
    #[must_use]
    pub fn visible_at_ms(&self) -> i64 {
        self.messages.iter().map(|one| one.visible_at_ms).min().unwrap_or_default()
    }
}

/// One invocation for all messages, or several where the payload would be too large for one.
#[must_use]
pub fn invocations(queue: &QueueHandle, region: &str, messages: Vec<Received>) -> Vec<Invocation> {
    let mut done = Vec::new();
    let (mut payload, mut taken) = (OPEN.to_vec(), Vec::new());
    for message in messages {
        let record = record(queue, region, &message);
        if !taken.is_empty() && payload.len() + 1 + record.len() + CLOSE.len() > PAYLOAD_BYTES_MAX {
            done.push(close(std::mem::replace(&mut payload, OPEN.to_vec()), std::mem::take(&mut taken)));
        }
        if !taken.is_empty() {
            payload.push(b',');
        }
        payload.extend_from_slice(&record);
        taken.push(message);
    }
    if !taken.is_empty() {
        done.push(close(payload, taken));
    }
    done
}

fn close(mut payload: Vec<u8>, messages: Vec<Received>) -> Invocation {
    payload.extend_from_slice(CLOSE);
    Invocation { payload: payload.into(), messages }
}

/// One record, with the members and in the order that AWS was recorded to send.
#[must_use]
pub fn record(queue: &QueueHandle, region: &str, received: &Received) -> Vec<u8> {
    let content = &received.content;
    let mut out = Vec::with_capacity(content.body.len() + 768);
    put(&mut out, "{\"messageId\":", &received.id.to_string());
    put(&mut out, ",\"receiptHandle\":", &queue.receipt(received).encode());
    put(&mut out, ",\"body\":", &content.body);
    put(&mut out, ",\"attributes\":{\"ApproximateReceiveCount\":", &received.receive_count.to_string());
    if let Some(header) = &content.trace_header {
        put(&mut out, ",\"AWSTraceHeader\":", header);
    }
    put(&mut out, ",\"SentTimestamp\":", &received.key.sent_ms.to_string());
    put(&mut out, ",\"SenderId\":", &content.sender_id);
    put(&mut out, ",\"ApproximateFirstReceiveTimestamp\":", &received.first_receive_ms.to_string());
    if let Some(group) = &content.group_id {
        put(&mut out, ",\"MessageGroupId\":", group);
    }
    if let Some(source) = &received.dead_letter_source {
        put(&mut out, ",\"DeadLetterQueueSourceArn\":", source);
    }
    out.extend_from_slice(b"},\"messageAttributes\":{");
    for (index, (name, attribute)) in content.attributes.iter().enumerate() {
        put(&mut out, if index == 0 { "" } else { "," }, name);
        put_attribute(&mut out, attribute);
    }
    out.push(b'}');
    if content.attributes.is_empty() {
        out.extend_from_slice(b",\"md5OfMessageAttributes\":null");
    } else {
        put(&mut out, ",\"md5OfMessageAttributes\":", &content.attributes_md5);
    }
    put(&mut out, ",\"md5OfBody\":", &content.body_md5);
    put(&mut out, ",\"eventSource\":\"aws:sqs\",\"eventSourceARN\":", &queue.arn);
    put(&mut out, ",\"awsRegion\":", region);
    out.push(b'}');
    out
}

fn put_attribute(out: &mut Vec<u8>, attribute: &Attribute) {
    match &attribute.value {
        AttributeValue::Text(text) => put(out, ":{\"stringValue\":", text),
        AttributeValue::Binary(bytes) => put(out, ":{\"binaryValue\":", &STANDARD.encode(bytes)),
    }
    let rest = ",\"stringListValues\":[],\"binaryListValues\":[],\"dataType\":";
    put(out, rest, &attribute.data_type);
    out.push(b'}');
}

/// The text before, then the value as a JSON string.
fn put(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    // Writing a string into memory does not fail.
    serde_json::to_writer(out, value).unwrap_or_default();
}
