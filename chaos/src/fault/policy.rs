//! Denials by resource policy that end by themselves: AWS evaluates `DateLessThan`, so that a harness which died, and
//! nobody who recovers, still leaves a stack that works again.
//!
//! Only the data plane is denied. A denial of `SetQueueAttributes` or `DeleteResourcePolicy` would lock out the way back.

use std::time::Duration;

use aws_sdk_dynamodb::operation::get_resource_policy::GetResourcePolicyError;
use aws_sdk_sqs::types::QueueAttributeName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::queue::{read_attribute, write_attribute};
use super::{Call, Setting, call};
use crate::clock::rfc3339;
use crate::cloud::{CallError, Cloud};
use crate::wait::{Patience, until};

/// DynamoDB: "Subsequent updates to a policy for a given resource are blocked for 15 seconds after a successful update".
const BLOCKED_PATIENCE: Patience =
    Patience { every: Duration::from_secs(1), at_most: Duration::from_secs(20) };
const STATEMENT_ID: &str = "ChaosDenyUntil";
pub(super) const QUEUE_DATA_PLANE: [&str; 4] =
    ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"];
pub(super) const TABLE_DATA_PLANE: [&str; 5] =
    ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDeny {
    pub queue_url: String,
    pub queue_arn: String,
    pub actions: Vec<String>,
    pub until_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDeny {
    pub table: String,
    pub table_arn: String,
    pub actions: Vec<String>,
    pub until_ms: u64,
}

impl Setting for QueueDeny {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        read_attribute(cloud, &self.queue_url, QueueAttributeName::Policy).await
    }

    fn faulted(&self, prior: &Value) -> Result<Value, CallError> {
        with_denial("sqs:SetQueueAttributes", prior, &self.actions, &self.queue_arn, self.until_ms)
    }

    fn is_left(&self, prior: &Value, found: &Value) -> bool {
        without_denial(found) == without_denial(prior)
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        write_attribute(cloud, &self.queue_url, QueueAttributeName::Policy, value).await
    }

    fn calls(&self) -> Vec<Call> {
        // The last one proves the denial: it deletes what is not there.
        ["sqs:GetQueueAttributes", "sqs:SetQueueAttributes", "sqs:DeleteMessage"]
            .map(|action| call(action, &self.queue_arn))
            .into()
    }
}

impl TableDeny {
    /// What came of one attempt, and whether it was refused as an update is that comes too soon after another one. Nobody says
    /// by which error: these two are what DynamoDB gives for a resource that is being updated.
    async fn update(&self, cloud: &Cloud, value: &Value) -> (Result<(), CallError>, bool) {
        let Some(policy) = value.as_str() else {
            let call = cloud.dynamodb.delete_resource_policy().resource_arn(&self.table_arn);
            let updated = call.send().await;
            let refusal = updated.as_ref().err().and_then(|error| error.as_service_error());
            let is_blocked = refusal.is_some_and(|error| {
                error.is_limit_exceeded_exception() || error.is_resource_in_use_exception()
            });
            let updated = updated.map(drop).map_err(CallError::of("dynamodb:DeleteResourcePolicy"));
            return (updated, is_blocked);
        };
        let call = cloud.dynamodb.put_resource_policy().resource_arn(&self.table_arn).policy(policy);
        let updated = call.send().await;
        let refusal = updated.as_ref().err().and_then(|error| error.as_service_error());
        let is_blocked = refusal
            .is_some_and(|error| error.is_limit_exceeded_exception() || error.is_resource_in_use_exception());
        (updated.map(drop).map_err(CallError::of("dynamodb:PutResourcePolicy")), is_blocked)
    }
}

impl Setting for TableDeny {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        match cloud.dynamodb.get_resource_policy().resource_arn(&self.table_arn).send().await {
            Ok(found) => Ok(found.policy().map_or(Value::Null, |policy| json!(policy))),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(GetResourcePolicyError::PolicyNotFoundException(_))
                ) =>
            {
                Ok(Value::Null)
            }
            Err(error) => Err(CallError::of_read("dynamodb:GetResourcePolicy")(error)),
        }
    }

    fn faulted(&self, prior: &Value) -> Result<Value, CallError> {
        with_denial("dynamodb:PutResourcePolicy", prior, &self.actions, &self.table_arn, self.until_ms)
    }

    fn is_left(&self, prior: &Value, found: &Value) -> bool {
        without_denial(found) == without_denial(prior)
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        let mut blocked = None;
        let updated = until(BLOCKED_PATIENCE, async || match self.update(cloud, value).await {
            (Err(error), true) => {
                blocked = Some(error);
                Ok(None)
            }
            (outcome, _) => outcome.map(Some),
        })
        .await?;
        match (updated, blocked) {
            (None, Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn calls(&self) -> Vec<Call> {
        // The last one proves the denial: it gets what is not there.
        let policy =
            ["dynamodb:GetResourcePolicy", "dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy"];
        policy.into_iter().chain(["dynamodb:GetItem"]).map(|action| call(action, &self.table_arn)).collect()
    }
}

/// The policy that was there, and one more statement.
fn with_denial(
    operation: &'static str,
    prior: &Value,
    actions: &[String],
    resource: &str,
    until_ms: u64,
) -> Result<Value, CallError> {
    let empty = json!({"Version": "2012-10-17", "Statement": []});
    let mut policy: Value = match prior.as_str() {
        None => empty,
        Some(text) => serde_json::from_str(text)
            .map_err(|_| CallError::new(operation, "the policy that is there is not JSON"))?,
    };
    let statements = policy
        .get_mut("Statement")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| CallError::new(operation, "the policy that is there has no list of statements"))?;
    statements.push(json!({
        "Sid": STATEMENT_ID, "Effect": "Deny", "Principal": "*", "Action": actions, "Resource": resource,
        "Condition": {"DateLessThan": {"aws:CurrentTime": rfc3339(until_ms)}},
    }));
    Ok(Value::String(policy.to_string()))
}

/// What a policy says besides our denial; nothing where that is its one statement. By content: nobody promises the white
/// space of what was put, and AWS may write our own statement in another way.
fn without_denial(policy: &Value) -> Value {
    let Some(text) = policy.as_str() else { return Value::Null };
    let Ok(mut policy) = serde_json::from_str::<Value>(text) else { return policy.clone() };
    if let Some(statements) = policy.get_mut("Statement").and_then(Value::as_array_mut) {
        statements.retain(|statement| statement["Sid"] != STATEMENT_ID);
        if statements.is_empty() {
            return Value::Null;
        }
    }
    policy
}

/// Whether a statement of ours is in the policy.
pub(super) fn has_denial(policy: &Value) -> bool {
    let policy: Option<Value> = policy.as_str().and_then(|text| serde_json::from_str(text).ok());
    let statements = policy.as_ref().and_then(|policy| policy["Statement"].as_array());
    statements.into_iter().flatten().any(|statement| statement["Sid"] == STATEMENT_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(prior: &Value) -> Value {
        let text = with_denial("x", prior, &["sqs:SendMessage".into()], "arn", 1_700_000_000_000).unwrap();
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_denial_ends_by_itself() {
        let policy = denied(&Value::Null);
        assert_eq!(
            policy["Statement"][0]["Condition"]["DateLessThan"]["aws:CurrentTime"],
            "2023-11-14T22:13:20Z"
        );
    }

    #[test]
    fn a_denial_that_is_there_is_known_whatever_its_date() {
        let prior = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Mine"}]}).to_string();
        let prior = Value::String(prior);
        assert!(has_denial(&Value::String(denied(&prior).to_string())));
        assert!(!has_denial(&prior) && !has_denial(&Value::Null));
    }

    #[test]
    fn what_a_denial_left_is_told_from_a_policy_that_somebody_changed_since() {
        let lever = QueueDeny {
            queue_url: "url".into(),
            queue_arn: "arn".into(),
            actions: vec!["sqs:SendMessage".into()],
            until_ms: 1_700_000_000_000,
        };
        let text = |statements: Value| {
            Value::String(json!({"Version": "2012-10-17", "Statement": statements}).to_string())
        };
        let (mine, ours) = (json!({"Sid": "Mine"}), json!({"Sid": STATEMENT_ID, "Effect": "Deny"}));
        for prior in [Value::Null, text(json!([])), text(json!([mine]))] {
            assert!(lever.is_left(&prior, &lever.faulted(&prior).unwrap()), "{prior}");
        }
        let prior = text(json!([mine]));
        assert!(lever.is_left(&prior, &text(json!([ours, mine]))), "however ours is written");
        assert!(lever.is_left(&Value::Null, &text(json!([ours]))));
        for changed in [json!([mine, ours, {"Sid": "Since"}]), json!([ours]), json!([ours, {"Sid": "Other"}])]
        {
            assert!(!lever.is_left(&prior, &text(changed.clone())), "{changed}");
        }
        assert!(!lever.is_left(&Value::Null, &text(json!([ours, mine]))));
        assert!(!lever.is_left(&prior, &Value::Null), "somebody deleted it");
    }

    #[test]
    fn statements_that_were_there_stay() {
        let prior = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Mine"}]}).to_string();
        let policy = denied(&Value::String(prior));
        assert_eq!(policy["Statement"][0]["Sid"], "Mine");
        assert_eq!(policy["Statement"][1]["Sid"], STATEMENT_ID);
    }

    #[test]
    fn no_denied_action_bars_the_way_back() {
        for action in QUEUE_DATA_PLANE.iter().chain(&TABLE_DATA_PLANE) {
            assert!(!action.contains("Attributes") && !action.contains("Policy"), "{action}");
        }
    }
}
