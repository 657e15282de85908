//! One run of a template.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::template::{Template, seconds};

/// Of an experiment and, with `Skipped`, of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Initiating,
    Running,
    Completed,
    Stopping,
    Stopped,
    Failed,
    Cancelled,
    Skipped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Initiating => "initiating",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Stopped | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

/// Why an experiment failed, in the documented codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) location: String,
    pub(crate) reason: String,
}

#[derive(Clone, Debug)]
pub(crate) struct ActionRun {
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) started_ms: Option<i64>,
    pub(crate) ended_ms: Option<i64>,
}

impl ActionRun {
    pub(crate) fn waiting() -> Self {
        Self { status: Status::Pending, reason: "Initial state".into(), started_ms: None, ended_ms: None }
    }

    pub(crate) fn end(&mut self, status: Status, reason: &str, now_ms: i64) {
        self.status = status;
        reason.clone_into(&mut self.reason);
        self.ended_ms = Some(now_ms);
    }
}

/// A resource that a target of the template turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) target: String,
    pub(crate) resource_type: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) qualifier: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) template: Template,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) failure: Option<Failure>,
    pub(crate) actions: BTreeMap<String, ActionRun>,
    pub(crate) resolved: Vec<Resolved>,
    pub(crate) skip_all: bool,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_ms: i64,
    pub(crate) started_ms: Option<i64>,
    pub(crate) ended_ms: Option<i64>,
    /// Why it shall stop, once someone wants that.
    pub(crate) stop_reason: Option<String>,
    pub(crate) stop: Arc<Notify>,
}

impl Experiment {
    pub(crate) fn end(&mut self, status: Status, reason: &str, now_ms: i64) {
        self.status = status;
        reason.clone_into(&mut self.reason);
        self.ended_ms = Some(now_ms);
    }

    /// Asks a running experiment to stop; the runner does it.
    pub(crate) fn ask_to_stop(&mut self, reason: &str) {
        self.status = Status::Stopping;
        reason.clone_into(&mut self.reason);
        self.stop_reason = Some(reason.to_owned());
        self.stop.notify_one();
    }

    fn state(&self) -> Value {
        let mut state = json!({"status": self.status.name(), "reason": self.reason});
        if let Some(failure) = &self.failure {
            let account = self.arn.split(':').nth(4).unwrap_or_default();
            state["error"] =
                json!({"accountId": account, "code": failure.code, "location": failure.location});
        }
        state
    }

    /// No report is made: whoever waits for one hears of it when AWS would begin to make it.
    fn report_state(&self) -> Value {
        if self.ended_ms.is_none() {
            return json!({"status": "pending", "reason": "The experiment has not ended."});
        }
        json!({"status": "failed", "reason": "Reports of experiments are not part of this emulator."})
    }

    fn options(&self) -> Value {
        let mut options = self.template.options();
        options["actionsMode"] = json!(if self.skip_all { "skip-all" } else { "run-all" });
        options
    }

    pub(crate) fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "arn": self.arn,
            "experimentTemplateId": self.template.id,
            "state": self.state(),
            "creationTime": seconds(self.created_ms),
            "tags": self.tags,
            "experimentOptions": self.options(),
        })
    }

    pub(crate) fn describe(&self) -> Value {
        let mut out = self.summary();
        out["roleArn"] = json!(self.template.role_arn);
        out["targets"] = json!(self.template.targets);
        out["stopConditions"] = json!(self.template.stop_conditions);
        out["targetAccountConfigurationsCount"] = json!(0);
        out["actions"] = json!({});
        for (name, run) in &self.actions {
            let Some(action) = self.template.actions.get(name) else { continue };
            let mut shown = json!(action);
            shown["state"] = json!({"status": run.status.name(), "reason": run.reason});
            time(&mut shown, "startTime", run.started_ms);
            time(&mut shown, "endTime", run.ended_ms);
            out["actions"][name] = shown;
        }
        if let Some(configuration) = &self.template.log_configuration {
            out["logConfiguration"] = json!(configuration);
        }
        if let Some(configuration) = &self.template.report_configuration {
            out["experimentReportConfiguration"] = configuration.clone();
            out["experimentReport"] = json!({"state": self.report_state()});
        }
        time(&mut out, "startTime", self.started_ms);
        time(&mut out, "endTime", self.ended_ms);
        out
    }
}

fn time(out: &mut Value, member: &str, at_ms: Option<i64>) {
    if let Some(at_ms) = at_ms {
        out[member] = json!(seconds(at_ms));
    }
}
