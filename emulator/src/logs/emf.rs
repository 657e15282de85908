//! The Embedded Metric Format: a log line that is also metrics.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{FUTURE_MAX_MS, PAST_MAX_MS};
use crate::metrics::{
    MetricId, Metrics, Resolution, STANDARD_UNITS, flaw, is_dimension, is_of_services, is_value,
};

const METRICS_MAX: usize = 100;
const DIMENSIONS_MAX: usize = 30;
const VALUES_MAX: usize = 100;
/// "An event that is more than 256 KB is not turned into metrics."
pub(super) const LINE_BYTES_MAX: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Header {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    #[serde(default)]
    dimensions: Vec<Vec<String>>,
    #[serde(default)]
    metrics: Vec<Definition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: String,
    unit: Option<String>,
    #[serde(default, deserialize_with = "resolution")]
    storage_resolution: Resolution,
}

impl Definition {
    fn unit(&self) -> &str {
        self.unit.as_deref().unwrap_or("None")
    }

    /// Whether PutMetricData takes such a metric.
    fn is_taken(&self, namespace: &str) -> bool {
        flaw(namespace, &self.name, &[]).is_none() && STANDARD_UNITS.contains(&self.unit())
    }
}

/// A line with one that CloudWatch does not have is malformed.
fn resolution<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Resolution, D::Error> {
    let seconds = i64::deserialize(deserializer)?;
    Resolution::of_seconds(seconds).ok_or_else(|| D::Error::custom("neither 1 nor 60"))
}

/// Records the metrics of a line. A line that is none, or a malformed one, stays a log line only, as on AWS.
pub(super) fn record(metrics: &Metrics, now_ms: i64, message: &str) {
    // Nearly no line is one: do not parse the others.
    if !message.trim_start().starts_with('{')
        || !message.contains("\"_aws\"")
        || message.len() > LINE_BYTES_MAX
    {
        return;
    }
    let Ok(mut members) = serde_json::from_str::<Map<String, Value>>(message) else { return };
    let Some(header) = members.remove("_aws") else { return };
    let Ok(header) = serde_json::from_value::<Header>(header) else { return };
    let at_ms = header.timestamp;
    if at_ms < now_ms - PAST_MAX_MS || at_ms > now_ms + FUTURE_MAX_MS {
        return;
    }
    // The header names root members: their values are the numbers and the dimensions.
    for directive in &header.cloud_watch_metrics {
        record_directive(metrics, at_ms, directive, &members);
    }
}

fn record_directive(metrics: &Metrics, at_ms: i64, directive: &Directive, members: &Map<String, Value>) {
    let namespace = directive.namespace.as_str();
    if is_of_services(namespace) {
        return;
    }
    let given = directive.metrics.iter().take(METRICS_MAX);
    let definitions: Vec<&Definition> = given.filter(|definition| definition.is_taken(namespace)).collect();
    // No dimension set at all means the metric without dimensions.
    let none = [Vec::new()];
    let sets = if directive.dimensions.is_empty() { &none[..] } else { &directive.dimensions };
    for set in sets.iter().filter(|set| set.len() <= DIMENSIONS_MAX) {
        let Some(dimensions) = resolve(set, members) else { continue };
        let mut id = MetricId::new(namespace, "", dimensions);
        for definition in &definitions {
            id.name.clone_from(&definition.name);
            for value in values(members.get(&definition.name)) {
                let unit = definition.unit();
                metrics.record_weighted(at_ms, definition.storage_resolution, &id, value, 1.0, unit);
            }
        }
    }
}

/// None when a dimension has no text, or one that no metric may have.
fn resolve(names: &[String], members: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    let value = |name: &String| {
        let text = members.get(name)?.as_str()?;
        is_dimension(name, text).then(|| (name.clone(), text.to_owned()))
    };
    names.iter().map(value).collect()
}

/// A number, or an array of at most 100 numbers. One that PutMetricData refuses is none.
fn values(member: Option<&Value>) -> Vec<f64> {
    let given = match member {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    let numbers = given.iter().take(VALUES_MAX).filter_map(Value::as_f64);
    numbers.filter(|value| is_value(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_metric_for_each_dimension_set() {
        let metrics = Metrics::default();
        let line = r#"{"_aws":{"Timestamp":1000,"CloudWatchMetrics":[{"Namespace":"N","Dimensions":[["Op"],[]],
            "Metrics":[{"Name":"Latency","Unit":"Milliseconds"}]}]},"Op":"b","Latency":[12.5,7.5]}"#;
        record(&metrics, 1_000, line);
        for dimensions in [vec![("Op".to_owned(), "b".to_owned())], vec![]] {
            let id = MetricId::new("N", "Latency", dimensions);
            let set = metrics.statistics(&id, "Milliseconds", 0, 2_000).unwrap();
            assert_eq!((set.count, set.sum), (2.0, 20.0));
        }
    }

    #[test]
    fn a_value_is_of_its_minute_unless_it_asks_for_its_second() {
        let metrics = Metrics::default();
        let line = r#"{"_aws":{"Timestamp":65000,"CloudWatchMetrics":[{"Namespace":"N","Metrics":[
            {"Name":"plain"},{"Name":"standard","StorageResolution":60},
            {"Name":"high","StorageResolution":1}]}]},"plain":1,"standard":1,"high":1}"#;
        record(&metrics, 65_000, line);
        for (name, starts_ms) in [("plain", 60_000), ("standard", 60_000), ("high", 65_000)] {
            let id = MetricId::new("N", name, vec![]);
            let is_kept = |at_ms: &i64| metrics.statistics(&id, "None", *at_ms, at_ms + 1_000).is_some();
            let kept: Vec<i64> = [60_000, 65_000].into_iter().filter(is_kept).collect();
            assert_eq!(kept, [starts_ms], "{name}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_none() {
        let metrics = Metrics::default();
        let line = r#"{"_aws":{"Timestamp":1000,"CloudWatchMetrics":[{"Namespace":"N",
            "Metrics":[{"Name":"some"},{"Name":"none"}]}]},"some":[1,1e200,-1e200,2],"none":1e200}"#;
        record(&metrics, 1_000, line);
        let count = |name: &str| {
            let id = MetricId::new("N", name, vec![]);
            metrics.statistics(&id, "None", 0, 60_000).map(|set| (set.count, set.sum))
        };
        assert_eq!((count("some"), count("none")), (Some((2.0, 3.0)), None));
    }

    /// The metrics of a line with one directive.
    fn recorded(namespace: &str, dimension: (&str, &str), name: &str, unit: Option<&str>) -> Vec<MetricId> {
        let metrics = Metrics::default();
        let directive = serde_json::json!({"Namespace": namespace, "Dimensions": [[dimension.0]],
            "Metrics": [{"Name": name, "Unit": unit}]});
        let mut line = serde_json::json!({"_aws": {"Timestamp": 1000, "CloudWatchMetrics": [directive]}});
        line[dimension.0] = Value::from(dimension.1);
        line[name] = Value::from(1);
        record(&metrics, 1_000, &line.to_string());
        metrics.list(i64::MIN)
    }

    #[test]
    fn what_put_metric_data_refuses_is_no_metric_of_a_line() {
        let (longest, longest_value) = ("n".repeat(255), "v".repeat(1_024));
        let kept = recorded(&longest, (&longest, &longest_value), "m", Some("Count"));
        assert_eq!(kept, [MetricId::new(longest.as_str(), "m", vec![(longest.clone(), longest_value)])]);
        let namespace = "aws-fis-extension";
        assert_eq!(recorded(namespace, ("d", "v"), &longest, None).len(), 1);
        let (long, long_value) = ("n".repeat(256), "v".repeat(1_025));
        for (namespace, dimension, name, unit) in [
            ("", ("d", "v"), "m", None),
            (":x", ("d", "v"), "m", None),
            (&long, ("d", "v"), "m", None),
            ("AWS/Lambda", ("d", "v"), "m", None),
            (namespace, (":x", "v"), "m", None),
            (namespace, ("é", "v"), "m", None),
            (namespace, (&long, "v"), "m", None),
            (namespace, ("d", "é"), "m", None),
            (namespace, ("d", ""), "m", None),
            (namespace, ("d", &long_value), "m", None),
            (namespace, ("d", "v"), "", None),
            (namespace, ("d", "v"), &long, None),
            (namespace, ("d", "v"), "m", Some("seconds")),
            (namespace, ("d", "v"), "m", Some("")),
        ] {
            let kept = recorded(namespace, dimension, name, unit);
            assert!(kept.is_empty(), "{namespace} {dimension:?} {name} {unit:?}");
        }
    }

    #[test]
    fn a_malformed_or_old_line_is_no_metric() {
        let metrics = Metrics::default();
        record(&metrics, 1_000, r#"{"_aws":{"Timestamp":1000}}"#);
        let five = r#"{"_aws":{"Timestamp":1000,"CloudWatchMetrics":[{"Namespace":"N","Metrics":
            [{"Name":"M","StorageResolution":5}]}]},"M":1}"#;
        record(&metrics, 1_000, five);
        let old = r#"{"_aws":{"Timestamp":0,"CloudWatchMetrics":[{"Namespace":"N","Metrics":[{"Name":"M"}]}]},"M":1}"#;
        record(&metrics, PAST_MAX_MS + 1, old);
        assert!(metrics.list(i64::MIN).is_empty());
    }
}
