//! One alarm and its state.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::definition::Definition;
use super::history::{History, Item};
use super::reason::Reason;
use super::watched::Point;
use crate::cloudwatch::EVALUATION_STEP_MS;
use crate::cloudwatch::evaluate::{PERIODS_BEYOND, State, evaluate};
use crate::cloudwatch::math::Grid;
use crate::cloudwatch::statistic::MetricStat;
use crate::cloudwatch::times::from_ms;
use crate::metrics::Metrics;

/// Alarms with a period of a minute or more are evaluated every minute.
const MINUTE_MS: i64 = 60_000;

/// A state and what led to it.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) reason: String,
    /// A JSON text, of an evaluation or of whoever set the state.
    pub(super) reason_data: Option<String>,
}

impl Verdict {
    /// As the history has it.
    fn describe(&self) -> Value {
        let mut described = json!({"stateValue": self.state.name(), "stateReason": self.reason});
        if let (Some(data), Some(members)) = (&self.reason_data, described.as_object_mut()) {
            let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data.as_str()));
            members.insert("stateReasonData".to_owned(), data);
        }
        described
    }
}

#[derive(Debug)]
pub(super) struct Alarm {
    arn: String,
    definition: Definition,
    verdict: Verdict,
    updated_ms: i64,
    transitioned_ms: i64,
    configured_ms: i64,
    evaluated_ms: i64,
    tags: BTreeMap<String, String>,
}

impl Alarm {
    pub(super) fn new(arn: String, definition: Definition, now_ms: i64) -> Self {
        let reason = "Unchecked: Initial alarm creation".to_owned();
        Self {
            arn,
            definition,
            verdict: Verdict { state: State::InsufficientData, reason, reason_data: None },
            updated_ms: now_ms,
            transitioned_ms: now_ms,
            configured_ms: now_ms,
            evaluated_ms: i64::MIN,
            tags: BTreeMap::new(),
        }
    }

    /// "When you update an existing alarm, its state is left unchanged."
    pub(super) fn redefine(&mut self, definition: Definition, now_ms: i64, history: &mut History) {
        let before = self.describe();
        self.definition = definition;
        self.configured_ms = now_ms;
        self.evaluated_ms = i64::MIN;
        history.push(Item::updated(self.name(), now_ms, before, self.describe()));
    }

    pub(super) fn name(&self) -> &str {
        &self.definition.name
    }

    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn state(&self) -> State {
        self.verdict.state
    }

    /// None for metric math.
    pub(super) fn stat(&self) -> Option<&MetricStat> {
        self.definition.watched.stat()
    }

    pub(super) fn enable_actions(&mut self, is_enabled: bool) {
        self.definition.actions_enabled = is_enabled;
    }

    pub(super) fn tag(&mut self, tags: &[(String, String)]) {
        self.tags.extend(tags.iter().cloned());
    }

    pub(super) fn untag(&mut self, keys: &[String]) {
        self.tags.retain(|key, _| !keys.contains(key));
    }

    pub(super) fn tags(&self) -> Vec<Value> {
        self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
    }

    pub(super) fn describe(&self) -> Value {
        let mut described = self.definition.describe();
        if let Some(members) = described.as_object_mut() {
            members.insert("AlarmArn".to_owned(), json!(self.arn));
            members.insert("ActionsEnabled".to_owned(), json!(self.definition.actions_enabled));
            members.insert("StateValue".to_owned(), json!(self.verdict.state.name()));
            members.insert("StateReason".to_owned(), json!(self.verdict.reason));
            members.insert("StateReasonData".to_owned(), json!(self.verdict.reason_data));
            members.insert("StateUpdatedTimestamp".to_owned(), from_ms(self.updated_ms));
            members.insert("StateTransitionedTimestamp".to_owned(), from_ms(self.transitioned_ms));
            members.insert("AlarmConfigurationUpdatedTimestamp".to_owned(), from_ms(self.configured_ms));
        }
        described
    }

    /// Takes a state with its reason. A change is remembered, with the actions that AWS takes on it.
    pub(super) fn enter(&mut self, verdict: Verdict, now_ms: i64, history: &mut History) {
        if verdict.state != self.verdict.state {
            let (old, new) = (self.verdict.describe(), verdict.describe());
            history.push(Item::state_update(self.name(), now_ms, &old, &new));
            for arn in self.definition.actions(verdict.state) {
                history.push(Item::action(self.name(), now_ms, &arn));
            }
            self.transitioned_ms = now_ms;
        }
        (self.verdict, self.updated_ms) = (verdict, now_ms);
    }

    /// Evaluates the alarm if its time has come.
    pub(super) fn evaluate(&mut self, metrics: &Metrics, now_ms: i64, history: &mut History) {
        let step_ms = if self.definition.period_s < 60 { EVALUATION_STEP_MS } else { MINUTE_MS };
        let end_ms = now_ms.div_euclid(step_ms) * step_ms;
        if end_ms <= self.evaluated_ms {
            return;
        }
        self.evaluated_ms = end_ms;
        let points = self.points(metrics, end_ms);
        if self.has_few_samples(&points) {
            return;
        }
        let is_breaching = |point: &Point| point.value.map(|value| self.definition.is_breaching(value));
        let breaches: Vec<Option<bool>> = points.iter().map(is_breaching).collect();
        let state = evaluate(&breaches, self.definition.rule).unwrap_or(self.verdict.state);
        if state != self.verdict.state {
            self.enter(self.verdict(state, &points, now_ms), now_ms, history);
        }
    }

    /// Too few to believe the percentile. None at all are missing data.
    fn has_few_samples(&self, points: &[Point]) -> bool {
        let evaluated = points.iter().rev().take(self.definition.rule.evaluation_periods);
        let samples: f64 = evaluated.filter_map(|point| point.sample_count).sum();
        samples > 0.0 && samples < self.definition.samples_min
    }

    fn verdict(&self, state: State, points: &[Point], now_ms: i64) -> Verdict {
        let reason = Reason::new(&self.definition, points);
        Verdict { state, reason: reason.text(state), reason_data: Some(reason.data(now_ms)) }
    }

    /// From old to new.
    fn points(&self, metrics: &Metrics, end_ms: i64) -> Vec<Point> {
        let period_ms = self.definition.period_s * 1000;
        let grid = (1..).map(|count: i64| Grid { start_ms: end_ms - count * period_ms, end_ms, period_ms });
        let grid = grid.take(self.definition.rule.evaluation_periods + PERIODS_BEYOND).last();
        grid.map(|grid| self.definition.watched.points(metrics, grid)).unwrap_or_default()
    }
}
