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
    pub role_arn: String,
    pub actions: Vec<String>,
    pub until_ms: u64,
}

impl RolePermission {
    /// IAM takes names, which are unique whatever the path before them.
    fn policy(&self) -> RolePolicy<'_> {
        let role = self.role_arn.rsplit('/').next().unwrap_or_default();
        RolePolicy { role, name: POLICY_NAME }
    }
}

impl Setting for RolePermission {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        let found = cloud.iam.get(self.policy()).await?;
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
        if value.is_null() {
            return cloud.iam.delete(self.policy()).await;
        }
        cloud.iam.put(self.policy(), &value.to_string()).await
    }

    fn calls(&self) -> Vec<Call> {
        ["iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"]
            .map(|action| call(action, &self.role_arn))
            .into()
    }
}
