//! JUnit XML: a suite per experiment, a case per check.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::run::{Check, ExperimentReport, Outcome, RunReport, Verdict};

pub fn junit(run: &RunReport) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("chaos {}", run.run_id));
    report.set_time(Duration::from_millis(run.took_ms));
    report.add_test_suites(run.experiments.iter().map(suite));
    report.add_test_suites(run.skipped.iter().map(|name| skipped_suite(run, name)));
    report.to_string()
}

/// Not `skipped`, which a CI counts among what is well.
fn skipped_suite(run: &RunReport, name: &str) -> TestSuite {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(run.halted.as_deref().unwrap_or("the run ended before"));
    let mut case = TestCase::new("was run", status);
    case.set_classname(name);
    let mut suite = TestSuite::new(name);
    suite.add_property(("verdict", Verdict::Inconclusive.name()));
    suite.add_test_case(case);
    suite
}

fn suite(experiment: &ExperimentReport) -> TestSuite {
    let mut suite = TestSuite::new(experiment.name.as_str());
    suite.set_time(Duration::from_millis(experiment.took_ms));
    suite.add_property(("verdict", experiment.verdict.name()));
    suite.add_test_cases(experiment.checks.iter().map(|check| case(experiment, check)));
    suite
}

fn case(experiment: &ExperimentReport, check: &Check) -> TestCase {
    // JUnit knows no "cannot tell": an error is what a CI shows as neither passed nor failed.
    let mut status = match check.outcome {
        Outcome::Held => TestCaseStatus::success(),
        Outcome::Broken => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Unknown => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if check.outcome != Outcome::Held {
        status.set_message(check.detail.as_str());
    }
    let mut case = TestCase::new(check.name.as_str(), status);
    case.set_classname(experiment.name.as_str());
    case
}
