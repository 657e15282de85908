//! Provisioned capacity of a table: beyond it DynamoDB answers `ProvisionedThroughputExceededException`.
//!
//! Only for a table that is provisioned already. A change of the billing mode cannot be put back at will: AWS allows it four
//! times in 24 hours.

use aws_sdk_dynamodb::types::{ProvisionedThroughput, ProvisionedThroughputDescription};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::table::active;
use super::{Call, Setting, call};
use crate::cloud::{CallError, Cloud};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedCapacity {
    pub table: String,
    pub table_arn: String,
    pub read_units: i64,
    pub write_units: i64,
}

impl Setting for ProvisionedCapacity {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        let table = active(cloud, &self.table).await?;
        let units = table.provisioned_throughput();
        let read_units = units.and_then(ProvisionedThroughputDescription::read_capacity_units);
        let write_units = units.and_then(ProvisionedThroughputDescription::write_capacity_units);
        // A table on demand says 0 of both.
        Ok(match (read_units.unwrap_or_default(), write_units.unwrap_or_default()) {
            (0, _) | (_, 0) => Value::Null,
            (read_units, write_units) => json!({"read_units": read_units, "write_units": write_units}),
        })
    }

    fn faulted(&self, prior: &Value) -> Result<Value, CallError> {
        if prior.is_null() {
            let detail = "the table is on demand and has no capacity to take away: use table-on-demand-cap";
            return Err(CallError::new("dynamodb:UpdateTable", detail));
        }
        Ok(json!({"read_units": self.read_units, "write_units": self.write_units}))
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        // "The provisioned throughput for the table will not change" is an error of its own.
        if &self.read(cloud).await? == value {
            return Ok(());
        }
        let operation = "dynamodb:UpdateTable";
        let units = ProvisionedThroughput::builder()
            .set_read_capacity_units(value["read_units"].as_i64())
            .set_write_capacity_units(value["write_units"].as_i64())
            .build()
            .map_err(CallError::of(operation))?;
        let call = cloud.dynamodb.update_table().table_name(&self.table).provisioned_throughput(units);
        call.send().await.map_err(CallError::of(operation))?;
        active(cloud, &self.table).await.map(drop)
    }

    fn calls(&self) -> Vec<Call> {
        ["dynamodb:DescribeTable", "dynamodb:UpdateTable"].map(|action| call(action, &self.table_arn)).into()
    }
}
