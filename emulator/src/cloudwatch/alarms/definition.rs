//! What PutMetricAlarm says, checked.

use serde_json::{Value, json};
use uuid::Uuid;

use super::actions::check_action;
use super::watched::Watched;
use crate::cloudwatch::evaluate::{Comparison, MissingData, Rule, State};
use crate::cloudwatch::failure::Failure;
use crate::cloudwatch::request::{flag, integer, number, required_text, text, texts};
use crate::cloudwatch::statistic::MetricStat;
use crate::metrics::MetricId;
use crate::repeatable;

/// "The evaluation periods times the period cannot be more than one day", or seven for periods of an hour or more.
const WINDOW_SECONDS_MAX: i64 = 86_400;
const WINDOW_SECONDS_MAX_HOURLY: i64 = 7 * 86_400;
const HOUR_SECONDS: i64 = 3_600;
/// "Up to five actions" per state.
const ACTIONS_MAX: usize = 5;

/// A checked alarm definition. The members that only travel are kept as they came.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) watched: Watched,
    pub(super) period_s: i64,
    pub(super) threshold: f64,
    pub(super) comparison: Comparison,
    pub(super) rule: Rule,
    /// With fewer values than that the alarm keeps its state.
    pub(super) samples_min: f64,
    /// AWS explains the states of alarms with DatapointsToAlarm in another way.
    pub(super) names_datapoints_to_alarm: bool,
    pub(super) actions_enabled: bool,
    /// As DescribeAlarms answers it, without state.
    described: Value,
}

impl Definition {
    /// `region` is the alarm's.
    pub(super) fn read(input: &Value, region: &str) -> Result<Self, Failure> {
        let name = required_text(input, "AlarmName")?.to_owned();
        let (watched, period_s) = Watched::read(input)?;
        check_names(&watched)?;
        let periods =
            integer(input, "EvaluationPeriods")?.ok_or_else(|| Failure::missing("EvaluationPeriods"))?;
        check_window(period_s, periods)?;
        let datapoints = integer(input, "DatapointsToAlarm")?;
        let rule = rule(input, periods, datapoints.unwrap_or(periods), &watched)?;
        let names_datapoints_to_alarm = datapoints.is_some();
        let operator = required_text(input, "ComparisonOperator")?;
        let comparison = Comparison::parse(operator)
            .ok_or_else(|| Failure::validation(format!("The comparison {operator} is not emulated.")))?;
        let threshold = number(input, "Threshold")?.ok_or_else(|| Failure::missing("Threshold"))?;
        let samples_min = samples_min(input, &watched)?;
        let actions_enabled = flag(input, "ActionsEnabled").unwrap_or(true);
        let actions = |member: &str| read_actions(input, member, region);
        let mut described = json!({
            "AlarmName": name, "AlarmDescription": text(input, "AlarmDescription"),
            "OKActions": actions("OKActions")?, "AlarmActions": actions("AlarmActions")?,
            "InsufficientDataActions": actions("InsufficientDataActions")?,
            "EvaluationPeriods": periods, "DatapointsToAlarm": datapoints, "Threshold": threshold, "ComparisonOperator": operator,
            "TreatMissingData": text(input, "TreatMissingData"),
            "EvaluateLowSampleCountPercentile": text(input, "EvaluateLowSampleCountPercentile"),
        });
        if let Some(members) = described.as_object_mut() {
            members.extend(watched.describe(input));
        }
        Ok(Self {
            name,
            watched,
            period_s,
            threshold,
            comparison,
            rule,
            samples_min,
            names_datapoints_to_alarm,
            actions_enabled,
            described,
        })
    }

    pub(super) fn is_breaching(&self, value: f64) -> bool {
        self.comparison.is_breaching(value, self.threshold)
    }

    /// What is done when the alarm enters a state.
    pub(super) fn actions(&self, state: State) -> Vec<String> {
        if self.actions_enabled { actions_on(state, &self.described) } else { Vec::new() }
    }

    pub(super) fn has_action(&self, prefix: &str) -> bool {
        has_action(&self.described, prefix)
    }

    pub(super) fn describe(&self) -> Value {
        self.described.clone()
    }

    /// As events have it.
    pub(super) fn event_configuration(&self, metric_id: Uuid) -> Value {
        json!({
            "description": self.described.get("AlarmDescription"),
            "metrics": self.watched.event_metrics(metric_id),
        })
    }
}

/// Of an alarm as it is described.
pub(super) fn actions_on(state: State, described: &Value) -> Vec<String> {
    let member = match state {
        State::Ok => "OKActions",
        State::Alarm => "AlarmActions",
        State::InsufficientData => "InsufficientDataActions",
    };
    texts(described, member)
}

/// Whether an alarm as it is described has an action of any state that begins so.
pub(super) fn has_action(described: &Value, prefix: &str) -> bool {
    let states = [State::Ok, State::Alarm, State::InsufficientData].into_iter();
    states.flat_map(|state| actions_on(state, described)).any(|action| action.starts_with(prefix))
}

/// Earlier versions took any, and an alarm that one of them took is made again.
fn check_names(watched: &Watched) -> Result<(), Failure> {
    match watched.metrics().find_map(MetricId::flaw) {
        Some(flaw) if !repeatable::is_repeated() => Err(Failure::validation(flaw.message(""))),
        _ => Ok(()),
    }
}

fn rule(input: &Value, periods: i64, datapoints: i64, watched: &Watched) -> Result<Rule, Failure> {
    if datapoints < 1 || datapoints > periods {
        return Err(Failure::validation("DatapointsToAlarm must be between 1 and EvaluationPeriods."));
    }
    let treat = text(input, "TreatMissingData").unwrap_or("missing");
    let missing = MissingData::parse(treat)
        .ok_or_else(|| Failure::validation(format!("The value {treat} for TreatMissingData is invalid.")))?;
    // "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data."
    let missing = if watched.metrics().any(|metric| metric.namespace == "AWS/DynamoDB") {
        MissingData::Ignore
    } else {
        missing
    };
    let count = |value: i64| usize::try_from(value).map_err(|_| Failure::invalid("A count is too large."));
    Ok(Rule { datapoints_to_alarm: count(datapoints)?, evaluation_periods: count(periods)?, missing })
}

/// "For percentiles between 0.5 (inclusive) and 1.00 (exclusive), this problem occurs when there are fewer than
/// 10/(1-percentile) data points during the evaluation period." Below that it is 10/percentile.
fn samples_min(input: &Value, watched: &Watched) -> Result<f64, Failure> {
    const NAME: &str = "EvaluateLowSampleCountPercentile";
    const SAMPLES: f64 = 10.0;
    const WHOLE: f64 = 100.0;
    let percentile = watched.stat().and_then(MetricStat::percentile);
    let percentile = percentile.filter(|percent| 0.0 < *percent && *percent < WHOLE);
    match (text(input, NAME), percentile) {
        (None | Some("evaluate"), _) | (Some("ignore"), None) => Ok(0.0),
        (Some("ignore"), Some(percent)) => Ok(SAMPLES * WHOLE / percent.min(WHOLE - percent)),
        (Some(value), _) => Err(Failure::validation(format!("The value {value} for {NAME} is invalid."))),
    }
}

fn check_window(period_s: i64, periods: i64) -> Result<(), Failure> {
    if periods < 1 {
        return Err(Failure::validation("EvaluationPeriods must be at least 1."));
    }
    let limit = if period_s >= HOUR_SECONDS { WINDOW_SECONDS_MAX_HOURLY } else { WINDOW_SECONDS_MAX };
    if period_s.saturating_mul(periods) > limit {
        let message = format!(
            "Metrics cannot be checked across more than {limit} seconds (EvaluationPeriods * Period)."
        );
        return Err(Failure::validation(message));
    }
    Ok(())
}

pub(super) fn read_actions(input: &Value, member: &str, region: &str) -> Result<Vec<String>, Failure> {
    let actions = texts(input, member);
    if actions.len() > ACTIONS_MAX {
        return Err(Failure::invalid(format!(
            "The collection {member} must not have more than {ACTIONS_MAX} elements."
        )));
    }
    // Earlier versions took any, and what one of them took is made again.
    if !repeatable::is_repeated() {
        actions.iter().try_for_each(|action| check_action(action, region))?;
    }
    Ok(actions)
}
