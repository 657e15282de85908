//! The event source mapping: disabled, or held to a few batches at once.

use std::time::Duration;

use aws_sdk_lambda::types::ScalingConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::cloud::{CallError, Cloud};
use crate::wait::{Patience, until};

/// A mapping changes state within seconds; AWS has been seen to take most of a minute.
const STATE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(250), at_most: Duration::from_secs(120) };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappingChange {
    Disabled,
    MaximumConcurrency { concurrency: i32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub uuid: String,
    pub change: MappingChange,
}

impl Mapping {
    /// The value once the mapping is in no transition. `None` while it is.
    async fn look(&self, cloud: &Cloud) -> Result<Option<Value>, CallError> {
        let found = cloud
            .lambda
            .get_event_source_mapping()
            .uuid(&self.uuid)
            .send()
            .await
            .map_err(CallError::of_read("lambda:GetEventSourceMapping"))?;
        let enabled = match found.state().unwrap_or_default() {
            "Enabled" => true,
            "Disabled" => false,
            _ => return Ok(None),
        };
        let maximum = found.scaling_config().and_then(ScalingConfig::maximum_concurrency);
        Ok(Some(match self.change {
            MappingChange::Disabled => json!(enabled),
            MappingChange::MaximumConcurrency { .. } => json!(maximum),
        }))
    }

    /// `None` while somebody else's update is under way.
    async fn update(&self, cloud: &Cloud, value: &Value) -> Result<Option<()>, CallError> {
        let update = cloud.lambda.update_event_source_mapping().uuid(&self.uuid);
        let update = match self.change {
            MappingChange::Disabled => update.enabled(value == &Value::Bool(true)),
            MappingChange::MaximumConcurrency { .. } => {
                // An empty object removes the limit; leaving it out would keep it.
                let maximum = value.as_i64().and_then(|maximum| i32::try_from(maximum).ok());
                update.scaling_config(ScalingConfig::builder().set_maximum_concurrency(maximum).build())
            }
        };
        match update.send().await {
            Ok(_) => Ok(Some(())),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(CallError::of("lambda:UpdateEventSourceMapping")(error)),
        }
    }
}

impl Setting for Mapping {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        until(STATE_PATIENCE, async || self.look(cloud).await).await?.ok_or_else(|| {
            CallError::new("lambda:GetEventSourceMapping", "the mapping stays in a transition")
        })
    }

    fn faulted(&self, _prior: &Value) -> Result<Value, CallError> {
        Ok(match self.change {
            MappingChange::Disabled => json!(false),
            MappingChange::MaximumConcurrency { concurrency } => json!(concurrency),
        })
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        let taken = until(STATE_PATIENCE, async || self.update(cloud, value).await);
        taken.await?.ok_or_else(|| {
            CallError::new("lambda:UpdateEventSourceMapping", "the mapping stays in a transition")
        })?;
        let settled =
            until(STATE_PATIENCE, async || Ok(self.look(cloud).await?.filter(|found| found == value)));
        settled.await?.map(drop).ok_or_else(|| {
            CallError::new("lambda:UpdateEventSourceMapping", format!("the mapping never became {value}"))
        })
    }

    fn calls(&self) -> Vec<Call> {
        let resource = format!("event-source-mapping:{}", self.uuid);
        ["lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"]
            .map(|action| call(action, &resource))
            .into()
    }
}
