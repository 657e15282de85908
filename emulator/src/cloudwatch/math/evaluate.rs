//! Values, and the operators on them.

use std::collections::HashMap;

use super::parse::{Expression, Operator};
use super::series::{Grid, Series};
use super::{Problem, call};

/// "Each graph is limited to using a maximum of 500 metrics and expressions."
const SERIES_MAX: usize = 500;

#[derive(Clone, Debug, PartialEq)]
pub(in crate::cloudwatch) enum Value {
    Scalar(f64),
    Series(Series),
    Array(Vec<Series>),
}

impl Value {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "Scalar",
            Self::Series(_) => "TimeSeries",
            Self::Array(_) => "Array[TimeSeries]",
        }
    }

    /// The datapoints that it may have, whatever becomes of it: a series that is filled has one in each period.
    pub(in crate::cloudwatch) fn points(&self) -> i64 {
        match self {
            Self::Scalar(_) => 0,
            Self::Series(series) => series.grid.datapoints,
            Self::Array(all) => points(all),
        }
    }

    /// The same change to each series; None for a scalar.
    pub(super) fn each(&self, change: impl Fn(&Series) -> Series) -> Option<Self> {
        match self {
            Self::Scalar(_) => None,
            Self::Series(series) => Some(Self::Series(change(series))),
            Self::Array(all) => Some(Self::Array(all.iter().map(change).collect())),
        }
    }
}

/// What an expression may refer to.
#[derive(Debug)]
pub(in crate::cloudwatch) struct Scope<'a> {
    /// The metrics of the request, in its order, by id.
    pub(in crate::cloudwatch) metrics: &'a [(&'a str, Series)],
    /// The results of other expressions, by id.
    pub(in crate::cloudwatch) results: &'a HashMap<&'a str, Value>,
    /// Of series that no metric goes into.
    pub(in crate::cloudwatch) grid: Grid,
    /// The most that the series of an array may have together.
    pub(in crate::cloudwatch) points_max: i64,
}

impl Scope<'_> {
    /// "The final result of any math expression must be a single time series or an array of time series."
    pub(in crate::cloudwatch) fn result(&self, expression: &Expression) -> Result<Value, Problem> {
        match self.value(expression)? {
            Value::Scalar(_) => Err(Problem::NoSeries),
            value => Ok(value),
        }
    }

    pub(super) fn value(&self, expression: &Expression) -> Result<Value, Problem> {
        match expression {
            Expression::Number(number) => Ok(Value::Scalar(*number)),
            Expression::Id(id) => self.named(id),
            Expression::List(all) => self.list(all),
            Expression::Negated(inner) => negate(self.value(inner)?),
            Expression::Chain(first, rest) => {
                rest.iter().try_fold(self.value(first)?, |left, (operator, right)| {
                    operator.apply(left, self.value(right)?)
                })
            }
            Expression::Call(name, arguments) => call::call(self, name, arguments),
            // Only a function knows what to do with them.
            Expression::Text(_) | Expression::Word(_) => Err(Problem::Syntax),
        }
    }

    fn named(&self, id: &str) -> Result<Value, Problem> {
        let metric = self.metrics.iter().find(|(known, _)| *known == id);
        let metric = metric.map(|(_, series)| Value::Series(series.clone()));
        metric.or_else(|| self.results.get(id).cloned()).ok_or_else(|| Problem::UnknownId(id.to_owned()))
    }

    /// An array in an array is flat: `[METRICS("4xx"), METRICS("5xx")]`.
    fn list(&self, all: &[Expression]) -> Result<Value, Problem> {
        let mut array = Vec::new();
        for expression in all {
            match self.value(expression)? {
                Value::Series(series) => array.push(series),
                Value::Array(series) => array.extend(series),
                scalar @ Value::Scalar(_) => return Err(operands("[]", &[&scalar])),
            }
            if array.len() > SERIES_MAX {
                return Err(Problem::TooManySeries(SERIES_MAX));
            }
            self.check_points(&array)?;
        }
        same_period(&array)?;
        Ok(Value::Array(array))
    }

    /// Arrays are what makes many series of few.
    pub(super) fn check_points<'s>(&self, all: impl IntoIterator<Item = &'s Series>) -> Result<(), Problem> {
        if points(all) > self.points_max { Err(Problem::TooManyPoints(self.points_max)) } else { Ok(()) }
    }
}

fn points<'s>(all: impl IntoIterator<Item = &'s Series>) -> i64 {
    all.into_iter().map(|series| series.grid.datapoints).sum()
}

impl Operator {
    fn apply(self, left: Value, right: Value) -> Result<Value, Problem> {
        let combine = |left, right| self.of(left, right);
        match (&left, &right) {
            (Value::Scalar(left), Value::Scalar(right)) => Ok(Value::Scalar(combine(*left, *right))),
            // Comparisons are for "either a pair of time series or a pair of single scalar values".
            (Value::Array(_), _) | (_, Value::Array(_)) if !self.is_arithmetic() => {
                Err(operands(self.symbol(), &[&left, &right]))
            }
            (Value::Array(_), Value::Array(_)) => Err(operands(self.symbol(), &[&left, &right])),
            (series, Value::Scalar(scalar)) => {
                let each = series.each(|series| series.map(|value| combine(value, *scalar)));
                each.ok_or(Problem::NoSeries)
            }
            (Value::Scalar(scalar), series) => {
                let each = series.each(|series| series.map(|value| combine(*scalar, value)));
                each.ok_or(Problem::NoSeries)
            }
            (Value::Series(one), all) => {
                same_period_as(one, all)?;
                all.each(|series| series.zip(one, |right, left| combine(left, right)))
                    .ok_or(Problem::NoSeries)
            }
            (all, Value::Series(one)) => {
                same_period_as(one, all)?;
                all.each(|series| series.zip(one, combine)).ok_or(Problem::NoSeries)
            }
        }
    }

    const fn is_arithmetic(self) -> bool {
        matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Power)
    }

    fn of(self, left: f64, right: f64) -> f64 {
        let truth = |is_true: bool| f64::from(u8::from(is_true));
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Power => left.powf(right),
            #[expect(clippy::float_cmp, reason = "the operator of the language compares exactly")]
            Self::Equal => truth(left == right),
            #[expect(clippy::float_cmp, reason = "the operator of the language compares exactly")]
            Self::NotEqual => truth(left != right),
            Self::LessOrEqual => truth(left <= right),
            Self::GreaterOrEqual => truth(left >= right),
            Self::Less => truth(left < right),
            Self::Greater => truth(left > right),
            Self::And => truth(left != 0.0 && right != 0.0),
            Self::Or => truth(left != 0.0 || right != 0.0),
        }
    }
}

fn negate(value: Value) -> Result<Value, Problem> {
    match value {
        Value::Scalar(number) => Ok(Value::Scalar(-number)),
        series => series.each(|series| series.map(|value| -value)).ok_or(Problem::NoSeries),
    }
}

/// Series of different periods have no moments in common: what AWS makes of them is not documented.
pub(super) fn same_period(all: &[Series]) -> Result<(), Problem> {
    let is_same = all.windows(2).all(|pair| pair[0].grid.period_ms == pair[1].grid.period_ms);
    if is_same { Ok(()) } else { Err(Problem::Periods) }
}

pub(super) fn same_period_as(one: &Series, other: &Value) -> Result<(), Problem> {
    let is_same = |series: &Series| series.grid.period_ms == one.grid.period_ms;
    let is_same = match other {
        Value::Scalar(_) => true,
        Value::Series(series) => is_same(series),
        Value::Array(all) => all.iter().all(is_same),
    };
    if is_same { Ok(()) } else { Err(Problem::Periods) }
}

pub(super) fn operands(operation: &str, values: &[&Value]) -> Problem {
    let kinds: Vec<&str> = values.iter().map(|value| value.kind()).collect();
    Problem::Operands { operation: operation.to_owned(), operands: kinds.join(", ") }
}
