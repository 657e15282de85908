//! Who asks, and whom a resource's policy names.

use serde_json::Value;

use super::policy::Malformed;

/// The identity behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// The account's administrator: terraform, the chaos harness, whoever signs with a key that nobody was given.
    Root { account_id: &'a str },
    /// A session of a role, or a user, whose own ARN is then that of its identity.
    Signer { account_id: &'a str, identity_arn: &'a str, arn: &'a str },
    /// An AWS service, such as `apigateway.amazonaws.com`.
    Service(&'a str),
    /// Who did not sign.
    Anonymous,
}

impl<'a> Caller<'a> {
    /// None of who is no session of a role.
    pub(super) fn session_name(&self) -> Option<&'a str> {
        match *self {
            Self::Signer { identity_arn, arn, .. } if identity_arn != arn => arn.rsplit('/').next(),
            _ => None,
        }
    }
}

/// One entry of a `Principal` element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    Anyone,
    /// Twelve digits or the ARN of the account's root: all identities of the account.
    Account(String),
    Arn(String),
    Service(String),
    /// Federated and canonical users, which nobody here is.
    Nobody,
}

/// How well an entry fits the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    No,
    /// Through its account: a denial acts, an allowance leaves the decision to the caller's own policies.
    Account,
    Exact,
    /// The session itself, which is more than its role.
    Session,
}

impl Principal {
    /// # Errors
    /// For what is neither `"*"` nor an object of lists.
    pub(super) fn parse(value: &Value) -> Result<Vec<Self>, Malformed> {
        match value {
            Value::String(text) if text == "*" => Ok(vec![Self::Anyone]),
            Value::Object(kinds) => {
                let mut all = Vec::new();
                for (kind, names) in kinds {
                    for name in one_or_many(names).ok_or(Malformed::Principal)? {
                        all.push(Self::of(kind, name));
                    }
                }
                Ok(all)
            }
            _ => Err(Malformed::Principal),
        }
    }

    fn of(kind: &str, name: &str) -> Self {
        match (kind, name) {
            (_, "*") => Self::Anyone,
            ("AWS", id) if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::Account(id.to_owned())
            }
            ("AWS", arn) => match arn.split(':').collect::<Vec<_>>().as_slice() {
                ["arn", _, "iam", "", account, "root"] => Self::Account((*account).to_owned()),
                _ => Self::Arn(arn.to_owned()),
            },
            ("Service", service) => Self::Service(service.to_owned()),
            _ => Self::Nobody,
        }
    }

    pub(super) fn fit(&self, caller: &Caller<'_>) -> Fit {
        let exact = |same: bool| if same { Fit::Exact } else { Fit::No };
        match (self, caller) {
            (Self::Anyone, _) => Fit::Exact,
            (Self::Account(id), Caller::Root { account_id }) => exact(id == account_id),
            (Self::Account(id), Caller::Signer { account_id, .. }) if id == account_id => Fit::Account,
            (Self::Arn(named), Caller::Signer { identity_arn, arn, .. }) => {
                if named == arn && arn != identity_arn { Fit::Session } else { exact(named == identity_arn) }
            }
            (Self::Service(name), Caller::Service(service)) => exact(name == service),
            _ => Fit::No,
        }
    }

    /// Whether they name the caller so that a denial of all others spares it: "you must also specify the account ARN of the
    /// not-denied principal", and for a session "we strongly recommend that you explicitly include […] both the ARN for a
    /// role and the ARN for the account containing that role".
    pub(super) fn name_whole(all: &[Self], caller: &Caller<'_>) -> bool {
        let Caller::Signer { account_id, identity_arn, .. } = *caller else {
            return all.iter().any(|one| one.fit(caller) != Fit::No);
        };
        let names_account = |one: &Self| matches!(one, Self::Account(id) if id == account_id);
        let names_identity = |one: &Self| matches!(one, Self::Arn(arn) if arn == identity_arn);
        all.contains(&Self::Anyone) || (all.iter().any(names_account) && all.iter().any(names_identity))
    }
}

/// IAM lets a list of one be written without the list.
pub(super) fn one_or_many(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SESSION: Caller<'_> = Caller::Signer {
        account_id: "123456789012",
        identity_arn: "arn:aws:iam::123456789012:role/worker",
        arn: "arn:aws:sts::123456789012:assumed-role/worker/worker",
    };

    fn fit(value: &Value, caller: &Caller<'_>) -> Fit {
        let all = Principal::parse(value).unwrap();
        all.iter().map(|principal| principal.fit(caller)).max().unwrap_or(Fit::No)
    }

    #[test]
    fn a_role_is_named_by_its_arn_by_its_session_or_through_its_account() {
        assert_eq!(fit(&json!("*"), &SESSION), Fit::Exact);
        assert_eq!(fit(&json!({"AWS": "*"}), &SESSION), Fit::Exact);
        assert_eq!(fit(&json!({"AWS": ["arn:aws:iam::123456789012:role/worker"]}), &SESSION), Fit::Exact);
        let session = "arn:aws:sts::123456789012:assumed-role/worker/worker";
        assert_eq!(fit(&json!({"AWS": session}), &SESSION), Fit::Session);
        assert_eq!(fit(&json!({"AWS": ["*", session]}), &SESSION), Fit::Session);
        assert_eq!(fit(&json!({"AWS": format!("{session}-2")}), &SESSION), Fit::No);
        assert_eq!(fit(&json!({"AWS": "123456789012"}), &SESSION), Fit::Account);
        assert_eq!(fit(&json!({"AWS": "arn:aws:iam::123456789012:root"}), &SESSION), Fit::Account);
        assert_eq!(fit(&json!({"AWS": "arn:aws:iam::123456789012:role/other"}), &SESSION), Fit::No);
        assert_eq!(fit(&json!({"Service": "lambda.amazonaws.com"}), &SESSION), Fit::No);
    }

    #[test]
    fn a_service_is_only_named_as_one() {
        let gateway = Caller::Service("apigateway.amazonaws.com");
        assert_eq!(fit(&json!({"Service": "apigateway.amazonaws.com"}), &gateway), Fit::Exact);
        assert_eq!(fit(&json!({"Service": "events.amazonaws.com"}), &gateway), Fit::No);
        assert_eq!(fit(&json!({"AWS": "123456789012"}), &gateway), Fit::No);
    }

    #[test]
    fn who_did_not_sign_is_named_only_with_everybody() {
        assert_eq!(fit(&json!("*"), &Caller::Anonymous), Fit::Exact);
        assert_eq!(fit(&json!({"AWS": "123456789012"}), &Caller::Anonymous), Fit::No);
        assert_eq!(fit(&json!({"Service": "lambda.amazonaws.com"}), &Caller::Anonymous), Fit::No);
    }

    #[test]
    fn what_is_no_principal_is_refused() {
        for bad in [json!("worker"), json!(1), json!({"AWS": 1}), json!(["*"])] {
            assert_eq!(Principal::parse(&bad), Err(Malformed::Principal), "{bad}");
        }
    }
}
