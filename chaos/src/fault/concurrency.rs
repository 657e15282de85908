//! Reserved concurrency of a function. Zero throttles every invocation.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::cloud::{CallError, Cloud};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedConcurrency {
    pub function: String,
    pub function_arn: String,
    pub concurrency: i32,
}

impl Setting for ReservedConcurrency {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        let found = cloud
            .lambda
            .get_function_concurrency()
            .function_name(&self.function)
            .send()
            .await
            .map_err(CallError::of_read("lambda:GetFunctionConcurrency"))?;
        Ok(found.reserved_concurrent_executions().map_or(Value::Null, |reserved| json!(reserved)))
    }

    fn faulted(&self, _prior: &Value) -> Result<Value, CallError> {
        Ok(json!(self.concurrency))
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        // A function without the setting shares the account's pool; one with 0 never runs.
        let Some(reserved) = value.as_i64().and_then(|reserved| i32::try_from(reserved).ok()) else {
            let call = cloud.lambda.delete_function_concurrency().function_name(&self.function);
            return call.send().await.map(drop).map_err(CallError::of("lambda:DeleteFunctionConcurrency"));
        };
        let call = cloud
            .lambda
            .put_function_concurrency()
            .function_name(&self.function)
            .reserved_concurrent_executions(reserved);
        call.send().await.map(drop).map_err(CallError::of("lambda:PutFunctionConcurrency"))
    }

    fn calls(&self) -> Vec<Call> {
        ["lambda:GetFunctionConcurrency", "lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency"]
            .map(|action| call(action, &self.function_arn))
            .into()
    }
}
