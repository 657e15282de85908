//! Faults that are there before the run: what they set would be taken for what must be put back.

use std::path::Path;

use loadtest::stack::Stack;

use super::Finding;
use crate::cloud::{CallError, Cloud};
use crate::fault::Placed;
use crate::journal;

/// What the journals of other runs say, be they dead or still running.
pub(super) fn runs(runs: &Path, stack: &Stack) -> Finding {
    let name = "earlier runs";
    let mut left = journal::left_open(runs);
    left.retain(|(_, recovery)| recovery.is_of(stack.endpoint.as_deref(), &stack.region, &stack.account_id));
    if left.is_empty() {
        return Finding::new(name, true, format!("none in {} has a fault open here", runs.display()));
    }
    let told = left.iter().map(|(folder, recovery)| {
        let (count, folder) = (recovery.open.len(), folder.display());
        format!("faults open in {folder}: {count}; let it end, or `chaos recover {folder}`")
    });
    Finding::new(name, false, told.collect::<Vec<_>>().join("; "))
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
