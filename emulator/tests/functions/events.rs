//! Asynchronous invocations: tried again, and what could not be done goes to its destination and its dead-letter queue.

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{DeadLetterConfig, DestinationConfig, InvocationType, OnFailure, OnSuccess};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};

use crate::functions::Account;
use crate::{MEETING_WITHIN, by_hand};

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
            let received =
                sqs.receive_message().queue_url(url).message_attribute_names("All").send().await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_is_tried_three_times_and_goes_to_its_destination_and_the_dead_letters() {
    let account = by_hand().await;
    let sqs = queues(&account);
    let mut urls = Vec::new();
    for name in ["failed", "done", "dead"] {
        urls.push(sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap());
    }
    account.function("f", 60, &[], &[]).await;
    let update = account.lambda.update_function_configuration().function_name("f");
    let dead = DeadLetterConfig::builder().target_arn(arn("dead")).build();
    update.dead_letter_config(dead).send().await.unwrap();
    account.active("f").await;
    let destinations = DestinationConfig::builder()
        .on_failure(OnFailure::builder().destination(arn("failed")).build())
        .on_success(OnSuccess::builder().destination(arn("done")).build());
    let config = account.lambda.put_function_event_invoke_config().function_name("f");
    config.destination_config(destinations.build()).send().await.unwrap();

    let event = |event: Value| {
        let call = account.lambda.invoke().function_name("f").invocation_type(InvocationType::Event);
        call.payload(Blob::new(event.to_string())).send()
    };
    assert_eq!(event(json!({"do": "error"})).await.unwrap().status_code(), 202);
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

    event(json!({"fine": true})).await.unwrap();
    let done = record(&next(&account, &sqs, &urls[1]).await);
    assert_eq!(done["requestContext"]["condition"], "Success");
    assert_eq!(
        (&done["responsePayload"], &done["requestPayload"]),
        (&json!({"fine": true}), &json!({"fine": true}))
    );
    account.running.shutdown().await;
}
