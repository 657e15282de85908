//! How calls to AWS are counted. The count is the process's, so that this test has one to itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

#[path = "adapters/replay.rs"]
#[expect(dead_code, reason = "the adapters' tests use the rest")]
mod replay;

use serde_json::json;
use task_aws::sdk;
use task_aws::sockets::Sockets;
use task_aws::sqs::{SqsDeadLetters, SqsTasks};
use task_aws::tasks::DynamoTasks;
use task_core::ports::{DeadLetters as _, Pusher as _, TaskQueue as _, TaskStore as _};
use task_core::{ConnectionId, DurationMs};

use crate::replay::{Replay, error, ok};

/// By every client: what the SDK does on its own account is paid for as well.
#[tokio::test]
async fn each_attempt_of_each_client_is_a_call() {
    let queue = "http://127.0.0.1/123456789012/tasks";
    let throttled = || error(400, "com.amazon.coral.availability#ThrottlingException");
    let mut counted = sdk::calls();
    let mut rose = || {
        let before = std::mem::replace(&mut counted, sdk::calls());
        counted - before
    };

    let replay = Replay::start([throttled(), ok(json!({}))]).await;
    let tasks = DynamoTasks::new(sdk::dynamodb(&replay.sdk), "tasks", 1);
    tasks.get("0193b0e2-7c00-7000-8000-000000000001".parse().unwrap()).await.unwrap();
    assert_eq!(rose(), 2, "one throttle, made up for");

    let replay = Replay::start([throttled()]).await;
    SqsTasks::new(&replay.sdk, queue).send("hello", None).await.unwrap_err();
    assert_eq!(rose(), 1, "a send is tried again above");

    let replay = Replay::start([ok(json!({}))]).await;
    SqsDeadLetters::new(&replay.sdk, queue).peek(DurationMs(1)).await.unwrap();
    assert_eq!(rose(), 1);

    let replay = Replay::start([ok(json!({}))]).await;
    let connection = ConnectionId::parse("c1=").unwrap();
    Sockets::new(&replay.sdk, replay.sdk.endpoint_url().unwrap()).push(&connection, "{}").await.unwrap();
    assert_eq!(rose(), 1);
}
