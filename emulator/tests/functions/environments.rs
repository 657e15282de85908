//! How environments end: by their memory, their idleness, or with their function.

use std::time::Duration;

use serde_json::{Value, json};

use crate::functions::{Account, body};
use crate::{MEETING_WITHIN, by_hand, process_state};

/// AWS gives no number; this emulator's is five minutes.
const IDLE: Duration = Duration::from_secs(300);

/// A zombie is dead: it only waits to be collected.
fn is_alive(pid: &Value) -> bool {
    process_state(pid).is_some_and(|state| state != "Z")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(MEETING_WITHIN, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_takes_more_memory_than_it_has_is_killed() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let pid = account.result("f", json!({"do": "pid"})).await;
    // Of 128 MB.
    let output = account.invoke("f", json!({"do": "allocate", "mb": 200})).await;
    assert_eq!((output.status_code(), output.function_error()), (200, Some("Unhandled")));
    let error = body(&output);
    assert_eq!(error["errorType"], "Runtime.ExitError");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Error: Runtime exited with error: signal: killed"), "{message}");
    assert!(!is_alive(&pid));
    assert_eq!(account.result("f", json!({"do": "count"})).await, json!(1), "a new process");
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
        [("plain", false, None), ("extended", true, Some(("ECHO_EXTENSION", "1")))]
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
