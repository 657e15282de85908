//! SQS: a batch needs what its single form needs.
//!
//! A call is read as the service reads it, but by the members alone that decide about its operation: what the service does not
//! read may be of any type, and hides nothing. What cannot be read so the service refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Need, Place};
use crate::sqs::moves::ACTIONS_ON_SOURCE;
use crate::sqs::service::{Codec, read};
use crate::wire::AwsRequest;

const SEND: &str = "sqs:SendMessage";
const START_MOVE: &str = "sqs:StartMessageMoveTask";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ByUrl {
    queue_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ByName {
    queue_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewQueue {
    queue_name: Option<String>,
    #[serde(rename = "tags", alias = "Tags")]
    tags: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BySource {
    source_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ByHandle {
    task_handle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Move {
    source_arn: Option<String>,
    destination_arn: Option<String>,
}

pub(super) fn needs(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some((codec, operation)) = read(request) else { return Vec::new() };
    let needs = match operation.as_str() {
        "CreateQueue" => codec.parse().ok().map(|queue| making(queue, place)),
        "StartMessageMoveTask" => codec.parse().ok().map(moving),
        _ => {
            resource(&operation, &codec, place).map(|resource| vec![Need::new(action(&operation), resource)])
        }
    };
    needs.unwrap_or_else(|| vec![Need::anywhere(action(&operation))])
}

/// The names of the hot operations are constants: nothing is allocated for them.
fn action(operation: &str) -> Cow<'static, str> {
    match operation {
        "SendMessage" | "SendMessageBatch" => SEND.into(),
        "ReceiveMessage" => "sqs:ReceiveMessage".into(),
        "DeleteMessage" | "DeleteMessageBatch" => "sqs:DeleteMessage".into(),
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => "sqs:ChangeMessageVisibility".into(),
        "GetQueueAttributes" => "sqs:GetQueueAttributes".into(),
        other => format!("sqs:{other}").into(),
    }
}

/// None for what cannot be read, and for what is about no queue.
fn resource(operation: &str, codec: &Codec, place: Place<'_>) -> Option<String> {
    match operation {
        "ListQueues" => None,
        "GetQueueUrl" => {
            let ByName { queue_name } = codec.parse().ok()?;
            Some(queue_arn(queue_name.as_deref(), place))
        }
        "CancelMessageMoveTask" => {
            let ByHandle { task_handle } = codec.parse().ok()?;
            task_handle.as_deref().and_then(source_of)
        }
        "ListMessageMoveTasks" => {
            let BySource { source_arn } = codec.parse().ok()?;
            Some(source_arn.unwrap_or_default())
        }
        _ => {
            let ByUrl { queue_url } = codec.parse().ok()?;
            let name = queue_url.as_deref().and_then(|url| url.trim_end_matches('/').rsplit('/').next());
            Some(queue_arn(name, place))
        }
    }
}

fn queue_arn(name: Option<&str>, place: Place<'_>) -> String {
    place.arn("sqs", name.unwrap_or_default())
}

fn making(queue: NewQueue, place: Place<'_>) -> Vec<Need> {
    let made = queue_arn(queue.queue_name.as_deref(), place);
    let has_tags = queue.tags.is_some_and(|tags| !tags.is_empty());
    let tag = has_tags.then(|| Need::new("sqs:TagQueue", made.clone()));
    std::iter::once(Need::new("sqs:CreateQueue", made.clone())).chain(tag).collect()
}

/// The queue that a move task takes from: its handle says so.
fn source_of(task_handle: &str) -> Option<String> {
    let handle: Value = serde_json::from_slice(&STANDARD.decode(task_handle).ok()?).ok()?;
    handle["sourceArn"].as_str().map(str::to_owned)
}

/// "sqs:StartMessageMoveTask, sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes of the dead-letter queue;
/// sqs:SendMessage of the destination queue".
fn moving(task: Move) -> Vec<Need> {
    let source = task.source_arn.unwrap_or_default();
    let of_source = ACTIONS_ON_SOURCE.into_iter().map(|action| format!("sqs:{action}"));
    let mut all: Vec<Need> = of_source.map(|action| Need::new(action, source.clone())).collect();
    all.extend(task.destination_arn.map(sending_to));
    all
}

/// The queue whose messages are to go back to where they came from: a move task without a destination.
pub(in crate::iam) fn moved_back(needs: &[Need]) -> Option<&str> {
    let start = needs.iter().find(|need| need.action == START_MOVE)?;
    let has_destination = needs.iter().any(|need| need.action == SEND);
    (!has_destination).then_some(start.resource.as_str())
}

pub(in crate::iam) fn sending_to(queue_arn: String) -> Need {
    Need::new(SEND, queue_arn)
}
