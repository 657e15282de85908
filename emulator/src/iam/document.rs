//! What IAM asks of a document that it is given, beyond what makes it a policy, and how large it lets one be.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::{Map, Value};
use winterbaume_iam::IamStateView;
use winterbaume_iam::views::{AttachedPolicyView, InlinePolicyView};

use super::policy::{Kind, Malformed, Policy};
use super::principal::one_or_many;

/// AWS quotas, in characters without white space.
const TRUST_CHARS_MAX: usize = 2_048;
const MANAGED_CHARS_MAX: usize = 6_144;
/// Of all inline policies of one together.
const INLINE_OF_ROLE_CHARS_MAX: usize = 10_240;
const INLINE_OF_USER_CHARS_MAX: usize = 2_048;
const INLINE_OF_GROUP_CHARS_MAX: usize = 5_120;
/// AWS quota of managed policies that one has at once.
const ATTACHED_MAX: usize = 10;

const MEMBERS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// Why IAM does not take what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("Syntax errors in policy: {0}.")]
    Malformed(#[from] Malformed),
    #[error("Syntax errors in policy: there is no element {0}.")]
    Element(String),
    #[error(
        "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
    )]
    Sid,
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    SidTwice,
    #[error("Policy statement must contain resources.")]
    NoResource,
    #[error("Has prohibited field {0}")]
    Prohibited(&'static str),
    #[error("AssumeRole policy may only specify STS AssumeRole actions.")]
    NotSts,
    #[error("Invalid principal in policy: a statement with no principals!")]
    NoPrincipal,
    #[error("Invalid principal in policy: \"AWS\":\"{0}\"")]
    Principal(String),
    #[error("Maximum policy size of {max} bytes exceeded for {kind} {name}")]
    Inline { max: usize, kind: &'static str, name: String },
    #[error("Cannot exceed quota for {quota}: {max}")]
    Quota { quota: &'static str, max: usize },
    #[error("Scope ARN: {0} does not exist or is not attachable.")]
    Boundary(String),
    #[error("{0}")]
    InUse(&'static str),
}

impl Unfit {
    /// How it is answered.
    pub(super) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Inline { .. } | Self::Quota { .. } => (StatusCode::CONFLICT, "LimitExceeded"),
            Self::Boundary(_) => (StatusCode::NOT_FOUND, "NoSuchEntity"),
            Self::InUse(_) => (StatusCode::CONFLICT, "DeleteConflict"),
            _ => (StatusCode::BAD_REQUEST, "MalformedPolicyDocument"),
        }
    }
}

/// A policy of a role, a user, a group, or of nobody yet.
pub(super) fn check_identity(text: &str) -> Result<(), Unfit> {
    let document = read(text, Kind::Identity)?;
    let statements = statements(&document);
    check_elements(&statements)?;
    let lacks_resources = |statement: &&Map<String, Value>| {
        let named = statement.get("Resource").or_else(|| statement.get("NotResource"));
        named.and_then(one_or_many).is_none_or(|names| names.is_empty())
    };
    if statements.iter().any(lacks_resources) { Err(Unfit::NoResource) } else { Ok(()) }
}

/// The trust policy of a role. Who is not there cannot be trusted: `exists` says it of the ARN of a role or a user.
pub(super) fn check_trust(text: &str, exists: impl Fn(&str) -> bool) -> Result<(), Unfit> {
    let document = read(text, Kind::Resource)?;
    let statements = statements(&document);
    check_elements(&statements)?;
    for statement in statements {
        for element in ["Resource", "NotResource"] {
            if statement.contains_key(element) {
                return Err(Unfit::Prohibited(element));
            }
        }
        let actions = statement.get("Action").and_then(one_or_many).unwrap_or_default();
        if actions.iter().any(|action| !action.to_ascii_lowercase().starts_with("sts:")) {
            return Err(Unfit::NotSts);
        }
        check_principals(statement, &exists)?;
    }
    within_quota("ACLSizePerRole", chars(text), TRUST_CHARS_MAX)
}

fn check_principals(statement: &Map<String, Value>, exists: &impl Fn(&str) -> bool) -> Result<(), Unfit> {
    let Some(kinds) = statement.get("Principal").and_then(Value::as_object) else { return Ok(()) };
    let of = |names: &Value| one_or_many(names).map(|names| names.len()).unwrap_or_default();
    if kinds.values().map(of).sum::<usize>() == 0 {
        return Err(Unfit::NoPrincipal);
    }
    let arns = kinds.get("AWS").and_then(one_or_many).unwrap_or_default();
    match arns.into_iter().find(|arn| !exists(arn)) {
        Some(unknown) => Err(Unfit::Principal(unknown.to_owned())),
        None => Ok(()),
    }
}

fn check_elements(statements: &[&Map<String, Value>]) -> Result<(), Unfit> {
    let mut sids = HashSet::new();
    for statement in statements {
        // A misspelt condition must not grant without one.
        if let Some(unknown) = statement.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
            return Err(Unfit::Element(unknown.clone()));
        }
        let Some(sid) = statement.get("Sid") else { continue };
        let sid = sid.as_str().ok_or(Unfit::Sid)?;
        if !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Unfit::Sid);
        }
        if !sid.is_empty() && !sids.insert(sid) {
            return Err(Unfit::SidTwice);
        }
    }
    Ok(())
}

/// A document that makes a policy.
fn read(text: &str, kind: Kind) -> Result<Value, Malformed> {
    let document = serde_json::from_str(text).map_err(|_| Malformed::Document)?;
    Policy::from_value(&document, kind)?;
    Ok(document)
}

fn statements(document: &Value) -> Vec<&Map<String, Value>> {
    let all = match &document["Statement"] {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    all.iter().filter_map(Value::as_object).collect()
}

/// Whose inline policies, or attached ones, a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Role(&'a str),
    User(&'a str),
    Group(&'a str),
}

impl Owner<'_> {
    fn policies<'v>(
        &self,
        view: &'v IamStateView,
    ) -> Option<(&'v [InlinePolicyView], &'v [AttachedPolicyView])> {
        Some(match *self {
            Self::Role(name) => {
                let role = view.roles.get(name)?;
                (&role.inline_policies, &role.attached_policies)
            }
            Self::User(name) => {
                let user = view.users.get(name)?;
                (&user.inline_policies, &user.attached_policies)
            }
            Self::Group(name) => {
                let group = view.groups.get(name)?;
                (&group.inline_policies, &group.attached_policies)
            }
        })
    }
}

pub(super) fn check_managed_size(text: &str) -> Result<(), Unfit> {
    within_quota("PolicySize", chars(text), MANAGED_CHARS_MAX)
}

/// With the policy of this name put, or put anew.
pub(super) fn check_inline_size(
    view: &IamStateView,
    owner: Owner<'_>,
    name: &str,
    text: &str,
) -> Result<(), Unfit> {
    let Some((inline, _)) = owner.policies(view) else { return Ok(()) };
    let others = inline.iter().filter(|policy| policy.policy_name != name);
    let all = others.map(|policy| chars(&policy.policy_document)).sum::<usize>() + chars(text);
    let (kind, owner, max) = match owner {
        Owner::Role(owner) => ("role", owner, INLINE_OF_ROLE_CHARS_MAX),
        Owner::User(owner) => ("user", owner, INLINE_OF_USER_CHARS_MAX),
        Owner::Group(owner) => ("group", owner, INLINE_OF_GROUP_CHARS_MAX),
    };
    if all <= max { Ok(()) } else { Err(Unfit::Inline { max, kind, name: owner.to_owned() }) }
}

/// With this one attached.
pub(super) fn check_attached(view: &IamStateView, owner: Owner<'_>, arn: &str) -> Result<(), Unfit> {
    let Some((_, attached)) = owner.policies(view) else { return Ok(()) };
    let others = attached.iter().filter(|policy| policy.policy_arn != arn).count();
    let quota = match owner {
        Owner::Role(_) => "PoliciesPerRole",
        Owner::User(_) => "PoliciesPerUser",
        Owner::Group(_) => "PoliciesPerGroup",
    };
    within_quota(quota, others + 1, ATTACHED_MAX)
}

/// What bounds a role or a user must be a policy that is there.
pub(super) fn check_boundary(view: &IamStateView, arn: &str) -> Result<(), Unfit> {
    if view.policies.contains_key(arn) { Ok(()) } else { Err(Unfit::Boundary(arn.to_owned())) }
}

/// A user who would leave something to the next one of that name. The rest of what a user may have the engine looks at.
pub(super) fn check_deleted_user(view: &IamStateView, name: &str) -> Result<(), Unfit> {
    let is_member = view.groups.values().any(|group| group.members.iter().any(|member| member == name));
    if !view.users.contains_key(name) {
        Ok(())
    } else if is_member {
        Err(Unfit::InUse("Cannot delete entity, must remove users from group first."))
    } else if view.login_profiles.contains_key(name) {
        Err(Unfit::InUse("Cannot delete entity, must delete login profile first."))
    } else {
        Ok(())
    }
}

/// A group with policies; the engine refuses it of one with members.
pub(super) fn check_deleted_group(view: &IamStateView, name: &str) -> Result<(), Unfit> {
    let Some((inline, attached)) = Owner::Group(name).policies(view) else { return Ok(()) };
    if !attached.is_empty() {
        Err(Unfit::InUse("Cannot delete entity, must detach all policies first."))
    } else if !inline.is_empty() {
        Err(Unfit::InUse("Cannot delete entity, must delete policies first."))
    } else {
        Ok(())
    }
}

/// A policy that bounds somebody, or has versions besides its default one; the engine refuses it of one that is attached.
pub(super) fn check_deleted_policy(view: &IamStateView, arn: &str) -> Result<(), Unfit> {
    let roles = view.roles.values().map(|role| &role.permissions_boundary);
    let users = view.users.values().map(|user| &user.permissions_boundary);
    if roles.chain(users).any(|boundary| boundary.as_deref() == Some(arn)) {
        Err(Unfit::InUse("Cannot delete a policy attached to entities."))
    } else if view.policies.get(arn).is_some_and(|policy| policy.versions.len() > 1) {
        Err(Unfit::InUse(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. \
             The default version is deleted with the policy.",
        ))
    } else {
        Ok(())
    }
}

fn within_quota(quota: &'static str, count: usize, max: usize) -> Result<(), Unfit> {
    if count <= max { Ok(()) } else { Err(Unfit::Quota { quota, max }) }
}

/// "IAM doesn't count white space when calculating the size of a policy against these quotas."
fn chars(text: &str) -> usize {
    text.chars().filter(|character| !character.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: &str = "arn:aws:iam::123456789012:role/known";

    fn identity(statements: Value) -> Result<(), Unfit> {
        check_identity(&json!({"Version": "2012-10-17", "Statement": statements}).to_string())
    }

    fn trust(statement: Value) -> Result<(), Unfit> {
        check_trust(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string(), |arn| {
            arn == KNOWN
        })
    }

    fn grant(extra: Value) -> Value {
        let mut statement = json!({"Effect": "Allow", "Action": "sqs:*", "Resource": "*"});
        statement.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        statement
    }

    #[test]
    fn what_a_policy_of_an_identity_must_not_have_is_refused_as_aws_does() {
        assert_eq!(identity(json!([grant(json!({"Sid": "One1"})), grant(json!({"Sid": "Two"}))])), Ok(()));
        assert_eq!(identity(json!([grant(json!({"Sid": ""})), grant(json!({"Sid": ""}))])), Ok(()));
        for sid in ["a-b", "a_b", "a b"] {
            assert_eq!(identity(json!([grant(json!({"Sid": sid}))])), Err(Unfit::Sid), "{sid}");
        }
        let twice = json!([grant(json!({"Sid": "A"})), grant(json!({"Sid": "A"}))]);
        assert_eq!(identity(twice), Err(Unfit::SidTwice));
        assert_eq!(identity(json!(grant(json!({"Resource": []})))), Err(Unfit::NoResource));
        assert_eq!(
            identity(json!(grant(json!({"Conditions": {}})))),
            Err(Unfit::Element("Conditions".to_owned()))
        );
    }

    #[test]
    fn a_trust_policy_lets_somebody_who_is_there_take_the_role_and_says_nothing_else() {
        let assume = |extra: Value| {
            let mut statement =
                json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": KNOWN}});
            statement.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
            trust(statement)
        };
        assert_eq!(assume(json!({})), Ok(()));
        assert_eq!(assume(json!({"Action": ["sts:AssumeRole", "sts:TagSession"]})), Ok(()));
        assert_eq!(assume(json!({"Principal": {"Service": "lambda.amazonaws.com"}})), Ok(()));
        assert_eq!(assume(json!({"Principal": "*"})), Ok(()));
        assert_eq!(assume(json!({"Resource": "*"})), Err(Unfit::Prohibited("Resource")));
        for action in ["*", "sqs:SendMessage"] {
            assert_eq!(assume(json!({"Action": action})), Err(Unfit::NotSts), "{action}");
        }
        assert_eq!(assume(json!({"Principal": {"AWS": []}})), Err(Unfit::NoPrincipal));
        let nobody = "arn:aws:iam::123456789012:role/nobody";
        assert_eq!(
            assume(json!({"Principal": {"AWS": [KNOWN, nobody]}})),
            Err(Unfit::Principal(nobody.to_owned()))
        );
        let long = "a".repeat(TRUST_CHARS_MAX);
        assert_eq!(
            assume(json!({"Condition": {"StringEquals": {"sts:ExternalId": long}}})),
            Err(Unfit::Quota { quota: "ACLSizePerRole", max: TRUST_CHARS_MAX })
        );
    }

    #[test]
    fn white_space_does_not_count() {
        assert_eq!(check_managed_size(&" ".repeat(2 * MANAGED_CHARS_MAX)), Ok(()));
        assert!(check_managed_size(&"a".repeat(MANAGED_CHARS_MAX + 1)).is_err());
    }
}
