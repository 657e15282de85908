//! Was the fault really in effect, how much of it, and when? "Completed" proves nothing: an experiment of FIS completes on
//! a function that never reads its faults.

use std::collections::BTreeMap;
use std::time::Duration;

use loadtest::{LedgerEntry, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::timeline::{FaultRun, Planned};
use crate::cloud::Cloud;
use crate::experiment::{FaultKind, FaultSpec};
use crate::fault::{Lever, OnDemandCap, ProvisionedCapacity};
use crate::observe::{Beat, Metric, Pulse, sum_since};
use crate::oracle::{Record, Window, begun_at_ms};
use crate::wait::{Patience, until};

/// Metrics of AWS lag by a minute or two; those of the emulator by nothing worth naming.
const METRIC_PATIENCE_AWS: Duration = Duration::from_secs(180);
const METRIC_PATIENCE_EMULATED: Duration = Duration::from_secs(3);
const METRIC_LOOK: Duration = Duration::from_millis(500);
const HTTP_TOO_MANY_REQUESTS: u16 = 429;

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
    pub asked_window: Option<Window>,
    /// As the canaries saw it, or else from the answer of the first call to that of the last.
    pub measured_window: Option<Window>,
    pub error: Option<String>,
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
    records: &BTreeMap<String, Record>,
) -> Dose {
    let spec = &planned.spec;
    let sums = match run.engaged_at_ms {
        Some(_) => metric_sums(cloud, planned, run).await,
        None => Vec::new(),
    };
    let measured_window = measured_window(spec, run);
    let mut evidence: Vec<Proof> = canary_proofs(spec, run).into_iter().collect();
    for (metric, sum) in planned.metrics.iter().zip(&sums).filter(|(metric, _)| metric.name != NO_PROOF) {
        evidence.push(proof(&format!("{} {}", metric.namespace, metric.name), *sum));
    }
    evidence.extend(ledger_proof(spec.kind, measured_window, ledger));
    if matches!(spec.kind, FaultKind::MappingDisabled | FaultKind::RolePermission) {
        evidence.push(untouched_proof(run, ledger, records));
    }
    if matches!(spec.kind, FaultKind::QueueDeny | FaultKind::TableDeny) {
        evidence.push(Proof { source: "calls of the harness that were denied".into(), count: run.denied });
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
        sufficient: run.engaged_at_ms.is_some() && evidence_total >= spec.evidence_min,
        evidence,
        evidence_total,
        evidence_min: spec.evidence_min,
        asked_window: run.asked,
        measured_window,
        error: run.error.clone(),
    }
}

/// Growth since the start of the fault; waits a bounded time for the first sign of it.
async fn metric_sums(cloud: &Cloud, planned: &Planned, run: &FaultRun) -> Vec<f64> {
    let at_most = if cloud.emulated { METRIC_PATIENCE_EMULATED } else { METRIC_PATIENCE_AWS };
    let from_ms = run.engaged_at_ms.unwrap_or_default();
    let mut sums = vec![0.0; planned.metrics.len()];
    let look = async || {
        for (index, metric) in planned.metrics.iter().enumerate() {
            let before = run.sums_before.get(index).copied().unwrap_or_default();
            let sum = sum_since(cloud, metric, from_ms).await.unwrap_or_default();
            // When the minute has changed since, the sum no longer has what was before.
            sums[index] = if sum >= before { sum - before } else { sum };
        }
        Ok::<_, std::convert::Infallible>(sums.first().is_none_or(|sum| *sum > 0.0).then_some(()))
    };
    let Ok(_) = until(Patience { every: METRIC_LOOK, at_most }, look).await;
    sums
}

/// From the first to the last beat that was not as before the fault.
pub(super) fn measured_window(spec: &FaultSpec, run: &FaultRun) -> Option<Window> {
    let (engaged_at_ms, released_at_ms) = (run.engaged_at_ms?, run.released_at_ms?);
    let from_ms = run.beats.iter().find(|beat| is_hit(spec, beat)).map_or(engaged_at_ms, |beat| beat.at_ms);
    let well_again = run
        .beats
        .iter()
        .find(|beat| beat.at_ms >= released_at_ms && beat.pulse == Pulse::Healthy && !is_hit(spec, beat));
    let to_ms = match well_again {
        Some(beat) if run.beats.iter().any(|beat| beat.pulse == Pulse::Throttled) => beat.at_ms,
        _ => released_at_ms,
    };
    Some(Window { from_ms: from_ms.clamp(engaged_at_ms.min(to_ms), to_ms), to_ms })
}

/// Whether this invocation met what the fault does.
fn is_hit(spec: &FaultSpec, beat: &Beat) -> bool {
    let delay_ms = spec.delay_ms.map(u64::from);
    match (spec.kind, beat.pulse) {
        (_, Pulse::NoAnswer) => false,
        // Above the function's timeout the delay ends in an error.
        (FaultKind::FisInvocationDelay, Pulse::FunctionError) => true,
        (FaultKind::FisInvocationDelay, _) => delay_ms.is_some_and(|delay_ms| beat.took_ms >= delay_ms),
        (FaultKind::FisHttpResponse, _) => beat.status.is_some() && beat.status == spec.status_code,
        (FaultKind::FisInvocationError, pulse) => pulse == Pulse::FunctionError,
        (FaultKind::LambdaReservedConcurrency, pulse) => pulse == Pulse::Throttled,
        (_, pulse) => pulse != Pulse::Healthy,
    }
}

fn canary_proofs(spec: &FaultSpec, run: &FaultRun) -> Option<Proof> {
    if run.beats.is_empty() {
        return None;
    }
    let engaged_at_ms = run.engaged_at_ms.unwrap_or(u64::MAX);
    // A canary that was hit before the fault proves nothing about it.
    let hit_before = run.beats.iter().any(|beat| beat.at_ms < engaged_at_ms && is_hit(spec, beat));
    let (hit, _) = canaries(spec, run);
    Some(Proof { source: "canary invocations".into(), count: if hit_before { 0 } else { hit } })
}

/// Of the canaries while the fault was in effect: how many met it, and how many there were.
fn canaries(spec: &FaultSpec, run: &FaultRun) -> (u64, u64) {
    let (Some(from_ms), Some(to_ms)) = (run.engaged_at_ms, run.released_at_ms) else { return (0, 0) };
    let during = run.beats.iter().filter(|beat| (from_ms..to_ms).contains(&beat.at_ms));
    during.fold((0, 0), |(hit, all), beat| (hit + u64::from(is_hit(spec, beat)), all + 1))
}

/// Acknowledged while the mapping was disabled, and begun by no worker before it was enabled again.
fn untouched_proof(run: &FaultRun, ledger: &[LedgerEntry], records: &BTreeMap<String, Record>) -> Proof {
    let (from_ms, to_ms) =
        (run.engaged_at_ms.unwrap_or(u64::MAX), run.release_asked_at_ms.unwrap_or_default());
    let during =
        |entry: &&LedgerEntry| entry.answered_at_ms.is_some_and(|at_ms| (from_ms..to_ms).contains(&at_ms));
    let acknowledged = ledger.iter().filter(during).filter_map(|entry| records.get(entry.task_id()?));
    let untouched = acknowledged.filter(|record| begun_at_ms(record).is_some_and(|at_ms| at_ms >= to_ms));
    let count = untouched.count() as u64;
    Proof { source: "tasks that nobody took while the fault lasted".into(), count }
}

fn ledger_proof(kind: FaultKind, window: Option<Window>, ledger: &[LedgerEntry]) -> Option<Proof> {
    let window = window?;
    let inside = ledger.iter().filter(|entry| {
        entry.answered_at_ms.is_some_and(|at_ms| (window.from_ms..=window.to_ms).contains(&at_ms))
    });
    let (source, count) = match kind {
        FaultKind::HttpThrottle => (
            "clients answered 429",
            inside.filter(|entry| answered(entry, |status| status == HTTP_TOO_MANY_REQUESTS)).count(),
        ),
        FaultKind::QueueDeny | FaultKind::TableDeny | FaultKind::RolePermission => {
            ("clients answered 5xx", inside.filter(|entry| answered(entry, |status| status >= 500)).count())
        }
        _ => return None,
    };
    Some(Proof { source: source.into(), count: count as u64 })
}

fn answered(entry: &LedgerEntry, is: impl Fn(u16) -> bool) -> bool {
    matches!(&entry.outcome, Outcome::Refused { status, .. } if is(*status))
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
    add("visibility_seconds", spec.visibility_seconds.map(|seconds| seconds.to_string()));
    parts.join(", ")
}

fn measured(planned: &Planned, sums: &[f64], run: &FaultRun, total: u64) -> String {
    let sum = |name: &str| {
        let at = planned.metrics.iter().position(|metric| metric.name == name);
        at.and_then(|at| sums.get(at)).copied().unwrap_or_default()
    };
    let (hit, all) = canaries(&planned.spec, run);
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
        _ => format!("{total} pieces of evidence"),
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
