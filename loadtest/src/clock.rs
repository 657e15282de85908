//! Issues arrivals and reads at their intended starts, whatever became of the ones before.

use std::sync::Arc;

use crate::plan::Arrivals;
use crate::schedule::Schedule;
use crate::shared::{Shared, Ticket};
use crate::stop::Stopped;

/// Keeps the reads' gaps apart from those of the arrivals.
const READ_SEED: u64 = 0x5EED;

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
    let plan = &shared.plan;
    let seed = plan.seed ^ READ_SEED;
    let schedule = Schedule::new(Arrivals::Poisson, plan.poll_rate_per_second, plan.duration, seed);
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

/// `false` when the arrivals were stopped first.
async fn wait_until(shared: &Shared, at_us: u64, stop: &mut Stopped) -> bool {
    let at = tokio::time::Instant::from_std(shared.book.timeline.instant(at_us));
    tokio::select! {
        biased;
        () = stop.wait() => false,
        () = tokio::time::sleep_until(at) => true,
    }
}
