//! How much a function is given and gives back, and how often it runs at the same time.

use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::invoke::builders::InvokeFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, ThrottleReason};
use serde_json::json;

use crate::functions::{Account, body};
use crate::{MEETING_WITHIN, by_hand, tailed};

/// AWS quotas.
const SYNC_MAX_BYTES: usize = 6_291_456;
const ASYNC_MAX_BYTES: usize = 1_048_576;
const TAIL_MAX_BYTES: usize = 4_096;

/// An event of exactly so many bytes.
fn event_of(bytes: usize) -> Blob {
    let empty = json!({"do": "count", "padding": ""}).to_string();
    let event = json!({"do": "count", "padding": "x".repeat(bytes - empty.len())}).to_string();
    assert_eq!(event.len(), bytes);
    Blob::new(event)
}

async fn assert_too_large(call: InvokeFluentBuilder) {
    let error = call.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 413);
    assert_eq!(error.into_service_error().code(), Some("RequestEntityTooLargeException"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_6_mb_when_it_is_waited_for_and_1_mb_when_it_is_not() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let invoke = |bytes| account.lambda.invoke().function_name("f").payload(event_of(bytes));
    assert_eq!(invoke(SYNC_MAX_BYTES).send().await.unwrap().status_code(), 200);
    assert_too_large(invoke(SYNC_MAX_BYTES + 1)).await;
    let event = |bytes| invoke(bytes).invocation_type(InvocationType::Event);
    assert_eq!(event(ASYNC_MAX_BYTES).send().await.unwrap().status_code(), 202);
    assert_too_large(event(ASYNC_MAX_BYTES + 1)).await;
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_is_too_large_or_no_answer_at_all_fails_the_event_and_the_process_serves_the_next() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    for (event, error_type) in
        [("large_error", "Function.ResponseSizeTooLarge"), ("ignore", "Runtime.NoResponse")]
    {
        // The clock stands still: no timeout ends it.
        let answered = tokio::time::timeout(MEETING_WITHIN, account.invoke("f", json!({"do": event}))).await;
        let output = answered.expect("it is answered");
        assert_eq!((output.status_code(), output.function_error()), (200, Some("Unhandled")), "{event}");
        assert_eq!(body(&output)["errorType"], error_type);
    }
    assert_eq!(account.result("f", json!({"do": "count"})).await, json!(3));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tail_is_the_last_4_kb() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let event = json!({"do": "print", "text": "x".repeat(2 * TAIL_MAX_BYTES)});
    let (_, tail) = tailed(&account, "f", event).await;
    assert_eq!(tail.len(), TAIL_MAX_BYTES);
    assert!(tail.starts_with("xxx") && tail.contains("\nREPORT RequestId: "), "{tail}");
    account.running.shutdown().await;
}

async fn throttled(account: &Account, function: &str) -> Option<ThrottleReason> {
    let error = account.lambda.invoke().function_name(function).send().await.unwrap_err();
    let error = error.into_service_error();
    let aws_sdk_lambda::operation::invoke::InvokeError::TooManyRequestsException(throttle) = error else {
        panic!("{error:?}")
    };
    throttle.reason().cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_with_a_reservation_runs_so_often_at_the_same_time_and_no_more() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    account.function("other", 60, &[], &[]).await;
    let reserve = account.lambda.put_function_concurrency().function_name("f");
    reserve.reserved_concurrent_executions(2).send().await.unwrap();
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let event = json!({"do": "meet", "address": meeting.local_addr().unwrap().to_string()});
    let calls = futures_util::future::join_all((0..2).map(|_| account.result("f", event.clone())));
    let meanwhile = async {
        let at_work = (meeting.accept().await.unwrap(), meeting.accept().await.unwrap());
        let reason = throttled(&account, "f").await;
        assert_eq!(reason, Some(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded));
        assert_eq!(account.result("other", json!({"do": "count"})).await, json!(1));
        drop(at_work);
    };
    let (answers, ()) = tokio::join!(calls, meanwhile);
    assert_eq!(answers, [json!(true), json!(true)]);
    assert!(account.result("f", json!({"do": "count"})).await.is_u64());
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservations_leave_a_hundred_to_the_others() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    account.function("other", 60, &[], &[]).await;
    let reserve = |name: &str, concurrency| {
        let call = account.lambda.put_function_concurrency().function_name(name);
        call.reserved_concurrent_executions(concurrency).send()
    };
    reserve("other", 100).await.unwrap();
    let error = reserve("f", 801).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_value_exception(), "{error:?}");
    assert_eq!(
        error.message(),
        Some(
            "Specified ReservedConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [100]."
        )
    );
    reserve("f", 800).await.unwrap();
    let settings = account.lambda.get_account_settings().send().await.unwrap();
    assert_eq!(settings.account_limit().unwrap().unreserved_concurrent_executions(), Some(100));
    account.running.shutdown().await;
}
