//! Names and tags say what may be touched. An account or a resource of production is never touched, and what a fault aims at
//! must say that it may be.

use std::collections::BTreeMap;

use loadtest::stack::Stack;

use super::Finding;
use crate::cloud::{CallError, Cloud};
use crate::experiment::{Experiment, FaultKind, FaultSpec};

/// What Terraform puts on every resource of a stack that allows fault injection.
pub(super) const ALLOWED: (&str, &str) = ("chaos", "allowed");
const STAGE_KEYS: [&str; 4] = ["environment", "env", "stage", "tier"];
const PRODUCTION: [&str; 4] = ["production", "prod", "prd", "live"];

pub(super) type Tags = BTreeMap<String, String>;

pub(super) async fn look(
    cloud: &Cloud,
    stack: &Stack,
    experiments: &[Experiment],
) -> Result<Vec<Finding>, CallError> {
    let tags = read(cloud, stack).await?;
    let targets = experiments.iter().flat_map(Experiment::fault_specs).map(target);
    Ok(judge(&tags, targets))
}

/// An account has no tags of its own that it can read; its alias is what people call it.
pub(super) async fn account(cloud: &Cloud) -> Result<Finding, CallError> {
    Ok(judge_account(&cloud.iam.account_aliases().await?))
}

fn judge_account(aliases: &[String]) -> Finding {
    let name = "account not production";
    let of_production = |alias: &&String| alias.split('-').any(is_production_word);
    match (aliases.iter().find(of_production), aliases.first()) {
        (Some(alias), _) => Finding::new(name, false, format!("its alias is {alias}")),
        (None, Some(alias)) => Finding::new(name, true, format!("its alias is {alias}")),
        (None, None) => Finding::new(name, true, "it has no alias"),
    }
}

/// By the names of the stack file.
async fn read(cloud: &Cloud, stack: &Stack) -> Result<BTreeMap<String, Tags>, CallError> {
    let mut all = BTreeMap::new();
    for (name, function) in &stack.functions {
        let found = cloud.lambda.list_tags().resource(&function.arn).send().await;
        let tags = found.map_err(CallError::of("lambda:ListTags"))?.tags;
        all.insert(name.clone(), collect(tags.unwrap_or_default()));
    }
    for (name, queue) in &stack.queues {
        let found = cloud.sqs.list_queue_tags().queue_url(&queue.url).send().await;
        let tags = found.map_err(CallError::of("sqs:ListQueueTags"))?.tags;
        all.insert(format!("queue {name}"), collect(tags.unwrap_or_default()));
    }
    for (name, table) in &stack.tables {
        let found = cloud.dynamodb.list_tags_of_resource().resource_arn(&table.arn).send().await;
        let tags = found.map_err(CallError::of("dynamodb:ListTagsOfResource"))?.tags;
        let tags = tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
        all.insert(format!("table {name}"), collect(tags));
    }
    let found = cloud.apigateway.get_api().api_id(&stack.http_api.id).send().await;
    let tags = found.map_err(CallError::of("apigateway:GET"))?.tags;
    all.insert(HTTP_API.to_owned(), collect(tags.unwrap_or_default()));
    Ok(all)
}

const HTTP_API: &str = "http-api";

fn collect(tags: impl IntoIterator<Item = (String, String)>) -> Tags {
    tags.into_iter().collect()
}

/// The resource that a fault changes, as `read` names it. A mapping has no tags of its own: its function's count.
fn target(spec: &FaultSpec) -> String {
    match spec.kind {
        FaultKind::QueueVisibilityTimeout | FaultKind::QueueDeny => format!("queue {}", spec.target),
        FaultKind::TableOnDemandCap | FaultKind::TableProvisionedCapacity | FaultKind::TableDeny => {
            format!("table {}", spec.target)
        }
        FaultKind::HttpThrottle => HTTP_API.to_owned(),
        FaultKind::MappingDisabled | FaultKind::MappingMaximumConcurrency => "process-task".to_owned(),
        FaultKind::FisInvocationError
        | FaultKind::FisInvocationDelay
        | FaultKind::FisHttpResponse
        | FaultKind::FisAction
        | FaultKind::RolePermission
        | FaultKind::LambdaReservedConcurrency => spec.target.clone(),
    }
}

fn judge(tags: &BTreeMap<String, Tags>, targets: impl Iterator<Item = String>) -> Vec<Finding> {
    let production: Vec<&str> =
        tags.iter().filter(|(_, tags)| is_production(tags)).map(|(name, _)| name.as_str()).collect();
    let none_of_production = match production.as_slice() {
        [] => Finding::new("not production", true, format!("none of {} resources says so", tags.len())),
        names => Finding::new("not production", false, format!("tagged as production: {}", names.join(", "))),
    };
    let mut barred: Vec<String> =
        targets.filter(|target| !tags.get(target).is_some_and(is_allowed)).collect();
    barred.sort();
    barred.dedup();
    let (key, value) = ALLOWED;
    let allowed = match barred.as_slice() {
        [] => Finding::new("targets allowed", true, format!("every target is tagged {key}={value}")),
        names => {
            let detail = format!("not tagged {key}={value}: {}", names.join(", "));
            Finding::new("targets allowed", false, detail)
        }
    };
    vec![none_of_production, allowed]
}

fn is_production(tags: &Tags) -> bool {
    tags.iter().any(|(key, value)| {
        STAGE_KEYS.contains(&key.to_ascii_lowercase().as_str()) && is_production_word(value)
    })
}

fn is_production_word(word: &str) -> bool {
    PRODUCTION.contains(&word.to_ascii_lowercase().as_str())
}

fn is_allowed(tags: &Tags) -> bool {
    let (key, value) = ALLOWED;
    tags.get(key).is_some_and(|found| found == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn holds(of_worker: Tags, of_queue: Tags, targets: &[&str]) -> (bool, bool) {
        let all =
            BTreeMap::from([("process-task".to_owned(), of_worker), ("queue tasks".to_owned(), of_queue)]);
        let findings = judge(&all, targets.iter().map(|target| (*target).to_owned()));
        (findings[0].holds, findings[1].holds)
    }

    #[test]
    fn anything_of_production_bars_the_whole_stack_whatever_it_allows() {
        for (key, value) in
            [("environment", "production"), ("Env", "PROD"), ("stage", "live"), ("Tier", "prd")]
        {
            let marked = tags(&[ALLOWED, (key, value)]);
            assert_eq!(holds(tags(&[ALLOWED]), marked, &["process-task"]), (false, true), "{key}={value}");
        }
        let harmless = tags(&[ALLOWED, ("environment", "dev"), ("team", "prod")]);
        assert_eq!(holds(harmless.clone(), harmless, &["process-task"]), (true, true));
    }

    #[test]
    fn an_account_that_is_called_production_is_barred() {
        let holds = |aliases: &[&str]| {
            judge_account(&aliases.iter().map(|alias| (*alias).to_owned()).collect::<Vec<_>>()).holds
        };
        for alias in ["prod", "acme-production", "live-eu", "acme-prd-1"] {
            assert!(!holds(&[alias]), "{alias}");
        }
        assert!(holds(&[]) && holds(&["acme-dev"]) && holds(&["delivery-products"]));
    }

    #[test]
    fn only_what_is_aimed_at_must_say_that_it_may_be_touched() {
        let (allowed, silent) = (tags(&[ALLOWED]), Tags::new());
        assert_eq!(holds(allowed.clone(), silent.clone(), &["process-task"]), (true, true));
        assert_eq!(holds(allowed.clone(), silent, &["process-task", "queue tasks"]), (true, false));
        assert_eq!(holds(allowed, tags(&[("chaos", "forbidden")]), &["queue tasks"]), (true, false));
        assert_eq!(holds(Tags::new(), Tags::new(), &[]), (true, true));
    }
}
