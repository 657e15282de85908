//! Versions and aliases.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::{may_update, on_function, page_size};
use super::error::LambdaError;
use super::model::FunctionConfig;
use super::names::is_alias;
use super::router::{Answer, Call, empty, json};
use super::store::{Alias, Function, LATEST, Version};
use super::{Lambda, is_older_call};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublishInput {
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AliasInput {
    name: Option<String>,
    function_version: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
    routing_config: Option<Value>,
}

/// Freezes the newest configuration as a numbered version. "Lambda doesn't publish a version if the function's
/// configuration and code haven't changed since the last version": then it is that one again.
pub(crate) fn publish_now(
    lambda: &Lambda,
    found: &mut Function,
    description: Option<String>,
    active_at_ms: i64,
) -> Arc<Version> {
    let spec = Arc::clone(&found.shown().pool.spec);
    let mut config = spec.config.clone();
    config.description = description.unwrap_or(config.description);
    if let Some(last) = found.versions.get(&found.last_version)
        && last.pool.spec.code.sha256 == spec.code.sha256
        && is_published(found, last, &spec.config, &config)
    {
        return Arc::clone(last);
    }
    found.last_version += 1;
    found.published = Some(spec.config.clone());
    let (number, code) = (found.last_version.to_string(), Arc::clone(&spec.code));
    let version = lambda.version(&spec.name, &number, config, code, active_at_ms);
    found.versions.insert(found.last_version, Arc::clone(&version));
    lambda.renew(found, None);
    version
}

/// Whether `last` was made of `latest`. A description that only the version would have made a difference once.
fn is_published(found: &Function, last: &Version, latest: &FunctionConfig, wanted: &FunctionConfig) -> bool {
    if is_older_call() { last.pool.spec.config == *wanted } else { found.published.as_ref() == Some(latest) }
}

pub(crate) fn publish(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let input: PublishInput = call.body()?;
    on_function(lambda, &function, |found, now_ms| {
        may_update(found, now_ms, input.revision_id.as_deref())?;
        let sha256 = &found.latest.pool.spec.code.sha256;
        if input.code_sha256.as_ref().is_some_and(|given| !given.is_empty() && given != sha256) {
            return Err(LambdaError::invalid_parameter(format!(
                "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({sha256}). \
                 Please try again with the CodeSHA256 in $LATEST.",
                input.code_sha256.unwrap_or_default()
            )));
        }
        let description = input.description.filter(|description| !description.is_empty());
        let version = publish_now(lambda, found, description, now_ms);
        Ok(json(StatusCode::CREATED, &version.describe(now_ms)))
    })
}

pub(crate) fn list_versions(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let size = page_size(call)?;
    let after: Option<u64> = call.query.get("Marker").and_then(|marker| marker.parse().ok());
    on_function(lambda, &function, |found, now_ms| {
        let mut versions = Vec::new();
        if after.is_none() {
            let mut latest = found.describe(now_ms);
            latest["FunctionArn"] = json!(format!("{}:{LATEST}", found.arn));
            versions.push(latest);
        }
        let later = found.versions.iter().filter(|(number, _)| after.is_none_or(|after| **number > after));
        let mut last = None;
        for (number, version) in later {
            if versions.len() == size {
                let mut out = json!({"Versions": versions});
                out["NextMarker"] = json!(last.unwrap_or(0_u64).to_string());
                return Ok(json(StatusCode::OK, &out));
            }
            versions.push(version.describe(now_ms));
            last = Some(*number);
        }
        Ok(json(StatusCode::OK, &json!({"Versions": versions})))
    })
}

fn describe(function_arn: &str, name: &str, alias: &Alias) -> Value {
    json!({
        "AliasArn": format!("{function_arn}:{name}"),
        "Name": name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    })
}

pub(super) fn unknown_alias(arn: &str, alias: &str) -> LambdaError {
    LambdaError::not_found(format!("Cannot find alias arn: {arn}:{alias}"))
}

/// Traffic shifting between versions is not built: refused rather than ignored.
fn refuse_routing(input: &AliasInput) -> Result<(), LambdaError> {
    let weights =
        input.routing_config.as_ref().and_then(|config| config["AdditionalVersionWeights"].as_object());
    if weights.is_some_and(|weights| !weights.is_empty()) {
        return Err(LambdaError::invalid_parameter("RoutingConfig is not supported by the emulator."));
    }
    Ok(())
}

fn check_version(found: &Function, version: &str) -> Result<(), LambdaError> {
    match found.version(Some(version)) {
        Some(_) if !found.aliases.contains_key(version) => Ok(()),
        _ => Err(LambdaError::function_not_found(&format!("{}:{version}", found.arn))),
    }
}

pub(crate) fn create_alias(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let input: AliasInput = call.body()?;
    refuse_routing(&input)?;
    let alias = input.name.unwrap_or_default();
    if !is_alias(&alias) {
        let constraint = "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)";
        return Err(LambdaError::validation(&alias, "name", constraint));
    }
    on_function(lambda, &function, |found, _| {
        let version = input.function_version.unwrap_or_default();
        check_version(found, &version)?;
        if found.aliases.contains_key(&alias) {
            return Err(LambdaError::conflict(format!("Alias already exists: {}:{alias}", found.arn)));
        }
        let made = Alias {
            version,
            description: input.description.unwrap_or_default(),
            revision_id: lambda.new_revision(),
        };
        let out = describe(&found.arn, &alias, &made);
        found.aliases.insert(alias, made);
        Ok(json(StatusCode::CREATED, &out))
    })
}

pub(crate) fn get_alias(lambda: &Lambda, call: &Call<'_>, name: &str, alias: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, _| {
        let known = found.aliases.get(alias).ok_or_else(|| unknown_alias(&found.arn, alias))?;
        Ok(json(StatusCode::OK, &describe(&found.arn, alias, known)))
    })
}

pub(crate) fn list_aliases(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let wanted = call.query.get("FunctionVersion");
    on_function(lambda, &function, |found, _| {
        let aliases: Vec<Value> = found
            .aliases
            .iter()
            .filter(|(_, alias)| wanted.is_none_or(|wanted| *wanted == alias.version))
            .map(|(name, alias)| describe(&found.arn, name, alias))
            .collect();
        Ok(json(StatusCode::OK, &json!({"Aliases": aliases})))
    })
}

pub(crate) fn update_alias(lambda: &Lambda, call: &Call<'_>, name: &str, alias: &str) -> Answer {
    let function = call.function(name)?;
    let input: AliasInput = call.body()?;
    refuse_routing(&input)?;
    on_function(lambda, &function, |found, _| {
        let arn = found.arn.clone();
        if let Some(version) = &input.function_version {
            check_version(found, version)?;
        }
        let known = found.aliases.get_mut(alias).ok_or_else(|| unknown_alias(&arn, alias))?;
        if input.revision_id.as_ref().is_some_and(|given| *given != known.revision_id) {
            return Err(LambdaError::stale_revision());
        }
        known.version = input.function_version.unwrap_or_else(|| known.version.clone());
        known.description = input.description.unwrap_or_else(|| known.description.clone());
        known.revision_id = lambda.new_revision();
        Ok(json(StatusCode::OK, &describe(&arn, alias, known)))
    })
}

pub(crate) fn delete_alias(lambda: &Lambda, call: &Call<'_>, name: &str, alias: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, _| {
        // AWS: deleting an alias that does not exist succeeds.
        found.aliases.remove(alias);
        Ok(empty(StatusCode::NO_CONTENT))
    })
}
