//! What is read of a metric: a statistic of the values of a period.

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::math::Grid;
use crate::metrics::{MetricId, Metrics};

/// How the names of AWS's other statistics begin, none of which is emulated.
const NOT_EMULATED: [&str; 10] = ["tm", "tc", "ts", "wm", "TM(", "TC(", "TS(", "WM(", "PR(", "IQM"];

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
    /// One of AWS's enum of them.
    pub(super) fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => return None,
        })
    }

    /// One of the others. `refuse` is how the operation refuses what is no statistic at all.
    pub(super) fn extended(name: &str, refuse: impl FnOnce() -> Failure) -> Result<Self, Failure> {
        let percent = name.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
        if let Some(percent) = percent.filter(|percent| (0.0..=100.0).contains(percent)) {
            return Ok(Self::Percentile(percent));
        }
        if NOT_EMULATED.iter().any(|beginning| name.starts_with(*beginning)) {
            return Err(Failure::validation(format!("The statistic {name} is not emulated.")));
        }
        Err(refuse())
    }

    /// One of either.
    pub(super) fn any(name: &str, refuse: impl FnOnce() -> Failure) -> Result<Self, Failure> {
        Self::plain(name).map_or_else(|| Self::extended(name, refuse), Ok)
    }

    pub(super) fn of(
        self,
        metrics: &Metrics,
        id: &MetricId,
        unit: &str,
        start_ms: i64,
        end_ms: i64,
    ) -> Option<f64> {
        if let Self::Percentile(percent) = self {
            return metrics.percentile(id, unit, start_ms, end_ms, percent);
        }
        metrics.statistics(id, unit, start_ms, end_ms).map(|set| match self {
            Self::SampleCount => set.count,
            Self::Sum => set.sum,
            Self::Minimum => set.minimum,
            Self::Maximum => set.maximum,
            Self::Average | Self::Percentile(_) => set.average(),
        })
    }
}

/// A statistic of a metric over periods, as queries and alarms name it.
#[derive(Clone, Debug)]
pub(super) struct MetricStat {
    pub(super) metric: MetricId,
    pub(super) period_s: i64,
    /// As it was written: `Sum`, `p99`.
    pub(super) stat: String,
    statistic: Statistic,
    pub(super) unit: Option<String>,
}

impl MetricStat {
    pub(super) fn new(
        metric: MetricId,
        period_s: i64,
        (stat, statistic): (&str, Statistic),
        unit: Option<&str>,
    ) -> Self {
        Self { metric, period_s, stat: stat.to_owned(), statistic, unit: unit.map(str::to_owned) }
    }

    pub(super) const fn percentile(&self) -> Option<f64> {
        match self.statistic {
            Statistic::Percentile(percent) => Some(percent),
            _ => None,
        }
    }

    /// The one that was asked for, or those of the values that there are, by name. AWS reads the first of several.
    pub(super) fn units(&self, metrics: &Metrics, grid: Grid) -> Vec<String> {
        match &self.unit {
            Some(unit) => vec![unit.clone()],
            None => metrics.units(&self.metric, grid.start_ms, grid.last_end_ms()),
        }
    }

    /// The value of the period that starts at `at_ms`.
    pub(super) fn value(&self, metrics: &Metrics, unit: &str, at_ms: i64) -> Option<f64> {
        self.read(self.statistic, metrics, unit, at_ms)
    }

    /// As the events of alarms have it.
    pub(super) fn event(&self) -> Value {
        let dimensions = self.metric.dimensions.iter();
        let dimensions: Map<String, Value> =
            dimensions.map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "metric": {"namespace": self.metric.namespace, "name": self.metric.name, "dimensions": dimensions},
            "period": self.period_s, "stat": self.stat, "unit": self.unit,
        })
    }

    /// How many values that period has.
    pub(super) fn sample_count(&self, metrics: &Metrics, unit: &str, at_ms: i64) -> Option<f64> {
        self.read(Statistic::SampleCount, metrics, unit, at_ms)
    }

    fn read(&self, statistic: Statistic, metrics: &Metrics, unit: &str, at_ms: i64) -> Option<f64> {
        statistic.of(metrics, &self.metric, unit, at_ms, at_ms + self.period_s * 1000)
    }
}
