//! What a Lambda authorizer answered, and whether that allows a request.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::model::Protocol;
use super::names::API_GATEWAY;
use crate::iam::{self, Ask, Caller, Context, Kind, Policy};
use crate::wire::is_object;

/// The action that API Gateway asks an authorizer's policy about.
const INVOKE: &str = "execute-api:Invoke";

/// "AWS Lambda authorizer result size: 8 KB" (quotas of WebSocket APIs; HTTP APIs have none).
const RESULT_BYTES_MAX: usize = 8 * 1_024;

/// What an authorizer has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Simple,
    /// A policy, and whose it is.
    Policy,
    /// A policy, with or without whose it is: WebSocket APIs do not insist.
    PolicyOfAnyone,
}

impl Shape {
    pub(super) const fn of(protocol: Protocol, simple: bool) -> Self {
        match protocol {
            Protocol::WebSocket => Self::PolicyOfAnyone,
            Protocol::Http if simple => Self::Simple,
            Protocol::Http => Self::Policy,
        }
    }
}

/// A parsed answer. A policy is kept whole: from the cache it is asked again for each route.
#[derive(Debug)]
pub(super) struct Verdict {
    rule: Rule,
    pub(super) principal_id: Option<String>,
    /// The `context` object, as sent.
    pub(super) context: Option<Box<RawValue>>,
    /// Of the answer.
    pub(super) bytes: usize,
}

#[derive(Debug)]
enum Rule {
    Simple(bool),
    Policy(Policy),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SimpleAnswer {
    is_authorized: bool,
    context: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyAnswer {
    principal_id: Option<String>,
    policy_document: Value,
    context: Option<Box<RawValue>>,
}

impl Verdict {
    /// None when the answer has neither shape that the authorizer's configuration asks for: a 500 to the client.
    pub(super) fn parse(answer: &[u8], shape: Shape) -> Option<Self> {
        if !is_object(answer) {
            return None;
        }
        let bytes = answer.len();
        if shape == Shape::Simple {
            let answer: SimpleAnswer = serde_json::from_slice(answer).ok()?;
            return Some(Self {
                rule: Rule::Simple(answer.is_authorized),
                principal_id: None,
                context: object(answer.context)?,
                bytes,
            });
        }
        if shape == Shape::PolicyOfAnyone && bytes > RESULT_BYTES_MAX {
            return None;
        }
        let answer: PolicyAnswer = serde_json::from_slice(answer).ok()?;
        if shape == Shape::Policy && answer.principal_id.is_none() {
            return None;
        }
        Some(Self {
            rule: Rule::Policy(Policy::from_value(&answer.policy_document, Kind::Identity).ok()?),
            principal_id: answer.principal_id,
            context: object(answer.context)?,
            bytes,
        })
    }

    #[cfg(test)]
    pub(super) fn simple(is_authorized: bool) -> Self {
        Self { rule: Rule::Simple(is_authorized), principal_id: None, context: None, bytes: 0 }
    }

    /// A deny wins, and what is not allowed is denied.
    pub(super) fn allows(&self, arn: &str, now_ms: i64) -> bool {
        self.says(arn, now_ms) == iam::Verdict::Allows
    }

    /// Whether it says no, and does not just say nothing.
    pub(super) fn denies(&self, arn: &str, now_ms: i64) -> bool {
        self.says(arn, now_ms) == iam::Verdict::Denies
    }

    fn says(&self, arn: &str, now_ms: i64) -> iam::Verdict {
        match &self.rule {
            Rule::Simple(true) => iam::Verdict::Allows,
            Rule::Simple(false) => iam::Verdict::Denies,
            Rule::Policy(policy) => {
                let ask = Ask { action: INVOKE, resource: arn, context: Context::at(now_ms) };
                // The policy of an answer names no principal: whoever asks is its bearer.
                policy.ask(&ask, &Caller::Service(API_GATEWAY))
            }
        }
    }
}

/// An absent context is fine, one that is not an object is not.
#[expect(
    clippy::option_option,
    reason = "the outer None is a refused answer, the inner one an absent context"
)]
fn object(context: Option<Box<RawValue>>) -> Option<Option<Box<RawValue>>> {
    match context {
        Some(context) if context.get() == "null" => Some(None),
        Some(context) if !context.get().starts_with('{') => None,
        context => Some(context),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:abc/$default/GET/tasks/1";

    fn policy(statements: &str) -> Verdict {
        let answer = format!(
            r#"{{"principalId":"u","policyDocument":{{"Version":"2012-10-17","Statement":[{statements}]}}}}"#
        );
        Verdict::parse(answer.as_bytes(), Shape::Policy).unwrap()
    }

    #[test]
    fn a_policy_allows_what_it_names_and_a_deny_wins() {
        let allow = r#"{"Effect":"Allow","Action":"execute-api:Invoke","Resource":["arn:aws:execute-api:*:*:abc/*/GET/tasks/?"]}"#;
        let deny = r#"{"Effect":"Deny","Action":["execute-api:*"],"Resource":"*"}"#;
        assert!(policy(allow).allows(ARN, 0));
        assert!(
            !policy(allow).allows("arn:aws:execute-api:us-east-1:123456789012:abc/$default/POST/tasks/1", 0)
        );
        assert!(!policy(&format!("{allow},{deny}")).allows(ARN, 0));
        assert!(!policy("").allows(ARN, 0));
        assert!(policy(&format!("{allow},{deny}")).denies(ARN, 0));
        assert!(!policy("").denies(ARN, 0), "it says nothing");
    }

    #[test]
    fn each_configuration_takes_only_its_own_shape() {
        let simple = |answer: &str| Verdict::parse(answer.as_bytes(), Shape::Simple);
        assert!(simple(r#"{"isAuthorized":true,"context":{"sub":"u"}}"#).unwrap().allows(ARN, 0));
        assert!(!simple(r#"{"isAuthorized":false}"#).unwrap().allows(ARN, 0));
        assert!(Verdict::parse(br#"{"isAuthorized":true}"#, Shape::Policy).is_none());
        assert!(simple(r#"{"isAuthorized":"yes"}"#).is_none());
        assert!(simple(r#"{"isAuthorized":true,"context":[1]}"#).is_none());
    }

    #[test]
    fn a_list_allows_nothing() {
        let allow =
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        for (answer, shape) in [
            ("[true,null]".to_owned(), Shape::Simple),
            (format!(r#"["u",{allow},null]"#), Shape::Policy),
            (format!(" [null,{allow},null]"), Shape::PolicyOfAnyone),
        ] {
            assert!(Verdict::parse(answer.as_bytes(), shape).is_none(), "{answer}");
        }
    }

    #[test]
    fn only_a_websocket_api_takes_a_policy_of_nobody() {
        let answer = br#"{"policyDocument":{"Version":"2012-10-17","Statement":[]}}"#;
        assert!(Verdict::parse(answer, Shape::Policy).is_none());
        let taken = Verdict::parse(answer, Shape::of(Protocol::WebSocket, false)).unwrap();
        assert_eq!(taken.principal_id, None);
    }

    #[test]
    fn a_websocket_api_takes_no_answer_over_8_kb() {
        let policy = json!({"Version": "2012-10-17", "Statement": []});
        let padded = |padding: &str| {
            json!({"principalId": "u", "policyDocument": policy, "context": {"a": padding}}).to_string()
        };
        let is_taken = |size: usize, protocol| {
            let answer = padded(&"x".repeat(size - padded("").len()));
            Verdict::parse(answer.as_bytes(), Shape::of(protocol, false)).is_some()
        };
        assert!(is_taken(RESULT_BYTES_MAX, Protocol::WebSocket));
        assert!(!is_taken(RESULT_BYTES_MAX + 1, Protocol::WebSocket));
        assert!(is_taken(RESULT_BYTES_MAX + 1, Protocol::Http));
    }
}
