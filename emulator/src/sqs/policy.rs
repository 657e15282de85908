//! The resource policy of a queue: kept exactly as set, edited by AddPermission, and obeyed where it denies.
//!
//! The calls of functions are judged before they come here, with this policy beside the policies of their roles. What acts
//! here is a denial for the whole account, which holds for everybody and ends a wait that has begun.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::{ErrorKind, SqsError};
use crate::iam;

const DEFAULT_VERSION: &str = "2008-10-17";

/// A policy document, as set and as read.
#[derive(Clone, Debug)]
pub struct Policy {
    text: String,
    rules: Arc<iam::Policy>,
}

/// Two policies are the same when they say the same, whatever the spacing and the order of keys.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        self.text == other.text || value(&self.text) == value(&other.text)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default = "default_version")]
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(deserialize_with = "one_or_many")]
    statement: Vec<Box<RawValue>>,
}

fn default_version() -> String {
    DEFAULT_VERSION.to_owned()
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    use serde::de::Error as _;
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    if raw.get().starts_with('[') {
        serde_json::from_str(raw.get()).map_err(D::Error::custom)
    } else {
        Ok(vec![raw])
    }
}

/// What AddPermission adds.
#[derive(Debug)]
pub struct Permission<'a> {
    pub label: &'a str,
    pub account_ids: &'a [String],
    pub actions: &'a [String],
    pub queue_arn: &'a str,
}

impl Policy {
    /// # Errors
    /// `InvalidAttributeValue` for what is not a policy document.
    pub fn parse(text: &str) -> Result<Self, SqsError> {
        let invalid = || SqsError::attribute_value("Policy");
        serde_json::from_str::<Document>(text).map_err(|_| invalid())?;
        let rules = iam::Policy::parse(text, iam::Kind::Resource).map_err(|_| invalid())?;
        Ok(Self { text: text.to_owned(), rules: Arc::new(rules) })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says to whom.
    #[must_use]
    pub const fn rules(&self) -> &Arc<iam::Policy> {
        &self.rules
    }

    /// Whether a statement denies `action` (without its service prefix) on the queue to the whole account.
    #[must_use]
    pub fn denies(&self, action: &str, queue_arn: &str, account_id: &str, now_ms: i64) -> bool {
        let action = format!("sqs:{action}");
        let ask = iam::Ask { action: &action, resource: queue_arn, context: iam::Context::at(now_ms) };
        self.rules.ask(&ask, &iam::Caller::Root { account_id }) == iam::Verdict::Denies
    }

    /// The policy with one more statement; a queue without a policy gets its first.
    ///
    /// # Errors
    /// `InvalidParameterValue` when the label is taken.
    pub fn with_permission(current: Option<&Self>, permission: &Permission<'_>) -> Result<Self, SqsError> {
        let mut document = current.map_or_else(
            || {
                Ok(Document {
                    version: default_version(),
                    id: Some(format!("{}/SQSDefaultPolicy", permission.queue_arn)),
                    statement: Vec::new(),
                })
            },
            |policy| policy.document(),
        )?;
        if document.statement.iter().any(|statement| has_label(statement, permission.label)) {
            return Err(SqsError::parameter("Label", permission.label, "Already exists."));
        }
        document.statement.push(permission.statement()?);
        Self::from_document(&document)
    }

    /// The policy without the statement of that label; None when it was the last.
    ///
    /// # Errors
    /// `InvalidParameterValue` when there is no such label.
    pub fn without_permission(current: Option<&Self>, label: &str) -> Result<Option<Self>, SqsError> {
        let unknown = || SqsError::parameter("Label", label, "can't find label.");
        let mut document = current.ok_or_else(unknown)?.document()?;
        let before = document.statement.len();
        document.statement.retain(|statement| !has_label(statement, label));
        if document.statement.len() == before {
            return Err(unknown());
        }
        if document.statement.is_empty() { Ok(None) } else { Self::from_document(&document).map(Some) }
    }

    fn document(&self) -> Result<Document, SqsError> {
        serde_json::from_str(&self.text).map_err(|_| SqsError::attribute_value("Policy"))
    }

    fn from_document(document: &Document) -> Result<Self, SqsError> {
        let text = serde_json::to_string(document).map_err(|_| SqsError::attribute_value("Policy"))?;
        Self::parse(&text)
    }
}

impl Permission<'_> {
    fn statement(&self) -> Result<Box<RawValue>, SqsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Statement<'a> {
            sid: &'a str,
            effect: &'a str,
            principal: Value,
            action: Value,
            resource: &'a str,
        }
        let arns = self.account_ids.iter().map(|id| format!("arn:aws:iam::{id}:root")).collect();
        let actions = self.actions.iter().map(|action| format!("SQS:{action}")).collect();
        let statement = Statement {
            sid: self.label,
            effect: "Allow",
            principal: json!({ "AWS": alone_or_list(arns) }),
            action: alone_or_list(actions),
            resource: self.queue_arn,
        };
        serde_json::value::to_raw_value(&statement)
            .map_err(|error| SqsError::new(ErrorKind::InvalidParameterValue, error.to_string()))
    }
}

/// AWS writes a list of one as the value itself.
fn alone_or_list(mut values: Vec<String>) -> Value {
    if values.len() == 1 { Value::from(values.remove(0)) } else { Value::from(values) }
}

fn has_label(statement: &RawValue, label: &str) -> bool {
    serde_json::from_str::<Value>(statement.get()).is_ok_and(|statement| statement["Sid"] == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:sqs:us-east-1:123456789012:q";
    const ACCOUNT: &str = "123456789012";

    fn denies(policy: &str, action: &str, now_ms: i64) -> bool {
        Policy::parse(policy).unwrap().denies(action, ARN, ACCOUNT, now_ms)
    }

    #[test]
    fn a_denial_acts_on_its_actions_principals_and_resources_only() {
        let policy = |principal: &str, action: &str, resource: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Principal":{principal},"Action":{action},"Resource":"{resource}"}}]}}"#
            )
        };
        assert!(denies(&policy("\"*\"", "\"sqs:SendMessage\"", ARN), "SendMessage", 0));
        assert!(denies(&policy("{\"AWS\":\"*\"}", "[\"SQS:Send*\"]", "*"), "SendMessage", 0));
        assert!(denies(
            &policy("{\"AWS\":[\"123456789012\"]}", "\"*\"", "arn:aws:sqs:*:*:q"),
            "DeleteMessage",
            0
        ));
        assert!(!denies(&policy("\"*\"", "\"sqs:SendMessage\"", ARN), "ReceiveMessage", 0));
        assert!(!denies(&policy("{\"AWS\":\"999999999999\"}", "\"*\"", ARN), "SendMessage", 0));
        assert!(!denies(
            &policy("\"*\"", "\"*\"", "arn:aws:sqs:us-east-1:123456789012:other"),
            "SendMessage",
            0
        ));
    }

    #[test]
    fn a_denial_with_an_end_expires_by_itself() {
        let policy = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*",
            "Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:10Z"}}}}"#;
        let end_ms = 1_767_225_610_000;
        assert!(denies(policy, "SendMessage", end_ms - 1));
        assert!(!denies(policy, "SendMessage", end_ms));
    }

    #[test]
    fn a_denial_under_a_condition_that_is_not_evaluated_does_not_act() {
        let policy = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*",
            "Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;
        assert!(!denies(policy, "SendMessage", 0));
    }

    #[test]
    fn permissions_are_added_and_removed_as_recorded_on_aws() {
        let actions = ["ReceiveMessage".to_owned()];
        let accounts = ["668614515564".to_owned(), ACCOUNT.to_owned()];
        let both = Permission { label: "one", account_ids: &accounts, actions: &actions, queue_arn: ARN };
        let first = Policy::with_permission(None, &both).unwrap();
        assert_eq!(
            first.text(),
            format!(
                r#"{{"Version":"2008-10-17","Id":"{ARN}/SQSDefaultPolicy","Statement":[{{"Sid":"one","Effect":"Allow","Principal":{{"AWS":["arn:aws:iam::668614515564:root","arn:aws:iam::{ACCOUNT}:root"]}},"Action":"SQS:ReceiveMessage","Resource":"{ARN}"}}]}}"#
            )
        );
        let error = Policy::with_permission(Some(&first), &both).unwrap_err();
        assert_eq!(error.message, "Value one for parameter Label is invalid. Reason: Already exists.");
        let second = Policy::with_permission(Some(&first), &Permission { label: "two", ..both }).unwrap();
        let left = Policy::without_permission(Some(&second), "one").unwrap().unwrap();
        assert!(left.text().contains("\"two\"") && !left.text().contains("\"one\""));
        assert_eq!(Policy::without_permission(Some(&left), "two").unwrap(), None);
        let error = Policy::without_permission(Some(&left), "three").unwrap_err();
        assert_eq!(error.message, "Value three for parameter Label is invalid. Reason: can't find label.");
    }

    #[test]
    fn what_is_not_a_policy_is_refused() {
        for bad in ["x", "{}", "[]", r#"{"Statement":[{"Effect":"Maybe"}]}"#, r#"{"Statement":[1]}"#] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
    }
}
