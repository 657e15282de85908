//! A message that a service of the account sends: a destination, a dead letter.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::Sqs;
use crate::iam::Signer;
use crate::settings::Settings;
use crate::wire::AwsRequest;

/// Why a queue did not take a message: SQS's own code and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct NotPosted {
    pub code: String,
    pub message: String,
}

/// Sends one message to the queue of this ARN, with the trace of what it is about if it has one, in the name of this session. What
/// its own policies say is the caller's matter; the queue's is asked here, with `--iam off` too.
///
/// # Errors
/// When the ARN names no queue, or the queue refuses.
pub async fn post(
    sqs: &Sqs,
    settings: &Settings,
    session: &Signer,
    queue_arn: &str,
    body: &str,
    attributes: Option<Value>,
    trace_id: Option<&str>,
) -> Result<(), NotPosted> {
    let parts: Vec<&str> = queue_arn.split(':').collect();
    let ["arn", _, "sqs", _, account, queue] = parts.as_slice() else {
        let message = format!("{queue_arn} is no queue");
        return Err(NotPosted { code: "InvalidAddress".to_owned(), message });
    };
    let mut message =
        json!({"QueueUrl": format!("{}/{account}/{queue}", settings.endpoint), "MessageBody": body});
    if let Some(attributes) = attributes {
        message["MessageAttributes"] = attributes;
    }
    if let Some(trace_id) = trace_id {
        message["MessageSystemAttributes"] =
            json!({"AWSTraceHeader": {"DataType": "String", "StringValue": trace_id}});
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.SendMessage"));
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    let request = AwsRequest {
        method: Method::POST,
        path: "/".into(),
        query: String::new(),
        headers,
        body: Bytes::from(message.to_string()),
        service: "sqs".into(),
        region: settings.region.to_string(),
        access_key_id: String::new(),
    };
    let answer = sqs.answer_to(Arc::new(session.clone()), &request).await;
    if answer.status.is_success() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    let code = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
    Err(NotPosted { code, message: text("message") })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::iam::Iam;
    use crate::iam::tests::form;
    use crate::sqs::tests::settings;

    #[tokio::test]
    async fn a_queue_that_is_denied_to_all_but_one_role_takes_the_messages_of_that_role() {
        let trust = r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}}"#;
        let arn = |role: &str| format!("arn:aws:iam::123456789012:role/{role}");
        let policy = json!({"Statement": [{
            "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*",
            "Condition": {"ArnNotEquals": {"aws:PrincipalArn": arn("worker")}},
        }]});
        for is_enforced in [true, false] {
            let (settings, _hand) = settings();
            let settings = Settings { iam: Iam::new(is_enforced), ..settings };
            let iam = crate::engines::iam(&settings);
            for role in ["worker", "other"] {
                let role = [("RoleName", role), ("AssumeRolePolicyDocument", trust)];
                assert_eq!(iam.handle(form("iam", "", "CreateRole", &role)).await.status, 200);
            }
            let sqs = Sqs::start(settings.clone());
            let attributes = BTreeMap::from([("Policy".to_owned(), policy.to_string())]);
            let queue = sqs.account().create("q", &attributes, BTreeMap::new()).unwrap();
            let posted = async |role: &str| {
                let session = Signer::session(&arn(role), "f");
                post(&sqs, &settings, &session, &queue.arn, "content", None, None).await
            };
            assert_eq!(posted("worker").await, Ok(()), "IAM: {is_enforced}");
            let refused = posted("other").await.unwrap_err();
            assert_eq!(refused.code, "AccessDeniedException", "IAM: {is_enforced}");
            assert!(refused.message.contains("assumed-role/other/f"), "{refused}");
        }
    }
}
