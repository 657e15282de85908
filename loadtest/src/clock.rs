//! Issues arrivals and reads at their intended starts, whatever became of the ones before.

use std::sync::Arc;

use crate::plan::{Arrivals, LoadPlan};
use crate::schedule::Schedule;
use crate::shared::{Shared, Ticket};
use crate::stop::Stopped;

pub(crate) async fn issue_arrivals(shared: Arc<Shared>) {
    let plan = &shared.plan;
    let schedule = Schedule::new(plan.arrivals, plan.rate_per_second, plan.duration, plan.seed);
    let mut stop = shared.arrivals.subscribe();
    let began_us = shared.book.timeline.now_us();
    for offset_us in schedule {
        let intended_us = began_us + offset_us;
        if !wait_until(&shared, intended_us, &mut stop).await {
            break;
        }
        let sequence = shared.book.issue(plan, intended_us);
        if !shared.tickets.offer(Ticket { sequence }) {
            shared.book.drop_arrival();
        }
    }
    shared.tickets.close();
}

pub(crate) async fn issue_reads(shared: Arc<Shared>) {
    let schedule = reads(&shared.plan);
    let mut stop = shared.arrivals.subscribe();
    let began_us = shared.book.timeline.now_us();
    for (number, offset_us) in (0_u64..).zip(schedule) {
        if !wait_until(&shared, began_us + offset_us, &mut stop).await {
            break;
        }
        // A full queue drops the read: it is side load.
        shared.reads.offer(number);
    }
    shared.reads.close();
}

/// Evenly, however the arrivals come: a short phase is to hold reads in every run, and not in most. The first is at once,
/// of a page, which needs no task.
fn reads(plan: &LoadPlan) -> Schedule {
    Schedule::new(Arrivals::Constant, plan.poll_rate_per_second, plan.duration, plan.seed)
}

/// `false` when the arrivals were stopped first.
async fn wait_until(shared: &Shared, at_us: u64, stop: &mut Stopped) -> bool {
    let at = tokio::time::Instant::from_std(shared.book.timeline.instant(at_us));
    tokio::select! {
        biased;
        () = stop.wait() => false,
        () = tokio::time::sleep_until(at) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shortest calm before a fault that is to be read in.
    const CALM_US: u64 = 1_500_000;

    #[test]
    fn the_first_read_is_at_once_and_a_second_and_a_half_always_holds_three() {
        for seed in 0..1_000 {
            let plan = LoadPlan { seed, arrivals: Arrivals::Poisson, ..LoadPlan::default() };
            let offsets: Vec<u64> = reads(&plan).collect();
            assert_eq!(offsets.first(), Some(&0), "seed {seed}");
            for from_us in (0..8_000_000).step_by(250_000) {
                let window = from_us..from_us + CALM_US;
                let held = offsets.iter().filter(|at_us| window.contains(*at_us)).count();
                assert_eq!(held, 3, "seed {seed}, from {from_us} us");
            }
        }
    }
}
