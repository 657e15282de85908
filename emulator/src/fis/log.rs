//! The log of an experiment: what happened to it, record by record, in a stream of its own.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::FisError;
use super::experiment::{ActionRun, Experiment, Failure, Resolved, Status};
use super::template::{Action, Target, Template};
use super::{Fis, permission};
use crate::clock::iso8601;
use crate::logs::Logs;

/// "The current schema version is 2." Version 1 says less.
const SCHEMA_VERSION_MAX: i64 = 2;
/// What delivering a log takes, in the name of the experiment's role.
const DELIVERY: [&str; 4] = [
    "logs:CreateLogDelivery",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
];

/// Where a template's experiments are logged.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogConfiguration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cloud_watch_logs_configuration: Option<LogGroup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s3_configuration: Option<Bucket>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_schema_version: Option<i64>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct LogGroup {
    log_group_arn: String,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    bucket_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

impl LogConfiguration {
    /// One without a destination is how logging is turned off.
    pub(crate) fn is_off(&self) -> bool {
        self.cloud_watch_logs_configuration.is_none() && self.s3_configuration.is_none()
    }

    /// # Errors
    /// A schema that there is not, or a log group's ARN that is not one.
    pub(crate) fn check(&self) -> Result<(), FisError> {
        if !self.log_schema_version.is_some_and(|version| (1..=SCHEMA_VERSION_MAX).contains(&version)) {
            return Err(FisError::validation("The log schema version must be 1 or 2."));
        }
        match &self.cloud_watch_logs_configuration {
            Some(group) if group.name().is_none() => Err(FisError::validation(
                "The log group ARN is not valid. It must be the ARN of a log group and end with :*.",
            )),
            _ => Ok(()),
        }
    }
}

impl LogGroup {
    fn name(&self) -> Option<&str> {
        let parts: Vec<&str> = self.log_group_arn.split(':').collect();
        match parts.as_slice() {
            ["arn", _, "logs", _, _, "log-group", name, "*"] if !name.is_empty() => Some(name),
            _ => None,
        }
    }
}

/// Writes an experiment's log, and knows what of it is written. Without a log group nothing is.
#[derive(Debug, Default)]
pub(crate) struct ExperimentLog {
    stream: Option<Stream>,
    started: HashSet<String>,
    ended: HashSet<String>,
    is_over: bool,
}

#[derive(Debug)]
struct Stream {
    logs: Logs,
    group: String,
    experiment: String,
    account_id: String,
    version: i64,
}

impl ExperimentLog {
    /// # Errors
    /// `AuthorizationFailure`, or a log group that is not there.
    pub(crate) fn open(fis: &Fis, template: &Template, experiment: &str) -> Result<Self, Failure> {
        let settings = &fis.inner.settings;
        let Some(configuration) = &template.log_configuration else { return Ok(Self::default()) };
        for action in DELIVERY {
            permission::check(fis, &template.role_arn, "", action, "*")?;
        }
        if configuration.s3_configuration.is_some() {
            tracing::warn!(experiment, "logs of experiments are not delivered to S3");
        }
        let group = configuration.cloud_watch_logs_configuration.as_ref();
        let Some(name) = group.and_then(LogGroup::name) else { return Ok(Self::default()) };
        if !settings.logs.has_group(name) {
            let reason = format!("The log group {name} was not found.");
            return Err(Failure { code: "ConfigurationFailure", location: String::new(), reason });
        }
        let stream = Stream {
            logs: settings.logs.clone(),
            group: name.to_owned(),
            experiment: experiment.to_owned(),
            account_id: settings.account_id.to_string(),
            version: configuration.log_schema_version.unwrap_or(SCHEMA_VERSION_MAX),
        };
        Ok(Self { stream: Some(stream), ..Self::default() })
    }

    pub(crate) fn experiment_started(&self, template: &Template, at_ms: i64) {
        let Some(stream) = &self.stream else { return };
        let details = json!({"experiment_template_id": template.id, "experiment_start_time": iso8601(at_ms)});
        stream.write("experiment-start", at_ms, &details);
    }

    pub(crate) fn target_resolved(
        &self,
        name: &str,
        target: &Target,
        found: &Result<Vec<Resolved>, Failure>,
        at_ms: i64,
    ) {
        let Some(stream) = &self.stream else { return };
        let at = iso8601(at_ms);
        let started = json!({"target_resolution_start_time": at, "target_name": name});
        stream.write("target-resolution-start", at_ms, &started);
        let resolved = found.as_deref().unwrap_or_default();
        let mut ended = json!({"target_resolution_end_time": at, "target_name": name});
        if let Err(failure) = found {
            ended["error_information"] = json!(failure.reason);
        }
        if stream.version > 1 {
            ended["target_type"] = json!(target.resource_type);
            let mut detail = ended.clone();
            detail["account_id"] = json!(stream.account_id);
            detail["resolved_targets_count"] = json!(resolved.len());
            detail["status"] = json!(if found.is_ok() { "completed" } else { "failed" });
            stream.write("target-resolution-detail", at_ms, &detail);
        }
        let arns = resolved.iter().map(|one| match stream.version {
            1 => json!(one.arn),
            _ => json!({"arn": one.arn}),
        });
        ended["resolved_targets"] = arns.collect();
        ended["page"] = json!(1);
        ended["total_pages"] = json!(1);
        stream.write("target-resolution-end", at_ms, &ended);
    }

    /// Writes what has happened to the actions, and the end, since the last time.
    pub(crate) fn catch_up(&mut self, experiment: &Experiment) {
        let Some(stream) = &self.stream else { return };
        for (name, run) in &experiment.actions {
            let action = experiment.template.actions.get(name);
            let (Some(action), Some(started_ms)) = (action, run.started_ms) else { continue };
            if self.started.insert(name.clone()) {
                stream.action_started(name, action, started_ms);
            }
            if let Some(ended_ms) = run.ended_ms.filter(|_| self.ended.insert(name.clone())) {
                stream.action_ended(name, action, run, ended_ms);
            }
        }
        let ended_ms = experiment.ended_ms.filter(|_| experiment.status.is_final() && !self.is_over);
        if let Some(ended_ms) = ended_ms {
            self.is_over = true;
            let state = json!({"status": experiment.status.name(), "reason": experiment.reason});
            let details = json!({"experiment_end_time": iso8601(ended_ms), "experiment_state": state});
            stream.write("experiment-end", ended_ms, &details);
        }
    }
}

impl Stream {
    fn action_started(&self, name: &str, action: &Action, at_ms: i64) {
        let mut details = json!({
            "action_name": name,
            "action_id": action.action_id,
            "action_start_time": iso8601(at_ms),
            "action_targets": action.targets,
        });
        if !action.parameters.is_empty() {
            details["parameters"] = json!(action.parameters);
        }
        self.write("action-start", at_ms, &details);
    }

    fn action_ended(&self, name: &str, action: &Action, run: &ActionRun, at_ms: i64) {
        let details = json!({
            "action_name": name,
            "action_id": action.action_id,
            "action_state": {"status": run.status.name(), "reason": run.reason},
        });
        if run.status == Status::Failed && self.version > 1 {
            let mut error = details.clone();
            error["account_id"] = json!(self.account_id);
            self.write("action-error", at_ms, &error);
        }
        let mut ended = details;
        ended["action_end_time"] = json!(iso8601(at_ms));
        self.write("action-end", at_ms, &ended);
    }

    fn write(&self, log_type: &str, at_ms: i64, details: &Value) {
        let record = json!({
            "id": self.experiment,
            "log_type": log_type,
            "event_timestamp": iso8601(at_ms),
            "version": self.version.to_string(),
            "details": details,
        });
        let stream = format!("/aws/fis/{}", self.experiment);
        self.logs.put(&self.group, &stream, at_ms, &record.to_string());
    }
}
