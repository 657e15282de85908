//! The operations on queues themselves: attributes, tags, permissions, listing, purging, message moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::account::{Account, free};
use super::error::{ErrorKind, SqsError};
use super::handle::QueueHandle;
use super::moves::{self, RATE_MAX, Status, Task};
use super::policy::{ACTIONS_MAX, Permission, Policy};
use super::requests::{
    AddPermission, CancelMessageMoveTask, CreateQueue, GetQueueAttributes, GetQueueUrl,
    ListDeadLetterSourceQueues, ListMessageMoveTasks, ListQueues, OnQueue, RemovePermission,
    SetQueueAttributes, StartMessageMoveTask, TagQueue, UntagQueue,
};
use super::responses::{
    Empty, MessagesMoved, MoveTask, MoveTaskHandle, MoveTasks, QueueAttributes, QueueUrl, QueueUrls,
    SourceQueueUrls, Tags,
};
use super::service::{Caller, permitted, permitted_queue};
use crate::adversary::{Act, STALE_MS_MAX};

/// AWS quota: a queue may be purged once in 60 seconds.
const PURGE_INTERVAL_MS: i64 = 60_000;
const LIST_MAX: i64 = 1_000;
const MOVE_TASKS_LISTED_MAX: i64 = 10;
/// AWS quota: tags per queue.
const TAGS_MAX: usize = 50;

type Reply<T> = Result<T, SqsError>;

pub fn create_queue(account: &Arc<Account>, _: &Caller, request: CreateQueue) -> Reply<QueueUrl> {
    let name = request.queue_name.ok_or_else(|| SqsError::missing("QueueName"))?;
    let attributes = request.attributes.unwrap_or_default();
    let queue = account.create(&name, &attributes, request.tags.unwrap_or_default())?;
    Ok(QueueUrl { queue_url: account.url(&queue.name) })
}

pub fn delete_queue(account: &Arc<Account>, caller: &Caller, request: OnQueue) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "DeleteQueue")?;
    account.delete(&queue);
    Ok(Empty {})
}

pub fn get_queue_url(account: &Arc<Account>, caller: &Caller, request: GetQueueUrl) -> Reply<QueueUrl> {
    let name = request.queue_name.ok_or_else(|| SqsError::missing("QueueName"))?;
    let ours = request.owner_account_id.is_none_or(|owner| *owner == *account.settings.account_id);
    let queue = ours.then(|| account.by_name(&name)).flatten().ok_or_else(SqsError::queue_does_not_exist)?;
    let queue = permitted(account, caller, queue, "GetQueueUrl")?;
    Ok(QueueUrl { queue_url: account.url(&queue.name) })
}

pub fn get_queue_attributes(
    account: &Arc<Account>,
    caller: &Caller,
    request: GetQueueAttributes,
) -> Reply<QueueAttributes> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "GetQueueAttributes")?;
    let wanted = request.attribute_names.unwrap_or_default();
    if let Some(unknown) = wanted.iter().find(|name| !is_attribute(name)) {
        return Err(SqsError::unknown_attribute(unknown));
    }
    let mut attributes = shown_attributes(account, &queue);
    attributes.retain(|name, _| wanted.iter().any(|wanted| wanted == name || wanted == "All"));
    Ok(QueueAttributes { attributes })
}

fn is_attribute(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "All",
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "ContentBasedDeduplication",
        "CreatedTimestamp",
        "DeduplicationScope",
        "DelaySeconds",
        "FifoQueue",
        "FifoThroughputLimit",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "LastModifiedTimestamp",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "Policy",
        "QueueArn",
        "ReceiveMessageWaitTimeSeconds",
        "RedriveAllowPolicy",
        "RedrivePolicy",
        "SqsManagedSseEnabled",
        "VisibilityTimeout",
    ];
    NAMES.contains(&name)
}

/// Fresh, unless an adversary answers again what it answered a moment ago.
fn shown_attributes(account: &Account, queue: &QueueHandle) -> BTreeMap<&'static str, String> {
    let adversary = &account.settings.adversary;
    if !adversary.is_on() {
        return all_attributes(account, queue);
    }
    let now_ms = account.now_ms();
    let last = queue.lock().shown.clone().filter(|(at_ms, _)| now_ms - at_ms <= STALE_MS_MAX);
    if let Some((_, stale)) = last.filter(|_| adversary.strikes(Act::StaleAttributes).is_some()) {
        return stale;
    }
    let fresh = all_attributes(account, queue);
    queue.lock().shown = Some((now_ms, fresh.clone()));
    fresh
}

fn all_attributes(account: &Account, queue: &QueueHandle) -> BTreeMap<&'static str, String> {
    let counts = queue.counts(account.now_ms());
    let state = queue.lock();
    let mut all: BTreeMap<_, _> = state.attributes.render().into_iter().collect();
    all.insert("ApproximateNumberOfMessages", counts.visible.to_string());
    all.insert("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string());
    all.insert("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string());
    all.insert("CreatedTimestamp", (queue.created_ms / 1_000).to_string());
    all.insert("LastModifiedTimestamp", (state.modified_ms / 1_000).to_string());
    all.insert("QueueArn", queue.arn.to_string());
    all
}

pub fn set_queue_attributes(
    account: &Arc<Account>,
    caller: &Caller,
    request: SetQueueAttributes,
) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "SetQueueAttributes")?;
    let changes = request.attributes.ok_or_else(|| SqsError::missing("Attributes"))?;
    account.set_attributes(&queue, &changes)?;
    Ok(Empty {})
}

pub fn list_queues(account: &Arc<Account>, _: &Caller, request: ListQueues) -> Reply<QueueUrls> {
    let prefix = request.queue_name_prefix.unwrap_or_default();
    let names = account.all().into_iter().map(|queue| Arc::clone(&queue.name));
    let names = names.filter(|name| name.starts_with(&prefix)).collect();
    let (queue_urls, next_token) = page(account, names, request.next_token, request.max_results)?;
    Ok(QueueUrls { queue_urls, next_token })
}

pub fn list_dead_letter_source_queues(
    account: &Arc<Account>,
    caller: &Caller,
    request: ListDeadLetterSourceQueues,
) -> Reply<SourceQueueUrls> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "ListDeadLetterSourceQueues")?;
    let sources = account.sources_of(&queue.arn);
    let names = sources.into_iter().map(|source| Arc::clone(&source.name)).collect();
    let (queue_urls, next_token) = page(account, names, request.next_token, request.max_results)?;
    Ok(SourceQueueUrls { queue_urls, next_token })
}

/// The names after the one in the token, as URLs. A token is given only where a page size was asked for.
fn page(
    account: &Account,
    mut names: Vec<Arc<str>>,
    token: Option<String>,
    results_max: Option<i64>,
) -> Reply<(Vec<String>, Option<String>)> {
    if let Some(bad) = results_max.filter(|max| !(1..=LIST_MAX).contains(max)) {
        let reason = format!("Must be an integer value between 1 and {LIST_MAX}.");
        return Err(SqsError::parameter("MaxResults", bad, &reason));
    }
    if let Some(token) = token {
        let after = STANDARD.decode(&token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let after =
            after.ok_or_else(|| SqsError::parameter("NextToken", token, "Not a token of this operation."))?;
        names.retain(|name| **name > *after);
    }
    let page_size = usize::try_from(results_max.unwrap_or(LIST_MAX)).unwrap_or(usize::MAX);
    let more = names.len() > page_size;
    names.truncate(page_size);
    let next_token =
        names.last().filter(|_| more && results_max.is_some()).map(|last| STANDARD.encode(&**last));
    Ok((names.iter().map(|name| account.url(name)).collect(), next_token))
}

pub fn purge_queue(account: &Arc<Account>, caller: &Caller, request: OnQueue) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "PurgeQueue")?;
    let now_ms = account.now_ms();
    let mut state = queue.lock();
    if state.purged_ms.is_some_and(|purged_ms| now_ms - purged_ms < PURGE_INTERVAL_MS) {
        let message = format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", queue.name);
        return Err(SqsError::new(ErrorKind::PurgeQueueInProgress, message));
    }
    state.purged_ms = Some(now_ms);
    let backlog = state.queue.purge();
    drop(state);
    free(backlog);
    Ok(Empty {})
}

pub fn list_queue_tags(account: &Arc<Account>, caller: &Caller, request: OnQueue) -> Reply<Tags> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "ListQueueTags")?;
    let tags = queue.lock().tags.clone();
    Ok(Tags { tags })
}

pub fn tag_queue(account: &Arc<Account>, caller: &Caller, request: TagQueue) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "TagQueue")?;
    let tags = request.tags.ok_or_else(|| SqsError::missing("Tags"))?;
    let mut state = queue.lock();
    let added = tags.keys().filter(|key| !state.tags.contains_key(*key)).count();
    if state.tags.len() + added > TAGS_MAX {
        let message = format!("Too many tags added for queue {}.", queue.name);
        return Err(SqsError::new(ErrorKind::InvalidParameterValue, message));
    }
    state.tags.extend(tags);
    Ok(Empty {})
}

pub fn untag_queue(account: &Arc<Account>, caller: &Caller, request: UntagQueue) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "UntagQueue")?;
    let keys = request.tag_keys.ok_or_else(|| SqsError::missing("TagKeys"))?;
    queue.lock().tags.retain(|key, _| !keys.contains(key));
    Ok(Empty {})
}

pub fn add_permission(account: &Arc<Account>, caller: &Caller, request: AddPermission) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "AddPermission")?;
    let label = request.label.ok_or_else(|| SqsError::missing("Label"))?;
    let some = |list: Option<Vec<String>>, name| {
        list.filter(|list| !list.is_empty()).ok_or_else(|| SqsError::missing(name))
    };
    let account_ids = some(request.account_ids, "AWSAccountIds")?;
    let actions = some(request.actions, "Actions")?;
    if actions.len() > ACTIONS_MAX {
        let message = format!("{} Actions were found, maximum allowed is {ACTIONS_MAX}.", actions.len());
        return Err(SqsError::new(ErrorKind::OverLimit, message));
    }
    let permission =
        Permission { label: &label, account_ids: &account_ids, actions: &actions, queue_arn: &queue.arn };
    change_policy(&queue, account.now_ms(), |policy| Policy::with_permission(policy, &permission).map(Some))
}

pub fn remove_permission(account: &Arc<Account>, caller: &Caller, request: RemovePermission) -> Reply<Empty> {
    let queue = permitted_queue(account, caller, request.queue_url.as_deref(), "RemovePermission")?;
    let label = request.label.ok_or_else(|| SqsError::missing("Label"))?;
    change_policy(&queue, account.now_ms(), |policy| Policy::without_permission(policy, &label))
}

fn change_policy(
    queue: &QueueHandle,
    now_ms: i64,
    change: impl FnOnce(Option<&Policy>) -> Reply<Option<Policy>>,
) -> Reply<Empty> {
    let mut state = queue.lock();
    let policy = change(state.attributes.policy.as_ref())?;
    Arc::make_mut(&mut state.attributes).policy = policy;
    state.modified_ms = now_ms;
    Ok(Empty {})
}

pub fn start_message_move_task(
    account: &Arc<Account>,
    caller: &Caller,
    request: StartMessageMoveTask,
) -> Reply<MoveTaskHandle> {
    let source_arn = request.source_arn.ok_or_else(|| SqsError::missing("SourceArn"))?;
    let rate = request.max_number_of_messages_per_second;
    if let Some(bad) = rate.filter(|rate| !(1..=RATE_MAX).contains(rate)) {
        let reason = format!("Must be an integer between 1 and {RATE_MAX}.");
        return Err(SqsError::parameter("MaxNumberOfMessagesPerSecond", bad, &reason));
    }
    let task_handle = moves::start(account, caller, source_arn, request.destination_arn, rate)?;
    Ok(MoveTaskHandle { task_handle })
}

pub fn cancel_message_move_task(
    account: &Arc<Account>,
    caller: &Caller,
    request: CancelMessageMoveTask,
) -> Reply<MessagesMoved> {
    let handle = request.task_handle.ok_or_else(|| SqsError::missing("TaskHandle"))?;
    Ok(MessagesMoved { approximate_number_of_messages_moved: moves::cancel(account, caller, &handle)? })
}

pub fn list_message_move_tasks(
    account: &Arc<Account>,
    caller: &Caller,
    request: ListMessageMoveTasks,
) -> Reply<MoveTasks> {
    let source_arn = request.source_arn.ok_or_else(|| SqsError::missing("SourceArn"))?;
    let results_max = request.max_results.unwrap_or(1);
    if !(1..=MOVE_TASKS_LISTED_MAX).contains(&results_max) {
        let reason = format!("Must be an integer between 1 and {MOVE_TASKS_LISTED_MAX}.");
        return Err(SqsError::parameter("MaxResults", results_max, &reason));
    }
    let source = account.by_arn(&source_arn).ok_or_else(|| SqsError::resource_does_not_exist("SourceArn"))?;
    permitted(account, caller, source, "ListMessageMoveTasks")?;
    let tasks = account.moves.of_source(&source_arn, usize::try_from(results_max).unwrap_or(1));
    Ok(MoveTasks { results: tasks.into_iter().map(show).collect() })
}

fn show(task: Task) -> MoveTask {
    let failure_reason = if let Status::Failed(reason) = task.status { Some(reason) } else { None };
    MoveTask {
        // "Only returned if the status of a message move task is RUNNING."
        task_handle: (task.status == Status::Running).then_some(task.handle),
        status: task.status.name(),
        source_arn: task.source_arn,
        destination_arn: task.destination_arn,
        max_number_of_messages_per_second: task.rate,
        approximate_number_of_messages_moved: task.moved,
        approximate_number_of_messages_to_move: task.to_move,
        failure_reason,
        started_timestamp: task.started_ms,
    }
}
