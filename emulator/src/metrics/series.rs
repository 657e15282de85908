//! One metric over time, in bounded memory.

use std::collections::VecDeque;

use super::sketch::Sketch;

const FINE_STEP_MS: i64 = 1_000;
/// AWS keeps minutes for 15 days; a local account lives shorter, and one day bounds its memory.
const COARSE_SPAN_MS: i64 = 24 * 3600 * 1000;
pub(super) const COARSE_STEP_MS: i64 = 60_000;

/// What CloudWatch keeps of a set of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatisticSet {
    pub count: f64,
    pub sum: f64,
    pub minimum: f64,
    pub maximum: f64,
}

impl StatisticSet {
    fn of(value: f64, count: f64) -> Self {
        Self { count, sum: value * count, minimum: value, maximum: value }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
    }

    /// "The SampleCount value of the statistic set is 1", or "the Min and the Max values of the statistic set are equal".
    fn is_of_one_value(&self) -> bool {
        self.count == 1.0 || self.minimum == self.maximum
    }

    #[must_use]
    pub fn average(&self) -> f64 {
        self.sum / self.count
    }
}

/// What is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    One(f64),
    Many { value: f64, count: f64 },
    Set(StatisticSet),
}

#[derive(Clone, Debug)]
struct Bucket {
    start_ms: i64,
    set: StatisticSet,
    sketch: Sketch,
}

impl Bucket {
    fn new(start_ms: i64, value: Value) -> Self {
        let mut sketch = Sketch::default();
        value.count_in(&mut sketch);
        Self { start_ms, set: value.set(), sketch }
    }

    fn add(&mut self, value: Value) {
        self.set.merge(value.set());
        value.count_in(&mut self.sketch);
    }

    fn merge(&mut self, other: &Self) {
        self.set.merge(other.set);
        self.sketch.merge(&other.sketch);
    }
}

impl Value {
    fn set(self) -> StatisticSet {
        match self {
            Self::One(value) => StatisticSet::of(value, 1.0),
            Self::Many { value, count } => StatisticSet::of(value, count),
            Self::Set(set) => set,
        }
    }

    /// A statistic set feeds a percentile only where it says what each of its values is, as on AWS.
    fn count_in(self, sketch: &mut Sketch) {
        match self {
            Self::One(value) => sketch.add(value, 1.0),
            Self::Many { value, count } => sketch.add(value, count),
            Self::Set(set) if set.is_of_one_value() => sketch.add(set.maximum, set.count),
            Self::Set(_) => {}
        }
    }
}

/// The values of one metric with one unit: by second at first, then by minute.
#[derive(Clone, Debug)]
pub(super) struct Series {
    unit: String,
    fine_span_ms: i64,
    fine: VecDeque<Bucket>,
    coarse: VecDeque<Bucket>,
}

impl Series {
    pub(super) fn new(unit: &str, fine_span_ms: i64) -> Self {
        Self { unit: unit.to_owned(), fine_span_ms, fine: VecDeque::new(), coarse: VecDeque::new() }
    }

    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    pub(super) fn last_ms(&self) -> i64 {
        let last = |buckets: &VecDeque<Bucket>| buckets.back().map_or(i64::MIN, |bucket| bucket.start_ms);
        last(&self.fine).max(last(&self.coarse))
    }

    pub(super) fn add(&mut self, at_ms: i64, value: Value, now_ms: i64) {
        let start_ms = floor(at_ms, FINE_STEP_MS);
        insert(&mut self.fine, start_ms, |bucket| bucket.add(value), |start_ms| Bucket::new(start_ms, value));
        self.compact(now_ms);
    }

    /// Seconds that are old become minutes; minutes that are old are forgotten. A value of a time to come makes none older.
    fn compact(&mut self, now_ms: i64) {
        let newest_ms = self.last_ms().min(now_ms);
        let fine_since_ms = newest_ms - self.fine_span_ms;
        while let Some(old) = self.fine.pop_front_if(|bucket| bucket.start_ms < fine_since_ms) {
            let start_ms = floor(old.start_ms, COARSE_STEP_MS);
            insert(
                &mut self.coarse,
                start_ms,
                |bucket| bucket.merge(&old),
                |start_ms| Bucket { start_ms, ..old.clone() },
            );
        }
        while self.coarse.front().is_some_and(|bucket| bucket.start_ms < newest_ms - COARSE_SPAN_MS) {
            self.coarse.pop_front();
        }
    }

    /// A window of a minute or more begins with the whole minute of its start, as AWS rounds it.
    fn between(&self, start_ms: i64, end_ms: i64) -> impl Iterator<Item = &Bucket> {
        let has_minutes = end_ms.saturating_sub(start_ms) >= COARSE_STEP_MS;
        let start_ms = if has_minutes { floor(start_ms, COARSE_STEP_MS) } else { start_ms };
        range(&self.coarse, start_ms, end_ms).chain(range(&self.fine, start_ms, end_ms))
    }

    pub(super) fn has_values(&self, start_ms: i64, end_ms: i64) -> bool {
        self.between(start_ms, end_ms).next().is_some()
    }

    pub(super) fn statistics(&self, start_ms: i64, end_ms: i64) -> Option<StatisticSet> {
        let mut sets = self.between(start_ms, end_ms).map(|bucket| bucket.set);
        let mut total = sets.next()?;
        sets.for_each(|set| total.merge(set));
        Some(total)
    }

    /// "Percentile statistics are not available for metrics when any of the metric values are negative numbers." It is an
    /// estimate, but never outside of the values themselves.
    pub(super) fn percentile(&self, start_ms: i64, end_ms: i64, percent: f64) -> Option<f64> {
        let mut total = Sketch::default();
        let (mut minimum, mut maximum) = (f64::INFINITY, f64::NEG_INFINITY);
        for bucket in self.between(start_ms, end_ms) {
            if bucket.set.minimum < 0.0 {
                return None;
            }
            (minimum, maximum) = (minimum.min(bucket.set.minimum), maximum.max(bucket.set.maximum));
            total.merge(&bucket.sketch);
        }
        // Not `clamp`: a caller's statistic set may have a minimum above its maximum.
        total.percentile(percent).map(|value| value.max(minimum).min(maximum))
    }
}

pub(super) fn floor(at_ms: i64, step_ms: i64) -> i64 {
    at_ms.div_euclid(step_ms) * step_ms
}

/// Finds the bucket at `start_ms` or makes it in its place; nearly always it is the last one.
fn insert(
    buckets: &mut VecDeque<Bucket>,
    start_ms: i64,
    update: impl FnOnce(&mut Bucket),
    make: impl FnOnce(i64) -> Bucket,
) {
    if let Some(newest) = buckets.back_mut().filter(|bucket| bucket.start_ms == start_ms) {
        return update(newest);
    }
    // Hardly anything will be added to what was the newest until now.
    if let Some(ended) = buckets.back_mut() {
        ended.sketch.pack();
    }
    let at = buckets.partition_point(|bucket| bucket.start_ms < start_ms);
    match buckets.get_mut(at).filter(|bucket| bucket.start_ms == start_ms) {
        Some(late) => {
            update(late);
            late.sketch.pack();
        }
        None => buckets.insert(at, make(start_ms)),
    }
}

fn range(buckets: &VecDeque<Bucket>, start_ms: i64, end_ms: i64) -> impl Iterator<Item = &Bucket> {
    let from = buckets.partition_point(|bucket| bucket.start_ms < start_ms);
    let to = buckets.partition_point(|bucket| bucket.start_ms < end_ms).max(from);
    buckets.range(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behind all values.
    const NOW_MS: i64 = i64::MAX;

    #[test]
    fn old_seconds_become_minutes_without_losing_a_value() {
        let mut series = Series::new("Count", 900_000);
        for second in 0..4 * 3600 {
            series.add(second * 1000, Value::One(1.0), NOW_MS);
        }
        assert_eq!(series.fine.len(), 900 + 1);
        assert_eq!(series.statistics(0, 4 * 3600 * 1000).unwrap().count, 4.0 * 3600.0);
        assert_eq!(series.statistics(0, 60_000).unwrap().sum, 60.0);
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let mut series = Series::new("Count", 900_000);
        series.add(1_000, Value::One(1.0), NOW_MS);
        series.add(2_000, Value::One(2.0), NOW_MS);
        assert_eq!(series.statistics(1_000, 2_000).unwrap().sum, 1.0);
        assert_eq!(series.statistics(3_000, 9_000), None);
    }

    fn set(count: f64, minimum: f64, maximum: f64) -> Value {
        Value::Set(StatisticSet { count, sum: count * maximum, minimum, maximum })
    }

    #[test]
    fn a_statistic_set_has_percentiles_where_it_is_of_one_value() {
        for (value, found) in
            [(set(1.0, 2.0, 4.0), Some(4.0)), (set(3.0, 4.0, 4.0), Some(4.0)), (set(2.0, 2.0, 4.0), None)]
        {
            let mut series = Series::new("Count", 900_000);
            series.add(0, value, NOW_MS);
            assert_eq!(series.percentile(0, 60_000, 50.0).map(f64::round), found, "{value:?}");
        }
        let mut series = Series::new("Count", 900_000);
        series.add(0, set(3.0, 4.0, 4.0), NOW_MS);
        series.add(0, Value::One(2.0), NOW_MS);
        let found = [25.0, 50.0].map(|percent| series.percentile(0, 60_000, percent).map(f64::round));
        assert_eq!(found, [Some(2.0), Some(4.0)], "it counts as often as it says");
    }

    #[test]
    fn a_percentile_is_within_the_range_of_its_values() {
        for value in [0.1, 1.0, 3.0, 10.0, 123.0, 5_000.0] {
            let mut series = Series::new("Count", 900_000);
            series.add(0, Value::One(value), NOW_MS);
            assert_eq!(series.percentile(0, 60_000, 50.0), Some(value));
            series.add(60_000, Value::One(2.0 * value), NOW_MS);
            let ends = [0.0, 100.0].map(|percent| series.percentile(0, 120_000, percent).unwrap());
            assert!(value <= ends[0] && ends[1] <= 2.0 * value, "{ends:?}");
        }
    }

    #[test]
    fn a_statistic_set_whose_ends_are_the_wrong_way_round_has_a_percentile_all_the_same() {
        let mut series = Series::new("Count", 900_000);
        series.add(0, set(1.0, 4.0, 2.0), NOW_MS);
        assert_eq!(series.percentile(0, 60_000, 50.0), Some(2.0));
    }

    #[test]
    fn a_window_with_a_negative_value_has_no_percentiles() {
        for below in [Value::One(-1.0), set(2.0, -1.0, 4.0)] {
            let mut series = Series::new("Count", 900_000);
            series.add(0, below, NOW_MS);
            series.add(60_000, Value::One(4.0), NOW_MS);
            assert_eq!(series.percentile(0, 120_000, 100.0), None, "{below:?}");
            assert_eq!(series.percentile(60_000, 120_000, 100.0).map(f64::round), Some(4.0));
        }
    }

    #[test]
    fn a_window_of_minutes_begins_with_the_whole_minute_of_its_start() {
        let mut series = Series::new("Count", 900_000);
        series.add(0, Value::One(1.0), NOW_MS);
        series.add(60_000, Value::One(2.0), NOW_MS);
        assert_eq!(series.statistics(20_000, 80_000).unwrap().sum, 3.0);
        assert_eq!(series.statistics(20_000, 79_999).unwrap().sum, 2.0);
    }
}
