//! One fault's life: wait for its moment, take the pulse, engage, hold, release, see it end.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use loadtest::Running;
use loadtest::stack::{Function, Stack};
use tokio::time::{Instant, timeout};

use super::dose::{is_over, is_well};
use super::halt::Halt;
use super::live::FaultState;
use super::progress::Progress;
use crate::clock::{millis, now_ms};
use crate::cloud::Cloud;
use crate::experiment::FaultSpec;
use crate::fault::{Guards, Lever, RevertReport};
use crate::observe::{self, Beat, Canary, Configuration, Metric, empty_event, is_denied, sum_since};
use crate::oracle::Window;

/// How often the setting is read while the fault lasts.
const HOLD_LOOK: Duration = Duration::from_secs(1);
/// After the release canaries must tell within this time that the fault is over. The FIS extension may take 20 s to notice on
/// AWS, and as long they go on. What is left is too short for small shares, of which many must be untouched: then no end is seen.
const WELL_WITHIN: Duration = Duration::from_secs(30);
const WELL_LOOK: Duration = Duration::from_millis(250);
/// What could not be put back is tried again so often while requests arrive.
const PUT_BACK_AGAIN: Duration = Duration::from_secs(10);
/// How long the pulse is taken before the fault, to know what is normal.
const CONTROL: Duration = Duration::from_millis(700);

/// What was before is read while the start is waited for, and in this time at most: a fault that begins late is not the one that
/// was asked for.
const SUMS_WITHIN: Duration = Duration::from_secs(2);
/// As long the harness's own call may take that must be allowed before a denial.
const CONTROL_CALL_WITHIN: Duration = Duration::from_secs(2);

/// What is on its way when a setting changes belongs to the fault and not to the calm before it.
const ON_THE_WAY: Duration = Duration::from_millis(300);

/// What no canary tells of, or saw the end of, is over on AWS within this time. Of a queue: "the change can take up to 60
/// seconds for most of the attributes to propagate"; of the other settings nothing longer is said.
const GONE_WITHIN_AWS: Duration = Duration::from_secs(60);

const STOPPED_BEFORE: &str = "the run was stopped before the fault began";
const ENDED_BEFORE: &str = "arrivals ended before the fault's turn: another one on its setting was not put back by then, or the \
                            harness was late";

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

/// The last attempt. While the fault cannot be put back it goes on: it is tried again until nobody arrives any more, whom it
/// could harm.
async fn put_back(
    mut release: impl AsyncFnMut() -> Option<RevertReport>,
    nobody_arrives: impl Future<Output = ()>,
) -> Option<RevertReport> {
    tokio::pin!(nobody_arrives);
    loop {
        let report = release().await?;
        if report.error.is_none() {
            return Some(report);
        }
        tokio::select! {
            () = tokio::time::sleep(PUT_BACK_AGAIN) => {}
            () = &mut nobody_arrives => return Some(report),
        }
    }
}

/// Sums just before the start. What is not read in time is not known.
async fn sums_before(reads: impl IntoIterator<Item = impl Future<Output = Option<f64>>>) -> Vec<Option<f64>> {
    let reads = reads.into_iter().map(|read| timeout(SUMS_WITHIN, read));
    join_all(reads).await.into_iter().map(|sum| sum.ok().flatten()).collect()
}

/// Whether the harness's own call is denied already, and so tells nothing of a denial. `None` where nobody knows.
async fn is_denied_before(cloud: &Cloud, lever: &Lever) -> Option<bool> {
    timeout(CONTROL_CALL_WITHIN, Box::pin(is_denied(cloud, lever))).await.ok().flatten()
}

/// The fault's turn, and the time that it has, which begins now.
#[derive(Debug, PartialEq)]
struct Given<T> {
    turn: T,
    asked: Window,
    /// It did not have to wait for another fault.
    is_at_once: bool,
}

/// The error is why the turn did not come: a fault that must wait does so while requests arrive, since later nobody would meet
/// it. `is_amid_arrivals`: it is planned for a time when they do.
async fn window_in_turn<T>(
    turn: impl Future<Output = T>,
    stopped: impl Future<Output = ()>,
    arrivals_ended: impl Future<Output = ()>,
    is_amid_arrivals: bool,
    duration: Duration,
) -> Result<Given<T>, &'static str> {
    tokio::pin!(turn);
    let given = turn.as_mut().now_or_never();
    let is_at_once = given.is_some();
    let turn = async {
        match given {
            Some(turn) => turn,
            None => turn.await,
        }
    };
    let turn = if is_amid_arrivals {
        tokio::select! {
            biased;
            () = stopped => return Err(STOPPED_BEFORE),
            () = arrivals_ended => return Err(ENDED_BEFORE),
            turn = turn => turn,
        }
    } else {
        tokio::select! {
            biased;
            () = stopped => return Err(STOPPED_BEFORE),
            turn = turn => turn,
            () = arrivals_ended => return Err(ENDED_BEFORE),
        }
    };
    let from_ms = now_ms();
    Ok(Given { turn, asked: Window { from_ms, to_ms: from_ms + millis(duration) }, is_at_once })
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

impl Planned {
    /// What became of its way back; `number` is its place in its experiment.
    pub(super) fn tell_put_back(&self, progress: &Progress, number: usize, report: &RevertReport) {
        let told = if report.error.is_none() { "put back" } else { "could not be put back" };
        if report.error.is_none() {
            progress.fault(number, FaultState::PutBack);
        }
        progress.line(&format!("{} on {} {told}", self.spec.kind.name(), self.spec.target));
    }
}

/// What was seen of a fault.
#[derive(Debug, Default)]
pub(super) struct FaultRun {
    /// From when it was applied.
    pub(super) asked: Option<Window>,
    /// When it was to begin, unless it had to wait for another fault on its setting.
    pub(super) due_ms: Option<u64>,
    pub(super) engaged_at_ms: Option<u64>,
    /// When the way back began: settings are back some time before it is verified that they are.
    pub(super) release_asked_at_ms: Option<u64>,
    pub(super) released_at_ms: Option<u64>,
    /// How often the setting was read.
    pub(super) looks: u64,
    /// And found changed.
    pub(super) held: u64,
    /// How often a call of the harness was denied.
    pub(super) denied: u64,
    /// Whether it was so before the fault began; `None` where there is no such call, or nobody answered.
    pub(super) denied_before: Option<bool>,
    pub(super) beats: Vec<Beat>,
    /// When others were in effect on the same function.
    pub(super) others: Vec<Window>,
    /// When others were that can have on clients, or on tasks, the effect that proves this one.
    pub(super) alike: Vec<Window>,
    /// When others were that move the metrics that prove this one.
    pub(super) on_metrics: Vec<Window>,
    /// As it was planned.
    pub(super) is_ramped: bool,
    /// What faults can change, as it was while this one was in effect.
    pub(super) during: Option<Configuration>,
    /// On the emulator: sums just before the start, in the order of the plan's metrics, where they could be read.
    pub(super) sums_before: Vec<Option<f64>>,
    /// Since when these are: what is added later must be of the same minutes and more.
    pub(super) sums_from_ms: u64,
    /// Its number among all of the run, once it was applied.
    pub(super) fault: Option<u64>,
    /// Why it was in effect no more when it was to be put back.
    pub(super) ended_early: Option<String>,
    pub(super) error: Option<String>,
}

impl FaultRun {
    /// The last attempt tells.
    pub(super) fn put_back(&mut self, report: RevertReport) {
        self.released_at_ms = Some(now_ms());
        self.error = report.error.or_else(|| self.ended_early.clone());
    }
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
    /// How long requests are to arrive.
    pub(super) arrivals: Duration,
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
        let from_ms = now_ms();
        // Those of AWS come in whole minutes, of which none is counted that began before the fault.
        let metrics: &[Metric] = if self.cloud.emulated { &planned.metrics } else { &[] };
        let reads =
            metrics.iter().map(|metric| async move { sum_since(self.cloud, metric, from_ms).await.ok() });
        let wait = planned.start.saturating_sub(ON_THE_WAY).saturating_sub(self.began.elapsed());
        let (sums, _) = tokio::join!(sums_before(reads), self.halt.sleep(wait));
        (run.sums_before, run.sums_from_ms) = (sums, from_ms);
        let refusing = usize::from(planned.spec.refuses_clients());
        self.refusing.fetch_add(refusing, Ordering::SeqCst);
        if self.active.fetch_add(1, Ordering::SeqCst) == 0 {
            self.phase(PHASE_FAULT);
        }
        let is_put_back = if self.halt.sleep(ON_THE_WAY).await {
            self.hold(number, planned, &mut run).await
        } else {
            run.error = Some(STOPPED_BEFORE.into());
            false
        };
        let put_back = Instant::now();
        self.ending.fetch_add(1, Ordering::SeqCst);
        let was_last = self.active.fetch_sub(1, Ordering::SeqCst) == 1;
        let lasts = lasts_on(self.cloud.emulated, canary.is_some(), run.engaged_at_ms.is_some());
        if was_last && lasts != Lasts::No {
            self.phase(PHASE_ENDING);
        }
        let mut was_end_seen = false;
        if let Some(canary) = canary {
            let ended = until_well(canary, planned, run.engaged_at_ms, is_put_back, self.halt);
            (run.beats, was_end_seen) = ended.await;
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

    /// Whether it was applied and is put back.
    async fn hold(&self, number: usize, planned: &Planned, run: &mut FaultRun) -> bool {
        let due_ms = now_ms().saturating_sub(millis(self.began.elapsed())) + millis(planned.start);
        let turn = self.guards.turn(planned.lever.clone());
        let (stopped, arrivals_ended) = (self.halt.asked(), self.running.arrivals_ended());
        let is_amid_arrivals = planned.start < self.arrivals;
        let given = window_in_turn(turn, stopped, arrivals_ended, is_amid_arrivals, planned.duration);
        let Given { turn, asked, is_at_once } = match given.await {
            Ok(given) => given,
            Err(error) => {
                run.error = Some(error.into());
                return false;
            }
        };
        (run.asked, run.due_ms) = (Some(asked), is_at_once.then_some(due_ms));
        // Now, since another denial on the setting may have been in effect until now.
        run.denied_before = is_denied_before(self.cloud, &planned.lever).await;
        let name = planned.spec.kind.name();
        self.progress.line(&format!("{name} on {}", planned.spec.target));
        let fault = match self.guards.engage(self.experiment, turn, asked.to_ms).await {
            Ok(fault) => fault,
            Err(error) => {
                let error = crate::fault::chain(&error);
                // The others end in their own order: one that is just being applied could not be put back from here.
                self.halt.ask(&format!("{name} on {} could not be applied: {error}", planned.spec.target));
                run.error = Some(error);
                return false;
            }
        };
        run.fault = Some(fault);
        let engaged = Instant::now();
        run.engaged_at_ms = Some(now_ms());
        self.progress.fault(number, FaultState::Active);
        // For the report alone: what cannot be read is left out, and the fault is neither cut short nor drawn out for it.
        let reading = Box::pin(observe::configuration(self.cloud, self.stack));
        let during = read_by(self.watch(planned, engaged, run), reading).await;
        run.during = during.and_then(Result::ok);
        // What cannot be asked is told by the canaries.
        run.ended_early = planned.lever.ended_early(self.cloud).await.unwrap_or_default();
        run.release_asked_at_ms = Some(now_ms());
        let release = async || self.guards.release(fault).await;
        let nobody_arrives = async {
            tokio::select! {
                () = self.halt.asked() => {}
                () = self.running.arrivals_ended() => {}
            }
        };
        // Of one that is not open any more somebody else was faster.
        let Some(report) = put_back(release, nobody_arrives).await else { return true };
        planned.tell_put_back(self.progress, number, &report);
        let is_put_back = report.error.is_none();
        run.put_back(report);
        is_put_back
    }

    /// Reads the setting while the fault lasts: somebody else may put it back.
    async fn watch(&self, planned: &Planned, engaged: Instant, run: &mut FaultRun) {
        loop {
            let left = planned.duration.saturating_sub(engaged.elapsed());
            if left.is_zero() || !self.halt.sleep(left.min(HOLD_LOOK)).await {
                return;
            }
            // A read that failed says nothing.
            if let Ok(is_engaged) = planned.lever.is_engaged(self.cloud).await {
                run.looks += 1;
                run.held += u64::from(is_engaged);
            }
            run.denied += u64::from(is_denied(self.cloud, &planned.lever).await == Some(true));
        }
    }
}

/// What canaries saw, and whether that was the end. It is not waited for where the fault is not put back, and goes on, or where
/// none was well before it.
async fn until_well(
    canary: Canary,
    planned: &Planned,
    engaged_at_ms: Option<u64>,
    is_put_back: bool,
    halt: &Halt,
) -> (Vec<Beat>, bool) {
    let spec = &planned.spec;
    let before = |beat: &Beat| engaged_at_ms.is_none_or(|at_ms| beat.at_ms < at_ms);
    if !is_put_back || !canary.beats().iter().any(|beat| before(beat) && is_well(spec, beat)) {
        return (canary.finish().await, false);
    }
    let deadline = Instant::now() + WELL_WITHIN;
    let released_at_ms = now_ms();
    let is_waited_for = || Instant::now() < deadline && halt.reason().is_none();
    let has_ended = |beats: &[Beat]| is_over(spec, planned.is_ramped, beats, released_at_ms);
    while !has_ended(&canary.beats()) && is_waited_for() {
        tokio::time::sleep(WELL_LOOK).await;
    }
    let beats = canary.finish().await;
    let was_end_seen = has_ended(&beats);
    (beats, was_end_seen)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::AtomicBool;

    use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
    use aws_sdk_lambda::types::error::TooManyRequestsException;
    use aws_sdk_sqs::error::ErrorMetadata;
    use aws_sdk_sqs::operation::delete_message::DeleteMessageError;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::fault::{Mapping, MappingChange, QueueDeny};
    use crate::mocked;
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

    fn report(error: Option<&str>) -> RevertReport {
        RevertReport {
            fault: 0,
            lever: Lever::Mapping(Mapping { uuid: "uuid".into(), change: MappingChange::Disabled }),
            prior: serde_json::Value::Bool(true),
            error: error.map(str::to_owned),
        }
    }

    /// Whether it was put back in the end, and with how many attempts, where the first few fail.
    async fn tried(failing: u32, nobody_arrives: impl Future<Output = ()>) -> (bool, u32) {
        let mut attempts = 0;
        let release = async || {
            attempts += 1;
            Some(report((attempts <= failing).then_some("refused")))
        };
        let report = put_back(release, nobody_arrives).await.unwrap();
        (report.error.is_none(), attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_put_back_is_tried_again_until_nobody_arrives_any_more() {
        let after = |pauses: u32| tokio::time::sleep(PUT_BACK_AGAIN * pauses + PUT_BACK_AGAIN / 2);
        assert_eq!(tried(0, pending()).await, (true, 1));
        assert_eq!(tried(3, pending()).await, (true, 4));
        assert_eq!(tried(3, after(1)).await, (false, 2));
        assert_eq!(tried(3, ready(())).await, (false, 1));
    }

    #[tokio::test]
    async fn the_time_that_was_asked_for_begins_when_it_is_the_fault_s_turn() {
        let began_ms = now_ms();
        let turn = async {
            // Not at once, whatever the clock says.
            tokio::task::yield_now().await;
            while now_ms() <= began_ms {
                tokio::task::yield_now().await;
            }
            now_ms()
        };
        let duration = Duration::from_secs(7);
        let given = window_in_turn(turn, pending(), pending(), true, duration).await.unwrap();
        let (given_ms, asked) = (given.turn, given.asked);
        assert!(asked.from_ms >= given_ms, "{asked:?}, and the turn was given at {given_ms}");
        assert_eq!((asked.to_ms - asked.from_ms, given.is_at_once), (7_000, false));
        for is_amid_arrivals in [true, false] {
            let of = is_amid_arrivals;
            let stopped = window_in_turn(pending::<()>(), ready(()), ready(()), of, duration).await;
            assert_eq!(stopped, Err(STOPPED_BEFORE));
            let waited = window_in_turn(pending::<()>(), pending(), ready(()), of, duration).await;
            assert_eq!(waited, Err(ENDED_BEFORE), "nobody would meet it");
            let free = window_in_turn(ready(()), pending(), pending(), of, duration).await.unwrap();
            assert!(free.is_at_once, "nothing was in its way");
        }
        let at_once = window_in_turn(ready(()), pending(), ready(()), false, duration).await;
        assert!(at_once.is_ok(), "it was planned for that time");
        let late = window_in_turn(ready(()), pending(), ready(()), true, duration).await;
        assert_eq!(late, Err(ENDED_BEFORE), "it was planned for another time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_metric_that_is_not_read_in_time_delays_no_fault_and_is_not_known() {
        let reads = [1, 600, 600].map(|seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Some(7.0)
        });
        let began = Instant::now();
        assert_eq!(sums_before(reads).await, [Some(7.0), None, None]);
        assert_eq!(began.elapsed(), SUMS_WITHIN);
    }

    #[tokio::test]
    async fn a_call_that_credentials_never_allow_is_known_before_the_denial_of_which_it_would_tell() {
        let lever = Lever::QueueDeny(QueueDeny {
            queue_url: "http://127.0.0.1:9/1/tasks".into(),
            queue_arn: "arn".into(),
            actions: vec!["sqs:DeleteMessage".into()],
            until_ms: 0,
        });
        for (code, is_denied) in [("AccessDenied", true), ("ReceiptHandleIsInvalid", false)] {
            let answer = mock!(aws_sdk_sqs::Client::delete_message)
                .then_error(move || DeleteMessageError::generic(ErrorMetadata::builder().code(code).build()));
            let cloud = Cloud { sqs: mocked::sqs(&[answer]), ..mocked::cloud().await };
            assert_eq!(is_denied_before(&cloud, &lever).await, Some(is_denied), "{code}");
            assert_eq!(is_denied_before(&cloud, &report(None).lever).await, None, "it denies nothing");
        }
    }

    /// Of a function that ran once, and is throttled since.
    async fn canary() -> Canary {
        let was_invoked = AtomicBool::new(false);
        let rules = [
            mock!(aws_sdk_lambda::Client::invoke)
                .match_requests(move |_| !was_invoked.swap(true, Ordering::SeqCst))
                .then_output(|| InvokeOutput::builder().status_code(200).build()),
            mock!(aws_sdk_lambda::Client::invoke).then_error(|| {
                InvokeError::TooManyRequestsException(TooManyRequestsException::builder().build())
            }),
        ];
        let cloud = Cloud { lambda: mocked::lambda(&rules), ..mocked::cloud().await };
        let function =
            Function { name: "f".into(), arn: "arn".into(), role_arn: "arn".into(), timeout_seconds: 1 };
        let canary = Canary::start(cloud, function, empty_event("process-task"));
        while canary.beats().len() < 2 {
            tokio::time::sleep(WELL_LOOK).await;
        }
        canary
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_fault_that_is_not_put_back_is_not_waited_for() {
        let planned = Planned {
            spec: toml::from_str(
                "kind = \"lambda-reserved-concurrency\"\ntarget = \"f\"\nstart = \"0s\"\nduration = \"1s\"\n\
                 concurrency = 0\n",
            )
            .unwrap(),
            lever: report(None).lever,
            function: None,
            metrics: Vec::new(),
            is_ramped: false,
            start: Duration::ZERO,
            duration: Duration::from_secs(1),
        };
        for (is_put_back, waited) in [(true, WELL_WITHIN), (false, Duration::ZERO)] {
            let (canary, began) = (canary().await, Instant::now());
            let (_, was_seen) = until_well(canary, &planned, None, is_put_back, &Halt::default()).await;
            assert_eq!((was_seen, began.elapsed().as_secs()), (false, waited.as_secs()), "{is_put_back}");
        }
    }

    #[test]
    fn the_last_way_back_tells_and_a_fault_that_ended_by_itself_stays_told() {
        let ended_early = Some("the experiment is failed".to_owned());
        let mut run = FaultRun::default();
        run.put_back(report(Some("refused")));
        assert_eq!(run.error.as_deref(), Some("refused"));
        run.put_back(report(None));
        assert_eq!(run.error, None);
        let mut run = FaultRun { ended_early: ended_early.clone(), ..FaultRun::default() };
        run.put_back(report(None));
        assert_eq!(run.error, ended_early);
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
