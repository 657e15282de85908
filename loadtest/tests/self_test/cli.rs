//! The exit codes and outputs that scripts rely on.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use loadtest::stack::{Auth, Stack};
use loadtest::{TOKEN_VARIABLE, mint};
use serde_json::Value;

use crate::fake::{Answer, End, Fake, Post, Reaction};

fn command(folder: &tempfile::TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(args).arg("--stack").arg(folder.path().join("stack.json"));
    command.current_dir(folder.path());
    command
}

async fn output_of(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

async fn loadtest(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    output_of(command(folder, args)).await
}

fn write_stack(folder: &tempfile::TempDir, stack: &Stack) {
    std::fs::write(folder.path().join("stack.json"), serde_json::to_vec(stack).unwrap()).unwrap();
}

/// As on AWS: tokens come from elsewhere.
fn forget_key(folder: &tempfile::TempDir, stack: Stack) {
    let auth = Auth { private_key_path: None, ..stack.auth };
    write_stack(folder, &Stack { auth, ..stack });
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
async fn a_proxy_of_the_environment_is_not_asked_for_what_is_on_this_machine() {
    let (_fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    let mut run = command(&folder, &["run", "--rate", "20", "--duration", "1s"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        // Where nobody answers.
        run.env(name, "http://127.0.0.1:1");
    }
    run.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = output_of(run).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_which_nothing_was_accepted_is_invalid_and_exits_4() {
    let refuse = |_| Reaction { answer: Answer::Refuse, ..Reaction::default() };
    let (_fake, _, folder) = Fake::start(refuse).await;
    let args = ["run", "--rate", "20", "--duration", "1s", "--unknown-retries", "0"];
    let output = loadtest(&folder, &args).await;
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("not one of 20 submissions was accepted"), "{told}");
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
    write_stack(&folder, &Stack { websocket_url: stack.http_url.replace("http://", "ws://"), ..stack });
    let output = loadtest(&folder, &["run"]).await;
    assert_eq!(output.status.code(), Some(4));
    let told = text(&output.stderr);
    assert!(told.contains("could not open its WebSocket session"), "{told}");
    assert!(!told.contains("token="), "a token must never be printed: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_that_is_given_every_task_is_the_owner_s_whom_the_token_names() {
    let (_fake, stack, folder) = Fake::start(|_| Reaction::default()).await;
    let token = mint(&stack, "somebody", Duration::from_secs(600)).unwrap();
    forget_key(&folder, stack);
    let args = ["run", "--rate", "50", "--duration", "1s", "--owners", "1", "--json", "out.json"];
    let mut run = command(&folder, &args);
    run.env(TOKEN_VARIABLE, &token);
    let output = output_of(run).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let report = json(&folder.path().join("out.json"));
    let ledger = report["outcome"]["ledger"].as_array().unwrap();
    assert_eq!(ledger.len(), 50);
    assert!(ledger.iter().all(|entry| entry["owner"] == "somebody"), "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_token_that_names_no_owner_exits_2_and_is_not_printed() {
    let (_fake, stack, folder) = Fake::start(|_| Reaction::default()).await;
    forget_key(&folder, stack);
    let mut run = command(&folder, &["run", "--owners", "1"]);
    run.env(TOKEN_VARIABLE, "nonsense.nonsense.nonsense");
    let output = output_of(run).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("is no JWT whose `sub` names an owner") && !told.contains("nonsense"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_token_that_ends_before_the_run_does_exits_2_before_anything_is_sent() {
    let (fake, stack, folder) = Fake::start(|_| Reaction::default()).await;
    let token = mint(&stack, "somebody", Duration::from_secs(90)).unwrap();
    forget_key(&folder, stack);
    let mut run = command(&folder, &["run", "--owners", "1", "--duration", "1s"]);
    run.env(TOKEN_VARIABLE, &token);
    let output = output_of(run).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(" s, and the run needs it for 121 s"), "{told}");
    assert_eq!(fake.made(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_token_that_is_not_taken_any_more_says_nothing_of_the_service_and_one_made_here_does() {
    let deny = |post: Post| {
        let answer = if post.sequence >= 10 { Answer::Deny } else { Answer::Accept };
        Reaction { answer, ..Reaction::default() }
    };
    let args = ["run", "--rate", "20", "--duration", "1s", "--owners", "1", "--threshold", "error-rate<1%"];
    let (_fake, stack, folder) = Fake::start(deny).await;
    let output = loadtest(&folder, &args).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let token = mint(&stack, "somebody", Duration::from_secs(600)).unwrap();
    forget_key(&folder, stack);
    let mut run = command(&folder, &[&args[..], &["--run-id", "second"]].concat());
    run.env(TOKEN_VARIABLE, &token);
    let output = output_of(run).await;
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("the token was not taken any more: 10 requests"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_cannot_be_written_is_told_before_anything_is_sent() {
    let (fake, _, folder) = Fake::start(|_| Reaction::default()).await;
    let output = loadtest(&folder, &["run", "--json", "no-such-folder/out.json"]).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("cannot write no-such-folder/out.json"), "{told}");
    assert_eq!(fake.made(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_cannot_be_kept_hides_no_lost_task_and_is_no_success() {
    for (end, expected) in [(End::Never, 3), (End::Succeeds, 4)] {
        let place = tempfile::tempdir().unwrap();
        let (report, taken_away) = (place.path().join("out.json"), place.path().to_owned());
        let behaviour = move |_| {
            // The first POST finds it, and no later one.
            drop(std::fs::remove_dir_all(&taken_away));
            Reaction { end, ..Reaction::default() }
        };
        let (_fake, _, folder) = Fake::start(behaviour).await;
        let args = ["run", "--rate", "20", "--duration", "1s", "--settle", "2s", "--json"];
        let output = loadtest(&folder, &[&args[..], &[report.to_str().unwrap()]].concat()).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{}{told}", text(&output.stdout));
        assert!(told.contains("cannot write "), "{told}");
    }
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
