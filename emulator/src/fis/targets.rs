//! From targets in a template to resources in the account.

use rand::seq::SliceRandom;

use super::Fis;
use super::experiment::{Failure, Resolved};
use super::permission;
use super::template::{Selection, Target, Template, selection};
use crate::lambda::FaultTarget;

/// All resources of all targets, or the first reason why not. "ARN-defined targets can never be skipped."
pub(crate) fn resolve(fis: &Fis, template: &Template) -> Result<Vec<Resolved>, Failure> {
    let mut all = Vec::new();
    for (name, target) in &template.targets {
        let found = find(fis, &template.role_arn, name, target)?;
        let chosen = choose(fis, found, &target.selection_mode);
        if chosen.is_empty() && !(template.skip_empty_targets && target.resource_arns.is_empty()) {
            return Err(invalid(name, "Target resolution returned empty set"));
        }
        all.extend(chosen.into_iter().map(|function| Resolved {
            target: name.clone(),
            resource_type: target.resource_type.clone(),
            name: function.name,
            arn: function.arn,
            qualifier: target.parameters.get("functionQualifier").cloned(),
        }));
    }
    Ok(all)
}

fn find(fis: &Fis, role_arn: &str, name: &str, target: &Target) -> Result<Vec<FaultTarget>, Failure> {
    if target.resource_arns.is_empty() {
        permission::check(fis, role_arn, name, "tag:GetResources", "*")?;
        return Ok(fis.inner.lambda.fault_targets_tagged(&target.resource_tags));
    }
    let missing = |arn: &String| invalid(name, &format!("Target resolution failed: {arn} was not found"));
    let found =
        target.resource_arns.iter().map(|arn| fis.inner.lambda.fault_target(arn).ok_or_else(|| missing(arn)));
    found.collect()
}

/// PERCENT rounds down.
fn choose(fis: &Fis, mut found: Vec<FaultTarget>, mode: &str) -> Vec<FaultTarget> {
    let count = match selection(mode) {
        Some(Selection::Count(count)) => count.min(found.len()),
        Some(Selection::Percent(percent)) => found.len() * percent / 100,
        Some(Selection::All) | None => return found,
    };
    fis.inner.settings.random.with(|random| found.shuffle(random));
    found.truncate(count);
    found
}

fn invalid(target: &str, reason: &str) -> Failure {
    Failure { code: "InvalidTarget", location: target.to_owned(), reason: reason.to_owned() }
}
