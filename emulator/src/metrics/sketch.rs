//! Percentiles in little memory: values counted in buckets that grow by 2 %, so that an answer is within 1 %.

/// ln(1.02): the width of a bucket.
const LOG_WIDTH: f64 = 0.019_802_627_296_179_712;

/// Counts by logarithmic bucket, sorted. Values of zero and below share the lowest bucket: latencies have none.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    buckets: Vec<(i16, f32)>,
}

const LOWEST: i16 = i16::MIN;

impl Sketch {
    #[expect(clippy::cast_possible_truncation, reason = "a count is a weight, and 24 bits of it are enough")]
    pub(super) fn add(&mut self, value: f64, count: f64) {
        self.count(index(value), count as f32);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (index, count) in &other.buckets {
            self.count(*index, *count);
        }
    }

    fn count(&mut self, index: i16, count: f32) {
        match self.buckets.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Gives back what it had taken to grow.
    pub(super) fn shrink(&mut self) {
        self.buckets.shrink_to_fit();
    }

    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        let total: f64 = self.buckets.iter().map(|(_, count)| f64::from(*count)).sum();
        let wanted = total * percent / 100.0;
        let mut seen = 0.0;
        for (index, count) in &self.buckets {
            seen += f64::from(*count);
            if seen >= wanted {
                return Some(middle(*index));
            }
        }
        self.buckets.last().map(|(index, _)| middle(*index))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the index first")]
fn index(value: f64) -> i16 {
    if value <= 0.0 || value.is_nan() {
        return LOWEST;
    }
    (value.ln() / LOG_WIDTH).round().clamp(f64::from(LOWEST + 1), f64::from(i16::MAX)) as i16
}

fn middle(index: i16) -> f64 {
    if index == LOWEST { 0.0 } else { (f64::from(index) * LOG_WIDTH).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_one_percent() {
        let mut sketch = Sketch::default();
        for value in 1..=1000_u32 {
            sketch.add(f64::from(value), 1.0);
        }
        for (percent, exact) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = sketch.percentile(percent).unwrap();
            assert!((found - exact).abs() / exact < 0.012, "p{percent} is {found}");
        }
        assert_eq!(Sketch::default().percentile(50.0), None);
    }
}
