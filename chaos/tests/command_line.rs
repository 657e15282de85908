//! The `chaos` program as its user types it: what it prints, and how it exits, where no stack is needed.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::io::{PipeWriter, pipe};
use std::path::Path;
use std::process::Command;

use chaos::report;
use chaos::run::{Outcome, RunReport};
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::{Value, json};

const EXIT_PASS: i32 = 0;
const EXIT_FAIL: i32 = 1;
const EXIT_USAGE: i32 = 2;
const EXIT_INCONCLUSIVE: i32 = 3;
const EXIT_NOT_REVERTED: i32 = 4;

/// Standard output, standard error, exit code; run where its user would, at the root of the repository.
fn chaos(arguments: &[&str]) -> (String, String, i32) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_chaos")).current_dir(root).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

fn verdict(name: &str) -> RunReport {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The experiments that `chaos list` names, of what it printed.
fn names(listed: &str) -> Vec<&str> {
    listed.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect()
}

#[test]
fn the_shipped_experiments_are_listed_with_what_they_believe_and_are_well_formed() {
    let (listed, _, code) = chaos(&["list"]);
    assert_eq!(code, EXIT_PASS);
    for told in ["baseline\n", "worker-throttled\n", "With no fault, every accepted task ends"] {
        assert!(listed.contains(told), "{told:?} is not in\n{listed}");
    }
    let (validated, _, code) = chaos(&["validate"]);
    let count = names(&listed).len();
    assert_eq!((validated, code), (format!("{count} experiments are well formed\n"), EXIT_PASS));
}

#[test]
fn what_is_wrong_with_a_file_is_told_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "name = \"bad\"\nhypothesis = \"h\"\n").unwrap();
    for command in ["list", "validate", "plan", "preflight", "run"] {
        let (out, err, code) = chaos(&[command, file.to_str().unwrap()]);
        assert_eq!((out.as_str(), code), ("", EXIT_USAGE), "{command}");
        assert!(err.contains("bad.toml") && err.contains("missing field `load`"), "{command}: {err}");
    }
    let (_, err, code) = chaos(&["run", "--suite", folder.path().join("nowhere").to_str().unwrap()]);
    assert_eq!(code, EXIT_USAGE, "{err}");
}

/// A stack as `terraform output -json stack` describes one on AWS, and as `stack.json` does one here.
fn stack(endpoint: &str) -> String {
    format!(
        r#"{{"endpoint":{endpoint},"region":"us-east-1","account_id":"123456789012","http_url":"https://h",
        "websocket_url":"wss://w","http_api":{{"id":"abc","stage":"$default"}},"websocket_api":{{"id":"def","stage":"live"}},
        "functions":{{}},"queues":{{"tasks":{{"url":"u","arn":"a"}}}},"tables":{{}},"event_source_mapping_id":"uuid","auth":{{"issuer":"i","audience":"a"}}}}"#
    )
}

/// One in which each shipped experiment finds what it changes.
fn whole_stack() -> Value {
    let mut stack: Value = serde_json::from_str(&stack("null")).unwrap();
    for name in ["submit-task", "list-tasks", "process-task", "websocket", "audit-dead-letters", "authorizer"]
    {
        let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
        let role_arn = format!("arn:aws:iam::123456789012:role/{name}");
        stack["functions"][name] =
            json!({"name": name, "arn": arn, "role_arn": role_arn, "timeout_seconds": 10});
    }
    for name in ["tasks", "tasks-dlq"] {
        let url = format!("https://sqs.us-east-1.amazonaws.com/123456789012/{name}");
        let arn = format!("arn:aws:sqs:us-east-1:123456789012:{name}");
        stack["queues"][name] =
            json!({"url": url, "arn": arn, "visibility_timeout_seconds": 60, "max_receive_count": 5});
    }
    for name in ["tasks", "connections"] {
        let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{name}");
        stack["tables"][name] = json!({"name": name, "arn": arn});
    }
    stack["fault_injection"] = json!({
        "role_arn": "arn:aws:iam::123456789012:role/fault-injection", "bucket": "faults", "prefix": "FisConfigs/",
    });
    stack
}

#[test]
fn a_plan_without_files_is_of_all_that_are_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.json");
    std::fs::write(&file, whole_stack().to_string()).unwrap();
    let (planned, err, code) = chaos(&["plan", "--json", "--stack", file.to_str().unwrap()]);
    assert_eq!(code, EXIT_PASS, "{err}");
    let planned: Value = serde_json::from_str(&planned).unwrap();
    let planned = planned["experiments"].as_array().unwrap().iter();
    let planned: Vec<&str> = planned.map(|experiment| experiment["name"].as_str().unwrap()).collect();
    assert_eq!(planned, names(&chaos(&["list"]).0));
}

#[test]
fn an_account_that_is_not_on_the_list_and_a_host_that_is_not_this_one_are_refused_before_any_call() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.json");
    let (aws, elsewhere) = (stack("null"), stack("\"http://192.0.2.1:4566\""));
    for (text, allowed, told) in [
        (&aws, &[][..], "--account 123456789012"),
        (&aws, &["--account", "999999999999,888888888888"], "999999999999, 888888888888"),
        (&elsewhere, &[], "http://192.0.2.1:4566"),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["preflight", "run"] {
            let mut arguments =
                vec![command, "chaos/experiments/baseline.toml", "--stack", file.to_str().unwrap()];
            arguments.extend(allowed);
            let (out, err, code) = chaos(&arguments);
            assert_eq!((out.as_str(), code), ("", EXIT_USAGE), "{command}: {err}");
            assert!(err.contains(told), "{command}: {err}");
        }
    }
}

#[test]
fn a_command_that_nobody_can_read_any_more_exits_as_it_would() {
    let folder = tempfile::tempdir().unwrap();
    report::write(folder.path(), &verdict("fail.json")).unwrap();
    let (run, nowhere) = (folder.path(), folder.path().join("nowhere"));
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/baseline.toml");
    for (command, path, code) in [
        ("report", run, EXIT_PASS),
        ("report", nowhere.as_path(), EXIT_USAGE),
        ("validate", baseline.as_path(), EXIT_PASS),
        ("list", baseline.as_path(), EXIT_PASS),
        ("schema", Path::new("verdict"), EXIT_PASS),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
        program.arg(command).arg(path).stdout(unread()).stderr(unread());
        assert_eq!(program.status().unwrap().code(), Some(code), "{command}");
    }
}

/// A pipe at whose other end is nobody.
fn unread() -> PipeWriter {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer
}

#[test]
fn the_schemas_are_printed() {
    for of in ["experiment", "verdict"] {
        let (out, _, code) = chaos(&["schema", of]);
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(schema["properties"].is_object() && code == EXIT_PASS, "{of}");
    }
}

#[test]
fn a_comparison_exits_by_whether_the_second_run_is_worse() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let run = folder.path().join(name);
        std::fs::create_dir(&run).unwrap();
        report::write(&run, &verdict(&format!("{name}.json"))).unwrap();
        run.to_str().unwrap().to_owned()
    };
    let (pass, fail) = (run("pass"), run("fail"));
    assert_eq!(chaos(&["report", "--compare", &pass, &fail]).2, EXIT_FAIL);
    assert_eq!(chaos(&["report", "--compare", &pass, &pass]).2, EXIT_PASS);
    let (told, _, code) = chaos(&["report", &fail]);
    assert!(told.contains("FAIL") && code == EXIT_PASS, "{told}");
}

#[test]
fn a_run_exits_by_its_verdict_and_above_all_by_what_is_left_changed() {
    for (name, code) in
        [("pass.json", EXIT_PASS), ("fail.json", EXIT_FAIL), ("inconclusive.json", EXIT_INCONCLUSIVE)]
    {
        let run = verdict(name);
        assert_eq!(i32::from(run.exit_code()), code, "{name}");
        assert_eq!(i32::from(RunReport { reverted: false, ..run }.exit_code()), EXIT_NOT_REVERTED, "{name}");
    }
}

#[test]
fn a_run_whose_report_could_not_be_kept_never_exits_as_if_nothing_had_been_touched() {
    for (name, code) in
        [("pass.json", EXIT_INCONCLUSIVE), ("fail.json", EXIT_FAIL), ("inconclusive.json", EXIT_INCONCLUSIVE)]
    {
        let run = verdict(name);
        assert_eq!(i32::from(run.exit_code_unwritten()), code, "{name}");
        let changed = RunReport { reverted: false, ..run };
        assert_eq!(i32::from(changed.exit_code_unwritten()), EXIT_NOT_REVERTED, "{name}");
    }
}

#[test]
fn every_form_of_the_report_names_what_was_not_run_and_why() {
    let run = RunReport {
        halted: Some("a signal asked to stop".into()),
        skipped: vec!["worker-slow".into(), "worker-throttled".into()],
        ..verdict("pass.json")
    };
    let folder = tempfile::tempdir().unwrap();
    report::write(folder.path(), &run).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let junit = Report::deserialize_from_str(&read("junit.xml")).unwrap();
    assert_eq!(junit.errors, run.skipped.len(), "none is a success, a failure or `skipped`");
    for name in &run.skipped {
        let suite = junit.test_suites.iter().find(|suite| suite.name.as_str() == name).unwrap();
        let outcomes: Vec<Outcome> = suite.test_cases.iter().map(|case| outcome(&case.status)).collect();
        assert_eq!(outcomes, [Outcome::Unknown], "{name}");
    }
    assert!(read("junit.xml").contains("a signal asked to stop"));
    let summary = read("summary.md");
    assert!(summary.contains("**Stopped early: a signal asked to stop.**"), "{summary}");
    assert!(summary.contains("**Not run: worker-slow, worker-throttled.**"), "{summary}");
    assert!(report::table(&run).contains("\nnot run: worker-slow, worker-throttled\n"));
    assert_eq!(report::read(folder.path()).unwrap().skipped, run.skipped);
}

#[test]
fn junit_has_a_case_for_every_check_and_fails_where_the_verdict_does() {
    for name in ["pass.json", "fail.json", "inconclusive.json"] {
        let (folder, run) = (tempfile::tempdir().unwrap(), verdict(name));
        report::write(folder.path(), &run).unwrap();
        let text = std::fs::read_to_string(folder.path().join("junit.xml")).unwrap();
        let junit = Report::deserialize_from_str(&text).unwrap();
        assert_eq!(junit.test_suites.len(), run.experiments.len(), "{name}");
        for (suite, experiment) in junit.test_suites.iter().zip(&run.experiments) {
            assert_eq!(suite.name.as_str(), experiment.name);
            let found: Vec<Outcome> = suite.test_cases.iter().map(|case| outcome(&case.status)).collect();
            let expected: Vec<Outcome> = experiment.checks.iter().map(|check| check.outcome).collect();
            assert_eq!(found, expected, "{name}: {}", experiment.name);
        }
    }
}

fn outcome(status: &TestCaseStatus) -> Outcome {
    match status {
        TestCaseStatus::Success { .. } => Outcome::Held,
        TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, .. } => Outcome::Broken,
        _ => Outcome::Unknown,
    }
}

#[test]
fn the_summary_says_every_verdict_and_whatever_is_not_well() {
    for name in ["pass.json", "fail.json", "inconclusive.json"] {
        let (folder, run) = (tempfile::tempdir().unwrap(), verdict(name));
        report::write(folder.path(), &run).unwrap();
        let text = std::fs::read_to_string(folder.path().join("summary.md")).unwrap();
        assert!(text.starts_with(&format!("# Chaos run {}: {}\n", run.run_id, run.verdict.name())), "{name}");
        for experiment in &run.experiments {
            assert!(
                text.contains(&format!("| {} | {} |", experiment.name, experiment.verdict.name())),
                "{name}"
            );
            let not_well = experiment.checks.iter().filter(|check| check.outcome != Outcome::Held).count();
            let section = text.split(&format!("## {}\n", experiment.name)).nth(1).unwrap();
            let section = section.split("\n## ").next().unwrap();
            let told = section.matches("- **broken**:").count() + section.matches("- **unknown**:").count();
            assert_eq!(told, not_well, "{name}: {}", experiment.name);
        }
    }
}
