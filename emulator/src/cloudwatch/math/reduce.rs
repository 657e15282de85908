//! Many values as one: over the time of a series, or over the series of an array at each moment.

use super::series::{Grid, Series, times};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Sum,
    Average,
    Minimum,
    Maximum,
    StandardDeviation,
    Count,
}

impl Reduction {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SUM" => Self::Sum,
            "AVG" => Self::Average,
            "MIN" => Self::Minimum,
            "MAX" => Self::Maximum,
            "STDDEV" => Self::StandardDeviation,
            "DATAPOINT_COUNT" => Self::Count,
            _ => return None,
        })
    }

    pub(super) fn of_series(self, series: &Series) -> f64 {
        self.of(&series.values().collect::<Vec<_>>())
    }

    /// At each moment at which one of them has a value. In an average "missing values are treated as 0".
    pub(super) fn of_array(self, all: &[Series], empty: Grid) -> Series {
        let grid = all.first().map_or(empty, |series| series.grid);
        let points = times(all).into_iter().map(|at_ms| {
            let mut values: Vec<f64> = all.iter().filter_map(|series| series.at(at_ms)).collect();
            if self == Self::Average {
                values.resize(all.len(), 0.0);
            }
            (at_ms, self.of(&values))
        });
        Series::new("", grid, points)
    }

    /// Of nothing: a sum and a count are 0, the others are not a number, which is no point.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 points")]
    fn of(self, values: &[f64]) -> f64 {
        let count = values.len() as f64;
        let sum = values.iter().sum::<f64>();
        match self {
            Self::Sum => sum,
            Self::Count => count,
            Self::Average => sum / count,
            Self::Minimum => values.iter().copied().fold(f64::NAN, f64::min),
            Self::Maximum => values.iter().copied().fold(f64::NAN, f64::max),
            Self::StandardDeviation => {
                let squares = values.iter().map(|value| (value - sum / count).powi(2));
                (squares.sum::<f64>() / count).sqrt()
            }
        }
    }
}
