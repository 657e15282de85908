//! From targets in a template to resources in the account.

use rand::seq::SliceRandom;

use super::Fis;
use super::experiment::{Failure, Resolved};
use super::permission;
use super::template::{Selection, Target, Template, selection};

/// The resources of a target. "ARN-defined targets can never be skipped."
pub(crate) fn resolve(
    fis: &Fis,
    template: &Template,
    name: &str,
    target: &Target,
) -> Result<Vec<Resolved>, Failure> {
    let found = find(fis, &template.role_arn, name, target)?;
    let chosen = choose(fis, found, &target.selection_mode);
    if chosen.is_empty() && !(template.skip_empty_targets && target.resource_arns.is_empty()) {
        return Err(invalid(name, "Target resolution returned empty set"));
    }
    Ok(chosen)
}

/// All of them, before any are chosen.
fn find(fis: &Fis, role_arn: &str, name: &str, target: &Target) -> Result<Vec<Resolved>, Failure> {
    let qualifier = target.parameters.get("functionQualifier").map(String::as_str);
    let one = |function: &str, qualifier: Option<&str>| {
        let missing = || {
            let qualifier = qualifier.map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
            failed(name, &format!("the function {function}{qualifier} was not found"))
        };
        let found = fis.inner.lambda.fault_target(function, qualifier).ok_or_else(missing);
        found.map(|found| Resolved {
            target: name.to_owned(),
            resource_type: target.resource_type.clone(),
            name: found.name,
            arn: found.arn,
            qualifier: qualifier.map(str::to_owned),
        })
    };
    if target.resource_arns.is_empty() {
        permission::check(fis, role_arn, name, "tag:GetResources", "*")?;
        let tagged = fis.inner.lambda.fault_targets_tagged(&target.resource_tags);
        return tagged.iter().map(|function| one(&function.name, qualifier)).collect();
    }
    let of_arn = |arn: &String| match parse(fis, arn) {
        None => Err(failed(name, &format!("{arn} is no function of this account and Region"))),
        Some((_, Some(own))) if qualifier.is_some_and(|other| other != own) => {
            Err(failed(name, &format!("{arn} is not what functionQualifier names")))
        }
        Some((function, own)) => one(function, own.or(qualifier)),
    };
    target.resource_arns.iter().map(of_arn).collect()
}

/// The function that an ARN names, and the version or alias if it names one. None for what is not of this account and Region.
fn parse<'a>(fis: &Fis, arn: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    let settings = &fis.inner.settings;
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "lambda", region, account, "function", name, qualifier @ ..] = parts.as_slice() else {
        return None;
    };
    let is_ours = **region == *settings.region && **account == *settings.account_id;
    (is_ours && qualifier.len() <= 1).then(|| (*name, qualifier.first().copied()))
}

/// PERCENT rounds down.
fn choose(fis: &Fis, mut found: Vec<Resolved>, mode: &str) -> Vec<Resolved> {
    let count = match selection(mode) {
        Some(Selection::Count(count)) => count.min(found.len()),
        Some(Selection::Percent(percent)) => found.len() * percent / 100,
        Some(Selection::All) | None => return found,
    };
    fis.inner.settings.random.with(|random| found.shuffle(random));
    found.truncate(count);
    found
}

fn failed(target: &str, why: &str) -> Failure {
    invalid(target, &format!("Target resolution failed: {why}"))
}

fn invalid(target: &str, reason: &str) -> Failure {
    Failure { code: "InvalidTarget", location: target.to_owned(), reason: reason.to_owned() }
}
