//! GetMetricData: the results of its queries, in pages.

use std::fmt;
use std::ops::Range;

use serde_json::{Value, json};

use super::failure::Failure;
use super::math::{self, Series};
use super::queries::{Evaluated, Queries, Query, too_many_points};
use super::request::{integer, list, text, token};
use super::times::from_ms;
use super::window::Window;
use crate::settings::Settings;

/// "If you omit this, the default of 100,800 is used." A single query cannot ask for more either, nor can all of them together
/// where there is metric math: that is one page.
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
    let after = token(input, Place::parse, Failure::next_token)?;
    let has_math = queries.all().iter().any(Query::is_math);
    let limit = limit(input, has_math)?;
    let window = Window::read(input, Failure::validation)?;
    let points_max = if has_math { DATAPOINTS_MAX } else { i64::MAX };
    let found = queries.evaluate(&settings.metrics, points_max, |period_s| {
        let is_within = window.datapoints(period_s) <= DATAPOINTS_MAX;
        is_within.then(|| window.grid(period_s)).ok_or_else(|| too_many_points(DATAPOINTS_MAX))
    })?;
    let is_ascending = text(input, "ScanBy") == Some("TimestampAscending");
    let returned = found.iter().filter(|found| found.query.returns_data());
    let results: Vec<DataResult<'_>> = returned.flat_map(|found| results(found, is_ascending)).collect();
    let (page, end) = page(&results, after, limit, is_ascending);
    Ok(json!({"MetricDataResults": page, "Messages": [], "NextToken": end.map(|end| end.to_string())}))
}

/// How many datapoints make a page. "NextToken is not returned if you are performing a math expression."
fn limit(input: &Value, has_math: bool) -> Result<usize, Failure> {
    let limit = integer(input, "MaxDatapoints")?.unwrap_or(DATAPOINTS_MAX);
    if !(1..=DATAPOINTS_MAX).contains(&limit) {
        return Err(Failure::validation(format!("MaxDatapoints must be between 1 and {DATAPOINTS_MAX}.")));
    }
    Ok(if has_math { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) })
}

/// Where a page ends: with a result, and with the last datapoint of it that was shown, if there was one. What comes meanwhile
/// moves no other.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    at_ms: Option<i64>,
}

impl Place {
    fn parse(token: &str) -> Option<Self> {
        let (index, at_ms) = token.split_once('/')?;
        let at_ms = if at_ms.is_empty() { None } else { Some(at_ms.parse().ok()?) };
        Some(Self { index: index.parse().ok()?, at_ms })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_ms = self.at_ms.map(|at_ms| at_ms.to_string()).unwrap_or_default();
        write!(formatter, "{}/{at_ms}", self.index)
    }
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

/// The datapoints behind a place, at most `limit`, and where the page ends if there are more. A result without any is on the
/// page that comes past it.
fn page(
    results: &[DataResult<'_>],
    after: Option<Place>,
    limit: usize,
    is_ascending: bool,
) -> (Vec<Value>, Option<Place>) {
    let (mut page, mut room, mut end) = (Vec::new(), limit, after);
    for (index, result) in results.iter().enumerate().skip(after.map_or(0, |after| after.index)) {
        let begun = after.filter(|after| after.index == index);
        let shown_ms = begun.and_then(|begun| begun.at_ms);
        let start = shown_ms.map_or(0, |at_ms| result.behind(at_ms, is_ascending));
        let shown = start..result.points.len().min(start.saturating_add(room));
        let is_whole = shown.end == result.points.len();
        if shown.is_empty() && !is_whole {
            return (page, end);
        }
        room -= shown.len();
        let last_ms = result.points[shown.clone()].last().map(|(at_ms, _)| *at_ms);
        end = Some(Place { index, at_ms: last_ms.or(shown_ms) });
        if !shown.is_empty() || begun.is_none() {
            page.push(result.describe(shown));
        }
        if !is_whole {
            return (page, end);
        }
    }
    (page, None)
}

impl DataResult<'_> {
    /// The index of the first datapoint behind that time, in the order that was asked for.
    fn behind(&self, at_ms: i64, is_ascending: bool) -> usize {
        let is_shown = |known_ms: i64| if is_ascending { known_ms <= at_ms } else { known_ms >= at_ms };
        self.points.partition_point(|(known_ms, _)| is_shown(*known_ms))
    }

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
