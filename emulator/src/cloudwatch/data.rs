//! Metric data in and out.

use serde_json::{Map, Value, json};

use super::failure::{Failure, exclusive, not_in_set};
use super::request::{dimensions, integer, list, metric, number, required_text, text, texts, time_ms, token};
use super::statistic::Statistic;
use super::times::from_ms;
use super::unit::{STANDARD_UNITS, unit};
use super::window::{Window, check_period};
use crate::metrics::{MetricId, Metrics, Resolution, StatisticSet, flaw, is_of_services, is_value};
use crate::pages;
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

pub(super) fn put_metric_data(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let namespace = required_text(input, "Namespace")?;
    if is_of_services(namespace) {
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
    let data = data.iter().enumerate();
    let data: Vec<Datum> = data
        .map(|(index, datum)| Datum::read(settings, namespace, index + 1, datum))
        .collect::<Result<_, _>>()?;
    data.iter().for_each(|datum| datum.record(&settings.metrics));
    Ok(json!({}))
}

struct Datum {
    id: MetricId,
    at_ms: i64,
    resolution: Resolution,
    unit: String,
    values: Vec<(f64, f64)>,
    set: Option<StatisticSet>,
}

impl Datum {
    /// `number` is its place in the request, from 1.
    fn read(settings: &Settings, namespace: &str, number: usize, input: &Value) -> Result<Self, Failure> {
        let now_ms = settings.clock.now_ms();
        let at_ms = time_ms(input, "Timestamp")?.unwrap_or(now_ms);
        if at_ms > now_ms + FUTURE_MAX_MS || at_ms < now_ms - PAST_MAX_MS {
            let message = "The parameter Timestamp must specify a time within the past two weeks and no more than \
                           two hours in the future.";
            return Err(Failure::invalid(message));
        }
        let place = format!("MetricData.member.{number}");
        let (name, dimensions) = (required_text(input, "MetricName")?, dimensions(input)?);
        if let Some(flaw) = flaw(namespace, name, &dimensions) {
            return Err(Failure::invalid(flaw.message(&format!("{place}."))));
        }
        let id = MetricId::new(namespace, name, dimensions);
        let unit = unit(input, |_| Failure::invalid(not_in_set(&format!("{place}.Unit"), &STANDARD_UNITS)))?;
        let unit = unit.unwrap_or("None").to_owned();
        let resolution = resolution_of(input, &place)?;
        check_exclusive(input, &place)?;
        let (values, set) = (values_of(input, &place)?, set_of(input, &place)?);
        if values.is_empty() && set.is_none() {
            return Err(Failure::missing("Value, Values or StatisticValues"));
        }
        Ok(Self { id, at_ms, resolution, unit, values, set })
    }

    /// What occurred no times is no value.
    fn record(&self, metrics: &Metrics) {
        for (value, count) in self.values.iter().filter(|(_, count)| *count > 0.0) {
            metrics.record_weighted(self.at_ms, self.resolution, &self.id, *value, *count, &self.unit);
        }
        if let Some(set) = self.set.filter(|set| set.count > 0.0) {
            metrics.record_set(self.at_ms, self.resolution, &self.id, set, &self.unit);
        }
    }
}

fn resolution_of(input: &Value, place: &str) -> Result<Resolution, Failure> {
    let Some(seconds) = integer(input, "StorageResolution")? else { return Ok(Resolution::default()) };
    let refuse = || Failure::invalid(not_in_set(&format!("{place}.StorageResolution"), &["1", "60"]));
    Resolution::of_seconds(seconds).ok_or_else(refuse)
}

fn check_exclusive(input: &Value, place: &str) -> Result<(), Failure> {
    let nothing = [Value::Null, json!([])];
    let is_given = |member: &str| input.get(member).is_some_and(|value| !nothing.contains(value));
    for (one, other) in [("Value", "Values"), ("Value", "StatisticValues"), ("Values", "StatisticValues")] {
        if is_given(one) && is_given(other) {
            return Err(Failure::combination(exclusive(place, one, other)));
        }
    }
    Ok(())
}

/// Pairs of value and count.
fn values_of(input: &Value, place: &str) -> Result<Vec<(f64, f64)>, Failure> {
    if let Some(value) = number(input, "Value")? {
        return Ok(vec![(in_range(value, &format!("{place}.Value"))?, 1.0)]);
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
        let message = format!("The parameters {place}.Values and {place}.Counts must be of the same size.");
        return Err(Failure::invalid(message));
    }
    let counts = counts.into_iter().chain(std::iter::repeat(1.0));
    let (values_member, counts_member) = (format!("{place}.Values"), format!("{place}.Counts"));
    values
        .into_iter()
        .zip(counts)
        .map(|(value, count)| Ok((in_range(value, &values_member)?, number_of_times(count, &counts_member)?)))
        .collect()
}

fn in_range(value: f64, member: &str) -> Result<f64, Failure> {
    is_value(value).then_some(value).ok_or_else(|| invalid(value, member))
}

fn number_of_times(count: f64, member: &str) -> Result<f64, Failure> {
    if count < 0.0 { Err(invalid(count, member)) } else { in_range(count, member) }
}

fn invalid(value: f64, member: &str) -> Failure {
    Failure::invalid(format!("The value {value:?} for parameter {member} is invalid."))
}

fn set_of(input: &Value, place: &str) -> Result<Option<StatisticSet>, Failure> {
    let Some(set) = input.get("StatisticValues").filter(|set| !set.is_null()) else { return Ok(None) };
    let member = |name: &str, check: fn(f64, &str) -> Result<f64, Failure>| {
        let value = number(set, name)?.ok_or_else(|| Failure::missing(name))?;
        check(value, &format!("{place}.StatisticValues.{name}"))
    };
    Ok(Some(StatisticSet {
        count: member("SampleCount", number_of_times)?,
        sum: member("Sum", in_range)?,
        minimum: member("Minimum", in_range)?,
        maximum: member("Maximum", in_range)?,
    }))
}

pub(super) fn get_metric_statistics(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let id = metric(input)?;
    let period_s = integer(input, "Period")?.ok_or_else(|| Failure::missing("Period"))?;
    let window = Window::read(input, Failure::invalid)?;
    check_period(period_s)?;
    let datapoints = window.datapoints(period_s);
    if datapoints > DATAPOINTS_PER_STATISTICS_MAX {
        return Err(Failure::combination(format!(
            "You have requested up to {datapoints} datapoints, which exceeds the limit of \
             {DATAPOINTS_PER_STATISTICS_MAX}. You may reduce the datapoints requested by increasing Period, or \
             decreasing the time range."
        )));
    }
    let (plain, extended) = (plain_statistics(input)?, extended_statistics(input)?);
    match (plain.is_empty(), extended.is_empty()) {
        (true, true) => return Err(Failure::missing("Statistics or ExtendedStatistics")),
        (false, false) => {
            return Err(Failure::combination(
                "The parameters Statistics and ExtendedStatistics are mutually exclusive and you have specified both.",
            ));
        }
        _ => {}
    }
    let grid = window.grid(period_s);
    let all_units = || settings.metrics.units(&id, grid.start_ms, grid.last_end_ms());
    let unit = unit(input, |_| Failure::invalid(not_in_set("Unit", &STANDARD_UNITS)))?;
    let units = unit.map_or_else(all_units, |unit| vec![unit.to_owned()]);
    let mut points = Vec::new();
    for (start_ms, unit) in grid.times().flat_map(|at_ms| units.iter().map(move |unit| (at_ms, unit))) {
        let end_ms = start_ms + grid.period_ms;
        let value = |statistic: Statistic| statistic.of(&settings.metrics, &id, unit, start_ms, end_ms);
        let (mut point, extended) = (values(&plain, value), values(&extended, value));
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

/// With their names.
fn plain_statistics(input: &Value) -> Result<Vec<(String, Statistic)>, Failure> {
    let read = |(index, name): (usize, String)| -> Result<(String, Statistic), Failure> {
        let refuse = || {
            let member = format!("Statistics.member.{}.<list element>", index + 1);
            let values = "SampleCount, Average, Sum, Minimum, Maximum";
            Failure::invalid(format!("The parameter {member} must be a value in the set [{values}]."))
        };
        let statistic = Statistic::plain(&name).ok_or_else(refuse)?;
        Ok((name, statistic))
    };
    texts(input, "Statistics").into_iter().enumerate().map(read).collect()
}

/// With their names.
fn extended_statistics(input: &Value) -> Result<Vec<(String, Statistic)>, Failure> {
    let read = |(index, name): (usize, String)| -> Result<(String, Statistic), Failure> {
        let refuse = || {
            let member = format!("ExtendedStatistics.member.{}.<list element>", index + 1);
            Failure::invalid(format!("The value {name} for parameter {member} is not supported."))
        };
        let statistic = Statistic::extended(&name, refuse)?;
        Ok((name, statistic))
    };
    texts(input, "ExtendedStatistics").into_iter().enumerate().map(read).collect()
}

/// By the name of the statistic.
fn values(
    statistics: &[(String, Statistic)],
    value: impl Fn(Statistic) -> Option<f64>,
) -> Map<String, Value> {
    let found = statistics.iter().filter_map(|(name, statistic)| Some((name.clone(), value(*statistic)?)));
    found.map(|(name, value)| (name, Value::from(value))).collect()
}

pub(super) fn list_metrics(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let span_ms = if text(input, "RecentlyActive").is_some() { RECENTLY_ACTIVE_MS } else { LISTED_MS };
    let filters = list(input, "Dimensions");
    let all = settings.metrics.list(settings.clock.now_ms() - span_ms);
    let matching = all.iter().filter(|id| {
        text(input, "Namespace").is_none_or(|namespace| namespace == id.namespace)
            && text(input, "MetricName").is_none_or(|name| name == id.name)
            && filters.iter().all(|filter| has_dimension(id, filter))
    });
    let after = token(input, read_id, Failure::invalid)?;
    let is_behind = |id: &&MetricId| after.as_ref().is_none_or(|after| *id > after);
    let (page, last) = pages::page(matching.map(|id| (id, id)), is_behind, METRICS_PER_PAGE);
    let page: Vec<Value> = page.into_iter().map(describe_metric).collect();
    Ok(json!({"Metrics": page, "NextToken": last.map(written)}))
}

/// A metric as a token of a list.
fn written(id: &MetricId) -> String {
    json!([id.namespace, id.name, id.dimensions]).to_string()
}

fn read_id(token: &str) -> Option<MetricId> {
    let (namespace, name, dimensions): (String, String, Vec<(String, String)>) =
        serde_json::from_str(token).ok()?;
    Some(MetricId::new(namespace, name, dimensions))
}

fn has_dimension(id: &MetricId, filter: &Value) -> bool {
    let (name, value) = (text(filter, "Name"), text(filter, "Value"));
    id.dimensions
        .iter()
        .any(|(known, of)| Some(known.as_str()) == name && value.is_none_or(|value| value == of))
}

pub(super) fn describe_metric(id: &MetricId) -> Value {
    let dimensions: Vec<Value> =
        id.dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    json!({"Namespace": id.namespace, "MetricName": id.name, "Dimensions": dimensions})
}
