//! Services of the JSON protocol with few operations: Logs, Systems Manager, tagging.

use serde_json::Value;

use super::{Need, Place, body, target};
use crate::logs::group_in_arn;
use crate::wire::AwsRequest;

/// Their groups stand in policies without the trailing `:*`: "The permissions for those three actions require the ARN version
/// that doesn't include a trailing :*."
const OF_TAGS: [&str; 3] = ["TagResource", "UntagResource", "ListTagsForResource"];
/// They name a group by its ARN in a member of their own.
const OF_KEYS: [&str; 2] = ["AssociateKmsKey", "DisassociateKmsKey"];

/// The resource of an action on a stream names the stream, and of one on a group no stream, as AWS's refusals show them.
pub(super) fn logs(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(operation) = target(request) else { return Vec::new() };
    // It is about messages that are nowhere.
    if operation == "TestMetricFilter" {
        return vec![Need::anywhere("logs:TestMetricFilter")];
    }
    let body = body(request);
    let is_of_tags = OF_TAGS.contains(&operation);
    // The members that the service reads, in its order.
    let members = [
        match operation {
            _ if is_of_tags => "resourceArn",
            "PutLogGroupDeletionProtection" => "logGroupIdentifier",
            _ => "logGroupName",
        },
        if OF_KEYS.contains(&operation) { "resourceIdentifier" } else { "logGroupIdentifier" },
    ];
    let mut given = members.into_iter().filter_map(|member| body[member].as_str());
    let given = given.find(|given| !given.is_empty());
    let action = format!("logs:{operation}");
    let Some(given) = given else {
        return vec![Need::new(action, place.arn("logs", "log-group::log-stream:"))];
    };
    let group = group_in_arn(given).unwrap_or(given);
    if is_of_tags {
        return vec![Need::new(action, place.arn("logs", &format!("log-group:{group}")))];
    }
    let stream = body["logStreamName"].as_str().unwrap_or_default();
    vec![Need::new(action, place.arn("logs", &format!("log-group:{group}:log-stream:{stream}")))]
}

pub(super) fn ssm(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(operation) = target(request) else { return Vec::new() };
    let body = body(request);
    let action = format!("ssm:{operation}");
    // A version or a label behind the name is of the same parameter.
    let of_parameter = |name: &str| {
        let arn = if name.starts_with("arn:") {
            name.split(':').take(6).collect::<Vec<_>>().join(":")
        } else {
            let bare = name.split(':').next().unwrap_or_default();
            place.arn("ssm", &format!("parameter/{}", bare.trim_start_matches('/')))
        };
        Need::new(action.clone(), arn)
    };
    // Whichever of them the operation reads.
    let single = ["Name", "Path", "ResourceId"].into_iter().filter_map(|member| body[member].as_str());
    let many = body["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let needs: Vec<Need> = single.chain(many).map(of_parameter).collect();
    if needs.is_empty() { vec![Need::anywhere(action)] } else { needs }
}

pub(super) fn tagging(request: &AwsRequest) -> Vec<Need> {
    target(request).map(|operation| Need::anywhere(format!("tag:{operation}"))).into_iter().collect()
}
