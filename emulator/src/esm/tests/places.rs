//! Batches that wait for a place among the invocations of their mapping.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Fixture, Function};
use crate::invoke::InvokeOutcome;

/// Most steps of the clock until everything was delivered.
const STEPS_MAX: usize = 100;

/// A mapping that invokes two at once. Two messages were refused and are parked; further invocations take a place and keep
/// it until the gate is opened.
async fn two_are_parked() -> (Fixture, String) {
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    let mut function = Function::new((0..2).map(|_| InvokeOutcome::Throttled { reason }));
    Arc::get_mut(&mut function).unwrap().gate = Semaphore::new(2);
    let settings = json!({ "BatchSize": 1, "ScalingConfig": { "MaximumConcurrency": 2 } });
    let (fixture, uuid) = Fixture::start(function, settings).await;
    fixture.send_many(2).await;
    fixture.until("two refusals", |fixture| fixture.function.calls() == 2).await;
    fixture.rest().await;
    (fixture, uuid)
}

/// Two more messages, so that of the four batches two have a place and two wait for one.
async fn two_wait_for_a_place(fixture: &Fixture) {
    fixture.send_many(2).await;
    fixture.advance_ms(100);
    fixture.until("both places", |fixture| fixture.function.calls() == 4).await;
    fixture.rest().await;
    assert_eq!((fixture.function.calls(), fixture.counts().in_flight), (4, 4));
}

/// Ends the visibility of what waits for a place, and opens the gate. What is invoked then is of a later receive.
async fn only_later_receives_are_invoked(fixture: &Fixture) {
    let before = fixture.function.calls();
    fixture.advance_ms(6_000);
    fixture.rest().await;
    assert_eq!(fixture.function.calls(), before, "there is no place");
    fixture.function.gate.add_permits(1_000);
    for _ in 0..STEPS_MAX {
        if fixture.left() == 0 {
            break;
        }
        fixture.advance_ms(100);
        fixture.rest().await;
    }
    assert_eq!(fixture.left(), 0);
    let events = fixture.function.events.lock().unwrap();
    assert!(events.len() > before);
    for event in &events[before..] {
        assert_ne!(event["Records"][0]["attributes"]["ApproximateReceiveCount"], "1", "{event}");
    }
}

#[tokio::test]
async fn of_new_and_parked_batches_none_is_invoked_after_its_visibility() {
    let (fixture, _) = two_are_parked().await;
    two_wait_for_a_place(&fixture).await;
    only_later_receives_are_invoked(&fixture).await;
}

#[tokio::test]
async fn a_batch_that_was_just_received_waits_for_a_place_no_longer_than_its_visibility() {
    let (fixture, _) = two_are_parked().await;
    fixture.advance_ms(100);
    fixture.until("both places", |fixture| fixture.function.calls() == 4).await;
    fixture.rest().await;
    fixture.send_many(2).await;
    fixture.rest().await;
    assert_eq!((fixture.function.calls(), fixture.counts().in_flight), (4, 4));
    only_later_receives_are_invoked(&fixture).await;
}

#[tokio::test]
async fn a_batch_that_waits_for_a_place_is_not_invoked_once_its_mapping_stops() {
    let (fixture, uuid) = two_are_parked().await;
    two_wait_for_a_place(&fixture).await;
    assert_eq!(fixture.mapping(Method::PUT, &uuid, json!({ "Enabled": false })).0, 202);
    fixture.rest().await;
    fixture.function.gate.add_permits(1_000);
    fixture.until("those under way", |fixture| fixture.left() == 2).await;
    fixture.rest().await;
    assert_eq!((fixture.function.calls(), fixture.left()), (4, 2));
}
