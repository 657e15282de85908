//! JUnit XML: a suite per experiment, a case per check.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::run::{Check, ExperimentReport, Outcome, RunReport};

pub fn junit(run: &RunReport) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("chaos {}", run.run_id));
    report.set_time(Duration::from_millis(run.took_ms));
    report.add_test_suites(run.experiments.iter().map(suite));
    report.to_string()
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
