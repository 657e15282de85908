//! ReceiveMessage, DeleteMessage, ChangeMessageVisibility, and their batches.

use std::sync::Arc;

use super::account::{Account, Receive};
use super::attributes::{VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX};
use super::error::{ErrorKind, SqsError};
use super::handle::QueueHandle;
use super::measure;
use super::queue::VisibilityError;
use super::receipt::Receipt;
use super::requests::{
    ChangeMessageVisibility, ChangeMessageVisibilityBatch, DeleteMessage, DeleteMessageBatch, ReceiveMessage,
};
use super::responses::{Batch, Empty, EntryId, Message, Messages, Wanted};
use super::service::{Caller, check_entries, permitted_queue};

/// AWS quota: messages of one receive.
const MESSAGES_MAX: i64 = 10;
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];

/// # Errors
/// A parameter out of range, an unknown attribute name, or the in-flight limit.
pub async fn receive_message(
    account: &Account,
    caller: &Caller,
    request: ReceiveMessage,
) -> Result<Messages, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "ReceiveMessage")?;
    let receive = check_receive(&request)?;
    let mut wanted = Wanted {
        system: request.attribute_names.unwrap_or_default(),
        user: request.message_attribute_names.unwrap_or_default(),
    };
    wanted.system.extend(request.message_system_attribute_names.unwrap_or_default());
    if let Some(unknown) = wanted.system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(&name.as_str())) {
        return Err(SqsError::unknown_attribute(unknown));
    }
    let wanted = Arc::new(wanted);
    let received = account.receive(&caller.principal, &queue, receive).await?;
    let messages = received.into_iter().map(|received| Message {
        receipt_handle: queue.receipt(&received).encode(),
        wanted: Arc::clone(&wanted),
        received,
    });
    Ok(Messages { messages: messages.collect() })
}

fn check_receive(request: &ReceiveMessage) -> Result<Receive, SqsError> {
    let messages_max = request.max_number_of_messages.unwrap_or(1);
    if !(1..=MESSAGES_MAX).contains(&messages_max) {
        let reason = "Must be between 1 and 10, if provided.";
        return Err(SqsError::parameter("MaxNumberOfMessages", messages_max, reason));
    }
    if let Some(wait) = request.wait_time_seconds.filter(|wait| !(0..=WAIT_SECONDS_MAX).contains(wait)) {
        let reason = "Must be >= 0 and <= 20, if provided.";
        return Err(SqsError::parameter("WaitTimeSeconds", wait, reason));
    }
    let visibility_ms = request.visibility_timeout.map(visibility_ms).transpose()?;
    if let Some(id) = &request.receive_request_attempt_id {
        let reason = "The request include parameter that is not valid for this queue type.";
        return Err(SqsError::parameter("ReceiveRequestAttemptId", id, reason));
    }
    Ok(Receive {
        messages_max: usize::try_from(messages_max).unwrap_or(1),
        visibility_ms,
        wait_ms: request.wait_time_seconds.map(|seconds| seconds * 1_000),
    })
}

fn visibility_ms(seconds: i64) -> Result<i64, SqsError> {
    if (0..=VISIBILITY_SECONDS_MAX).contains(&seconds) {
        return Ok(seconds * 1_000);
    }
    let reason = "VisibilityTimeout must be an integer between 0 and 43200";
    Err(SqsError::parameter("VisibilityTimeout", seconds, reason))
}

fn receipt(queue: &QueueHandle, handle: Option<&str>) -> Result<Receipt, SqsError> {
    let handle =
        handle.filter(|handle| !handle.is_empty()).ok_or_else(|| SqsError::missing("ReceiptHandle"))?;
    queue.read_receipt(handle).ok_or_else(|| {
        let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
        SqsError::new(ErrorKind::ReceiptHandleIsInvalid, message)
    })
}

/// # Errors
/// A malformed handle. Deleting again, or with a handle that is not the latest, succeeds and changes nothing.
pub fn delete_message(
    account: &Arc<Account>,
    caller: &Caller,
    request: DeleteMessage,
) -> Result<Empty, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "DeleteMessage")?;
    delete(&queue, request.receipt_handle.as_deref())?;
    measure::deleted(&account.settings, &queue, account.now_ms(), 1);
    Ok(Empty {})
}

/// # Errors
/// What refuses the batch as a whole.
pub fn delete_message_batch(
    account: &Arc<Account>,
    caller: &Caller,
    request: DeleteMessageBatch,
) -> Result<Batch<EntryId>, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "DeleteMessage")?;
    let entries = check_entries("DeleteMessageBatchRequestEntry", request.entries, |entry| entry.id.take())?;
    let (mut batch, mut deleted) = (Batch::default(), 0);
    for (id, entry) in entries {
        let result = delete(&queue, entry.receipt_handle.as_deref());
        deleted += usize::from(result.is_ok());
        batch.push(id.clone(), result.map(|()| EntryId { id }));
    }
    measure::deleted(&account.settings, &queue, account.now_ms(), deleted);
    Ok(batch)
}

fn delete(queue: &QueueHandle, handle: Option<&str>) -> Result<(), SqsError> {
    let receipt = receipt(queue, handle)?;
    queue.lock().queue.delete(receipt.key, receipt.receive_count);
    Ok(())
}

/// # Errors
/// A malformed handle, a message that is gone, or a timeout out of range.
pub fn change_message_visibility(
    account: &Arc<Account>,
    caller: &Caller,
    request: ChangeMessageVisibility,
) -> Result<Empty, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "ChangeMessageVisibility")?;
    change(account, &queue, request.receipt_handle.as_deref(), request.visibility_timeout)?;
    Ok(Empty {})
}

/// # Errors
/// What refuses the batch as a whole.
pub fn change_message_visibility_batch(
    account: &Arc<Account>,
    caller: &Caller,
    request: ChangeMessageVisibilityBatch,
) -> Result<Batch<EntryId>, SqsError> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "ChangeMessageVisibility")?;
    let kind = "ChangeMessageVisibilityBatchRequestEntry";
    let entries = check_entries(kind, request.entries, |entry| entry.id.take())?;
    let mut batch = Batch::default();
    for (id, entry) in entries {
        let result = change(account, &queue, entry.receipt_handle.as_deref(), entry.visibility_timeout);
        batch.push(id.clone(), result.map(|()| EntryId { id }));
    }
    Ok(batch)
}

fn change(
    account: &Account,
    queue: &QueueHandle,
    handle: Option<&str>,
    timeout_seconds: Option<i64>,
) -> Result<(), SqsError> {
    let receipt = receipt(queue, handle)?;
    let timeout_seconds = timeout_seconds.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?;
    let timeout_ms = visibility_ms(timeout_seconds)?;
    let changed = queue.lock().queue.change_visibility(account.now_ms(), receipt.key, timeout_ms);
    changed.map_err(|error| match error {
        VisibilityError::Gone => SqsError::parameter(
            "ReceiptHandle",
            handle.unwrap_or_default(),
            "Message does not exist or is not available for visibility timeout change.",
        ),
        VisibilityError::BeyondLimit => SqsError::parameter(
            "VisibilityTimeout",
            timeout_seconds,
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        ),
    })?;
    // A waiter sleeps until the time that held before the change.
    queue.ring();
    Ok(())
}
