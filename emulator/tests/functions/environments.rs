//! How environments begin, stand still and end: by their memory, their timeout, their idleness, or with their function.

use std::path::Path;
use std::time::Duration;

use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::types::Environment;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::functions::{Account, body, echo, package_of};
use crate::{MEETING_WITHIN, by_hand, process_state, tailed};

/// AWS gives no number; this emulator's is five minutes.
const IDLE: Duration = Duration::from_secs(300);

/// A zombie is dead: it only waits to be collected.
fn is_alive(pid: &Value) -> bool {
    process_state(pid).is_some_and(|state| state != "Z")
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(MEETING_WITHIN, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// The test `bootstrap` as `./echo`, and this script in its place.
pub(crate) async fn scripted(account: &Account, script: &str, timeout: i32, variables: &[(&str, &Path)]) {
    let script = format!("#!/bin/sh\n{script}\n");
    let package = package_of(&[("echo", &echo()), ("bootstrap", script.as_bytes())]);
    let mut environment = Environment::builder();
    for (name, path) in variables {
        environment = environment.variables(*name, path.to_str().unwrap());
    }
    let creation = account.creation("f", package).timeout(timeout).environment(environment.build());
    creation.send().await.unwrap();
    account.active("f").await;
}

pub(crate) fn lines_of(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Of 128 MB.
fn assert_killed_for_its_memory((output, tail): &(InvokeOutput, String)) {
    assert_eq!((output.status_code(), output.function_error()), (200, Some("Unhandled")));
    let error = body(output);
    assert_eq!(error["errorType"], "Runtime.ExitError");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Error: Runtime exited with error: signal: killed"), "{message}");
    assert!(tail.contains("\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t"), "{tail}");
    assert!(tail.ends_with("\tStatus: error\tError Type: Runtime.OutOfMemory\n"), "{tail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_takes_more_memory_than_it_has_is_killed() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let pid = account.result("f", json!({"do": "pid"})).await;
    assert_killed_for_its_memory(&tailed(&account, "f", json!({"do": "allocate", "mb": 200})).await);
    assert!(!is_alive(&pid));
    assert_eq!(account.result("f", json!({"do": "count"})).await, json!(1), "a new process");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_never_stops_writing_is_killed_for_its_memory_all_the_same() {
    let account = by_hand().await;
    scripted(&account, "while :; do echo noise; sleep 0.02; done &\nexec ./echo", 60, &[]).await;
    let call = tailed(&account, "f", json!({"do": "allocate", "mb": 200}));
    // The clock stands still: no timeout ends it.
    let killed = tokio::time::timeout(MEETING_WITHIN, call).await.expect("its memory is looked at");
    assert_killed_for_its_memory(&killed);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_phase_that_takes_more_memory_than_there_is_is_killed() {
    let account = by_hand().await;
    let hoarder = "held=$(head -c 200000000 /dev/zero | tr '\\0' x)\nwhile :; do sleep 1; done";
    scripted(&account, hoarder, 60, &[]).await;
    let call = tailed(&account, "f", json!({}));
    let killed = tokio::time::timeout(MEETING_WITHIN, call).await.expect("its memory is looked at");
    assert_killed_for_its_memory(&killed);
    let of_init = |line: &&str| line.starts_with("INIT_REPORT ") && line.ends_with("Runtime.OutOfMemory");
    assert_eq!(killed.1.lines().filter(of_init).count(), 2, "{}", killed.1);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_may_open_as_many_files_as_on_aws_whatever_the_emulator_may() {
    let account = by_hand().await;
    let limited =
        "until [ \"$(ulimit -Sn) $(ulimit -Hn)\" = \"1024 1024\" ]; do sleep 0.01; done\nexec ./echo";
    scripted(&account, limited, 60, &[]).await;
    let call = account.result("f", json!({"do": "count"}));
    let count = tokio::time::timeout(MEETING_WITHIN, call).await.expect("its files are limited");
    assert_eq!(count, json!(1));
    account.running.shutdown().await;
}

/// What an invocation that is at work until its timeout is answered.
async fn timed_out(account: &Account, timeout: Duration) -> Value {
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let event = json!({"do": "meet", "address": meeting.local_addr().unwrap().to_string()});
    let late = async {
        let at_work = meeting.accept().await.unwrap();
        account.hand.as_ref().unwrap().advance(timeout);
        at_work
    };
    let (answer, _at_work) = tokio::join!(account.result("f", event), late);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_dead_after_its_timeout() {
    let account = by_hand().await;
    account.function("f", 3, &[], &[]).await;
    let pid = account.result("f", json!({"do": "pid"})).await;
    let error = timed_out(&account, Duration::from_secs(3)).await;
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    until("the process ends", || !is_alive(&pid)).await;
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_phase_that_is_run_again_counts_against_the_timeout() {
    let account = by_hand().await;
    let hand = account.hand.clone().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (starts, gate) = (directory.path().join("starts"), directory.path().join("gate"));
    // The first never ends, the second when it may.
    let script = "echo started >>\"$STARTS\"\n\
                  [ \"$(wc -l <\"$STARTS\")\" -gt 1 ] || exec sleep 1000\n\
                  until [ -e \"$GATE\" ]; do sleep 0.01; done\n\
                  exec ./echo";
    scripted(&account, script, 5, &[("STARTS", &starts), ("GATE", &gate)]).await;
    let slowly = async {
        until("the init phase begins", || lines_of(&starts) == 1).await;
        hand.advance(Duration::from_secs(10));
        let again_ms = account.running.settings().clock.now_ms();
        until("the init phase begins again", || lines_of(&starts) == 2).await;
        hand.advance(Duration::from_secs(2));
        std::fs::write(&gate, "").unwrap();
        again_ms
    };
    let deadline = json!({"do": "header", "name": "lambda-runtime-deadline-ms"});
    let (deadline_ms, again_ms) = tokio::join!(account.result("f", deadline.clone()), slowly);
    assert_eq!(deadline_ms, json!((again_ms + 5_000).to_string()));
    // The next invocation had to wait for nothing.
    let now_ms = account.running.settings().clock.now_ms();
    assert_eq!(account.result("f", deadline).await, json!((now_ms + 5_000).to_string()));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_the_background_stands_still_between_invocations() {
    let account = by_hand().await;
    let directory = tempfile::tempdir().unwrap();
    let (beats, pid) = (directory.path().join("beats"), directory.path().join("pid"));
    let script = "while :; do echo beat >>\"$BEATS\"; sleep 0.01; done &\necho $! >\"$PID\"\nexec ./echo";
    scripted(&account, script, 60, &[("BEATS", &beats), ("PID", &pid)]).await;
    let runtime = account.result("f", json!({"do": "pid"})).await;
    let pid: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let is_in = |pid: &Value, states: &[&str]| {
        process_state(pid).is_some_and(|state| states.contains(&state.as_str()))
    };
    // A shell whose child was stopped between vfork and exec waits for it in state D.
    let stopped = || is_in(&runtime, &["T"]) && is_in(&json!(pid), &["T", "D"]);
    until("the work is stopped", stopped).await;
    let before = lines_of(&beats);
    // Many beats long.
    account.function("other", 60, &[], &[]).await;
    account.invoke("other", json!({})).await;
    assert_eq!(lines_of(&beats), before);
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = meeting.local_addr().unwrap().to_string();
    let during = async {
        let at_work = meeting.accept().await.unwrap();
        until("the work goes on", || lines_of(&beats) > before).await;
        drop(at_work);
    };
    tokio::join!(account.result("f", json!({"do": "meet", "address": address})), during);
    account.running.shutdown().await;
}

/// Where the environment keeps its files, and where its log is.
async fn sandbox(account: &Account) -> (String, String) {
    let mut found = Vec::new();
    for name in ["TMPDIR", "AWS_LAMBDA_LOG_STREAM_NAME"] {
        let value = account.result("f", json!({"do": "variable", "name": name})).await;
        found.push(value.as_str().unwrap().to_owned());
    }
    (found.swap_remove(0), found.swap_remove(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_log_stream_outlast_a_crash_and_a_timeout_but_not_the_environment() {
    let account = by_hand().await;
    account.function("f", 3, &[], &[]).await;
    let hand = account.hand.clone().unwrap();
    let first = sandbox(&account).await;
    let file = format!("{}/kept", first.0);
    assert_eq!(account.result("f", json!({"do": "touch", "path": file})).await, json!(true));
    account.invoke("f", json!({"do": "exit", "code": 3})).await;
    assert_eq!(sandbox(&account).await, first, "after a crash");
    timed_out(&account, Duration::from_secs(3)).await;
    assert_eq!(sandbox(&account).await, first, "after a timeout");
    assert!(Path::new(&file).exists());
    until("its files are taken away", || {
        hand.advance(Duration::from_secs(60));
        !Path::new(&first.0).exists()
    })
    .await;
    let second = sandbox(&account).await;
    assert!(second.0 != first.0 && second.1 != first.1, "{second:?}");
    assert_eq!(std::fs::read_dir(&second.0).unwrap().count(), 0);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_is_idle_for_long_ends_and_one_that_is_used_does_not() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let hand = account.hand.clone().unwrap();
    let pid = account.result("f", json!({"do": "pid"})).await;
    for count in [2, 3] {
        hand.advance(IDLE - Duration::from_secs(1));
        assert_eq!(account.result("f", json!({"do": "count"})).await, json!(count), "used in time");
    }
    assert!(is_alive(&pid));
    until("the idle process ends", || {
        hand.advance(Duration::from_secs(60));
        !is_alive(&pid)
    })
    .await;
    assert_eq!(account.result("f", json!({"do": "count"})).await, json!(1), "a new process");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_with_an_extension_is_told_before_it_is_killed_and_one_without_is_not() {
    let account = Account::start(false).await;
    let directory = tempfile::tempdir().unwrap();
    for (name, is_told, extension) in
        [("plain", false, None), ("extended", true, Some(("ECHO_EXTENSION", "[]")))]
    {
        let told = directory.path().join(name);
        let mut variables = vec![("ECHO_TOLD", told.to_str().unwrap())];
        variables.extend(extension);
        account.function(name, 60, &variables, &[]).await;
        let pid = account.result(name, json!({"do": "pid"})).await;
        account.lambda.delete_function().function_name(name).send().await.unwrap();
        // It stays when it is told: only SIGKILL ends it.
        until("the process ends", || !is_alive(&pid)).await;
        assert_eq!(told.exists(), is_told, "{name}");
    }
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_is_told_of_each_event_and_its_environment_is_lent_once_it_waits_again() {
    let account = by_hand().await;
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = meeting.local_addr().unwrap().to_string();
    let variables = [("ECHO_EXTENSION", r#"["INVOKE"]"#), ("ECHO_HEARD", address.as_str())];
    account.function("f", 60, &variables, &[]).await;
    let count = json!({"do": "count"});
    assert_eq!(account.result("f", count.clone()).await, json!(1), "the caller does not wait for it");
    let (at_work, _) = meeting.accept().await.unwrap();
    let mut told = String::new();
    let mut at_work = BufReader::new(at_work);
    at_work.read_line(&mut told).await.unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let deadline_ms = account.running.settings().clock.now_ms() + 60_000;
    assert_eq!((&told["eventType"], &told["deadlineMs"]), (&json!("INVOKE"), &json!(deadline_ms)));
    assert_eq!(told["invokedFunctionArn"], "arn:aws:lambda:us-east-1:123456789012:function:f");
    assert_eq!(told["tracing"]["type"], "X-Amzn-Trace-Id");
    assert!(told["requestId"].is_string(), "{told}");
    let mut second = Box::pin(account.result("f", count));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
    assert!(waited.is_err(), "the clock stands still: whoever asks waits for the extension");
    drop(at_work);
    let answer = tokio::time::timeout(MEETING_WITHIN, second).await.expect("the extension waits again");
    assert_eq!(answer, json!(2));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_within_the_function_is_not_told_of_its_end() {
    let account = by_hand().await;
    let events = [("ECHO_EXTENSION", r#"["INVOKE","SHUTDOWN"]"#)];
    account.function("f", 60, &events, &[]).await;
    let (output, tail) = tailed(&account, "f", json!({"do": "count"})).await;
    assert_eq!(body(&output), json!(1));
    let refusal = r#"{"errorMessage":"SHUTDOWN: ShutdownEventNotSupportedForInternalExtension","errorType":"Extension.InvalidEventType"}"#;
    assert!(tail.starts_with(&format!("refused: {refusal}\n")), "{tail}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_works_on_after_its_answer_is_waited_for_but_not_for_long() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let hand = account.hand.clone().unwrap();
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let works_on = json!({"then_meet": meeting.local_addr().unwrap().to_string()});
    account.result("f", works_on.clone()).await;
    let (at_work, _) = meeting.accept().await.unwrap();
    let count = json!({"do": "count"});
    {
        let mut second = Box::pin(account.result("f", count.clone()));
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(waited.is_err(), "the clock stands still: whoever asks waits");
        drop(at_work);
        assert_eq!(second.await, json!(2));
    }
    account.result("f", works_on).await;
    let (_at_work, _) = meeting.accept().await.unwrap();
    let new = async {
        let mut late = Box::pin(account.result("f", count));
        loop {
            tokio::select! {
                result = &mut late => return result,
                () = tokio::time::sleep(Duration::from_millis(2)) => {
                    hand.advance(Duration::from_millis(10));
                }
            }
        }
    };
    let counted = tokio::time::timeout(MEETING_WITHIN, new).await.expect("another environment serves");
    assert_eq!(counted, json!(1), "a new process");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_works_on_after_its_answer_is_dead_after_the_timeout_also_without_its_function() {
    let account = by_hand().await;
    let hand = account.hand.clone().unwrap();
    for (name, is_deleted) in [("kept", false), ("deleted", true)] {
        account.function(name, 3, &[], &[]).await;
        let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = meeting.local_addr().unwrap().to_string();
        let pid = account.result(name, json!({"do": "pid", "then_meet": address})).await;
        assert!(pid.is_u64(), "the answer stays: {pid}");
        let _at_work = meeting.accept().await.unwrap();
        if is_deleted {
            account.lambda.delete_function().function_name(name).send().await.unwrap();
        }
        assert!(is_alive(&pid), "{name}");
        hand.advance(Duration::from_secs(3));
        until("the process ends", || !is_alive(&pid)).await;
    }
    assert_eq!(account.result("kept", json!({"do": "count"})).await, json!(1), "a new process");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_takes_too_much_memory_after_its_answer_is_killed() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    // The clock stands still: no timeout ends it.
    let pid = account.result("f", json!({"do": "pid", "then_allocate": 200})).await;
    until("the process ends", || !is_alive(&pid)).await;
    account.running.shutdown().await;
}
