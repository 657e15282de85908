//! Metric data in and out.

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::math::Grid;
use super::request::{dimensions, integer, list, metric, number, required_text, text, texts, time_ms};
use super::times::from_ms;
use crate::metrics::{MetricId, Metrics, StatisticSet};
use crate::settings::Settings;

/// "You can include up to 1,000 metrics" in one PutMetricData.
const METRICS_PER_PUT_MAX: usize = 1_000;
/// "The Values and Counts arrays can have up to 150" values.
const VALUES_PER_METRIC_MAX: usize = 150;
const DATAPOINTS_PER_STATISTICS_MAX: i64 = 1_440;
const METRICS_PER_PAGE: usize = 500;
/// ListMetrics shows metrics of the last two weeks; PT3H on request.
const LISTED_MS: i64 = 14 * 24 * 3600 * 1000;
const RECENTLY_ACTIVE_MS: i64 = 3 * 3600 * 1000;
const PAST_MAX_MS: i64 = 14 * 24 * 3600 * 1000;
const FUTURE_MAX_MS: i64 = 2 * 3600 * 1000;

/// How the values of a period become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    Percentile(f64),
}

impl Statistic {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        Ok(match text {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                let percent = text.strip_prefix('p').and_then(|percent| percent.parse().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
                let refuse = || Failure::validation(format!("The statistic {text} is not emulated."));
                Self::Percentile(percent.ok_or_else(refuse)?)
            }
        })
    }

    pub(super) fn of(self, metrics: &Metrics, id: &MetricId, start_ms: i64, end_ms: i64) -> Option<f64> {
        if let Self::Percentile(percent) = self {
            return metrics.percentile(id, start_ms, end_ms, percent);
        }
        metrics.statistics(id, start_ms, end_ms).map(|set| match self {
            Self::SampleCount => set.count,
            Self::Sum => set.sum,
            Self::Minimum => set.minimum,
            Self::Maximum => set.maximum,
            Self::Average | Self::Percentile(_) => set.average(),
        })
    }
}

pub(super) fn put_metric_data(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let namespace = required_text(input, "Namespace")?;
    if namespace.starts_with("AWS/") {
        let message = format!("The value {namespace} for parameter Namespace is invalid.");
        return Err(Failure::invalid(message));
    }
    let data = list(input, "MetricData");
    if data.is_empty() {
        return Err(Failure::missing("MetricData"));
    }
    if data.len() > METRICS_PER_PUT_MAX {
        let message = "The collection MetricData must not have a size greater than 1000.";
        return Err(Failure::invalid(message));
    }
    // All is read before any is kept: a refused call leaves nothing behind.
    let data: Vec<Datum> =
        data.iter().map(|datum| Datum::read(settings, namespace, datum)).collect::<Result<_, _>>()?;
    data.iter().for_each(|datum| datum.record(&settings.metrics));
    Ok(json!({}))
}

struct Datum {
    id: MetricId,
    at_ms: i64,
    unit: String,
    values: Vec<(f64, f64)>,
    set: Option<StatisticSet>,
}

impl Datum {
    fn read(settings: &Settings, namespace: &str, input: &Value) -> Result<Self, Failure> {
        let now_ms = settings.clock.now_ms();
        let at_ms = time_ms(input, "Timestamp")?.unwrap_or(now_ms);
        if at_ms > now_ms + FUTURE_MAX_MS || at_ms < now_ms - PAST_MAX_MS {
            let message = "The parameter Timestamp must specify a time within the past two weeks and no more than \
                           two hours in the future.";
            return Err(Failure::invalid(message));
        }
        let id = MetricId::new(namespace, required_text(input, "MetricName")?, dimensions(input)?);
        let unit = text(input, "Unit").unwrap_or("None").to_owned();
        let (values, set) = (values_of(input)?, set_of(input)?);
        if values.is_empty() && set.is_none() {
            return Err(Failure::missing("Value, Values or StatisticValues"));
        }
        Ok(Self { id, at_ms, unit, values, set })
    }

    fn record(&self, metrics: &Metrics) {
        for (value, count) in &self.values {
            metrics.record_weighted(self.at_ms, &self.id, *value, *count, &self.unit);
        }
        if let Some(set) = self.set {
            metrics.record_set(self.at_ms, &self.id, set, &self.unit);
        }
    }
}

/// Pairs of value and count.
fn values_of(input: &Value) -> Result<Vec<(f64, f64)>, Failure> {
    if let Some(value) = number(input, "Value")? {
        return Ok(vec![(finite(value)?, 1.0)]);
    }
    let numbers = |member: &str| -> Result<Vec<f64>, Failure> {
        let items = list(input, member).iter();
        items
            .map(|item| number(&json!({"value": item}), "value")?.ok_or_else(|| Failure::missing(member)))
            .collect()
    };
    let (values, counts) = (numbers("Values")?, numbers("Counts")?);
    if values.len() > VALUES_PER_METRIC_MAX {
        return Err(Failure::invalid("The collection Values must not have a size greater than 150."));
    }
    if !counts.is_empty() && counts.len() != values.len() {
        let message = "The parameters Values and Counts must have the same number of elements.";
        return Err(Failure::combination(message));
    }
    let counts = counts.into_iter().chain(std::iter::repeat(1.0));
    values.into_iter().zip(counts).map(|(value, count)| Ok((finite(value)?, count))).collect()
}

/// "Special values (for example, NaN, +Infinity, -Infinity) are not supported."
fn finite(value: f64) -> Result<f64, Failure> {
    if value.is_finite() { Ok(value) } else { Err(Failure::invalid("The value must be a finite number.")) }
}

fn set_of(input: &Value) -> Result<Option<StatisticSet>, Failure> {
    let Some(set) = input.get("StatisticValues").filter(|set| !set.is_null()) else { return Ok(None) };
    let member = |name: &str| finite(number(set, name)?.ok_or_else(|| Failure::missing(name))?);
    Ok(Some(StatisticSet {
        count: member("SampleCount")?,
        sum: member("Sum")?,
        minimum: member("Minimum")?,
        maximum: member("Maximum")?,
    }))
}

/// The window of a read, aligned as CloudWatch aligns it.
pub(super) fn grid(input: &Value, period_s: i64) -> Result<Grid, Failure> {
    let start_ms = time_ms(input, "StartTime")?.ok_or_else(|| Failure::missing("StartTime"))?;
    let end_ms = time_ms(input, "EndTime")?.ok_or_else(|| Failure::missing("EndTime"))?;
    if start_ms >= end_ms {
        return Err(Failure::validation("The parameter EndTime must be greater than StartTime."));
    }
    check_period(period_s)?;
    let period_ms = period_s * 1000;
    // "The start time is rounded down to the nearest minute"; for shorter periods to the period.
    let step_ms = period_ms.min(60_000);
    Ok(Grid { start_ms: start_ms.div_euclid(step_ms) * step_ms, end_ms, period_ms })
}

pub(super) fn check_period(period_s: i64) -> Result<(), Failure> {
    let is_valid = matches!(period_s, 1 | 5 | 10 | 20 | 30) || (period_s > 0 && period_s % 60 == 0);
    let message = "The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60.";
    if is_valid { Ok(()) } else { Err(Failure::validation(message)) }
}

pub(super) fn get_metric_statistics(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let id = metric(input)?;
    let period_s = integer(input, "Period")?.ok_or_else(|| Failure::missing("Period"))?;
    let window = grid(input, period_s)?;
    if window.len() > DATAPOINTS_PER_STATISTICS_MAX {
        let message = format!(
            "You have requested up to {} datapoints, which exceeds the limit of {DATAPOINTS_PER_STATISTICS_MAX}.",
            window.len()
        );
        return Err(Failure::combination(message));
    }
    let (plain, extended) = (texts(input, "Statistics"), texts(input, "ExtendedStatistics"));
    if plain.is_empty() && extended.is_empty() {
        return Err(Failure::missing("Statistics or ExtendedStatistics"));
    }
    let unit = settings.metrics.unit(&id).unwrap_or_else(|| "None".to_owned());
    if text(input, "Unit").is_some_and(|wanted| wanted != unit) {
        return Ok(json!({"Label": id.name, "Datapoints": []}));
    }
    let mut points = Vec::new();
    for start_ms in window.times() {
        let end_ms = start_ms + window.period_ms;
        let read = |names: &[String]| statistics(settings, &id, names, start_ms, end_ms);
        let (mut point, extended) = (read(&plain)?, read(&extended)?);
        if point.is_empty() && extended.is_empty() {
            continue;
        }
        if !extended.is_empty() {
            point.insert("ExtendedStatistics".to_owned(), Value::Object(extended));
        }
        point.insert("Timestamp".to_owned(), from_ms(start_ms));
        point.insert("Unit".to_owned(), Value::from(unit.as_str()));
        points.push(Value::Object(point));
    }
    Ok(json!({"Label": id.name, "Datapoints": points}))
}

fn statistics(
    settings: &Settings,
    id: &MetricId,
    names: &[String],
    start_ms: i64,
    end_ms: i64,
) -> Result<Map<String, Value>, Failure> {
    let mut found = Map::new();
    for name in names {
        if let Some(value) = Statistic::parse(name)?.of(&settings.metrics, id, start_ms, end_ms) {
            found.insert(name.clone(), Value::from(value));
        }
    }
    Ok(found)
}

pub(super) fn list_metrics(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let span_ms = if text(input, "RecentlyActive").is_some() { RECENTLY_ACTIVE_MS } else { LISTED_MS };
    let skip: usize = match text(input, "NextToken") {
        None => 0,
        Some(token) => token.parse().map_err(|_| Failure::invalid("The NextToken is not valid."))?,
    };
    let filters = list(input, "Dimensions");
    let all = settings.metrics.list(settings.clock.now_ms() - span_ms);
    let matching = all.iter().filter(|id| {
        text(input, "Namespace").is_none_or(|namespace| namespace == id.namespace)
            && text(input, "MetricName").is_none_or(|name| name == id.name)
            && filters.iter().all(|filter| has_dimension(id, filter))
    });
    let page: Vec<Value> = matching.clone().skip(skip).take(METRICS_PER_PAGE).map(describe_metric).collect();
    let next = skip + page.len();
    let token = (next < matching.count()).then(|| next.to_string());
    Ok(json!({"Metrics": page, "NextToken": token}))
}

fn has_dimension(id: &MetricId, filter: &Value) -> bool {
    let (name, value) = (text(filter, "Name"), text(filter, "Value"));
    id.dimensions
        .iter()
        .any(|(known, of)| Some(known.as_str()) == name && value.is_none_or(|value| value == of))
}

fn describe_metric(id: &MetricId) -> Value {
    let dimensions: Vec<Value> =
        id.dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    json!({"Namespace": id.namespace, "MetricName": id.name, "Dimensions": dimensions})
}
