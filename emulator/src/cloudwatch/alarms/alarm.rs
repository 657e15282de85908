//! One alarm and its state.

use serde_json::{Value, json};
use uuid::Uuid;

use super::actions::{Actor, Scene};
use super::definition::Definition;
use super::history::{AlarmKind, History, Item};
use super::reason::Reason;
use super::standing::{Standing, Verdict};
use super::watched::Point;
use crate::cloudwatch::EVALUATION_STEP_MS;
use crate::cloudwatch::evaluate::{PERIODS_BEYOND, State, evaluate};
use crate::cloudwatch::math::Grid;
use crate::cloudwatch::statistic::MetricStat;
use crate::metrics::Metrics;

/// Alarms with a period of a minute or more are evaluated every minute.
const MINUTE_MS: i64 = 60_000;

#[derive(Debug)]
pub(super) struct Alarm {
    standing: Standing,
    definition: Definition,
    /// How events call the one metric that the alarm watches: anew with each definition.
    metric_id: Uuid,
    evaluated_ms: i64,
}

impl Alarm {
    pub(super) fn new(arn: String, definition: Definition, metric_id: Uuid, now_ms: i64) -> Self {
        Self { standing: Standing::new(arn, now_ms), definition, metric_id, evaluated_ms: i64::MIN }
    }

    /// "When you update an existing alarm, its state is left unchanged."
    pub(super) fn redefine(
        &mut self,
        definition: Definition,
        metric_id: Uuid,
        now_ms: i64,
        history: &mut History,
    ) {
        let before = self.describe();
        (self.definition, self.metric_id) = (definition, metric_id);
        self.standing.configure(now_ms);
        self.evaluated_ms = i64::MIN;
        history.push(Item::updated(AlarmKind::Metric, self.name(), now_ms, before, self.describe()));
    }

    pub(super) fn name(&self) -> &str {
        &self.definition.name
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// None for metric math.
    pub(super) fn stat(&self) -> Option<&MetricStat> {
        self.definition.watched.stat()
    }

    pub(super) fn has_action(&self, prefix: &str) -> bool {
        self.definition.has_action(prefix)
    }

    pub(super) fn enable_actions(&mut self, is_enabled: bool, now_ms: i64, history: &mut History) {
        if self.definition.actions_enabled == is_enabled {
            return;
        }
        let before = self.describe();
        self.definition.actions_enabled = is_enabled;
        self.standing.configure(now_ms);
        history.push(Item::updated(AlarmKind::Metric, self.name(), now_ms, before, self.describe()));
    }

    pub(super) fn describe(&self) -> Value {
        let mut described = self.definition.describe();
        if let Some(members) = described.as_object_mut() {
            members.insert("ActionsEnabled".to_owned(), json!(self.definition.actions_enabled));
            self.standing.describe_in(members);
        }
        described
    }

    /// Takes another state with its reason. It is remembered, with the actions that AWS takes on it. The same state changes
    /// nothing, whatever its reason. Whether it is another one.
    pub(super) fn enter(&mut self, verdict: Verdict, now_ms: i64, scene: &mut Scene<'_>) -> bool {
        if verdict.state == self.standing.state() {
            return false;
        }
        let (old, new) = (self.standing.verdict().describe(), verdict.describe());
        scene.history.push(Item::state_update(AlarmKind::Metric, self.name(), now_ms, &old, &new));
        let before = self.standing.event_state();
        self.standing.enter(verdict, now_ms);
        let actions = self.definition.actions(self.standing.state());
        if !actions.is_empty() {
            let actor = Actor { kind: AlarmKind::Metric, name: self.name(), arn: self.standing.arn() };
            let data = json!({
                "state": self.standing.event_state(), "previousState": before,
                "configuration": self.definition.event_configuration(self.metric_id),
            });
            scene.act(actor, &actions, now_ms, &data);
        }
        true
    }

    /// Evaluates the alarm if its time has come. Whether its state is another one then.
    pub(super) fn evaluate(&mut self, now_ms: i64, scene: &mut Scene<'_>) -> bool {
        let step_ms = if self.definition.period_s < 60 { EVALUATION_STEP_MS } else { MINUTE_MS };
        let end_ms = now_ms.div_euclid(step_ms) * step_ms;
        if end_ms <= self.evaluated_ms {
            return false;
        }
        self.evaluated_ms = end_ms;
        let points = self.points(&scene.settings.metrics, end_ms);
        if self.has_few_samples(&points) {
            return false;
        }
        let is_breaching = |point: &Point| point.value.map(|value| self.definition.is_breaching(value));
        let breaches: Vec<Option<bool>> = points.iter().map(is_breaching).collect();
        let state = evaluate(&breaches, self.definition.rule).unwrap_or(self.standing.state());
        state != self.standing.state() && self.enter(self.verdict(state, &points, now_ms), now_ms, scene)
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
        let grid = (1..).map(|count: i64| Grid::new(end_ms - count * period_ms, end_ms, period_ms));
        let grid = grid.take(self.definition.rule.evaluation_periods + PERIODS_BEYOND).last();
        grid.map(|grid| self.definition.watched.points(metrics, grid)).unwrap_or_default()
    }
}
