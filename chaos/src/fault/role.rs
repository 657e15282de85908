//! A permission that a function's role lacks: an inline policy that denies it, until a time that is part of the policy. What
//! the role's own policies say is never touched.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::clock::rfc3339;
use crate::cloud::{CallError, Cloud};
use crate::iam::RolePolicy;

const POLICY_NAME: &str = "chaos-deny-until";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolePermission {
    pub function: String,
    pub function_arn: String,
    pub actions: Vec<String>,
    pub until_ms: u64,
}

impl RolePermission {
    /// The stack file names functions; their roles are looked up.
    async fn role(&self, cloud: &Cloud) -> Result<String, CallError> {
        let operation = "lambda:GetFunctionConfiguration";
        let found = cloud.lambda.get_function_configuration().function_name(&self.function).send().await;
        let found = found.map_err(CallError::of(operation))?;
        let role = found.role().and_then(|arn| arn.rsplit('/').next()).map(str::to_owned);
        role.ok_or_else(|| CallError::new(operation, format!("{} has no role", self.function)))
    }
}

impl Setting for RolePermission {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        let role = self.role(cloud).await?;
        let found = cloud.iam.get(RolePolicy { role: &role, name: POLICY_NAME }).await?;
        // By content: a document is stored as it was put, but nobody promises its white space.
        Ok(found.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn faulted(&self, _prior: &Value) -> Result<Value, CallError> {
        Ok(json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "ChaosDenyUntil", "Effect": "Deny", "Action": self.actions, "Resource": "*",
            "Condition": {"DateLessThan": {"aws:CurrentTime": rfc3339(self.until_ms)}},
        }]}))
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        let role = self.role(cloud).await?;
        let policy = RolePolicy { role: &role, name: POLICY_NAME };
        if value.is_null() {
            return cloud.iam.delete(policy).await;
        }
        cloud.iam.put(policy, &value.to_string()).await
    }

    fn calls(&self) -> Vec<Call> {
        let lookup = call("lambda:GetFunctionConfiguration", &self.function_arn);
        // The name of the role is known only once the function was asked.
        let policy = ["iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"];
        [lookup].into_iter().chain(policy.map(|action| call(action, "arn:aws:iam::*:role/*"))).collect()
    }
}
