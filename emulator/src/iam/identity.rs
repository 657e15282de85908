//! Roles and users with their policies read, rebuilt when IAM changes and asked at every request.

use std::collections::HashMap;
use std::sync::Arc;

use winterbaume_iam::IamStateView;
use winterbaume_iam::views::{AttachedPolicyView, InlinePolicyView, RoleView, UserView};

use super::context::Principal;
use super::credentials::{Signer, USER_KEY_PREFIX, account_of};
use super::policy::{Ask, Granted, Kind, Policy, Verdict};
use super::principal::Caller;

/// As AWS writes one; the engine's have lower-case letters as well.
pub(crate) fn unique_id(of_engine: &str) -> String {
    of_engine.to_ascii_uppercase()
}

/// All roles and users of the account.
#[derive(Debug, Default)]
pub(super) struct Identities {
    by_arn: HashMap<String, Arc<Identity>>,
    /// Of users, by access key.
    signers: HashMap<String, Arc<Signer>>,
    /// ARNs of groups and instance profiles, which nobody acts as.
    others: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Identity {
    pub(super) arn: String,
    pub(super) policies: Vec<Arc<Attached>>,
    boundary: Boundary,
    /// `AROA…`, `AIDA…`
    pub(super) unique_id: String,
    /// Condition keys of whoever acts as this identity.
    keys: Vec<(String, String)>,
    /// None of a user.
    pub(super) role: Option<AsRole>,
}

/// What only a role has.
#[derive(Debug)]
pub(super) struct AsRole {
    pub(super) trust: Option<Arc<Policy>>,
    /// What an AssumeRole may ask for at most.
    pub(super) session_seconds_max: i64,
}

/// One policy of an identity, inline or managed.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) name: String,
    text: String,
    pub(super) policy: Policy,
}

/// What an identity may do at most.
#[derive(Debug)]
enum Boundary {
    Unbounded,
    Policy(Arc<Attached>),
    /// Named, and not there or not readable: nothing.
    Missing,
}

impl Boundary {
    /// None where there is no boundary.
    fn ask(&self, ask: &Ask<'_>, caller: &Caller<'_>) -> Option<Verdict> {
        match self {
            Self::Unbounded => None,
            Self::Policy(boundary) => Some(boundary.policy.ask(ask, caller)),
            Self::Missing => Some(Verdict::Silent),
        }
    }
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

impl Identities {
    pub(super) fn get(&self, arn: &str) -> Option<&Arc<Identity>> {
        self.by_arn.get(arn)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Identity> {
        self.by_arn.values().map(Arc::as_ref)
    }

    /// The ARN with the path that it was made with: calls name roles, users, groups and instance profiles without.
    pub(super) fn with_path(&self, arn: &str) -> Option<&str> {
        let (kind, name) = arn.rsplit_once('/')?;
        let is_same = |known: &&String| {
            let rest = known.strip_prefix(kind);
            rest.is_some_and(|rest| rest.starts_with('/') && rest.rsplit('/').next() == Some(name))
        };
        self.by_arn.keys().chain(&self.others).find(is_same).map(String::as_str)
    }

    /// The user whose key that is. One that users have and nobody here has is of a user who is gone, perhaps since before a
    /// restart: it must not become the administrator's.
    pub(super) fn signer(&self, access_key_id: &str) -> Option<Arc<Signer>> {
        let is_gone = access_key_id.starts_with(USER_KEY_PREFIX);
        let known = self.signers.get(access_key_id).cloned();
        known.or_else(|| is_gone.then(|| Arc::new(Signer::nobody())))
    }
}

impl Identity {
    /// The evaluation of one account: an explicit denial anywhere wins; then an allowance by the resource to this very
    /// identity is enough; else its own policies must allow it, within its boundary.
    pub(super) fn decide(
        &self,
        ask: &Ask<'_>,
        caller: &Caller<'_>,
        resource_policy: Option<&Policy>,
    ) -> Result<(), Reason> {
        let ask = &Ask { context: ask.context.of(self.principal(caller.session_name())), ..*ask };
        let (mut own, mut unused) = (Verdict::Silent, Vec::new());
        for attached in &self.policies {
            // Read first: a shared cache line that is only read costs the threads nothing.
            let said = attached.policy.ask_for_grants(ask, caller, |granted| {
                if !granted.is_used() {
                    unused.push(granted);
                }
            });
            match said {
                Verdict::Denies => return Err(Reason::IdentityDenies),
                Verdict::Silent => {}
                allows => own = allows,
            }
        }
        let boundary = self.boundary.ask(ask, caller);
        if boundary == Some(Verdict::Denies) {
            return Err(Reason::BoundaryDenies);
        }
        let resource = resource_policy.map_or(Verdict::Silent, |policy| policy.ask(ask, caller));
        if resource == Verdict::Denies {
            return Err(Reason::ResourceDenies);
        }
        // "Resource-based policies that grant permissions to an IAM user ARN are not limited by an implicit deny in a
        // permissions boundary"; nor are those that name the session of a role. What they give to the role is.
        let is_beyond_boundary = match resource {
            Verdict::AllowsSession => true,
            Verdict::Allows => self.role.is_none(),
            _ => false,
        };
        if boundary.is_some_and(|boundary| boundary != Verdict::Allows) && !is_beyond_boundary {
            return Err(Reason::OutsideBoundary);
        }
        if own != Verdict::Allows && !resource.is_enough() {
            return Err(Reason::NotGranted);
        }
        // Only now: a grant of what something else denies was no use.
        unused.into_iter().for_each(Granted::note_use);
        Ok(())
    }

    pub(super) fn principal<'a>(&'a self, session_name: Option<&'a str>) -> Principal<'a> {
        Principal::Identity {
            keys: &self.keys,
            unique_id: &self.unique_id,
            session_name,
            is_bounded: !matches!(self.boundary, Boundary::Unbounded),
        }
    }

    /// Whether the trust policy lets the caller, who acts as the identity `own` if as any, take this role: by name, or
    /// through its account, where the caller's own policies must allow it as well.
    pub(super) fn trusts(&self, ask: &Ask<'_>, caller: &Caller<'_>, own: Option<&Self>) -> bool {
        let trust = self.role.as_ref().and_then(|role| role.trust.as_ref());
        let said = trust.map(|trust| said_to(trust, ask, caller, own));
        said.is_some_and(|said| said == Verdict::AllowsAccount || said.is_enough())
    }
}

/// What a policy says to the caller, who acts as the identity `own` if as any.
pub(super) fn said_to(
    policy: &Policy,
    ask: &Ask<'_>,
    caller: &Caller<'_>,
    own: Option<&Identity>,
) -> Verdict {
    let context = own.map_or(ask.context, |own| ask.context.of(own.principal(caller.session_name())));
    policy.ask(&Ask { context, ..*ask }, caller)
}

/// Reads all roles and users anew. A policy whose text is the same stays the same object, so that what was used of it is
/// kept.
pub(super) fn read(view: &IamStateView, before: &Identities) -> Identities {
    let reader = Reader { view, before };
    let roles = view.roles.values().map(|role| reader.role(role));
    let users = view.users.values().map(|user| reader.user(user));
    let by_arn = roles.chain(users).map(|identity| (identity.arn.clone(), Arc::new(identity))).collect();
    let groups = view.groups.values().map(|group| group.arn.clone());
    let profiles = view.instance_profiles.values().map(|profile| profile.arn.clone());
    Identities { by_arn, signers: reader.signers(), others: groups.chain(profiles).collect() }
}

struct Reader<'a> {
    view: &'a IamStateView,
    before: &'a Identities,
}

impl Reader<'_> {
    fn role(&self, role: &RoleView) -> Identity {
        let (inline, attached) = (role.inline_policies.iter(), role.attached_policies.iter());
        // "For assumed roles the request context returns the ARN of the role, not of the session."
        let facts = [("aws:principaltype", "AssumedRole")];
        Identity {
            policies: self.policies(&role.arn, inline, attached),
            boundary: self.boundary(role.permissions_boundary.as_deref()),
            keys: keys(&role.arn, &facts, &role.tags),
            role: Some(AsRole { trust: trust(role), session_seconds_max: role.max_session_duration.into() }),
            arn: role.arn.clone(),
            unique_id: unique_id(&role.role_id),
        }
    }

    /// With what its groups may do.
    fn user(&self, user: &UserView) -> Identity {
        let groups = || self.view.groups.values().filter(|group| group.members.contains(&user.name));
        let inline = user.inline_policies.iter().chain(groups().flat_map(|group| &group.inline_policies));
        let attached = groups().flat_map(|group| &group.attached_policies);
        let attached = user.attached_policies.iter().chain(attached);
        let facts = [("aws:principaltype", "User"), ("aws:username", user.name.as_str())];
        Identity {
            policies: self.policies(&user.arn, inline, attached),
            boundary: self.boundary(user.permissions_boundary.as_deref()),
            keys: keys(&user.arn, &facts, &user.tags),
            role: None,
            arn: user.arn.clone(),
            unique_id: unique_id(&user.user_id),
        }
    }

    fn policies<'a>(
        &'a self,
        arn: &str,
        inline: impl Iterator<Item = &'a InlinePolicyView>,
        attached: impl Iterator<Item = &'a AttachedPolicyView>,
    ) -> Vec<Arc<Attached>> {
        let inline = inline.map(|one| (one.policy_name.as_str(), one.policy_document.as_str()));
        let managed = attached.filter_map(|one| {
            let policy = self.view.policies.get(&one.policy_arn)?;
            Some((one.policy_arn.as_str(), default_document(policy)))
        });
        let known = self.before.get(arn).map(|identity| identity.policies.as_slice()).unwrap_or_default();
        inline.chain(managed).filter_map(|(name, text)| attach(name, text, known)).collect()
    }

    fn boundary(&self, arn: Option<&str>) -> Boundary {
        let Some(arn) = arn else { return Boundary::Unbounded };
        let policy = self.view.policies.get(arn);
        let policy = policy.and_then(|policy| attach(arn, default_document(policy), &[]));
        policy.map_or(Boundary::Missing, Boundary::Policy)
    }

    /// A key that was deleted, or is not active, is nobody's: it must not become the administrator's.
    fn signers(&self) -> HashMap<String, Arc<Signer>> {
        let nobody = Arc::new(Signer::nobody());
        let mut signers: HashMap<_, _> =
            self.before.signers.keys().map(|id| (id.clone(), Arc::clone(&nobody))).collect();
        for key in self.view.access_keys.values() {
            let Some(user) = self.view.users.get(&key.user_name) else { continue };
            let is_active = key.status == "Active";
            let signer = if is_active { Arc::new(Signer::user(&user.arn)) } else { Arc::clone(&nobody) };
            signers.insert(key.access_key_id.clone(), signer);
        }
        signers
    }
}

fn keys(arn: &str, facts: &[(&str, &str)], tags: &HashMap<String, String>) -> Vec<(String, String)> {
    let of_all = [("aws:principalarn", arn), ("aws:principalaccount", account_of(arn))];
    let facts = of_all.iter().chain(facts).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let tags = tags.iter();
    let tags =
        tags.map(|(key, value)| (format!("aws:principaltag/{}", key.to_ascii_lowercase()), value.clone()));
    facts.chain(tags).collect()
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
