//! Who is admitted and who is throttled. Nothing runs here.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::invocation::{Admitted, Request};
use super::names::FunctionRef;
use super::store::Kind;
use super::*;
use crate::clock::ManualClock;
use crate::sqs::tests::settings;

/// An account of so many concurrent executions, with the functions `f` and `g`.
async fn account(concurrency: u32) -> Lambda {
    account_by_hand(concurrency).await.0
}

/// With the hand of its clock.
async fn account_by_hand(concurrency: u32) -> (Lambda, Arc<ManualClock>) {
    let (settings, hand) = settings();
    let options = Options { account_concurrency: concurrency, unreserved_minimum: 1, ..Options::default() };
    let lambda = Lambda::new(settings, options).unwrap();
    let mut package = ZipWriter::new(Cursor::new(Vec::new()));
    package.start_file("bootstrap", SimpleFileOptions::default()).unwrap();
    let package = STANDARD.encode(package.finish().unwrap().into_inner());
    for name in ["f", "g"] {
        let input = json!({
            "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap",
            "Role": "arn:aws:iam::123456789012:role/f", "Code": {"ZipFile": package},
        });
        call(&lambda, Method::POST, "/2015-03-31/functions", &input).await;
    }
    hand.advance(Duration::from_secs(1));
    (lambda, hand)
}

async fn call(lambda: &Lambda, method: Method, path: &str, input: &Value) {
    let request = AwsRequest::unsigned("lambda", method, path, &input.to_string());
    let answer = lambda.handle(request).await;
    assert!(answer.status.is_success(), "{path}: {:?}", answer.body);
}

/// What runs, or the reason why not.
fn admit(lambda: &Lambda, name: &str) -> Result<Admitted, Option<&'static str>> {
    admit_as(lambda, name, Kind::Synchronous)
}

fn admit_as(lambda: &Lambda, name: &str, kind: Kind) -> Result<Admitted, Option<&'static str>> {
    let function = FunctionRef::parse(name).unwrap();
    let request = Request::by_service(function, Bytes::new(), lambda.now_ms());
    lambda.admit(request, kind).map_err(|error| error.reason)
}

#[tokio::test]
async fn an_account_has_so_many_executions_at_the_same_time_and_no_more() {
    let lambda = account(3).await;
    let mut running: Vec<Admitted> =
        ["f", "f", "g"].into_iter().map(|name| admit(&lambda, name).unwrap()).collect();
    for name in ["f", "g"] {
        assert_eq!(admit(&lambda, name).unwrap_err(), Some("ConcurrentInvocationLimitExceeded"));
    }
    running.pop();
    running.push(admit(&lambda, "f").unwrap());
    assert!(admit(&lambda, "g").is_err());
}

#[tokio::test]
async fn a_reservation_is_a_cap_for_the_function_and_kept_from_the_others() {
    let lambda = account(3).await;
    let reserve = json!({"ReservedConcurrentExecutions": 1});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    let _others = [admit(&lambda, "g").unwrap(), admit(&lambda, "g").unwrap()];
    assert_eq!(admit(&lambda, "g").unwrap_err(), Some("ConcurrentInvocationLimitExceeded"));
    let _own = admit(&lambda, "f").unwrap();
    assert_eq!(admit(&lambda, "f").unwrap_err(), Some("ReservedFunctionConcurrentInvocationLimitExceeded"));
}

#[tokio::test]
async fn ten_invocations_a_second_are_admitted_for_each_unit_of_concurrency() {
    let (lambda, hand) = account_by_hand(4).await;
    let reserve = json!({"ReservedConcurrentExecutions": 2});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    // One after the other, so that it is never concurrency that is wanting.
    let admitted = |name| (0..100).map_while(|_| admit(&lambda, name).ok()).count();
    for _ in 0..2 {
        assert_eq!((admitted("f"), admitted("g")), (20, 20));
        for (name, reason) in [
            ("f", "ReservedFunctionInvocationRateLimitExceeded"),
            ("g", "FunctionInvocationRateLimitExceeded"),
        ] {
            assert_eq!(admit(&lambda, name).unwrap_err(), Some(reason));
            assert!(admit_as(&lambda, name, Kind::Asynchronous).is_ok(), "events are not limited");
        }
        hand.advance(Duration::from_secs(1));
    }
    let reserve = json!({"ReservedConcurrentExecutions": 1});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    assert_eq!((admitted("f"), admitted("g")), (10, 30));
}
