//! Why an alarm took a state, in AWS's words: its `StateReason` and `StateReasonData`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::definition::Definition;
use super::watched::Point;
use crate::cloudwatch::evaluate::{MissingData, State};
use crate::cloudwatch::protocol::drop_absent;

/// AWS lists more datapoints than three in a sentence of their own, and five at most.
const LISTED_INLINE_MAX: usize = 3;
const LISTED_MAX: usize = 5;

/// What an evaluation went by.
pub(super) struct Reason<'a> {
    definition: &'a Definition,
    /// The datapoints that were judged, newest first: as many as there are evaluation periods, if there are.
    real: Vec<(Point, f64)>,
    /// The newest periods without one, newest first: as many as are left.
    missing: Vec<Point>,
}

impl<'a> Reason<'a> {
    /// `points` runs from old to new.
    pub(super) fn new(definition: &'a Definition, points: &[Point]) -> Self {
        let periods = definition.rule.evaluation_periods;
        let newest = points.iter().rev();
        let real: Vec<(Point, f64)> =
            newest.clone().filter_map(|point| Some((*point, point.value?))).take(periods).collect();
        let left = periods - real.len();
        let missing = newest.filter(|point| point.value.is_none()).take(left).copied().collect();
        Self { definition, real, missing }
    }

    pub(super) fn text(&self, state: State) -> String {
        let periods = self.definition.rule.evaluation_periods;
        if state == State::InsufficientData {
            let unknown = plural(periods, "datapoint was", "datapoints were");
            return format!("Insufficient Data: {unknown} unknown.");
        }
        let speaks = |(_, value): &&(Point, f64)| self.breaches(*value) == (state == State::Alarm);
        let alike: Vec<(Point, f64)> = self.real.iter().filter(speaks).copied().collect();
        let missing = self.missing_text(state);
        if alike.is_empty() {
            let received = match self.real.len() {
                0 => "no datapoints were".to_owned(),
                count => plural(count, "datapoint was", "datapoints were"),
            };
            let periods = plural(periods, "period", "periods");
            return format!("Threshold Crossed: {received} received for {periods}{missing}.");
        }
        let crossed = self.crossed_text(state, &alike);
        format!("Threshold Crossed: {crossed}{missing}{}.", self.minimum_text(state))
    }

    /// The datapoints that speak for the state, and how they compare with the threshold.
    fn crossed_text(&self, state: State, alike: &[(Point, f64)]) -> String {
        let (count, periods) = (alike.len(), self.definition.rule.evaluation_periods);
        let datapoints = if self.definition.names_datapoints_to_alarm {
            format!("{count} out of the last {periods} datapoints")
        } else {
            plural(count, "datapoint", "datapoints")
        };
        let verb = match (count, state) {
            (1, State::Alarm) => "was",
            (_, State::Alarm) => "were",
            (1, _) => "was not",
            (_, _) => "were not",
        };
        let threshold = format!(
            "{verb} {} the threshold ({:?})",
            self.definition.comparison.words(),
            self.definition.threshold
        );
        let newest = alike.iter().take(LISTED_MAX);
        let listed = newest.map(|(point, value)| format!("{value:?} ({})", day(point.at_ms)));
        let listed = listed.collect::<Vec<_>>().join(", ");
        if count <= LISTED_INLINE_MAX {
            return format!("{datapoints} [{listed}] {threshold}");
        }
        let which = if state == State::Alarm { " which crossed the threshold" } else { "" };
        format!("{datapoints} {threshold}. The most recent datapoints{which}: [{listed}]")
    }

    /// What the missing datapoints counted as, unless enough breached without them.
    fn missing_text(&self, state: State) -> String {
        let rule = self.definition.rule;
        let treated = match rule.missing {
            MissingData::Breaching => "Breaching",
            MissingData::NotBreaching => "NonBreaching",
            MissingData::Missing | MissingData::Ignore => return String::new(),
        };
        let breaching = self.real.iter().filter(|(_, value)| self.breaches(*value)).count();
        if self.missing.is_empty() || (state == State::Alarm && breaching >= rule.datapoints_to_alarm) {
            return String::new();
        }
        let missing = plural(self.missing.len(), "missing datapoint was", "missing datapoints were");
        format!(" and {missing} treated as [{treated}]")
    }

    /// Alarms that name no number of datapoints do not speak of it.
    fn minimum_text(&self, state: State) -> String {
        let rule = self.definition.rule;
        if !self.definition.names_datapoints_to_alarm {
            return String::new();
        }
        let (minimum, transition) = match state {
            State::Alarm => (rule.datapoints_to_alarm, "OK -> ALARM"),
            _ => (rule.evaluation_periods - rule.datapoints_to_alarm + 1, "ALARM -> OK"),
        };
        format!(" (minimum {} for {transition} transition)", plural(minimum, "datapoint", "datapoints"))
    }

    pub(super) fn data(&self, now_ms: i64) -> String {
        let stat = self.definition.watched.stat();
        let recent: Vec<f64> = self.real.iter().rev().map(|(_, value)| *value).collect();
        let mut evaluated: Vec<&Point> =
            self.real.iter().map(|(point, _)| point).chain(&self.missing).collect();
        evaluated.sort_by_key(|point| std::cmp::Reverse(point.at_ms));
        let evaluated: Vec<Value> = evaluated.into_iter().map(describe).collect();
        let mut data = json!({
            "version": "1.0", "queryDate": iso(now_ms),
            "startDate": self.real.last().map(|(oldest, _)| iso(oldest.at_ms)),
            "unit": stat.and_then(|stat| stat.unit.as_ref()), "statistic": stat.map(|stat| &stat.stat),
            "period": self.definition.period_s, "recentDatapoints": recent, "threshold": self.definition.threshold,
            "evaluatedDatapoints": evaluated,
        });
        drop_absent(&mut data);
        data.to_string()
    }

    fn breaches(&self, value: f64) -> bool {
        self.definition.is_breaching(value)
    }
}

fn describe(point: &Point) -> Value {
    json!({"timestamp": iso(point.at_ms), "sampleCount": point.sample_count, "value": point.value})
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn day(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%d/%m/%y %H:%M:%S").to_string()
}

/// As the JSON texts of alarms write times.
pub(super) fn iso(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// As the reasons of composite alarms write times: `Monday 14 September, 2026 06:29:58 UTC`.
pub(super) fn moment(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%A %d %B, %Y %H:%M:%S UTC").to_string()
}
