//! `MetricDataQuery`: what GetMetricData reads and what an alarm on metric math watches.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::data::describe_metric;
use super::failure::{Failure, exclusive, not_in_set};
use super::math::{self, Expression, Grid, Problem, Scope, Series};
use super::request::{flag, integer, metric, required_text, text};
use super::statistic::{MetricStat, Statistic};
use super::unit::{STANDARD_UNITS, unit};
use super::window::check_period;
use crate::metrics::{MetricId, Metrics};

/// "Minimum length of 1. Maximum length of 2048."
const EXPRESSION_CHARS_MAX: usize = 2048;
const ID_CHARS_MAX: usize = 255;
/// Of an expression that names no metric, and no period either.
const PERIOD_SECONDS_DEFAULT: i64 = 60;

#[derive(Clone, Debug)]
pub(super) struct Query {
    id: String,
    label_given: Option<String>,
    label_default: String,
    /// "The default is true."
    returns_data: bool,
    period_s: Option<i64>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Metric(MetricStat),
    Math { text: String, expression: Expression },
}

/// The checked queries of one request.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    all: Vec<Query>,
    /// The expressions, each after those that it names.
    order: Vec<usize>,
}

/// What a query gave.
#[derive(Debug)]
pub(super) struct Evaluated<'a> {
    pub(super) query: &'a Query,
    pub(super) value: math::Value,
    /// Of the values that a metric has there; the first is that of the result.
    pub(super) units: Vec<String>,
}

impl Queries {
    /// `member` is what the request calls the list.
    pub(super) fn read(inputs: &[Value], member: &str) -> Result<Self, Failure> {
        let read = inputs.iter().enumerate();
        let mut all: Vec<Query> =
            read.map(|(index, input)| Query::read(input, member, index + 1)).collect::<Result<_, _>>()?;
        if !has_unique_ids(&all) {
            return Err(Failure::validation(format!(
                "The values for parameter id in {member} are not unique."
            )));
        }
        let labels: Vec<String> = all.iter().map(|query| default_label(query, &all)).collect();
        all.iter_mut().zip(labels).for_each(|(query, label)| query.label_default = label);
        let order = order(&all)?;
        Ok(Self { all, order })
    }

    pub(super) fn all(&self) -> &[Query] {
        &self.all
    }

    /// The results of all, in the order of the request, with room for so many datapoints together. `window` aligns the read
    /// for a period in seconds.
    pub(super) fn evaluate(
        &self,
        metrics: &Metrics,
        points_max: i64,
        window: impl Fn(i64) -> Result<Grid, Failure>,
    ) -> Result<Vec<Evaluated<'_>>, Failure> {
        let mut room = points_max;
        let mut take = |points: i64| {
            room -= points;
            if room < 0 { Err(too_many_points(points_max)) } else { Ok(()) }
        };
        let (mut series, mut units) = (Vec::new(), HashMap::new());
        for query in &self.all {
            let Source::Metric(stat) = &query.source else { continue };
            let grid = window(stat.period_s)?;
            take(grid.datapoints)?;
            let found = stat.units(metrics, grid);
            let unit = found.first().map(String::as_str);
            series.push((query.id.as_str(), query.series(metrics, stat, grid, unit)));
            units.insert(query.id.as_str(), found);
        }
        let shortest = self.all.iter().filter_map(Query::metric_period_s).min();
        let mut results = HashMap::new();
        for query in self.order.iter().filter_map(|index| self.all.get(*index)) {
            let Source::Math { expression, .. } = &query.source else { continue };
            let grid = window(query.period_s.or(shortest).unwrap_or(PERIOD_SECONDS_DEFAULT))?;
            let scope = Scope { metrics: &series, results: &results, grid, points_max };
            let value = scope.result(expression).map_err(|problem| query.refuse(&problem))?;
            take(value.points())?;
            results.insert(query.id.as_str(), value);
        }
        results.extend(series.into_iter().map(|(id, series)| (id, math::Value::Series(series))));
        let found = self.all.iter().filter_map(|query| {
            let value = results.remove(query.id.as_str())?;
            Some(Evaluated { query, value, units: units.remove(query.id.as_str()).unwrap_or_default() })
        });
        Ok(found.collect())
    }
}

pub(super) fn too_many_points(points_max: i64) -> Failure {
    Failure::validation(format!("More than {points_max} datapoints requested."))
}

fn has_unique_ids(all: &[Query]) -> bool {
    let mut ids = HashSet::new();
    all.iter().all(|query| ids.insert(query.id.as_str()))
}

/// The name of the metric, with what tells it from other queries of that name: `metric1 Sum 60`.
fn default_label(query: &Query, all: &[Query]) -> String {
    let Some(stat) = query.stat() else { return query.id.clone() };
    let has_other = |differs: fn(&MetricStat, &MetricStat) -> bool| {
        let others = all.iter().filter_map(Query::stat);
        others.filter(|other| other.metric.name == stat.metric.name).any(|other| differs(other, stat))
    };
    let statistic = has_other(|one, other| one.stat != other.stat).then(|| stat.stat.clone());
    let period = has_other(|one, other| one.period_s != other.period_s).then(|| stat.period_s.to_string());
    [Some(stat.metric.name.clone()), statistic, period].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The expressions in an order in which each comes after those that it names.
fn order(all: &[Query]) -> Result<Vec<usize>, Failure> {
    let index_of: HashMap<&str, usize> =
        all.iter().enumerate().map(|(index, query)| (query.id.as_str(), index)).collect();
    let mut waiting = Vec::new();
    for (index, query) in all.iter().enumerate() {
        let Source::Math { expression, .. } = &query.source else { continue };
        let mut needs = Vec::new();
        for id in expression.ids() {
            let needed = index_of.get(id).ok_or_else(|| query.refuse(&Problem::UnknownId(id.to_owned())))?;
            needs.extend(all.get(*needed).filter(|needed| needed.is_math()).map(|_| *needed));
        }
        waiting.push((index, needs));
    }
    let (mut order, mut is_done) = (Vec::new(), vec![false; all.len()]);
    while let Some((first, _)) = waiting.first() {
        let is_ready = |(_, needs): &(usize, Vec<usize>)| needs.iter().all(|need| is_done[*need]);
        let Some(ready) = waiting.iter().position(is_ready) else {
            return Err(all[*first].refuse(&Problem::Cycle));
        };
        let (index, _) = waiting.remove(ready);
        is_done[index] = true;
        order.push(index);
    }
    Ok(order)
}

impl Query {
    fn read(input: &Value, member: &str, number: usize) -> Result<Self, Failure> {
        let place = format!("{member}.member.{number}");
        let id = required_text(input, "Id")?;
        if !is_id(id) {
            return Err(Failure::validation(format!(
                "The value {id} for parameter {place}.Id is not matching the expected pattern \
                 ^[a-z][a-zA-Z0-9_]*$."
            )));
        }
        let stat = input.get("MetricStat").filter(|stat| !stat.is_null());
        let source = match (stat, text(input, "Expression")) {
            (Some(stat), None) => Source::metric(stat, &place)?,
            (None, Some(expression)) => Source::math(id, expression)?,
            (None, None) => {
                let message = format!("The parameter {place}.MetricStat is required.\n");
                return Err(Failure::validation(message));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::validation(exclusive(&place, "MetricStat", "Expression")));
            }
        };
        let period_s = integer(input, "Period")?;
        period_s.map_or(Ok(()), check_period)?;
        let label_given = text(input, "Label").map(str::to_owned);
        let returns_data = flag(input, "ReturnData").unwrap_or(true);
        let id = id.to_owned();
        Ok(Self { id, label_given, label_default: String::new(), returns_data, period_s, source })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn returns_data(&self) -> bool {
        self.returns_data
    }

    pub(super) fn is_math(&self) -> bool {
        matches!(self.source, Source::Math { .. })
    }

    fn stat(&self) -> Option<&MetricStat> {
        match &self.source {
            Source::Metric(stat) => Some(stat),
            Source::Math { .. } => None,
        }
    }

    pub(super) fn metric(&self) -> Option<&MetricId> {
        self.stat().map(|stat| &stat.metric)
    }

    fn metric_period_s(&self) -> Option<i64> {
        self.stat().map(|stat| stat.period_s)
    }

    pub(super) fn period_s(&self) -> Option<i64> {
        self.metric_period_s().or(self.period_s)
    }

    pub(super) fn label(&self) -> &str {
        self.label_given().unwrap_or(&self.label_default)
    }

    pub(super) fn label_given(&self) -> Option<&str> {
        self.label_given.as_deref()
    }

    /// Without a unit there are no values.
    fn series(&self, metrics: &Metrics, stat: &MetricStat, grid: Grid, unit: Option<&str>) -> Series {
        let point = |at_ms| Some((at_ms, stat.value(metrics, unit?, at_ms)?));
        Series::new(self.label(), grid, grid.times().filter_map(point))
    }

    fn refuse(&self, problem: &Problem) -> Failure {
        Failure::validation(format!("Error in expression '{}': {problem}", self.id))
    }

    /// As DescribeAlarms shows it.
    pub(super) fn describe(&self) -> Value {
        let (expression, stat) = match &self.source {
            Source::Math { text, .. } => (Some(text), None),
            Source::Metric(MetricStat { metric, stat, period_s, unit, .. }) => {
                let metric = describe_metric(metric);
                (None, Some(json!({"Metric": metric, "Period": period_s, "Stat": stat, "Unit": unit})))
            }
        };
        json!({
            "Id": self.id, "Expression": expression, "MetricStat": stat, "Label": self.label_given,
            "ReturnData": self.returns_data, "Period": self.period_s,
        })
    }

    /// As the events of alarms have it.
    pub(super) fn event(&self) -> Value {
        let (expression, stat) = match &self.source {
            Source::Math { text, .. } => (Some(text), None),
            Source::Metric(stat) => (None, Some(stat.event())),
        };
        json!({
            "id": self.id, "expression": expression, "metricStat": stat, "label": self.label_given,
            "returnData": self.returns_data, "period": self.period_s,
        })
    }
}

impl Source {
    /// `place` is that of the query in the request.
    fn metric(stat: &Value, place: &str) -> Result<Self, Failure> {
        let metric = metric(stat.get("Metric").ok_or_else(|| Failure::missing("MetricStat.Metric"))?)?;
        let period_s = integer(stat, "Period")?.ok_or_else(|| Failure::missing("MetricStat.Period"))?;
        check_period(period_s)?;
        let name = required_text(stat, "Stat")?;
        let place = format!("{place}.MetricStat");
        let statistic = Statistic::any(name, || {
            Failure::validation(format!("The value for parameter {place}.Stat is not a valid statistic."))
        })?;
        let unit =
            unit(stat, |_| Failure::validation(not_in_set(&format!("{place}.Unit"), &STANDARD_UNITS)))?;
        Ok(Self::Metric(MetricStat::new(metric, period_s, (name, statistic), unit)))
    }

    fn math(id: &str, text: &str) -> Result<Self, Failure> {
        let refuse =
            |problem: &Problem| Failure::validation(format!("Error in expression '{id}': {problem}"));
        if text.chars().count() > EXPRESSION_CHARS_MAX {
            let message = format!("An Expression has at most {EXPRESSION_CHARS_MAX} characters.");
            return Err(Failure::validation(message));
        }
        if text.trim_start().starts_with("SELECT ") {
            return Err(Failure::validation("Metrics Insights queries are not emulated."));
        }
        let expression = Expression::parse(text).map_err(|problem| refuse(&problem))?;
        Ok(Self::Math { text: text.to_owned(), expression })
    }
}

fn is_id(id: &str) -> bool {
    id.len() <= ID_CHARS_MAX
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
