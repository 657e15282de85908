//! SQS: a batch needs what its single form needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Need, Place, decode, form_value, target};
use crate::sqs::moves::ACTIONS_ON_SOURCE;
use crate::wire::AwsRequest;

const SEND: &str = "sqs:SendMessage";
/// What names its queue, and not the queue's URL.
const BY_NAME: [&str; 2] = ["CreateQueue", "GetQueueUrl"];
const START_MOVE: &str = "sqs:StartMessageMoveTask";

/// The members that name a queue, borrowed where they can be: a batch of a megabyte is not copied to find them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Names {
    queue_url: Option<String>,
    queue_name: Option<String>,
    source_arn: Option<String>,
    destination_arn: Option<String>,
    task_handle: Option<String>,
    /// Whether the queue is given tags.
    #[serde(rename = "Tags", alias = "tags", deserialize_with = "is_filled")]
    has_tags: bool,
}

/// What is no map is nobody's tags: the names beside it are read all the same.
fn is_filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let tags = Value::deserialize(deserializer)?;
    Ok(tags.as_object().is_some_and(|tags| !tags.is_empty()))
}

pub(super) fn needs(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some((operation, names)) = read(request) else { return Vec::new() };
    let queue = |names: &Names| {
        let by_url = names.queue_url.as_deref().and_then(|url| url.trim_end_matches('/').rsplit('/').next());
        let by_name = names.queue_name.as_deref();
        // A member that the operation does not read must not decide what it is judged on.
        let name = if BY_NAME.contains(&operation.as_str()) { by_name } else { by_url };
        place.arn("sqs", name.unwrap_or_default())
    };
    let action = match operation.as_str() {
        "SendMessage" | "SendMessageBatch" => SEND,
        "ReceiveMessage" => "sqs:ReceiveMessage",
        "DeleteMessage" | "DeleteMessageBatch" => "sqs:DeleteMessage",
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => "sqs:ChangeMessageVisibility",
        "GetQueueAttributes" => "sqs:GetQueueAttributes",
        "CreateQueue" if names.has_tags => {
            let made = queue(&names);
            return vec![Need::new("sqs:CreateQueue", made.clone()), Need::new("sqs:TagQueue", made)];
        }
        "StartMessageMoveTask" => return moving(&names),
        "CancelMessageMoveTask" => {
            let source = names.task_handle.as_deref().and_then(source_of);
            return vec![Need::new("sqs:CancelMessageMoveTask", source.unwrap_or_else(|| "*".to_owned()))];
        }
        "ListMessageMoveTasks" => {
            return vec![Need::new("sqs:ListMessageMoveTasks", names.source_arn.unwrap_or_default())];
        }
        "ListQueues" => return vec![Need::anywhere("sqs:ListQueues")],
        other => return vec![Need::new(format!("sqs:{other}"), queue(&names))],
    };
    vec![Need::new(action, queue(&names))]
}

fn read(request: &AwsRequest) -> Option<(String, Names)> {
    if let Some(operation) = target(request) {
        return Some((operation.to_owned(), serde_json::from_slice(&request.body).unwrap_or_default()));
    }
    let action = form_value(request, "Action")?;
    // A queue's URL is an endpoint of its own.
    let path = Some(request.path.clone()).filter(|path| path.trim_matches('/').contains('/'));
    let names = Names {
        queue_url: form_value(request, "QueueUrl").or(path),
        queue_name: form_value(request, "QueueName"),
        source_arn: form_value(request, "SourceArn"),
        destination_arn: form_value(request, "DestinationArn"),
        task_handle: form_value(request, "TaskHandle"),
        has_tags: action == "CreateQueue" && has_tag(request),
    };
    Some((action, names))
}

/// A form's tags are numbered, and the service takes any number.
fn has_tag(request: &AwsRequest) -> bool {
    let body = String::from_utf8_lossy(&request.body);
    request.query.split('&').chain(body.split('&')).any(|pair| decode(pair).starts_with("Tag."))
}

/// The queue that a move task takes from: its handle says so.
fn source_of(task_handle: &str) -> Option<String> {
    let handle: Value = serde_json::from_slice(&STANDARD.decode(task_handle).ok()?).ok()?;
    handle["sourceArn"].as_str().map(str::to_owned)
}

/// "sqs:StartMessageMoveTask, sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes of the dead-letter queue;
/// sqs:SendMessage of the destination queue".
fn moving(names: &Names) -> Vec<Need> {
    let source = names.source_arn.clone().unwrap_or_default();
    let of_source = ACTIONS_ON_SOURCE.into_iter().map(|action| format!("sqs:{action}"));
    let mut all: Vec<Need> = of_source.map(|action| Need::new(action, source.clone())).collect();
    all.extend(names.destination_arn.clone().map(sending_to));
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
