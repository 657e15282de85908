//! What the log says of an invocation, and of the init phases before it and within it.

use std::time::Duration;

use aws_sdk_lambda::types::{ApplicationLogLevel, Environment, LogFormat, LoggingConfig, SystemLogLevel};
use emulator::metrics::MetricId;
use serde_json::{Value, json};

use crate::environments::{lines_of, scripted, until};
use crate::events::logged;
use crate::functions::{body, package};
use crate::{MEETING_WITHIN, by_hand, logs, tailed};

const EXITED: &str = "Status: error\tError Type: Runtime.ExitError";

fn report_of(tail: &str) -> &str {
    tail.lines().find(|line| line.starts_with("REPORT ")).unwrap_or_else(|| panic!("{tail}"))
}

/// A number of the REPORT line.
fn figure(tail: &str, name: &str) -> f64 {
    let report = report_of(tail);
    let (_, rest) = report.split_once(&format!("\t{name}: ")).unwrap_or_else(|| panic!("{name}: {tail}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// The INIT_REPORT lines, from the phase on.
fn init_reports(tail: &str) -> Vec<&str> {
    let reports = tail.lines().filter(|line| line.starts_with("INIT_REPORT Init Duration: "));
    reports.map(|line| line.split_once(" ms\t").unwrap().1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_duration_is_that_of_the_report_without_the_init_phase() {
    let account = by_hand().await;
    scripted(&account, "sleep 0.2\nexec ./echo", 60, &[]).await;
    let (_, tail) = tailed(&account, "f", json!({})).await;
    assert!(figure(&tail, "Init Duration") >= 200.0, "{tail}");
    let id = MetricId::new("AWS/Lambda", "Duration", vec![("FunctionName".into(), "f".into())]);
    let settings = account.running.settings();
    let measured = settings.metrics.statistics(&id, "Milliseconds", 0, settings.clock.now_ms() + 60_000);
    let difference = measured.unwrap().maximum - figure(&tail, "Duration");
    assert!(difference.abs() <= 0.01, "{difference}: {tail}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crashed_is_initialised_again_within_the_next_invocation() {
    let account = by_hand().await;
    scripted(&account, "sleep 0.2\necho spoken\nexec ./echo", 60, &[]).await;
    account.invoke("f", json!({"do": "exit", "code": 3})).await;
    let (output, tail) = tailed(&account, "f", json!({"a": 1})).await;
    assert_eq!(body(&output), json!({"a": 1}));
    assert!(tail.starts_with("spoken\nSTART RequestId: "), "{tail}");
    assert!(figure(&tail, "Duration") >= 200.0 && !tail.contains("Init Duration"), "{tail}");
    assert_eq!(logged(&account, "INIT_START").await.len(), 1);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_longer_to_initialise_than_the_timeout_never_comes_back_from_a_crash() {
    let account = by_hand().await;
    let hand = account.hand.clone().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    // Only the first start comes to an end.
    let script = "echo started >>\"$STARTS\"\n\
                  [ \"$(wc -l <\"$STARTS\")\" -gt 1 ] && exec sleep 1000\n\
                  exec ./echo";
    scripted(&account, script, 3, &[("STARTS", &starts)]).await;
    account.invoke("f", json!({"do": "exit", "code": 3})).await;
    for start in [2, 3] {
        let late = async {
            until("the init phase begins", || lines_of(&starts) == start).await;
            hand.advance(Duration::from_secs(3));
        };
        let both = async { tokio::join!(tailed(&account, "f", json!({})), late) };
        let ((output, tail), ()) =
            tokio::time::timeout(MEETING_WITHIN, both).await.expect("the timeout ends the init phase");
        assert_eq!(body(&output)["errorType"], "Sandbox.Timedout");
        assert_eq!(init_reports(&tail), ["Phase: invoke\tStatus: timeout"]);
        assert!(report_of(&tail).ends_with("\tStatus: timeout"), "{tail}");
    }
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_phase_that_fails_is_run_again_within_the_invocation_and_reported_each_time() {
    let account = by_hand().await;
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let script = "echo started >>\"$STARTS\"\necho spoken\nsleep 0.1\nexit 7";
    scripted(&account, script, 60, &[("STARTS", &starts)]).await;
    let (output, tail) = tailed(&account, "f", json!({})).await;
    let message = body(&output)["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.ends_with("Error: Runtime exited with error: exit status 7"), "{message}");
    assert_eq!(lines_of(&starts), 2);
    let (before, within) = (format!("Phase: init\t{EXITED}"), format!("Phase: invoke\t{EXITED}"));
    assert_eq!(init_reports(&tail), [before, within.clone()]);
    let words: Vec<&str> = tail.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let twice = ["spoken", "INIT_REPORT", "spoken", "INIT_REPORT"];
    assert_eq!(words, [&twice[..], &["START", "RequestId:", "Runtime.ExitError", "END", "REPORT"]].concat());
    assert!(figure(&tail, "Duration") >= 100.0 && report_of(&tail).ends_with(EXITED), "{tail}");
    assert!(!report_of(&tail).contains("Init Duration"), "{tail}");

    let (_, tail) = tailed(&account, "f", json!({})).await;
    assert_eq!(init_reports(&tail), [within], "its own phase is over");
    assert_eq!(lines_of(&starts), 3);
    assert_eq!(logged(&account, "INIT_START").await.len(), 1);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_phase_that_fails_once_only_makes_the_invocation_longer() {
    let account = by_hand().await;
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let script = "echo started >>\"$STARTS\"\n\
                  [ \"$(wc -l <\"$STARTS\")\" -gt 1 ] || exit 7\n\
                  sleep 0.1\n\
                  exec ./echo";
    scripted(&account, script, 60, &[("STARTS", &starts)]).await;
    let (output, tail) = tailed(&account, "f", json!({"a": 1})).await;
    assert_eq!(body(&output), json!({"a": 1}));
    assert_eq!(init_reports(&tail), [format!("Phase: init\t{EXITED}")]);
    assert!(figure(&tail, "Duration") >= 100.0, "{tail}");
    assert!(!report_of(&tail).contains("Init Duration"), "{tail}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_error_that_was_posted_is_reported_with_its_type() {
    let account = by_hand().await;
    account.function("f", 60, &[("ECHO_INIT", "error")], &[]).await;
    let (_, tail) = tailed(&account, "f", json!({})).await;
    let failed = "Status: error\tError Type: Init.Refused";
    assert_eq!(init_reports(&tail), [format!("Phase: init\t{failed}"), format!("Phase: invoke\t{failed}")]);
    assert!(report_of(&tail).ends_with(failed), "{tail}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_log_level_warn_leaves_what_failed() {
    let account = by_hand().await;
    let logging = LoggingConfig::builder().log_format(LogFormat::Json).system_log_level(SystemLogLevel::Warn);
    let logging = logging.build();
    for (name, init) in [("serves", "well"), ("fails", "exit")] {
        let environment = Environment::builder().variables("ECHO_INIT", init).build();
        let creation = account.creation(name, package()).logging_config(logging.clone());
        creation.environment(environment).send().await.unwrap();
        account.active(name).await;
    }
    let records = |tail: &str| -> Vec<Value> {
        tail.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let (_, tail) = tailed(&account, "serves", json!({"do": "print", "text": "spoken"})).await;
    assert_eq!(tail, "spoken\n");
    let (_, tail) = tailed(&account, "serves", json!({"do": "exit", "code": 3})).await;
    let told = records(&tail);
    let [report] = &told[..] else { panic!("{tail}") };
    assert_eq!(report["type"], "platform.report");
    let (status, error_type) = (&report["record"]["status"], &report["record"]["errorType"]);
    assert_eq!((status, error_type), (&json!("error"), &json!("Runtime.ExitError")));

    let (_, tail) = tailed(&account, "fails", json!({})).await;
    let told = records(&tail);
    let [before, within, report] = &told[..] else { panic!("{tail}") };
    for (init, phase) in [(before, "init"), (within, "invoke")] {
        assert_eq!(init["type"], "platform.initReport");
        let mut record = init["record"].clone();
        assert!(record["metrics"]["durationMs"].take().is_f64(), "{tail}");
        let expected = json!({
            "initializationType": "on-demand", "phase": phase, "status": "error",
            "errorType": "Runtime.ExitError", "metrics": {"durationMs": null},
        });
        assert_eq!(record, expected);
    }
    assert_eq!(report["type"], "platform.report");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_log_level_leaves_out_what_is_below_it_and_the_metrics_in_it() {
    let account = by_hand().await;
    let now_ms = account.running.settings().clock.now_ms();
    let line = |level: &str| json!({"timestamp": "2027-01-15T08:00:00Z", "level": level});
    for (name, level, levels, is_measured) in [
        ("f", ApplicationLogLevel::Warn, &["WARN"][..], false),
        ("g", ApplicationLogLevel::Info, &["INFO", "WARN"], true),
    ] {
        let logging = LoggingConfig::builder().log_format(LogFormat::Json).application_log_level(level);
        account.creation(name, package()).logging_config(logging.build()).send().await.unwrap();
        account.active(name).await;
        // It has no level: INFO.
        let directive = json!({"Namespace": name, "Dimensions": [[]], "Metrics": [{"Name": "done"}]});
        let metric = json!({"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}, "done": 1});
        let lines = [line("DEBUG"), line("INFO"), line("WARN"), metric].map(|line| line.to_string());
        account.invoke(name, json!({"do": "print", "text": lines.join("\n")})).await;
        let group = json!({"logGroupName": format!("/aws/lambda/{name}")});
        let found = logs::call(&account, "FilterLogEvents", group).await;
        let said: Vec<Value> = found["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| serde_json::from_str(event["message"].as_str().unwrap()).unwrap())
            .collect();
        let told: Vec<&str> = said.iter().filter_map(|event| event["level"].as_str()).collect();
        assert_eq!(told, levels);
        assert_eq!(said.iter().filter(|event| event["done"] == 1).count(), usize::from(is_measured));
        let id = MetricId::new(name, "done", Vec::new());
        let metrics = &account.running.settings().metrics;
        assert_eq!(metrics.statistics(&id, "None", 0, now_ms + 60_000).is_some(), is_measured);
    }
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_has_the_functions_name_where_the_group_has_it_not() {
    let account = by_hand().await;
    let groups = [("f", "/shared", "2027/01/15/f[$LATEST]"), ("g", "/aws/lambda/g", "2027/01/15/[$LATEST]")];
    for (name, group, beginning) in groups {
        let logging = LoggingConfig::builder().log_group(group).build();
        account.creation(name, package()).logging_config(logging).send().await.unwrap();
        account.active(name).await;
        let variable = json!({"do": "variable", "name": "AWS_LAMBDA_LOG_STREAM_NAME"});
        let stream = account.result(name, variable).await;
        let id = stream.as_str().unwrap().strip_prefix(beginning).unwrap_or_else(|| panic!("{stream}"));
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{stream}");
    }
    account.running.shutdown().await;
}
