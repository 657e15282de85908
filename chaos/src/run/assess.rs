//! From what was seen to a verdict. Pure.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use loadtest::{LoadOutcome, Outcome as Answer, PhaseStats, ReadStats, Validity, is_denial};

use super::clients;
use super::dose::Dose;
use super::execute::{Looks, Observed};
use super::timeline::{PHASE_AFTER, PHASE_ENDING, PHASE_FAULT};
use super::verdict::{
    Check, Configurations, ExperimentReport, NamedWindow, Outcome, Redrive, Revert, Verdict, verdict_of,
};
use crate::experiment::Experiment;
use crate::fault::RevertReport;
use crate::observe::{Configuration, drift};
use crate::oracle::{
    Absences, AnomalyKind, DeadLetterCounts, EAGER_GAP_MS, Ending, Findings, OracleError, QueueRules, Rules,
    Window,
};

/// A report names this many anomalies; all are counted.
const ANOMALIES_MAX: usize = 100;

/// `folder` is where what does not fit in memory is kept.
pub(super) fn assess(
    experiment: &Experiment,
    (observed, looks): (Observed, Looks),
    reverts: &[RevertReport],
    folder: &Path,
) -> Result<ExperimentReport, OracleError> {
    let ledger = &observed.outcome.ledger;
    let first = rules(experiment, &observed, Ending::By(experiment.expect.dlq));
    let mut findings = looks.quiet.judge(ledger, &first, folder)?;
    let activity = looks.end.activity().points(ledger);
    let unmarked = looks.end.unmarked();
    let redrive = match observed.redrive.clone() {
        Some(Ok(redrive)) => {
            let second = Rules { dead_letters: Ending::AfterRedrive, ..first };
            let second = looks.end.judge(ledger, &second, folder)?;
            Some(Ok(after_redrive(redrive, second, &mut findings)))
        }
        other => other,
    };
    // From the end of the last fault until the last task that was acknowledged before it was done.
    let recovery_ms =
        first.faults_end_ms.and_then(|end_ms| Some(findings.backlog_done_at_ms?.saturating_sub(end_ms)));
    let mut checks = evidence_checks(experiment, &observed, &findings);
    checks.extend(data_checks(experiment, &findings));
    checks.push(audit_check(&observed.audit, unmarked));
    let plan = &observed.outcome.plan;
    checks.extend(strangers_check(plan.owners, observed.outcome.connection_stats.pushes_misrouted));
    checks.extend(redrive.as_ref().map(redrive_check));
    checks.extend(recovery_check(experiment, observed.queue.visibility_timeout, recovery_ms));
    checks.extend(token_check(experiment, &observed.outcome));
    checks.extend(service_checks(experiment, &observed.outcome));
    checks.extend(refusal_statuses_check(experiment, &observed.outcome));
    checks.extend(revert_check(reverts));
    checks.push(residue_check(&observed.configuration));
    let verdict = verdict_of(&checks);
    let ids = |kind| -> Vec<String> {
        let of_kind = findings.anomalies.iter().filter(|anomaly| anomaly.kind == kind);
        of_kind.map(|anomaly| anomaly.task_id.clone()).collect()
    };
    let dead_letters = findings.dead_letters;
    Ok(ExperimentReport {
        name: experiment.name.clone(),
        hypothesis: experiment.hypothesis.trim().to_owned(),
        verdict,
        reasons: reasons(&checks),
        attempted: findings.totals.attempted,
        acknowledged: findings.totals.acknowledged,
        lost: findings.count(AnomalyKind::Lost),
        duplicate_effects: findings.count(AnomalyKind::DuplicateEffect),
        unexpected: findings.count(AnomalyKind::Unexpected),
        dlq_expected: dead_letters.must,
        dlq_allowed: dead_letters.may,
        dlq_found: dead_letters.found,
        recovery_ms,
        totals: findings.totals,
        phases: observed.outcome.phases,
        redrive: redrive.and_then(Result::ok),
        lost_ids: ids(AnomalyKind::Lost),
        anomalies_total: findings.counts.values().sum(),
        anomalies: findings.anomalies.iter().take(ANOMALIES_MAX).cloned().collect(),
        counterexample: findings.counterexample.filter(|_| verdict == Verdict::Fail),
        reverts: reverts.iter().map(revert).collect(),
        windows: observed.dose.iter().filter_map(named_window).collect(),
        series: observed.outcome.series,
        samples: observed.samples,
        activity,
        configuration: configurations(observed.configuration, observed.during),
        dead_letters_of_others: dead_letters.of_others,
        started_at_ms: observed.started_at_ms,
        took_ms: observed.took_ms,
        definition: serde_json::to_value(DefinitionOf(experiment)).unwrap_or_default(),
        dose: observed.dose,
        checks,
    })
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

fn rules(experiment: &Experiment, observed: &Observed, dead_letters: Ending) -> Rules {
    Rules {
        dead_letters,
        throttled: throttled(experiment, &observed.dose),
        queue: QueueRules {
            visibility_timeout: observed.queue.visibility_timeout,
            max_receive_count: observed.queue.max_receive_count,
            slack: experiment.expect.dlq_slack.resolve(observed.queue.visibility_timeout),
        },
        faults_end_ms: faults_end_ms(&observed.dose),
        calm_from_ms: calm_from_ms(observed.dose.iter().map(|dose| dose.calm_from_ms)),
        missed_pushes_percent_max: experiment.expect.missed_pushes_percent_max,
        absences: Absences::of(&observed.outcome.absences),
    }
}

/// When the worker could not run at all. There is one dose of each fault, in their order.
fn throttled(experiment: &Experiment, doses: &[Dose]) -> Vec<Window> {
    let stopped = experiment.fault_specs().zip(doses).filter(|(fault, _)| fault.stops_the_worker());
    stopped.filter_map(|(_, dose)| dose.measured_window).collect()
}

/// The measured end of the last fault.
fn faults_end_ms(doses: &[Dose]) -> Option<u64> {
    doses.iter().filter_map(|dose| dose.measured_window).map(|window| window.to_ms).max()
}

/// When the last fault is surely gone, or the beginning where there is none. Of one whose end was not seen nobody knows.
fn calm_from_ms(faults: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    faults.into_iter().try_fold(0, |last_ms: u64, from_ms| Some(last_ms.max(from_ms?)))
}

/// A second judgement, after the dead letters went back: only poison may be there now. Adds what it finds.
fn after_redrive(redrive: Redrive, second: Findings, findings: &mut Findings) -> Redrive {
    findings.counterexample = findings.counterexample.take().or(second.counterexample);
    let known: HashSet<(AnomalyKind, String)> =
        findings.anomalies.iter().map(|anomaly| (anomaly.kind, anomaly.task_id.clone())).collect();
    for mut anomaly in second.anomalies {
        if !known.contains(&(anomaly.kind, anomaly.task_id.clone())) {
            anomaly.detail.push_str(" (after the dead letters were moved back)");
            *findings.counts.entry(anomaly.kind).or_default() += 1;
            findings.anomalies.push(anomaly);
        }
    }
    // Not all of them are named.
    for (kind, count) in second.counts {
        let counted = findings.counts.entry(kind).or_default();
        *counted = count.max(*counted);
    }
    findings.anomalies.sort();
    Redrive {
        not_succeeded: second.not_succeeded,
        dlq_expected: second.dead_letters.must,
        dlq_found: second.dead_letters.found,
        ..redrive
    }
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
    checks.extend(dose_checks(&observed.dose));
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

/// Of several faults of one kind each has names of its own: they are told apart by them, in JUnit and in a comparison.
fn dose_checks(doses: &[Dose]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (number, dose) in doses.iter().enumerate() {
        let detail = match &dose.error {
            Some(error) => error.clone(),
            None => format!(
                "{}; {} of {} pieces of evidence",
                dose.measured, dose.evidence_total, dose.evidence_min
            ),
        };
        let is_alike = |other: &&Dose| (&other.fault, &other.target) == (&dose.fault, &dose.target);
        let turn = match doses.iter().take(number).filter(is_alike).count() {
            0 => String::new(),
            before => format!(" ({})", before + 1),
        };
        let kind = format!("dose of {}", dose.fault);
        let name = format!("{kind} on {}{turn}", dose.target);
        checks.push(Check::evidence(&name, dose.sufficient, detail));
        checks.extend(dose.checks.iter().map(|check| {
            let part = check.name.strip_prefix(&kind).unwrap_or(&check.name);
            Check { name: format!("{name}{part}"), ..check.clone() }
        }));
    }
    checks
}

fn data_checks(experiment: &Experiment, findings: &Findings) -> Vec<Check> {
    let expect = &experiment.expect;
    let dead_letters = findings.dead_letters;
    let bound = |name: &str, kind, max: u64| {
        let count = findings.count(kind);
        Check::new(name, count <= max, format!("{count}, at most {max}"))
    };
    let none = |name: &str, kinds: &[AnomalyKind]| {
        let count: u64 = kinds.iter().map(|kind| findings.count(*kind)).sum();
        Check::new(name, count == 0, format!("{count}"))
    };
    let totals = &findings.totals;
    let redelivered = expect.redelivered_max.map(|max| {
        let count = findings.redelivered;
        let detail = format!("{count} tasks but the poison seen more than once, at most {max}");
        Check::new("nothing is delivered again", count <= max, detail)
    });
    let mut checks = vec![
        bound("nothing acknowledged is lost", AnomalyKind::Lost, expect.lost),
        none("every request got a task of its own", &[AnomalyKind::SharedTask]),
        none("every task is filed under its owner", &[AnomalyKind::OtherOwner]),
        bound("no effect twice", AnomalyKind::DuplicateEffect, expect.duplicate_effects),
        bound("nothing unexpected", AnomalyKind::Unexpected, expect.unexpected),
        none("what was refused was not applied", &[AnomalyKind::RefusedApplied]),
        none("results are right", &[AnomalyKind::WrongResult, AnomalyKind::SplitKey]),
        Check::new(
            "dead letters are as predicted",
            findings.count(AnomalyKind::MissingDeadLetter) + findings.count(AnomalyKind::InnocentDeadLetter)
                == 0,
            format!(
                "{} found, {} must be there, {} may be{}; {} missing, {} without cause",
                dead_letters.found,
                dead_letters.must,
                dead_letters.may,
                dead_letters.by_clock.map_or_else(String::new, |(must, may)| format!(
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
        receives_check(findings.count(AnomalyKind::ReceiveCount), dead_letters),
        none("histories are legal", &[AnomalyKind::IllegalHistory]),
        none("every task is final in time", &[AnomalyKind::Unfinished]),
        none("what must be refused is refused", &[AnomalyKind::AcceptedAbuse]),
        Check::new(
            "failed attempts wait before the next",
            findings.count(AnomalyKind::EagerRetry) == 0,
            format!("{} of {} came back within {EAGER_GAP_MS} ms", totals.eager_retries, totals.retries),
        ),
        none("every push shows its task as it is", &[AnomalyKind::WrongPush]),
        pushes_check(expect.missed_pushes_percent_max, findings),
        Check::new(
            "conservation",
            totals.placed() == totals.acknowledged,
            format!(
                "{} acknowledged = {} succeeded + {} dead letters + {} waiting + {} lost",
                totals.acknowledged, totals.succeeded, totals.dead_lettered, totals.pending, totals.lost
            ),
        ),
    ];
    checks.extend(redelivered);
    checks
}

/// A push to nobody proves nothing: whoever throws its clients out need not push.
fn pushes_check(max: f64, findings: &Findings) -> Check {
    let (name, totals) = ("every end is pushed", &findings.totals);
    let is_missed = findings.count(AnomalyKind::MissedPush) > 0;
    if !is_missed && totals.is_pushing_untold() {
        let (away, ended) = (totals.missed_while_away, totals.ended);
        let detail =
            format!("{away} of {ended} ends reached no socket of their owner, who had none at that time");
        return Check::evidence(name, false, detail);
    }
    let detail = format!(
        "{} ends reached no socket of their owner, at most {max} % of all; {} more fell while it had none",
        totals.missed_pushes, totals.missed_while_away
    );
    Check::new(name, !is_missed, detail)
}

/// SQS counts the auditor's looks like receives: where they can stand for all that a count proves, it proves nothing.
fn receives_check(broken: u64, letters: DeadLetterCounts) -> Check {
    let name = "receive counts fit";
    let DeadLetterCounts { receives_likely: likely, receives_untold: untold, .. } = letters;
    if broken == 0 && untold > 0 {
        let detail =
            format!("of {untold} dead letters the auditor's looks hide how often they were received");
        return Check::evidence(name, false, detail);
    }
    let doubt = match likely {
        0 => String::new(),
        _ => format!("; of {likely} dead letters it is likely that they do, and not proven"),
    };
    Check::new(name, broken == 0, format!("{broken}{doubt}"))
}

/// Only tasks that this run asked for are counted: whose the others are it cannot know. Where there is one owner, no socket
/// is another's.
fn strangers_check(owners: u32, misrouted: u64) -> Option<Check> {
    let detail = format!("{misrouted} reached a socket of another of the {owners} owners");
    (owners > 1).then(|| Check::new("pushes reach their owner only", misrouted == 0, detail))
}

/// Once audited, the table says of every dead letter that it is one, unless it had succeeded.
fn audit_check(audit: &Result<(), String>, unmarked: u64) -> Check {
    match audit {
        // The auditor could not be run: nothing is known of its marks.
        Err(error) => Check::evidence("dead letters are marked", false, error.clone()),
        Ok(()) => Check::new(
            "dead letters are marked",
            unmarked == 0,
            format!("{unmarked} are not marked in the table"),
        ),
    }
}

fn residue_check((before, after): &(Configuration, Result<Configuration, String>)) -> Check {
    let name = "no residue";
    let after = match after {
        Ok(after) => after,
        Err(error) => return Check::evidence(name, false, error.clone()),
    };
    let residue = drift(before, after);
    let detail =
        if residue.is_empty() { "the configuration is as before".into() } else { residue.join("; ") };
    Check::new(name, residue.is_empty(), detail)
}

fn configurations(
    (before, after): (Configuration, Result<Configuration, String>),
    during: Option<Configuration>,
) -> Option<Configurations> {
    Some(Configurations { before, during, after: after.ok()? })
}

fn redrive_check(redrive: &Result<Redrive, String>) -> Check {
    match redrive {
        Err(error) => Check::evidence("redrive", false, error.clone()),
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

fn recovery_check(
    experiment: &Experiment,
    visibility_timeout: Duration,
    recovery_ms: Option<u64>,
) -> Option<Check> {
    let max_seconds = experiment.expect.recovery_max?.resolve(visibility_timeout).as_secs_f64();
    let Some(recovery_ms) = recovery_ms else {
        return Some(Check::evidence("recovery", false, "nothing to measure it by"));
    };
    let seconds = recovery_ms as f64 / 1000.0;
    Some(Check::new("recovery", seconds <= max_seconds, format!("{seconds:.1} s, at most {max_seconds} s")))
}

/// A token that was given ends when its issuer says so: that it is not taken any more says nothing of the service.
fn token_check(experiment: &Experiment, outcome: &LoadOutcome) -> Option<Check> {
    let (denied, played, asked) = (outcome.tokens_denied(), outcome.plan.owners, experiment.load.owners);
    let mut detail = match denied {
        0 => "no request was answered 401 or 403".to_owned(),
        _ => format!("{denied} requests were answered 401 or 403, which are not counted as refused"),
    };
    if played != asked {
        detail.push_str(&format!("; it is one owner's, so that {played} took part and not {asked}"));
    }
    outcome.is_token_given.then(|| Check::evidence("the token was taken", denied == 0, detail))
}

/// What clients were told in some phases: of their submissions, or of their reads.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    all: u64,
    bad: u64,
    /// Counted in neither: came to nothing only when a fault had begun.
    aside: u64,
    /// Of these: those that were under way for so long that either phase may be the cause.
    doubtful: u64,
}

impl Told {
    /// Only where a fault follows, what straddles may be its doing.
    fn of_submissions(phase: &PhaseStats, is_before_fault: bool, is_token_given: bool) -> Self {
        let denied = if is_token_given { phase.denied } else { 0 };
        let (aside, doubtful) =
            if is_before_fault { (phase.straddling, phase.straddling_unknown) } else { (0, 0) };
        Self {
            all: phase.attempted - denied - aside,
            bad: phase.refused + phase.unknown - denied - aside,
            aside,
            doubtful,
        }
    }

    fn of_reads(reads: &ReadStats, is_before_fault: bool, is_token_given: bool) -> Self {
        let denied = if is_token_given { reads.denied } else { 0 };
        let aside = if is_before_fault { reads.straddling } else { 0 };
        Self {
            all: reads.all() - denied - aside,
            bad: reads.refused + reads.unanswered - denied - aside,
            aside,
            doubtful: aside,
        }
    }

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.bad += other.bad;
        self.aside += other.aside;
        self.doubtful += other.doubtful;
    }

    fn share(self) -> f64 {
        percent(self.bad, self.all)
    }

    /// Why nobody knows whether more than `max` came to nothing, where less is certain.
    fn doubt(self, what: &str, max: f64) -> Option<String> {
        let Self { all, bad, aside, doubtful } = self;
        let (doubtful, is_open) = match all {
            0 => (aside, aside > 0),
            _ => (doubtful, percent(bad + doubtful, all + doubtful) > max),
        };
        let whole = all + doubtful;
        is_open.then(|| {
            format!(
                "{doubtful} of {whole} {what} came to nothing only in a later phase, whose doing it may be"
            )
        })
    }
}

fn is_faulted(phase: &PhaseStats) -> bool {
    [PHASE_FAULT, PHASE_ENDING].contains(&phase.name.as_str())
}

/// What clients see while no fault is in effect, and while one is.
fn service_checks(experiment: &Experiment, outcome: &LoadOutcome) -> Vec<Check> {
    let (phases, max) = (&outcome.phases, experiment.expect.refused_percent_max);
    let is_given = outcome.is_token_given;
    let is_next_faulted = phases.iter().skip(1).map(is_faulted).chain([false]);
    let (mut calm, mut faulted, mut reads) = (Told::default(), Told::default(), Told::default());
    for (phase, is_next_faulted) in phases.iter().zip(is_next_faulted) {
        if is_faulted(phase) {
            faulted.add(Told::of_submissions(phase, false, is_given));
        } else {
            calm.add(Told::of_submissions(phase, is_next_faulted, is_given));
            reads.add(Told::of_reads(&phase.reads, is_next_faulted, is_given));
        }
    }
    let mut checks =
        vec![refusals_check("steady state without fault", calm, max), reads_check(outcome, reads, max)];
    if let Some(max) = experiment.expect.refused_percent_during_max {
        // A fault was in effect when they came to nothing.
        faulted.add(Told { all: calm.aside, bad: calm.aside, ..Told::default() });
        checks.push(refusals_check("clients during the faults", faulted, max));
    }
    if let Some(max_ms) = experiment.expect.p99_after_ms_max {
        // Between two faults is a phase of this name as well.
        let after = phases.iter().rfind(|phase| phase.name == PHASE_AFTER);
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

fn refusals_check(name: &str, told: Told, max: f64) -> Check {
    let (share, all) = (told.share(), told.all);
    let detail = format!("{share:.2} % of {all} requests refused or unanswered, at most {max} %");
    if share > max {
        Check::new(name, false, detail)
    } else if let Some(doubt) = told.doubt("requests", max) {
        Check::evidence(name, false, doubt)
    } else if all == 0 {
        Check::evidence(name, false, "no request at that time")
    } else {
        Check::new(name, true, detail)
    }
}

/// What is shown must be right whenever it is shown; that it is shown is asked for while no fault is in effect.
fn reads_check(outcome: &LoadOutcome, calm: Told, max: f64) -> Check {
    let name = "reads are answered and right";
    let wrong: u64 = outcome.phases.iter().map(|phase| phase.reads.wrong).sum();
    let (share, all) = (calm.share(), calm.all);
    let mut detail =
        format!("{share:.2} % of {all} reads refused or unanswered, at most {max} %; {wrong} wrong");
    if let Some(first) = outcome.wrong_reads.first() {
        detail.push_str(&format!(", as task {} to {}: {:?}", first.task_id, first.owner, first.defect));
    }
    let unjudged: u64 = outcome.phases.iter().map(|phase| phase.reads.unjudged).sum();
    if wrong > 0 || share > max {
        Check::new(name, false, detail)
    } else if let Some(doubt) = calm.doubt("reads", max) {
        Check::evidence(name, false, doubt)
    } else if all == 0 {
        Check::evidence(name, false, "no read at that time")
    } else if unjudged > 0 {
        let detail = format!("{unjudged} pages showed more tasks without an answer than can be judged");
        Check::evidence(name, false, detail)
    } else {
        Check::new(name, true, detail)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / f64::max(whole as f64, 1.0)
}

/// Clients act by what they are told: a status that nobody foresaw is none to act by.
fn refusal_statuses_check(experiment: &Experiment, outcome: &LoadOutcome) -> Option<Check> {
    let allowed = &experiment.expect.refusal_statuses;
    let mut others: BTreeMap<u16, u64> = BTreeMap::new();
    for entry in &outcome.ledger {
        if let Answer::Refused { status, .. } = &entry.outcome
            && !allowed.contains(status)
            && !(outcome.is_token_given && is_denial(*status))
        {
            *others.entry(*status).or_default() += 1;
        }
    }
    let told = others.iter().map(|(status, count)| format!("{count} with {status}"));
    let detail = match others.len() {
        0 => format!("none but with {allowed:?}"),
        _ => format!("{}, and only {allowed:?} may be", told.collect::<Vec<_>>().join(", ")),
    };
    (!allowed.is_empty()).then(|| Check::new("clients are refused as foreseen", others.is_empty(), detail))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Totals;

    #[test]
    fn a_push_to_another_owner_breaks_the_run_and_one_owner_has_no_other() {
        let outcome = |owners, misrouted| strangers_check(owners, misrouted).map(|check| check.outcome);
        assert_eq!(outcome(4, 0), Some(Outcome::Held));
        assert_eq!(outcome(4, 1), Some(Outcome::Broken));
        assert_eq!(outcome(1, 0), None);
    }

    #[test]
    fn a_count_that_the_auditor_s_looks_can_explain_away_is_no_evidence() {
        let check = |broken, receives_likely, receives_untold| {
            let letters =
                DeadLetterCounts { receives_likely, receives_untold, ..DeadLetterCounts::default() };
            receives_check(broken, letters)
        };
        assert_eq!(check(0, 0, 0), Check::new("receive counts fit", true, "0"));
        assert_eq!(check(0, 3, 0).outcome, Outcome::Held);
        assert!(check(0, 3, 0).detail.contains("of 3 dead letters it is likely"), "{:?}", check(0, 3, 0));
        assert_eq!(check(0, 3, 1).outcome, Outcome::Unknown);
        assert_eq!(check(1, 3, 1).outcome, Outcome::Broken, "what is broken is broken");
    }

    #[test]
    fn it_is_calm_from_the_beginning_or_from_when_the_last_fault_is_gone_if_that_is_known() {
        assert_eq!(calm_from_ms([]), Some(0));
        assert_eq!(calm_from_ms([Some(9), Some(7)]), Some(9));
        assert_eq!(calm_from_ms([Some(9), None]), None, "who knows how long that lasted");
    }

    #[test]
    fn each_time_that_the_worker_could_not_run_at_all_is_predicted_by_and_no_other() {
        let fault = |target: &str, concurrency: u32| {
            format!(
                "[[fault]]\nkind = \"lambda-reserved-concurrency\"\ntarget = \"{target}\"\nstart = \"0s\"\n\
                 duration = \"9s\"\nconcurrency = {concurrency}\n"
            )
        };
        let faults = [fault("submit-task", 0), fault("process-task", 0), fault("process-task", 1)];
        let head = "name = \"e\"\nhypothesis = \"h\"\n[load]\nrate_per_second = 1\nduration = \"9s\"\nsettle = \"9s\"\n";
        let experiment: Experiment =
            toml::from_str(&format!("{head}{}{}", faults.concat(), fault("process-task", 0))).unwrap();
        let window = |number: u64| Window { from_ms: number, to_ms: number + 10 };
        let dose = |number: u64| -> Dose {
            let dose = serde_json::json!({
                "fault": "lambda-reserved-concurrency", "target": "f", "asked": "", "measured": "", "evidence": [],
                "evidence_total": 1, "evidence_min": 1, "sufficient": true, "asked_window": null,
                "measured_window": window(number), "error": null,
            });
            serde_json::from_value(dose).unwrap()
        };
        let doses: Vec<Dose> = (0..4).map(dose).collect();
        assert_eq!(throttled(&experiment, &doses), [window(1), window(3)]);
    }

    #[test]
    fn doses_of_one_kind_are_told_apart_in_junit_and_in_a_comparison() {
        let dose = |target: &str| -> Dose {
            let dose = serde_json::json!({
                "fault": "http-throttle", "target": target, "asked": "", "measured": "", "evidence": [],
                "evidence_total": 1, "evidence_min": 1, "sufficient": true, "asked_window": null,
                "measured_window": null, "error": null,
            });
            let checks = vec![Check::evidence("dose of http-throttle: window", true, "in time")];
            Dose { checks, ..serde_json::from_value(dose).unwrap() }
        };
        let checks = dose_checks(&[dose("http-api"), dose("other"), dose("http-api")]);
        let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        let expected = [
            "dose of http-throttle on http-api",
            "dose of http-throttle on http-api: window",
            "dose of http-throttle on other",
            "dose of http-throttle on other: window",
            "dose of http-throttle on http-api (2)",
            "dose of http-throttle on http-api (2): window",
        ];
        assert_eq!(names, expected);
        let verdict = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts/pass.json");
        let mut a: crate::run::RunReport = serde_json::from_slice(&std::fs::read(verdict).unwrap()).unwrap();
        a.experiments.truncate(1);
        a.experiments[0].checks = checks;
        let mut b = a.clone();
        // The first of a kind, which the last would hide under the same name.
        b.experiments[0].checks[1].outcome = Outcome::Unknown;
        let changes = crate::report::compare(&a, &b).experiments.remove(0).changes;
        let changed: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(changed, [expected[1]]);
        let junit = crate::report::junit(&a).unwrap();
        for name in expected {
            assert_eq!(junit.matches(&format!("name=\"{name}\"")).count(), 1, "{name}: {junit}");
        }
    }

    #[test]
    fn what_the_join_overlooks_breaks_the_conservation() {
        let outcome = |succeeded| {
            let totals = Totals { acknowledged: 2, succeeded, ..Totals::default() };
            let checks = data_checks(&baseline(), &Findings { totals, ..Findings::default() });
            checks.into_iter().find(|check| check.name == "conservation").unwrap().outcome
        };
        assert_eq!([2, 1].map(outcome), [Outcome::Held, Outcome::Broken]);
    }

    #[test]
    fn a_task_for_two_keys_and_one_of_another_owner_break_the_run() {
        let experiment = baseline();
        let broken = |kind| -> Vec<String> {
            let findings = Findings { counts: [(kind, 1)].into(), ..Findings::default() };
            let checks = data_checks(&experiment, &findings).into_iter();
            checks.filter(|check| check.outcome == Outcome::Broken).map(|check| check.name).collect()
        };
        assert_eq!(broken(AnomalyKind::SharedTask), ["every request got a task of its own"]);
        assert_eq!(broken(AnomalyKind::OtherOwner), ["every task is filed under its owner"]);
        assert_eq!(broken(AnomalyKind::WrongPush), ["every push shows its task as it is"]);
    }

    #[test]
    fn ends_that_fell_while_nobody_listened_prove_nothing_of_pushes_and_what_is_broken_is_broken() {
        let outcome = |missed: u64, missed_while_away| {
            let totals = Totals { ended: 20, missed_pushes: missed, missed_while_away, ..Totals::default() };
            let counts = [(AnomalyKind::MissedPush, missed)].into();
            pushes_check(1.0, &Findings { totals, counts, ..Findings::default() }).outcome
        };
        assert_eq!(outcome(0, 10), Outcome::Held);
        assert_eq!(outcome(0, 11), Outcome::Unknown);
        assert_eq!(outcome(9, 11), Outcome::Broken);
    }

    #[test]
    fn a_configuration_that_cannot_be_read_again_leaves_only_its_residue_unknown() {
        let read = |value: u32| Configuration::from([("worker".to_owned(), value.into())]);
        let outcome = |after| residue_check(&(read(7), after)).outcome;
        assert_eq!(outcome(Ok(read(7))), Outcome::Held);
        assert_eq!(outcome(Ok(read(0))), Outcome::Broken);
        assert_eq!(outcome(Err("sqs:GetQueueAttributes: refused".into())), Outcome::Unknown);
        assert_eq!(configurations((read(7), Err(String::new())), None), None);
    }

    /// What a run without a fault of its own measured in these phases.
    fn measured(phases: Vec<PhaseStats>) -> LoadOutcome {
        LoadOutcome {
            plan: loadtest::LoadPlan::default(),
            counts: loadtest::Counts::default(),
            ledger: Vec::new(),
            phases,
            total: PhaseStats::default(),
            series: Vec::new(),
            validity: Validity::Valid,
            issue_lag: loadtest::Latency::default(),
            pool_wait: loadtest::Latency::default(),
            connection_stats: loadtest::ConnectionStats::default(),
            absences: Vec::new(),
            wrong_reads: Vec::new(),
            is_token_given: false,
            goose: serde_json::Value::Null,
        }
    }

    /// In which all is well.
    fn well(name: &str) -> PhaseStats {
        let reads = ReadStats { right: 10, ..ReadStats::default() };
        PhaseStats { name: name.into(), attempted: 100, acknowledged: 100, reads, ..PhaseStats::default() }
    }

    fn refusing(name: &str) -> PhaseStats {
        PhaseStats { refused: 50, acknowledged: 50, ..well(name) }
    }

    fn reading(name: &str, reads: ReadStats) -> PhaseStats {
        PhaseStats { reads, ..well(name) }
    }

    fn baseline() -> Experiment {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/baseline.toml");
        crate::experiment::load(&[file]).unwrap().remove(0)
    }

    /// Of the check of this name.
    fn outcome(name: &str, outcome: &LoadOutcome) -> Outcome {
        let mut checks = service_checks(&baseline(), outcome).into_iter();
        checks.find(|check| check.name == name).unwrap().outcome
    }

    #[test]
    fn refusals_while_a_fault_ends_are_the_fault_s_and_those_after_it_the_service_s() {
        let steady = |last| {
            let phases = vec![well("before"), refusing(PHASE_FAULT), refusing(PHASE_ENDING), last];
            outcome("steady state without fault", &measured(phases))
        };
        assert_eq!(steady(well(PHASE_AFTER)), Outcome::Held);
        assert_eq!(steady(refusing(PHASE_AFTER)), Outcome::Broken);
    }

    #[test]
    fn what_was_refused_only_when_another_phase_had_begun_counts_in_neither() {
        let steady = |stats: PhaseStats| {
            outcome("steady state without fault", &measured(vec![stats, well(PHASE_FAULT)]))
        };
        let straddling = |straddling| PhaseStats { straddling, ..refusing("before") };
        assert_eq!(steady(straddling(50)), Outcome::Held);
        assert_eq!(steady(straddling(49)), Outcome::Broken);
        let all = PhaseStats { attempted: 50, acknowledged: 0, ..straddling(50) };
        assert_eq!(steady(all), Outcome::Unknown);
    }

    /// Of a hundred, this many hung until a later phase had begun.
    fn hanging(name: &str, hung: u64) -> PhaseStats {
        PhaseStats {
            acknowledged: 100 - hung,
            unknown: hung,
            straddling: hung,
            straddling_unknown: hung,
            ..well(name)
        }
    }

    #[test]
    fn what_hangs_until_a_fault_has_begun_proves_no_calm() {
        let steady = |phases: Vec<PhaseStats>| {
            let mut checks = service_checks(&baseline(), &measured(phases)).into_iter();
            checks.find(|check| check.name == "steady state without fault").unwrap()
        };
        let hung = steady(vec![hanging("before", 2), well(PHASE_FAULT), well(PHASE_AFTER)]);
        let detail = "2 of 200 requests came to nothing only in a later phase, whose doing it may be";
        assert_eq!((hung.outcome, hung.detail.as_str()), (Outcome::Unknown, detail));
        let between =
            steady(vec![well("before"), well(PHASE_FAULT), hanging(PHASE_AFTER, 2), well(PHASE_FAULT)]);
        assert_eq!(between.outcome, Outcome::Unknown);
        let all = steady(vec![
            PhaseStats { attempted: 2, acknowledged: 0, ..hanging("before", 2) },
            well(PHASE_FAULT),
        ]);
        assert!(all.outcome == Outcome::Unknown && all.detail.starts_with("2 of 2 requests"), "{all:?}");
        let refused_too = steady(vec![hanging("before", 2), well(PHASE_FAULT), refusing(PHASE_AFTER)]);
        assert_eq!(refused_too.outcome, Outcome::Broken, "what is broken is broken");
        let no_fault_between = steady(vec![hanging("load", 2), well("before"), well(PHASE_FAULT)]);
        assert_eq!(no_fault_between.outcome, Outcome::Broken, "no fault had begun");
        assert_eq!(steady(vec![hanging("before", 2)]).outcome, Outcome::Broken, "there was none");
    }

    #[test]
    fn what_comes_to_nothing_while_a_fault_is_in_effect_counts_against_it_whatever_phase_it_is_of() {
        let during = |max, phases: Vec<PhaseStats>| {
            let mut experiment = baseline();
            experiment.expect.refused_percent_during_max = Some(max);
            let mut checks = service_checks(&experiment, &measured(phases)).into_iter();
            checks.find(|check| check.name == "clients during the faults").unwrap().outcome
        };
        let fault = PhaseStats {
            name: PHASE_FAULT.into(),
            attempted: 600,
            acknowledged: 588,
            unknown: 12,
            straddling: 12,
            straddling_unknown: 12,
            ..PhaseStats::default()
        };
        for next in [PHASE_ENDING, PHASE_AFTER] {
            assert_eq!(
                during(0.0, vec![well("before"), fault.clone(), well(next)]),
                Outcome::Broken,
                "{next}"
            );
        }
        let straddling = PhaseStats { straddling: 50, ..refusing("before") };
        for before in [hanging("before", 50), straddling] {
            let phases = || vec![before.clone(), well(PHASE_FAULT), well(PHASE_AFTER)];
            assert_eq!(during(33.0, phases()), Outcome::Broken, "50 of 150");
            assert_eq!(during(34.0, phases()), Outcome::Held);
        }
        assert_eq!(during(0.0, vec![hanging("load", 2), well("before"), well(PHASE_FAULT)]), Outcome::Held);
    }

    #[test]
    fn reads_that_fail_until_a_fault_has_begun_prove_no_calm() {
        let reads = |reads, next| {
            let outcome = measured(vec![reading("before", reads), well(next)]);
            let mut checks = service_checks(&baseline(), &outcome).into_iter();
            checks.find(|check| check.name == "reads are answered and right").unwrap()
        };
        let hung = ReadStats { unanswered: 1, straddling: 1, right: 2, ..ReadStats::default() };
        assert_eq!(reads(hung, PHASE_FAULT).outcome, Outcome::Unknown);
        assert_eq!(reads(hung, "before").outcome, Outcome::Broken, "no fault had begun");
        let alone = reads(ReadStats { right: 0, ..hung }, PHASE_FAULT);
        assert!(alone.outcome == Outcome::Unknown && alone.detail.starts_with("1 of 1 reads"), "{alone:?}");
        let wrong = ReadStats { wrong: 1, ..hung };
        assert_eq!(reads(wrong, PHASE_FAULT).outcome, Outcome::Broken);
    }

    #[test]
    fn reads_must_be_answered_while_no_fault_is_in_effect_and_be_right_whenever_they_are() {
        let reads = |phases: Vec<PhaseStats>| outcome("reads are answered and right", &measured(phases));
        let with = |name, reads: ReadStats| vec![well("before"), reading(name, reads)];
        let refused = ReadStats { refused: 1, right: 9, ..ReadStats::default() };
        let unanswered = ReadStats { unanswered: 1, right: 9, ..ReadStats::default() };
        let wrong = ReadStats { wrong: 1, right: 9, ..ReadStats::default() };
        assert_eq!(reads(vec![well("before")]), Outcome::Held);
        for failed in [refused, unanswered] {
            assert_eq!(reads(with(PHASE_FAULT, failed)), Outcome::Held);
            assert_eq!(reads(with(PHASE_ENDING, failed)), Outcome::Held);
            assert_eq!(reads(with(PHASE_AFTER, failed)), Outcome::Broken);
        }
        for phase in [PHASE_FAULT, PHASE_ENDING, PHASE_AFTER] {
            assert_eq!(reads(with(phase, wrong)), Outcome::Broken, "{phase}");
        }
        let unjudged = ReadStats { unjudged: 1, ..well("before").reads };
        assert_eq!(reads(vec![well("before"), reading(PHASE_FAULT, unjudged)]), Outcome::Unknown);
        let unread = reading("before", ReadStats::default());
        assert_eq!(reads(vec![unread, well(PHASE_FAULT)]), Outcome::Unknown, "nobody read while it was calm");
    }

    #[test]
    fn how_slow_clients_are_after_the_fault_is_told_by_the_last_phase_of_that_name() {
        let mut experiment = baseline();
        experiment.expect.p99_after_ms_max = Some(100.0);
        let after = |p99_ms| {
            let post = loadtest::Latency { count: 100, p99_ms, ..loadtest::Latency::default() };
            PhaseStats { post, ..well(PHASE_AFTER) }
        };
        let judged = |last| {
            let phases = vec![well("before"), well(PHASE_FAULT), after(10.0), well(PHASE_FAULT), after(last)];
            let mut checks = service_checks(&experiment, &measured(phases)).into_iter();
            checks.find(|check| check.name == "p99 after the fault").unwrap().outcome
        };
        assert_eq!((judged(10.0), judged(9999.0)), (Outcome::Held, Outcome::Broken));
    }

    #[test]
    fn what_is_denied_to_a_token_that_was_given_says_nothing_of_the_service() {
        let reads = ReadStats { refused: 5, denied: 5, right: 5, ..ReadStats::default() };
        let denied = PhaseStats { refused: 50, denied: 50, acknowledged: 50, reads, ..well("before") };
        let mut outcome = measured(vec![denied.clone()]);
        outcome.total = denied;
        let told = |load: &LoadOutcome| {
            let checks = token_check(&baseline(), load).into_iter().chain(service_checks(&baseline(), load));
            checks.map(|check| check.outcome).collect::<Vec<_>>()
        };
        assert_eq!(told(&outcome), [Outcome::Broken, Outcome::Broken], "one made here must be taken");
        outcome.is_token_given = true;
        assert_eq!(told(&outcome), [Outcome::Unknown, Outcome::Held, Outcome::Held]);
        outcome.plan.owners = 1;
        let detail = token_check(&baseline(), &outcome).unwrap().detail;
        assert!(detail.ends_with("; it is one owner's, so that 1 took part and not 4"), "{detail}");
    }

    #[test]
    fn dead_letters_that_are_not_marked_break_the_run_unless_the_auditor_could_not_mark_them() {
        assert_eq!(audit_check(&Ok(()), 0).outcome, Outcome::Held);
        assert_eq!(audit_check(&Ok(()), 1).outcome, Outcome::Broken);
        assert_eq!(audit_check(&Err("put off".into()), 1).outcome, Outcome::Unknown);
    }
}
