//! The resource policy of a queue: kept exactly as set, edited by AddPermission, and obeyed where it denies.
//!
//! Within one account an `Allow` of a queue policy adds nothing to what the caller's own policies allow, so only `Deny`
//! statements act here.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::{ErrorKind, SqsError};

const DEFAULT_VERSION: &str = "2008-10-17";

/// A policy document with its denials taken out of it.
#[derive(Clone, Debug)]
pub struct Policy {
    text: String,
    denials: Vec<Denial>,
}

/// Two policies are the same when they say the same, whatever the spacing and the order of keys.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        self.text == other.text || value(&self.text) == value(&other.text)
    }
}

#[derive(Clone, Debug)]
struct Denial {
    actions: Vec<String>,
    resources: Vec<String>,
    principals: Vec<String>,
    conditions: Vec<Condition>,
}

/// A bound on the time of the request; the only kind of condition that is evaluated.
#[derive(Clone, Debug)]
enum Condition {
    Before {
        at_ms: i64,
        inclusive: bool,
    },
    After {
        at_ms: i64,
        inclusive: bool,
    },
    /// Any other: never satisfied, so that its denial does not act.
    Unknown,
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
        let document: Document = serde_json::from_str(text).map_err(|_| invalid())?;
        let mut denials = Vec::new();
        for statement in &document.statement {
            let statement: Value = serde_json::from_str(statement.get()).map_err(|_| invalid())?;
            match statement["Effect"].as_str() {
                Some("Deny") => denials.push(Denial::parse(&statement)),
                Some("Allow") => {}
                _ => return Err(invalid()),
            }
        }
        Ok(Self { text: text.to_owned(), denials })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a statement denies `action` (without its service prefix) on the queue to a caller of `account_id`.
    #[must_use]
    pub fn denies(&self, action: &str, queue_arn: &str, account_id: &str, now_ms: i64) -> bool {
        self.denials.iter().any(|denial| denial.applies(action, queue_arn, account_id, now_ms))
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

impl Denial {
    fn parse(statement: &Value) -> Self {
        let principals = match &statement["Principal"] {
            Value::Object(by_kind) => by_kind.get("AWS").map(texts).unwrap_or_default(),
            other => texts(other),
        };
        let conditions = statement["Condition"].as_object().map(conditions).unwrap_or_default();
        Self {
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            principals,
            conditions,
        }
    }

    fn applies(&self, action: &str, queue_arn: &str, account_id: &str, now_ms: i64) -> bool {
        let action = format!("sqs:{action}").to_ascii_lowercase();
        let root = format!("arn:aws:iam::{account_id}:root");
        let named = |principal: &String| principal == "*" || principal == account_id || *principal == root;
        self.principals.iter().any(named)
            && self.actions.iter().any(|pattern| matches_glob(&pattern.to_ascii_lowercase(), &action))
            && self.resources.iter().any(|pattern| matches_glob(pattern, queue_arn))
            && self.conditions.iter().all(|condition| condition.holds(now_ms))
    }
}

impl Condition {
    const fn holds(&self, now_ms: i64) -> bool {
        match *self {
            Self::Before { at_ms, inclusive } => now_ms < at_ms || (inclusive && now_ms == at_ms),
            Self::After { at_ms, inclusive } => now_ms > at_ms || (inclusive && now_ms == at_ms),
            Self::Unknown => false,
        }
    }
}

fn conditions(blocks: &serde_json::Map<String, Value>) -> Vec<Condition> {
    let pairs = blocks.iter().flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, value)| (operator.as_str(), key, value))
    });
    pairs.map(|(operator, key, value)| condition(operator, key, value)).collect()
}

fn condition(operator: &str, key: &str, value: &Value) -> Condition {
    let is_time = ["aws:currenttime", "aws:epochtime"].contains(&key.to_ascii_lowercase().as_str());
    let Some(at_ms) = texts(value).first().and_then(|text| time_ms(text)).filter(|_| is_time) else {
        return Condition::Unknown;
    };
    match operator {
        "DateLessThan" | "NumericLessThan" => Condition::Before { at_ms, inclusive: false },
        "DateLessThanEquals" | "NumericLessThanEquals" => Condition::Before { at_ms, inclusive: true },
        "DateGreaterThan" | "NumericGreaterThan" => Condition::After { at_ms, inclusive: false },
        "DateGreaterThanEquals" | "NumericGreaterThanEquals" => Condition::After { at_ms, inclusive: true },
        _ => Condition::Unknown,
    }
}

/// "You must specify date/time values with one of the W3C implementations of the ISO 8601 formats or in epoch time."
fn time_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000);
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

/// `*` stands for any run of characters, `?` for one.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                p = after_star;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
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

    #[test]
    fn globs_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a?c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*c", "abd", false),
            ("", "a", false),
        ] {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
