//! One mapping: what it is set to, and where it is between its states.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::Filter;
use super::poller::Runner;

/// How long a change takes to settle. AWS takes seconds up to a minute; long enough to be seen, short enough not to wait.
pub const SETTLE_MS: i64 = 200;

/// The settings of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub uuid: String,
    pub queue_arn: String,
    pub function_arn: String,
    pub enabled: bool,
    pub batch_size: usize,
    pub window_seconds: i64,
    pub reports_failures: bool,
    pub concurrency_max: Option<usize>,
    pub filters: Vec<Filter>,
}

/// A change on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Creating,
    Updating,
    Enabling,
    Disabling,
    Deleting,
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Enabling => "Enabling",
            Self::Disabling => "Disabling",
            Self::Deleting => "Deleting",
        }
    }
}

#[derive(Debug)]
pub struct Mapping {
    pub config: Config,
    pub tags: BTreeMap<String, String>,
    change: Change,
    settled_at_ms: i64,
    modified_ms: i64,
    runner: Option<Runner>,
}

impl Mapping {
    #[must_use]
    pub const fn new(config: Config, tags: BTreeMap<String, String>, now_ms: i64) -> Self {
        let settled_at_ms = now_ms + SETTLE_MS;
        Self { config, tags, change: Change::Creating, settled_at_ms, modified_ms: now_ms, runner: None }
    }

    #[must_use]
    pub const fn is_changing(&self, now_ms: i64) -> bool {
        now_ms < self.settled_at_ms
    }

    /// Deleted, and settled.
    #[must_use]
    pub const fn is_gone(&self, now_ms: i64) -> bool {
        matches!(self.change, Change::Deleting) && !self.is_changing(now_ms)
    }

    /// Begins a change; pollers of the settings before it stop receiving now.
    pub fn begin(&mut self, change: Change, now_ms: i64) {
        self.change = change;
        self.settled_at_ms = now_ms + SETTLE_MS;
        self.modified_ms = now_ms;
        if let Some(runner) = self.runner.take() {
            runner.stop();
        }
    }

    pub fn run(&mut self, runner: Runner) {
        self.runner = Some(runner);
    }

    pub fn take_runner(&mut self) -> Option<Runner> {
        self.runner.take()
    }

    /// When the pollers may begin.
    #[must_use]
    pub const fn settled_at_ms(&self) -> i64 {
        self.settled_at_ms
    }

    #[must_use]
    pub const fn state(&self, now_ms: i64) -> &'static str {
        if self.is_changing(now_ms) {
            return self.change.name();
        }
        if self.config.enabled { "Enabled" } else { "Disabled" }
    }

    /// As the API shows it.
    #[must_use]
    pub fn show(&self, arn: &str, now_ms: i64) -> Value {
        let config = &self.config;
        let report: &[&str] = if config.reports_failures { &["ReportBatchItemFailures"] } else { &[] };
        let mut shown = json!({
            "UUID": config.uuid,
            "BatchSize": config.batch_size,
            "MaximumBatchingWindowInSeconds": config.window_seconds,
            "EventSourceArn": config.queue_arn,
            "EventSourceMappingArn": arn,
            "FunctionArn": config.function_arn,
            "FunctionResponseTypes": report,
            "LastModified": self.modified_ms / 1_000,
            "State": self.state(now_ms),
            "StateTransitionReason": "USER_INITIATED",
        });
        if let Some(max) = config.concurrency_max {
            shown["ScalingConfig"] = json!({ "MaximumConcurrency": max });
        }
        if !config.filters.is_empty() {
            let filters = config.filters.iter().map(|filter| json!({ "Pattern": filter.text }));
            shown["FilterCriteria"] = json!({ "Filters": filters.collect::<Vec<_>>() });
        }
        shown
    }
}
