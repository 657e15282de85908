//! The on-demand cap of a table: beyond it DynamoDB answers `ThrottlingException`, best effort, bursts aside.

use std::time::Duration;

use aws_sdk_dynamodb::types::{OnDemandThroughput, TableDescription, TableStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::cloud::{CallError, Cloud};
use crate::wait::{Patience, until};

/// How DynamoDB says that there is no cap.
const NO_CAP: i64 = -1;
const ACTIVE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(180) };

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandCap {
    pub table: String,
    pub table_arn: String,
    pub read_units: Option<i64>,
    pub write_units: Option<i64>,
}

/// A table takes one change at a time.
pub(super) async fn active(cloud: &Cloud, table: &str) -> Result<TableDescription, CallError> {
    let found = until(ACTIVE_PATIENCE, async || {
        let found = cloud.dynamodb.describe_table().table_name(table).send().await;
        let table = found.map_err(CallError::of_read("dynamodb:DescribeTable"))?.table;
        Ok(table.filter(|table| table.table_status() == Some(&TableStatus::Active)))
    });
    found.await?.ok_or_else(|| CallError::new("dynamodb:DescribeTable", "the table does not become ACTIVE"))
}

impl Setting for OnDemandCap {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        let table = active(cloud, &self.table).await?;
        let cap = table.on_demand_throughput();
        let units = |units: Option<i64>| units.unwrap_or(NO_CAP);
        Ok(json!({
            "read_units": units(cap.and_then(OnDemandThroughput::max_read_request_units)),
            "write_units": units(cap.and_then(OnDemandThroughput::max_write_request_units)),
        }))
    }

    fn faulted(&self, prior: &Value) -> Result<Value, CallError> {
        let units =
            |asked: Option<i64>, name: &str| asked.map_or_else(|| prior[name].clone(), |units| json!(units));
        Ok(json!({
            "read_units": units(self.read_units, "read_units"),
            "write_units": units(self.write_units, "write_units"),
        }))
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        active(cloud, &self.table).await?;
        let cap = OnDemandThroughput::builder()
            .max_read_request_units(value["read_units"].as_i64().unwrap_or(NO_CAP))
            .max_write_request_units(value["write_units"].as_i64().unwrap_or(NO_CAP))
            .build();
        let call = cloud.dynamodb.update_table().table_name(&self.table).on_demand_throughput(cap);
        call.send().await.map_err(CallError::of("dynamodb:UpdateTable"))?;
        active(cloud, &self.table).await.map(drop)
    }

    fn calls(&self) -> Vec<Call> {
        ["dynamodb:DescribeTable", "dynamodb:UpdateTable"].map(|action| call(action, &self.table_arn)).into()
    }
}
