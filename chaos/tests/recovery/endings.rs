//! How a run ends that did not come to its verdict, whose report cannot be kept, or that cannot put back what it changed: never
//! as if all were well, and never as if nothing had been touched.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use chaos::iam::RolePolicy;
use chaos::observe::drift;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::bench::Bench;
use crate::{END_LIMIT, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, LOOK, run_folder, settings};

const EXIT_NOT_REVERTED: i32 = 4;
/// It may reserve concurrency, and not give it back.
const TAKER: &str = "taker";
const TAKER_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
  {"Effect":"Deny","Action":"lambda:DeleteFunctionConcurrency","Resource":"*"}]}"#;
/// The function had no reserved concurrency.
const TAKING: &str = r#"
name = "takes"
hypothesis = "What it takes it cannot give back."
[load]
rate_per_second = 5
duration = "4s"
settle = "1s"
owners = 1
[abort]
refused_percent = 100
[[fault]]
kind = "lambda-reserved-concurrency"
target = "list-tasks"
start = "0s"
duration = "500ms"
concurrency = 0
"#;

/// No write is throttled: the metric that would say so is waited for, and the judging takes seconds.
const EXPERIMENT: &str = r#"
name = "looked-at"
hypothesis = "It takes seconds to be judged."
[load]
rate_per_second = 5
duration = "4s"
settle = "1s"
owners = 1
[abort]
refused_percent = 100
[[fault]]
kind = "table-on-demand-cap"
target = "tasks"
start = "0s"
duration = "1s"
write_units = 5
"#;

struct Run {
    child: Child,
    out: PathBuf,
    printed: PathBuf,
    told: PathBuf,
}

impl Run {
    fn start(bench: &Bench, files: &[PathBuf], options: &[&str]) -> Self {
        let in_folder = |name: &str| bench.folder().join(name);
        let (out, printed, told) = (in_folder("runs"), in_folder("printed.txt"), in_folder("told.txt"));
        let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
        program.arg("run").args(files).args(options).args(["--seed", "1", "--stack"]).arg(bench.stack_file());
        program.arg("--out").arg(&out).kill_on_drop(true);
        program.stdout(File::create(&printed).unwrap()).stderr(File::create(&told).unwrap());
        Self { child: program.spawn().unwrap(), out, printed, told }
    }

    async fn ended(&mut self) -> ExitStatus {
        timeout(END_LIMIT, self.child.wait()).await.unwrap().unwrap()
    }

    fn interrupt(&self) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    }

    /// As the live view says it; `None` before there is one.
    async fn phase(&self) -> Option<String> {
        let told = std::fs::read_to_string(&self.told).ok()?;
        let address = told.lines().find_map(|line| line.strip_prefix("live view: "))?;
        let state: Value = reqwest::get(format!("{address}state")).await.ok()?.json().await.ok()?;
        state["now"]["phase"].as_str().map(str::to_owned)
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let limit = Instant::now() + END_LIMIT;
    while !is_so().await {
        assert!(Instant::now() < limit, "not within {} s: {what}", END_LIMIT.as_secs());
        sleep(LOOK).await;
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_stopped_while_it_is_judged_has_no_verdict_and_names_what_it_never_began() {
    let bench = Box::pin(Bench::up()).await;
    let before = settings(&bench).await;
    let first = bench.write("first.toml", EXPERIMENT);
    let second = bench.write("second.toml", &EXPERIMENT.replace("looked-at", "never-begun"));
    let mut run = Run::start(&bench, &[first, second], &["--serve"]);
    until("it is judged", async || run.phase().await.as_deref() == Some("judging")).await;
    run.interrupt();
    let code = run.ended().await.code();
    let folder = run_folder(&run.out).unwrap();
    let verdict: Value = serde_json::from_str(&read(&folder.join("verdict.json"))).unwrap();
    assert_eq!((code, &verdict["verdict"]), (Some(EXIT_INCONCLUSIVE), &json!("INCONCLUSIVE")));
    assert_eq!(verdict["experiments"].as_array().unwrap().len(), 1);
    let check = &verdict["experiments"][0]["checks"][0];
    assert_eq!((&check["name"], &check["outcome"]), (&json!("carried through"), &json!("unknown")));
    assert!(check["detail"].as_str().unwrap().contains("nothing was judged"), "{check}");
    assert_eq!(verdict["skipped"], json!(["never-begun"]));
    assert!(read(&folder.join("junit.xml")).contains("never-begun"));
    assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_cannot_be_kept_is_printed_and_is_no_bad_input() {
    let bench = Box::pin(Bench::up()).await;
    let file = bench.write("unkept.toml", EXPERIMENT);
    let mut run = Run::start(&bench, &[file], &[]);
    until("its folder is there", async || run_folder(&run.out).is_some()).await;
    // A folder in its place: no file can be written there.
    std::fs::create_dir(run_folder(&run.out).unwrap().join("verdict.json")).unwrap();
    let code = run.ended().await.code();
    assert!(matches!(code, Some(EXIT_FAIL | EXIT_INCONCLUSIVE)), "{code:?}");
    let (printed, told) = (read(&run.printed), read(&run.told));
    assert!(printed.contains("\nverdict ") && !printed.contains("\nreport: "), "{printed}");
    assert!(told.contains("verdict.json: cannot be written"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_progress_nobody_can_read_ends_by_its_verdict_and_puts_everything_back() {
    let bench = Box::pin(Bench::up()).await;
    let before = settings(&bench).await;
    let (file, out) = (bench.write("unread.toml", EXPERIMENT), bench.folder().join("runs"));
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
    program.arg("run").arg(file).args(["--seed", "1", "--stack"]).arg(bench.stack_file());
    program.arg("--out").arg(&out).kill_on_drop(true).stdout(Stdio::null()).stderr(unread);
    let mut run = program.spawn().unwrap();
    let code = timeout(END_LIMIT, run.wait()).await.unwrap().unwrap().code();
    assert!(matches!(code, Some(EXIT_FAIL | EXIT_INCONCLUSIVE)), "{code:?}");
    let folder = run_folder(&out).unwrap();
    assert!(folder.join("verdict.json").is_file());
    assert_eq!(chaos::journal::recovery(&folder).unwrap().faults, 1, "it was in effect");
    assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fault_that_could_not_be_put_back_nothing_more_is_begun() {
    let bench = Box::pin(Bench::up()).await;
    let before = settings(&bench).await;
    let account_id = &bench.stack().account_id;
    bench.cloud().iam.create_role(TAKER, account_id).await.unwrap();
    let policy = RolePolicy { role: TAKER, name: "takes" };
    bench.cloud().iam.put(policy, TAKER_POLICY).await.unwrap();
    let role_arn = format!("arn:aws:iam::{account_id}:role/{TAKER}");
    let first = bench.write("first.toml", TAKING);
    let second = bench.write("second.toml", &TAKING.replace("\"takes\"", "\"never-begun\""));
    let mut run = Run::start(&bench, &[first, second], &["--role-arn", role_arn.as_str()]);
    assert_eq!(run.ended().await.code(), Some(EXIT_NOT_REVERTED), "{}", read(&run.told));
    let folder = run_folder(&run.out).unwrap();
    let verdict: Value = serde_json::from_str(&read(&folder.join("verdict.json"))).unwrap();
    let names: Vec<&Value> =
        verdict["experiments"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!((names, &verdict["skipped"]), (vec![&json!("takes")], &json!(["never-begun"])));
    assert_eq!(verdict["halted"], json!("takes left a setting that could not be shown to be put back"));
    // Whoever may, recovers.
    let mut recovery = crate::chaos(&["recover", folder.to_str().unwrap()]);
    let status = tokio::task::spawn_blocking(move || recovery.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(EXIT_PASS));
    assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new());
}
