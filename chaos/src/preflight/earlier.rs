//! Faults that are there before the run: what they set would be taken for what must be put back.

use std::path::{Path, PathBuf};

use loadtest::stack::Stack;

use super::Finding;
use crate::cloud::{CallError, Cloud};
use crate::fault::Placed;
use crate::journal::{self, Recovery};

/// What the journals of other runs say. One that goes on bars another one in its account and Region. Of the same account may
/// also be a stack that is no more, or another one: what was changed there bars nothing here.
pub(super) fn runs(runs: &Path, stack: &Stack) -> Finding {
    let name = "earlier runs";
    let is_of_target =
        |recovery: &Recovery| recovery.is_of(stack.endpoint.as_deref(), &stack.region, &stack.account_id);
    let mut live = journal::live(runs);
    // Of one that goes on nobody knows what it is about to change.
    live.retain(|(_, recovery)| is_of_target(recovery));
    if !live.is_empty() {
        let told: Vec<String> = live.iter().map(|(folder, _)| folder.display().to_string()).collect();
        let told = told.join(", ");
        let detail =
            format!("still going on: {told}; let it end, or take another `--out` for another stack's run");
        return Finding::new(name, false, detail);
    }
    let mut left = journal::left_open(runs);
    left.retain(|(_, recovery)| is_of_target(recovery));
    let is_here = |recovery: &Recovery| recovery.open.iter().any(|entry| entry.lever.is_of(stack));
    let (here, elsewhere): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, recovery)| is_here(recovery));
    if !here.is_empty() {
        let told = here.iter().map(|(folder, recovery)| {
            let (count, folder) = (recovery.open.len(), folder.display());
            format!("faults open in {folder}: {count}; `chaos recover {folder}`")
        });
        return Finding::new(name, false, told.collect::<Vec<_>>().join("; "));
    }
    let mut detail = format!("none in {} has a fault open here", runs.display());
    elsewhere.iter().for_each(|run| detail.push_str(&told_of(run)));
    Finding::new(name, true, detail)
}

fn told_of((folder, recovery): &(PathBuf, Recovery)) -> String {
    let (count, lines, folder) = (recovery.open.len(), recovery.unreadable.len(), folder.display());
    format!("; {folder} has {count} open elsewhere, and {lines} lines that cannot be read")
}

/// What the settings themselves say.
pub(super) async fn settings(cloud: &Cloud, placed: &[Placed]) -> Result<Finding, CallError> {
    let name = "settings";
    let mut faulted = Vec::new();
    for Placed { spec, lever, .. } in placed {
        if let Some(found) = lever.read_if_faulted(cloud).await? {
            faulted.push(format!("{} on {} finds {found} already", spec.kind.name(), spec.target));
        }
    }
    faulted.sort();
    faulted.dedup();
    if faulted.is_empty() {
        return Ok(Finding::new(name, true, "none is as its fault would set it"));
    }
    let detail = format!(
        "{}; `chaos recover` with the folder of the run that left it, or have the fault set something else",
        faulted.join(", ")
    );
    Ok(Finding::new(name, false, detail))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fault::{HttpThrottle, Lever, Mapping, MappingChange, QueueVisibility, ReservedConcurrency};
    use crate::journal::{Journal, Step};

    fn stack() -> Stack {
        let queue = json!({"url": "url", "arn": "arn:tasks"});
        let worker = json!({"name": "w", "arn": "arn:worker", "role_arn": "arn:role", "timeout_seconds": 10});
        let stack = json!({
            "endpoint": null, "region": "us-east-1", "account_id": "1",
            "http_url": "http://h", "websocket_url": "ws://w",
            "http_api": {"id": "api", "stage": "stage"}, "websocket_api": {"id": "socket", "stage": "stage"},
            "functions": {"process-task": worker}, "queues": {"tasks": queue}, "tables": {},
            "event_source_mapping_id": "uuid", "fault_injection": null, "auth": {"issuer": "i", "audience": "a"},
        });
        serde_json::from_value(stack).unwrap()
    }

    /// One of each kind of name by which a resource is known.
    fn levers(function_arn: &str, uuid: &str, api_id: &str, queue_arn: &str) -> [Lever; 4] {
        let (function_arn, queue_arn) = (function_arn.to_owned(), queue_arn.to_owned());
        [
            Lever::ReservedConcurrency(ReservedConcurrency {
                function: "w".into(),
                function_arn,
                concurrency: 0,
            }),
            Lever::Mapping(Mapping { uuid: uuid.into(), change: MappingChange::Disabled }),
            Lever::HttpThrottle(HttpThrottle {
                api_id: api_id.into(),
                stage: "stage".into(),
                route: None,
                rate_per_second: 5.0,
                burst: 5,
            }),
            Lever::QueueVisibility(QueueVisibility {
                queue_url: "url".into(),
                queue_arn,
                visibility_seconds: 0,
            }),
        ]
    }

    /// What is found where a run of the same account left this open.
    fn found(lever: Lever) -> Finding {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left");
        std::fs::create_dir(&left).unwrap();
        let journal = Journal::open(&left).unwrap();
        let (endpoint, region) = (None, "us-east-1".into());
        journal.record(Step::Target { endpoint, region, account_id: "1".into() }).unwrap();
        let intent = Step::Intent { fault: 0, experiment: "one".into(), lever, prior: Value::Null };
        journal.record(intent).unwrap();
        drop(journal);
        runs(folder.path(), &stack())
    }

    #[test]
    fn a_run_that_goes_on_bars_another_one_on_its_target_though_it_has_no_fault_open() {
        let folder = tempfile::tempdir().unwrap();
        for (region, is_barred) in [("us-east-1", true), ("eu-west-1", false)] {
            let going_on = folder.path().join(region);
            std::fs::create_dir(&going_on).unwrap();
            let journal = Journal::open(&going_on).unwrap();
            let (endpoint, account_id) = (None, "1".into());
            journal.record(Step::Target { endpoint, region: region.into(), account_id }).unwrap();
            let finding = runs(folder.path(), &stack());
            assert_eq!(finding.holds, !is_barred, "{finding}");
            drop(journal);
            assert!(runs(folder.path(), &stack()).holds, "it has ended");
        }
    }

    #[test]
    fn a_fault_that_is_open_on_this_stack_bars_a_run_and_one_of_a_stack_that_is_no_more_is_only_named() {
        for lever in levers("arn:worker", "uuid", "api", "arn:tasks") {
            assert!(!found(lever.clone()).holds, "{lever:?}");
        }
        for lever in levers("arn:other", "other", "other", "arn:other") {
            let finding = found(lever);
            assert!(finding.holds && finding.detail.contains("left has 1 open elsewhere"), "{finding}");
        }
    }
}
