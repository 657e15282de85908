//! From what was seen to a verdict. Pure.

use loadtest::{LedgerEntry, TaskKind, TaskStatus, Validity};

use super::activity::activity;
use super::clients;
use super::dose::Dose;
use super::execute::{Observed, Quiet};
use super::verdict::{
    Check, Configurations, ExperimentReport, NamedWindow, Outcome, Redrive, Revert, Verdict, verdict_of,
};
use crate::experiment::{Experiment, FaultKind};
use crate::fault::RevertReport;
use crate::observe::drift;
use crate::oracle;
use crate::oracle::{
    Anomaly, AnomalyKind, Counterexample, EAGER_GAP_MS, Evidence, Findings, Prediction, Premises, QueueRules,
    Window, counterexample, judge, predict,
};

/// A report names this many anomalies; all are counted.
const ANOMALIES_MAX: usize = 100;

pub(super) fn assess(
    experiment: &Experiment,
    observed: Observed,
    reverts: &[RevertReport],
) -> ExperimentReport {
    let prediction = predict(experiment.expect.dlq, &premises(experiment, &observed));
    let quiet = evidence(experiment, &observed, &observed.quiet, &prediction);
    let mut findings = judge(&quiet);
    let mut shown = counterexample(&findings, &quiet, observed.quiet.at_ms);
    let (dlq_found, dlq_expected) = (findings.dead_letters.len() as u64, prediction.must.len() as u64);

    let poison = oracle::after_redrive(&premises(experiment, &observed));
    let end = evidence(experiment, &observed, &observed.end, &poison);
    let redrive = observed.redrive.clone().map(|redrive| {
        redrive.map(|redrive| after_redrive(redrive, &end, &mut findings, &mut shown, observed.end.at_ms))
    });

    let mut checks = evidence_checks(experiment, &observed, &findings);
    checks.extend(data_checks(experiment, &findings, dlq_expected, &prediction));
    checks.extend(end_checks(experiment, &observed, &redrive, reverts));
    let verdict = verdict_of(&checks);
    let mut anomalies = findings.anomalies;
    let anomalies_total = anomalies.len() as u64;
    let ids = |kind| -> Vec<String> {
        let of_kind = anomalies.iter().filter(|anomaly: &&Anomaly| anomaly.kind == kind);
        of_kind.map(|anomaly| anomaly.task_id.clone()).collect()
    };
    let lost_ids = ids(AnomalyKind::Lost);
    let (duplicates, unexpected) = (ids(AnomalyKind::DuplicateEffect), ids(AnomalyKind::Unexpected));
    anomalies.truncate(ANOMALIES_MAX);
    ExperimentReport {
        name: experiment.name.clone(),
        hypothesis: experiment.hypothesis.trim().to_owned(),
        verdict,
        reasons: reasons(&checks),
        attempted: findings.totals.attempted,
        acknowledged: findings.totals.acknowledged,
        lost: lost_ids.len() as u64,
        duplicate_effects: duplicates.len() as u64,
        unexpected: unexpected.len() as u64,
        dlq_expected,
        dlq_allowed: prediction.may.len() as u64,
        dlq_found,
        recovery_ms: recovery_ms(&observed),
        totals: findings.totals,
        phases: observed.outcome.phases.clone(),
        redrive: redrive.and_then(Result::ok),
        lost_ids,
        anomalies,
        anomalies_total,
        counterexample: shown.filter(|_| verdict == Verdict::Fail),
        reverts: reverts.iter().map(revert).collect(),
        windows: observed.dose.iter().filter_map(named_window).collect(),
        series: observed.outcome.series.clone(),
        samples: observed.samples.clone(),
        activity: activity(&observed.outcome.ledger, &observed.end.records),
        configuration: Some(Configurations {
            before: observed.configuration.0.clone(),
            during: observed.during.clone(),
            after: observed.configuration.1.clone(),
        }),
        dead_letters_of_others: (observed.quiet.dead_letters.len() as u64).saturating_sub(dlq_found),
        started_at_ms: observed.started_at_ms,
        took_ms: observed.took_ms,
        definition: serde_json::to_value(DefinitionOf(experiment)).unwrap_or_default(),
        dose: observed.dose,
        checks,
    }
}

/// An experiment that could not be carried through proves nothing.
pub(super) fn failed(
    experiment: &Experiment,
    error: String,
    reverts: &[RevertReport],
    started_at_ms: u64,
    took_ms: u64,
) -> ExperimentReport {
    let mut checks = vec![Check { name: "carried through".into(), outcome: Outcome::Unknown, detail: error }];
    checks.extend(revert_check(reverts));
    ExperimentReport {
        name: experiment.name.clone(),
        hypothesis: experiment.hypothesis.trim().to_owned(),
        verdict: verdict_of(&checks),
        reasons: reasons(&checks),
        checks,
        dose: Vec::new(),
        attempted: 0,
        acknowledged: 0,
        lost: 0,
        duplicate_effects: 0,
        unexpected: 0,
        dlq_expected: 0,
        dlq_allowed: 0,
        dlq_found: 0,
        recovery_ms: None,
        totals: Default::default(),
        phases: Vec::new(),
        redrive: None,
        lost_ids: Vec::new(),
        anomalies: Vec::new(),
        anomalies_total: 0,
        counterexample: None,
        reverts: reverts.iter().map(revert).collect(),
        windows: Vec::new(),
        series: Vec::new(),
        samples: Vec::new(),
        activity: Vec::new(),
        configuration: None,
        dead_letters_of_others: 0,
        started_at_ms,
        took_ms,
        definition: serde_json::to_value(DefinitionOf(experiment)).unwrap_or_default(),
    }
}

fn evidence<'a>(
    experiment: &Experiment,
    observed: &'a Observed,
    quiet: &'a Quiet,
    prediction: &'a Prediction,
) -> Evidence<'a> {
    Evidence {
        ledger: &observed.outcome.ledger,
        named_ids: &observed.named_ids,
        records: &quiet.records,
        dead_letters: &quiet.dead_letters,
        remaining: quiet.remaining,
        prediction,
        max_receive_count: observed.queue.max_receive_count,
        missed_pushes_percent_max: experiment.expect.missed_pushes_percent_max,
    }
}

fn premises<'a>(experiment: &Experiment, observed: &'a Observed) -> Premises<'a> {
    let throttle = FaultKind::LambdaReservedConcurrency.name();
    let throttled = observed.dose.iter().find(|dose| dose.fault == throttle);
    Premises {
        ledger: &observed.outcome.ledger,
        named_ids: &observed.named_ids,
        records: &observed.quiet.records,
        throttled: throttled.and_then(|dose| dose.measured_window),
        queue: QueueRules {
            visibility_timeout: observed.queue.visibility_timeout,
            max_receive_count: observed.queue.max_receive_count,
            slack: experiment.expect.dlq_slack.resolve(observed.queue.visibility_timeout),
        },
    }
}

/// A second judgement, after the dead letters went back: only poison may be there now. Adds what it finds.
fn after_redrive(
    redrive: Redrive,
    end: &Evidence<'_>,
    findings: &mut Findings,
    shown: &mut Option<Counterexample>,
    at_ms: u64,
) -> Redrive {
    let second = judge(end);
    *shown = shown.take().or_else(|| counterexample(&second, end, at_ms));
    for mut anomaly in second.anomalies {
        anomaly.detail.push_str(" (after the dead letters were moved back)");
        let known = |found: &Anomaly| (found.kind, &found.task_id) == (anomaly.kind, &anomaly.task_id);
        if !findings.anomalies.iter().any(known) {
            findings.anomalies.push(anomaly);
        }
    }
    findings.anomalies.sort();
    let innocent = end.ledger.iter().filter(|entry| entry.kind != TaskKind::Poison);
    let not_succeeded = innocent
        .filter_map(LedgerEntry::task_id)
        .filter(|id| end.records.get(*id).is_none_or(|record| record.status != TaskStatus::Succeeded));
    Redrive {
        not_succeeded: not_succeeded.count() as u64,
        dlq_expected: end.prediction.must.len() as u64,
        dlq_found: second.dead_letters.len() as u64,
        ..redrive
    }
}

/// From the measured end of the last fault until the last task that was acknowledged before it was done.
fn recovery_ms(observed: &Observed) -> Option<u64> {
    let end_ms =
        observed.dose.iter().filter_map(|dose| dose.measured_window).map(|window| window.to_ms).max()?;
    let before = observed
        .outcome
        .ledger
        .iter()
        .filter(|entry| entry.answered_at_ms.is_some_and(|at_ms| at_ms <= end_ms));
    let done = before
        .filter_map(|entry| observed.quiet.records.get(entry.task_id()?))
        .filter(|record| record.status == TaskStatus::Succeeded)
        .map(|record| record.updated_at_ms);
    done.max().map(|at_ms| at_ms.saturating_sub(end_ms))
}

/// Without these nothing can be told.
fn evidence_checks(experiment: &Experiment, observed: &Observed, findings: &Findings) -> Vec<Check> {
    let expect = &experiment.expect;
    let totals = &findings.totals;
    let mut checks = vec![
        Check::evidence(
            "history",
            totals.acknowledged >= expect.acknowledged_min,
            format!("{} acknowledged, at least {} needed", totals.acknowledged, expect.acknowledged_min),
        ),
        match &observed.outcome.validity {
            Validity::Valid => Check::evidence("load", true, "the generator kept its pace"),
            Validity::Invalid { reason } => Check::evidence("load", false, reason.clone()),
        },
        Check::evidence(
            "ran to its end",
            observed.budget_spent.is_none(),
            observed.budget_spent.clone().unwrap_or_else(|| "nothing stopped it".into()),
        ),
    ];
    for dose in &observed.dose {
        let detail = match &dose.error {
            Some(error) => error.clone(),
            None => format!(
                "{}; {} of {} pieces of evidence",
                dose.measured, dose.evidence_total, dose.evidence_min
            ),
        };
        checks.push(Check::evidence(&format!("dose of {}", dose.fault), dose.sufficient, detail));
    }
    checks.extend(clients::checks(experiment, &observed.outcome));
    if expect.redelivered_min > 0 {
        checks.push(Check::evidence(
            "redelivery",
            totals.redelivered >= expect.redelivered_min,
            format!(
                "{} tasks seen more than once, at least {} needed",
                totals.redelivered, expect.redelivered_min
            ),
        ));
    }
    checks
}

fn data_checks(
    experiment: &Experiment,
    findings: &Findings,
    dlq_expected: u64,
    prediction: &Prediction,
) -> Vec<Check> {
    let expect = &experiment.expect;
    let bound = |name: &str, kind, max: u64| {
        let count = findings.count(kind);
        Check::new(name, count <= max, format!("{count}, at most {max}"))
    };
    let none = |name: &str, kinds: &[AnomalyKind]| {
        let count: u64 = kinds.iter().map(|kind| findings.count(*kind)).sum();
        Check::new(name, count == 0, format!("{count}"))
    };
    let totals = &findings.totals;
    let sum = totals.succeeded + totals.dead_lettered + totals.pending + totals.lost;
    vec![
        bound("nothing acknowledged is lost", AnomalyKind::Lost, expect.lost),
        bound("no effect twice", AnomalyKind::DuplicateEffect, expect.duplicate_effects),
        bound("nothing unexpected", AnomalyKind::Unexpected, expect.unexpected),
        none("what was refused was not applied", &[AnomalyKind::RefusedApplied]),
        none("results are right", &[AnomalyKind::WrongResult, AnomalyKind::SplitKey]),
        Check::new(
            "dead letters are as predicted",
            findings.count(AnomalyKind::MissingDeadLetter) + findings.count(AnomalyKind::InnocentDeadLetter)
                == 0,
            format!(
                "{} found, {dlq_expected} must be there, {} may be{}; {} missing, {} without cause",
                findings.dead_letters.len(),
                prediction.may.len(),
                prediction.by_clock.map_or_else(String::new, |(must, may)| format!(
                    " (by the clock alone {must} and {may})"
                )),
                findings.count(AnomalyKind::MissingDeadLetter),
                findings.count(AnomalyKind::InnocentDeadLetter)
            ),
        ),
        none(
            "dead letters are unchanged, each once",
            &[AnomalyKind::AlteredBody, AnomalyKind::RepeatedDeadLetter],
        ),
        none("receive counts fit", &[AnomalyKind::ReceiveCount]),
        none("histories are legal", &[AnomalyKind::IllegalHistory]),
        none("every task is final in time", &[AnomalyKind::Unfinished]),
        none("what must be refused is refused", &[AnomalyKind::AcceptedAbuse]),
        Check::new(
            "failed attempts wait before the next",
            findings.count(AnomalyKind::EagerRetry) == 0,
            format!("{} of {} came back within {EAGER_GAP_MS} ms", totals.eager_retries, totals.retries),
        ),
        Check::new(
            "every end is pushed",
            findings.count(AnomalyKind::MissedPush) == 0,
            format!(
                "{} ends reached no socket of their owner, at most {} % of all",
                totals.missed_pushes, expect.missed_pushes_percent_max
            ),
        ),
        Check::new(
            "conservation",
            sum == totals.acknowledged,
            format!(
                "{} acknowledged = {} succeeded + {} dead letters + {} waiting + {} lost",
                totals.acknowledged, totals.succeeded, totals.dead_lettered, totals.pending, totals.lost
            ),
        ),
    ]
}

fn end_checks(
    experiment: &Experiment,
    observed: &Observed,
    redrive: &Option<Result<Redrive, String>>,
    reverts: &[RevertReport],
) -> Vec<Check> {
    let mut checks = vec![audit_check(observed)];
    checks.extend(redrive.as_ref().map(redrive_check));
    checks.extend(recovery_check(experiment, observed));
    checks.extend(service_checks(experiment, observed));
    checks.extend(revert_check(reverts));
    let residue = drift(&observed.configuration.0, &observed.configuration.1);
    let detail =
        if residue.is_empty() { "the configuration is as before".into() } else { residue.join("; ") };
    checks.push(Check::new("no residue", residue.is_empty(), detail));
    checks
}

/// Once audited, the table says of every dead letter that it is one, unless it had succeeded.
fn audit_check(observed: &Observed) -> Check {
    if let Err(error) = &observed.audit {
        return Check::new("dead letters are marked", false, error.clone());
    }
    let bodies = observed.end.dead_letters.iter().map(|letter| letter.body.as_str());
    let letters = bodies.filter_map(|body| serde_json::from_str::<serde_json::Value>(body).ok());
    let unmarked = letters
        .filter_map(|body| observed.end.records.get(body["task_id"].as_str()?).cloned())
        .filter(|record| !record.status.is_final())
        .count();
    Check::new("dead letters are marked", unmarked == 0, format!("{unmarked} are not marked in the table"))
}

fn redrive_check(redrive: &Result<Redrive, String>) -> Check {
    match redrive {
        Err(error) => Check::new("redrive", false, error.clone()),
        Ok(redrive) => Check::new(
            "redrive",
            redrive.not_succeeded == 0 && redrive.dlq_found == redrive.dlq_expected,
            format!(
                "{} moved back; then {} not succeeded, and {} of {} poison in the dead-letter queue",
                redrive.moved, redrive.not_succeeded, redrive.dlq_found, redrive.dlq_expected
            ),
        ),
    }
}

fn recovery_check(experiment: &Experiment, observed: &Observed) -> Option<Check> {
    let max_seconds = experiment.expect.recovery_seconds_max?;
    let recovery_ms = recovery_ms(observed);
    let Some(recovery_ms) = recovery_ms else {
        return Some(Check::evidence("recovery", false, "nothing to measure it by"));
    };
    let seconds = recovery_ms as f64 / 1000.0;
    Some(Check::new("recovery", seconds <= max_seconds, format!("{seconds:.1} s, at most {max_seconds} s")))
}

/// What clients see while no fault is in effect.
fn service_checks(experiment: &Experiment, observed: &Observed) -> Vec<Check> {
    let phases = &observed.outcome.phases;
    let calm = phases.iter().filter(|phase| phase.name != super::timeline::PHASE_FAULT);
    let (bad, all) =
        calm.fold((0, 0), |(bad, all), phase| (bad + phase.refused + phase.unknown, all + phase.attempted));
    let share = bad as f64 * 100.0 / f64::max(all as f64, 1.0);
    let max = experiment.expect.refused_percent_max;
    let mut checks = vec![Check::new(
        "steady state without fault",
        share <= max,
        format!("{share:.2} % of {all} requests refused or unanswered, at most {max} %"),
    )];
    if let Some(max_ms) = experiment.expect.p99_after_ms_max {
        let after = phases.iter().find(|phase| phase.name == super::timeline::PHASE_AFTER);
        checks.push(match after.filter(|phase| phase.post.count > 0) {
            Some(phase) => Check::new(
                "p99 after the fault",
                phase.post.p99_ms <= max_ms,
                format!("{:.0} ms, at most {max_ms} ms", phase.post.p99_ms),
            ),
            None => Check::evidence("p99 after the fault", false, "no request after the fault"),
        });
    }
    checks
}

fn revert_check(reverts: &[RevertReport]) -> Option<Check> {
    let errors: Vec<String> = reverts.iter().filter_map(|report| report.error.clone()).collect();
    let detail =
        if errors.is_empty() { format!("{} read back as before", reverts.len()) } else { errors.join("; ") };
    (!reverts.is_empty()).then(|| Check::new("put back", errors.is_empty(), detail))
}

fn revert(report: &RevertReport) -> Revert {
    Revert {
        what: serde_json::to_value(&report.lever)
            .ok()
            .and_then(|lever| lever["kind"].as_str().map(str::to_owned))
            .unwrap_or_default(),
        prior: report.prior.clone(),
        error: report.error.clone(),
    }
}

fn named_window(dose: &Dose) -> Option<NamedWindow> {
    let window: Window = dose.measured_window?;
    Some(NamedWindow { name: format!("{} on {}", dose.fault, dose.target), window })
}

fn reasons(checks: &[Check]) -> Vec<String> {
    let open = checks.iter().filter(|check| check.outcome != Outcome::Held);
    open.map(|check| format!("{}: {}", check.name, check.detail)).collect()
}

/// The experiment as data, for the report.
struct DefinitionOf<'a>(&'a Experiment);

impl serde::Serialize for DefinitionOf<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let experiment = self.0;
        let faults: Vec<_> = experiment.fault_specs().collect();
        let mut fields = serializer.serialize_struct("Experiment", 4)?;
        fields.serialize_field("load", &experiment.load)?;
        fields.serialize_field("fault", &faults)?;
        fields.serialize_field("expect", &experiment.expect)?;
        fields.serialize_field("abort", &experiment.abort)?;
        fields.end()
    }
}
