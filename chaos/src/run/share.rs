//! Is the share of canaries that met a fault the one that was asked for? By the exact chances of a fair draw.

use super::verdict::Check;

/// A fault that meets the asked share is refuted by chance in one of a thousand runs at the most.
const CONFIDENCE_PERCENT: f64 = 99.9;
/// Half of what is left, for each of too few and too many.
const TAIL_MAX: f64 = (100.0 - CONFIDENCE_PERCENT) / 100.0 / 2.0;
/// Of a fault that meets everything: a canary at an edge of its time may have missed it.
const MISSED_MAX: u64 = 1;

/// Canaries that could have met the fault, and those that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trials {
    pub(super) hit: u64,
    pub(super) all: u64,
}

impl Trials {
    pub(super) fn percent(self) -> f64 {
        self.hit as f64 * 100.0 / self.all as f64
    }

    /// The measured share is what the asked one makes likely, and there are enough canaries for it to have been refuted.
    pub(super) fn check(self, name: &str, asked_percent: f64) -> Check {
        let share = asked_percent / 100.0;
        let told = format!("{:.0} % of {} canaries, {asked_percent:.0} % asked", self.percent(), self.all);
        let confidence = format!("with {CONFIDENCE_PERCENT} % confidence");
        if self.refute(share) {
            Check::evidence(name, false, format!("{told}, which is refuted {confidence}"))
        } else if !self.can_refute(share) {
            let doubt = "not proven, so few cannot be told from a fault that meets nobody";
            Check::evidence(name, false, format!("{told}: {doubt} {confidence}"))
        } else {
            Check::evidence(name, true, told)
        }
    }

    fn refute(self, share: f64) -> bool {
        let missed = self.all - self.hit;
        if share >= 1.0 {
            return missed > MISSED_MAX;
        }
        let too_few = chance_of_at_most(self.hit, self.all, share);
        let too_many = chance_of_at_most(missed, self.all, 1.0 - share);
        too_few.min(too_many) <= TAIL_MAX
    }

    /// Whether as many canaries would have refuted the share, had none met the fault.
    pub(super) fn can_refute(self, share: f64) -> bool {
        Self { hit: 0, ..self }.refute(share)
    }
}

/// The chance that at most `hit` of `all` meet what each of them meets with the chance `share`, which is between 0 and 1.
fn chance_of_at_most(hit: u64, all: u64, share: f64) -> f64 {
    let odds = (share / (1.0 - share)).ln();
    // Logarithms: of thousands of canaries the chance that none meets it is too small for a number.
    let mut of_exactly = all as f64 * (1.0 - share).ln();
    let mut of_at_most = of_exactly.exp();
    for met in 0..hit {
        of_exactly += odds + ((all - met) as f64 / (met + 1) as f64).ln();
        of_at_most += of_exactly.exp();
    }
    of_at_most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::verdict::Outcome;

    fn check(hit: u64, all: u64, percent: f64) -> Check {
        Trials { hit, all }.check("share", percent)
    }

    fn is_not_proven(check: &Check) -> bool {
        check.outcome == Outcome::Unknown && check.detail.contains("not proven")
    }

    fn is_refuted(check: &Check) -> bool {
        check.outcome == Outcome::Unknown && check.detail.contains("refuted with 99.9 % confidence")
    }

    #[test]
    fn so_few_that_no_share_of_them_could_be_refuted_prove_none() {
        for (hit, too_few, enough, percent) in [(5, 10, 11, 50.0), (6, 17, 18, 35.0), (7, 72, 73, 10.0)] {
            assert!(is_not_proven(&check(hit, too_few, percent)), "{hit} of {too_few} at {percent} %");
            assert_eq!(
                check(hit, enough, percent).outcome,
                Outcome::Held,
                "{hit} of {enough} at {percent} %"
            );
            assert!(is_refuted(&check(0, enough, percent)), "none of {enough} at {percent} %");
        }
    }

    #[test]
    fn another_share_than_asked_is_refuted_with_fewer_than_twenty_canaries() {
        for (hit, all) in [(0, 11), (11, 11), (1, 15), (14, 15), (2, 19), (17, 19)] {
            assert!(is_refuted(&check(hit, all, 50.0)), "{hit} of {all}");
        }
        // Too many are too many, however few canaries there are.
        assert!(is_refuted(&check(4, 4, 10.0)));
        for (hit, all) in [(1, 11), (10, 11), (6, 17), (8, 12)] {
            assert_eq!(check(hit, all, 50.0).outcome, Outcome::Held, "{hit} of {all}");
        }
    }

    #[test]
    fn what_meets_everything_may_miss_one_canary_at_its_edge() {
        assert_eq!(check(4, 4, 100.0).outcome, Outcome::Held);
        assert_eq!(check(3, 4, 100.0).outcome, Outcome::Held);
        assert!(is_refuted(&check(2, 4, 100.0)));
    }

    #[test]
    fn a_fair_draw_is_refuted_once_in_a_thousand_at_the_most() {
        for all in [11, 15, 28, 59, 400] {
            for share in [0.35, 0.5, 0.9] {
                let at_most = |hit: u64| chance_of_at_most(hit, all, share);
                let of_exactly = |hit: u64| at_most(hit) - hit.checked_sub(1).map_or(0.0, at_most);
                let refuted = (0..=all).filter(|hit| Trials { hit: *hit, all }.refute(share));
                let chance: f64 = refuted.map(of_exactly).sum();
                assert!(chance <= 0.001, "{chance} of {all} at {share}");
            }
        }
    }

    #[test]
    fn chances_are_those_of_a_coin_also_of_a_hundred_thousand() {
        let is_near = |chance: f64, expected: f64| (chance - expected).abs() < 0.001;
        assert!(is_near(chance_of_at_most(0, 2, 0.5), 0.25));
        assert!(is_near(chance_of_at_most(1, 3, 0.5), 0.5));
        assert!(is_near(chance_of_at_most(2, 3, 0.5), 0.875));
        assert!(is_near(chance_of_at_most(50_000, 100_000, 0.5), 0.501));
        assert!(chance_of_at_most(49_000, 100_000, 0.5) < 1e-9);
    }
}
