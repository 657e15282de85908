//! How many tasks one owner may have in flight, so that one client's flood is not every client's queue.
//!
//! A soft limit, on purpose. An exact one would need a counter: a second write for every task at both of its ends, on one
//! item per owner, that is wrong for ever after the first crash between the two. Here the tasks themselves are counted, and
//! only for owners who submit much: each environment lets some through unseen, then counts once per window, beside the
//! send of a submission, and goes by that count until the window ends.

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
}

#[derive(Debug)]
struct Window {
    ends_at: EpochMs,
    /// By this environment, in this window.
    admitted: u32,
    /// Open tasks when they were counted, less what was admitted before.
    open_before: Option<u32>,
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

    pub fn ask(&self, owner: &Owner, now: EpochMs) -> Admitted {
        let mut windows = self.windows();
        if windows.len() >= limits::ADMISSION_OWNERS_MAX {
            windows.retain(|_, window| now < window.ends_at);
        }
        let fresh = || Window { ends_at: now.plus(limits::ADMISSION_WINDOW), admitted: 0, open_before: None };
        let window = windows.entry(owner.clone()).or_insert_with(fresh);
        if now >= window.ends_at {
            *window = fresh();
        }
        let open = window.open_before.map(|open| open.saturating_add(window.admitted));
        if open.is_some_and(|open| open >= self.in_flight_max) {
            return Admitted::No;
        }
        window.admitted = window.admitted.saturating_add(1);
        if open.is_none() && window.admitted > limits::ADMISSION_UNCOUNTED_MAX {
            return Admitted::AndCount;
        }
        Admitted::Yes
    }

    /// `None` when counting failed: the limit guards the other owners' latency, and an outage is no reason to refuse.
    pub fn counted(&self, owner: &Owner, open: Option<u32>) {
        if let Some(window) = self.windows().get_mut(owner) {
            window.open_before = Some(open.unwrap_or_default().saturating_sub(window.admitted));
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
        for _ in 0..limits::ADMISSION_UNCOUNTED_MAX {
            assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
        }
        assert_eq!(admission.ask(&alice(), NOW), Admitted::AndCount);
        admission
    }

    #[test]
    fn an_owner_with_too_many_tasks_in_flight_is_refused_until_the_window_ends() {
        let admission = busy(500);
        admission.counted(&alice(), Some(498));
        assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
        assert_eq!(admission.ask(&alice(), NOW), Admitted::Yes);
        assert_eq!(admission.ask(&alice(), NOW), Admitted::No);
        assert_eq!(admission.ask(&Owner::parse("bob").unwrap(), NOW), Admitted::Yes);
        assert_eq!(admission.ask(&alice(), NOW.plus(limits::ADMISSION_WINDOW)), Admitted::Yes);
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
