//! What changed between two runs.

use std::collections::{BTreeMap, BTreeSet};

use loadtest::PhaseStats;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::run::{ExperimentReport, Outcome, RunReport, Verdict};

/// Below both of these a latency differs by chance.
const LATENCY_PERCENT_MIN: f64 = 20.0;
const LATENCY_MS_MIN: f64 = 5.0;

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    pub a: Side,
    pub b: Side,
    /// Whether any experiment of `b` has a worse verdict than in `a`, or is missing.
    pub worse: bool,
    pub experiments: Vec<ExperimentChange>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Side {
    pub run_id: String,
    pub verdict: Verdict,
    pub seed: u64,
    pub started_at: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ExperimentChange {
    pub name: String,
    /// Null where the run did not have the experiment.
    pub a: Option<Verdict>,
    pub b: Option<Verdict>,
    pub worse: bool,
    pub changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    Check,
    Dose,
    Count,
    Latency,
    Configuration,
    Definition,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Dose => "dose",
            Self::Count => "count",
            Self::Latency => "latency",
            Self::Configuration => "configuration",
            Self::Definition => "definition",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    pub group: Group,
    pub what: String,
    pub a: String,
    pub b: String,
    /// Of numbers: `b` minus `a`, with its sign.
    pub difference: Option<String>,
}

pub fn compare(a: &RunReport, b: &RunReport) -> Comparison {
    let mut names: Vec<&str> = a.experiments.iter().map(|experiment| experiment.name.as_str()).collect();
    let fresh = b.experiments.iter().map(|experiment| experiment.name.as_str());
    let fresh: Vec<&str> = fresh.filter(|name| !names.contains(name)).collect();
    names.extend(fresh);
    let experiments: Vec<ExperimentChange> =
        names.into_iter().map(|name| experiment(name, find(a, name), find(b, name))).collect();
    Comparison {
        a: side(a),
        b: side(b),
        worse: experiments.iter().any(|experiment| experiment.worse),
        experiments,
    }
}

fn side(run: &RunReport) -> Side {
    Side {
        run_id: run.run_id.clone(),
        verdict: run.verdict,
        seed: run.seed,
        started_at: run.started_at.clone(),
    }
}

fn find<'a>(run: &'a RunReport, name: &str) -> Option<&'a ExperimentReport> {
    run.experiments.iter().find(|experiment| experiment.name == name)
}

fn experiment(name: &str, a: Option<&ExperimentReport>, b: Option<&ExperimentReport>) -> ExperimentChange {
    let (verdict_a, verdict_b) = (a.map(|report| report.verdict), b.map(|report| report.verdict));
    let mut changes = Vec::new();
    if let (Some(a), Some(b)) = (a, b) {
        changes.extend(checks(a, b));
        changes.extend(doses(a, b));
        changes.extend(counts(a, b));
        changes.extend(latencies(a, b));
        changes.extend(configuration(a, b));
        changes.extend(flat_differences(Group::Definition, &a.definition, &b.definition));
    }
    let worse = verdict_a.is_some_and(|a| verdict_b.is_none_or(|b| severity(b) > severity(a)));
    ExperimentChange { name: name.to_owned(), a: verdict_a, b: verdict_b, worse, changes }
}

/// A run that cannot tell is worse than one that passed, and better than one that saw something break.
const fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
    }
}

fn checks(a: &ExperimentReport, b: &ExperimentReport) -> Vec<Change> {
    let outcomes = |report: &ExperimentReport| -> BTreeMap<String, String> {
        let named = |outcome| match outcome {
            Outcome::Held => "held",
            Outcome::Broken => "broken",
            Outcome::Unknown => "unknown",
        };
        report.checks.iter().map(|check| (check.name.clone(), named(check.outcome).to_owned())).collect()
    };
    texts(Group::Check, &outcomes(a), &outcomes(b))
}

fn doses(a: &ExperimentReport, b: &ExperimentReport) -> Vec<Change> {
    let measured = |report: &ExperimentReport| -> BTreeMap<String, String> {
        let one = |(number, dose): (usize, &crate::run::Dose)| {
            let length = dose.measured_window.map_or_else(
                || "no window".to_owned(),
                |window| format!("{:.1} s", window.to_ms.saturating_sub(window.from_ms) as f64 / 1000.0),
            );
            let what = format!("{}. {} on {}", number + 1, dose.fault, dose.target);
            (what, format!("{}, {length}", dose.measured))
        };
        report.dose.iter().enumerate().map(one).collect()
    };
    texts(Group::Dose, &measured(a), &measured(b))
}

fn configuration(a: &ExperimentReport, b: &ExperimentReport) -> Vec<Change> {
    let before = |report: &ExperimentReport| -> BTreeMap<String, String> {
        let settings = report.configuration.iter().flat_map(|all| &all.before);
        settings.map(|(name, value)| (name.clone(), text(value))).collect()
    };
    // A report of before settings were kept says nothing about them.
    match (&a.configuration, &b.configuration) {
        (Some(_), Some(_)) => texts(Group::Configuration, &before(a), &before(b)),
        _ => Vec::new(),
    }
}

fn counts(a: &ExperimentReport, b: &ExperimentReport) -> Vec<Change> {
    let all = |report: &ExperimentReport| -> Vec<(&'static str, u64)> {
        vec![
            ("attempted", report.attempted),
            ("acknowledged", report.acknowledged),
            ("refused", report.totals.refused),
            ("unanswered", report.totals.unknown),
            ("succeeded", report.totals.succeeded),
            ("lost", report.lost),
            ("effects twice", report.duplicate_effects),
            ("unexpected", report.unexpected),
            ("dead letters", report.dlq_found),
            ("dead letters that must be there", report.dlq_expected),
            ("dead letters that may be there", report.dlq_allowed),
            ("seen by a worker more than once", report.totals.redelivered),
            ("anomalies", report.anomalies_total),
        ]
    };
    let pairs = all(a).into_iter().zip(all(b));
    let mut changes: Vec<Change> = pairs
        .filter(|((_, a), (_, b))| a != b)
        .map(|((what, a), (_, b))| Change {
            group: Group::Count,
            what: what.to_owned(),
            a: a.to_string(),
            b: b.to_string(),
            difference: Some(format!("{:+}", i128::from(b) - i128::from(a))),
        })
        .collect();
    let recovery = |report: &ExperimentReport| report.recovery_ms.map(|ms| ms as f64);
    if let (Some(a), Some(b)) = (recovery(a), recovery(b)) {
        changes.extend(latency("recovery".into(), a, b));
    }
    changes
}

fn latencies(a: &ExperimentReport, b: &ExperimentReport) -> Vec<Change> {
    let mut changes = Vec::new();
    for phase in &a.phases {
        let Some(other) = b.phases.iter().find(|other| other.name == phase.name) else { continue };
        for ((what, a), (_, b)) in percentiles(phase).into_iter().zip(percentiles(other)) {
            changes.extend(latency(format!("{}: {what}", phase.name), a, b));
        }
    }
    changes
}

fn percentiles(phase: &PhaseStats) -> [(&'static str, f64); 6] {
    [
        ("POST p50", phase.post.p50_ms),
        ("POST p90", phase.post.p90_ms),
        ("POST p99", phase.post.p99_ms),
        ("result p50", phase.end_to_end.p50_ms),
        ("result p90", phase.end_to_end.p90_ms),
        ("result p99", phase.end_to_end.p99_ms),
    ]
}

/// Only what is beyond chance is a change.
fn latency(what: String, a: f64, b: f64) -> Option<Change> {
    let percent = if a > 0.0 { (b - a) / a * 100.0 } else { 0.0 };
    ((b - a).abs() > LATENCY_MS_MIN && (a == 0.0 || percent.abs() > LATENCY_PERCENT_MIN)).then(|| Change {
        group: Group::Latency,
        what,
        a: format!("{a:.1} ms"),
        b: format!("{b:.1} ms"),
        difference: Some(if a > 0.0 { format!("{percent:+.0} %") } else { format!("{:+.1} ms", b - a) }),
    })
}

/// Leaves of two JSON documents that differ, named by their path.
fn flat_differences(group: Group, a: &Value, b: &Value) -> Vec<Change> {
    let leaves = |value: &Value| {
        let mut found = BTreeMap::new();
        flatten(String::new(), value, &mut found);
        found
    };
    texts(group, &leaves(a), &leaves(b))
}

fn flatten(path: String, value: &Value, found: &mut BTreeMap<String, String>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| flatten(join(name), value, found));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| flatten(join(&n.to_string()), value, found));
        }
        leaf => {
            found.insert(path, text(leaf));
        }
    }
}

fn texts(group: Group, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let shown = |value: Option<&String>| value.map_or_else(|| "absent".to_owned(), Clone::clone);
    let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differing
        .map(|name| Change {
            group,
            what: name.clone(),
            a: shown(a.get(name)),
            b: shown(b.get(name)),
            difference: None,
        })
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "absent".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{comparison_markdown, comparison_terminal};

    fn verdict(name: &str) -> RunReport {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts").join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let run = verdict("pass.json");
        let same = compare(&run, &run);
        assert!(!same.worse);
        assert!(same.experiments.iter().all(|experiment| experiment.changes.is_empty()));
    }

    #[test]
    fn a_worse_verdict_a_changed_check_and_a_higher_count_are_named() {
        let a = verdict("pass.json");
        let mut b = a.clone();
        let changed = &mut b.experiments[0];
        changed.verdict = Verdict::Fail;
        changed.lost = 3;
        changed.checks[0].outcome = Outcome::Broken;
        changed.phases[0].post.p99_ms = 4.0 * changed.phases[0].post.p99_ms + 100.0;
        let comparison = compare(&a, &b);
        assert!(comparison.worse && comparison.experiments[0].worse);
        let of = |group| comparison.experiments[0].changes.iter().filter(move |change| change.group == group);
        assert_eq!(of(Group::Check).count(), 1);
        assert_eq!(of(Group::Count).next().unwrap().difference.as_deref(), Some("+3"));
        assert!(of(Group::Latency).next().unwrap().what.ends_with("POST p99"));
        assert!(!compare(&b, &a).worse, "a better verdict is no worse");
        let (terminal, markdown) = (comparison_terminal(&comparison), comparison_markdown(&comparison));
        assert!(
            terminal.contains("PASS -> FAIL, worse") && terminal.contains("B is worse than A."),
            "{terminal}"
        );
        assert!(markdown.contains("| count | lost | 0 | 3 | +3 |"), "{markdown}");
    }

    #[test]
    fn an_experiment_that_was_not_run_again_makes_b_worse() {
        let a = verdict("pass.json");
        let mut b = a.clone();
        b.experiments.clear();
        assert!(compare(&a, &b).worse);
        assert!(!compare(&b, &a).worse, "one more than before is no loss");
    }

    #[test]
    fn latencies_differ_only_beyond_chance() {
        assert_eq!(latency("x".into(), 10.0, 14.0), None, "40 %, and 4 ms");
        assert_eq!(latency("x".into(), 100.0, 110.0), None, "10 ms, and 10 %");
        assert_eq!(latency("x".into(), 100.0, 150.0).unwrap().difference.as_deref(), Some("+50 %"));
    }
}
