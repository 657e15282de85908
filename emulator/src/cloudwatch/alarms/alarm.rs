//! One alarm and its state.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::definition::Definition;
use crate::cloudwatch::evaluate::{PERIODS_BEYOND, State, evaluate};
use crate::cloudwatch::math::Grid;
use crate::cloudwatch::times::from_ms;
use crate::metrics::{MetricId, Metrics};

/// State changes remembered per alarm; AWS keeps 30 days of them.
const HISTORY_MAX: usize = 100;
/// Alarms with a period of a minute or more are evaluated every minute.
const MINUTE_MS: i64 = 60_000;

#[derive(Clone, Debug)]
struct Change {
    at_ms: i64,
    from: State,
    to: State,
    reason: String,
}

#[derive(Debug)]
pub(super) struct Alarm {
    arn: String,
    definition: Definition,
    state: State,
    reason: String,
    reason_data: Option<String>,
    updated_ms: i64,
    transitioned_ms: i64,
    configured_ms: i64,
    evaluated_ms: i64,
    tags: BTreeMap<String, String>,
    changes: VecDeque<Change>,
}

impl Alarm {
    pub(super) fn new(arn: String, definition: Definition, now_ms: i64) -> Self {
        Self {
            arn,
            definition,
            state: State::InsufficientData,
            reason: "Unchecked: Initial alarm creation".to_owned(),
            reason_data: None,
            updated_ms: now_ms,
            transitioned_ms: now_ms,
            configured_ms: now_ms,
            evaluated_ms: i64::MIN,
            tags: BTreeMap::new(),
            changes: VecDeque::new(),
        }
    }

    /// "When you update an existing alarm, its state is left unchanged."
    pub(super) fn redefine(&mut self, definition: Definition, now_ms: i64) {
        self.definition = definition;
        self.configured_ms = now_ms;
        self.evaluated_ms = i64::MIN;
    }

    pub(super) fn name(&self) -> &str {
        &self.definition.name
    }

    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// None for metric math.
    pub(super) fn metric(&self) -> Option<&MetricId> {
        self.definition.watched.metric()
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
            members.insert("StateValue".to_owned(), json!(self.state.name()));
            members.insert("StateReason".to_owned(), json!(self.reason));
            members.insert("StateReasonData".to_owned(), json!(self.reason_data));
            members.insert("StateUpdatedTimestamp".to_owned(), from_ms(self.updated_ms));
            members.insert("StateTransitionedTimestamp".to_owned(), from_ms(self.transitioned_ms));
            members.insert("AlarmConfigurationUpdatedTimestamp".to_owned(), from_ms(self.configured_ms));
        }
        described
    }

    /// Newest first.
    pub(super) fn history(&self) -> impl Iterator<Item = Value> {
        self.changes.iter().rev().map(|change| {
            let (from, to) = (change.from.name(), change.to.name());
            json!({
                "AlarmName": self.name(), "AlarmType": "MetricAlarm", "HistoryItemType": "StateUpdate",
                "Timestamp": from_ms(change.at_ms),
                "HistorySummary": format!("Alarm updated from {from} to {to}"),
                "HistoryData": json!({"version": "1.0", "oldState": {"stateValue": from},
                    "newState": {"stateValue": to, "stateReason": change.reason}}).to_string(),
            })
        })
    }

    /// Takes a state with its reason; the change is remembered when it is one.
    pub(super) fn enter(&mut self, state: State, reason: String, data: Option<String>, now_ms: i64) {
        if state != self.state {
            if self.changes.len() == HISTORY_MAX {
                self.changes.pop_front();
            }
            let change = Change { at_ms: now_ms, from: self.state, to: state, reason: reason.clone() };
            self.changes.push_back(change);
            self.transitioned_ms = now_ms;
        }
        (self.state, self.reason, self.reason_data, self.updated_ms) = (state, reason, data, now_ms);
    }

    /// Evaluates the alarm if its time has come.
    pub(super) fn evaluate(&mut self, metrics: &Metrics, now_ms: i64) {
        let step_ms = if self.definition.period_s < 60 { self.definition.period_s * 1000 } else { MINUTE_MS };
        let end_ms = now_ms.div_euclid(step_ms) * step_ms;
        if end_ms <= self.evaluated_ms {
            return;
        }
        self.evaluated_ms = end_ms;
        let points = self.points(metrics, end_ms);
        let breaches: Vec<Option<bool>> =
            points.iter().map(|(_, value)| value.map(|value| self.is_breaching(value))).collect();
        let state = evaluate(&breaches, self.definition.rule).unwrap_or(self.state);
        if state != self.state {
            let (reason, data) = (self.explain(state, &points), self.explain_data(&points, now_ms));
            self.enter(state, reason, Some(data), now_ms);
        }
    }

    fn is_breaching(&self, value: f64) -> bool {
        self.definition.comparison.is_breaching(value, self.definition.threshold)
    }

    /// From old to new: the start of each period, and its value.
    fn points(&self, metrics: &Metrics, end_ms: i64) -> Vec<(i64, Option<f64>)> {
        let period_ms = self.definition.period_s * 1000;
        let grid = (1..).map(|count: i64| Grid { start_ms: end_ms - count * period_ms, end_ms, period_ms });
        let grid = grid.take(self.definition.rule.evaluation_periods + PERIODS_BEYOND).last();
        grid.map(|grid| self.definition.watched.points(metrics, grid)).unwrap_or_default()
    }

    fn explain(&self, state: State, points: &[(i64, Option<f64>)]) -> String {
        let definition = &self.definition;
        let real: Vec<(i64, f64)> = points
            .iter()
            .rev()
            .filter_map(|(at_ms, value)| Some((*at_ms, (*value)?)))
            .take(definition.rule.evaluation_periods)
            .collect();
        let (count, plural) = (real.len(), if real.len() == 1 { "" } else { "s" });
        if state == State::InsufficientData {
            return "Insufficient Data: 1 datapoint was unknown.".to_owned();
        }
        if real.is_empty() {
            let periods = definition.rule.evaluation_periods;
            let treated = if state == State::Alarm { "Breaching" } else { "NonBreaching" };
            return format!(
                "Threshold Crossed: no datapoints were received for {periods} period{s} and {periods} missing \
                 datapoint{s} {were} treated as [{treated}].",
                s = if periods == 1 { "" } else { "s" },
                were = if periods == 1 { "was" } else { "were" },
            );
        }
        let shown: Vec<String> =
            real.iter().map(|(at_ms, value)| format!("{value:?} ({})", reason_time(*at_ms))).collect();
        let verb = match (state, count) {
            (State::Alarm, 1) => "was",
            (State::Alarm, _) => "were",
            (_, 1) => "was not",
            (_, _) => "were not",
        };
        format!(
            "Threshold Crossed: {count} datapoint{plural} [{}] {verb} {} the threshold ({:?}).",
            shown.join(", "),
            definition.comparison.words(),
            definition.threshold
        )
    }

    fn explain_data(&self, points: &[(i64, Option<f64>)], now_ms: i64) -> String {
        let recent: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
        let start_ms = points.iter().find(|(_, value)| value.is_some()).map(|(at_ms, _)| *at_ms);
        json!({
            "version": "1.0", "queryDate": iso(now_ms), "startDate": start_ms.map(iso),
            "period": self.definition.period_s, "recentDatapoints": recent, "threshold": self.definition.threshold,
        })
        .to_string()
    }
}

fn reason_time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%d/%m/%y %H:%M:%S").to_string()
}

fn iso(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}
