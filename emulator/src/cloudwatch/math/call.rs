//! The functions.

use super::calendar::Part;
use super::evaluate::{Scope, Value, operands, same_period, same_period_as};
use super::fill::{Filler, fill};
use super::parse::Expression;
use super::reduce::Reduction;
use super::series::Series;
use super::{Problem, calendar};

/// What AWS has and this emulator has not: they need more than the series of the request.
const NOT_EMULATED: [&str; 6] = [
    "ANOMALY_DETECTION_BAND",
    "DB_PERF_INSIGHTS",
    "INSIGHT_RULE_METRIC",
    "LAMBDA",
    "SEARCH",
    "SERVICE_QUOTA",
];

pub(super) fn call(scope: &Scope<'_>, name: &str, arguments: &[Expression]) -> Result<Value, Problem> {
    let call = Call { scope, name, arguments };
    match name {
        "METRICS" => call.metrics(),
        "IF" => call.choose(),
        "FILL" => call.fill(),
        "FIRST" | "LAST" => call.end(),
        "SLICE" => call.slice(),
        "SORT" => call.sort(),
        "METRIC_COUNT" => call.array().map(|all| Value::Scalar(number(all.len()))),
        "REMOVE_EMPTY" => {
            Ok(Value::Array(call.array()?.into_iter().filter(|series| !series.points().is_empty()).collect()))
        }
        "PERIOD" => call.period(),
        "TIME_SERIES" => call.constant(),
        _ => match (Reduction::named(name), Part::named(name), transformation(name)) {
            (Some(reduction), _, _) => call.reduce(reduction),
            (_, Some(part), _) => Ok(Value::Series(calendar::of(&call.series()?, part))),
            (_, _, Some(transform)) => call.transform(transform),
            _ if NOT_EMULATED.contains(&name) => Err(Problem::NotEmulated(name.to_owned())),
            _ => Err(Problem::UnknownFunction(name.to_owned())),
        },
    }
}

/// Functions from a series to a series.
fn transformation(name: &str) -> Option<fn(&Series) -> Series> {
    Some(match name {
        "ABS" => |series| series.map(f64::abs),
        "CEIL" => |series| series.map(f64::ceil),
        "FLOOR" => |series| series.map(f64::floor),
        "LOG" => |series| series.map(f64::ln),
        "LOG10" => |series| series.map(f64::log10),
        "DIFF" => |series| series.steps(|(_, before), (_, now)| now - before),
        "DIFF_TIME" => |series| series.steps(|(before_ms, _), (now_ms, _)| seconds(now_ms - before_ms)),
        "RATE" => |series| {
            series.steps(|(before_ms, before), (now_ms, now)| (now - before) / seconds(now_ms - before_ms))
        },
        "RUNNING_SUM" => |series| {
            let sums = series.points().iter().scan(0.0, |sum, (at_ms, value)| {
                *sum += value;
                Some((*at_ms, *sum))
            });
            series.with(sums)
        },
        _ => return None,
    })
}

struct Call<'a> {
    scope: &'a Scope<'a>,
    name: &'a str,
    arguments: &'a [Expression],
}

impl Call<'_> {
    fn transform(&self, transform: fn(&Series) -> Series) -> Result<Value, Problem> {
        let value = self.only()?;
        value.each(transform).ok_or_else(|| self.refuse(&[&value]))
    }

    /// Of one series a scalar, of an array a series.
    fn reduce(&self, reduction: Reduction) -> Result<Value, Problem> {
        match self.only()? {
            Value::Series(series) => Ok(Value::Scalar(reduction.of_series(&series))),
            Value::Array(all) => {
                same_period(&all)?;
                Ok(Value::Series(reduction.of_array(&all, self.scope.grid)))
            }
            scalar @ Value::Scalar(_) => Err(self.refuse(&[&scalar])),
        }
    }

    /// "Math expressions aren't included"; with a string, the metrics "that contain that string in their Id".
    fn metrics(&self) -> Result<Value, Problem> {
        let part = match self.arguments {
            [] => "",
            [Expression::Text(part)] => part,
            _ => return Err(Problem::Syntax),
        };
        let matching = self.scope.metrics.iter().filter(|(id, _)| id.contains(part));
        let matching = matching.map(|(_, series)| series);
        self.scope.check_points(matching.clone())?;
        Ok(Value::Array(matching.cloned().collect()))
    }

    fn choose(&self) -> Result<Value, Problem> {
        let (condition, then, otherwise) = match self.arguments {
            [condition, then] => (condition, then, None),
            [condition, then, otherwise] => (condition, then, Some(self.scope.value(otherwise)?)),
            _ => return Err(Problem::Syntax),
        };
        let (condition, then) = (self.scope.value(condition)?, self.scope.value(then)?);
        let given: Vec<&Value> = [&condition, &then].into_iter().chain(&otherwise).collect();
        let has_array = given.iter().any(|value| matches!(value, Value::Array(_)));
        match &condition {
            _ if has_array => Err(self.refuse(&given)),
            Value::Series(condition) => {
                given.iter().try_for_each(|value| same_period_as(condition, value))?;
                Ok(Value::Series(choose_by_point(condition, &then, otherwise.as_ref())))
            }
            Value::Scalar(truth) => match (&then, &otherwise) {
                (Value::Series(then), None | Some(Value::Series(_))) if *truth != 0.0 => {
                    Ok(Value::Series(then.clone()))
                }
                (Value::Series(_), Some(Value::Series(otherwise))) => Ok(Value::Series(otherwise.clone())),
                (Value::Series(then), None) => Ok(Value::Series(then.with([]))),
                _ => Err(self.refuse(&given)),
            },
            Value::Array(_) => Err(self.refuse(&given)),
        }
    }

    fn fill(&self) -> Result<Value, Problem> {
        let [value, filler] = self.arguments else { return Err(Problem::Syntax) };
        let value = self.scope.value(value)?;
        let filler = match filler {
            Expression::Word(word) if word == "REPEAT" => Filler::Repeat,
            Expression::Word(word) if word == "LINEAR" => Filler::Linear,
            _ => match self.scope.value(filler)? {
                Value::Scalar(number) => Filler::Number(number),
                Value::Series(series) => {
                    same_period_as(&series, &value)?;
                    Filler::Series(series)
                }
                array @ Value::Array(_) => return Err(self.refuse(&[&value, &array])),
            },
        };
        value.each(|series| fill(series, &filler)).ok_or_else(|| self.refuse(&[&value]))
    }

    /// Of an empty array an empty series, so that the kind of a result does not depend on the data.
    fn end(&self) -> Result<Value, Problem> {
        let mut all = self.array()?.into_iter();
        let end = if self.name == "FIRST" { all.next() } else { all.next_back() };
        Ok(Value::Series(end.unwrap_or_else(|| Series::new("", self.scope.grid, []))))
    }

    /// "The two scalars define the start (inclusive) and end (exclusive)."
    fn slice(&self) -> Result<Value, Problem> {
        let (array, start, end) = match self.arguments {
            [array, start] => (array, start, None),
            [array, start, end] => (array, start, Some(self.count(end)?)),
            _ => return Err(Problem::Syntax),
        };
        let (all, start) = (self.array_of(array)?, self.count(start)?);
        let end = end.unwrap_or(all.len()).min(all.len());
        Ok(Value::Array(all.into_iter().take(end).skip(start).collect()))
    }

    fn sort(&self) -> Result<Value, Problem> {
        let (array, function, order, limit) = match self.arguments {
            [array, Expression::Word(function), Expression::Word(order)] => (array, function, order, None),
            [array, Expression::Word(function), Expression::Word(order), limit] => {
                (array, function, order, Some(self.count(limit)?))
            }
            _ => return Err(Problem::Syntax),
        };
        let sortable = ["AVG", "MIN", "MAX", "SUM"].contains(&function.as_str());
        let reduction = Reduction::named(function).filter(|_| sortable).ok_or(Problem::Syntax)?;
        let all = self.array_of(array)?;
        let is_ascending = match order.as_str() {
            "ASC" => true,
            "DESC" => false,
            _ => return Err(Problem::Syntax),
        };
        let mut ranked: Vec<(Option<f64>, Series)> =
            all.into_iter().map(|series| (rank(reduction, &series), series)).collect();
        ranked.sort_by(|(a, _), (b, _)| match (a, b) {
            (Some(a), Some(b)) if is_ascending => a.total_cmp(b),
            (Some(a), Some(b)) => b.total_cmp(a),
            _ => b.is_some().cmp(&a.is_some()),
        });
        let all = ranked.into_iter().map(|(_, series)| series);
        Ok(Value::Array(all.take(limit.unwrap_or(usize::MAX)).collect()))
    }

    /// "Valid input is metrics, not the results of other expressions."
    fn period(&self) -> Result<Value, Problem> {
        let [Expression::Id(id)] = self.arguments else { return Err(Problem::Syntax) };
        let metric = self.scope.metrics.iter().find(|(known, _)| known == id);
        let (_, series) = metric.ok_or_else(|| Problem::UnknownId(id.clone()))?;
        Ok(Value::Scalar(seconds(series.grid.period_ms)))
    }

    fn constant(&self) -> Result<Value, Problem> {
        match self.only()? {
            Value::Scalar(number) => {
                let grid = self.scope.grid;
                Ok(Value::Series(Series::new("", grid, grid.times().map(|at_ms| (at_ms, number)))))
            }
            value => Err(self.refuse(&[&value])),
        }
    }

    fn only(&self) -> Result<Value, Problem> {
        let [argument] = self.arguments else { return Err(Problem::Syntax) };
        self.scope.value(argument)
    }

    fn series(&self) -> Result<Series, Problem> {
        match self.only()? {
            Value::Series(series) => Ok(series),
            value => Err(self.refuse(&[&value])),
        }
    }

    fn array(&self) -> Result<Vec<Series>, Problem> {
        let [argument] = self.arguments else { return Err(Problem::Syntax) };
        self.array_of(argument)
    }

    fn array_of(&self, argument: &Expression) -> Result<Vec<Series>, Problem> {
        match self.scope.value(argument)? {
            Value::Array(all) => Ok(all),
            value => Err(self.refuse(&[&value])),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, as a count may"
    )]
    fn count(&self, argument: &Expression) -> Result<usize, Problem> {
        match self.scope.value(argument)? {
            Value::Scalar(number) if number >= 0.0 => Ok(number as usize),
            value => Err(self.refuse(&[&value])),
        }
    }

    fn refuse(&self, values: &[&Value]) -> Problem {
        operands(self.name, values)
    }
}

/// None for a series without a value: it is behind all others in either order.
fn rank(reduction: Reduction, series: &Series) -> Option<f64> {
    let has_value = !series.points().is_empty();
    has_value.then(|| reduction.of_series(series)).filter(|value| !value.is_nan())
}

/// True is "any other value" than 0. A true moment without a value in `then` is 0; a false one without a value is dropped.
fn choose_by_point(condition: &Series, then: &Value, otherwise: Option<&Value>) -> Series {
    let at = |value: &Value, at_ms| match value {
        Value::Scalar(number) => Some(*number),
        Value::Series(series) => series.at(at_ms),
        Value::Array(_) => None,
    };
    let chosen = condition.points().iter().filter_map(|(at_ms, truth)| {
        let value = if *truth == 0.0 { at(otherwise?, *at_ms)? } else { at(then, *at_ms).unwrap_or(0.0) };
        Some((*at_ms, value))
    });
    condition.with(chosen)
}

#[expect(clippy::cast_precision_loss, reason = "spans of time and counts of series are far below 2^53")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "spans of time and counts of series are far below 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}
