//! `MetricDataQuery`: what GetMetricData reads and what an alarm on metric math watches.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::data::{Statistic, check_period, grid};
use super::failure::Failure;
use super::math::{self, Expression, Grid, Problem, Scope, Series};
use super::request::{flag, integer, list, metric, required_text, text};
use super::times::from_ms;
use crate::metrics::{MetricId, Metrics};
use crate::settings::Settings;

const DATAPOINTS_MAX: i64 = 100_800;
const QUERIES_MAX: usize = 500;
/// "Minimum length of 1. Maximum length of 2048."
const EXPRESSION_CHARS_MAX: usize = 2048;
const ID_CHARS_MAX: usize = 255;
/// Of an expression that names no metric, and no period either.
const PERIOD_SECONDS_DEFAULT: i64 = 60;

#[derive(Clone, Debug)]
pub(super) struct Query {
    id: String,
    label: Option<String>,
    /// "The default is true."
    returns_data: bool,
    period_s: Option<i64>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Metric { metric: MetricId, stat: String, statistic: Statistic, period_s: i64, unit: Option<String> },
    Math { text: String, expression: Expression },
}

/// The checked queries of one request.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    all: Vec<Query>,
    /// The expressions, each after those that it names.
    order: Vec<usize>,
}

pub(super) fn get_metric_data(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let inputs = list(input, "MetricDataQueries");
    if inputs.is_empty() {
        return Err(Failure::missing("MetricDataQueries"));
    }
    if inputs.len() > QUERIES_MAX {
        return Err(Failure::validation(format!("At most {QUERIES_MAX} MetricDataQueries are allowed.")));
    }
    let queries = Queries::read(inputs, "MetricDataQueries")?;
    let found = queries.evaluate(&settings.metrics, |period_s| {
        let window = grid(input, period_s)?;
        let is_within = window.len() <= DATAPOINTS_MAX;
        let refuse = || Failure::validation(format!("More than {DATAPOINTS_MAX} datapoints requested."));
        is_within.then_some(window).ok_or_else(refuse)
    })?;
    let is_ascending = text(input, "ScanBy") == Some("TimestampAscending");
    let returned = found.iter().filter(|(query, _)| query.returns_data);
    let results: Vec<Value> =
        returned.flat_map(|(query, value)| describe_result(query, value, is_ascending)).collect();
    Ok(json!({"MetricDataResults": results, "Messages": []}))
}

/// An array gives one result for each of its series, all with the id of the query.
fn describe_result(query: &Query, value: &math::Value, is_ascending: bool) -> Vec<Value> {
    let describe = |label: &str, series: &Series| {
        let mut points = series.points().to_vec();
        if !is_ascending {
            points.reverse();
        }
        let (timestamps, values): (Vec<Value>, Vec<f64>) =
            points.into_iter().map(|(at_ms, value)| (from_ms(at_ms), value)).unzip();
        json!({"Id": query.id, "Label": label, "Timestamps": timestamps, "Values": values, "StatusCode": "Complete"})
    };
    match value {
        math::Value::Scalar(_) => Vec::new(),
        math::Value::Series(series) => vec![describe(query.label(), series)],
        math::Value::Array(all) => all
            .iter()
            .map(|series| match &query.label {
                // "The legend captions for those time series are in the format Expression-Label Metric-Label."
                Some(label) => describe(&format!("{label} {}", series.label), series),
                None => describe(&series.label, series),
            })
            .collect(),
    }
}

impl Queries {
    /// `member` is what the request calls the list.
    pub(super) fn read(inputs: &[Value], member: &str) -> Result<Self, Failure> {
        let read = inputs.iter().enumerate();
        let all: Vec<Query> =
            read.map(|(index, input)| Query::read(input, member, index + 1)).collect::<Result<_, _>>()?;
        let mut ids = HashSet::new();
        if !all.iter().all(|query| ids.insert(query.id.as_str())) {
            return Err(Failure::validation(format!(
                "The values for parameter id in {member} are not unique."
            )));
        }
        let order = order(&all)?;
        Ok(Self { all, order })
    }

    pub(super) fn all(&self) -> &[Query] {
        &self.all
    }

    /// The value of every query, in the order of the request. `window` aligns the read for a period in seconds.
    pub(super) fn evaluate(
        &self,
        metrics: &Metrics,
        window: impl Fn(i64) -> Result<Grid, Failure>,
    ) -> Result<Vec<(&Query, math::Value)>, Failure> {
        let mut series = Vec::new();
        for query in &self.all {
            if let Source::Metric { metric, statistic, period_s, unit, .. } = &query.source {
                let grid = window(*period_s)?;
                series.push((query.id.as_str(), query.read_series(metrics, metric, *statistic, unit, grid)));
            }
        }
        let shortest = self.all.iter().filter_map(Query::metric_period_s).min();
        let mut results = HashMap::new();
        for query in self.order.iter().filter_map(|index| self.all.get(*index)) {
            let Source::Math { expression, .. } = &query.source else { continue };
            let grid = window(query.period_s.or(shortest).unwrap_or(PERIOD_SECONDS_DEFAULT))?;
            let scope = Scope { metrics: &series, results: &results, grid };
            let value = scope.result(expression).map_err(|problem| query.refuse(&problem))?;
            results.insert(query.id.as_str(), value);
        }
        results.extend(series.into_iter().map(|(id, series)| (id, math::Value::Series(series))));
        Ok(self.all.iter().filter_map(|query| Some((query, results.remove(query.id.as_str())?))).collect())
    }
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
        let id = required_text(input, "Id")?;
        if !is_id(id) {
            return Err(Failure::validation(format!(
                "The value {id} for parameter {member}.member.{number}.Id is not matching the expected pattern \
                 ^[a-z][a-zA-Z0-9_]*$."
            )));
        }
        let stat = input.get("MetricStat").filter(|stat| !stat.is_null());
        let source = match (stat, text(input, "Expression")) {
            (Some(stat), None) => Source::metric(stat)?,
            (None, Some(expression)) => Source::math(id, expression)?,
            (None, None) => {
                let message = format!("The parameter {member}.member.{number}.MetricStat is required.\n");
                return Err(Failure::validation(message));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::validation(format!(
                    "The parameters {member}.member.{number}.MetricStat and \
                     {member}.member.{number}.Expression are mutually exclusive and you have specified both."
                )));
            }
        };
        let period_s = integer(input, "Period")?;
        period_s.map_or(Ok(()), check_period)?;
        let label = text(input, "Label").map(str::to_owned);
        let returns_data = flag(input, "ReturnData").unwrap_or(true);
        Ok(Self { id: id.to_owned(), label, returns_data, period_s, source })
    }

    pub(super) fn returns_data(&self) -> bool {
        self.returns_data
    }

    pub(super) fn is_math(&self) -> bool {
        matches!(self.source, Source::Math { .. })
    }

    pub(super) fn metric(&self) -> Option<&MetricId> {
        match &self.source {
            Source::Metric { metric, .. } => Some(metric),
            Source::Math { .. } => None,
        }
    }

    pub(super) fn metric_period_s(&self) -> Option<i64> {
        match &self.source {
            Source::Metric { period_s, .. } => Some(*period_s),
            Source::Math { .. } => None,
        }
    }

    pub(super) fn period_s(&self) -> Option<i64> {
        self.metric_period_s().or(self.period_s)
    }

    fn label(&self) -> &str {
        let default = self.metric().map_or(&self.id, |metric| &metric.name);
        self.label.as_ref().unwrap_or(default)
    }

    fn read_series(
        &self,
        metrics: &Metrics,
        metric: &MetricId,
        statistic: Statistic,
        unit: &Option<String>,
        grid: Grid,
    ) -> Series {
        let has_unit = unit.as_ref().is_none_or(|unit| metrics.unit(metric).as_ref() == Some(unit));
        let times = grid.times().filter(|_| has_unit);
        let points = times
            .filter_map(|at_ms| Some((at_ms, statistic.of(metrics, metric, at_ms, at_ms + grid.period_ms)?)));
        Series::new(self.label(), grid, points)
    }

    fn refuse(&self, problem: &Problem) -> Failure {
        Failure::validation(format!("Error in expression '{}': {problem}", self.id))
    }

    /// As DescribeAlarms shows it.
    pub(super) fn describe(&self) -> Value {
        let (expression, stat) = match &self.source {
            Source::Math { text, .. } => (Some(text), None),
            Source::Metric { metric, stat, period_s, unit, .. } => {
                let dimensions = metric.dimensions.iter();
                let dimensions: Vec<Value> =
                    dimensions.map(|(name, value)| json!({"Name": name, "Value": value})).collect();
                let metric = json!({"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions});
                let mut described = json!({"Metric": metric, "Period": period_s, "Stat": stat});
                if let (Some(unit), Some(members)) = (unit, described.as_object_mut()) {
                    members.insert("Unit".to_owned(), json!(unit));
                }
                (None, Some(described))
            }
        };
        json!({
            "Id": self.id, "Expression": expression, "MetricStat": stat, "Label": self.label,
            "ReturnData": self.returns_data, "Period": self.period_s,
        })
    }
}

impl Source {
    fn metric(stat: &Value) -> Result<Self, Failure> {
        let metric = metric(stat.get("Metric").ok_or_else(|| Failure::missing("MetricStat.Metric"))?)?;
        let period_s = integer(stat, "Period")?.ok_or_else(|| Failure::missing("MetricStat.Period"))?;
        check_period(period_s)?;
        let stat_text = required_text(stat, "Stat")?.to_owned();
        let statistic = Statistic::parse(&stat_text)?;
        let unit = text(stat, "Unit").map(str::to_owned);
        Ok(Self::Metric { metric, stat: stat_text, statistic, period_s, unit })
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
