//! Roles with their policies read, rebuilt when IAM changes and asked at every request.

use std::collections::HashMap;
use std::sync::Arc;

use winterbaume_iam::IamStateView;
use winterbaume_iam::views::RoleView;

use super::context::Principal;
use super::policy::{Ask, Kind, Policy, Verdict};
use super::principal::Caller;

/// All roles of the account, by ARN.
pub(super) type Roles = HashMap<String, Arc<Role>>;

#[derive(Debug)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) policies: Vec<Arc<Attached>>,
    pub(super) trust: Option<Arc<Policy>>,
    boundary: Option<Arc<Attached>>,
    /// `AROA…`
    pub(super) unique_id: String,
    /// What an AssumeRole may ask for at most.
    pub(super) session_seconds_max: i64,
    /// Condition keys of whoever acts as this role.
    keys: Vec<(String, String)>,
}

/// One policy of a role, inline or managed.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) name: String,
    text: String,
    pub(super) policy: Policy,
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NotGranted,
    IdentityDenies,
    ResourceDenies,
    BoundaryDenies,
    OutsideBoundary,
}

impl Role {
    /// The evaluation of one account: an explicit denial anywhere wins; then an allowance by the resource to this very
    /// role is enough; else the role's own policies must allow it, within its boundary.
    pub(super) fn decide(
        &self,
        ask: &Ask<'_>,
        caller: &Caller<'_>,
        resource_policy: Option<&Policy>,
    ) -> Result<(), Reason> {
        let ask = &Ask { context: ask.context.of(self.principal(caller)), ..*ask };
        let mut own = Verdict::Silent;
        for attached in &self.policies {
            match attached.policy.ask(ask, caller) {
                Verdict::Denies => return Err(Reason::IdentityDenies),
                Verdict::Silent => {}
                allows => own = allows,
            }
        }
        let boundary = self.boundary.as_ref().map(|boundary| boundary.policy.ask(ask, caller));
        if boundary == Some(Verdict::Denies) {
            return Err(Reason::BoundaryDenies);
        }
        let resource = resource_policy.map_or(Verdict::Silent, |policy| policy.ask(ask, caller));
        if resource == Verdict::Denies {
            return Err(Reason::ResourceDenies);
        }
        if boundary.is_some_and(|boundary| boundary != Verdict::Allows) {
            return Err(Reason::OutsideBoundary);
        }
        if own == Verdict::Allows || resource == Verdict::Allows { Ok(()) } else { Err(Reason::NotGranted) }
    }

    fn principal<'a>(&'a self, caller: &Caller<'a>) -> Principal<'a> {
        let session_name = match caller {
            Caller::Session { session_arn, .. } => session_arn.rsplit('/').next().unwrap_or_default(),
            Caller::Root { .. } | Caller::Service(_) => "",
        };
        Principal { keys: &self.keys, unique_id: &self.unique_id, session_name }
    }

    /// Whether the trust policy lets the caller, who acts as the role `own` if as any, take this role: by name, or through
    /// its account, where the caller's own policies must allow it as well.
    pub(super) fn trusts(&self, ask: &Ask<'_>, caller: &Caller<'_>, own: Option<&Self>) -> bool {
        let context = own.map_or(ask.context, |own| ask.context.of(own.principal(caller)));
        let said = self.trust.as_ref().map(|trust| trust.ask(&Ask { context, ..*ask }, caller));
        matches!(said, Some(Verdict::Allows | Verdict::AllowsAccount))
    }
}

/// Reads all roles anew. A policy whose text is the same stays the same object, so that what was used of it is kept.
pub(super) fn read(view: &IamStateView, before: &Roles) -> Roles {
    let roles = view.roles.values().map(|role| {
        let known = before.get(&role.arn);
        (role.arn.clone(), Arc::new(read_role(view, role, known.map(Arc::as_ref))))
    });
    roles.collect()
}

fn read_role(view: &IamStateView, role: &RoleView, before: Option<&Role>) -> Role {
    let inline =
        role.inline_policies.iter().map(|one| (one.policy_name.as_str(), one.policy_document.as_str()));
    let managed = role.attached_policies.iter().filter_map(|one| {
        let policy = view.policies.get(&one.policy_arn)?;
        Some((one.policy_arn.as_str(), default_document(policy)))
    });
    let known = before.map(|role| role.policies.as_slice()).unwrap_or_default();
    let policies = inline.chain(managed).filter_map(|(name, text)| attach(name, text, known)).collect();
    let boundary = role.permissions_boundary.as_ref().and_then(|arn| {
        let policy = view.policies.get(arn)?;
        attach(arn, default_document(policy), &[])
    });
    let (arn, unique_id) = (role.arn.clone(), role.role_id.clone());
    let session_seconds_max = role.max_session_duration.into();
    Role { arn, policies, trust: trust(role), boundary, unique_id, session_seconds_max, keys: keys(role) }
}

fn keys(role: &RoleView) -> Vec<(String, String)> {
    let account_id = role.arn.split(':').nth(4).unwrap_or_default();
    // "For assumed roles the request context returns the ARN of the role, not of the session."
    let of_role = [
        ("aws:principalarn", role.arn.as_str()),
        ("aws:principalaccount", account_id),
        ("aws:principaltype", "AssumedRole"),
    ];
    let of_role = of_role.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let tags = role.tags.iter();
    let tags =
        tags.map(|(key, value)| (format!("aws:principaltag/{}", key.to_ascii_lowercase()), value.clone()));
    of_role.chain(tags).collect()
}

fn default_document(policy: &winterbaume_iam::views::ManagedPolicyView) -> &str {
    let default = policy.versions.iter().find(|version| version.version_id == policy.default_version_id);
    default.map_or(policy.document.as_str(), |version| version.document.as_str())
}

fn attach(name: &str, text: &str, known: &[Arc<Attached>]) -> Option<Arc<Attached>> {
    if let Some(same) = known.iter().find(|one| one.name == name && one.text == text) {
        return Some(Arc::clone(same));
    }
    match Policy::parse(text, Kind::Identity) {
        Ok(policy) => Some(Arc::new(Attached { name: name.to_owned(), text: text.to_owned(), policy })),
        Err(error) => {
            tracing::warn!(iam.policy = name, %error, "a stored policy cannot be read and grants nothing");
            None
        }
    }
}

fn trust(role: &RoleView) -> Option<Arc<Policy>> {
    match Policy::parse(&role.assume_role_policy_document, Kind::Resource) {
        Ok(policy) => Some(Arc::new(policy)),
        Err(error) => {
            tracing::warn!(iam.role = role.arn, %error, "a trust policy cannot be read and trusts nobody");
            None
        }
    }
}
