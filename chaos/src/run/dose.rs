//! Was the fault really in effect, how much of it, and when? "Completed" proves nothing: an experiment of FIS completes on
//! a function that never reads its faults.

use std::collections::HashSet;
use std::str::FromStr;
use std::time::Duration;

use loadtest::{LedgerEntry, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::share::Trials;
use super::timeline::{FaultRun, Planned};
use super::verdict::Check;
use crate::clock::millis;
use crate::cloud::Cloud;
use crate::experiment::{FaultKind, FaultSpec};
use crate::fault::{
    DELAY_PARAMETER, Lever, OnDemandCap, PERCENT_PARAMETER, ProvisionedCapacity, STATUS_PARAMETER,
};
use crate::observe::{Beat, MINUTE_MS, Metric, Pulse, sum_of_minutes, sum_since};
use crate::oracle::{Record, Window, begun_at_ms};
use crate::wait::{Patience, until};

/// Metrics of AWS lag by a minute or two; those of the emulator by nothing worth naming.
const METRIC_PATIENCE_AWS: Duration = Duration::from_secs(180);
const METRIC_PATIENCE_EMULATED: Duration = Duration::from_secs(3);
const METRIC_LOOK: Duration = Duration::from_millis(500);
const HTTP_TOO_MANY_REQUESTS: u16 = 429;
const HTTP_SERVICE_UNAVAILABLE: u16 = 503;
/// Of the problems that the service tells itself; API Gateway's own refusals have no type.
const PROBLEM_PREFIX: &str = "urn:task:problem:";
/// A submission that the queue did not take.
const QUEUE_UNAVAILABLE: &str = "queue-unavailable";
const SUBMITS_BY: &str = "sqs:SendMessage";
/// By their names in the repository.
const TASKS_QUEUE: &str = "tasks";
const WORKER: &str = "process-task";
const PERCENT_DEFAULT: u8 = 100;
/// Fewer canaries say nothing of a share.
const TRIALS_MIN: u64 = 4;
/// Of `aws:lambda:invocation-add-delay` by its id, where its parameters say nothing of it.
const DELAY_DEFAULT_MS: u64 = 1_000;
const DELAY_ACTION: &str = "aws:lambda:invocation-add-delay";
/// FIS takes up to a minute to begin on AWS, and its extension up to 20 s to notice an end; a queue takes up to a minute for
/// either.
const WINDOW_TOLERANCE_AWS: Duration = Duration::from_secs(100);
const WINDOW_TOLERANCE_EMULATED: Duration = Duration::from_secs(5);
/// "Up to 60 seconds": so long an environment that knows of no fault of FIS may go without looking for one.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
/// "Up to 20 seconds": one that knows of a fault looks so often whether it is over.
pub(super) const FORGOTTEN_WITHIN: Duration = Duration::from_secs(20);
/// With a task that was acknowledged so long ago a worker has begun, unless something keeps it from that. What is on its way when
/// the fault is put back is begun late without it.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
/// Of the time that was asked for, so much must have been in it. The tolerance alone would let a short fault begin when it
/// is over.
const IN_EFFECT_PERCENT_MIN: u64 = 50;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dose {
    pub fault: String,
    pub target: String,
    pub asked: String,
    pub measured: String,
    pub evidence: Vec<Proof>,
    /// The strongest single source.
    pub evidence_total: u64,
    pub evidence_min: u64,
    pub sufficient: bool,
    /// Share of invocations that the fault was to meet, of a fault that has one.
    #[serde(default)]
    pub asked_percent: Option<f64>,
    /// Of the canaries from the first that met it, or from when all of its environments must know of it, until it was put back:
    /// ramps are left out.
    #[serde(default)]
    pub measured_percent: Option<f64>,
    pub asked_window: Option<Window>,
    /// As the canaries saw it, or else from the answer of the first call to that of the last.
    pub measured_window: Option<Window>,
    pub error: Option<String>,
    /// From then on it is surely gone; `None` where nobody knows.
    #[serde(skip)]
    pub(super) calm_from_ms: Option<u64>,
    /// What was measured against what was asked.
    #[serde(skip)]
    pub(super) checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    pub source: String,
    pub count: u64,
}

/// The metrics that this kind of fault moves.
pub(super) fn metrics(lever: &Lever, function: Option<&str>) -> Vec<Metric> {
    let lambda = |name| Metric {
        namespace: "AWS/Lambda",
        name,
        dimensions: vec![("FunctionName", function.unwrap_or_default().to_owned())],
    };
    let table = |name, table: &str| Metric {
        namespace: "AWS/DynamoDB",
        name,
        dimensions: vec![("TableName", table.to_owned())],
    };
    match lever {
        Lever::Fis(action) => vec![
            Metric {
                namespace: "aws-fis-extension",
                name: "FaultInjected",
                dimensions: vec![
                    ("FaultId", action.action_id.clone()),
                    ("Invocation", function.unwrap_or_default().to_owned()),
                ],
            },
            lambda("Invocations"),
        ],
        Lever::ReservedConcurrency(_) => vec![lambda("Throttles")],
        Lever::OnDemandCap(OnDemandCap { table: name, .. })
        | Lever::ProvisionedCapacity(ProvisionedCapacity { table: name, .. }) => {
            vec![table("WriteThrottleEvents", name), table("ReadThrottleEvents", name)]
        }
        Lever::Mapping(_)
        | Lever::HttpThrottle(_)
        | Lever::QueueVisibility(_)
        | Lever::QueueDeny(_)
        | Lever::TableDeny(_)
        | Lever::RolePermission(_) => Vec::new(),
    }
}

/// `Invocations` is what a share is of; it proves no fault.
const NO_PROOF: &str = "Invocations";

pub(super) async fn measure(
    cloud: &Cloud,
    planned: &Planned,
    run: &FaultRun,
    ledger: &[LedgerEntry],
    untouched: Option<&Untouched>,
) -> Dose {
    let spec = &planned.spec;
    let sums = match run.engaged_at_ms {
        Some(_) => metric_sums(cloud, planned, run).await,
        None => Vec::new(),
    };
    let measured_window = measured_window(spec, run);
    let mut evidence: Vec<Proof> = canary_proofs(spec, run).into_iter().collect();
    for (metric, sum) in planned.metrics.iter().zip(&sums).filter(|(metric, _)| is_proof(metric)) {
        evidence.push(proof(&format!("{} {}", metric.namespace, metric.name), *sum));
    }
    evidence.extend(ledger_proof(spec, run, measured_window, ledger));
    evidence.extend(untouched.map(Untouched::proof));
    if matches!(spec.kind, FaultKind::QueueDeny | FaultKind::TableDeny) {
        let count = if run.denied_before == Some(false) { run.denied } else { 0 };
        evidence.push(Proof { source: "calls of the harness that were denied".into(), count });
    }
    if proves_by_reading(spec.kind) {
        evidence.push(Proof { source: "setting read while the fault lasted".into(), count: run.held });
    }
    let evidence_total = evidence.iter().map(|proof| proof.count).max().unwrap_or_default();
    Dose {
        fault: spec.kind.name().to_owned(),
        target: spec.target.clone(),
        asked: asked(spec),
        measured: measured(planned, &sums, run, evidence_total),
        sufficient: run.error.is_none() && run.engaged_at_ms.is_some() && evidence_total >= spec.evidence_min,
        evidence,
        evidence_total,
        evidence_min: spec.evidence_min,
        asked_percent: asked_percent(spec),
        measured_percent: trials(spec, run).map(Trials::percent),
        asked_window: asked_window(run),
        measured_window,
        error: run.error.clone(),
        calm_from_ms: calm_from_ms(spec, run, cloud.emulated),
        checks: checks(spec, run, cloud.emulated),
    }
}

fn is_proof(metric: &Metric) -> bool {
    metric.name != NO_PROOF
}

/// Growth since just before the fault, on AWS the minutes that can only be the fault's; waits a bounded time until it proves
/// the fault.
async fn metric_sums(cloud: &Cloud, planned: &Planned, run: &FaultRun) -> Vec<f64> {
    let minutes = own_minutes(run);
    if !cloud.emulated && minutes.is_empty() {
        return vec![0.0; planned.metrics.len()];
    }
    let at_most = if cloud.emulated { METRIC_PATIENCE_EMULATED } else { METRIC_PATIENCE_AWS };
    // Those of AWS come bit by bit; those of the emulator are whole once they are there.
    let proven_from = if cloud.emulated { 1 } else { planned.spec.evidence_min.max(1) };
    let mut sums = vec![0.0; planned.metrics.len()];
    let look = async || {
        for (index, metric) in planned.metrics.iter().enumerate() {
            sums[index] = if cloud.emulated {
                growth(cloud, metric, run, run.sums_before.get(index).copied().flatten()).await
            } else {
                sum_of_minutes(cloud, metric, &minutes).await.unwrap_or_default()
            };
        }
        let mut proofs = planned.metrics.iter().zip(&sums).filter(|(metric, _)| is_proof(metric));
        let is_proven = proofs.any(|(_, sum)| *sum >= proven_from as f64);
        Ok::<_, std::convert::Infallible>((is_proven || planned.metrics.is_empty()).then_some(()))
    };
    let Ok(_) = until(Patience { every: METRIC_LOOK, at_most }, look).await;
    sums
}

/// Where nobody knows what was before, nobody knows of a growth.
async fn growth(cloud: &Cloud, metric: &Metric, run: &FaultRun, before: Option<f64>) -> f64 {
    let Some(before) = before else { return 0.0 };
    // Of the same minutes: only then it has what was before.
    let sum = sum_since(cloud, metric, run.sums_from_ms).await.unwrap_or_default();
    f64::max(sum - before, 0.0)
}

/// The minutes that began while the fault was in effect, and in which no other one moved the metrics that prove it.
fn own_minutes(run: &FaultRun) -> Vec<u64> {
    let (Some(from_ms), Some(to_ms)) = (run.engaged_at_ms, run.release_asked_at_ms) else {
        return Vec::new();
    };
    let minutes = from_ms.div_ceil(MINUTE_MS)..to_ms.div_ceil(MINUTE_MS);
    let minutes = minutes.map(|minute| minute * MINUTE_MS);
    minutes.filter(|at_ms| !is_met(&run.on_metrics, *at_ms, at_ms + MINUTE_MS - 1)).collect()
}

/// As the file has it, unless it had to wait for its turn.
fn asked_window(run: &FaultRun) -> Option<Window> {
    let asked = run.asked?;
    let from_ms = run.due_ms.unwrap_or(asked.from_ms);
    Some(Window { from_ms, to_ms: from_ms + asked.to_ms.saturating_sub(asked.from_ms) })
}

/// As the canaries saw it: from the first that met the fault until it was over.
pub(super) fn measured_window(spec: &FaultSpec, run: &FaultRun) -> Option<Window> {
    let (engaged_at_ms, released_at_ms) = (run.engaged_at_ms?, run.released_at_ms?);
    let mut hits = hits(spec, run);
    let Some(first) = hits.next() else {
        return Some(Window { from_ms: engaged_at_ms.min(released_at_ms), to_ms: released_at_ms });
    };
    let last = hits.next_back().unwrap_or(first);
    // Where its end was not seen, it was in effect as long as canaries met it.
    let to_ms = ended_early_ms(spec, run)
        .or_else(|| end_seen_ms(spec, run.is_ramped, &run.beats, released_at_ms))
        .unwrap_or(released_at_ms.max(last.at_ms));
    Some(Window { from_ms: first.at_ms.clamp(engaged_at_ms.min(to_ms), to_ms), to_ms })
}

/// A setting that reads as before may be in effect for a while. Where canaries met the fault, they must have seen its end.
fn calm_from_ms(spec: &FaultSpec, run: &FaultRun, emulated: bool) -> Option<u64> {
    let released_at_ms = run.released_at_ms?;
    let gone_ms = match hits(spec, run).next() {
        None => released_at_ms,
        Some(_) => end_seen_ms(spec, run.is_ramped, &run.beats, released_at_ms)?,
    };
    Some(gone_ms + millis(window_tolerance(run, emulated)))
}

/// Of a fault that somebody else ended: the first of the canaries that were untouched since the last that met it and before the
/// way back was begun, where they are so many that they refute its share.
fn ended_early_ms(spec: &FaultSpec, run: &FaultRun) -> Option<u64> {
    let (last, release_asked_at_ms) = (hits(spec, run).next_back()?, run.release_asked_at_ms?);
    let is_untouched =
        |beat: &&Beat| beat.at_ms > last.at_ms && beat.at_ms < release_asked_at_ms && is_well(spec, beat);
    let mut untouched = run.beats.iter().filter(is_untouched);
    let first = untouched.next()?;
    let trials = Trials { hit: 0, all: 1 + untouched.count() as u64 };
    trials.can_refute(share(spec)?).then_some(first.at_ms)
}

/// The first of the untouched canaries since the fault was put back and since the last that met it, where they are so many
/// that the fault would have met one of them; and, where it is ramped, so late that no other environment can have it still.
fn end_seen_ms(spec: &FaultSpec, is_ramped: bool, beats: &[Beat], released_at_ms: u64) -> Option<u64> {
    let since = beats.iter().rposition(|beat| is_hit(spec, beat)).map_or(0, |last| last + 1);
    let is_untouched = |beat: &&Beat| beat.at_ms >= released_at_ms && is_well(spec, beat);
    let untouched: Vec<&Beat> = beats.iter().skip(since).filter(is_untouched).collect();
    let (first, last) = (untouched.first()?, untouched.last()?);
    let trials = Trials { hit: 0, all: untouched.len() as u64 };
    let is_told = share(spec).is_none_or(|share| share >= 1.0 || trials.can_refute(share));
    let is_forgotten = !is_ramped || last.at_ms >= released_at_ms + millis(FORGOTTEN_WITHIN);
    (is_told && is_forgotten).then_some(first.at_ms)
}

/// Canaries that met the fault. One that was over before the fault was applied was slow, or failed, for a reason of its own.
fn hits<'a>(spec: &'a FaultSpec, run: &'a FaultRun) -> impl DoubleEndedIterator<Item = &'a Beat> {
    let applied_at_ms = run.asked.map_or(0, |asked| asked.from_ms);
    run.beats.iter().filter(move |beat| beat.at_ms + beat.took_ms >= applied_at_ms && is_hit(spec, beat))
}

/// After the first hit, which is a hit by choice, after the time that environments may take to learn of it, and before the way
/// back was begun: in between the fault has its full strength. `None` where too few are left to speak of a share.
fn trials(spec: &FaultSpec, run: &FaultRun) -> Option<Trials> {
    let first = hits(spec, run).next()?;
    let known_at_ms = run.engaged_at_ms.filter(|_| run.is_ramped).map(|at_ms| at_ms + millis(KNOWN_WITHIN));
    let inside = known_at_ms.unwrap_or_default().max(first.at_ms + 1)..run.release_asked_at_ms?;
    let inside =
        run.beats.iter().filter(|beat| inside.contains(&beat.at_ms) && beat.pulse != Pulse::NoAnswer);
    let trials = inside.fold(Trials { hit: 0, all: 0 }, |trials, beat| Trials {
        hit: trials.hit + u64::from(is_hit(spec, beat)),
        all: trials.all + 1,
    });
    (trials.all >= TRIALS_MIN).then_some(trials)
}

/// Share of invocations that a fault says it meets.
fn asked_percent(spec: &FaultSpec) -> Option<f64> {
    match spec.kind {
        FaultKind::FisInvocationError | FaultKind::FisInvocationDelay | FaultKind::FisHttpResponse => {
            Some(f64::from(spec.percent.unwrap_or(PERCENT_DEFAULT)))
        }
        FaultKind::FisAction => parameter(spec, PERCENT_PARAMETER),
        FaultKind::LambdaReservedConcurrency if spec.concurrency == Some(0) => Some(100.0),
        _ => None,
    }
}

/// As a chance.
fn share(spec: &FaultSpec) -> Option<f64> {
    asked_percent(spec).map(|percent| percent / 100.0)
}

/// The measured share is what the asked one makes likely.
fn percent_check(spec: &FaultSpec, run: &FaultRun) -> Option<Check> {
    let asked = asked_percent(spec)?;
    let name = format!("dose of {}: share", spec.kind.name());
    if was_sick_before(spec, run) {
        return Some(Check::evidence(&name, false, SICK_BEFORE));
    }
    let trials = trials(spec, run);
    let mut check = match trials {
        Some(trials) => trials.check(&name, asked),
        None => Check::evidence(&name, false, "too few canaries met it to speak of a share"),
    };
    let is_too_short = !trials.is_some_and(|trials| trials.can_refute(asked / 100.0));
    // A fault that nobody met would be met by nobody for longer.
    if run.is_ramped && is_too_short && hits(spec, run).next().is_some() {
        check.detail.push_str(&format!(
            "; those of its first {} s do not count, in which one environment after the other learns of it: lengthen its \
             `duration`",
            KNOWN_WITHIN.as_secs()
        ));
    }
    Some(check)
}

/// Tells each run when others were in effect that can do what it is told by: on its function, to clients and tasks, to its
/// metrics. What is seen then may be their doing.
pub(super) fn set_apart(planned: &[Planned], runs: &mut [FaultRun]) {
    let faults = planned.iter().zip(runs.iter());
    let faults: Vec<(&Planned, Option<Window>)> =
        faults.map(|(planned, run)| (planned, in_effect(&planned.spec, run))).collect();
    for (number, (run, planned)) in runs.iter_mut().zip(planned).enumerate() {
        let windows = |is_alike: &dyn Fn(&Planned) -> bool| -> Vec<Window> {
            let others = faults.iter().enumerate().filter(|(other, _)| *other != number);
            others.filter(|(_, (other, _))| is_alike(other)).filter_map(|(_, (_, window))| *window).collect()
        };
        let name = function_name(planned);
        run.others = windows(&|other| name.is_some() && function_name(other) == name);
        let sign = sign(&planned.spec);
        run.alike = windows(&|other| sign.is_some_and(|sign| may_show(&other.spec, sign)));
        let proofs: Vec<&Metric> = planned.metrics.iter().filter(|metric| is_proof(metric)).collect();
        run.on_metrics = windows(&|other| other.metrics.iter().any(|metric| proofs.contains(&metric)));
    }
}

/// Whether one of the windows meets this time.
fn is_met(windows: &[Window], from_ms: u64, to_ms: u64) -> bool {
    windows.iter().any(|window| from_ms <= window.to_ms && to_ms >= window.from_ms)
}

fn function_name(planned: &Planned) -> Option<&str> {
    planned.function.as_ref().map(|function| function.name.as_str())
}

/// From when it was asked for until no environment can have it any more.
fn in_effect(spec: &FaultSpec, run: &FaultRun) -> Option<Window> {
    let (asked, measured) = (run.asked?, measured_window(spec, run)?);
    let forgotten_within = if run.is_ramped { FORGOTTEN_WITHIN } else { Duration::ZERO };
    Some(Window { from_ms: asked.from_ms, to_ms: measured.to_ms + millis(forgotten_within) })
}

/// Canaries that no other fault can have met.
fn apart(run: &FaultRun) -> impl Iterator<Item = &Beat> {
    run.beats.iter().filter(move |beat| !is_met(&run.others, beat.at_ms, beat.at_ms + beat.took_ms))
}

/// It began and ended about when it was asked to, and was in effect for most of the time in between.
fn window_check(spec: &FaultSpec, run: &FaultRun, tolerance: Duration) -> Option<Check> {
    let (asked, measured) = (asked_window(run)?, measured_window(spec, run)?);
    let name = format!("dose of {}: window", spec.kind.name());
    // FIS has started; whether the function ever learnt of it, only canaries can tell.
    if spec.fis_action_id().is_some() && hits(spec, run).next().is_none() {
        return Some(Check::evidence(&name, false, "no canary met it"));
    }
    if was_sick_before(spec, run) {
        return Some(Check::evidence(&name, false, SICK_BEFORE));
    }
    // Of an experiment of FIS a read tells only that its template is there.
    if spec.fis_action_id().is_none() && run.held * 2 < run.looks {
        let detail = format!("its setting read as changed at {} of {} looks", run.held, run.looks);
        return Some(Check::evidence(&name, false, detail));
    }
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let off_ms = asked.from_ms.abs_diff(measured.from_ms).max(asked.to_ms.abs_diff(measured.to_ms));
    let asked_ms = asked.to_ms.saturating_sub(asked.from_ms);
    let in_effect_ms = asked.to_ms.min(measured.to_ms).saturating_sub(asked.from_ms.max(measured.from_ms));
    let is_in_time = seconds(off_ms) <= tolerance.as_secs_f64();
    let is_long = in_effect_ms * 100 >= asked_ms * IN_EFFECT_PERCENT_MIN;
    let detail = format!(
        "its start or end is {:.1} s off what was asked, at most {} s; in effect for {:.1} of the {:.1} s asked, \
         at least {IN_EFFECT_PERCENT_MIN} %",
        seconds(off_ms),
        tolerance.as_secs_f64(),
        seconds(in_effect_ms),
        seconds(asked_ms)
    );
    Some(Check::evidence(&name, is_in_time && is_long, detail))
}

/// What was measured against what was asked: without the dose nothing is told about the service.
fn checks(spec: &FaultSpec, run: &FaultRun, emulated: bool) -> Vec<Check> {
    let window = window_check(spec, run, window_tolerance(run, emulated));
    percent_check(spec, run).into_iter().chain(window).collect()
}

fn window_tolerance(run: &FaultRun, emulated: bool) -> Duration {
    if emulated && !run.is_ramped { WINDOW_TOLERANCE_EMULATED } else { WINDOW_TOLERANCE_AWS }
}

const SICK_BEFORE: &str =
    "a canary failed as by the fault before that began: what the others tell may be no doing of it";

/// Whether a canary that was over before the fault was applied, and that no other one can have met, failed, or was answered, as
/// by the fault. That one was as slow tells nothing: so may be the first start of an environment.
fn was_sick_before(spec: &FaultSpec, run: &FaultRun) -> bool {
    let is_before = |beat: &&Beat| run.asked.is_some_and(|asked| beat.at_ms + beat.took_ms < asked.from_ms);
    let is_slow = |beat: &Beat| beat.pulse == Pulse::Healthy && !is_replaced(spec, beat);
    apart(run).filter(is_before).any(|beat| is_hit(spec, beat) && !is_slow(beat))
}

fn is_replaced(spec: &FaultSpec, beat: &Beat) -> bool {
    beat.status.is_some() && beat.status == status_code(spec)
}

/// Whether this invocation met what the fault does.
fn is_hit(spec: &FaultSpec, beat: &Beat) -> bool {
    let is_delayed = || delay_ms(spec).is_some_and(|delay_ms| beat.took_ms >= delay_ms);
    match (spec.kind, beat.pulse) {
        (_, Pulse::NoAnswer) => false,
        // Above the function's timeout the delay ends in an error.
        (FaultKind::FisInvocationDelay, Pulse::FunctionError) => true,
        (FaultKind::FisInvocationDelay, _) => is_delayed(),
        (FaultKind::FisHttpResponse, _) => is_replaced(spec, beat),
        (FaultKind::FisInvocationError, pulse) => pulse == Pulse::FunctionError,
        (FaultKind::FisAction, pulse) => pulse != Pulse::Healthy || is_delayed() || is_replaced(spec, beat),
        (FaultKind::LambdaReservedConcurrency, pulse) => pulse == Pulse::Throttled,
        (_, pulse) => pulse != Pulse::Healthy,
    }
}

/// Untouched by the fault. A delayed or replaced answer is a healthy one, and not untouched.
pub(super) fn is_well(spec: &FaultSpec, beat: &Beat) -> bool {
    beat.pulse == Pulse::Healthy && !is_hit(spec, beat)
}

/// Whether canaries that began after the fault was put back tell that it is over.
pub(super) fn is_over(spec: &FaultSpec, is_ramped: bool, beats: &[Beat], released_at_ms: u64) -> bool {
    end_seen_ms(spec, is_ramped, beats, released_at_ms).is_some()
}

fn delay_ms(spec: &FaultSpec) -> Option<u64> {
    let by_default = || (spec.fis_action_id() == Some(DELAY_ACTION)).then_some(DELAY_DEFAULT_MS);
    spec.delay_ms.map(u64::from).or_else(|| parameter(spec, DELAY_PARAMETER)).or_else(by_default)
}

fn status_code(spec: &FaultSpec) -> Option<u16> {
    spec.status_code.or_else(|| parameter(spec, STATUS_PARAMETER))
}

/// Of an action that is asked for by its id.
fn parameter<T: FromStr>(spec: &FaultSpec, name: &str) -> Option<T> {
    spec.parameters.get(name)?.parse().ok()
}

fn canary_proofs(spec: &FaultSpec, run: &FaultRun) -> Option<Proof> {
    if run.beats.is_empty() {
        return None;
    }
    let engaged_at_ms = run.engaged_at_ms.unwrap_or(u64::MAX);
    // A canary that was hit before the fault proves nothing about it, nor does one that another fault may have met.
    let hit_before = apart(run).any(|beat| beat.at_ms < engaged_at_ms && is_hit(spec, beat));
    let (hit, _) = canaries(spec, run, apart(run));
    Some(Proof { source: "canary invocations".into(), count: if hit_before { 0 } else { hit } })
}

/// Of these canaries while the fault was in effect: how many met it, and how many there were.
fn canaries<'a>(spec: &FaultSpec, run: &FaultRun, beats: impl IntoIterator<Item = &'a Beat>) -> (u64, u64) {
    let (Some(from_ms), Some(to_ms)) = (run.engaged_at_ms, run.released_at_ms) else { return (0, 0) };
    let during = beats.into_iter().filter(|beat| (from_ms..to_ms).contains(&beat.at_ms));
    during.fold((0, 0), |(hit, all), beat| (hit + u64::from(is_hit(spec, beat)), all + 1))
}

/// Acknowledged while workers could take nothing, and begun by none before they could again: counted as the table is read.
#[derive(Debug)]
pub(super) struct Untouched {
    /// Acknowledged in that time, and long enough before its end to have been begun in it.
    tasks: HashSet<String>,
    until_ms: u64,
    count: u64,
}

impl Untouched {
    /// `None` of a fault that leaves workers their messages.
    pub(super) fn of(spec: &FaultSpec, run: &FaultRun, ledger: &[LedgerEntry]) -> Option<Self> {
        if sign(spec) != Some(Sign::Untouched) {
            return None;
        }
        let until_ms = run.release_asked_at_ms.unwrap_or_default();
        let during = run.engaged_at_ms.unwrap_or(u64::MAX)..until_ms.saturating_sub(millis(TAKEN_WITHIN));
        // Where another fault keeps workers from a task when one would take it, this one is not what is seen.
        let is_own = |at_ms: u64| !is_met(&run.alike, at_ms, at_ms + millis(TAKEN_WITHIN));
        let during = |entry: &&LedgerEntry| {
            entry.answered_at_ms.is_some_and(|at_ms| during.contains(&at_ms) && is_own(at_ms))
        };
        let tasks = ledger.iter().filter(during).filter_map(LedgerEntry::task_id).map(str::to_owned);
        Some(Self { tasks: tasks.collect(), until_ms, count: 0 })
    }

    pub(super) fn see(&mut self, record: &Record) {
        let is_untouched = self.tasks.contains(&record.task_id)
            && begun_at_ms(record).is_some_and(|at_ms| at_ms >= self.until_ms);
        self.count += u64::from(is_untouched);
    }

    fn proof(&self) -> Proof {
        Proof { source: "tasks that nobody took while the fault lasted".into(), count: self.count }
    }
}

/// What clients, or the tasks, show of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Told by API Gateway: what the service itself refuses has a type.
    TooManyRequests,
    /// Submissions that the queue did not take.
    QueueUnavailable,
    /// Tasks that no worker took.
    Untouched,
}

/// By which a fault is proven, where it is by one. Nothing of the sort is ever seen of a table: submissions are accepted without
/// it.
fn sign(spec: &FaultSpec) -> Option<Sign> {
    match spec.kind {
        FaultKind::HttpThrottle => Some(Sign::TooManyRequests),
        FaultKind::QueueDeny => {
            let denies_sends = spec.actions.is_empty() || spec.actions.iter().any(|one| one == SUBMITS_BY);
            (denies_sends && spec.target == TASKS_QUEUE).then_some(Sign::QueueUnavailable)
        }
        FaultKind::RolePermission if spec.target == WORKER => Some(Sign::Untouched),
        FaultKind::RolePermission => Some(Sign::QueueUnavailable),
        FaultKind::MappingDisabled => Some(Sign::Untouched),
        _ => None,
    }
}

/// Whether a fault can do that, be it proven by it or not.
fn may_show(spec: &FaultSpec, sign: Sign) -> bool {
    match sign {
        Sign::TooManyRequests => {
            spec.kind == FaultKind::HttpThrottle || status_code(spec) == Some(HTTP_TOO_MANY_REQUESTS)
        }
        Sign::QueueUnavailable => self::sign(spec) == Some(sign),
        Sign::Untouched => match spec.kind {
            FaultKind::HttpThrottle | FaultKind::QueueVisibilityTimeout => false,
            FaultKind::FisInvocationError
            | FaultKind::FisInvocationDelay
            | FaultKind::FisHttpResponse
            | FaultKind::FisAction
            | FaultKind::LambdaReservedConcurrency
            | FaultKind::RolePermission => spec.target == WORKER,
            FaultKind::MappingDisabled
            | FaultKind::MappingMaximumConcurrency
            | FaultKind::TableOnDemandCap
            | FaultKind::TableProvisionedCapacity
            | FaultKind::QueueDeny
            | FaultKind::TableDeny => true,
        },
    }
}

fn ledger_proof(
    spec: &FaultSpec,
    run: &FaultRun,
    window: Option<Window>,
    ledger: &[LedgerEntry],
) -> Option<Proof> {
    let (window, sign) = (window?, sign(spec)?);
    let source = match sign {
        Sign::TooManyRequests => "clients answered 429 by API Gateway",
        Sign::QueueUnavailable => "clients answered 503 queue-unavailable",
        // Of these the records tell.
        Sign::Untouched => return None,
    };
    let is_inside = |entry: &&LedgerEntry| {
        let Some(at_ms) = entry.answered_at_ms else { return false };
        let is_other_s = is_met(&run.alike, entry.sent_at_ms.unwrap_or(at_ms), at_ms);
        (window.from_ms..=window.to_ms).contains(&at_ms) && !is_other_s
    };
    let count = ledger.iter().filter(is_inside).filter(|entry| shows(entry, sign)).count();
    Some(Proof { source: source.into(), count: count as u64 })
}

fn shows(entry: &LedgerEntry, sign: Sign) -> bool {
    let Outcome::Refused { status, problem_type } = &entry.outcome else { return false };
    let problem = problem_type.as_deref().and_then(|problem| problem.strip_prefix(PROBLEM_PREFIX));
    match sign {
        Sign::TooManyRequests => *status == HTTP_TOO_MANY_REQUESTS && problem.is_none(),
        Sign::QueueUnavailable => *status == HTTP_SERVICE_UNAVAILABLE && problem == Some(QUEUE_UNAVAILABLE),
        Sign::Untouched => false,
    }
}

/// Kinds for which the setting itself is all that can be seen from outside.
fn proves_by_reading(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::MappingMaximumConcurrency | FaultKind::QueueVisibilityTimeout)
}

fn asked(spec: &FaultSpec) -> String {
    let mut parts = vec![format!("{} from {}", spec.duration, spec.start)];
    let mut add =
        |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name} {value}")));
    add("percent", spec.percent.map(|percent| percent.to_string()));
    add("prevent_execution", spec.prevent_execution.map(|prevent| prevent.to_string()));
    add("delay_ms", spec.delay_ms.map(|delay| delay.to_string()));
    add("action_id", spec.action_id.clone());
    add("status_code", spec.status_code.map(|status| status.to_string()));
    add("concurrency", spec.concurrency.map(|concurrency| concurrency.to_string()));
    add("rate_per_second", spec.rate_per_second.map(|rate| rate.to_string()));
    add("burst", spec.burst.map(|burst| burst.to_string()));
    add("route", spec.route.clone());
    add("read_units", spec.read_units.map(|units| units.to_string()));
    add("write_units", spec.write_units.map(|units| units.to_string()));
    add("visibility_timeout", spec.visibility_timeout.map(|timeout| timeout.to_string()));
    parts.join(", ")
}

fn measured(planned: &Planned, sums: &[f64], run: &FaultRun, total: u64) -> String {
    let sum = |name: &str| {
        let at = planned.metrics.iter().position(|metric| metric.name == name);
        at.and_then(|at| sums.get(at)).copied().unwrap_or_default()
    };
    let (hit, all) = canaries(&planned.spec, run, &run.beats);
    let percent = |part: f64, whole: f64| if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
    match planned.lever {
        Lever::Fis(_) => {
            let (injected, invocations) = (sum("FaultInjected"), sum(NO_PROOF));
            format!(
                "{injected:.0} of {invocations:.0} invocations since its start ({:.0} %), {hit} of {all} canaries ({:.0} %)",
                percent(injected, invocations),
                percent(hit as f64, all as f64)
            )
        }
        Lever::ReservedConcurrency(_) => {
            format!("{:.0} throttles, {hit} of {all} canaries refused", sum("Throttles"))
        }
        _ => format!("{total} pieces of evidence{}", control_note(run)),
    }
}

/// Why denied calls of the harness are no evidence.
fn control_note(run: &FaultRun) -> &'static str {
    match run.denied_before {
        Some(true) => "; calls of the harness were denied before it began, and tell nothing of it",
        None if run.denied > 0 => {
            "; no call of the harness was answered before it began: denied ones tell nothing of it"
        }
        Some(false) | None => "",
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of events, clamped at 0"
)]
fn proof(source: &str, sum: f64) -> Proof {
    Proof { source: source.to_owned(), count: sum.max(0.0).round() as u64 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
    use aws_sdk_cloudwatch::primitives::DateTime;
    use aws_sdk_cloudwatch::types::MetricDataResult;
    use aws_smithy_mocks::{Rule, mock};
    use loadtest::stack::Function;

    use super::*;
    use crate::experiment::{files_of, load};
    use crate::fault::{FisAction, QueueDeny};
    use crate::mocked;
    use crate::run::verdict::Outcome as Held;

    const ENGAGED_MS: u64 = 10_000;
    const RELEASED_MS: u64 = 20_000;
    const BEAT_MS: u64 = 250;
    /// From a second before to a second after the fault.
    const BEATS: u64 = (RELEASED_MS - ENGAGED_MS + 2_000) / BEAT_MS;

    fn spec(kind: &str, rest: &str) -> FaultSpec {
        let text = format!("kind = \"{kind}\"\ntarget = \"f\"\nstart = \"0s\"\nduration = \"10s\"\n{rest}");
        toml::from_str(&text).unwrap()
    }

    fn errors(percent: u8) -> FaultSpec {
        spec("fis-invocation-error", &format!("percent = {percent}\nprevent_execution = true"))
    }

    /// A canary every quarter of a second from a second before to a second after the fault; `met` says which meet it.
    fn run(met: impl Fn(u64) -> bool) -> FaultRun {
        let beat = |at_ms| Beat {
            at_ms,
            took_ms: 5,
            pulse: if met(at_ms) { Pulse::FunctionError } else { Pulse::Healthy },
            status: None,
        };
        let moments = (0..BEATS).map(|number| ENGAGED_MS - 1_000 + number * BEAT_MS);
        FaultRun {
            asked: Some(Window { from_ms: ENGAGED_MS, to_ms: RELEASED_MS }),
            engaged_at_ms: Some(ENGAGED_MS),
            release_asked_at_ms: Some(RELEASED_MS),
            released_at_ms: Some(RELEASED_MS),
            beats: moments.map(beat).collect(),
            ..FaultRun::default()
        }
    }

    fn outcomes(spec: &FaultSpec, run: &FaultRun) -> Vec<Held> {
        checks(spec, run, true).into_iter().map(|check| check.outcome).collect()
    }

    fn outcomes_on_aws(spec: &FaultSpec, run: &FaultRun) -> Vec<Held> {
        checks(spec, run, false).into_iter().map(|check| check.outcome).collect()
    }

    fn inside(at_ms: u64) -> bool {
        (ENGAGED_MS..RELEASED_MS).contains(&at_ms)
    }

    #[test]
    fn a_fault_that_meets_what_was_asked_is_a_full_dose() {
        let run = run(inside);
        assert_eq!(outcomes(&errors(100), &run), [Held::Held, Held::Held]);
        assert_eq!(trials(&errors(100), &run).unwrap().percent(), 100.0);
        let window = measured_window(&errors(100), &run).unwrap();
        assert_eq!((window.from_ms, window.to_ms), (ENGAGED_MS, RELEASED_MS));
    }

    #[test]
    fn a_fault_that_meets_far_less_than_asked_proves_nothing() {
        let every = |nth: u64| move |at_ms: u64| inside(at_ms) && (at_ms / BEAT_MS).is_multiple_of(nth);
        assert_eq!(outcomes(&errors(50), &run(every(2)))[0], Held::Held);
        assert_eq!(outcomes(&errors(50), &run(every(12)))[0], Held::Unknown);
        assert_eq!(outcomes(&errors(100), &run(every(2)))[0], Held::Unknown);
        assert_eq!(
            outcomes(&errors(10), &run(inside))[0],
            Held::Unknown,
            "more than asked is not what was asked"
        );
        assert_eq!(outcomes(&errors(100), &run(|_| false))[0], Held::Unknown);
    }

    #[test]
    fn ramps_are_no_part_of_the_share() {
        let late = run(|at_ms| (ENGAGED_MS + 4_000..RELEASED_MS).contains(&at_ms));
        assert_eq!(outcomes(&errors(100), &late), [Held::Held, Held::Held]);
        assert_eq!(measured_window(&errors(100), &late).unwrap().from_ms, ENGAGED_MS + 4_000);
    }

    #[test]
    fn a_fault_that_ended_by_itself_ends_with_its_last_hit_where_what_was_spared_since_refutes_its_share() {
        let early = |at_ms: u64| (ENGAGED_MS..ENGAGED_MS + 4_000).contains(&at_ms);
        let run_100 = run(early);
        assert_eq!(measured_window(&errors(100), &run_100).unwrap().to_ms, ENGAGED_MS + 4_000);
        assert_eq!(outcomes_on_aws(&errors(100), &run_100), [Held::Unknown, Held::Unknown]);
        let by_id = spec(
            "fis-action",
            "action_id = \"aws:lambda:invocation-error\"\nparameters = { invocationPercentage = \"100\" }",
        );
        assert_eq!(
            outcomes_on_aws(&by_id, &run_100),
            [Held::Unknown, Held::Unknown],
            "as its parameters say"
        );
        let run_50 = run(|at_ms| early(at_ms) && (at_ms / BEAT_MS).is_multiple_of(2));
        assert_eq!(measured_window(&errors(50), &run_50).unwrap().to_ms, ENGAGED_MS + 3_750);
        // So many in a row may be spared of a small share.
        assert_eq!(measured_window(&errors(10), &run_50).unwrap().to_ms, RELEASED_MS);
        // One at the edge may be spared of all.
        let edge = run(|at_ms| inside(at_ms) && at_ms != RELEASED_MS - BEAT_MS);
        assert_eq!(measured_window(&errors(100), &edge).unwrap().to_ms, RELEASED_MS);
        assert_eq!(calm_from_ms(&errors(100), &run_100, true), Some(RELEASED_MS + 5_000), "it is put back");
    }

    #[test]
    fn a_function_that_failed_before_its_fault_proves_nothing_of_it() {
        let sick = run(|at_ms| inside(at_ms) || at_ms == ENGAGED_MS - 1_000);
        assert_eq!(outcomes(&errors(100), &sick), [Held::Unknown, Held::Unknown]);
        assert_eq!(outcomes(&errors(100), &run(inside)), [Held::Held, Held::Held]);
    }

    /// The second of two faults, on functions of these names. Its canaries met something since they began, and the first was put
    /// back then.
    fn second_of_two(functions: [&str; 2], is_ramped: bool, first_released_ms: u64) -> FaultRun {
        let first = FaultRun {
            asked: Some(Window { from_ms: 1_000, to_ms: first_released_ms }),
            engaged_at_ms: Some(1_000),
            release_asked_at_ms: Some(first_released_ms),
            released_at_ms: Some(first_released_ms),
            is_ramped,
            ..FaultRun::default()
        };
        let planned = functions.map(|name| {
            let (name, arn) = (name.to_owned(), String::from("arn"));
            let function = Function { name, role_arn: arn.clone(), arn, timeout_seconds: 1 };
            Planned { function: Some(function), ..planned(1) }
        });
        let mut runs = [first, run(|at_ms| at_ms < RELEASED_MS)];
        set_apart(&planned, &mut runs);
        let [_, second] = runs;
        second
    }

    #[test]
    fn what_met_another_fault_on_the_function_does_not_make_it_sick_and_proves_nothing() {
        let (same, other) = (["f", "f"], ["g", "f"]);
        let long_before_ms = ENGAGED_MS - 2_000;
        for (functions, is_ramped, first_released_ms, held, proofs) in [
            (same, false, ENGAGED_MS - 1, Held::Held, 40),
            (same, false, ENGAGED_MS + 2_000, Held::Held, 31),
            (same, false, long_before_ms, Held::Unknown, 0),
            // Some environment may have it for 20 s more.
            (same, true, long_before_ms, Held::Held, 0),
            (other, false, ENGAGED_MS - 1, Held::Unknown, 0),
        ] {
            let second = second_of_two(functions, is_ramped, first_released_ms);
            let told = format!("{functions:?} {is_ramped} {first_released_ms}");
            assert_eq!(outcomes(&errors(100), &second), [held, held], "{told}");
            assert_eq!(canary_proofs(&errors(100), &second).unwrap().count, proofs, "{told}");
        }
    }

    #[test]
    fn a_setting_that_somebody_put_back_is_no_fault_any_more() {
        let read = |held, looks| FaultRun { held, looks, ..run(|_| false) };
        let disabled = spec("mapping-disabled", "");
        for (held, looks, expected) in [(0, 0, Held::Held), (5, 10, Held::Held), (4, 10, Held::Unknown)] {
            assert_eq!(outcomes(&disabled, &read(held, looks)), [expected], "{held} of {looks}");
        }
        assert_eq!(outcomes(&errors(100), &FaultRun { looks: 10, ..run(inside) }), [Held::Held, Held::Held]);
    }

    /// A task that was acknowledged then, and the record of it, which a worker began with then.
    fn task(answered_at_ms: u64, begun_at_ms: u64) -> (LedgerEntry, Record) {
        let task_id = "0193e0a4-7c1e-5b6f-8a9d-00000000000a";
        let entry = serde_json::json!({
            "sequence": 0, "owner": "o", "idempotency_key": "k", "kind": "digest", "expectation": "succeeds",
            "phase": "fault", "intended_at_ms": answered_at_ms, "sent_at_ms": answered_at_ms,
            "answered_at_ms": answered_at_ms, "outcome": {"answer": "acknowledged", "task_id": task_id}, "sends": 1,
            "duplicate": null, "pushes": [], "final_state": null, "result_ok": null,
        });
        let record = serde_json::json!({
            "task_id": task_id, "owner": "o", "kind": "digest", "payload": null, "status": "running", "version": 2,
            "attempts": 1, "deliveries": 1, "completions": 0, "created_at_ms": answered_at_ms,
            "updated_at_ms": begun_at_ms, "request_hash": "",
            "history": [format!("1 queued {answered_at_ms}"), format!("2 running {begun_at_ms}")],
        });
        (serde_json::from_value(entry).unwrap(), serde_json::from_value(record).unwrap())
    }

    #[test]
    fn what_is_on_its_way_when_workers_are_let_go_on_was_not_kept_from_them() {
        let count = |answered_at_ms, begun_at_ms| {
            let (entry, record) = task(answered_at_ms, begun_at_ms);
            let disabled = spec("mapping-disabled", "");
            let mut untouched = Untouched::of(&disabled, &run(|_| false), &[entry]).unwrap();
            untouched.see(&record);
            untouched.proof().count
        };
        let (margin_ms, began_ms) = (millis(TAKEN_WITHIN), RELEASED_MS + 10);
        assert_eq!(count(RELEASED_MS - margin_ms - 1, began_ms), 1);
        assert_eq!(count(RELEASED_MS - margin_ms, began_ms), 0, "it would have been begun as late without");
        assert_eq!(count(ENGAGED_MS, RELEASED_MS - 1), 0, "a worker had it");
        assert_eq!(count(ENGAGED_MS - 1, began_ms), 0, "it was there before");
    }

    /// A submission that was refused so, in the middle of the fault.
    fn refused(status: u16, problem_type: Option<&str>) -> LedgerEntry {
        let (mut entry, _) = task(ENGAGED_MS + 5_000, ENGAGED_MS + 5_000);
        entry.outcome = Outcome::Refused { status, problem_type: problem_type.map(str::to_owned) };
        entry
    }

    /// How many of all refusals prove the fault, while others like it were in effect.
    fn proven_by(spec: &FaultSpec, alike: &[Window]) -> Option<u64> {
        let run = FaultRun { alike: alike.to_vec(), ..run(|_| false) };
        let ledger = [
            refused(429, None),
            refused(429, Some("urn:task:problem:too-many-in-flight")),
            refused(503, Some("urn:task:problem:queue-unavailable")),
            refused(503, None),
            refused(400, Some("urn:task:problem:invalid-request")),
        ];
        ledger_proof(spec, &run, measured_window(spec, &run), &ledger).map(|proof| proof.count)
    }

    fn on(kind: &str, target: &str, rest: &str) -> FaultSpec {
        FaultSpec { target: target.into(), ..spec(kind, rest) }
    }

    #[test]
    fn a_refusal_proves_only_the_fault_that_refuses_so() {
        let lacks = "actions = [\"dynamodb:UpdateItem\", \"sqs:SendMessage\"]";
        let throttle = on("http-throttle", "http-api", "rate_per_second = 5\nburst = 5");
        for (spec, proofs) in [
            (throttle.clone(), Some(1)),
            (on("role-permission", "submit-task", lacks), Some(1)),
            (on("role-permission", "process-task", lacks), None),
            (on("queue-deny", "tasks", ""), Some(1)),
            (on("queue-deny", "tasks", "actions = [\"sqs:DeleteMessage\"]"), None),
            (on("queue-deny", "tasks-dlq", ""), None),
            (on("table-deny", "tasks", ""), None),
        ] {
            assert_eq!(proven_by(&spec, &[]), proofs, "{spec:?}");
        }
        let other = Window { from_ms: ENGAGED_MS + 4_000, to_ms: ENGAGED_MS + 6_000 };
        assert_eq!(proven_by(&throttle, &[other]), Some(0), "it may be the other one's");
        let earlier = Window { from_ms: ENGAGED_MS, to_ms: ENGAGED_MS + 4_000 };
        assert_eq!(proven_by(&throttle, &[earlier]), Some(1));
    }

    #[test]
    fn a_role_of_the_worker_is_proven_by_tasks_that_nobody_took_and_that_no_other_fault_kept_from_it() {
        let lacks = "actions = [\"dynamodb:UpdateItem\", \"sqs:SendMessage\"]";
        let count = |target: &str, alike: Vec<Window>| {
            let (entry, record) = task(ENGAGED_MS + 1_000, RELEASED_MS + 10);
            let run = FaultRun { alike, ..run(|_| false) };
            let mut untouched = Untouched::of(&on("role-permission", target, lacks), &run, &[entry])?;
            untouched.see(&record);
            Some(untouched.proof().count)
        };
        assert_eq!(count("submit-task", Vec::new()), None);
        assert_eq!(count("process-task", Vec::new()), Some(1));
        let window = |from_ms, to_ms| vec![Window { from_ms, to_ms }];
        assert_eq!(count("process-task", window(ENGAGED_MS, ENGAGED_MS + 1_000)), Some(0));
        assert_eq!(count("process-task", window(ENGAGED_MS + 2_000, RELEASED_MS)), Some(0));
        let later = window(ENGAGED_MS + 1_000 + millis(TAKEN_WITHIN) + 1, RELEASED_MS);
        assert_eq!(count("process-task", later), Some(1), "a worker would have taken it before");
    }

    #[test]
    fn faults_that_can_be_taken_for_each_other_are_told_of_each_other() {
        let lacks = "actions = [\"sqs:SendMessage\"]";
        let throttle = on("http-throttle", "http-api", "rate_per_second = 5\nburst = 5");
        let replaced = on("fis-http-response", "submit-task", "prevent_execution = true\nstatus_code = 429");
        let plan = |spec| Planned { spec, metrics: Vec::new(), ..planned(1) };
        for (first, second, is_told) in [
            (throttle.clone(), replaced.clone(), [true, false]),
            (throttle.clone(), throttle, [true, true]),
            (on("queue-deny", "tasks", ""), on("role-permission", "submit-task", lacks), [true, true]),
            (on("mapping-disabled", "process-task", ""), on("table-deny", "tasks", ""), [true, false]),
            (on("mapping-disabled", "process-task", ""), replaced, [false, false]),
        ] {
            let told = format!("{first:?} and {second:?}");
            let (planned, mut runs) = ([plan(first), plan(second)], [run(|_| false), run(|_| false)]);
            set_apart(&planned, &mut runs);
            assert_eq!([0, 1].map(|number: usize| !runs[number].alike.is_empty()), is_told, "{told}");
        }
        let mut runs = [run(|_| false), run(|_| false)];
        set_apart(&[planned(1), planned(1)], &mut runs);
        assert!(runs.iter().all(|run| run.on_metrics.len() == 1), "of one action on one function");
    }

    #[tokio::test]
    async fn a_denied_call_proves_a_denial_only_where_it_was_allowed_before() {
        let cloud = mocked::cloud().await;
        for (denied_before, proofs) in [(Some(false), 5), (Some(true), 0), (None, 0)] {
            let spec = on("queue-deny", "tasks", "actions = [\"sqs:DeleteMessage\"]");
            let planned = Planned { spec, lever: queue_deny(), metrics: Vec::new(), ..planned(1) };
            let run = FaultRun { denied: 5, denied_before, ..run(|_| false) };
            let dose = measure(&cloud, &planned, &run, &[], None).await;
            assert_eq!((dose.evidence_total, dose.sufficient), (proofs, proofs > 0), "{denied_before:?}");
            assert_eq!(dose.measured.ends_with("of it"), proofs == 0, "{}", dose.measured);
        }
    }

    fn queue_deny() -> Lever {
        Lever::QueueDeny(QueueDeny {
            queue_url: "url".into(),
            queue_arn: "arn".into(),
            actions: Vec::new(),
            until_ms: 0,
        })
    }

    #[test]
    fn a_fault_that_begins_late_against_its_file_proves_nothing_unless_it_had_to_wait() {
        let disabled = spec("mapping-disabled", "");
        for (late_ms, held) in [(0, Held::Held), (4_000, Held::Held), (6_000, Held::Unknown)] {
            let late = FaultRun { due_ms: Some(ENGAGED_MS - late_ms), ..run(|_| false) };
            assert_eq!(outcomes(&disabled, &late), [held], "{late_ms} ms late");
            assert_eq!(outcomes_on_aws(&disabled, &late), [held], "{late_ms} ms late of 10 s");
        }
        assert_eq!(outcomes(&disabled, &run(|_| false)), [Held::Held]);
    }

    /// Of two environments by turns, the second of which learns of the fault, and forgets it, so much later than the first.
    fn ramped(lasts_ms: u64, learns_ms: u64, forgets_ms: u64) -> FaultRun {
        let released_ms = ENGAGED_MS + lasts_ms;
        let beat = |number: u64| {
            let at_ms = ENGAGED_MS - 1_000 + number * BEAT_MS;
            let late_by = if number.is_multiple_of(2) { (0, 0) } else { (learns_ms, forgets_ms) };
            let is_met = (ENGAGED_MS + late_by.0..released_ms + late_by.1).contains(&at_ms);
            let pulse = if is_met { Pulse::FunctionError } else { Pulse::Healthy };
            Beat { at_ms, took_ms: 5, pulse, status: None }
        };
        let lasts_with_its_end_ms = lasts_ms + 1_000 + millis(FORGOTTEN_WITHIN);
        FaultRun {
            asked: Some(Window { from_ms: ENGAGED_MS, to_ms: released_ms }),
            engaged_at_ms: Some(ENGAGED_MS),
            release_asked_at_ms: Some(released_ms),
            released_at_ms: Some(released_ms),
            beats: (0..=lasts_with_its_end_ms / BEAT_MS).map(beat).collect(),
            is_ramped: true,
            ..FaultRun::default()
        }
    }

    #[test]
    fn the_share_of_a_ramped_fault_is_counted_from_when_every_environment_knows_of_it() {
        let run = ramped(90_000, 60_000, 0);
        assert_eq!(outcomes_on_aws(&errors(100), &run), [Held::Held, Held::Held]);
        let at_once = FaultRun { is_ramped: false, ..run };
        assert_eq!(outcomes_on_aws(&errors(100), &at_once), [Held::Unknown, Held::Held], "half are spared");
    }

    #[test]
    fn a_ramped_fault_that_is_too_short_for_its_share_is_told_with_what_helps() {
        let told = |run: &FaultRun| percent_check(&errors(100), run).unwrap();
        let short = told(&ramped(60_000, 0, 0));
        assert!(
            short.outcome == Held::Unknown && short.detail.ends_with("lengthen its `duration`"),
            "{short:?}"
        );
        for is_ramped in [false, true] {
            let unmet = told(&FaultRun { is_ramped, ..run(|_| false) });
            assert!(unmet.outcome == Held::Unknown && !unmet.detail.contains("duration"), "{unmet:?}");
        }
    }

    #[test]
    fn a_ramped_fault_is_over_when_no_environment_can_have_it_any_more() {
        let mut run = ramped(90_000, 0, 10_000);
        let released_ms = run.released_at_ms.unwrap();
        assert_eq!(measured_window(&errors(100), &run).unwrap().to_ms, released_ms + 10_000);
        let is_over_at = |is_ramped, after_ms| {
            let beats: Vec<Beat> =
                run.beats.iter().filter(|beat| beat.at_ms <= released_ms + after_ms).copied().collect();
            is_over(&errors(100), is_ramped, &beats, released_ms)
        };
        assert!(is_over_at(false, 500), "one of them has forgotten it");
        assert_eq!([500, 10_000, 19_750, 20_000].map(|ms| is_over_at(true, ms)), [false, false, false, true]);
        run.beats.retain(|beat| beat.at_ms < released_ms + 20_000);
        assert_eq!(calm_from_ms(&errors(100), &run, true), None, "nobody saw the end");
    }

    #[test]
    fn ramps_of_an_emulator_are_as_long_as_those_of_aws() {
        let tolerance = |is_ramped| {
            let run = FaultRun { is_ramped, ..FaultRun::default() };
            window_tolerance(&run, true)
        };
        assert_eq!([tolerance(true), tolerance(false)], [WINDOW_TOLERANCE_AWS, WINDOW_TOLERANCE_EMULATED]);
    }

    fn planned(evidence_min: u64) -> Planned {
        let lever = Lever::Fis(FisAction {
            token: "run".into(),
            role_arn: "arn".into(),
            function_arn: "arn".into(),
            action_id: "aws:lambda:invocation-error".into(),
            duration_seconds: 60,
            parameters: HashMap::new(),
        });
        Planned {
            metrics: metrics(&lever, Some("worker")),
            spec: FaultSpec { evidence_min, ..errors(100) },
            lever,
            function: None,
            is_ramped: true,
            start: Duration::ZERO,
            duration: Duration::from_secs(60),
        }
    }

    /// CloudWatch, of whose sums this is told from which second on they are asked for.
    fn sums(sum: impl Fn(i64) -> f64 + Send + Sync + 'static) -> Rule {
        mock!(aws_sdk_cloudwatch::Client::get_metric_data).then_compute_output(move |input| {
            let from = *input.start_time().unwrap();
            let result = MetricDataResult::builder().timestamps(from).values(sum(from.secs())).build();
            GetMetricDataOutput::builder().metric_data_results(result).build()
        })
    }

    #[tokio::test]
    async fn what_was_before_a_fault_is_taken_from_the_sum_of_the_same_minutes() {
        const NEXT_MINUTE: u32 = 1_700_000_040;
        let next_minute_ms = u64::from(NEXT_MINUTE) * 1_000;
        // 28 of the 30 of one minute were before the fault, and in the next, in which it began, were 12.
        let rule = sums(|from| if from < i64::from(NEXT_MINUTE) { 42.0 } else { 12.0 });
        let cloud = Cloud { cloudwatch: mocked::cloudwatch(&[rule]), ..mocked::cloud().await };
        let run = FaultRun {
            sums_from_ms: next_minute_ms - 1_000,
            sums_before: vec![Some(28.0), Some(28.0)],
            engaged_at_ms: Some(next_minute_ms + 1_000),
            ..FaultRun::default()
        };
        assert_eq!(metric_sums(&cloud, &planned(1), &run).await, [14.0, 14.0]);
        let unknown = FaultRun { sums_before: vec![None, Some(28.0)], ..run };
        assert_eq!(
            metric_sums(&cloud, &planned(1), &unknown).await,
            [0.0, 14.0],
            "what was before is not known"
        );
    }

    /// CloudWatch on AWS, with these sums of minutes.
    fn minutes(sums: &'static [(i64, f64)]) -> Rule {
        mock!(aws_sdk_cloudwatch::Client::get_metric_data).then_compute_output(move |_| {
            let result = sums.iter().fold(MetricDataResult::builder(), |result, (minute, sum)| {
                result.timestamps(DateTime::from_secs(minute * 60)).values(*sum)
            });
            GetMetricDataOutput::builder().metric_data_results(result.build()).build()
        })
    }

    #[tokio::test]
    async fn on_aws_only_minutes_that_are_the_fault_s_alone_prove_it() {
        let minute = |number: u64| number * MINUTE_MS;
        let rule = minutes(&[(1, 50.0), (2, 7.0), (3, 9.0), (4, 50.0)]);
        let cloud =
            Cloud { emulated: false, cloudwatch: mocked::cloudwatch(&[rule]), ..mocked::cloud().await };
        let other = |from_ms, to_ms| vec![Window { from_ms, to_ms }];
        for (engaged_ms, release_ms, on_metrics, expected) in [
            (minute(1) + 1, minute(4), Vec::new(), 16.0),
            (minute(1) + 1, minute(2), Vec::new(), 0.0),
            (minute(2), minute(2) + 1, Vec::new(), 7.0),
            (minute(1) + 1, minute(4), other(0, minute(2)), 9.0),
            (minute(1) + 1, minute(4), other(minute(3), minute(5)), 7.0),
        ] {
            let run = FaultRun {
                engaged_at_ms: Some(engaged_ms),
                release_asked_at_ms: Some(release_ms),
                on_metrics,
                ..FaultRun::default()
            };
            let sums = metric_sums(&cloud, &planned(1), &run).await;
            assert_eq!(sums, [expected; 2], "{engaged_ms} to {release_ms}");
        }
    }

    #[tokio::test]
    async fn a_fault_that_somebody_else_ended_is_no_dose_however_much_evidence_there_is() {
        for (error, is_sufficient) in [(None, true), (Some("the experiment is failed".to_owned()), false)] {
            let rule = sums(|_| 42.0);
            let cloud = Cloud { cloudwatch: mocked::cloudwatch(&[rule]), ..mocked::cloud().await };
            let run = FaultRun { error, sums_before: vec![Some(0.0); 2], ..run(inside) };
            let dose = measure(&cloud, &planned(5), &run, &[], None).await;
            assert_eq!((dose.sufficient, dose.evidence_total), (is_sufficient, 42));
        }
    }

    #[tokio::test]
    async fn metrics_of_aws_are_waited_for_until_they_prove_the_fault() {
        for (emulated, expected) in [(false, 5.0), (true, 1.0)] {
            // Each look asks for two metrics.
            let asked = AtomicU32::new(0);
            let rule = sums(move |_| f64::from(asked.fetch_add(1, Ordering::SeqCst) / 2 * 2 + 1));
            let cloud = Cloud { emulated, cloudwatch: mocked::cloudwatch(&[rule]), ..mocked::cloud().await };
            let run = FaultRun {
                engaged_at_ms: Some(MINUTE_MS),
                release_asked_at_ms: Some(2 * MINUTE_MS),
                sums_before: vec![Some(0.0); 2],
                ..FaultRun::default()
            };
            let sums = metric_sums(&cloud, &planned(5), &run).await;
            assert_eq!(sums, [expected; 2], "emulated: {emulated}");
        }
    }

    #[test]
    fn a_fault_that_begins_or_ends_at_another_time_than_asked_proves_nothing() {
        let late = run(|at_ms| (ENGAGED_MS + 6_000..RELEASED_MS).contains(&at_ms));
        assert_eq!(outcomes(&errors(100), &late)[1], Held::Unknown);
        let mut lingers = run(inside);
        lingers.beats.extend((RELEASED_MS + 1_000..RELEASED_MS + 7_000).step_by(250).map(|at_ms| Beat {
            at_ms,
            took_ms: 5,
            pulse: Pulse::FunctionError,
            status: None,
        }));
        lingers.beats.push(Beat {
            at_ms: RELEASED_MS + 7_000,
            took_ms: 5,
            pulse: Pulse::Healthy,
            status: None,
        });
        assert_eq!(measured_window(&errors(100), &lingers).unwrap().to_ms, RELEASED_MS + 7_000);
        assert_eq!(outcomes(&errors(100), &lingers)[1], Held::Unknown);
    }

    #[test]
    fn a_fault_that_was_in_effect_for_less_than_half_of_its_time_proves_nothing() {
        let since = |from_ms: u64| run(move |at_ms| (from_ms..RELEASED_MS).contains(&at_ms));
        for (late_ms, held) in [(0, Held::Held), (4_000, Held::Held), (6_000, Held::Unknown)] {
            let outcomes = outcomes_on_aws(&errors(100), &since(ENGAGED_MS + late_ms));
            assert_eq!(outcomes, [Held::Held, held], "{late_ms} ms late, and the tolerance is 100 s");
        }
        let at_the_end = run(|at_ms| at_ms >= RELEASED_MS - 2_000);
        assert_eq!(outcomes_on_aws(&errors(100), &at_the_end)[1], Held::Unknown);
        // What lasts for long after its time was not there in it.
        let mut shifted = run(|at_ms| at_ms >= RELEASED_MS);
        shifted.released_at_ms = Some(RELEASED_MS + 10_000);
        assert_eq!(outcomes_on_aws(&errors(100), &shifted)[1], Held::Unknown);
    }

    #[test]
    fn a_fault_of_fis_that_no_canary_met_has_no_window() {
        let unmet = run(|_| false);
        assert_eq!(outcomes(&errors(100), &unmet)[1], Held::Unknown);
        assert_eq!(
            outcomes(&spec("mapping-disabled", ""), &unmet),
            [Held::Held],
            "its setting was read back"
        );
    }

    #[test]
    fn a_canary_that_was_slow_before_the_fault_is_not_the_fault_s_beginning() {
        let delay = spec("fis-invocation-delay", "delay_ms = 300");
        let mut run = run(|_| false);
        for beat in &mut run.beats {
            // The first start of an environment takes as long as the delay does.
            let is_cold = beat.at_ms == ENGAGED_MS - 1_000;
            let is_met = (ENGAGED_MS + 7_000..RELEASED_MS).contains(&beat.at_ms);
            beat.took_ms = if is_cold || is_met { 305 } else { 5 };
        }
        assert_eq!(measured_window(&delay, &run).unwrap().from_ms, ENGAGED_MS + 7_000);
        assert_eq!(outcomes_on_aws(&delay, &run), [Held::Held, Held::Unknown]);
    }

    #[test]
    fn a_delay_or_a_replaced_answer_is_over_when_canaries_are_as_before_and_not_earlier() {
        let delay = spec("fis-invocation-delay", "delay_ms = 300");
        let by_id = spec("fis-action", &format!("action_id = \"{DELAY_ACTION}\""));
        let answer = spec("fis-http-response", "prevent_execution = false\nstatus_code = 503");
        for (spec, took_ms, status) in [(delay, 305, None), (by_id, 1_005, None), (answer, 5, Some(503))] {
            let mut run = run(|_| false);
            for beat in run.beats.iter_mut().filter(|beat| beat.at_ms >= ENGAGED_MS) {
                (beat.took_ms, beat.status) = (took_ms, status);
            }
            assert!(
                !is_over(&spec, false, &run.beats, RELEASED_MS),
                "all are healthy, and none is as before"
            );
            let last_ms = RELEASED_MS + 1_000 - BEAT_MS;
            assert_eq!(measured_window(&spec, &run).unwrap().to_ms, last_ms);
            let at_ms = RELEASED_MS + 3_000;
            run.beats.push(Beat { at_ms, took_ms: 5, pulse: Pulse::Healthy, status: None });
            assert!(is_over(&spec, false, &run.beats, RELEASED_MS));
            assert_eq!(measured_window(&spec, &run).unwrap().to_ms, at_ms);
        }
    }

    /// Met until it is put back and, after some that are spared by chance, once more; then so many canaries are untouched.
    fn run_that_ends(last_met_ms: u64, untouched: u64) -> FaultRun {
        let mut run = run(|at_ms| inside(at_ms) || at_ms == last_met_ms);
        run.beats.retain(|beat| beat.at_ms <= last_met_ms);
        let moments = (1..=untouched).map(|number| last_met_ms + number * BEAT_MS);
        run.beats.extend(moments.map(|at_ms| Beat {
            at_ms,
            took_ms: 5,
            pulse: Pulse::Healthy,
            status: None,
        }));
        run
    }

    #[test]
    fn the_smaller_the_share_the_more_canaries_in_a_row_must_be_untouched_before_it_is_over() {
        let last_met_ms = RELEASED_MS + 2 * BEAT_MS;
        let by_id = |percent: u8| {
            let parameters = format!("parameters = {{ invocationPercentage = \"{percent}\" }}");
            spec("fis-action", &format!("action_id = \"aws:lambda:invocation-error\"\n{parameters}"))
        };
        let enough = [(errors(100), 1), (errors(50), 11), (errors(10), 73), (by_id(100), 1), (by_id(50), 11)];
        for (spec, enough) in enough {
            let (early, over) = (run_that_ends(last_met_ms, enough - 1), run_that_ends(last_met_ms, enough));
            assert!(!is_over(&spec, false, &early.beats, RELEASED_MS), "one fewer than {enough}");
            assert_eq!(measured_window(&spec, &early).unwrap().to_ms, last_met_ms);
            assert!(is_over(&spec, false, &over.beats, RELEASED_MS), "{enough}");
            assert_eq!(measured_window(&spec, &over).unwrap().to_ms, last_met_ms + BEAT_MS);
        }
    }

    #[test]
    fn it_is_calm_a_while_after_the_end_and_never_where_the_end_was_not_seen() {
        let last_met_ms = RELEASED_MS + 2 * BEAT_MS;
        let over = run_that_ends(last_met_ms, 1);
        let end_ms = last_met_ms + BEAT_MS;
        assert_eq!(calm_from_ms(&errors(100), &over, true), Some(end_ms + 5_000));
        assert_eq!(calm_from_ms(&errors(100), &over, false), Some(end_ms + 100_000));
        assert_eq!(calm_from_ms(&errors(100), &run_that_ends(last_met_ms, 0), true), None);
        assert_eq!(calm_from_ms(&errors(50), &over, true), None, "by chance one is spared");
        let mut setting = run(|_| false);
        setting.beats.clear();
        let queue = spec("queue-visibility-timeout", "visibility_timeout = \"0s\"");
        assert_eq!(calm_from_ms(&queue, &setting, false), Some(RELEASED_MS + 100_000), "it takes up to 60 s");
        setting.released_at_ms = None;
        assert_eq!(calm_from_ms(&queue, &setting, false), None);
    }

    /// Even where every canary meets the fault and a quarter of them is missing: the first is a hit by choice.
    #[test]
    fn the_experiments_that_are_shipped_last_long_enough_to_tell_their_share() {
        const CALM_MS: u64 = 20;
        /// A killed worker, with its end and the start of another one, takes so much more than its timeout.
        const KILL_MS: u64 = 600;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        // Locally, and on AWS: a receive, the worker's timeout, and how long a fault of FIS is not known everywhere.
        for (receive_ms, worker_timeout_ms, ramp_ms) in
            [(6_000, 1_000, 0), (60_000, 10_000, millis(KNOWN_WITHIN))]
        {
            let took_ms = |delay_ms| {
                if delay_ms < worker_timeout_ms { delay_ms } else { worker_timeout_ms + KILL_MS }
            };
            let mut told = 0;
            for folder in [folder.clone(), folder.join("controls")] {
                for experiment in load(&files_of(&folder).unwrap()).unwrap() {
                    for fault in experiment.fault_specs() {
                        let Some(percent) = asked_percent(fault) else { continue };
                        let ramp_ms = if fault.fis_action_id().is_some() { ramp_ms } else { 0 };
                        let lasts_ms = millis(fault.duration.resolve(Duration::from_millis(receive_ms)));
                        let met_ms = delay_ms(fault).map_or(0, took_ms);
                        let all = lasts_ms.saturating_sub(ramp_ms) / (BEAT_MS + CALM_MS + met_ms) - 1;
                        let trials = Trials { hit: 0, all: all * 3 / 4 };
                        let name = &experiment.name;
                        assert!(
                            trials.can_refute(percent / 100.0),
                            "{name} at {receive_ms} ms: {all} canaries"
                        );
                        told += 1;
                    }
                }
            }
            assert!(told >= 8, "the shares of {told} faults were looked at");
        }
    }

    #[test]
    fn a_canary_that_was_hit_before_the_fault_is_no_proof_of_it() {
        let run = run(|at_ms| at_ms < RELEASED_MS);
        assert_eq!(canary_proofs(&errors(100), &run).unwrap().count, 0);
    }

    #[test]
    fn each_kind_is_met_by_what_it_does_and_by_nothing_else() {
        let beat = |pulse, took_ms, status| Beat { at_ms: 1, took_ms, pulse, status };
        let delay = spec("fis-invocation-delay", "delay_ms = 300");
        assert!(is_hit(&delay, &beat(Pulse::Healthy, 300, None)));
        assert!(
            is_hit(&delay, &beat(Pulse::FunctionError, 10, None)),
            "beyond the timeout it ends in an error"
        );
        assert!(!is_hit(&delay, &beat(Pulse::Healthy, 299, None)));
        let answer = spec("fis-http-response", "prevent_execution = false\nstatus_code = 503");
        assert!(is_hit(&answer, &beat(Pulse::Healthy, 5, Some(503))));
        assert!(!is_hit(&answer, &beat(Pulse::Healthy, 5, Some(202))));
        let action = |parameters: &str| {
            spec("fis-action", &format!("action_id = \"aws:lambda:x\"\nparameters = {{ {parameters} }}"))
        };
        let by_id = action("startupDelayMilliseconds = \"500\"");
        assert!(is_hit(&by_id, &beat(Pulse::Healthy, 500, None)));
        assert!(!is_hit(&by_id, &beat(Pulse::Healthy, 499, None)));
        assert!(is_hit(&action("statusCode = \"503\""), &beat(Pulse::Healthy, 5, Some(503))));
        assert!(is_hit(&action("preventExecution = \"true\""), &beat(Pulse::FunctionError, 5, None)));
        let throttle = spec("lambda-reserved-concurrency", "concurrency = 0");
        assert!(is_hit(&throttle, &beat(Pulse::Throttled, 5, None)));
        assert!(!is_hit(&throttle, &beat(Pulse::FunctionError, 5, None)));
        for spec in [delay, answer, throttle] {
            assert!(!is_hit(&spec, &beat(Pulse::NoAnswer, 5_000, None)), "no answer says nothing");
        }
    }
}
