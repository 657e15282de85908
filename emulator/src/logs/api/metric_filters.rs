//! Metric filters: made, listed, tried out and deleted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::groups::without_null;
use super::{Failure, LogsApi, Outcome, limit, text};
use crate::logs::metric_filter::{Dimension, MetricFilter, MetricFilters, Source, Transformation};
use crate::logs::pattern::{Flaw, Message, Pattern, number};
use crate::metrics::MetricId;
use crate::pages;
use crate::wire::not_emulated;

/// "The maximum number of metric filters that can be associated with a log group is 100."
const FILTERS_MAX: usize = 100;
/// "There is a maximum of 5 filter patterns containing regex for each log group."
const REGEX_FILTERS_MAX: usize = 5;
const DIMENSIONS_MAX: usize = 3;
const FILTER_NAME_CHARS_MAX: usize = 512;
/// Of the name and the namespace of a metric, and of both sides of a dimension.
const METRIC_NAME_CHARS_MAX: usize = 255;
const VALUE_CHARS_MAX: usize = 100;
const PAGE_MAX: usize = 50;
/// Of TestMetricFilter.
const MESSAGES_MAX: usize = 50;
/// In the order in which AWS names them.
const UNITS: [&str; 27] = [
    "Gigabits/Second",
    "Gigabits",
    "Percent",
    "Terabits",
    "Bits",
    "Kilobits",
    "Megabytes/Second",
    "Kilobytes",
    "Megabits/Second",
    "Terabytes",
    "Bytes",
    "Count",
    "Gigabytes",
    "Milliseconds",
    "Count/Second",
    "Gigabytes/Second",
    "None",
    "Terabytes/Second",
    "Bytes/Second",
    "Megabits",
    "Kilobytes/Second",
    "Megabytes",
    "Microseconds",
    "Kilobits/Second",
    "Terabits/Second",
    "Bits/Second",
    "Seconds",
];

impl LogsApi {
    pub(super) fn put_metric_filter(&self, input: &Value) -> Outcome {
        let group = Self::group_name(input, "logGroupName")?;
        let name = filter_name(input)?;
        let (pattern_text, pattern) = pattern(input)?;
        let transformation = transformation(input, &pattern)?;
        for member in ["fieldSelectionCriteria", "emitSystemFieldDimensions"] {
            if input.get(member).is_some_and(|value| !value.is_null() && *value != json!([])) {
                return Err(Failure::invalid(not_emulated(member)));
            }
        }
        let is_on_transformed_logs =
            input.get("applyOnTransformedLogs").and_then(Value::as_bool).unwrap_or_default();
        let mut store = self.logs.store();
        let group = store.groups.get_mut(group).ok_or_else(Failure::no_group)?;
        if group.class.as_deref().is_some_and(|class| class != "STANDARD") {
            return Err(Failure::new(
                "InvalidOperationException",
                "Metric filters are supported only for log groups in the Standard log class.",
            ));
        }
        let mut filters = group.metric_filters.as_deref().cloned().unwrap_or_default();
        let replaced = filters.remove(name);
        check_quota(&filters, &pattern)?;
        let created_ms = replaced.map_or_else(|| self.settings.clock.now_ms(), |filter| filter.created_ms);
        let pattern_text = pattern_text.to_owned();
        let filter =
            MetricFilter { created_ms, pattern_text, pattern, transformation, is_on_transformed_logs };
        filters.insert(name.to_owned(), Arc::new(filter));
        group.metric_filters = Some(Arc::new(filters));
        Ok(json!({}))
    }

    pub(super) fn delete_metric_filter(&self, input: &Value) -> Outcome {
        let group = Self::group_name(input, "logGroupName")?;
        let name = filter_name(input)?;
        let mut store = self.logs.store();
        let group = store.groups.get_mut(group).ok_or_else(Failure::no_group)?;
        let mut filters = group.metric_filters.as_deref().cloned().unwrap_or_default();
        filters.remove(name).ok_or_else(|| {
            Failure::new("ResourceNotFoundException", "The specified metric filter does not exist.")
        })?;
        group.metric_filters = Some(filters).filter(|filters| !filters.is_empty()).map(Arc::new);
        Ok(json!({}))
    }

    pub(super) fn describe_metric_filters(&self, input: &Value) -> Outcome {
        let of_group = text(input, "logGroupName");
        let metric = match (text(input, "metricNamespace"), text(input, "metricName")) {
            (Some(namespace), Some(name)) if of_group.is_none() => Some((namespace, name)),
            (None, None) => None,
            _ => return Err(bad_selection()),
        };
        let page_max = limit(input, PAGE_MAX, PAGE_MAX)?;
        let after = text(input, "nextToken").map(read_token).transpose()?;
        // "The value that you set here is used only if you also include the logGroupName."
        let prefix = of_group.and_then(|_| text(input, "filterNamePrefix")).unwrap_or_default();
        let is_wanted = |id: &MetricId| {
            metric.is_none_or(|(namespace, name)| id.namespace == namespace && id.name == name)
        };
        let store = self.logs.store();
        if of_group.is_some_and(|group| !store.groups.contains_key(group)) {
            return Err(Failure::no_group());
        }
        let mut found: Vec<(&str, &str, &MetricFilter)> = Vec::new();
        for (group, held) in &store.groups {
            if of_group.is_some_and(|wanted| wanted != group) {
                continue;
            }
            let filters = held.metric_filters.iter().flat_map(|filters| filters.iter());
            found.extend(filters.map(|(name, filter)| (name.as_str(), group.as_str(), &**filter)));
        }
        found
            .retain(|(name, _, filter)| name.starts_with(prefix) && is_wanted(&filter.transformation.metric));
        found.sort_unstable_by_key(|(name, group, _)| (*name, *group));
        let found = found.into_iter().map(|one| ((one.0, one.1), one));
        let (page, last) = pages::page(found, |key| after.is_none_or(|after| *key > after), page_max);
        let page: Vec<Value> =
            page.into_iter().map(|(name, group, filter)| describe(name, group, filter)).collect();
        let token = last.map(|(name, group)| format!("{name}:{group}"));
        Ok(without_null(json!({"metricFilters": page, "nextToken": token})))
    }

    pub(super) fn test_metric_filter(input: &Value) -> Outcome {
        let (_, pattern) = pattern(input)?;
        let given = input.get("logEventMessages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if given.is_empty() || given.len() > MESSAGES_MAX {
            let (bound, limit) = if given.is_empty() { ("greater", 1) } else { ("less", MESSAGES_MAX) };
            let constraint = format!("have length {bound} than or equal to {limit}");
            return Err(violation("logEventMessages", &constraint));
        }
        let mut matches = Vec::new();
        for (index, given) in given.iter().enumerate() {
            let line = given.as_str().filter(|line| !line.is_empty());
            let line =
                line.ok_or_else(|| violation("logEventMessages", "have length greater than or equal to 1"))?;
            let message = Message::new(line);
            if pattern.matches(&message) {
                let extracted: serde_json::Map<String, Value> = pattern
                    .extracted(&message)
                    .into_iter()
                    .map(|(name, text)| (name, Value::String(text)))
                    .collect();
                matches.push(
                    json!({"eventNumber": index + 1, "eventMessage": line, "extractedValues": extracted}),
                );
            }
        }
        Ok(json!({ "matches": matches }))
    }
}

fn violation(member: &str, constraint: &str) -> Failure {
    Failure::invalid(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {constraint}"
    ))
}

/// A text of at most so many characters, none of them one of these.
fn named<'a>(
    given: &'a Value,
    member: &str,
    path: &str,
    chars_max: usize,
    excluded: &[char],
) -> Result<&'a str, Failure> {
    let name = text(given, member).ok_or_else(|| violation(path, "not be null"))?;
    if name.chars().count() > chars_max {
        return Err(violation(path, &format!("have length less than or equal to {chars_max}")));
    }
    if name.contains(excluded) {
        let excluded: String = excluded.iter().collect();
        return Err(violation(path, &format!("satisfy regular expression pattern: [^{excluded}]*")));
    }
    Ok(name)
}

fn filter_name(input: &Value) -> Result<&str, Failure> {
    named(input, "filterName", "filterName", FILTER_NAME_CHARS_MAX, &[':', '*'])
}

/// An empty one matches everything.
fn pattern(input: &Value) -> Result<(&str, Pattern), Failure> {
    let given = input.get("filterPattern").and_then(Value::as_str);
    let given = given.ok_or_else(|| violation("filterPattern", "not be null"))?;
    let pattern = Pattern::parse(given).map_err(|flaw| match flaw {
        Flaw::Syntax => Failure::invalid("Invalid metric filter pattern"),
        Flaw::Named(message) => Failure::invalid(message),
    })?;
    Ok((given, pattern))
}

/// `others` are those of the group that stay beside the new one.
fn check_quota(others: &MetricFilters, pattern: &Pattern) -> Result<(), Failure> {
    let with_regex = others.values().filter(|filter| filter.pattern.has_regex()).count();
    if others.len() >= FILTERS_MAX || (pattern.has_regex() && with_regex >= REGEX_FILTERS_MAX) {
        return Err(Failure::new("LimitExceededException", "Resource limit exceeded."));
    }
    Ok(())
}

fn transformation(input: &Value, pattern: &Pattern) -> Result<Transformation, Failure> {
    let given = input.get("metricTransformations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let [given] = given else {
        let bound = if given.is_empty() { "greater" } else { "less" };
        return Err(violation("metricTransformations", &format!("have length {bound} than or equal to 1")));
    };
    let path = |member: &str| format!("metricTransformations.1.member.{member}");
    let metric_name =
        |member: &'static str| named(given, member, &path(member), METRIC_NAME_CHARS_MAX, &[':', '*', '$']);
    let metric = MetricId::new(metric_name("metricNamespace")?, metric_name("metricName")?, Vec::new());
    let value = named(given, "metricValue", &path("metricValue"), VALUE_CHARS_MAX, &[])?;
    let unit = text(given, "unit");
    if unit.is_some_and(|unit| !UNITS.contains(&unit)) {
        let units = UNITS.join(", ");
        return Err(violation(&path("unit"), &format!("satisfy enum value set: [{units}]")));
    }
    let default_value = default_value(given)?;
    Ok(Transformation {
        metric,
        value: value.to_owned(),
        source: source(value, pattern)?,
        default_value,
        unit: unit.map(str::to_owned),
        dimensions: dimensions(given, pattern, default_value.is_some())?,
    })
}

fn default_value(given: &Value) -> Result<Option<f64>, Failure> {
    match given.get("defaultValue").filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| Failure::new("SerializationException", "")),
    }
}

fn source(value: &str, pattern: &Pattern) -> Result<Source, Failure> {
    let source = match number(value) {
        Some(value) => Some(Source::Fixed(value)),
        None => pattern.extractor(value).map(Source::Extracted),
    };
    source.ok_or_else(|| bad_transformation(&format!("metric value {value} must be a valid number")))
}

fn dimensions(given: &Value, pattern: &Pattern, has_default: bool) -> Result<Vec<Dimension>, Failure> {
    let Some(given) = given.get("dimensions").and_then(Value::as_object).filter(|given| !given.is_empty())
    else {
        return Ok(Vec::new());
    };
    if has_default {
        return Err(bad_transformation("dimensions and default value are mutually exclusive properties"));
    }
    if !pattern.is_structured() {
        return Err(Failure::invalid("The specified filter pattern does not support dimensions"));
    }
    if given.len() > DIMENSIONS_MAX {
        return Err(Failure::invalid(
            "Number of dimensions exceeds the maximum number of dimensions supported per metric filter",
        ));
    }
    let read = |(name, selector): (&String, &Value)| {
        let selector = selector.as_str().unwrap_or_default();
        if [name.as_str(), selector].iter().any(|text| text.chars().count() > METRIC_NAME_CHARS_MAX) {
            let constraint = format!("have length less than or equal to {METRIC_NAME_CHARS_MAX}");
            return Err(violation("metricTransformations.1.member.dimensions", &constraint));
        }
        let extractor = pattern.extractor(selector);
        let extractor =
            extractor.ok_or_else(|| bad_transformation("dimension value must be valid selector"))?;
        Ok(Dimension { name: name.clone(), selector: selector.to_owned(), extractor })
    };
    given.iter().map(read).collect()
}

fn bad_transformation(why: &str) -> Failure {
    Failure::invalid(format!("Invalid metric transformation: {why}"))
}

fn bad_selection() -> Failure {
    Failure::invalid(
        "Describe Metric Filters request must contain either logGroupName or metricName and metricNamespace",
    )
}

/// The filter and the group behind which the next page begins. Neither name has a colon in it.
fn read_token(token: &str) -> Result<(&str, &str), Failure> {
    token.split_once(':').ok_or_else(|| {
        Failure::invalid(
            "Pagination token in request is invalid. Only token from previous list call or null is valid.",
        )
    })
}

fn describe(name: &str, group: &str, filter: &MetricFilter) -> Value {
    let transformation = &filter.transformation;
    let dimensions: serde_json::Map<String, Value> = transformation
        .dimensions
        .iter()
        .map(|dimension| (dimension.name.clone(), Value::from(dimension.selector.as_str())))
        .collect();
    let described = without_null(json!({
        "metricName": transformation.metric.name, "metricNamespace": transformation.metric.namespace,
        "metricValue": transformation.value, "defaultValue": transformation.default_value,
        "unit": transformation.unit, "dimensions": Some(dimensions).filter(|dimensions| !dimensions.is_empty()),
    }));
    json!({
        "filterName": name, "filterPattern": filter.pattern_text, "metricTransformations": [described],
        "creationTime": filter.created_ms, "logGroupName": group,
        "applyOnTransformedLogs": filter.is_on_transformed_logs,
    })
}
