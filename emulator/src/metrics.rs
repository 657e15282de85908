//! Where services drop their measurements; CloudWatch reads them.

mod names;
mod series;
mod sketch;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use self::names::{STANDARD_UNITS, flaw, is_dimension, is_of_services};
pub use self::series::StatisticSet;
use self::series::{COARSE_STEP_MS, Series, Value, floor};
use crate::clock::Clock;

/// The most distinct metrics kept. A service emits some twenty per function, queue or API; what a client makes up
/// beyond this takes the place of what is quiet, or is dropped and said once, so that memory stays bounded.
const SERIES_MAX: usize = 10_000;
/// How many quiet ones go at once: they are found by a walk through all, which must not come with each new metric.
const FORGOTTEN_MAX: usize = SERIES_MAX / 8;
/// Without a measurement for so long a metric is quiet. What is measured now and then, such as by a schedule, stays.
const QUIET_MS: i64 = 3600 * 1000;

/// How long values of one second's resolution are kept by the second, unless told otherwise. AWS keeps data
/// points of less than a minute for 3 hours. Whoever measures much so finely would need hundreds of megabytes
/// for that here.
pub const SECONDS_KEPT: Duration = Duration::from_secs(15 * 60);

/// "Values must be in the range of -2^360 to 2^360."
const VALUE_EXPONENT_MAX: i32 = 360;

/// Whether CloudWatch takes it. "Special values (for example, NaN, +Infinity, -Infinity) are not supported."
pub(crate) fn is_value(value: f64) -> bool {
    value.abs() <= 2_f64.powi(VALUE_EXPONENT_MAX)
}

/// A handle to the metric store. Cheap to clone; never blocks its caller for long.
#[derive(Clone, Debug)]
pub struct Metrics {
    store: Arc<Mutex<Store>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(SECONDS_KEPT, Clock::System)
    }
}

/// The unit names are CloudWatch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Milliseconds,
    Bytes,
    Seconds,
    None,
}

impl Unit {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Seconds => "Seconds",
            Self::None => "None",
        }
    }
}

/// How finely values are kept: the `StorageResolution` of CloudWatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// The default, and that of what services measure.
    #[default]
    Minute,
    Second,
}

impl Resolution {
    /// None where CloudWatch has none of so many seconds.
    #[must_use]
    pub const fn of_seconds(seconds: i64) -> Option<Self> {
        match seconds {
            1 => Some(Self::Second),
            60 => Some(Self::Minute),
            _ => None,
        }
    }

    /// The time under which a value is kept.
    fn kept_ms(self, at_ms: i64) -> i64 {
        match self {
            Self::Minute => floor(at_ms, COARSE_STEP_MS),
            Self::Second => at_ms,
        }
    }
}

/// A metric's identity. Dimensions are sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricId {
    pub namespace: String,
    pub name: String,
    pub dimensions: Vec<(String, String)>,
}

impl MetricId {
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        mut dimensions: Vec<(String, String)>,
    ) -> Self {
        dimensions.sort();
        Self { namespace: namespace.into(), name: name.into(), dimensions }
    }
}

#[derive(Debug)]
struct Store {
    clock: Clock,
    /// How long values are kept by the second where they are so fine; by the minute after that.
    fine_span_ms: i64,
    /// By the hash of the identity, so that recording allocates nothing for a known metric. A metric has a series for each
    /// unit: AWS never adds up values of two.
    series: HashMap<u64, Vec<(MetricId, Series)>>,
    count: usize,
    /// Before that no series of a full store is quiet.
    full_until_ms: i64,
    is_overflow_reported: bool,
}

impl Metrics {
    #[must_use]
    pub fn new(seconds_kept: Duration, clock: Clock) -> Self {
        let fine_span_ms = i64::try_from(seconds_kept.as_millis()).unwrap_or(i64::MAX);
        let store = Store {
            clock,
            fine_span_ms,
            series: HashMap::new(),
            count: 0,
            full_until_ms: i64::MIN,
            is_overflow_reported: false,
        };
        Self { store: Arc::new(Mutex::new(store)) }
    }

    /// Records one value in the minute of `at_ms`, as AWS's services send theirs, for exactly these
    /// dimensions. CloudWatch does not aggregate over dimensions: a service that AWS documents with several
    /// dimension sets records each of them.
    pub fn record(
        &self,
        at_ms: i64,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        value: f64,
        unit: Unit,
    ) {
        let at_ms = Resolution::Minute.kept_ms(at_ms);
        self.record_many(at_ms, namespace, name, dimensions, Value::One(value), unit.name());
    }

    /// Records a value that stands for `count` equal ones.
    pub fn record_weighted(
        &self,
        at_ms: i64,
        resolution: Resolution,
        id: &MetricId,
        value: f64,
        count: f64,
        unit: &str,
    ) {
        let (at_ms, dimensions) = (resolution.kept_ms(at_ms), borrow(&id.dimensions));
        self.record_many(at_ms, &id.namespace, &id.name, &dimensions, Value::Many { value, count }, unit);
    }

    /// Records values that the sender had summed up.
    pub fn record_set(
        &self,
        at_ms: i64,
        resolution: Resolution,
        id: &MetricId,
        set: StatisticSet,
        unit: &str,
    ) {
        let (at_ms, dimensions) = (resolution.kept_ms(at_ms), borrow(&id.dimensions));
        self.record_many(at_ms, &id.namespace, &id.name, &dimensions, Value::Set(set), unit);
    }

    fn record_many(
        &self,
        at_ms: i64,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        value: Value,
        unit: &str,
    ) {
        let mut sorted = dimensions.to_vec();
        sorted.sort_unstable();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = store.clock.now_ms();
        if let Some(series) = store.series_mut(at_ms, namespace, name, &sorted, unit) {
            series.add(at_ms, value, now_ms);
        }
    }

    /// The statistics of the values with this unit in `[start_ms, end_ms)`, which begins with a whole minute if it
    /// is at least one long; None when there was none.
    #[must_use]
    pub fn statistics(&self, id: &MetricId, unit: &str, start_ms: i64, end_ms: i64) -> Option<StatisticSet> {
        self.with_series(id, unit, |series| series.statistics(start_ms, end_ms)).flatten()
    }

    /// The value below which `percent` of the values with this unit lie, to 1 % and within their range.
    #[must_use]
    pub fn percentile(
        &self,
        id: &MetricId,
        unit: &str,
        start_ms: i64,
        end_ms: i64,
        percent: f64,
    ) -> Option<f64> {
        self.with_series(id, unit, |series| series.percentile(start_ms, end_ms, percent)).flatten()
    }

    /// The units of the values in `[start_ms, end_ms)`, by name.
    #[must_use]
    pub fn units(&self, id: &MetricId, start_ms: i64, end_ms: i64) -> Vec<String> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let all = store.series_of(id).filter(|series| series.has_values(start_ms, end_ms));
        let mut units: Vec<String> = all.map(|series| series.unit().to_owned()).collect();
        units.sort();
        units
    }

    /// All metrics with a value since `since_ms`, sorted.
    #[must_use]
    pub fn list(&self, since_ms: i64) -> Vec<MetricId> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let all = store.series.values().flatten();
        let mut ids: Vec<MetricId> =
            all.filter(|(_, series)| series.last_ms() >= since_ms).map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    fn with_series<T>(&self, id: &MetricId, unit: &str, read: impl FnOnce(&Series) -> T) -> Option<T> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let series = store.series_of(id).find(|series| series.unit() == unit);
        series.map(read)
    }
}

impl Store {
    /// One for each unit.
    fn series_of(&self, id: &MetricId) -> impl Iterator<Item = &Series> {
        let bucket = self.series.get(&hash(&id.namespace, &id.name, &borrow(&id.dimensions)));
        bucket.into_iter().flatten().filter(move |(known, _)| known == id).map(|(_, series)| series)
    }

    /// None when the store is full and the metric, or its unit, is new.
    fn series_mut(
        &mut self,
        at_ms: i64,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        unit: &str,
    ) -> Option<&mut Series> {
        let key = hash(namespace, name, dimensions);
        let is_it = |(id, series): &(MetricId, Series)| {
            id.namespace == namespace
                && id.name == name
                && series.unit() == unit
                && borrowed(&id.dimensions).eq(dimensions.iter().copied())
        };
        if let Some(at) = self.series.get(&key).and_then(|bucket| bucket.iter().position(is_it)) {
            return self.series.get_mut(&key)?.get_mut(at).map(|(_, series)| series);
        }
        if self.count >= SERIES_MAX && !self.forget_quiet(at_ms) {
            if !self.is_overflow_reported {
                tracing::warn!(
                    limit = SERIES_MAX,
                    metric = name,
                    "the metric store is full: new metrics are dropped"
                );
                self.is_overflow_reported = true;
            }
            return None;
        }
        self.count += 1;
        let owned =
            dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let bucket = self.series.entry(key).or_default();
        bucket.push((MetricId::new(namespace, name, owned), Series::new(unit, self.fine_span_ms)));
        bucket.last_mut().map(|(_, series)| series)
    }

    /// Makes room in a full store for a value of `at_ms`. False where nothing is quiet by then, or, since a caller's value may be
    /// of a time to come, by now.
    fn forget_quiet(&mut self, at_ms: i64) -> bool {
        let at_ms = at_ms.min(self.clock.now_ms());
        if at_ms < self.full_until_ms {
            return false;
        }
        let buckets = self.series.iter();
        let all = buckets.flat_map(|(key, bucket)| bucket.iter().map(move |(_, one)| (one.last_ms(), *key)));
        let mut all: Vec<(i64, u64)> = all.collect();
        all.sort_unstable();
        let quiet_until_ms = at_ms.saturating_sub(QUIET_MS);
        let quiet = all.iter().take(FORGOTTEN_MAX).take_while(|(last_ms, _)| *last_ms <= quiet_until_ms);
        let Some(newest) = quiet.last().copied() else {
            // A full store takes nothing older, so that nothing is quiet sooner than what is the oldest now.
            let oldest_ms = all.first().map(|(last_ms, _)| *last_ms);
            self.full_until_ms = oldest_ms.map_or(i64::MIN, |oldest_ms| oldest_ms.saturating_add(QUIET_MS));
            return false;
        };
        self.series.retain(|key, bucket| {
            bucket.retain(|(_, series)| (series.last_ms(), *key) > newest);
            !bucket.is_empty()
        });
        self.count = self.series.values().map(Vec::len).sum();
        true
    }
}

fn borrow(dimensions: &[(String, String)]) -> Vec<(&str, &str)> {
    borrowed(dimensions).collect()
}

fn borrowed(dimensions: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn hash(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, name, dimensions).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_dimensions_does_not_matter_and_no_other_set_is_fed() {
        let metrics = Metrics::default();
        metrics.record(1_000, "N", "M", &[("B", "2"), ("A", "1")], 3.0, Unit::Count);
        metrics.record(1_500, "N", "M", &[("A", "1"), ("B", "2")], 5.0, Unit::Count);
        let id = MetricId::new("N", "M", vec![("A".into(), "1".into()), ("B".into(), "2".into())]);
        let set = metrics.statistics(&id, "Count", 0, 2_000).unwrap();
        assert_eq!((set.count, set.sum, set.minimum, set.maximum), (2.0, 8.0, 3.0, 5.0));
        assert_eq!(metrics.statistics(&MetricId::new("N", "M", vec![]), "Count", 0, 2_000), None);
        assert_eq!(metrics.list(0), [id]);
    }

    #[test]
    fn values_of_two_units_are_never_added_up() {
        let metrics = Metrics::default();
        metrics.record(0, "N", "M", &[], 2.0, Unit::Seconds);
        metrics.record(0, "N", "M", &[], 5.0, Unit::Milliseconds);
        metrics.record(60_000, "N", "M", &[], 3.0, Unit::Seconds);
        let id = MetricId::new("N", "M", vec![]);
        let sum = |unit| metrics.statistics(&id, unit, 0, 120_000).map(|set| set.sum);
        assert_eq!((sum("Seconds"), sum("Milliseconds"), sum("None")), (Some(5.0), Some(5.0), None));
        assert_eq!(metrics.percentile(&id, "Bytes", 0, 120_000, 50.0), None);
        assert_eq!(metrics.units(&id, 0, 120_000), ["Milliseconds", "Seconds"]);
        assert_eq!(metrics.units(&id, 60_000, 120_000), ["Seconds"]);
        assert_eq!(metrics.list(0), [id], "a metric is listed once");
    }

    #[test]
    fn what_services_measure_is_of_its_minute_and_the_rest_as_fine_as_asked() {
        let metrics = Metrics::default();
        metrics.record(61_000, "N", "service", &[], 2.0, Unit::Count);
        metrics.record(65_000, "N", "service", &[], 7.0, Unit::Count);
        let [standard, high] = ["standard", "high"].map(|name| MetricId::new("N", name, vec![]));
        for (id, resolution) in [(&standard, Resolution::Minute), (&high, Resolution::Second)] {
            metrics.record_weighted(61_000, resolution, id, 2.0, 1.0, "Count");
            let set = StatisticSet { count: 1.0, sum: 7.0, minimum: 7.0, maximum: 7.0 };
            metrics.record_set(65_000, resolution, id, set, "Count");
        }
        let service = MetricId::new("N", "service", vec![]);
        for (id, by_second) in [
            (&service, [Some(9.0), None, None]),
            (&standard, [Some(9.0), None, None]),
            (&high, [None, Some(2.0), Some(7.0)]),
        ] {
            let sum =
                |at_ms, span_ms| metrics.statistics(id, "Count", at_ms, at_ms + span_ms).map(|set| set.sum);
            assert_eq!([60_000, 61_000, 65_000].map(|at_ms| sum(at_ms, 1_000)), by_second, "{id:?}");
            assert_eq!(sum(60_000, 60_000), Some(9.0), "{id:?}");
        }
    }

    #[test]
    fn a_flood_of_metrics_is_bounded() {
        let metrics = Metrics::default();
        for number in 0..SERIES_MAX + 10 {
            metrics.record(0, "N", &number.to_string(), &[], 1.0, Unit::None);
        }
        assert_eq!(metrics.list(0).len(), SERIES_MAX);
        let store = metrics.store.lock().unwrap();
        assert_eq!(store.series.len(), SERIES_MAX, "what is dropped leaves nothing behind");
    }

    #[test]
    fn a_value_of_a_time_to_come_makes_no_metric_quiet() {
        let (clock, hand) = Clock::manual(0);
        let metrics = Metrics::new(SECONDS_KEPT, clock);
        for number in 0..SERIES_MAX {
            metrics.record(0, "N", &number.to_string(), &[], 1.0, Unit::None);
        }
        let ahead = |name: &str| {
            let id = MetricId::new("N", name, vec![]);
            metrics.record_weighted(2 * QUIET_MS, Resolution::Minute, &id, 1.0, 1.0, "Count");
            metrics.list(i64::MIN).contains(&id)
        };
        assert!(!ahead("new"));
        assert_eq!(metrics.list(i64::MIN).len(), SERIES_MAX);
        hand.advance(Duration::from_millis(QUIET_MS.unsigned_abs()));
        assert!(ahead("new"), "an hour later they are quiet");
    }

    #[test]
    fn a_value_of_a_time_to_come_makes_no_second_old() {
        let (clock, hand) = Clock::manual(60_000);
        let metrics = Metrics::new(SECONDS_KEPT, clock);
        let id = MetricId::new("N", "M", vec![]);
        let record = |at_ms| metrics.record_weighted(at_ms, Resolution::Second, &id, 1.0, 1.0, "Count");
        let sum = |start_ms, end_ms| metrics.statistics(&id, "Count", start_ms, end_ms).map(|set| set.sum);
        let ahead_ms = 60_000 + 2 * QUIET_MS;
        [58_000, 59_000, ahead_ms].into_iter().for_each(record);
        assert_eq!(sum(58_000, 59_000), Some(1.0));
        hand.advance(Duration::from_millis(2 * QUIET_MS.unsigned_abs()));
        record(ahead_ms);
        assert_eq!((sum(58_000, 59_000), sum(0, 60_000)), (None, Some(2.0)), "once it has come they are");
    }

    #[test]
    fn a_metric_that_nobody_measures_any_more_makes_room_for_a_new_one() {
        let metrics = Metrics::default();
        let record = |at_ms: i64, name: &str| metrics.record(at_ms, "N", name, &[], 1.0, Unit::None);
        let count = || metrics.list(i64::MIN).len();
        let has = |name: &str| metrics.list(i64::MIN).iter().any(|id| id.name == name);
        let quiet = ["quiet 1", "quiet 2", "quiet 3"];
        quiet.iter().for_each(|name| record(0, name));
        for number in quiet.len()..SERIES_MAX {
            record(QUIET_MS, &number.to_string());
        }
        record(QUIET_MS - COARSE_STEP_MS, "too early");
        assert!(quiet.iter().all(|name| has(name)) && !has("too early"));
        record(QUIET_MS, quiet[0]);
        record(QUIET_MS, "new");
        assert_eq!(count(), SERIES_MAX - 1, "those that are quiet go at once");
        for (name, is_there) in [(quiet[0], true), (quiet[1], false), (quiet[2], false), ("new", true)] {
            assert_eq!(has(name), is_there, "{name}");
        }
        record(2 * QUIET_MS, "last");
        record(2 * QUIET_MS, "newest");
        assert_eq!(count(), SERIES_MAX - FORGOTTEN_MAX + 1, "but an eighth at most");
        assert!(has("last") && has("newest"));
    }
}
