//! When to try again. Pure: the random number comes in.

use crate::limits;
use crate::ports::Random;
use crate::time::DurationMs;

/// Full jitter: anything up to a ceiling that doubles with every receive, so that tasks that failed together do not come
/// back together.
pub fn backoff<R: Random>(receive_count: u32, random: &R) -> DurationMs {
    let ceiling = doubled(limits::BACKOFF_BASE, receive_count);
    DurationMs(random.up_to(ceiling.0))
}

/// The pause after a dependency failed, which is not the task's fault. At least half of a ceiling that starts at the queue's
/// visibility timeout: five receives then outlast an outage of 7.5 visibility timeouts before a healthy task is
/// dead-lettered, as long as the fourth ceiling is not above [`limits::BACKOFF_CEILING`].
pub fn outage_backoff<R: Random>(receive_count: u32, visibility: DurationMs, random: &R) -> DurationMs {
    let ceiling = doubled(visibility, receive_count);
    let half = ceiling.0 / 2;
    DurationMs(half + random.up_to(ceiling.0 - half))
}

fn doubled(base: DurationMs, receive_count: u32) -> DurationMs {
    let doublings = receive_count.saturating_sub(1).min(31);
    DurationMs((base.0 << doublings).min(limits::BACKOFF_CEILING.0.max(base.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::SeededRandom;

    proptest! {
        #[test]
        fn back_off_stays_under_its_doubling_ceiling(receive_count in 0_u32..=u32::MAX, seed in any::<u64>()) {
            let delay = backoff(receive_count, &SeededRandom::new(seed));
            prop_assert!(delay <= limits::BACKOFF_CEILING);
            let exact = u64::from(receive_count.clamp(1, 10) - 1);
            prop_assert!(receive_count > 10 || delay.0 <= limits::BACKOFF_BASE.0 << exact);
        }

        #[test]
        fn an_outage_of_seven_visibility_timeouts_does_not_use_up_five_receives(
            seconds in 1..=limits::BACKOFF_CEILING.as_seconds_ceil() / 8, seed in any::<u64>()
        ) {
            let (visibility, random) = (DurationMs::from_seconds(seconds), SeededRandom::new(seed));
            let pauses: u64 = (1..=4).map(|receive| outage_backoff(receive, visibility, &random).0).sum();
            prop_assert!(pauses >= 7 * visibility.0);
        }

        /// Terraform lets so many receives fit into the queue's retention: a message that pauses longer would be deleted before it
        /// comes to the dead-letter queue.
        #[test]
        fn no_pause_is_longer_than_terraform_thinks(
            seconds in 1..=limits::VISIBILITY_SECONDS_MAX, receive_count in 0_u32..=u32::MAX, seed in any::<u64>()
        ) {
            let (visibility, random) = (DurationMs::from_seconds(seconds), SeededRandom::new(seed));
            let longest = visibility.max(limits::BACKOFF_CEILING);
            prop_assert!(backoff(receive_count, &random) <= longest);
            prop_assert!(outage_backoff(receive_count, visibility, &random) <= longest);
        }
    }

    #[test]
    fn a_pause_in_an_outage_is_at_least_half_of_a_visibility_timeout_of_any_length() {
        let random = SeededRandom::new(1);
        for seconds in [1, 112, 900, 2_700, limits::VISIBILITY_SECONDS_MAX] {
            let visibility = DurationMs::from_seconds(seconds);
            let longest = visibility.max(limits::BACKOFF_CEILING);
            for receive in 1..=limits::RECEIVE_COUNT_MAX {
                let pause = outage_backoff(receive, visibility, &random);
                assert!(pause.0 >= visibility.0 / 2 && pause <= longest, "{pause:?} at {visibility:?}");
            }
        }
    }

    #[test]
    fn full_jitter_uses_the_whole_range() {
        let random = SeededRandom::new(1);
        let delays: Vec<u64> = (0..1_000).map(|_| backoff(3, &random).0).collect();
        assert!(delays.iter().any(|delay| *delay < 400) && delays.iter().any(|delay| *delay > 3_600));
    }
}
