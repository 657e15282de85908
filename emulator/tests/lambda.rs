//! Lambda through the AWS SDK: what callers see, in the exact words of AWS.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

#[path = "functions/adversary.rs"]
mod adversary;
#[path = "functions/configuration.rs"]
mod configuration;
#[cfg(target_os = "linux")]
#[path = "functions/environments.rs"]
mod environments;
#[path = "functions/events.rs"]
mod events;
mod functions;
#[path = "functions/limits.rs"]
mod limits;
#[path = "functions/logs.rs"]
mod logs;
#[cfg(target_os = "linux")]
#[path = "functions/reports.rs"]
mod reports;

use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType, ThrottleReason};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emulator::clock::Clock;
use emulator::{Emulator, Options};
use functions::{Account, body, package_of};
use serde_json::{Value, json};

/// Generous: the machine may be busy. Nothing waits for it unless something is wrong.
const MEETING_WITHIN: std::time::Duration = std::time::Duration::from_secs(40);

/// An account whose clock stands still but for the test: an environment that has answered is waited for, however slow the
/// machine is.
async fn by_hand() -> Account {
    let (clock, hand) = Clock::manual(1_800_000_000_000);
    let options = Options { clock, iam: false, ..Options::default() };
    let account = Account::on(Emulator::start(options).await.unwrap()).await;
    Account { hand: Some(hand), ..account }
}

/// An invocation, and the end of its log.
async fn tailed(account: &Account, function: &str, event: Value) -> (InvokeOutput, String) {
    let call = account.lambda.invoke().function_name(function).log_type(LogType::Tail);
    let output = call.payload(Blob::new(event.to_string())).send().await.unwrap();
    let tail = STANDARD.decode(output.log_result().unwrap()).unwrap();
    (output, String::from_utf8(tail).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_answers_and_its_environment_is_used_again() {
    let account = by_hand().await;
    account.function("f", 60, &[("GREETING", "hello")], &[]).await;
    let output = account.invoke("f", json!({"a": 1})).await;
    assert_eq!(output.status_code(), 200);
    assert_eq!(output.executed_version(), Some("$LATEST"));
    assert_eq!(output.function_error(), None);
    assert_eq!(body(&output), json!({"a": 1}));
    assert_eq!(account.result("f", json!({"do": "count"})).await, json!(2));
    let variable = |name: &str| json!({"do": "variable", "name": name});
    assert_eq!(account.result("f", variable("GREETING")).await, json!("hello"));
    assert_eq!(account.result("f", variable("AWS_ENDPOINT_URL")).await, json!(account.running.endpoint()));
    assert_eq!(account.result("f", variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")).await, json!("128"));
    let key = account.result("f", variable("AWS_ACCESS_KEY_ID")).await;
    assert!(key.as_str().unwrap().starts_with("ASIA"), "{key}");
    let header = |name: &str| json!({"do": "header", "name": name});
    let arn = account.result("f", header("lambda-runtime-invoked-function-arn")).await;
    assert_eq!(arn, json!("arn:aws:lambda:us-east-1:123456789012:function:f"));
    let deadline_ms = account.running.settings().clock.now_ms() + 60_000;
    let deadline = account.result("f", header("lambda-runtime-deadline-ms")).await;
    assert_eq!(deadline, json!(deadline_ms.to_string()));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_of_the_caller_goes_on_and_who_has_none_gets_one() {
    const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let header = json!({"do": "header", "name": "lambda-runtime-trace-id"});
    let made = account.result("f", header.clone()).await;
    let made = made.as_str().unwrap();
    assert!(made.starts_with("Root=1-") && made.contains(";Parent="), "{made}");
    assert!(made.ends_with(";Sampled=0"), "{made}");
    let call = account.lambda.invoke().function_name("f").payload(Blob::new(header.to_string())).customize();
    let call = call.mutate_request(|request| {
        request.headers_mut().insert("x-amzn-trace-id", TRACE);
    });
    assert_eq!(body(&call.send().await.unwrap()), json!(TRACE));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_exits_and_large_answers_have_the_payloads_of_aws() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let failed = |event| async {
        let output = account.invoke("f", event).await;
        assert_eq!((output.status_code(), output.function_error()), (200, Some("Unhandled")));
        body(&output)
    };
    assert_eq!(
        failed(json!({"do": "error"})).await,
        json!({"errorType": "Asked.For", "errorMessage": "an error"})
    );
    let large = failed(json!({"do": "large"})).await;
    assert_eq!(large["errorType"], "Function.ResponseSizeTooLarge");
    let exit = failed(json!({"do": "exit", "code": 0})).await;
    assert_eq!(exit["errorType"], "Runtime.ExitError");
    assert!(
        exit["errorMessage"].as_str().unwrap().ends_with("Error: Runtime exited without providing a reason")
    );
    let exit = failed(json!({"do": "exit", "code": 3})).await;
    assert!(
        exit["errorMessage"].as_str().unwrap().ends_with("Error: Runtime exited with error: exit status 3")
    );
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_ends_the_process_and_the_next_invocation_gets_a_new_one() {
    let account = Account::start(false).await;
    // Short, because it is waited out; long enough for the next answer on a busy machine.
    account.function("f", 3, &[], &[]).await;
    let timeout = account.invoke("f", json!({"do": "hang"})).await;
    assert_eq!((timeout.status_code(), timeout.function_error()), (200, Some("Unhandled")));
    let timeout = body(&timeout);
    assert_eq!(timeout["errorType"], "Sandbox.Timedout");
    assert!(timeout["errorMessage"].as_str().unwrap().ends_with("Error: Task timed out after 3.00 seconds"));
    assert_eq!(account.result("f", json!({"do": "count"})).await, json!(1), "a new process");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_init_is_the_error_of_the_invocation() {
    let account = Account::start(false).await;
    account.function("posts", 60, &[("ECHO_INIT", "error")], &[]).await;
    account.function("exits", 60, &[("ECHO_INIT", "exit")], &[]).await;
    assert_eq!(
        account.result("posts", json!({})).await,
        json!({"errorType": "Init.Refused", "errorMessage": "asked to"})
    );
    let exited = account.result("exits", json!({})).await;
    assert_eq!(exited["errorType"], "Runtime.ExitError");
    assert!(exited["errorMessage"].as_str().unwrap().ends_with("Runtime exited with error: exit status 7"));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_without_a_bootstrap_cannot_be_started() {
    let account = by_hand().await;
    account.creation("f", package_of(&[("other", b"x")])).send().await.unwrap();
    account.active("f").await;
    let error = account.result("f", json!({})).await;
    assert_eq!(error["errorType"], "Runtime.InvalidEntrypoint");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        "{message}"
    );
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tail_holds_the_lines_of_this_invocation_in_order() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let (_, tail) = tailed(&account, "f", json!({"do": "print", "text": "spoken"})).await;
    let lines: Vec<&str> = tail.lines().collect();
    assert!(lines[0].starts_with("START RequestId: ") && lines[0].ends_with(" Version: $LATEST"), "{tail}");
    assert_eq!(lines[1], "spoken");
    assert!(lines[2].starts_with("END RequestId: "), "{tail}");
    assert!(lines[3].starts_with("REPORT RequestId: ") && lines[3].contains("Init Duration: "), "{tail}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_concurrency_zero_throttles_until_it_is_deleted() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let reserve = account.lambda.put_function_concurrency().function_name("f");
    reserve.reserved_concurrent_executions(0).send().await.unwrap();
    let error = account.lambda.invoke().function_name("f").send().await.unwrap_err();
    let SdkError::ServiceError(error) = error else { panic!("{error:?}") };
    assert_eq!(error.raw().status().as_u16(), 429);
    let error = error.into_err();
    assert_eq!(error.code(), Some("TooManyRequestsException"));
    assert_eq!(error.message(), Some("Rate Exceeded."));
    let aws_sdk_lambda::operation::invoke::InvokeError::TooManyRequestsException(throttle) = error else {
        panic!("{error:?}")
    };
    assert_eq!(throttle.reason(), Some(&ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded));
    account.lambda.delete_function_concurrency().function_name("f").send().await.unwrap();
    assert_eq!(account.result("f", json!({"a": 1})).await, json!({"a": 1}));
    let unset = account.lambda.get_function_concurrency().function_name("f").send().await.unwrap();
    assert_eq!(unset.reserved_concurrent_executions(), None, "absent is not zero");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_invocations_get_environments_of_their_own() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let event = json!({"do": "meet", "address": meeting.local_addr().unwrap().to_string()});
    let calls = futures_util::future::join_all((0..8).map(|_| account.result("f", event.clone())));
    let all_came = async {
        let mut here = Vec::new();
        while here.len() < 8 {
            here.push(meeting.accept().await.unwrap());
        }
    };
    // Nobody leaves before all are here: an environment that took two at a time could not end this.
    let (answers, ()) = tokio::time::timeout(MEETING_WITHIN, async { tokio::join!(calls, all_came) })
        .await
        .expect("eight environments run at the same time");
    assert_eq!(answers, vec![json!(true); 8]);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_is_left_after_a_shutdown() {
    let account = Account::start(false).await;
    account.function("f", 60, &[], &[]).await;
    let pid = account.result("f", json!({"do": "pid"})).await;
    account.running.shutdown().await;
    let stat = format!("/proc/{pid}/stat");
    let gone = async {
        // A zombie is dead: it only waits to be collected.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .expect("the function's process is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_functions_and_bad_events_are_refused_with_typed_errors() {
    let account = Account::start(false).await;
    let error =
        account.lambda.invoke().function_name("nobody").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    assert_eq!(
        error.message(),
        Some("Function not found: arn:aws:lambda:us-east-1:123456789012:function:nobody:$LATEST")
    );
    account.function("f", 60, &[], &[]).await;
    // The second is no text.
    for payload in [&b"{"[..], b"\"\x87\""] {
        let call = account.lambda.invoke().function_name("f").payload(Blob::new(payload));
        let error = call.send().await.unwrap_err().into_service_error();
        assert!(error.is_invalid_request_content_exception(), "{error:?}");
    }
    let dry = account.lambda.invoke().function_name("f").invocation_type(InvocationType::DryRun).send().await;
    assert_eq!(dry.unwrap().status_code(), 204);
    account.running.shutdown().await;
}

/// State letter of a process, as `ps` shows it: `T` is stopped.
#[cfg(target_os = "linux")]
fn process_state(pid: &Value) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').next().map(str::to_owned)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_environment_is_frozen_and_thaws_for_its_next_event() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let pid = account.result("f", json!({"do": "pid"})).await;
    for count in [2, 3] {
        let frozen = async {
            while process_state(&pid).as_deref() != Some("T") {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(MEETING_WITHIN, frozen).await.expect("the idle process is stopped");
        assert_eq!(account.result("f", json!({"do": "count"})).await, json!(count));
    }
    account.running.shutdown().await;
}
