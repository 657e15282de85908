//! SQS through the AWS SDK, over HTTP, on the shared port.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry};
use emulator::{Emulator, Options, Running};

async fn start() -> (Running, Client) {
    let running = Emulator::start(Options::default()).await.unwrap();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(running.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .load()
        .await;
    (running, Client::new(&config))
}

async fn queue(client: &Client, name: &str) -> String {
    client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
}

#[tokio::test]
async fn the_sdk_sends_receives_and_deletes() {
    let (running, client) = start().await;
    let url = queue(&client, "q").await;
    assert_eq!(url, format!("{}/123456789012/q", running.endpoint()));
    let entry = |n: usize| {
        SendMessageBatchRequestEntry::builder()
            .id(n.to_string())
            .message_body(format!("body {n}"))
            .build()
            .unwrap()
    };
    let sent = client.send_message_batch().queue_url(&url).set_entries(Some((0..10).map(entry).collect()));
    assert_eq!(sent.send().await.unwrap().successful.len(), 10);
    let received = client
        .receive_message()
        .queue_url(&url)
        .max_number_of_messages(10)
        .wait_time_seconds(5)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .unwrap();
    let messages = received.messages();
    assert_eq!(messages.len(), 10);
    let count = &messages[0].attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
    assert_eq!(count, "1");
    for message in messages {
        let handle = message.receipt_handle().unwrap();
        client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    }
    let counts = client
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .send()
        .await
        .unwrap();
    assert!(counts.attributes().unwrap().values().all(|count| count == "0"));
    running.shutdown().await;
}

#[tokio::test]
async fn errors_reach_the_caller_typed() {
    let (running, client) = start().await;
    let missing = format!("{}/123456789012/none", running.endpoint());
    let error = client.send_message().queue_url(&missing).message_body("x").send().await.unwrap_err();
    assert!(error.into_service_error().is_queue_does_not_exist());
    let url = queue(&client, "q").await;
    let error = client.delete_message().queue_url(&url).receipt_handle("garbage").send().await.unwrap_err();
    assert!(error.into_service_error().is_receipt_handle_is_invalid());
    client.purge_queue().queue_url(&url).send().await.unwrap();
    let error = client.purge_queue().queue_url(&url).send().await.unwrap_err();
    assert!(error.into_service_error().is_purge_queue_in_progress());
    let error = client
        .create_queue()
        .queue_name("q")
        .attributes(QueueAttributeName::DelaySeconds, "5")
        .send()
        .await
        .unwrap_err();
    assert!(error.into_service_error().is_queue_name_exists());
    client.delete_queue().queue_url(&url).send().await.unwrap();
    let error = client.create_queue().queue_name("q").send().await.unwrap_err();
    assert!(error.into_service_error().is_queue_deleted_recently());
    running.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_over_http_wakes_at_once() {
    let (running, client) = start().await;
    let url = queue(&client, "q").await;
    let poll = tokio::spawn({
        let request = client.receive_message().queue_url(&url).wait_time_seconds(20);
        async move { request.send().await.unwrap().messages.unwrap_or_default() }
    });
    let started = std::time::Instant::now();
    client.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    assert_eq!(poll.await.unwrap().len(), 1);
    assert!(started.elapsed().as_secs() < 10, "far below the wait of 20 seconds");
    running.shutdown().await;
}

/// `cargo test --release -p emulator --test sqs -- --ignored --nocapture`: how many messages a second go through.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for a release build on a quiet machine"]
async fn throughput() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 500;
    let (running, client) = start().await;
    let url = queue(&client, "q").await;
    let started = std::time::Instant::now();
    let workers: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(rounds(client.clone(), url.clone(), ROUNDS))).collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let messages = CLIENTS * ROUNDS * 10;
    println!("{messages} messages in {:?}", started.elapsed());
    running.shutdown().await;
}

/// Sends ten, receives ten, deletes ten.
async fn rounds(client: Client, url: String, rounds: usize) {
    use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
    for _ in 0..rounds {
        let entry = |n: usize| {
            SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body("x").build().unwrap()
        };
        let entries = Some((0..10).map(entry).collect());
        client.send_message_batch().queue_url(&url).set_entries(entries).send().await.unwrap();
        let mut deleted = 0;
        while deleted < 10 {
            let request =
                client.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(1);
            let messages = request.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            deleted += messages.len();
            let entries = messages.iter().enumerate().map(|(n, message)| {
                let handle = message.receipt_handle().unwrap();
                DeleteMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(handle)
                    .build()
                    .unwrap()
            });
            let entries = Some(entries.collect());
            client.delete_message_batch().queue_url(&url).set_entries(entries).send().await.unwrap();
        }
    }
}
