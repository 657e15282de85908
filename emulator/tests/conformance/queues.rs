//! SQS.

use std::time::Instant;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};

use crate::world::{Made, World};

async fn queue(world: &World, sqs: &Client, attributes: &[(QueueAttributeName, &str)]) -> String {
    let mut request = sqs.create_queue().queue_name(world.name("queue"));
    for (name, value) in attributes {
        request = request.attributes(name.clone(), *value);
    }
    let url = request.send().await.unwrap().queue_url.unwrap();
    world.made(Made::QueueUrl(url.clone()));
    url
}

fn entry(id: usize, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().unwrap()
}

async fn receive(sqs: &Client, url: &str) -> Vec<Message> {
    let request = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(2);
    let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
    request.send().await.unwrap().messages.unwrap_or_default()
}

/// A receive may find only some of what is there.
async fn receive_until(sqs: &Client, url: &str, wanted: usize) -> Vec<Message> {
    let mut found = Vec::new();
    for _ in 0..wanted + 10 {
        found.extend(receive(sqs, url).await);
        if found.len() >= wanted {
            break;
        }
    }
    found
}

pub(crate) async fn messages_go_through_in_batches_of_ten(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let entries = (0..10).map(|n| entry(n, &format!("body {n}"))).collect();
    let sent = sqs.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    assert_eq!((sent.successful().len(), sent.failed().len()), (10, 0));
    let messages = receive_until(&sqs, &url, 10).await;
    let mut bodies: Vec<&str> = messages.iter().map(|one| one.body().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..10).map(|n| format!("body {n}")).collect::<Vec<_>>());
    for message in &messages {
        let attributes = message.attributes().unwrap();
        assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
        let handle = message.receipt_handle().unwrap();
        sqs.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    }
}

pub(crate) async fn errors_reach_the_caller_typed(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let missing = format!("{url}-none");
    let error = sqs.send_message().queue_url(&missing).message_body("x").send().await.unwrap_err();
    assert!(error.into_service_error().is_queue_does_not_exist());
    let error = sqs.delete_message().queue_url(&url).receipt_handle("garbage").send().await.unwrap_err();
    assert!(error.into_service_error().is_receipt_handle_is_invalid());
    sqs.purge_queue().queue_url(&url).send().await.unwrap();
    let error = sqs.purge_queue().queue_url(&url).send().await.unwrap_err();
    assert!(error.into_service_error().is_purge_queue_in_progress());
    let name = url.rsplit('/').next().unwrap();
    let again = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::DelaySeconds, "5");
    assert!(again.send().await.unwrap_err().into_service_error().is_queue_name_exists());
    let deleted = queue(world, &sqs, &[]).await;
    sqs.delete_queue().queue_url(&deleted).send().await.unwrap();
    let error = sqs.create_queue().queue_name(deleted.rsplit('/').next().unwrap()).send().await.unwrap_err();
    assert!(error.into_service_error().is_queue_deleted_recently());
}

pub(crate) async fn limits_are_refused_in_the_words_of_aws(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let code = |error: &dyn ProvideErrorMetadata| error.code().unwrap_or_default().to_owned();
    let message = |error: &dyn ProvideErrorMetadata| error.message().unwrap_or_default().to_owned();
    let error = sqs.receive_message().queue_url(&url).max_number_of_messages(11).send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidParameterValue");
    assert_eq!(
        message(&error),
        "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    );
    let error = sqs.receive_message().queue_url(&url).wait_time_seconds(21).send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidParameterValue");
    let error =
        sqs.send_message().queue_url(&url).message_body("x").delay_seconds(901).send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidParameterValue");
    let large = "x".repeat(1_048_577);
    let error = sqs.send_message().queue_url(&url).message_body(large).send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidParameterValue");
    assert!(message(&error).contains("Message must be shorter than 1048576 bytes"), "{}", message(&error));
    let error = sqs.send_message().queue_url(&url).message_body("\u{1}").send().await.unwrap_err();
    assert!(error.into_service_error().is_invalid_message_contents());
    let entries = (0..11).map(|n| entry(n, "x")).collect();
    let error = sqs.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap_err();
    assert!(error.into_service_error().is_too_many_entries_in_batch_request());
    let error =
        sqs.send_message_batch().queue_url(&url).set_entries(Some(Vec::new())).send().await.unwrap_err();
    assert!(error.into_service_error().is_empty_batch_request());
    let same = vec![entry(1, "x"), entry(1, "y")];
    let error = sqs.send_message_batch().queue_url(&url).set_entries(Some(same)).send().await.unwrap_err();
    assert!(error.into_service_error().is_batch_entry_ids_not_distinct());
}

pub(crate) async fn attributes_have_names_of_letters_and_values_without_control_characters(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let send = |name: &str, value: &str| {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value);
        let request = sqs.send_message().queue_url(&url).message_body("x");
        request.message_attributes(name, value.build().unwrap()).send()
    };
    send("attr.1øßä", "x").await.unwrap();
    let error = send("attr1", "Invalid-\u{8},\u{B}").await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
    for name in ["Invalid-!-attr", "Invalid-§-attr", "Invalid-?-attr"] {
        let error = send(name, "x").await.unwrap_err();
        assert!(error.code().is_some_and(|code| code.starts_with("Invalid")), "{error:?}");
    }
}

pub(crate) async fn entries_of_a_batch_fail_alone(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let entries = vec![entry(1, "good"), entry(2, "\u{FFFF}")];
    let sent = sqs.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(sent.successful().iter().map(|one| one.id()).collect::<Vec<_>>(), ["1"]);
    let [failed] = sent.failed() else { panic!("one entry fails: {sent:?}") };
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("2", "InvalidMessageContents", true));
}

pub(crate) async fn attributes_have_their_defaults(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let request = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
    let found = request.send().await.unwrap().attributes.unwrap();
    let defaults = [
        (QueueAttributeName::VisibilityTimeout, "30"),
        (QueueAttributeName::MessageRetentionPeriod, "345600"),
        (QueueAttributeName::MaximumMessageSize, "1048576"),
        (QueueAttributeName::DelaySeconds, "0"),
        (QueueAttributeName::ReceiveMessageWaitTimeSeconds, "0"),
        (QueueAttributeName::SqsManagedSseEnabled, "true"),
        (QueueAttributeName::ApproximateNumberOfMessages, "0"),
    ];
    for (name, value) in defaults {
        assert_eq!(found.get(&name).map(String::as_str), Some(value), "{name:?}");
    }
    for absent in
        [QueueAttributeName::RedrivePolicy, QueueAttributeName::Policy, QueueAttributeName::FifoQueue]
    {
        assert!(!found.contains_key(&absent), "{absent:?}");
    }
    assert!(found[&QueueAttributeName::QueueArn].contains(&world.account_id));
}

pub(crate) async fn a_long_poll_wakes_at_once(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    let poll = tokio::spawn({
        let request = sqs.receive_message().queue_url(&url).wait_time_seconds(20);
        async move { request.send().await.unwrap().messages.unwrap_or_default() }
    });
    let started = Instant::now();
    sqs.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    assert_eq!(poll.await.unwrap().len(), 1);
    assert!(started.elapsed().as_secs() < 10, "far below the wait of 20 seconds");
}

pub(crate) async fn a_message_moves_to_the_dead_letters_on_the_receive_beyond_the_limit(world: &World) {
    let sqs = Client::new(&world.config);
    let dead = queue(world, &sqs, &[]).await;
    let arn = sqs.get_queue_attributes().queue_url(&dead).attribute_names(QueueAttributeName::QueueArn);
    let arn = arn.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":2}}"#);
    let rules = [(QueueAttributeName::RedrivePolicy, &*policy), (QueueAttributeName::VisibilityTimeout, "1")];
    let work = queue(world, &sqs, &rules).await;
    sqs.send_message().queue_url(&work).message_body("poison").send().await.unwrap();
    for count in ["1", "2"] {
        let [message] = &receive_until(&sqs, &work, 1).await[..] else { panic!("received {count} times") };
        let counted = &message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
        assert_eq!(counted, count);
    }
    assert!(receive(&sqs, &work).await.is_empty());
    let [letter] = &receive_until(&sqs, &dead, 1).await[..] else { panic!("one dead letter") };
    assert_eq!(letter.body(), Some("poison"));
    let source = &letter.attributes().unwrap()[&MessageSystemAttributeName::DeadLetterQueueSourceArn];
    assert!(source.ends_with(work.rsplit('/').next().unwrap()));
}

pub(crate) async fn deleting_twice_succeeds_and_a_stale_visibility_change_does_not(world: &World) {
    let sqs = Client::new(&world.config);
    let url = queue(world, &sqs, &[]).await;
    sqs.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    let [message] = &receive_until(&sqs, &url, 1).await[..] else { panic!("one message") };
    let handle = message.receipt_handle().unwrap();
    for _ in 0..2 {
        sqs.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    }
    let change = sqs.change_message_visibility().queue_url(&url).receipt_handle(handle).visibility_timeout(5);
    let error = change.send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
}
