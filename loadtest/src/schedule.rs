//! When arrivals are meant to start: a function of rate, duration and seed, whatever the target does.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::plan::Arrivals;
use crate::timeline::micros;

const MICROS_PER_SECOND: f64 = 1_000_000.0;

/// Offsets in microseconds from the start, in order, below the duration.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    rate_per_second: f64,
    end_us: f64,
    next_us: f64,
    issued: u64,
    random: ChaCha8Rng,
}

impl Schedule {
    pub(crate) fn new(arrivals: Arrivals, rate_per_second: f64, duration: Duration, seed: u64) -> Self {
        let mut schedule = Self {
            arrivals,
            rate_per_second,
            end_us: as_f64(micros(duration)),
            next_us: 0.0,
            issued: 0,
            random: ChaCha8Rng::seed_from_u64(seed),
        };
        if arrivals == Arrivals::Poisson {
            schedule.next_us = schedule.exponential_gap_us();
        }
        schedule
    }

    fn exponential_gap_us(&mut self) -> f64 {
        // 1 - u lies in (0, 1], whose logarithm is finite.
        let uniform: f64 = self.random.random();
        -(1.0 - uniform).ln() / self.rate_per_second * MICROS_PER_SECOND
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        // Written so that a rate of zero, whose next start is not a number, ends the schedule too.
        if !(self.rate_per_second > 0.0 && self.next_us < self.end_us) {
            return None;
        }
        let at_us = self.next_us;
        self.issued += 1;
        self.next_us = match self.arrivals {
            // From the count and not from the last start, so that rounding never adds up.
            Arrivals::Constant => as_f64(self.issued) * MICROS_PER_SECOND / self.rate_per_second,
            Arrivals::Poisson => at_us + self.exponential_gap_us(),
        };
        Some(whole(at_us))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 microseconds and arrivals")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an offset lies between zero and the end"
)]
fn whole(at_us: f64) -> u64 {
    at_us as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_constant_schedule_is_even_and_exact() {
        let all: Vec<_> = Schedule::new(Arrivals::Constant, 3.0, Duration::from_secs(1000), 1).collect();
        assert_eq!(all.len(), 3000);
        assert_eq!((all[0], all[1], all[2999]), (0, 333_333, 999_666_666));
    }

    #[test]
    fn a_poisson_schedule_replays_by_seed() {
        let run = |seed| -> Vec<u64> {
            Schedule::new(Arrivals::Poisson, 50.0, Duration::from_secs(20), seed).collect()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn a_rate_of_zero_issues_nothing() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_eq!(Schedule::new(arrivals, 0.0, Duration::from_secs(5), 1).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn a_poisson_schedule_is_ordered_bounded_and_near_its_rate(seed: u64, rate in 50.0..500.0_f64) {
            let all: Vec<_> = Schedule::new(Arrivals::Poisson, rate, Duration::from_secs(20), seed).collect();
            prop_assert!(all.is_sorted());
            prop_assert!(all.iter().all(|at_us| *at_us < 20_000_000));
            // Six standard deviations of a Poisson count: once in a billion.
            let expected = rate * 20.0;
            prop_assert!((as_f64(all.len() as u64) - expected).abs() < 6.0 * expected.sqrt());
        }
    }
}
