//! A run that spends its customers' error budget ends by itself, and puts everything back.

use chaos::observe::drift;
use serde_json::Value;
use tokio::process::Command;

use crate::bench::Bench;
use crate::{EXIT_FAIL, EXIT_INCONCLUSIVE, run_folder, settings};

/// The front refuses every submission, which none of these faults is to blame for.
const EXPERIMENT: &str = r#"
name = "spent"
hypothesis = "Clients are refused, and the run ends long before its time."
[load]
rate_per_second = 10
duration = "60s"
settle = "1s"
owners = 1
[abort]
refused_percent = 50
attempts_min = 5
[[fault]]
kind = "mapping-disabled"
target = "process-task"
start = "0s"
duration = "60s"
[[fault]]
kind = "table-on-demand-cap"
target = "tasks"
start = "0s"
duration = "60s"
write_units = 5
[[fault]]
kind = "queue-visibility-timeout"
target = "tasks"
start = "0s"
duration = "60s"
visibility_timeout = "0s"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_error_budget_ends_the_run_and_puts_everything_back() {
    let bench = Box::pin(Bench::up()).await;
    let before = settings(&bench).await;
    let (file, out) = (bench.write("spent.toml", EXPERIMENT), bench.folder().join("runs"));
    let run = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .arg("run")
        .arg(file)
        .args(["--seed", "1", "--stack"])
        .arg(bench.stack_file())
        .arg("--out")
        .arg(&out)
        .output()
        .await
        .unwrap();
    assert!(matches!(run.status.code(), Some(EXIT_FAIL | EXIT_INCONCLUSIVE)), "{run:?}");
    let folder = run_folder(&out).unwrap();
    let verdict: Value =
        serde_json::from_slice(&std::fs::read(folder.join("verdict.json")).unwrap()).unwrap();
    let checks = verdict["experiments"][0]["checks"].as_array().unwrap();
    let end = checks.iter().find(|check| check["name"] == "ran to its end");
    let end = end.unwrap_or_else(|| panic!("{checks:#?}"));
    assert_eq!(end["outcome"], "unknown", "{end}");
    assert!(end["detail"].as_str().unwrap().contains("the error budget is spent: "), "{end}");
    assert!(chaos::journal::recovery(&folder).unwrap().faults == 3, "all three were in effect");
    assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new());
}
