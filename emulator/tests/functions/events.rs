//! Asynchronous invocations: tried again, and what could not be done goes to its destination and its dead-letter queue.

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{DeadLetterConfig, DestinationConfig, InvocationType, OnFailure, OnSuccess};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use serde_json::{Value, json};

use crate::functions::Account;
use crate::{MEETING_WITHIN, by_hand, logs};

fn queues(account: &Account) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(account.running.endpoint())
        .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "test"))
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:us-east-1:123456789012:{queue}")
}

/// The next message of the queue, while time passes.
async fn next(account: &Account, sqs: &aws_sdk_sqs::Client, url: &str) -> Message {
    let wait = async {
        loop {
            let receive = sqs.receive_message().queue_url(url).message_attribute_names("All");
            let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
            let received = receive.send().await.unwrap();
            if let Some(message) = received.messages.unwrap_or_default().pop() {
                return message;
            }
            if let Some(hand) = &account.hand {
                hand.advance(Duration::from_secs(10));
            }
        }
    };
    tokio::time::timeout(MEETING_WITHIN, wait).await.expect("a message comes")
}

fn record(message: &Message) -> Value {
    serde_json::from_str(message.body().unwrap()).unwrap()
}

async fn queue(sqs: &aws_sdk_sqs::Client, name: &str) -> String {
    sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
}

/// The queues of a function `f`: for what failed, for what was done, and for dead letters.
async fn function_with_queues(account: &Account, sqs: &aws_sdk_sqs::Client) -> [String; 3] {
    let urls = [queue(sqs, "failed").await, queue(sqs, "done").await, queue(sqs, "dead").await];
    account.function("f", 900, &[], &[]).await;
    let update = account.lambda.update_function_configuration().function_name("f");
    let dead = DeadLetterConfig::builder().target_arn(arn("dead")).build();
    update.dead_letter_config(dead).send().await.unwrap();
    account.active("f").await;
    let destinations = DestinationConfig::builder()
        .on_failure(OnFailure::builder().destination(arn("failed")).build())
        .on_success(OnSuccess::builder().destination(arn("done")).build());
    let config = account.lambda.put_function_event_invoke_config().function_name("f");
    config.destination_config(destinations.build()).send().await.unwrap();
    urls
}

async fn send(account: &Account, event: Value) {
    let call = account.lambda.invoke().function_name("f").invocation_type(InvocationType::Event);
    let sent = call.payload(Blob::new(event.to_string())).send().await.unwrap();
    assert_eq!(sent.status_code(), 202);
}

async fn reserve(account: &Account, concurrency: i32) {
    let reserve = account.lambda.put_function_concurrency().function_name("f");
    reserve.reserved_concurrent_executions(concurrency).send().await.unwrap();
}

/// An event that never ran: there is no answer, and a dead letter has nothing but the id.
fn assert_never_ran(failed: &Message, dead: &Message, condition: &str) {
    let failed = record(failed);
    assert_eq!(failed["requestContext"]["condition"], condition);
    assert_eq!(failed["requestContext"]["approximateInvokeCount"], 0);
    assert!(failed.get("responseContext").is_none() && failed.get("responsePayload").is_none(), "{failed}");
    let attributes = dead.message_attributes().unwrap();
    assert_eq!(attributes.keys().collect::<Vec<_>>(), ["RequestID"]);
    let id = attributes["RequestID"].string_value();
    assert_eq!(id, failed["requestContext"]["requestId"].as_str());
}

/// When the lines of the function's log were written that begin so.
pub(crate) async fn logged(account: &Account, beginning: &str) -> Vec<i64> {
    let found = logs::call(account, "FilterLogEvents", json!({"logGroupName": "/aws/lambda/f"})).await;
    let events = found["events"].as_array().cloned().unwrap_or_default();
    let begins = |event: &&Value| event["message"].as_str().unwrap().starts_with(beginning);
    events.iter().filter(begins).map(|event| event["timestamp"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_is_tried_again_after_one_minute_and_then_after_two() {
    let account = by_hand().await;
    let hand = account.hand.clone().unwrap();
    account.function("f", 900, &[], &[]).await;
    send(&account, json!({"do": "error"})).await;
    let three_tries = async {
        loop {
            let (reports, starts) = (logged(&account, "REPORT").await, logged(&account, "START").await);
            if reports.len() == 3 {
                return starts;
            }
            // Time passes only while nothing runs.
            if !starts.is_empty() && starts.len() == reports.len() {
                hand.advance(Duration::from_secs(1));
            }
        }
    };
    let starts = tokio::time::timeout(MEETING_WITHIN, three_tries).await.expect("three tries");
    let waits: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Whoever moves the clock may be some seconds ahead of whoever waits.
    assert!((60_000..90_000).contains(&waits[0]) && (120_000..150_000).contains(&waits[1]), "{waits:?}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_run_in_time_is_given_up() {
    let account = by_hand().await;
    let sqs = queues(&account);
    let [failed, _, dead] = function_with_queues(&account, &sqs).await;
    let config = account.lambda.update_function_event_invoke_config().function_name("f");
    config.maximum_event_age_in_seconds(60).send().await.unwrap();
    reserve(&account, 1).await;
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let occupied = json!({"do": "meet", "address": meeting.local_addr().unwrap().to_string()});
    let given_up = async {
        let at_work = meeting.accept().await.unwrap();
        send(&account, json!({"fine": true})).await;
        let given_up = (next(&account, &sqs, &failed).await, next(&account, &sqs, &dead).await);
        drop(at_work);
        given_up
    };
    let (_, (failed, dead)) = tokio::join!(account.result("f", occupied), given_up);
    assert_never_ran(&failed, &dead, "EventAgeExceeded");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_concurrency_an_event_goes_straight_to_its_destination_with_its_trace() {
    let account = by_hand().await;
    let sqs = queues(&account);
    let [failed, _, dead] = function_with_queues(&account, &sqs).await;
    reserve(&account, 0).await;
    send(&account, json!({"fine": true})).await;
    let (failed, dead) = (next(&account, &sqs, &failed).await, next(&account, &sqs, &dead).await);
    assert_never_ran(&failed, &dead, "ZeroReservedConcurrency");
    for message in [&failed, &dead] {
        let trace = &message.attributes().unwrap()[&MessageSystemAttributeName::AwsTraceHeader];
        assert!(trace.starts_with("Root=1-") && trace.contains(";Parent="), "{trace}");
    }
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_is_tried_three_times_and_goes_to_its_destination_and_the_dead_letters() {
    let account = by_hand().await;
    let sqs = queues(&account);
    let urls = function_with_queues(&account, &sqs).await;
    send(&account, json!({"do": "error"})).await;
    let failed = record(&next(&account, &sqs, &urls[0]).await);
    assert_eq!(failed["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(failed["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(
        failed["requestContext"]["functionArn"],
        "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST"
    );
    assert_eq!(failed["requestPayload"], json!({"do": "error"}));
    assert_eq!(
        failed["responseContext"],
        json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"})
    );
    assert_eq!(failed["responsePayload"], json!({"errorType": "Asked.For", "errorMessage": "an error"}));

    let dead = next(&account, &sqs, &urls[2]).await;
    assert_eq!(record(&dead), json!({"do": "error"}), "the dead letter is the event itself");
    let attributes = dead.message_attributes.unwrap();
    let text = |name: &str| attributes[name].string_value().unwrap().to_owned();
    assert_eq!((text("ErrorCode"), text("ErrorMessage")), ("200".to_owned(), "an error".to_owned()));
    assert_eq!(json!(text("RequestID")), failed["requestContext"]["requestId"]);

    send(&account, json!({"fine": true})).await;
    let done = record(&next(&account, &sqs, &urls[1]).await);
    assert_eq!(done["requestContext"]["condition"], "Success");
    assert_eq!(
        (&done["responsePayload"], &done["requestPayload"]),
        (&json!({"fine": true}), &json!({"fine": true}))
    );
    account.running.shutdown().await;
}
