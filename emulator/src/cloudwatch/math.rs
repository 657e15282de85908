//! Metric math: expressions over the time series of one request. A function of its arguments, without clock or store.

mod calendar;
mod call;
mod evaluate;
mod fill;
mod parse;
mod reduce;
mod series;
#[cfg(test)]
mod tests;
mod token;

pub(super) use self::evaluate::{Scope, Value};
pub(super) use self::parse::Expression;
pub(super) use self::series::{Grid, Series};

/// Why an expression has no result. CloudWatch answers `Error in expression '<id>': ` and this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("Invalid syntax")]
    Syntax,
    #[error("Function '{0}' not found")]
    UnknownFunction(String),
    #[error("Function '{0}' is not emulated")]
    NotEmulated(String),
    #[error("Unsupported operand type(s) for {operation}: '[{operands}]'")]
    Operands { operation: String, operands: String },
    #[error("'{0}' is not the Id of a metric or an expression")]
    UnknownId(String),
    #[error("The expression depends on itself")]
    Cycle,
    #[error("The time series have different periods")]
    Periods,
    #[error("The result is not a time series")]
    NoSeries,
    #[error("The result has more than {0} time series")]
    TooManySeries(usize),
    #[error("The result has more than {0} datapoints")]
    TooManyPoints(i64),
}
