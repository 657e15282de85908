//! The exit codes and outputs that scripts rely on.

use std::path::Path;
use std::process::{Command, Output};

use loadtest::stack::Stack;
use serde_json::Value;

use crate::fake::{End, Fake, Post, Reaction};

async fn loadtest(folder: &tempfile::TempDir, args: &'static [&'static str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(args).arg("--stack").arg(folder.path().join("stack.json"));
    command.current_dir(folder.path());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_run_exits_0_and_writes_everything_it_measured() {
    let (_fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    let output = loadtest(
        &folder,
        &[
            "run",
            "--rate",
            "50",
            "--duration",
            "1s",
            "--seed",
            "7",
            "--threshold",
            "max<60s",
            "--json",
            "out.json",
        ],
    )
    .await;
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    assert!(printed.contains("with seed 7"), "{printed}");
    assert!(printed.contains("50 succeeded, 0 dead-lettered, 0 unfinished"), "{printed}");
    let report = json(&folder.path().join("out.json"));
    assert_eq!((&report["schema"], &report["verdict"]["exit"]), (&1.into(), &"ok".into()));
    assert_eq!(report["outcome"]["ledger"].as_array().unwrap().len(), 50);
    assert_eq!(report["outcome"]["ledger"][0]["outcome"]["answer"], "acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_threshold_that_is_not_met_exits_1() {
    let (_fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    let args = &["run", "--rate", "50", "--duration", "1s", "--threshold", "p99<0ms for POST"];
    let output = loadtest(&folder, args).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("NOT MET: p99<0ms for POST"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_task_exits_3_and_is_named() {
    let lost = |post: Post| {
        let end = if post.sequence == 3 { End::Never } else { End::Succeeds };
        Reaction { end, ..Reaction::default() }
    };
    let (_fake, _, folder) = Fake::start(lost).await;
    let output =
        loadtest(&folder, &["run", "--rate", "20", "--duration", "1s", "--settle", "2s", "--workers", "1"])
            .await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    assert!(
        text(&output.stdout).contains("task task-4 of arrival 3: Unfinished"),
        "{}",
        text(&output.stdout)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_input_exits_2_and_says_what_is_wrong() {
    let (_fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    for (args, complaint) in [
        (&["run", "--rate", "0"] as &[_], "the plan's `rate_per_second` must be above 0"),
        (&["run", "--threshold", "p98<1s"], "unknown metric \"p98\""),
        (&["run", "--duration", "5"], "is no duration: write 500ms, 30s or 2m"),
        (&["run", "--poison-one-in", "0"], "--poison-one-in"),
    ] {
        let output = loadtest(&folder, args).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(complaint), "{told}");
    }
    std::fs::remove_file(folder.path().join("stack.json")).unwrap();
    let output = loadtest(&folder, &["token"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("stack.json; is the stack up?"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_reached_leaves_no_verdict_and_exits_4() {
    let (_fake, stack, folder) = Fake::start(|_| Reaction::default()).await;
    let no_sockets = Stack { websocket_url: stack.http_url.replace("http://", "ws://"), ..stack };
    let path = folder.path().join("stack.json");
    std::fs::write(path, serde_json::to_vec(&no_sockets).unwrap()).unwrap();
    let output = loadtest(&folder, &["run"]).await;
    assert_eq!(output.status.code(), Some(4));
    let told = text(&output.stderr);
    assert!(told.contains("could not open its WebSocket session"), "{told}");
    assert!(!told.contains("token="), "a token must never be printed: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_counts_accepted_posts_and_judges_its_thresholds() {
    let (_fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    let args = &[
        "bench",
        "--keyed",
        "--clients",
        "4",
        "--duration",
        "1s",
        "--warm-up",
        "100ms",
        "--threshold",
        "rate>=1",
        "--json",
        "bench.json",
    ];
    let output = loadtest(&folder, args).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let outcome = json(&folder.path().join("bench.json"));
    assert_eq!(outcome["clients"], 4);
    assert_eq!(outcome["accepted"].as_u64(), outcome["post"]["count"].as_u64());
    assert!(outcome["accepted"].as_u64() > Some(10) && outcome["drained_ms"].is_u64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_printed_ready_for_a_header() {
    let (_fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    let output = loadtest(&folder, &["token", "--owner", "me"]).await;
    assert_eq!(output.status.code(), Some(0));
    let token = text(&output.stdout);
    assert_eq!((token.trim_end().split('.').count(), token.lines().count()), (3, 1));
}
