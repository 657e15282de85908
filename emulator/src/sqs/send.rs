//! SendMessage and SendMessageBatch.

use std::sync::Arc;

use super::account::Account;
use super::attributes::{Attributes, DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX};
use super::error::{ErrorKind, SqsError};
use super::measure;
use super::message::{
    Content, attributes_md5, check_attributes, check_body, check_system_attributes, md5_hex,
};
use super::queue::Parcel;
use super::requests::{SendEntry, SendMessage, SendMessageBatch};
use super::responses::{Batch, Sent};
use super::service::{Caller, check_entries, permitted_queue};

const GROUP_ID_MAX: usize = 128;

/// A checked message and the digest of its system attributes.
struct Checked {
    content: Content,
    system_attributes_md5: String,
    delay_ms: i64,
}

/// # Errors
/// What SQS refuses; nothing was enqueued then.
pub fn send_message(account: &Arc<Account>, caller: &Caller, request: SendMessage) -> Result<Sent, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "SendMessage")?;
    let attributes = queue.attributes();
    let entry = SendEntry {
        id: None,
        message_body: request.message_body,
        delay_seconds: request.delay_seconds,
        message_attributes: request.message_attributes,
        message_system_attributes: request.message_system_attributes,
        message_deduplication_id: request.message_deduplication_id,
        message_group_id: request.message_group_id,
    };
    let checked = check(caller, &attributes, entry)?;
    let size_bytes = checked.content.size_bytes();
    if size_bytes > attributes.message_bytes_max {
        return Err(too_long("One or more parameters are invalid.", &attributes));
    }
    let now_ms = account.now_ms();
    let (parcel, sent) = checked.into_parcel(account, now_ms);
    if !queue.put(now_ms, [parcel]) {
        return Err(SqsError::queue_does_not_exist());
    }
    measure::sent(&account.settings, &queue, now_ms, &[size_bytes]);
    Ok(sent)
}

/// # Errors
/// What refuses the batch as a whole; an entry that is refused alone is in the answer.
pub fn send_message_batch(
    account: &Arc<Account>,
    caller: &Caller,
    request: SendMessageBatch,
) -> Result<Batch<Sent>, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "SendMessage")?;
    let entries = check_entries("SendMessageBatchRequestEntry", request.entries, |entry| entry.id.take())?;
    let attributes = queue.attributes();
    let checked: Vec<(String, Result<Checked, SqsError>)> =
        entries.into_iter().map(|(id, entry)| (id, check(caller, &attributes, entry))).collect();
    let total_bytes: usize =
        checked.iter().flat_map(|(_, one)| one).map(|one| one.content.size_bytes()).sum();
    if total_bytes > MESSAGE_BYTES_MAX {
        return Err(SqsError::new(
            ErrorKind::BatchRequestTooLong,
            format!(
                "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {total_bytes} bytes."
            ),
        ));
    }
    let now_ms = account.now_ms();
    let (mut batch, mut parcels, mut sizes_bytes) = (Batch::default(), Vec::new(), Vec::new());
    for (id, one) in checked {
        let fits = one.and_then(|one| {
            let size_bytes = one.content.size_bytes();
            if size_bytes > attributes.message_bytes_max {
                return Err(too_long("One or more parameters cannot be validated.", &attributes));
            }
            sizes_bytes.push(size_bytes);
            let (parcel, sent) = one.into_parcel(account, now_ms);
            parcels.push(parcel);
            Ok(Sent { entry_id: Some(id.clone()), ..sent })
        });
        batch.push(id, fits);
    }
    if !parcels.is_empty() && !queue.put(now_ms, parcels) {
        return Err(SqsError::queue_does_not_exist());
    }
    measure::sent(&account.settings, &queue, now_ms, &sizes_bytes);
    Ok(batch)
}

impl Checked {
    fn into_parcel(self, account: &Account, now_ms: i64) -> ((Parcel, i64), Sent) {
        let id = account.new_id();
        let sent = Sent {
            entry_id: None,
            message_id: id.to_string(),
            body_md5: self.content.body_md5.clone(),
            attributes_md5: self.content.attributes_md5.clone(),
            system_attributes_md5: self.system_attributes_md5,
        };
        ((Parcel::new(id, Arc::new(self.content), now_ms), self.delay_ms), sent)
    }
}

fn check(caller: &Caller, queue: &Attributes, entry: SendEntry) -> Result<Checked, SqsError> {
    let body = entry.message_body.filter(|body| !body.is_empty());
    let body = body.ok_or_else(|| SqsError::missing("MessageBody"))?;
    check_body(&body)?;
    let delay_seconds = entry.delay_seconds.unwrap_or(queue.delay_seconds);
    if !(0..=DELAY_SECONDS_MAX).contains(&delay_seconds) {
        let reason = format!("DelaySeconds must be >= 0 and <= {DELAY_SECONDS_MAX}.");
        return Err(SqsError::parameter("DelaySeconds", delay_seconds, &reason));
    }
    check_ids(&entry.message_group_id, &entry.message_deduplication_id)?;
    let attributes = check_attributes(entry.message_attributes.unwrap_or_default())?;
    let system = entry.message_system_attributes.unwrap_or_default();
    let (trace_header, system_attributes_md5) = check_system_attributes(system)?;
    let content = Content {
        body_md5: md5_hex(body.as_bytes()),
        body,
        attributes_md5: attributes_md5(attributes.iter()),
        attributes,
        trace_header,
        group_id: entry.message_group_id,
        sender_id: caller.sender_id.clone(),
    };
    Ok(Checked { content, system_attributes_md5, delay_ms: delay_seconds * 1_000 })
}

/// A group id is accepted on a standard queue ("fair queues"); a deduplication id never is.
fn check_ids(group_id: &Option<String>, deduplication_id: &Option<String>) -> Result<(), SqsError> {
    let legal = |id: &String| {
        (1..=GROUP_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    for (name, id) in [("MessageGroupId", group_id), ("MessageDeduplicationId", deduplication_id)] {
        if let Some(id) = id.as_ref().filter(|id| !legal(id)) {
            let reason = format!(
                "{name} can only include alphanumeric and punctuation characters. 1 to {GROUP_ID_MAX} in length."
            );
            return Err(SqsError::parameter(name, id, &reason));
        }
    }
    if let Some(id) = deduplication_id {
        let reason = "The request include parameter that is not valid for this queue type.";
        return Err(SqsError::parameter("MessageDeduplicationId", id, reason));
    }
    Ok(())
}

fn too_long(what: &str, queue: &Attributes) -> SqsError {
    let limit = queue.message_bytes_max;
    SqsError::new(
        ErrorKind::InvalidParameterValue,
        format!("{what} Reason: Message must be shorter than {limit} bytes."),
    )
}
