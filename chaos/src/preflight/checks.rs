//! The account, the alarms, FIS, and the queues.

use std::collections::BTreeSet;

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use aws_sdk_fis::types::SafetyLeverStatus;
use aws_sdk_sqs::types::QueueAttributeName;
use loadtest::stack::Stack;

use super::{Finding, Intent};
use crate::cloud::{CallError, Cloud};
use crate::experiment::{Experiment, FaultSpec};
use crate::observe;

/// "Set the source queue's visibility timeout to at least six times the timeout that you configure on your function."
const VISIBILITY_PER_TIMEOUT: u64 = 6;
/// Reading a dead-letter queue takes a receive per ten messages; with more than this, every look at it takes minutes.
const DEAD_LETTERS_MAX: u64 = 2_000;
/// There is one per account and Region.
const SAFETY_LEVER: &str = "default";
const WORKER: &str = "process-task";
/// The condition's name.
const DEAD_LETTERS: &str = "dead-letter queue";

/// The credentials must be of the account that the stack is in.
pub(super) async fn account(cloud: &Cloud, account_id: &str) -> Result<Finding, CallError> {
    let found = cloud.sts.get_caller_identity().send().await;
    let found = found.map_err(CallError::of("sts:GetCallerIdentity"))?;
    let account = found.account().unwrap_or_default();
    let detail = format!("the credentials are of {account}, the stack is in {account_id}");
    Ok(Finding::new("account", account == account_id, detail))
}

/// A stack that is sick already proves nothing. Dead letters do not count: those of earlier runs may lie there.
pub(super) async fn alarms(cloud: &Cloud, stack: &Stack) -> Result<Finding, CallError> {
    let operation = "cloudwatch:DescribeAlarms";
    let mut pages = cloud.cloudwatch.describe_alarms().state_value(StateValue::Alarm).into_paginator().send();
    let names = resource_names(stack);
    let mut ringing = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(CallError::of(operation))?;
        let ours = page.metric_alarms().iter().filter(|alarm| concerns(alarm, &names));
        ringing.extend(ours.filter_map(|alarm| alarm.alarm_name().map(str::to_owned)));
    }
    let detail = if ringing.is_empty() { "no alarm of the stack rings".into() } else { ringing.join(", ") };
    Ok(Finding::new("alarms", ringing.is_empty(), detail))
}

fn concerns(alarm: &MetricAlarm, names: &BTreeSet<String>) -> bool {
    alarm.dimensions().iter().filter_map(|dimension| dimension.value()).any(|value| names.contains(value))
}

/// As dimensions of metrics name them.
fn resource_names(stack: &Stack) -> BTreeSet<String> {
    let functions = stack.functions.values().map(|function| function.name.clone());
    let queues = stack.queues.iter().filter(|(name, _)| *name != "tasks-dlq");
    let queues = queues.filter_map(|(_, queue)| queue.arn.rsplit(':').next().map(str::to_owned));
    let tables = stack.tables.values().map(|table| table.name.clone());
    let apis = [stack.http_api.id.clone(), stack.websocket_api.id.clone()];
    functions.chain(queues).chain(tables).chain(apis).collect()
}

/// The safety lever is off, and FIS knows the actions: what it offers differs between Regions.
pub(super) async fn fis(cloud: &Cloud, experiments: &[Experiment]) -> Result<Vec<Finding>, CallError> {
    let specs = experiments.iter().flat_map(Experiment::fault_specs);
    let actions: BTreeSet<&str> = specs.filter_map(FaultSpec::fis_action_id).collect();
    if actions.is_empty() {
        return Ok(Vec::new());
    }
    let mut findings = vec![safety_lever(cloud).await?];
    for action in actions {
        findings.push(known_action(cloud, action).await?);
    }
    Ok(findings)
}

async fn safety_lever(cloud: &Cloud) -> Result<Finding, CallError> {
    let found = cloud.fis.get_safety_lever().id(SAFETY_LEVER).send().await;
    let found = found.map_err(CallError::of("fis:GetSafetyLever"))?;
    let status = found.safety_lever().and_then(|lever| lever.state()).and_then(|state| state.status());
    let is_off = status == Some(&SafetyLeverStatus::Disengaged);
    Ok(Finding::new("safety lever", is_off, status.map_or("unknown", SafetyLeverStatus::as_str)))
}

async fn known_action(cloud: &Cloud, action: &str) -> Result<Finding, CallError> {
    let name = "FIS action";
    match cloud.fis.get_action().id(action).send().await {
        Ok(_) => Ok(Finding::new(name, true, action)),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            Ok(Finding::new(name, false, format!("FIS has no {action} here")))
        }
        Err(error) => Err(CallError::of("fis:GetAction")(error)),
    }
}

/// As deployed, and not as the stack file says: a shorter one hands a task to a second worker while the first is at it.
pub(super) async fn visibility(cloud: &Cloud, stack: &Stack) -> Result<Finding, CallError> {
    let (name, operation) = ("visibility timeout", "sqs:GetQueueAttributes");
    let (Some(queue), Some(worker)) = (stack.queues.get("tasks"), stack.functions.get(WORKER)) else {
        return Ok(Finding::new(name, false, "the stack has no queue `tasks` or no function `process-task`"));
    };
    let attribute = QueueAttributeName::VisibilityTimeout;
    let call = cloud.sqs.get_queue_attributes().queue_url(&queue.url).attribute_names(attribute.clone());
    let found = call.send().await.map_err(CallError::of(operation))?;
    let seconds = found.attributes().and_then(|attributes| attributes.get(&attribute)?.parse().ok());
    let seconds: u64 = seconds.unwrap_or_default();
    let call = cloud.lambda.get_function_configuration().function_name(&worker.name);
    let found = call.send().await.map_err(CallError::of("lambda:GetFunctionConfiguration"))?;
    let timeout = u64::try_from(found.timeout().unwrap_or_default()).unwrap_or_default();
    let holds = seconds >= VISIBILITY_PER_TIMEOUT * timeout;
    let detail = format!("{seconds} s, and the worker's timeout is {timeout} s; six times that is needed");
    Ok(Finding::new(name, holds, detail))
}

/// Dead letters of others have other owners: they are told apart, as long as they can all be read. A redrive moves them as
/// well.
pub(super) async fn dead_letters(
    cloud: &Cloud,
    stack: &Stack,
    intent: Intent<'_>,
) -> Result<Finding, CallError> {
    let Some(queue) = stack.queues.get("tasks-dlq") else {
        return Ok(Finding::new(DEAD_LETTERS, false, "the stack has none"));
    };
    let depth = observe::depth(cloud, &queue.url).await?.total();
    let redriving = intent.experiments.iter().filter(|experiment| experiment.expect.redrive);
    let redriving: Vec<&str> = redriving.map(|experiment| experiment.name.as_str()).collect();
    // An emulator is this machine's: what lies there is of whoever runs this.
    Ok(judge_dead_letters(depth, &redriving.join(", "), intent.redrive_all || cloud.emulated))
}

fn judge_dead_letters(depth: u64, redriving: &str, may_move: bool) -> Finding {
    if depth == 0 {
        return Finding::new(DEAD_LETTERS, true, "empty");
    }
    let moved = format!("the redrive of {redriving} moves them, too");
    if !redriving.is_empty() && !may_move {
        let detail = format!(
            "{depth} dead letters of earlier owners, and {moved}: redrive or delete them first, or say --redrive-all"
        );
        return Finding::new(DEAD_LETTERS, false, detail);
    }
    let moved = if redriving.is_empty() { String::new() } else { format!("; {moved}") };
    let detail = format!(
        "{depth} dead letters of earlier owners, at most {DEAD_LETTERS_MAX} can be told apart{moved}"
    );
    Finding::new(DEAD_LETTERS, depth <= DEAD_LETTERS_MAX, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_of_others_are_moved_only_where_somebody_said_so() {
        for (depth, redriving, may_move, holds) in [
            (0, "a", false, true),
            (3, "", false, true),
            (3, "a, b", false, false),
            (3, "a, b", true, true),
            (DEAD_LETTERS_MAX + 1, "", true, false),
        ] {
            let finding = judge_dead_letters(depth, redriving, may_move);
            assert_eq!(finding.holds, holds, "{finding}");
            assert_eq!(finding.detail.contains("--redrive-all"), !holds && !may_move, "{finding}");
            assert!(depth == 0 || finding.detail.contains(redriving), "{finding}");
        }
    }
}
