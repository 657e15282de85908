//! Versions and aliases.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::{may_update, on_function, page_size};
use super::error::LambdaError;
use super::input::in_range;
use super::model::FunctionConfig;
use super::names::is_alias;
use super::router::{Answer, Call, empty, json};
use super::store::{Alias, Function, LATEST, Routing, Version};
use super::{Lambda, is_older_call};
use crate::repeatable;

/// AWS: the most aliases of a page, and here the default as well.
const ALIASES_MAX: u32 = 10_000;
/// The first rules by which an alias takes along what was set for it.
pub(super) const RULES_OF_ALIASES: u32 = 4;
/// AWS: of the name of a version in the weights of an alias.
const VERSION_MAX_CHARS: usize = 1_024;

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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoutingInput {
    additional_version_weights: Option<Weights>,
}

/// By version.
type Weights = BTreeMap<String, f64>;

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
    let mut out = json!({
        "AliasArn": format!("{function_arn}:{name}"),
        "Name": name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    });
    if let Some(routing) = &alias.routing {
        let weights = BTreeMap::from([(routing.version.as_str(), routing.weight)]);
        out["RoutingConfig"] = json!({"AdditionalVersionWeights": weights});
    }
    out
}

pub(super) fn unknown_alias(arn: &str, alias: &str) -> LambdaError {
    LambdaError::not_found(format!("Cannot find alias arn: {arn}:{alias}"))
}

/// None where nothing is said of it. Without any weight the alias has one version.
fn weights(config: Option<Value>) -> Result<Option<Weights>, LambdaError> {
    let Some(config) = config else { return Ok(None) };
    let weights = match serde_json::from_value::<RoutingInput>(config) {
        Ok(input) => input.additional_version_weights.unwrap_or_default(),
        // An older emulator looked at nothing but weights.
        Err(_) if repeatable::is_repeated() => return Ok(None),
        Err(error) => return Err(LambdaError::serialization(error.to_string())),
    };
    check_weights(&weights)?;
    Ok(Some(weights))
}

fn check_weights(weights: &Weights) -> Result<(), LambdaError> {
    let refuse = |constraint: &str| {
        let shown: Vec<String> =
            weights.iter().map(|(version, weight)| format!("{version}={weight:?}")).collect();
        let shown = format!("{{{}}}", shown.join(", "));
        Err(LambdaError::validation(&shown, "routingConfig.additionalVersionWeights", constraint))
    };
    if !weights.values().all(|weight| (0.0..=1.0).contains(weight)) {
        return refuse(
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, \
             Member must have value greater than or equal to 0.0, Member must not be null]",
        );
    }
    let is_number = |version: &String| {
        (1..=VERSION_MAX_CHARS).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !weights.keys().all(is_number) {
        return refuse(
            "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, \
             Member must have length greater than or equal to 1, \
             Member must satisfy regular expression pattern: [0-9]+]",
        );
    }
    Ok(())
}

fn routing(weights: Weights) -> Result<Option<Routing>, LambdaError> {
    if weights.len() > 1 {
        return Err(LambdaError::invalid_parameter(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    Ok(weights.into_iter().next().map(|(version, weight)| Routing { version, weight }))
}

/// Whether the second version of an alias goes with its first.
fn check_routing(found: &Function, version: &str, routing: Option<&Routing>) -> Result<(), LambdaError> {
    let Some(routing) = routing else { return Ok(()) };
    let refuse = |message: &str| Err(LambdaError::invalid_parameter(message));
    if version == LATEST {
        return refuse("$LATEST is not supported for an alias pointing to more than 1 version");
    }
    let unknown = |number: &str| LambdaError::function_not_found(&format!("{}:{number}", found.arn));
    let first = &found.version(Some(version)).ok_or_else(|| unknown(version))?.pool.spec;
    let second = &found.published(&routing.version).ok_or_else(|| unknown(&routing.version))?.pool.spec;
    if first.version == second.version {
        let number = &first.version;
        return refuse(&format!(
            "Invalid function version {number}. Function version {number} is already included in routing configuration."
        ));
    }
    if first.config.role != second.config.role {
        return refuse("Specified versions must be associated with the same execution role");
    }
    if first.config.dead_letter_target != second.config.dead_letter_target {
        return refuse("Specified versions must be configured with the same DLQ target");
    }
    Ok(())
}

fn check_version(found: &Function, version: &str) -> Result<(), LambdaError> {
    let is_shown_so = || version == LATEST || found.published(version).is_some() || repeatable::is_repeated();
    match found.version(Some(version)) {
        Some(_) if !found.aliases.contains_key(version) && is_shown_so() => Ok(()),
        _ => Err(LambdaError::function_not_found(&format!("{}:{version}", found.arn))),
    }
}

pub(crate) fn create_alias(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let input: AliasInput = call.body()?;
    let alias = input.name.unwrap_or_default();
    if !is_alias(&alias) {
        let constraint = "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)";
        return Err(LambdaError::validation(&alias, "name", constraint));
    }
    let weights = weights(input.routing_config)?.unwrap_or_default();
    on_function(lambda, &function, |found, _| {
        let version = input.function_version.unwrap_or_default();
        check_version(found, &version)?;
        if found.aliases.contains_key(&alias) {
            return Err(LambdaError::conflict(format!("Alias already exists: {}:{alias}", found.arn)));
        }
        let routing = routing(weights)?;
        check_routing(found, &version, routing.as_ref())?;
        let made = Alias {
            version,
            description: input.description.unwrap_or_default(),
            revision_id: lambda.new_revision(),
            routing,
        };
        let out = describe(&found.arn, &alias, &made);
        // An older emulator may have left there what was set for the last one of that name.
        if !repeatable::is_older_than(RULES_OF_ALIASES) {
            forget_settings(found, &alias);
        }
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
    let size = aliases_page(call)?;
    let after = call.query.get("Marker").map_or("", String::as_str);
    // AWS looks at the first version of an alias alone.
    let wanted = call.query.get("FunctionVersion");
    on_function(lambda, &function, |found, _| {
        let later = found.aliases.iter().filter(|(name, _)| name.as_str() > after);
        let mut listed = later.filter(|(_, alias)| wanted.is_none_or(|wanted| *wanted == alias.version));
        let page: Vec<(&String, &Alias)> = listed.by_ref().take(size).collect();
        let shown: Vec<Value> = page.iter().map(|(name, alias)| describe(&found.arn, name, alias)).collect();
        let mut out = json!({"Aliases": shown});
        if let (Some((last, _)), Some(_)) = (page.last(), listed.next()) {
            out["NextMarker"] = json!(last);
        }
        Ok(json(StatusCode::OK, &out))
    })
}

fn aliases_page(call: &Call<'_>) -> Result<usize, LambdaError> {
    let given = call.query.get("MaxItems").map(|given| given.parse::<i64>().unwrap_or_default());
    Ok(in_range(given.unwrap_or(i64::from(ALIASES_MAX)), "maxItems", 1, ALIASES_MAX)? as usize)
}

pub(crate) fn update_alias(lambda: &Lambda, call: &Call<'_>, name: &str, alias: &str) -> Answer {
    let function = call.function(name)?;
    let input: AliasInput = call.body()?;
    let weights = weights(input.routing_config)?;
    on_function(lambda, &function, |found, _| {
        if let Some(version) = &input.function_version {
            check_version(found, version)?;
        }
        let known = found.aliases.get(alias).ok_or_else(|| unknown_alias(&found.arn, alias))?;
        if input.revision_id.as_ref().is_some_and(|given| *given != known.revision_id) {
            return Err(LambdaError::stale_revision());
        }
        let version = input.function_version.unwrap_or_else(|| known.version.clone());
        let routing = match weights {
            Some(weights) => routing(weights)?,
            None => known.routing.clone(),
        };
        check_routing(found, &version, routing.as_ref())?;
        let description = input.description.unwrap_or_else(|| known.description.clone());
        let changed = Alias { version, description, revision_id: lambda.new_revision(), routing };
        let out = describe(&found.arn, alias, &changed);
        found.aliases.insert(alias.to_owned(), changed);
        Ok(json(StatusCode::OK, &out))
    })
}

pub(crate) fn delete_alias(lambda: &Lambda, call: &Call<'_>, name: &str, alias: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, _| {
        // AWS: deleting an alias that does not exist succeeds.
        let removed = found.aliases.remove(alias);
        // The next alias of that name lets nobody in whom this one did.
        if removed.is_some() && !repeatable::is_older_than(RULES_OF_ALIASES) {
            forget_settings(found, alias);
        }
        Ok(empty(StatusCode::NO_CONTENT))
    })
}

/// Who may invoke by this alias, and where the events of its invocations go.
fn forget_settings(found: &mut Function, alias: &str) {
    found.policies.remove(alias);
    found.event_configs.remove(alias);
}
