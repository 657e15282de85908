//! CloudWatch Logs, which has no SDK here.

use serde_json::Value;

use crate::functions::Account;

const SIGNED_FOR_LOGS: &str = "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/logs/aws4_request";

/// The answer to a call; null where it is empty.
pub(crate) async fn call(account: &Account, operation: &str, input: Value) -> Value {
    let answer = reqwest::Client::new()
        .post(account.running.endpoint())
        .header("authorization", SIGNED_FOR_LOGS)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Logs_20140328.{operation}"))
        .body(input.to_string())
        .send()
        .await
        .unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
}
