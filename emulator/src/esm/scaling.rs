//! How many batches of a mapping may be under way at once.

/// "Lambda begins with five concurrent batches".
const START: usize = 5;
/// Low traffic scales down to two.
const IDLE: usize = 2;
/// AWS quota: 1,000 concurrent invocations per mapping.
const MAX: usize = 1_000;
/// "Up to 300 more concurrent invocations per minute".
const GROWTH_PER_TICK: usize = 5;
/// One decision per second.
pub const TICK_MS: i64 = 1_000;
/// Quiet ticks before one batch less.
const QUIET_TICKS: u32 = 15;

/// What a tick saw since the last one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Messages that could have been received but were not.
    pub backlog: usize,
    /// An invocation was refused: "Lambda gradually backs off retries by reducing the amount of concurrency allocated to
    /// your Amazon SQS event source mapping".
    pub throttled: bool,
    /// A function failed: errors do not make a mapping grow.
    pub failing: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Scaling {
    wanted: usize,
    max: usize,
    quiet_ticks: u32,
}

impl Scaling {
    #[must_use]
    pub fn new(concurrency_max: Option<usize>) -> Self {
        let max = concurrency_max.unwrap_or(MAX);
        Self { wanted: START.min(max), max, quiet_ticks: 0 }
    }

    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.wanted
    }

    pub fn tick(&mut self, load: Load) {
        if load.backlog > 0 {
            self.quiet_ticks = 0;
        }
        if load.throttled {
            // AWS names no pace. This is the slowest, and never below where a mapping begins: what goes on receiving for a
            // function that cannot run spends receives.
            if self.wanted > START {
                self.wanted -= 1;
            }
        } else if load.backlog > 0 && !load.failing {
            self.wanted = (self.wanted + GROWTH_PER_TICK).min(self.max);
        } else if load.backlog == 0 {
            self.quiet_ticks += 1;
            if self.quiet_ticks >= QUIET_TICKS {
                self.quiet_ticks = 0;
                self.wanted = (self.wanted - 1).max(IDLE).min(self.max);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Load = Load { backlog: 1, throttled: false, failing: false };

    #[test]
    fn a_backlog_grows_it_by_300_a_minute_up_to_the_limit() {
        let mut scaling = Scaling::new(None);
        assert_eq!(scaling.wanted(), 5);
        for _ in 0..60 {
            scaling.tick(BUSY);
        }
        assert_eq!(scaling.wanted(), 305);
        for _ in 0..600 {
            scaling.tick(BUSY);
        }
        assert_eq!(scaling.wanted(), 1_000);
    }

    #[test]
    fn the_mapping_s_own_limit_holds_from_the_start() {
        let mut scaling = Scaling::new(Some(2));
        assert_eq!(scaling.wanted(), 2);
        scaling.tick(BUSY);
        assert_eq!(scaling.wanted(), 2);
    }

    #[test]
    fn throttling_scales_down_by_one_at_a_time_and_not_below_five() {
        let throttled = [Load { throttled: true, ..BUSY }, Load { throttled: true, ..Load::default() }];
        let mut scaling = Scaling::new(None);
        scaling.tick(BUSY);
        for (wanted, load) in (5..10).rev().zip(throttled.into_iter().cycle()) {
            scaling.tick(load);
            assert_eq!(scaling.wanted(), wanted);
        }
        for (max, wanted) in [(None, 5), (Some(3), 3)] {
            let mut scaling = Scaling::new(max);
            throttled.into_iter().for_each(|load| scaling.tick(load));
            assert_eq!(scaling.wanted(), wanted);
        }
    }

    #[test]
    fn quiet_scales_down_to_two() {
        let mut scaling = Scaling::new(None);
        for _ in 0..10 {
            scaling.tick(BUSY);
        }
        for _ in 0..1_000 {
            scaling.tick(Load::default());
        }
        assert_eq!(scaling.wanted(), 2);
    }

    #[test]
    fn errors_do_not_make_it_grow() {
        let mut scaling = Scaling::new(None);
        scaling.tick(Load { failing: true, ..BUSY });
        assert_eq!(scaling.wanted(), 5);
    }
}
