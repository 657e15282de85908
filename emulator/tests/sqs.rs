//! How much SQS carries over HTTP. What it does is in `conformance`.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use emulator::{Emulator, Options, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No call brings more.
const BODY_BYTES_MAX: usize = 72 * 1024 * 1024;
/// More than the buffers between client and server take.
const BODY_BYTES_BEYOND: usize = 24 * 1024 * 1024;

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
async fn a_body_that_is_too_large_has_its_answer_though_all_of_it_is_written_first() {
    let running = Emulator::start(Options::default()).await.unwrap();
    let address = running.endpoint().strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let body = vec![b'a'; BODY_BYTES_MAX + BODY_BYTES_BEYOND];
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSQS.SendMessage\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
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
