//! Batches that others' messages join while the function is at work.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::super::gather::WAIT_MS;
use super::{Fixture, Function};

/// A mapping of which one invocation is under way until the gate is opened.
async fn at_work(settings: Value) -> Fixture {
    let mut function = Function::new([]);
    Arc::get_mut(&mut function).unwrap().gate = Semaphore::new(0);
    let (fixture, _) = Fixture::start(function, settings).await;
    fixture.send("first").await;
    fixture.until("the first call", |fixture| fixture.function.calls() == 1).await;
    fixture
}

/// One after the other, each received before the next is sent.
async fn send_one_by_one(fixture: &Fixture, bodies: &[&str]) {
    for body in bodies {
        fixture.send(body).await;
        fixture.until("its receive", |fixture| fixture.counts().visible == 0).await;
        fixture.rest().await;
    }
}

fn batches(fixture: &Fixture) -> Vec<Vec<String>> {
    let events = fixture.function.events.lock().unwrap();
    let bodies = |event: &Value| {
        let records = event["Records"].as_array().unwrap();
        records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect()
    };
    events.iter().map(bodies).collect()
}

fn advance_by(fixture: &Fixture, ms: i64) {
    fixture.advance_ms(u64::try_from(ms).unwrap());
}

#[tokio::test]
async fn what_comes_while_the_function_works_waits_for_more_but_not_for_long() {
    let fixture = at_work(json!({})).await;
    send_one_by_one(&fixture, &["a", "b", "c"]).await;
    advance_by(&fixture, WAIT_MS - 1);
    fixture.rest().await;
    assert_eq!(batches(&fixture), [["first"]]);
    advance_by(&fixture, 1);
    fixture.until("the second call", |fixture| fixture.function.calls() == 2).await;
    assert_eq!(batches(&fixture)[1], ["a", "b", "c"]);
    fixture.function.gate.add_permits(2);
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
}

#[tokio::test]
async fn it_waits_no_longer_than_the_function_works() {
    let fixture = at_work(json!({})).await;
    send_one_by_one(&fixture, &["a", "b"]).await;
    fixture.function.gate.add_permits(1);
    fixture.until("the second call", |fixture| fixture.function.calls() == 2).await;
    assert_eq!(batches(&fixture)[1], ["a", "b"]);
}

#[tokio::test]
async fn while_the_function_does_nothing_nothing_waits() {
    let fixture = at_work(json!({})).await;
    fixture.function.gate.add_permits(10);
    for n in 1..=3 {
        fixture.until("deletion", |fixture| fixture.left() == 0).await;
        fixture.rest().await;
        fixture.send("next").await;
        fixture.until("its call", |fixture| fixture.function.calls() == 1 + n).await;
    }
}

#[tokio::test]
async fn a_full_batch_goes_at_once_and_what_does_not_fit_goes_by_itself() {
    let fixture = at_work(json!({ "BatchSize": 3 })).await;
    send_one_by_one(&fixture, &["a", "b"]).await;
    fixture.send_many(2).await;
    fixture.until("what does not fit", |fixture| fixture.function.calls() == 2).await;
    send_one_by_one(&fixture, &["c"]).await;
    fixture.until("what is full", |fixture| fixture.function.calls() == 3).await;
    assert_eq!(batches(&fixture)[1..], [vec!["x", "x"], vec!["a", "b", "c"]]);
}

#[tokio::test]
async fn where_the_queue_hides_nothing_nothing_waits() {
    let fixture = at_work(json!({})).await;
    fixture.call("SetQueueAttributes", json!({ "Attributes": { "VisibilityTimeout": "0" } })).await;
    fixture.send("a").await;
    fixture.until("the second call", |fixture| fixture.function.calls() >= 2).await;
    assert_eq!(batches(&fixture)[1], ["a"]);
}

#[tokio::test]
async fn a_stop_loses_nothing_of_it() {
    let fixture = at_work(json!({})).await;
    send_one_by_one(&fixture, &["a", "b"]).await;
    fixture.function.gate.add_permits(2);
    fixture.esm.shutdown().await;
    assert_eq!(batches(&fixture)[1..], [["a", "b"]]);
    assert_eq!(fixture.left(), 0);
}
