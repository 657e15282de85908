//! The queue's visibility timeout: too short brings messages back while they are worked on, too long stalls retries.

use aws_sdk_sqs::types::QueueAttributeName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::cloud::{CallError, Cloud};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueVisibility {
    pub queue_url: String,
    pub queue_arn: String,
    pub visibility_seconds: u32,
}

impl Setting for QueueVisibility {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        read_attribute(cloud, &self.queue_url, QueueAttributeName::VisibilityTimeout).await
    }

    fn faulted(&self, _prior: &Value) -> Result<Value, CallError> {
        Ok(json!(self.visibility_seconds.to_string()))
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        write_attribute(cloud, &self.queue_url, QueueAttributeName::VisibilityTimeout, value).await
    }

    fn calls(&self) -> Vec<Call> {
        ["sqs:GetQueueAttributes", "sqs:SetQueueAttributes"]
            .map(|action| call(action, &self.queue_arn))
            .into()
    }
}

pub(super) async fn read_attribute(
    cloud: &Cloud,
    queue_url: &str,
    name: QueueAttributeName,
) -> Result<Value, CallError> {
    let found = cloud
        .sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(name.clone())
        .send()
        .await
        .map_err(CallError::of_read("sqs:GetQueueAttributes"))?;
    let value = found.attributes().and_then(|attributes| attributes.get(&name));
    // An empty policy is how SQS says that there is none.
    Ok(value.filter(|value| !value.is_empty()).map_or(Value::Null, |value| json!(value)))
}

/// An absent value is written as the empty string, which is how SQS removes a policy.
pub(super) async fn write_attribute(
    cloud: &Cloud,
    queue_url: &str,
    name: QueueAttributeName,
    value: &Value,
) -> Result<(), CallError> {
    let call = cloud
        .sqs
        .set_queue_attributes()
        .queue_url(queue_url)
        .attributes(name, value.as_str().unwrap_or_default());
    call.send().await.map(drop).map_err(CallError::of("sqs:SetQueueAttributes"))
}
