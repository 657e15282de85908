//! Fetching one document within its bounds.

use std::time::Duration;

use serde_json::json;
use task_aws::fetch::{Fetch, FetchError, FetchLimits};

use crate::replay::{Replay, Reply, error, ok};

const LIMITS: FetchLimits = FetchLimits { time: Duration::from_millis(300), bytes: 64 };

async fn fetch(reply: Reply) -> Result<Vec<u8>, FetchError> {
    let replay = Replay::start([reply]).await;
    let fetched = Fetch::new(format!("{}/jwks.json", replay.sdk.endpoint_url().unwrap()), LIMITS).get().await;
    assert_eq!(replay.asked()[0].0, "/jwks.json");
    fetched
}

#[tokio::test]
async fn a_document_is_fetched_as_it_is() {
    assert_eq!(fetch(ok(json!({"keys": []}))).await.unwrap(), br#"{"keys":[]}"#);
}

#[tokio::test]
async fn what_is_too_large_too_slow_or_no_document_is_refused() {
    let large = ok(json!("x".repeat(100)));
    assert!(matches!(fetch(large).await, Err(FetchError::TooLarge(64))));
    assert!(matches!(fetch(error(404, "NotFound")).await, Err(FetchError::Status(404))));
    assert!(matches!(fetch(Reply::Hangup).await, Err(FetchError::NotReached(_))));
    assert!(matches!(fetch(Reply::Silence).await, Err(FetchError::TooSlow(_))));
}
