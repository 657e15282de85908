//! The resource policy of a queue: kept exactly as set, edited by AddPermission, and obeyed where it denies.
//!
//! The calls of functions are judged before they come here, with this policy beside the policies of their roles. What acts
//! here is a denial of whoever calls, which also ends a wait that has begun.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::{ErrorKind, SqsError};
use crate::{iam, repeatable};

const DEFAULT_VERSION: &str = "2008-10-17";
/// AWS quotas of a queue's policy. Those of principals and conditions are documented without what they are counted
/// in: AWS takes a condition in each of 20 statements.
const BYTES_MAX: usize = 8_192;
const STATEMENTS_MAX: usize = 20;
/// AWS quota: actions of one statement.
pub const ACTIONS_MAX: usize = 7;
/// No permissions: a batch needs what its single form needs.
const BATCH_ACTIONS: [&str; 3] =
    ["sqs:SendMessageBatch", "sqs:DeleteMessageBatch", "sqs:ChangeMessageVisibilityBatch"];
/// What AddPermission takes: "the name of any action or *", but for those of batches.
const PERMISSIONS: [&str; 21] = [
    "*",
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "CreateQueue",
    "DeleteMessage",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];

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

/// What quotas are counted of in a statement.
#[derive(Deserialize)]
struct Acts {
    #[serde(rename = "Action", alias = "NotAction", deserialize_with = "one_or_many")]
    actions: Vec<String>,
}

fn one_or_many<'de, D: serde::Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    use serde::de::Error as _;
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let all = if raw.get().starts_with('[') {
        serde_json::from_str(raw.get())
    } else {
        serde_json::from_str(raw.get()).map(|one| vec![one])
    };
    all.map_err(D::Error::custom)
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
    /// `InvalidAttributeValue` for what is not a policy document, `OverLimit` for more than AWS keeps,
    /// `InvalidParameterValue` for an action that is no permission.
    pub fn parse(text: &str) -> Result<Self, SqsError> {
        let policy = Self::read(text)?;
        policy.check_quotas()?;
        Ok(policy)
    }

    fn read(text: &str) -> Result<Self, SqsError> {
        let invalid = || SqsError::attribute_value("Policy");
        serde_json::from_str::<Document>(text).map_err(|_| invalid())?;
        let rules = iam::Policy::parse(text, iam::Kind::Resource).map_err(|_| invalid())?;
        Ok(Self { text: text.to_owned(), rules: Arc::new(rules) })
    }

    fn check_quotas(&self) -> Result<(), SqsError> {
        // What was accepted once is not asked again when it is made again.
        if repeatable::is_repeated() {
            return Ok(());
        }
        let over = |message: String| Err(SqsError::new(ErrorKind::OverLimit, message));
        if self.text.len() > BYTES_MAX {
            return over("Submitted policy is over max allowed size.".to_owned());
        }
        let statements = self.document()?.statement;
        if statements.len() > STATEMENTS_MAX {
            let found = statements.len();
            return over(format!(
                "{found} statements were found in the submitted policy, max allowed is {STATEMENTS_MAX}"
            ));
        }
        statements.iter().try_for_each(|statement| check_actions(statement))
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

    /// The policy with one more statement; a queue without a policy gets its first.
    ///
    /// # Errors
    /// `InvalidParameterValue` when the label is taken or there is no such action, and what [`Policy::parse`] refuses.
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
        permission.check_actions()?;
        document.statement.push(permission.statement()?);
        let policy = Self::from_document(&document)?;
        policy.check_quotas()?;
        Ok(policy)
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
        Self::read(&text)
    }
}

impl Permission<'_> {
    fn check_actions(&self) -> Result<(), SqsError> {
        let is_none = |action: &&String| !PERMISSIONS.iter().any(|one| one.eq_ignore_ascii_case(action));
        match self.actions.iter().find(is_none) {
            // What was accepted once is not asked again when it is made again.
            Some(action) if !repeatable::is_repeated() => Err(no_permission(&format!("SQS:{action}"))),
            _ => Ok(()),
        }
    }

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

fn check_actions(statement: &RawValue) -> Result<(), SqsError> {
    let Acts { actions } =
        serde_json::from_str(statement.get()).map_err(|_| SqsError::attribute_value("Policy"))?;
    if actions.len() > ACTIONS_MAX {
        let found = actions.len();
        let message = format!(
            "{found} actions were found in a statement from the submitted policy, max allowed is \
             {ACTIONS_MAX}"
        );
        return Err(SqsError::new(ErrorKind::OverLimit, message));
    }
    let batch = actions.iter().find(|action| is_batch(action));
    batch.map_or(Ok(()), |batch| Err(no_permission(batch)))
}

fn no_permission(action: &str) -> SqsError {
    let reason = "Please refer to the appropriate WSDL for a list of valid actions.";
    SqsError::parameter("ActionName", action, reason)
}

fn is_batch(action: &str) -> bool {
    BATCH_ACTIONS.iter().any(|batch| batch.eq_ignore_ascii_case(action))
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
        let action = format!("sqs:{action}");
        let ask = iam::Ask { action: &action, resource: ARN, context: iam::Context::at(now_ms) };
        let said = Policy::parse(policy).unwrap().rules.ask(&ask, &iam::Caller::Root { account_id: ACCOUNT });
        said == iam::Verdict::Denies
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
    fn quotas_are_those_of_aws_and_are_refused_in_its_words() {
        let statement = |actions: &[&str]| {
            json!({
                "Effect": "Allow", "Principal": "*", "Action": actions, "Resource": "*",
                "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:topic" } },
            })
        };
        let policy = |statements: Vec<Value>| json!({ "Statement": statements }).to_string();
        let of_bytes = |bytes: usize| {
            let with_id = |id: String| json!({ "Id": id, "Statement": [] }).to_string();
            with_id("x".repeat(bytes - with_id(String::new()).len()))
        };
        let send = "sqs:SendMessage";
        for kept in [
            of_bytes(BYTES_MAX),
            policy(vec![statement(&[send]); STATEMENTS_MAX]),
            policy(vec![statement(&[send; ACTIONS_MAX])]),
            policy(vec![statement(&["SQS:*"])]),
        ] {
            assert!(Policy::parse(&kept).is_ok(), "{kept}");
        }
        let (over, invalid) = (ErrorKind::OverLimit, ErrorKind::InvalidParameterValue);
        for (refused, kind, message) in [
            (of_bytes(BYTES_MAX + 1), over, "Submitted policy is over max allowed size."),
            (
                policy(vec![statement(&[send]); 21]),
                over,
                "21 statements were found in the submitted policy, max allowed is 20",
            ),
            (
                policy(vec![statement(&[send; 10])]),
                over,
                "10 actions were found in a statement from the submitted policy, max allowed is 7",
            ),
            (
                policy(vec![statement(&[send, "SQS:ChangeMessageVisibilityBatch"])]),
                invalid,
                "Value SQS:ChangeMessageVisibilityBatch for parameter ActionName is invalid. Reason: \
                 Please refer to the appropriate WSDL for a list of valid actions.",
            ),
        ] {
            assert_eq!(Policy::parse(&refused).unwrap_err(), SqsError::new(kind, message), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_policy_that_was_accepted_before_there_were_quotas_is_accepted_again() {
        let statement = r#"{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessageBatch"}"#;
        let policy = format!(r#"{{"Statement":[{}]}}"#, [statement; 21].join(","));
        assert_eq!(Policy::parse(&policy).unwrap_err().kind, ErrorKind::OverLimit);
        let again = repeatable::scope_again(0, 1, 0, async { Policy::parse(&policy) }).await;
        assert_eq!(again.unwrap().text(), policy);
    }

    #[tokio::test]
    async fn a_permission_is_for_an_action_that_there_is_or_for_all() {
        let accounts = [ACCOUNT.to_owned()];
        let add = |action: &str| {
            let actions = ["SendMessage".to_owned(), action.to_owned()];
            let permission =
                Permission { label: "l", account_ids: &accounts, actions: &actions, queue_arn: ARN };
            Policy::with_permission(None, &permission)
        };
        for known in PERMISSIONS {
            assert!(add(known).is_ok(), "{known}");
        }
        for unknown in ["Foo", "SendMessageBatch", "Send*", "sqs:SendMessage", ""] {
            let message = format!(
                "Value SQS:{unknown} for parameter ActionName is invalid. Reason: Please refer to the \
                 appropriate WSDL for a list of valid actions."
            );
            let refused = add(unknown).unwrap_err();
            assert_eq!(refused, SqsError::new(ErrorKind::InvalidParameterValue, message));
        }
        assert!(repeatable::scope_again(0, 1, 0, async { add("Foo") }).await.is_ok(), "accepted before");
    }

    #[test]
    fn statements_are_taken_out_of_a_policy_that_has_too_many() {
        let statements = (0..22).map(|sid: usize| {
            let sid = sid.to_string();
            json!({ "Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "sqs:*" })
        });
        let statements: Vec<Value> = statements.collect();
        let old = Policy::read(&json!({ "Statement": statements }).to_string()).unwrap();
        let left = Policy::without_permission(Some(&old), "3").unwrap().unwrap();
        assert_eq!(left.document().unwrap().statement.len(), 21);
        let actions = ["SendMessage".to_owned()];
        let accounts = [ACCOUNT.to_owned()];
        let more = Permission { label: "more", account_ids: &accounts, actions: &actions, queue_arn: ARN };
        let refused = Policy::with_permission(Some(&left), &more).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::OverLimit);
    }

    #[test]
    fn what_is_not_a_policy_is_refused() {
        for bad in ["x", "{}", "[]", r#"{"Statement":[{"Effect":"Maybe"}]}"#, r#"{"Statement":[1]}"#] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
    }
}
