//! How many tasks one owner may have in flight, so that one client's flood is not every client's queue.
//!
//! A soft limit, on purpose. An exact one would need a counter: a second write for every task at both of its ends, on one
//! item per owner, that is wrong for ever after the first crash between the two. Here the tasks themselves are counted, and
//! only for owners who submit much: each environment lets some through unseen, then counts, once per window at most and beside
//! the send of a submission, and goes by that count until the window ends. Whoever was seen near the limit is counted again
//! as soon as the next window begins.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::Owner;
use crate::limits;
use crate::time::EpochMs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    Yes,
    /// Yes, and the owner's open tasks are to be counted meanwhile.
    AndCount,
    No,
    /// Not by what was open in the window before: the owner's open tasks are to be counted, and then it is asked again.
    NoAndCount,
}

#[derive(Debug)]
struct Window {
    ends_at: EpochMs,
    /// Whether the count is of this window: only then anybody is refused without another.
    is_counted: bool,
    /// Open tasks when they were last counted, in this window or in one before.
    counted: u32,
    /// Admitted by this environment since then. They may have ended by now.
    unseen: u32,
}

impl Window {
    const fn open(&self) -> u32 {
        self.counted.saturating_add(self.unseen)
    }
}

/// One environment's knowledge of its owners.
#[derive(Debug)]
pub struct Admission {
    in_flight_max: u32,
    windows: Mutex<HashMap<Owner, Window>>,
}

impl Admission {
    pub fn new(in_flight_max: u32) -> Self {
        Self { in_flight_max, windows: Mutex::default() }
    }

    pub const fn in_flight_max(&self) -> u32 {
        self.in_flight_max
    }

    /// How many submissions of an owner pass between two counts, where little is open: a small part of the limit.
    pub fn uncounted_max(&self) -> u32 {
        (self.in_flight_max / limits::ADMISSION_UNCOUNTED_PART).clamp(1, limits::ADMISSION_UNCOUNTED_MAX)
    }

    pub fn ask(&self, owner: &Owner, now: EpochMs) -> Admitted {
        let mut windows = self.windows();
        if windows.len() >= limits::ADMISSION_OWNERS_MAX {
            windows.retain(|_, window| now < window.ends_at);
        }
        let ends_at = now.plus(limits::ADMISSION_WINDOW);
        let fresh = || Window { ends_at, is_counted: false, counted: 0, unseen: 0 };
        let window = windows.entry(owner.clone()).or_insert_with(fresh);
        if now >= window.ends_at {
            // What was true long ago refuses nobody: they are counted beside being let in.
            if now >= window.ends_at.plus(limits::ADMISSION_WINDOW) {
                window.counted = window.counted.min(self.in_flight_max.saturating_sub(1));
            }
            window.ends_at = ends_at;
            window.is_counted = false;
        }
        if window.is_counted && window.open() >= self.in_flight_max {
            return Admitted::No;
        }
        if !window.is_counted && window.counted >= self.in_flight_max {
            return Admitted::NoAndCount;
        }
        let is_near = window.open() >= self.in_flight_max.div_ceil(2);
        let is_due = is_near || window.unseen >= self.uncounted_max();
        window.unseen = window.unseen.saturating_add(1);
        if is_due && !window.is_counted { Admitted::AndCount } else { Admitted::Yes }
    }

    /// `None` when counting failed: the limit guards the other owners' latency, and an outage is no reason to refuse.
    pub fn counted(&self, owner: &Owner, open: Option<u32>) {
        if let Some(window) = self.windows().get_mut(owner) {
            window.is_counted = true;
            window.counted = open.unwrap_or_default();
            window.unseen = 0;
        }
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Owner, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DurationMs;

    const NOW: EpochMs = EpochMs(1_000_000);

    fn alice() -> Owner {
        Owner::parse("alice").unwrap()
    }

    /// Until a count is asked for.
    fn busy(in_flight_max: u32) -> Admission {
        let admission = Admission::new(in_flight_max);
        for _ in 0..admission.uncounted_max() {
            assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
        }
        assert_eq!(admission.ask(&alice(), NOW), Admitted::AndCount);
        admission
    }

    /// What became of submissions at a steady rate.
    #[derive(Debug, Default)]
    struct Run {
        admitted: u32,
        refused: u32,
        counts: u32,
        open: u32,
    }

    /// One submission each `every`; the tasks end at once, or never.
    fn run(admission: &Admission, every: DurationMs, submissions: u32, ends: bool) -> Run {
        let (mut run, mut now) = (Run::default(), NOW);
        for _ in 0..submissions {
            let admitted = admission.ask(&alice(), now);
            if matches!(admitted, Admitted::AndCount | Admitted::NoAndCount) {
                run.counts += 1;
                admission.counted(&alice(), Some(run.open));
            }
            if matches!(admitted, Admitted::Yes | Admitted::AndCount) {
                run.admitted += 1;
                run.open += u32::from(!ends);
            } else {
                run.refused += 1;
            }
            now = now.plus(every);
        }
        run
    }

    const HOUR_MS: u32 = 60 * 60 * 1_000;
    const WINDOWS_OF_AN_HOUR: u32 = 360;

    #[test]
    fn an_owner_with_too_many_tasks_in_flight_is_refused_until_the_window_ends() {
        let admission = busy(500);
        admission.counted(&alice(), Some(498));
        assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
        assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
        assert_eq!(admission.ask(&alice(), NOW), Admitted::No);
        assert_eq!(admission.ask(&Owner::parse("bob").unwrap(), NOW), Admitted::Yes);
        let next = NOW.plus(limits::ADMISSION_WINDOW);
        assert_eq!(admission.ask(&alice(), next), Admitted::AndCount, "there were nearly too many");
        admission.counted(&alice(), Some(3));
        assert_eq!(admission.ask(&alice(), next), Admitted::Yes);
    }

    #[test]
    fn an_owner_who_was_counted_at_the_limit_is_counted_again_before_more_is_let_in() {
        let admission = busy(500);
        admission.counted(&alice(), Some(500));
        assert_eq!(admission.ask(&alice(), NOW), Admitted::No);
        let next = NOW.plus(limits::ADMISSION_WINDOW);
        assert_eq!(admission.ask(&alice(), next), Admitted::NoAndCount);
        admission.counted(&alice(), Some(499));
        assert_eq!(admission.ask(&alice(), next), Admitted::Yes);
        assert_eq!(admission.ask(&alice(), next), Admitted::No);
    }

    #[test]
    fn what_was_counted_long_ago_refuses_nobody() {
        let admission = busy(500);
        admission.counted(&alice(), Some(500));
        let later = NOW.plus(limits::ADMISSION_WINDOW).plus(limits::ADMISSION_WINDOW);
        assert_eq!(admission.ask(&alice(), later), Admitted::AndCount);
    }

    #[test]
    fn tasks_that_never_end_are_held_to_the_limit_however_fast_or_slowly_they_come() {
        for every in [DurationMs(50), DurationMs(150), DurationMs(1_000), DurationMs(11_000)] {
            let submissions = HOUR_MS / u32::try_from(every.0).unwrap();
            let run = run(&Admission::new(500), every, submissions, false);
            let expected = submissions.min(500);
            assert!((expected..=expected + 10).contains(&run.admitted), "{every:?}: {run:?}");
            assert_eq!(run.admitted + run.refused, submissions);
            assert!(run.counts <= WINDOWS_OF_AN_HOUR + 1, "{every:?}: {run:?}");
        }
    }

    #[test]
    fn an_owner_far_below_the_limit_is_rarely_counted_and_never_refused() {
        for (every, counts_max) in [
            (DurationMs(1_000), 3_600 / limits::ADMISSION_UNCOUNTED_MAX),
            (DurationMs(20), WINDOWS_OF_AN_HOUR + 1),
        ] {
            let submissions = HOUR_MS / u32::try_from(every.0).unwrap();
            let run = run(&Admission::new(5_000), every, submissions, true);
            assert_eq!(run.refused, 0, "{run:?}");
            assert!((1..=counts_max).contains(&run.counts), "{every:?}: {run:?}");
        }
    }

    /// Else a limit below what passes uncounted would never hold.
    #[test]
    fn of_a_small_limit_little_passes_uncounted() {
        for (in_flight_max, uncounted) in [(1, 1), (9, 1), (500, 50), (5_000, 100)] {
            assert_eq!(Admission::new(in_flight_max).uncounted_max(), uncounted);
        }
    }

    #[test]
    fn a_count_that_failed_refuses_nobody() {
        let admission = busy(limits::ADMISSION_UNCOUNTED_MAX + 100);
        admission.counted(&alice(), None);
        assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
    }

    #[test]
    fn owners_of_ended_windows_are_forgotten() {
        let admission = Admission::new(1);
        for number in 0..limits::ADMISSION_OWNERS_MAX {
            admission.ask(&Owner::parse(format!("o{number}")).unwrap(), NOW);
        }
        admission.ask(&alice(), NOW.plus(limits::ADMISSION_WINDOW).plus(DurationMs(1)));
        assert_eq!(admission.windows().len(), 1);
    }
}
