//! What a Lambda authorizer answered, and whether that allows a request.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The action that API Gateway asks an authorizer's policy about.
const INVOKE: &str = "execute-api:Invoke";

/// A parsed answer. A policy is kept whole: from the cache it is asked again for each route.
#[derive(Debug)]
pub(super) struct Verdict {
    rule: Rule,
    pub(super) principal_id: Option<String>,
    /// The `context` object, as sent.
    pub(super) context: Option<Box<RawValue>>,
}

#[derive(Debug)]
enum Rule {
    Simple(bool),
    Policy(Vec<Statement>),
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
    principal_id: String,
    policy_document: Document,
    context: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    statement: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: String,
    action: OneOrMany,
    resource: OneOrMany,
}

/// IAM lets a list of one be written without the list.
#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
struct OneOrMany(Vec<String>);

impl From<Value> for OneOrMany {
    fn from(value: Value) -> Self {
        match value {
            Value::String(one) => Self(vec![one]),
            Value::Array(many) => Self(many.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => Self(Vec::new()),
        }
    }
}

impl Verdict {
    /// None when the answer has neither shape that the authorizer's configuration asks for: a 500 to the client.
    pub(super) fn parse(answer: &[u8], simple: bool) -> Option<Self> {
        if simple {
            let answer: SimpleAnswer = serde_json::from_slice(answer).ok()?;
            return Some(Self {
                rule: Rule::Simple(answer.is_authorized),
                principal_id: None,
                context: object(answer.context)?,
            });
        }
        let answer: PolicyAnswer = serde_json::from_slice(answer).ok()?;
        Some(Self {
            rule: Rule::Policy(answer.policy_document.statement),
            principal_id: Some(answer.principal_id),
            context: object(answer.context)?,
        })
    }

    #[cfg(test)]
    pub(super) fn simple(is_authorized: bool) -> Self {
        Self { rule: Rule::Simple(is_authorized), principal_id: None, context: None }
    }

    /// A deny wins, and what is not allowed is denied.
    pub(super) fn allows(&self, arn: &str) -> bool {
        match &self.rule {
            Rule::Simple(is_authorized) => *is_authorized,
            Rule::Policy(statements) => {
                let applies =
                    |effect: &str| statements.iter().any(|statement| statement.applies(effect, arn));
                applies("Allow") && !applies("Deny")
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

impl Statement {
    fn applies(&self, effect: &str, arn: &str) -> bool {
        self.effect == effect
            && self
                .action
                .0
                .iter()
                .any(|action| wildcard(&action.to_ascii_lowercase(), &INVOKE.to_ascii_lowercase()))
            && self.resource.0.iter().any(|resource| wildcard(resource, arn))
    }
}

/// IAM's patterns: `*` is any text, `?` any one character.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to return to when a `*` has to take one character more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(&expected) if expected == b'?' || expected == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:abc/$default/GET/tasks/1";

    fn policy(statements: &str) -> Verdict {
        let answer = format!(
            r#"{{"principalId":"u","policyDocument":{{"Version":"2012-10-17","Statement":[{statements}]}}}}"#
        );
        Verdict::parse(answer.as_bytes(), false).unwrap()
    }

    #[test]
    fn a_policy_allows_what_it_names_and_a_deny_wins() {
        let allow = r#"{"Effect":"Allow","Action":"execute-api:Invoke","Resource":["arn:aws:execute-api:*:*:abc/*/GET/tasks/?"]}"#;
        let deny = r#"{"Effect":"Deny","Action":["execute-api:*"],"Resource":"*"}"#;
        assert!(policy(allow).allows(ARN));
        assert!(
            !policy(allow).allows("arn:aws:execute-api:us-east-1:123456789012:abc/$default/POST/tasks/1")
        );
        assert!(!policy(&format!("{allow},{deny}")).allows(ARN));
        assert!(!policy("").allows(ARN));
    }

    #[test]
    fn each_configuration_takes_only_its_own_shape() {
        assert!(Verdict::parse(br#"{"isAuthorized":true,"context":{"sub":"u"}}"#, true).unwrap().allows(ARN));
        assert!(!Verdict::parse(br#"{"isAuthorized":false}"#, true).unwrap().allows(ARN));
        assert!(Verdict::parse(br#"{"isAuthorized":true}"#, false).is_none());
        assert!(Verdict::parse(br#"{"isAuthorized":"yes"}"#, true).is_none());
        assert!(Verdict::parse(br#"{"isAuthorized":true,"context":[1]}"#, true).is_none());
    }

    #[test]
    fn wildcards_backtrack() {
        assert!(wildcard("a*b*c", "axxbyybzzc"));
        assert!(wildcard("*", ""));
        assert!(!wildcard("a*b", "axxc"));
        assert!(!wildcard("a?", "a"));
    }
}
