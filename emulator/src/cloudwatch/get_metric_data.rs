//! GetMetricData: the results of its queries, in pages.

use std::ops::Range;

use serde_json::{Value, json};

use super::failure::Failure;
use super::math::{self, Series};
use super::queries::{Evaluated, Queries, Query};
use super::request::{integer, list, text, token};
use super::times::from_ms;
use super::window::Window;
use crate::settings::Settings;

/// "If you omit this, the default of 100,800 is used." A single query cannot ask for more either.
const DATAPOINTS_MAX: i64 = 100_800;
const QUERIES_MAX: usize = 500;

pub(super) fn get_metric_data(settings: &Settings, input: &Value) -> Result<Value, Failure> {
    let inputs = list(input, "MetricDataQueries");
    if inputs.is_empty() {
        return Err(Failure::missing("MetricDataQueries"));
    }
    if inputs.len() > QUERIES_MAX {
        return Err(Failure::validation(format!("At most {QUERIES_MAX} MetricDataQueries are allowed.")));
    }
    let queries = Queries::read(inputs, "MetricDataQueries")?;
    let skip: usize = token(input, |token| token.parse().ok(), Failure::next_token)?.unwrap_or_default();
    let limit = limit(input, &queries)?;
    let window = Window::read(input, Failure::validation)?;
    let found = queries.evaluate(&settings.metrics, |period_s| {
        let is_within = window.datapoints(period_s) <= DATAPOINTS_MAX;
        let refuse = || Failure::validation(format!("More than {DATAPOINTS_MAX} datapoints requested."));
        is_within.then(|| window.grid(period_s)).ok_or_else(refuse)
    })?;
    let is_ascending = text(input, "ScanBy") == Some("TimestampAscending");
    let returned = found.iter().filter(|found| found.query.returns_data());
    let results: Vec<DataResult<'_>> = returned.flat_map(|found| results(found, is_ascending)).collect();
    let (page, token) = page(&results, skip, limit);
    Ok(json!({"MetricDataResults": page, "Messages": [], "NextToken": token}))
}

/// How many datapoints make a page. "NextToken is not returned if you are performing a math expression."
fn limit(input: &Value, queries: &Queries) -> Result<usize, Failure> {
    let limit = integer(input, "MaxDatapoints")?.unwrap_or(DATAPOINTS_MAX);
    if !(1..=DATAPOINTS_MAX).contains(&limit) {
        return Err(Failure::validation(format!("MaxDatapoints must be between 1 and {DATAPOINTS_MAX}.")));
    }
    let has_math = queries.all().iter().any(Query::is_math);
    Ok(if has_math { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) })
}

/// One time series of the answer.
struct DataResult<'a> {
    id: &'a str,
    label: String,
    /// In the order that was asked for.
    points: Vec<(i64, f64)>,
    units: &'a [String],
}

/// An array gives one result for each of its series, all with the id of the query.
fn results<'a>(found: &'a Evaluated<'_>, is_ascending: bool) -> Vec<DataResult<'a>> {
    let result = |label: String, series: &Series| {
        let mut points = series.points().to_vec();
        if !is_ascending {
            points.reverse();
        }
        DataResult { id: found.query.id(), label, points, units: &found.units }
    };
    match &found.value {
        math::Value::Scalar(_) => Vec::new(),
        math::Value::Series(series) => vec![result(found.query.label().to_owned(), series)],
        math::Value::Array(all) => all
            .iter()
            .map(|series| match found.query.label_given() {
                // "The legend captions for those time series are in the format Expression-Label Metric-Label."
                Some(label) => result(format!("{label} {}", series.label), series),
                None => result(series.label.clone(), series),
            })
            .collect(),
    }
}

/// The datapoints from the `skip`th on, at most `limit`, and the token of those after them. A result without any is on the
/// first page.
fn page(results: &[DataResult<'_>], skip: usize, limit: usize) -> (Vec<Value>, Option<String>) {
    let end = skip.saturating_add(limit);
    let mut before = 0;
    let mut page = Vec::new();
    for result in results {
        let after = before + result.points.len();
        let shown = skip.clamp(before, after) - before..end.clamp(before, after) - before;
        if !shown.is_empty() || (result.points.is_empty() && skip == 0) {
            page.push(result.describe(shown));
        }
        before = after;
    }
    (page, (before > end).then(|| end.to_string()))
}

impl DataResult<'_> {
    fn describe(&self, shown: Range<usize>) -> Value {
        let status = if shown.end == self.points.len() { "Complete" } else { "PartialData" };
        let (timestamps, values): (Vec<Value>, Vec<f64>) =
            self.points[shown].iter().map(|(at_ms, value)| (from_ms(*at_ms), *value)).unzip();
        json!({
            "Id": self.id, "Label": self.label, "Timestamps": timestamps, "Values": values, "StatusCode": status,
            "Messages": self.messages(),
        })
    }

    /// None is no member of the answer, as on AWS.
    fn messages(&self) -> Option<Value> {
        let value = || format!("Multiple units returned: '[{}]'", self.units.join(", "));
        (self.units.len() > 1).then(|| json!([{"Code": "MultipleUnits", "Value": value()}]))
    }
}
