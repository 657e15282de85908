//! One fault's life: wait for its moment, take the pulse, engage, hold, release, see it end.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loadtest::Running;
use loadtest::stack::{Function, Stack};
use tokio::time::Instant;

use super::dose::{is_over, is_well};
use super::halt::Halt;
use super::live::FaultState;
use super::progress::Progress;
use crate::clock::{millis, now_ms};
use crate::cloud::Cloud;
use crate::experiment::FaultSpec;
use crate::fault::{Guards, Lever};
use crate::observe::{self, Beat, Canary, Configuration, Metric, empty_event, is_denied, sum_since};
use crate::oracle::Window;

/// How often the setting is read while the fault lasts.
const HOLD_LOOK: Duration = Duration::from_secs(1);
/// After the release canaries must tell within this time that the fault is over. The FIS extension may take 20 s to notice on
/// AWS, and as long they go on. What is left is too short for small shares, of which many must be untouched: then no end is seen.
const WELL_WITHIN: Duration = Duration::from_secs(30);
const WELL_LOOK: Duration = Duration::from_millis(250);
/// How long the pulse is taken before the fault, to know what is normal.
const CONTROL: Duration = Duration::from_millis(700);

/// What is on its way when a setting changes belongs to the fault and not to the calm before it.
const ON_THE_WAY: Duration = Duration::from_millis(300);

/// What no canary tells of, or saw the end of, is over on AWS within this time. Of a queue: "the change can take up to 60
/// seconds for most of the attributes to propagate"; of the other settings nothing longer is said.
const GONE_WITHIN_AWS: Duration = Duration::from_secs(60);

const STOPPED_BEFORE: &str = "the run was stopped before the fault began";

pub(super) const PHASE_BEFORE: &str = "before";
pub(super) const PHASE_FAULT: &str = "fault";
/// Put back, and not yet seen to be gone: what is refused then is still the fault's doing.
pub(super) const PHASE_ENDING: &str = "ending";
pub(super) const PHASE_AFTER: &str = "after";

/// What was read by the end of the work.
async fn read_by<T>(work: impl Future<Output = ()>, reading: impl Future<Output = T>) -> Option<T> {
    let mut read = None;
    let reading = async {
        read = Some(reading.await);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        () = work => {}
        // Reading never ends by itself.
        never = reading => match never {},
    }
    read
}

/// A fault that is about to be run.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) spec: FaultSpec,
    pub(super) lever: Lever,
    /// The function under fault, when it is one.
    pub(super) function: Option<Function>,
    pub(super) metrics: Vec<Metric>,
    /// Each environment of the function learns of it, and that it is over, at a time of its own.
    pub(super) is_ramped: bool,
    pub(super) start: Duration,
    pub(super) duration: Duration,
}

/// What was seen of a fault.
#[derive(Debug, Default)]
pub(super) struct FaultRun {
    pub(super) asked: Option<Window>,
    pub(super) engaged_at_ms: Option<u64>,
    /// When the way back began: settings are back some time before it is verified that they are.
    pub(super) release_asked_at_ms: Option<u64>,
    pub(super) released_at_ms: Option<u64>,
    /// How often the setting was read and found changed.
    pub(super) held: u64,
    /// How often a call of the harness was denied.
    pub(super) denied: u64,
    pub(super) beats: Vec<Beat>,
    /// As it was planned.
    pub(super) is_ramped: bool,
    /// What faults can change, as it was while this one was in effect.
    pub(super) during: Option<Configuration>,
    /// Sums just before the start, in the order of the plan's metrics.
    pub(super) sums_before: Vec<f64>,
    /// Since when these are: what is added later must be of the same minutes and more.
    pub(super) sums_from_ms: u64,
    pub(super) error: Option<String>,
}

/// What all faults of an experiment share.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) stack: &'a Stack,
    pub(super) guards: &'a Guards,
    pub(super) running: &'a Running,
    pub(super) halt: &'a Halt,
    pub(super) progress: &'a Progress,
    pub(super) experiment: &'a str,
    pub(super) active: AtomicUsize,
    /// Faults that are put back and may still be in effect.
    pub(super) ending: AtomicUsize,
    /// Of both: faults that refuse clients by themselves.
    pub(super) refusing: AtomicUsize,
    pub(super) began: Instant,
}

/// How long a fault may be in effect once it is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    No,
    /// Until canaries see its end.
    UntilSeen,
    /// For as long as AWS may take: nobody sees its end.
    ForTime,
}

fn lasts_on(emulated: bool, has_canary: bool, was_applied: bool) -> Lasts {
    match (emulated, has_canary) {
        _ if !was_applied => Lasts::No,
        (_, true) => Lasts::UntilSeen,
        // The emulator's settings are in effect with the answer to the call.
        (true, false) => Lasts::No,
        (false, false) => Lasts::ForTime,
    }
}

/// What is left of it once canaries were waited for. Where they saw no end, nobody knows that there was one, unless it is over
/// at once.
fn lasts_still(lasts: Lasts, is_at_once: bool, was_end_seen: bool) -> Lasts {
    match lasts {
        Lasts::UntilSeen if is_at_once || was_end_seen => Lasts::No,
        Lasts::UntilSeen => Lasts::ForTime,
        Lasts::No | Lasts::ForTime => lasts,
    }
}

impl Stage<'_> {
    /// Whether a fault does so at this moment.
    pub(super) fn refuses_clients(&self) -> bool {
        self.refusing.load(Ordering::SeqCst) > 0
    }

    /// `number` is the fault's place in its experiment.
    pub(super) async fn play(&self, number: usize, planned: &Planned) -> FaultRun {
        let mut run = FaultRun { is_ramped: planned.is_ramped, ..FaultRun::default() };
        let wait = planned.start.saturating_sub(CONTROL).saturating_sub(self.began.elapsed());
        if !self.halt.sleep(wait).await {
            run.error = Some(STOPPED_BEFORE.into());
            return run;
        }
        let canary = planned
            .function
            .clone()
            .map(|function| Canary::start(self.cloud.clone(), function, empty_event(&planned.spec.target)));
        run.sums_from_ms = now_ms();
        for metric in &planned.metrics {
            let sum = sum_since(self.cloud, metric, run.sums_from_ms).await;
            run.sums_before.push(sum.unwrap_or_default());
        }
        self.halt.sleep(planned.start.saturating_sub(ON_THE_WAY).saturating_sub(self.began.elapsed())).await;
        let refusing = usize::from(planned.spec.refuses_clients());
        self.refusing.fetch_add(refusing, Ordering::SeqCst);
        if self.active.fetch_add(1, Ordering::SeqCst) == 0 {
            self.phase(PHASE_FAULT);
        }
        if self.halt.sleep(ON_THE_WAY).await {
            self.hold(number, planned, &mut run).await;
        } else {
            run.error = Some(STOPPED_BEFORE.into());
        }
        let put_back = Instant::now();
        self.ending.fetch_add(1, Ordering::SeqCst);
        let was_last = self.active.fetch_sub(1, Ordering::SeqCst) == 1;
        let lasts = lasts_on(self.cloud.emulated, canary.is_some(), run.engaged_at_ms.is_some());
        if was_last && lasts != Lasts::No {
            self.phase(PHASE_ENDING);
        }
        let mut was_end_seen = false;
        if let Some(canary) = canary {
            (run.beats, was_end_seen) = self.until_well(canary, planned, run.engaged_at_ms).await;
        }
        let is_at_once = self.cloud.emulated && !planned.is_ramped;
        if lasts_still(lasts, is_at_once, was_end_seen) == Lasts::ForTime {
            self.until_gone(put_back).await;
        }
        self.refusing.fetch_sub(refusing, Ordering::SeqCst);
        let was_last_to_end = self.ending.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last_to_end && self.active.load(Ordering::SeqCst) == 0 {
            self.phase(PHASE_AFTER);
        }
        run
    }

    fn phase(&self, name: &str) {
        self.running.phase(name);
        self.progress.phase(name);
    }

    /// Without arrivals there is nobody to be spared.
    async fn until_gone(&self, put_back: Instant) {
        tokio::select! {
            _ = self.halt.sleep(GONE_WITHIN_AWS.saturating_sub(put_back.elapsed())) => {}
            () = self.running.arrivals_ended() => {}
        }
    }

    async fn hold(&self, number: usize, planned: &Planned, run: &mut FaultRun) {
        let asked_at_ms = now_ms();
        run.asked = Some(Window { from_ms: asked_at_ms, to_ms: asked_at_ms + millis(planned.duration) });
        let name = planned.spec.kind.name();
        self.progress.line(&format!("{name} on {}", planned.spec.target));
        let fault = match self.guards.engage(self.experiment, planned.lever.clone()).await {
            Ok(fault) => fault,
            Err(error) => {
                let error = crate::fault::chain(&error);
                // The others end in their own order: one that is just being applied could not be put back from here.
                self.halt.ask(&format!("{name} on {} could not be applied: {error}", planned.spec.target));
                run.error = Some(error);
                return;
            }
        };
        let engaged = Instant::now();
        run.engaged_at_ms = Some(now_ms());
        self.progress.fault(number, FaultState::Active);
        // For the report alone: what cannot be read is left out, and the fault is neither cut short nor drawn out for it.
        let reading = Box::pin(observe::configuration(self.cloud, self.stack));
        let during = read_by(self.watch(planned, engaged, run), reading).await;
        run.during = during.and_then(Result::ok);
        run.release_asked_at_ms = Some(now_ms());
        let report = self.guards.release(fault).await;
        run.released_at_ms = Some(now_ms());
        self.progress.fault(number, FaultState::PutBack);
        self.progress.line(&format!("{name} on {} put back", planned.spec.target));
        run.error = report.and_then(|report| report.error);
    }

    /// Reads the setting while the fault lasts: somebody else may put it back.
    async fn watch(&self, planned: &Planned, engaged: Instant, run: &mut FaultRun) {
        loop {
            let left = planned.duration.saturating_sub(engaged.elapsed());
            if left.is_zero() || !self.halt.sleep(left.min(HOLD_LOOK)).await {
                return;
            }
            if planned.lever.is_engaged(self.cloud).await.unwrap_or(false) {
                run.held += 1;
            }
            run.denied += u64::from(is_denied(self.cloud, &planned.lever).await == Some(true));
        }
    }

    /// What canaries saw, and whether that was the end. One that was not well before the fault is not waited for.
    async fn until_well(
        &self,
        canary: Canary,
        planned: &Planned,
        engaged_at_ms: Option<u64>,
    ) -> (Vec<Beat>, bool) {
        let spec = &planned.spec;
        let before = |beat: &Beat| engaged_at_ms.is_none_or(|at_ms| beat.at_ms < at_ms);
        if !canary.beats().iter().any(|beat| before(beat) && is_well(spec, beat)) {
            return (canary.finish().await, false);
        }
        let deadline = Instant::now() + WELL_WITHIN;
        let released_at_ms = now_ms();
        let is_waited_for = || Instant::now() < deadline && self.halt.reason().is_none();
        let has_ended = |beats: &[Beat]| is_over(spec, planned.is_ramped, beats, released_at_ms);
        while !has_ended(&canary.beats()) && is_waited_for() {
            tokio::time::sleep(WELL_LOOK).await;
        }
        let beats = canary.finish().await;
        let was_end_seen = has_ended(&beats);
        (beats, was_end_seen)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::run::dose::FORGOTTEN_WITHIN;

    /// Of the stack that `make demo` and `make suite` apply: there a receive is shortest.
    const VISIBILITY_LOCAL: Duration = Duration::from_secs(6);
    /// What a receive is on AWS.
    const VISIBILITY_AWS: Duration = Duration::from_secs(60);
    /// FIS takes some seconds to begin and as many to stop, by which a fault ends later than planned, and some arrivals must be left.
    const LATE_BY: Duration = Duration::from_secs(15);

    #[tokio::test]
    async fn a_reading_that_does_not_end_ends_with_the_fault() {
        assert_eq!(read_by(tokio::task::yield_now(), pending::<u8>()).await, None);
        assert_eq!(read_by(tokio::task::yield_now(), ready(7)).await, Some(7));
    }

    #[test]
    fn what_is_put_back_lasts_until_canaries_see_its_end_or_for_as_long_as_aws_takes() {
        let (emulated, on_aws) = (true, false);
        assert_eq!(lasts_on(emulated, true, true), Lasts::UntilSeen, "environments learn of it late");
        assert_eq!(lasts_on(emulated, false, true), Lasts::No, "there it is over at once");
        assert_eq!(lasts_on(on_aws, true, true), Lasts::UntilSeen);
        assert_eq!(lasts_on(on_aws, false, true), Lasts::ForTime);
        assert_eq!(lasts_on(on_aws, false, false), Lasts::No, "it was never there");
    }

    #[test]
    fn a_fault_whose_end_no_canary_saw_lasts_as_long_as_aws_takes() {
        let (at_once, on_aws) = (true, false);
        let is_for_time = |lasts, place, was_seen| lasts_still(lasts, place, was_seen) == Lasts::ForTime;
        assert!(is_for_time(Lasts::UntilSeen, on_aws, false));
        assert!(!is_for_time(Lasts::UntilSeen, on_aws, true));
        assert!(!is_for_time(Lasts::UntilSeen, at_once, false));
        assert!(is_for_time(Lasts::ForTime, on_aws, false));
        assert!(!is_for_time(Lasts::No, on_aws, false), "it was never there");
    }

    #[test]
    fn every_experiment_that_ships_is_read_in_before_its_first_fault() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let shipped = crate::experiment::load(&crate::experiment::files_of(&folder).unwrap()).unwrap();
        // The first read is at once.
        let second_read = Duration::from_secs_f64(1.0 / loadtest::LoadPlan::default().poll_rate_per_second);
        for experiment in shipped {
            let first = experiment.fault_specs().map(|spec| spec.start.resolve(VISIBILITY_LOCAL)).min();
            let calm = first.map(|start| start.saturating_sub(ON_THE_WAY));
            assert!(calm.is_none_or(|calm| calm > second_read), "{}: {calm:?}", experiment.name);
        }
    }

    #[test]
    fn where_a_fault_of_fis_may_refuse_clients_some_arrive_when_no_environment_knows_of_it_any_more() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let shipped = crate::experiment::load(&crate::experiment::files_of(&folder).unwrap()).unwrap();
        let mut told = 0;
        for experiment in shipped.iter().filter(|one| one.expect.refused_percent_during_max.is_none()) {
            let faults = experiment.fault_specs().filter(|spec| spec.fis_action_id().is_some());
            let end =
                |spec: &FaultSpec| spec.start.resolve(VISIBILITY_AWS) + spec.duration.resolve(VISIBILITY_AWS);
            let Some(last_end) = faults.map(end).max() else { continue };
            let arrivals_end = experiment.load.duration.resolve(VISIBILITY_AWS);
            let gone = last_end + FORGOTTEN_WITHIN + LATE_BY;
            assert!(arrivals_end > gone, "{}: {arrivals_end:?}, and {gone:?}", experiment.name);
            told += 1;
        }
        assert!(told >= 2, "{told} experiments were looked at");
    }
}
