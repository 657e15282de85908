//! Latencies of one kind in one phase. Every histogram has the same bounds, so that adding two is exact.

use hdrhistogram::Histogram as Hdr;

use crate::outcome::Latency;

/// One hour: longer than any wait of a run. Longer values count as this.
const HIGHEST_US: u64 = 3_600_000_000;
/// 0.1 % of the value.
const SIGNIFICANT_DIGITS: u8 = 3;
const MICROS_PER_MS: f64 = 1_000.0;

#[derive(Clone, Debug)]
pub(crate) struct Histogram(Hdr<u64>);

impl Histogram {
    pub(crate) fn new() -> Self {
        let hdr = Hdr::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)
            .expect("invariant: constant bounds, of which the lower is below half of the higher");
        Self(hdr)
    }

    pub(crate) fn record_us(&mut self, value_us: u64) {
        self.0.saturating_record(value_us);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("invariant: all histograms have the same bounds");
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.quantile_ms(0.99)
    }

    pub(crate) fn latency(&self) -> Latency {
        if self.0.is_empty() {
            return Latency::default();
        }
        Latency {
            count: self.0.len(),
            mean_ms: self.0.mean() / MICROS_PER_MS,
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            max_ms: ms(self.0.max()),
        }
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        // The bucket's upper edge may lie above the highest value recorded.
        ms(self.0.value_at_quantile(quantile).min(self.0.max()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "an hour in microseconds is far below 2^53")]
fn ms(value_us: u64) -> f64 {
    value_us as f64 / MICROS_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_histogram_reads_zero() {
        assert_eq!(Histogram::new().latency(), Latency::default());
    }

    #[test]
    fn a_value_beyond_the_bound_counts_as_the_bound() {
        let mut histogram = Histogram::new();
        histogram.record_us(u64::MAX);
        assert_eq!(histogram.latency().count, 1);
        assert!(histogram.latency().max_ms >= 3_600_000.0);
    }

    #[test]
    fn the_sum_of_two_halves_equals_the_whole() {
        let (mut low, mut high, mut whole) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value_us in 1..=10_000 {
            if value_us % 2 == 0 {
                low.record_us(value_us)
            } else {
                high.record_us(value_us)
            }
            whole.record_us(value_us);
        }
        low.add(&high);
        assert_eq!(low.latency(), whole.latency());
    }
}
