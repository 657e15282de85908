//! One time series, and the moments at which a series can have values.

use std::collections::BTreeSet;

/// The aligned periods of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cloudwatch) struct Grid {
    pub(in crate::cloudwatch) start_ms: i64,
    pub(in crate::cloudwatch) end_ms: i64,
    pub(in crate::cloudwatch) period_ms: i64,
    /// As many as limits count: those that were asked for, before the read was aligned.
    pub(in crate::cloudwatch) datapoints: i64,
}

impl Grid {
    /// Of which as many were asked for as there are.
    pub(in crate::cloudwatch) const fn new(start_ms: i64, end_ms: i64, period_ms: i64) -> Self {
        let grid = Self { start_ms, end_ms, period_ms, datapoints: 0 };
        Self { datapoints: grid.len(), ..grid }
    }

    const fn len(&self) -> i64 {
        (self.end_ms - self.start_ms + self.period_ms - 1) / self.period_ms
    }

    /// The end of the last period, of which all is read even where `end_ms` cuts it.
    pub(in crate::cloudwatch) fn last_end_ms(&self) -> i64 {
        self.start_ms + self.len() * self.period_ms
    }

    /// The start of each period.
    pub(in crate::cloudwatch) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.len()).map(move |index| self.start_ms + index * self.period_ms)
    }
}

/// Points from old to new, at most one per period.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cloudwatch) struct Series {
    pub(in crate::cloudwatch) label: String,
    pub(in crate::cloudwatch) grid: Grid,
    points: Vec<(i64, f64)>,
}

impl Series {
    /// What is no finite number is no point: "if the value of a data point causes a function to attempt to divide by zero,
    /// the data point is dropped".
    pub(in crate::cloudwatch) fn new(
        label: impl Into<String>,
        grid: Grid,
        points: impl IntoIterator<Item = (i64, f64)>,
    ) -> Self {
        let points = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
        Self { label: label.into(), grid, points }
    }

    pub(in crate::cloudwatch) fn points(&self) -> &[(i64, f64)] {
        &self.points
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, value)| *value)
    }

    pub(in crate::cloudwatch) fn at(&self, at_ms: i64) -> Option<f64> {
        let found = self.points.binary_search_by_key(&at_ms, |(known_ms, _)| *known_ms).ok()?;
        self.points.get(found).map(|(_, value)| *value)
    }

    /// The same series with other points.
    pub(super) fn with(&self, points: impl IntoIterator<Item = (i64, f64)>) -> Self {
        Self::new(self.label.clone(), self.grid, points)
    }

    pub(super) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        self.with(self.points.iter().map(|(at_ms, value)| (*at_ms, change(*value))))
    }

    /// At each moment at which one of them has a value: "missing values in a time series are treated as 0".
    pub(super) fn zip(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let value = |series: &Self, at_ms| series.at(at_ms).unwrap_or(0.0);
        let times = times([self, other]).into_iter();
        self.with(times.map(|at_ms| (at_ms, combine(value(self, at_ms), value(other, at_ms)))))
    }

    /// Each value with the one before it, and the moments of both.
    pub(super) fn steps(&self, change: impl Fn((i64, f64), (i64, f64)) -> f64) -> Self {
        let pairs = self.points.windows(2);
        self.with(pairs.filter_map(|pair| match pair {
            [before, now] => Some((now.0, change(*before, *now))),
            _ => None,
        }))
    }
}

/// Every moment at which one of the series has a value.
pub(super) fn times<'a>(all: impl IntoIterator<Item = &'a Series>) -> BTreeSet<i64> {
    all.into_iter().flat_map(|series| series.points.iter().map(|(at_ms, _)| *at_ms)).collect()
}
