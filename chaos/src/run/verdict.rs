//! What a run says in the end. These types are `verdict.json`.

use loadtest::{PhaseStats, SeriesPoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Dose;
use super::activity::ActivityPoint;
use crate::observe::{Configuration, Sample};
use crate::oracle::{Anomaly, Counterexample, Totals, Window};

/// PASS: everything that was expected was seen to hold. FAIL: something was seen not to hold. INCONCLUSIVE: neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Pass,
    Fail,
    Inconclusive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Held,
    Broken,
    /// There was not enough evidence to tell.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    pub name: String,
    pub outcome: Outcome,
    pub detail: String,
}

impl Check {
    pub fn new(name: &str, held: bool, detail: impl Into<String>) -> Self {
        let outcome = if held { Outcome::Held } else { Outcome::Broken };
        Self { name: name.to_owned(), outcome, detail: detail.into() }
    }

    /// A condition without which nothing can be told.
    pub fn evidence(name: &str, there: bool, detail: impl Into<String>) -> Self {
        let outcome = if there { Outcome::Held } else { Outcome::Unknown };
        Self { name: name.to_owned(), outcome, detail: detail.into() }
    }
}

/// What is broken is broken whatever else is unknown.
pub(super) fn verdict_of(checks: &[Check]) -> Verdict {
    let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
    if any(Outcome::Broken) {
        Verdict::Fail
    } else if any(Outcome::Unknown) || checks.is_empty() {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentReport {
    pub name: String,
    pub hypothesis: String,
    pub verdict: Verdict,
    /// Why it is not PASS; empty when it is.
    pub reasons: Vec<String>,
    pub checks: Vec<Check>,
    pub dose: Vec<Dose>,
    pub attempted: u64,
    pub acknowledged: u64,
    pub lost: u64,
    pub duplicate_effects: u64,
    pub unexpected: u64,
    /// Tasks that must be in the dead-letter queue.
    pub dlq_expected: u64,
    /// Tasks that may be, `dlq_expected` included.
    pub dlq_allowed: u64,
    pub dlq_found: u64,
    /// From the measured end of the last fault until what was acknowledged before it was done. Null without a fault.
    pub recovery_ms: Option<u64>,
    pub totals: Totals,
    /// Latencies and counts before, during and after the faults.
    pub phases: Vec<PhaseStats>,
    pub redrive: Option<Redrive>,
    pub lost_ids: Vec<String>,
    /// The first of them, worst first.
    pub anomalies: Vec<Anomaly>,
    pub anomalies_total: u64,
    pub counterexample: Option<Counterexample>,
    pub reverts: Vec<Revert>,
    /// Fault windows as measured, for the charts.
    pub windows: Vec<NamedWindow>,
    pub series: Vec<SeriesPoint>,
    pub samples: Vec<Sample>,
    /// What worker and sockets did, second by second.
    #[serde(default)]
    pub activity: Vec<ActivityPoint>,
    /// What faults can change. Null where it was not read twice.
    #[serde(default)]
    pub configuration: Option<Configurations>,
    /// Dead letters of other runs, which are not judged. A redrive moves them as well.
    pub dead_letters_of_others: u64,
    pub started_at_ms: u64,
    pub took_ms: u64,
    /// The experiment as it was read.
    pub definition: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configurations {
    pub before: Configuration,
    /// While the faults were in effect; null without a fault, or where it could not be read.
    pub during: Option<Configuration>,
    pub after: Configuration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedWindow {
    pub name: String,
    pub window: Window,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redrive {
    /// Messages that the move task says it moved.
    pub moved: u64,
    pub took_ms: u64,
    /// Not poison, and not succeeded afterwards.
    pub not_succeeded: u64,
    pub dlq_expected: u64,
    pub dlq_found: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Revert {
    pub what: String,
    pub prior: Value,
    /// Null when it reads back as it was.
    pub error: Option<String>,
}

/// `verdict.json`: what a chaos run says in the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    pub run_id: String,
    pub verdict: Verdict,
    pub seed: u64,
    pub started_at: String,
    pub took_ms: u64,
    /// Of the harness and of what it ran against.
    pub versions: Vec<(String, String)>,
    pub endpoint: Option<String>,
    pub region: String,
    pub account_id: String,
    /// False when a setting did not read back as it was.
    pub reverted: bool,
    /// Why the run ended before its time.
    pub halted: Option<String>,
    /// Experiments that were asked for and not begun, because the run ended before.
    #[serde(default)]
    pub skipped: Vec<String>,
    pub experiments: Vec<ExperimentReport>,
}

impl RunReport {
    pub const EXIT_PASS: u8 = 0;
    pub const EXIT_FAIL: u8 = 1;
    pub const EXIT_USAGE: u8 = 2;
    pub const EXIT_INCONCLUSIVE: u8 = 3;
    pub const EXIT_NOT_REVERTED: u8 = 4;

    /// A stack that is left changed outweighs every verdict.
    pub fn exit_code(&self) -> u8 {
        match (self.reverted, self.verdict) {
            (false, _) => Self::EXIT_NOT_REVERTED,
            (true, Verdict::Pass) => Self::EXIT_PASS,
            (true, Verdict::Fail) => Self::EXIT_FAIL,
            (true, Verdict::Inconclusive) => Self::EXIT_INCONCLUSIVE,
        }
    }

    /// Of a run whose report could not be kept: nobody can look at what would have passed.
    pub fn exit_code_unwritten(&self) -> u8 {
        match self.exit_code() {
            Self::EXIT_PASS => Self::EXIT_INCONCLUSIVE,
            code => code,
        }
    }
}

/// The worst of all; nothing run is nothing proven, and neither is what was skipped.
pub(super) fn overall(experiments: &[ExperimentReport], skipped: &[String]) -> Verdict {
    let any = |verdict| experiments.iter().any(|experiment| experiment.verdict == verdict);
    if any(Verdict::Fail) {
        Verdict::Fail
    } else if any(Verdict::Inconclusive) || experiments.is_empty() || !skipped.is_empty() {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    }
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> Vec<ExperimentReport> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts/pass.json");
        let run: RunReport = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        run.experiments
    }

    #[test]
    fn a_run_that_skipped_an_experiment_did_not_pass() {
        let mut experiments = passed();
        let skipped = ["later".to_owned()];
        assert_eq!(overall(&experiments, &[]), Verdict::Pass);
        assert_eq!(overall(&experiments, &skipped), Verdict::Inconclusive);
        assert_eq!(overall(&[], &skipped), Verdict::Inconclusive);
        experiments[0].verdict = Verdict::Fail;
        assert_eq!(overall(&experiments, &skipped), Verdict::Fail, "what is broken stays broken");
    }
}
