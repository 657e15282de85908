//! A run that spends its customers' error budget ends by itself, puts everything back, and judges what it saw.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos::observe::drift;
use loadtest::stack::Stack;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::bench::Bench;
use crate::front::Front;
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

/// The first answer is late enough, and when it comes others are on their way.
const WAITING: &str = r#"
name = "waiting"
hypothesis = "Clients wait too long, and nothing that they are told is lost."
[load]
rate_per_second = 5
duration = "60s"
settle = "1s"
owners = 1
[abort]
refused_percent = 100
attempts_min = 1
p99_ms_max = 100
"#;
/// More than a look at an empty queue takes.
const ANSWERED_AFTER: Duration = Duration::from_secs(3);

/// The folder of a run that ends by itself, and what was told of its one experiment.
async fn run(bench: &Bench, file: &Path, stack: &Path) -> (PathBuf, Value) {
    let out = bench.folder().join("runs");
    let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
    program.arg("run").arg(file).args(["--seed", "1", "--stack"]).arg(stack).arg("--out").arg(&out);
    let run = program.output().await.unwrap();
    assert!(matches!(run.status.code(), Some(EXIT_FAIL | EXIT_INCONCLUSIVE)), "{run:?}");
    let folder = run_folder(&out).unwrap();
    let verdict: Value =
        serde_json::from_slice(&std::fs::read(folder.join("verdict.json")).unwrap()).unwrap();
    (folder, verdict["experiments"][0].clone())
}

fn check<'a>(experiment: &'a Value, name: &str) -> &'a Value {
    let checks = experiment["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{checks:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_error_budget_ends_the_run_and_puts_everything_back() {
    let bench = Box::pin(Bench::up()).await;
    let before = settings(&bench).await;
    let file = bench.write("spent.toml", EXPERIMENT);
    let (folder, experiment) = run(&bench, &file, &bench.stack_file()).await;
    let end = check(&experiment, "ran to its end");
    assert_eq!(end["outcome"], "unknown", "{end}");
    assert!(end["detail"].as_str().unwrap().contains("the error budget is spent: "), "{end}");
    assert!(chaos::journal::recovery(&folder).unwrap().faults == 3, "all three were in effect");
    assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_when_the_budget_is_spent_is_waited_for_before_anybody_looks_for_it() {
    let bench = Box::pin(Bench::up()).await;
    let table = &bench.stack().tables["tasks"].name;
    let Front { http_url, websocket_url } = Front::late(bench.cloud().clone(), table, ANSWERED_AFTER).await;
    let stack = Stack { http_url, websocket_url, ..bench.stack().clone() };
    let stack = bench.write("late.json", &serde_json::to_string(&stack).unwrap());
    let file = bench.write("waiting.toml", WAITING);
    let (_, experiment) = run(&bench, &file, &stack).await;
    let end = check(&experiment, "ran to its end");
    assert!(end["detail"].as_str().unwrap().contains("clients wait too long"), "{end}");
    assert_eq!(experiment["lost"], json!(0), "{:#}", experiment["anomalies"]);
    assert!(experiment["attempted"].as_u64() > Some(1), "{experiment:#}");
    assert_eq!(experiment["acknowledged"], experiment["attempted"]);
}
