//! Experiment templates: what a caller may ask for, checked before anything is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::catalogue::{self, RESOURCE_TYPES, fault_of};
use super::error::FisError;
use super::log::LogConfiguration;
use crate::wire::Object;

/// AWS quotas.
const ACTIONS_MAX: usize = 20;
const STOP_CONDITIONS_MAX: usize = 5;
const ARNS_MAX: usize = 5;
const PARALLEL_MAX: usize = 10;
const PARAMETER_MAX_CHARS: usize = 1_024;

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) resource_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_arns: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) resource_tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<Value>,
    pub(crate) selection_mode: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parameters: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    /// Only an update may leave it out.
    #[serde(default)]
    pub(crate) action_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) targets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) start_after: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StopCondition {
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

/// The members of CreateExperimentTemplate and, with everything optional, of UpdateExperimentTemplate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    pub(crate) client_token: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) role_arn: Option<String>,
    pub(crate) stop_conditions: Option<Vec<StopCondition>>,
    pub(crate) targets: Option<BTreeMap<String, Target>>,
    #[serde(default, deserialize_with = "actions")]
    pub(crate) actions: Option<BTreeMap<String, Action>>,
    pub(crate) log_configuration: Option<LogConfiguration>,
    pub(crate) experiment_options: Option<Options>,
    pub(crate) experiment_report_configuration: Option<Value>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// Read as by whoever judges the call.
fn actions<'de, D: Deserializer<'de>>(members: D) -> Result<Option<BTreeMap<String, Action>>, D::Error> {
    let actions = Option::<BTreeMap<String, Object<Action>>>::deserialize(members)?;
    let named = |(name, Object(action))| (name, action);
    Ok(actions.map(|actions| actions.into_iter().map(named).collect()))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Options {
    pub(crate) account_targeting: Option<String>,
    pub(crate) empty_target_resolution_mode: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) description: String,
    pub(crate) role_arn: String,
    pub(crate) stop_conditions: Vec<StopCondition>,
    pub(crate) targets: BTreeMap<String, Target>,
    pub(crate) actions: BTreeMap<String, Action>,
    pub(crate) log_configuration: Option<LogConfiguration>,
    pub(crate) report_configuration: Option<Value>,
    pub(crate) skip_empty_targets: bool,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
}

impl Template {
    pub(crate) fn create(input: Input, id: String, arn: String, now_ms: i64) -> Result<Self, FisError> {
        let missing = |member: &str| {
            FisError::validation(format!("The request is missing the required member {member}."))
        };
        let mut template = Self {
            id,
            arn,
            description: input.description.clone().ok_or_else(|| missing("description"))?,
            role_arn: input.role_arn.clone().ok_or_else(|| missing("roleArn"))?,
            stop_conditions: input.stop_conditions.clone().ok_or_else(|| missing("stopConditions"))?,
            targets: BTreeMap::new(),
            actions: input.actions.clone().ok_or_else(|| missing("actions"))?,
            log_configuration: None,
            report_configuration: None,
            skip_empty_targets: false,
            tags: BTreeMap::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        template.tags = input.tags.clone().unwrap_or_default();
        template.update(input, now_ms)?;
        Ok(template)
    }

    /// Changes what is given, or nothing at all when the result would not be valid.
    pub(crate) fn update(&mut self, input: Input, now_ms: i64) -> Result<(), FisError> {
        let mut next = self.clone();
        next.description = input.description.unwrap_or(next.description);
        next.role_arn = input.role_arn.unwrap_or(next.role_arn);
        next.stop_conditions = input.stop_conditions.unwrap_or(next.stop_conditions);
        next.targets = input.targets.unwrap_or(next.targets);
        if let Some(actions) = input.actions {
            next.actions = self.with_ids(actions)?;
        }
        let log_configuration = input.log_configuration.or(next.log_configuration);
        next.log_configuration = log_configuration.filter(|configuration| !configuration.is_off());
        next.report_configuration = input.experiment_report_configuration.or(next.report_configuration);
        if let Some(options) = input.experiment_options {
            next.take_options(&options)?;
        }
        next.check()?;
        next.updated_ms = now_ms;
        *self = next;
        Ok(())
    }

    /// An action without an id has that of the action of its name.
    fn with_ids(&self, mut actions: BTreeMap<String, Action>) -> Result<BTreeMap<String, Action>, FisError> {
        for (name, action) in actions.iter_mut().filter(|(_, action)| action.action_id.is_empty()) {
            let before = self.actions.get(name).filter(|before| !before.action_id.is_empty());
            let before = before.ok_or_else(|| {
                let member = format!("actionId of the action {name}");
                FisError::validation(format!("The request is missing the required member {member}."))
            })?;
            action.action_id.clone_from(&before.action_id);
        }
        Ok(actions)
    }

    fn take_options(&mut self, options: &Options) -> Result<(), FisError> {
        if options.account_targeting.as_deref().is_some_and(|mode| mode != "single-account") {
            return Err(FisError::validation(
                "Only single-account experiments are supported by the emulator.",
            ));
        }
        match options.empty_target_resolution_mode.as_deref() {
            None => {}
            Some("fail") => self.skip_empty_targets = false,
            Some("skip") => self.skip_empty_targets = true,
            Some(other) => {
                return Err(FisError::validation(format!("Invalid emptyTargetResolutionMode: {other}")));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), FisError> {
        let role: Vec<&str> = self.role_arn.split(':').collect();
        if !matches!(role.as_slice(), ["arn", _, "iam", "", _, path] if path.starts_with("role/")) {
            return Err(FisError::validation("The role ARN is not valid."));
        }
        if self.actions.is_empty() {
            return Err(FisError::validation("The experiment template must have at least one action."));
        }
        if self.actions.len() > ACTIONS_MAX {
            return Err(FisError::quota(format!(
                "An experiment template can have at most {ACTIONS_MAX} actions."
            )));
        }
        self.check_stop_conditions()?;
        if let Some(configuration) = &self.log_configuration {
            configuration.check()?;
        }
        for (name, target) in &self.targets {
            check_target(name, target)?;
        }
        for (name, action) in &self.actions {
            self.check_action(name, action)?;
        }
        self.check_order()
    }

    fn check_stop_conditions(&self) -> Result<(), FisError> {
        if self.stop_conditions.is_empty() {
            return Err(FisError::validation(
                "The experiment template must have at least one stop condition.",
            ));
        }
        if self.stop_conditions.len() > STOP_CONDITIONS_MAX {
            return Err(FisError::quota(format!(
                "At most {STOP_CONDITIONS_MAX} stop conditions are allowed."
            )));
        }
        for condition in &self.stop_conditions {
            match (condition.source.as_str(), &condition.value) {
                ("none", None) => {}
                ("aws:cloudwatch:alarm", Some(arn)) if arn.contains(":alarm:") => {}
                _ => return Err(FisError::validation("The stop condition is not valid.")),
            }
        }
        Ok(())
    }

    fn check_action(&self, name: &str, action: &Action) -> Result<(), FisError> {
        let invalid = |why: &str| FisError::validation(format!("Action {name}: {why}"));
        let known = catalogue::find(&action.action_id).ok_or_else(|| {
            let emulated = catalogue::emulated();
            FisError::not_found(format!("Invalid actionId: {}. {emulated}", action.action_id))
        })?;
        for parameter in known.parameters {
            match action.parameters.get(parameter.name) {
                None if parameter.required => {
                    return Err(invalid(&format!("the required parameter {} is missing", parameter.name)));
                }
                None => {}
                Some(value) => {
                    if let Some(why) = fault_of(parameter.form, value) {
                        return Err(FisError::validation(why));
                    }
                }
            }
        }
        for (key, value) in &action.parameters {
            if known.parameters.iter().all(|parameter| parameter.name != key) {
                return Err(invalid(&format!("the parameter {key} is not known")));
            }
            // The model's pattern: no white space.
            if value.len() > PARAMETER_MAX_CHARS || value.contains(char::is_whitespace) {
                return Err(invalid(&format!("the value of {key} is not valid")));
            }
        }
        if action.action_id.starts_with("aws:fis:inject-api-") {
            return Err(invalid("API faults on EC2 and Kinesis are not supported by the emulator"));
        }
        match known.target {
            None if action.targets.is_empty() => Ok(()),
            None => Err(invalid("the action takes no target")),
            Some((key, resource_type)) => {
                let wanted = action.targets.get(key).filter(|_| action.targets.len() == 1);
                let target = wanted.and_then(|target| self.targets.get(target));
                match target {
                    Some(target) if target.resource_type == resource_type => Ok(()),
                    Some(_) => Err(invalid("the target has another resource type")),
                    None => Err(invalid(&format!("the target {key} is missing or not defined"))),
                }
            }
        }
    }

    /// `startAfter` names other actions and never leads back; at most ten may run side by side.
    fn check_order(&self) -> Result<(), FisError> {
        let mut placed: Vec<&str> = Vec::new();
        while placed.len() < self.actions.len() {
            let ready: Vec<&str> = self
                .actions
                .iter()
                .filter(|(name, _)| !placed.contains(&name.as_str()))
                .filter(|(_, action)| {
                    action.start_after.iter().all(|before| placed.contains(&before.as_str()))
                })
                .map(|(name, _)| name.as_str())
                .collect();
            if ready.is_empty() {
                return Err(FisError::validation("startAfter refers to an unknown action or is circular."));
            }
            if ready.len() > PARALLEL_MAX {
                return Err(FisError::quota(format!("At most {PARALLEL_MAX} actions can run in parallel.")));
            }
            placed.extend(ready);
        }
        Ok(())
    }

    pub(crate) fn describe(&self) -> Value {
        let mut out = self.summary();
        out["targets"] = json!(self.targets);
        out["actions"] = json!(self.actions);
        out["stopConditions"] = json!(self.stop_conditions);
        out["roleArn"] = json!(self.role_arn);
        out["experimentOptions"] = self.options();
        out["targetAccountConfigurationsCount"] = json!(0);
        if let Some(configuration) = &self.log_configuration {
            out["logConfiguration"] = json!(configuration);
        }
        if let Some(configuration) = &self.report_configuration {
            out["experimentReportConfiguration"] = configuration.clone();
        }
        out
    }

    pub(crate) fn options(&self) -> Value {
        let mode = if self.skip_empty_targets { "skip" } else { "fail" };
        json!({"accountTargeting": "single-account", "emptyTargetResolutionMode": mode})
    }

    pub(crate) fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "arn": self.arn,
            "description": self.description,
            "creationTime": seconds(self.created_ms),
            "lastUpdateTime": seconds(self.updated_ms),
            "tags": self.tags,
        })
    }
}

/// Timestamps are epoch seconds, as numbers.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit 53 bits")]
pub(crate) fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1_000.0
}

fn check_target(name: &str, target: &Target) -> Result<(), FisError> {
    let invalid = |why: &str| FisError::validation(format!("Target {name}: {why}"));
    let Some((_, _, parameters)) = RESOURCE_TYPES.iter().find(|(id, _, _)| *id == target.resource_type)
    else {
        return Err(invalid("the resource type is not known"));
    };
    if target.resource_arns.is_empty() == target.resource_tags.is_empty() {
        return Err(invalid("exactly one of resourceArns and resourceTags must be given"));
    }
    if target.resource_arns.len() > ARNS_MAX {
        return Err(invalid("at most 5 resource ARNs are allowed"));
    }
    if !target.filters.is_empty() {
        return Err(invalid("filters are not supported for this resource type"));
    }
    if let Some(unknown) = target.parameters.keys().find(|key| !parameters.contains(&key.as_str())) {
        return Err(invalid(&format!("the parameter {unknown} is not known")));
    }
    if selection(&target.selection_mode).is_none() {
        return Err(invalid("the selection mode is not valid"));
    }
    Ok(())
}

/// How many of the resources found are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    Count(usize),
    Percent(usize),
}

pub(crate) fn selection(mode: &str) -> Option<Selection> {
    if mode == "ALL" {
        return Some(Selection::All);
    }
    let (kind, number) = mode.strip_suffix(')')?.split_once('(')?;
    let number: usize = number.parse().ok().filter(|number| *number > 0)?;
    match kind {
        "COUNT" => Some(Selection::Count(number)),
        "PERCENT" if number <= 100 => Some(Selection::Percent(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeatable;

    #[tokio::test]
    async fn an_action_is_an_object_unless_an_older_emulator_took_a_list_for_one() {
        let read = || serde_json::from_str::<Input>(r#"{"actions":{"a":["aws:fis:wait"]}}"#);
        assert!(read().is_err());
        let again = repeatable::scope_again(0, 1, 0, async { read() }).await.unwrap();
        assert_eq!(again.actions.unwrap()["a"].action_id, "aws:fis:wait");
    }
}
