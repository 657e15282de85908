//! What an on-demand table or index can take by now: what a new one takes, and double of what it once took. Nobody sets it.

use std::collections::VecDeque;

use super::bucket::{Bucket, ON_DEMAND_BURST_SECONDS};
use super::throttle::{Access, Limit};
use super::warm::Served;

/// "On-demand capacity mode instantly accommodates up to double the previous peak traffic on a table."
const TIMES_PEAK: f64 = 2.0;
/// "Throttling can occur if you exceed double your previous peak within 30 minutes": a peak counts when it is so old.
const PEAK_COUNTS_AFTER_MINUTES: i64 = 30;
/// AWS does not say how long a peak lasts. The stricter of what its metrics show: the mean of a minute.
const MINUTE_MS: i64 = 60_000;
const SECONDS_PER_MINUTE: f64 = 60.0;
/// The quota of reads as of writes, for each table and each index, that an account has without asking for more.
const QUOTA_UNITS_PER_SECOND: f64 = 40_000.0;

#[derive(Debug)]
pub(super) struct Scaled {
    read: Direction,
    write: Direction,
}

impl Scaled {
    pub(super) fn new(served: Served, now_ms: i64) -> Self {
        Self { read: Direction::new(served.read, now_ms), write: Direction::new(served.write, now_ms) }
    }

    const fn of(&mut self, access: Access) -> &mut Direction {
        match access {
            Access::Read => &mut self.read,
            Access::Write => &mut self.write,
        }
    }

    /// The limit that refuses a request now, if one does.
    pub(super) fn exhausted(&mut self, access: Access, now_ms: i64) -> Option<Limit> {
        self.of(access).exhausted(now_ms)
    }

    pub(super) fn charge(&mut self, access: Access, units: f64, now_ms: i64) {
        self.of(access).charge(units, now_ms);
    }

    /// "The previous peak is half the previous provisioned throughput", so that as much is served as before.
    pub(super) fn serve_at_least(&mut self, access: Access, units_per_second: f64, now_ms: i64) {
        self.of(access).serve_at_least(units_per_second, now_ms);
    }

    /// Of another description of the same: what was taken stays taken, and what it has grown to stays.
    pub(super) fn carry_over(&mut self, before: Self, now_ms: i64) {
        self.read.carry_over(before.read, now_ms);
        self.write.carry_over(before.write, now_ms);
    }
}

/// What was used in a minute, by its number.
#[derive(Clone, Copy, Debug)]
struct Minute {
    number: i64,
    units: f64,
}

#[derive(Debug)]
struct Direction {
    /// Served whatever was used before.
    least: f64,
    /// Of all minutes that count.
    peak: f64,
    /// Those that do not count yet: at most as many as have to pass.
    recent: VecDeque<Minute>,
    bucket: Bucket,
}

impl Direction {
    fn new(least: f64, now_ms: i64) -> Self {
        let bucket = Bucket::full(within_quota(least), ON_DEMAND_BURST_SECONDS, now_ms);
        Self { least, peak: 0.0, recent: VecDeque::new(), bucket }
    }

    fn units_per_second(&self) -> f64 {
        within_quota(self.least.max(TIMES_PEAK * self.peak))
    }

    fn exhausted(&mut self, now_ms: i64) -> Option<Limit> {
        self.count_peaks(now_ms);
        let limit =
            if self.units_per_second() < QUOTA_UNITS_PER_SECOND { Limit::KeyRange } else { Limit::Account };
        self.bucket.is_exhausted(now_ms).then_some(limit)
    }

    fn count_peaks(&mut self, now_ms: i64) {
        let now = minute(now_ms);
        while let Some(oldest) = self.recent.pop_front_if(|old| now - old.number > PEAK_COUNTS_AFTER_MINUTES)
        {
            self.peak = self.peak.max(oldest.units / SECONDS_PER_MINUTE);
        }
        self.set_rate(now_ms);
    }

    fn set_rate(&mut self, now_ms: i64) {
        let units_per_second = self.units_per_second();
        if units_per_second > self.bucket.units_per_second() {
            self.bucket.set_rate(units_per_second, now_ms);
        }
    }

    fn charge(&mut self, units: f64, now_ms: i64) {
        self.bucket.charge(units);
        let number = minute(now_ms);
        match self.recent.back_mut() {
            Some(newest) if newest.number >= number => newest.units += units,
            _ => self.recent.push_back(Minute { number, units }),
        }
        self.count_peaks(now_ms);
    }

    fn serve_at_least(&mut self, units_per_second: f64, now_ms: i64) {
        self.least = self.least.max(units_per_second);
        self.set_rate(now_ms);
    }

    fn carry_over(&mut self, before: Self, now_ms: i64) {
        self.peak = before.peak;
        self.recent = before.recent;
        self.bucket.carry_over(before.bucket);
        self.serve_at_least(before.least, now_ms);
    }
}

const fn within_quota(units_per_second: f64) -> f64 {
    units_per_second.min(QUOTA_UNITS_PER_SECOND)
}

const fn minute(now_ms: i64) -> i64 {
    now_ms.div_euclid(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;
    const NEW: Served = Served { read: 12_000.0, write: 4_000.0 };

    /// Uses so much in each second of a minute, and returns when it is over.
    fn use_for_a_minute(scaled: &mut Scaled, units_per_second: f64, from_ms: i64) -> i64 {
        for second in 0..60 {
            scaled.charge(Access::Write, units_per_second, from_ms + second * 1_000);
        }
        from_ms + MINUTE_MS
    }

    /// What can be used at once, after so long without use that it is all there.
    fn served(scaled: &mut Scaled, at_ms: i64) -> f64 {
        let mut units = 0.0;
        while scaled.exhausted(Access::Write, at_ms).is_none() {
            scaled.charge(Access::Write, 100.0, at_ms);
            units += 100.0;
        }
        units
    }

    #[test]
    fn a_new_one_serves_what_aws_says_of_a_new_one() {
        let mut scaled = Scaled::new(NEW, NOW_MS);
        assert!((served(&mut scaled, NOW_MS) - 4_000.0).abs() < f64::EPSILON);
        assert_eq!(scaled.exhausted(Access::Write, NOW_MS), Some(Limit::KeyRange));
        assert_eq!(scaled.exhausted(Access::Read, NOW_MS), None);
        assert_eq!(scaled.exhausted(Access::Write, NOW_MS + 1), None, "four units came back");
    }

    #[test]
    fn double_of_a_peak_is_served_when_half_an_hour_has_passed() {
        let mut scaled = Scaled::new(NEW, NOW_MS);
        let over_ms = use_for_a_minute(&mut scaled, 3_500.0, NOW_MS.div_euclid(MINUTE_MS) * MINUTE_MS);
        let counts_ms = over_ms + PEAK_COUNTS_AFTER_MINUTES * MINUTE_MS;
        assert_eq!(scaled.exhausted(Access::Write, counts_ms - 1), None);
        scaled.charge(Access::Write, 4_000.0, counts_ms - 1);
        assert_eq!(scaled.exhausted(Access::Write, counts_ms - 1), Some(Limit::KeyRange));
        assert_eq!(scaled.exhausted(Access::Write, counts_ms), None);
        assert!((served(&mut scaled, counts_ms + 2_000) - 7_000.0).abs() < f64::EPSILON);
        // What it once took it takes again, however long ago.
        assert!((served(&mut scaled, counts_ms + 100 * 60 * MINUTE_MS) - 7_000.0).abs() < f64::EPSILON);
    }

    #[test]
    fn nothing_grows_beyond_the_quota_of_the_account() {
        let mut scaled = Scaled::new(Served { read: 12_000.0, write: 50_000.0 }, NOW_MS);
        assert!((served(&mut scaled, NOW_MS) - QUOTA_UNITS_PER_SECOND).abs() < f64::EPSILON);
        assert_eq!(scaled.exhausted(Access::Write, NOW_MS), Some(Limit::Account));
    }

    #[test]
    fn what_is_kept_is_half_an_hour() {
        let mut scaled = Scaled::new(NEW, NOW_MS);
        for minute in 0..1_000 {
            scaled.charge(Access::Write, 1.0, NOW_MS + minute * MINUTE_MS);
        }
        assert_eq!(scaled.write.recent.len(), 31);
    }
}
