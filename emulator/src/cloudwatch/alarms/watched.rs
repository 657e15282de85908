//! What an alarm looks at: a statistic of one metric, or the one result of a list of queries.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cloudwatch::data::describe_metric;
use crate::cloudwatch::failure::Failure;
use crate::cloudwatch::math::{self, Grid};
use crate::cloudwatch::queries::{Queries, Query};
use crate::cloudwatch::request::{integer, list, metric, text};
use crate::cloudwatch::statistic::{MetricStat, Statistic};
use crate::cloudwatch::unit::{STANDARD_UNITS, unit};
use crate::metrics::{MetricId, Metrics};
use crate::repeatable;

/// "The 20 structures can include as many as 10 structures that contain a MetricStat parameter to retrieve a metric, and as
/// many as 10 structures that contain the Expression parameter to perform a math expression."
const OF_A_KIND_MAX: usize = 10;

/// "If you use the Metrics parameter, you cannot include the … parameters of PutMetricAlarm in the same operation."
const INSTEAD_OF_METRICS: [&str; 7] =
    ["MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic"];

#[derive(Clone, Debug)]
pub(super) enum Watched {
    Stat(MetricStat),
    Math(Queries),
}

/// One period, as an alarm sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Its start.
    pub(super) at_ms: i64,
    pub(super) value: Option<f64>,
    /// None for metric math.
    pub(super) sample_count: Option<f64>,
}

impl Watched {
    /// With its period in seconds.
    pub(super) fn read(input: &Value) -> Result<(Self, i64), Failure> {
        if text(input, "ThresholdMetricId").is_some() {
            return Err(Failure::validation("Alarms on anomaly detection are not emulated."));
        }
        let queries = list(input, "Metrics");
        if !queries.is_empty() {
            return read_math(input, queries);
        }
        let metric = metric(input)?;
        let period_s = integer(input, "Period")?.ok_or_else(|| Failure::missing("Period"))?;
        check_period(period_s)?;
        let unit = unit(input, |unit| Failure::not_in_enum(unit, "unit", &STANDARD_UNITS.join(", ")))?;
        Ok((Self::Stat(MetricStat::new(metric, period_s, statistic(input)?, unit)), period_s))
    }

    pub(super) fn stat(&self) -> Option<&MetricStat> {
        match self {
            Self::Stat(stat) => Some(stat),
            Self::Math(_) => None,
        }
    }

    /// All that go into it.
    pub(super) fn metrics(&self) -> impl Iterator<Item = &MetricId> {
        let queries = match self {
            Self::Stat(_) => &[],
            Self::Math(queries) => queries.all(),
        };
        let metric = self.stat().map(|stat| &stat.metric);
        metric.into_iter().chain(queries.iter().filter_map(Query::metric))
    }

    /// Each period of the grid.
    pub(super) fn points(&self, metrics: &Metrics, grid: Grid) -> Vec<Point> {
        match self {
            Self::Stat(stat) => {
                let units = stat.units(metrics, grid);
                let unit = units.first();
                let point = |at_ms| Point {
                    at_ms,
                    value: unit.and_then(|unit| stat.value(metrics, unit, at_ms)),
                    sample_count: unit.and_then(|unit| stat.sample_count(metrics, unit, at_ms)),
                };
                grid.times().map(point).collect()
            }
            Self::Math(queries) => {
                let series = result(queries, metrics, grid).ok().flatten();
                let value = |at_ms| series.as_ref().and_then(|series| series.at(at_ms));
                grid.times().map(|at_ms| Point { at_ms, value: value(at_ms), sample_count: None }).collect()
            }
        }
    }

    /// The members of DescribeAlarms that say what is watched.
    pub(super) fn describe(&self, input: &Value) -> Map<String, Value> {
        let (what, how) = match self {
            Self::Math(queries) => {
                (json!({"Metrics": queries.all().iter().map(Query::describe).collect::<Vec<_>>()}), json!({}))
            }
            Self::Stat(stat) => (
                describe_metric(&stat.metric),
                json!({
                    "Statistic": text(input, "Statistic"), "ExtendedStatistic": text(input, "ExtendedStatistic"),
                    "Period": stat.period_s, "Unit": stat.unit,
                }),
            ),
        };
        let members = [what, how].into_iter().filter_map(|value| value.as_object().cloned());
        members.flatten().collect()
    }

    /// As events have it. A single metric is called by `id` there.
    pub(super) fn event_metrics(&self, id: Uuid) -> Vec<Value> {
        match self {
            Self::Stat(stat) => {
                vec![json!({"id": id.to_string(), "metricStat": stat.event(), "returnData": true})]
            }
            Self::Math(queries) => queries.all().iter().map(Query::event).collect(),
        }
    }
}

/// "Valid values are 10, 20, 30, and any multiple of 60."
fn check_period(period_s: i64) -> Result<(), Failure> {
    let is_valid = matches!(period_s, 10 | 20 | 30) || (period_s > 0 && period_s % 60 == 0);
    let message = "The period of an alarm must be 10, 20, 30, or a multiple of 60.";
    is_valid.then_some(()).ok_or_else(|| Failure::validation(message))
}

fn read_math(input: &Value, queries: &[Value]) -> Result<(Watched, i64), Failure> {
    let nothing = [json!(null), json!(""), json!([])];
    let is_given = |member: &&&str| input.get(**member).is_some_and(|value| !nothing.contains(value));
    if let Some(member) = INSTEAD_OF_METRICS.iter().find(is_given) {
        return Err(Failure::validation(format!("{member} should not be set if list of Metrics is set.")));
    }
    let queries = Queries::read(queries, "Metrics")?;
    let (math, metrics): (Vec<&Query>, Vec<&Query>) = queries.all().iter().partition(|query| query.is_math());
    if math.len() > OF_A_KIND_MAX || metrics.len() > OF_A_KIND_MAX {
        let message =
            format!("An alarm has at most {OF_A_KIND_MAX} metrics and {OF_A_KIND_MAX} expressions.");
        return Err(Failure::validation(message));
    }
    if queries.all().iter().filter(|query| query.returns_data()).count() != 1 {
        return Err(Failure::validation("Exactly one element of the metrics list should return data."));
    }
    let mut periods: Vec<i64> = metrics.iter().filter_map(|query| query.period_s()).collect();
    if periods.is_empty() {
        periods.extend(math.iter().filter_map(|query| query.period_s()));
    }
    let period_s = *periods.first().ok_or_else(|| Failure::validation("Period must not be null"))?;
    if periods.iter().any(|other_s| *other_s != period_s) {
        return Err(Failure::validation("All metrics of an alarm must have the same period."));
    }
    check_period(period_s)?;
    check_kind(&queries, period_s)?;
    Ok((Watched::Math(queries), period_s))
}

/// The kind of a result does not depend on the data, so that it is known before there are any.
fn check_kind(queries: &Queries, period_s: i64) -> Result<(), Failure> {
    let period_ms = period_s * 1000;
    let grid = Grid::new(0, period_ms, period_ms);
    let one = result(queries, &Metrics::default(), grid)?;
    let message = "Metrics expression that return multi time series are only allowed for MetricsInsights expression \
                   with an ORDER BY clause";
    one.map(|_| ()).ok_or_else(|| Failure::validation(message))
}

/// The one result that returns data; None when it is an array.
fn result(queries: &Queries, metrics: &Metrics, grid: Grid) -> Result<Option<math::Series>, Failure> {
    // An alarm has few metrics and a limited window.
    let found = queries.evaluate(metrics, i64::MAX, |_| Ok(grid))?;
    let returned = found.into_iter().find(|found| found.query.returns_data());
    Ok(returned.and_then(|found| match found.value {
        math::Value::Series(series) => Some(series),
        math::Value::Scalar(_) | math::Value::Array(_) => None,
    }))
}

/// With its name.
fn statistic(input: &Value) -> Result<(&str, Statistic), Failure> {
    match (text(input, "Statistic"), text(input, "ExtendedStatistic")) {
        (Some(_), Some(_)) => Err(Failure::validation(
            "PutMetricAlarm request can not be made with both Statistic and ExtendedStatistic parameters. Only \
             one of them should be present",
        )),
        // Earlier versions took any statistic in either member, and what one of them took is made again.
        (Some(name), None) | (None, Some(name)) if repeatable::is_repeated() => {
            Ok((name, Statistic::any(name, || unsupported(name))?))
        }
        (Some(name), None) => {
            let values = "Maximum, SampleCount, Sum, Minimum, Average";
            let refuse = || Failure::not_in_enum(name, "statistic", values);
            Ok((name, Statistic::plain(name).ok_or_else(refuse)?))
        }
        (None, Some(name)) => Ok((name, Statistic::extended(name, || unsupported(name))?)),
        (None, None) => Err(Failure::missing("Statistic or ExtendedStatistic")),
    }
}

fn unsupported(name: &str) -> Failure {
    Failure::invalid(format!("The value {name} for parameter ExtendedStatistic is not supported."))
}
