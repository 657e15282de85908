//! The customers' error budget. What a fault refuses by itself is not counted: it would end the fault that was asked for.

use loadtest::Counts;

use crate::experiment::Abort;

/// Answers to what was sent while the fault lasted come in for this many looks after it.
const LOOKS_SPARED_AFTER: u32 = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    attempted: u64,
    bad: u64,
}

#[derive(Debug)]
pub(super) struct Budget<'a> {
    abort: &'a Abort,
    /// Of all requests at the last look.
    before: Tally,
    /// Of those that count.
    counted: Tally,
    looks_spared: u32,
}

impl<'a> Budget<'a> {
    pub(super) fn new(abort: &'a Abort) -> Self {
        Self { abort, before: Tally::default(), counted: Tally::default(), looks_spared: 0 }
    }

    /// Takes what came since the last look. The answer is why the run must end, if it must.
    pub(super) fn look(&mut self, counts: &Counts, fault_refuses_clients: bool) -> Option<String> {
        self.looks_spared =
            if fault_refuses_clients { LOOKS_SPARED_AFTER } else { self.looks_spared.saturating_sub(1) };
        let now = Tally { attempted: counts.attempted, bad: counts.refused + counts.unknown };
        if self.looks_spared == 0 {
            self.counted.attempted += now.attempted.saturating_sub(self.before.attempted);
            self.counted.bad += now.bad.saturating_sub(self.before.bad);
        }
        self.before = now;
        self.refusals().or_else(|| self.waits(counts))
    }

    fn refusals(&self) -> Option<String> {
        let Tally { attempted, bad } = self.counted;
        let share = bad as f64 * 100.0 / attempted.max(1) as f64;
        let is_spent = attempted >= self.abort.attempts_min && share > self.abort.refused_percent;
        is_spent.then(|| {
            format!("the error budget is spent: {share:.1} % of requests were refused or unanswered")
        })
    }

    fn waits(&self, counts: &Counts) -> Option<String> {
        let max_ms = self.abort.p99_ms_max?;
        let is_long = counts.attempted >= self.abort.attempts_min && counts.post_p99_ms > max_ms;
        is_long
            .then(|| format!("clients wait too long: p99 {:.0} ms, at most {max_ms} ms", counts.post_p99_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(attempted: u64, refused: u64) -> Counts {
        Counts { attempted, refused, ..Counts::default() }
    }

    fn abort() -> Abort {
        Abort { refused_percent: 20.0, attempts_min: 100, p99_ms_max: None }
    }

    #[test]
    fn too_many_refusals_end_the_run_once_enough_was_asked() {
        let abort = abort();
        let mut budget = Budget::new(&abort);
        assert_eq!(budget.look(&counts(99, 99), false), None, "a share of few says nothing");
        let reason = budget.look(&counts(200, 100), false).unwrap();
        assert!(reason.contains("50.0 %"), "{reason}");
    }

    #[test]
    fn what_the_fault_itself_refuses_is_not_counted_and_what_is_refused_later_is() {
        let abort = abort();
        let mut budget = Budget::new(&abort);
        assert_eq!(budget.look(&counts(200, 0), false), None);
        for look in 1..20 {
            assert_eq!(budget.look(&counts(200 + look * 50, look * 50), true), None);
        }
        let mut told = None;
        for look in 1..20 {
            told = told.or(budget.look(&counts(1_150 + look * 50, 950 + look * 50), false));
        }
        assert!(told.is_some(), "the fault is over, and refusals go on");
    }

    #[test]
    fn clients_that_wait_too_long_end_the_run() {
        let abort = Abort { p99_ms_max: Some(100.0), ..abort() };
        let slow = Counts { attempted: 200, post_p99_ms: 101.0, ..Counts::default() };
        assert!(Budget::new(&abort).look(&slow, true).unwrap().contains("p99 101 ms"));
        let quick = Counts { post_p99_ms: 99.0, ..slow };
        assert_eq!(Budget::new(&abort).look(&quick, false), None);
    }
}
