//! Who may do what: credentials of functions, policies, and the decision on every call that a function makes.
//!
//! The IAM API is an engine of others ([`service`]); what it stores is read here whenever it changes. A call is judged
//! when it was signed with credentials that Lambda gave to a function, STS to whoever took a role, or IAM to a user. Who
//! signs with any other key is the account's administrator, whom only the policies of resources can deny; who does not sign
//! is refused.

mod condition;
mod context;
mod credentials;
mod document;
mod identity;
mod managed;
mod needs;
mod pattern;
mod policy;
mod principal;
mod refusal;
mod service;
mod sts;
mod usage;
mod variable;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use context::Context;
pub use credentials::{Credentials, Signer, Validity};
pub(crate) use credentials::{KEY_ALPHABET, user_key_id};
pub use identity::Reason;
pub(crate) use identity::unique_id;
pub(crate) use managed::ARN_PREFIX as AWS_POLICIES;
pub(crate) use needs::{
    deleted_objects, form_pairs, form_value, has_encoded_name, is_form, is_form_of_browser, is_known_to_s3,
    is_read_by_s3,
};
pub use pattern::{Case, matches};
pub use policy::{Ask, Kind, Malformed, Policy, Verdict};
pub use principal::Caller;
pub use service::IamApi;
pub use sts::StsApi;
pub use usage::{Grant, IdentityReport, Refusal, Report};

use crate::settings::Random;
use crate::wire::{AwsRequest, AwsResponse};
use credentials::Sessions;
use identity::Identities;
use needs::Need;
use usage::Refusals;

/// What STS is asked by who has no key yet.
const WITHOUT_SIGNATURE: [&str; 2] = ["AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"];

/// The decisions of one account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Iam {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    enforced: AtomicBool,
    sessions: Sessions,
    identities: RwLock<Arc<Identities>>,
    refusals: Mutex<Refusals>,
    resources: ResourcePolicies,
}

/// Services whose resources have policies of their own, by the service's name in ARNs.
#[derive(Default)]
struct ResourcePolicies(RwLock<HashMap<&'static str, Arc<dyn PolicySource>>>);

impl std::fmt::Debug for ResourcePolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResourcePolicies")
    }
}

/// A service that knows the policies of its resources.
pub trait PolicySource: Send + Sync + 'static {
    /// None when there is no such resource, or it has no policy.
    fn policy(&self, arn: &str) -> Option<Arc<Policy>>;

    /// Whether no resource has a policy: then nobody needs to be asked about.
    fn is_empty(&self) -> bool {
        false
    }

    /// ARNs of the queues whose dead letters go to this one.
    fn dead_letter_sources(&self, _arn: &str) -> Vec<String> {
        Vec::new()
    }
}

/// A call that the policies do not allow, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub principal: String,
    pub action: String,
    pub resource: String,
    pub reason: Reason,
}

impl std::error::Error for Denied {}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { principal, action, resource, reason } = self;
        write!(f, "User: {principal} is not authorized to perform: {action} on resource: {resource} ")?;
        match reason {
            Reason::NotGranted => write!(f, "because no identity-based policy allows the {action} action"),
            Reason::OutsideBoundary => {
                write!(f, "because no permissions boundary allows the {action} action")
            }
            Reason::IdentityDenies => f.write_str("with an explicit deny in an identity-based policy"),
            Reason::ResourceDenies => f.write_str("with an explicit deny in a resource-based policy"),
            Reason::BoundaryDenies => f.write_str("with an explicit deny in a permissions boundary"),
        }
    }
}

impl Iam {
    /// With `enforced` false every role may do everything, and nothing is counted.
    #[must_use]
    pub fn new(enforced: bool) -> Self {
        let inner = Inner {
            enforced: AtomicBool::new(enforced),
            sessions: Sessions::default(),
            identities: RwLock::default(),
            refusals: Mutex::default(),
            resources: ResourcePolicies::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// False with `--iam off`.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.inner.enforced.load(Ordering::Relaxed)
    }

    /// From now on, or no longer. Calls that are made again were judged when they were made.
    pub fn enforce(&self, enforced: bool) {
        self.inner.enforced.store(enforced, Ordering::Relaxed);
    }

    /// Credentials for a function of this name that runs as this role.
    #[must_use]
    pub fn issue(&self, random: &Random, role_arn: &str, function: &str) -> Credentials {
        self.inner.sessions.issue(random, Signer::session(role_arn, function))
    }

    /// Who signs with this key. None: the account's administrator.
    #[must_use]
    pub fn signer(&self, access_key_id: &str) -> Option<Arc<Signer>> {
        let identities = self.identities();
        let Some(session) = self.inner.sessions.find(access_key_id) else {
            return identities.signer(access_key_id);
        };
        let is_theirs = |id: &String| {
            identities.get(&session.identity_arn).is_some_and(|identity| identity.unique_id == *id)
        };
        // Else the next of the name would lend it their rights.
        let is_over = session.identity_id.as_ref().is_some_and(|id| !is_theirs(id));
        Some(if is_over { Arc::new(Signer::nobody()) } else { session })
    }

    /// `aws:userid`: the unique id, and of a session its name. None when the identity does not exist.
    #[must_use]
    pub fn user_id(&self, signer: &Signer) -> Option<String> {
        let identities = self.identities();
        let identity = identities.get(&signer.identity_arn)?;
        Some(identity.principal(signer.caller().session_name()).user_id().into_owned())
    }

    /// Whether a policy of this account may name that principal: a role or a user of its own must be there. Of other
    /// accounts, and of sessions, nobody here knows who is.
    pub(crate) fn may_be_named(&self, account_id: &str, principal: &str) -> bool {
        let own = format!("arn:aws:iam::{account_id}:");
        let Some(name) = principal.strip_prefix(&own) else { return true };
        let is_identity = name.starts_with("role/") || name.starts_with("user/");
        !is_identity || self.identities().get(principal).is_some()
    }

    /// Where to ask for the policies of a service's resources.
    pub fn set_policy_source(&self, service: &'static str, source: Arc<dyn PolicySource>) {
        let mut sources = self.inner.resources.0.write().unwrap_or_else(PoisonError::into_inner);
        sources.insert(service, source);
    }

    fn replace_identities(&self, read: impl FnOnce(&Identities) -> Identities) {
        let mut identities = self.inner.identities.write().unwrap_or_else(PoisonError::into_inner);
        *identities = Arc::new(read(&identities));
    }

    fn identities(&self) -> Arc<Identities> {
        Arc::clone(&self.inner.identities.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the signer may do that.
    ///
    /// # Errors
    /// What AWS would say, when it may not.
    pub fn check(&self, signer: &Signer, ask: &Ask<'_>) -> Result<(), Denied> {
        if !self.is_enforced() {
            return Ok(());
        }
        let resource_policy = self.resource_policy(ask.resource);
        let identities = self.identities();
        let is_valid = signer.is_valid(ask.context.now_ms);
        let decided = match identities.get(&signer.identity_arn).filter(|_| is_valid) {
            Some(identity) => identity.decide(ask, &signer.caller(), resource_policy.as_deref()),
            None => Err(Reason::NotGranted),
        };
        decided.map_err(|reason| self.refuse(signer, ask, reason))
    }

    /// Whether the policy of a resource denies it to the signer; to the account's administrator, if there is none.
    #[must_use]
    pub fn is_denied_by(
        &self,
        policy: &Policy,
        signer: Option<&Signer>,
        account_id: &str,
        ask: &Ask<'_>,
    ) -> bool {
        let said = match signer {
            Some(signer) => {
                let identities = self.identities();
                let own = identities.get(&signer.identity_arn).map(Arc::as_ref);
                identity::said_to(policy, ask, &signer.caller(), own)
            }
            None => policy.ask(ask, &Caller::Root { account_id }),
        };
        said == Verdict::Denies
    }

    /// What a service does in the name of a function that runs as this role: its mapping, its log, its destinations.
    ///
    /// # Errors
    /// As of [`Iam::check`].
    pub fn check_role(&self, role_arn: &str, session: &str, ask: &Ask<'_>) -> Result<(), Denied> {
        if !self.is_enforced() {
            return Ok(());
        }
        self.check(&Signer::session(role_arn, session), ask)
    }

    /// Whether the trust policy of the role lets a service take it. Without enforcement every role trusts everyone.
    #[must_use]
    pub fn may_assume(&self, role_arn: &str, service: &str, context: Context<'_>) -> bool {
        if !self.is_enforced() {
            return true;
        }
        let ask = Ask { action: "sts:AssumeRole", resource: role_arn, context };
        self.identities().get(role_arn).is_some_and(|role| role.trusts(&ask, &Caller::Service(service), None))
    }

    /// Judges a request to a service. None: it may go on.
    #[must_use]
    pub fn judge(&self, request: &AwsRequest, account_id: &str, now_ms: i64) -> Option<AwsResponse> {
        if !self.is_enforced() {
            return None;
        }
        if request.access_key_id.is_empty() {
            return self.judge_unsigned(request, account_id, now_ms);
        }
        let Some(signer) = self.signer(&request.access_key_id) else {
            return self.judge_administrator(request, account_id, now_ms);
        };
        if !signer.is_valid(now_ms) {
            return Some(refusal::worthless(request, signer.validity));
        }
        let needs = self.needs(request, account_id);
        let denied = needs.iter().find_map(|need| need.put(now_ms, |ask| self.check(&signer, ask)).err())?;
        Some(refusal::response(request, &denied))
    }

    /// S3 tells only who may list a bucket that an object is not in it; to others it refuses one that is not there. None: the call
    /// read no object, or the caller may know.
    #[must_use]
    pub fn hide_absence(&self, request: &AwsRequest, now_ms: i64) -> Option<AwsResponse> {
        let need = needs::to_know_absence(request).filter(|_| self.is_enforced())?;
        if request.access_key_id.is_empty() {
            return (!self.may_everybody(&need, now_ms)).then(|| refusal::unsigned(request));
        }
        let signer = self.signer(&request.access_key_id)?;
        let denied = need.put(now_ms, |ask| self.check(&signer, ask)).err()?;
        Some(refusal::response(request, &denied))
    }

    /// With what no call names: the paths in the ARNs of what IAM has, and where dead letters came from.
    fn needs(&self, request: &AwsRequest, account_id: &str) -> Vec<Need> {
        let mut needs = needs::of(request, account_id);
        match request.service.as_str() {
            "iam" => {
                let identities = self.identities();
                for need in &mut needs {
                    if let Some(arn) = identities.with_path(&need.resource) {
                        need.resource = arn.to_owned();
                    }
                }
            }
            "sqs" => {
                if let Some(dead_letters) = needs::moved_back(&needs)
                    && let Some(queues) = self.source("sqs")
                {
                    needs.extend(queues.dead_letter_sources(dead_letters).into_iter().map(needs::sending_to));
                }
            }
            _ => {}
        }
        needs
    }

    /// Without a signature AWS lets through what the policy of a bucket or a queue allows to everybody, and those who prove
    /// to STS in another way who they are.
    fn judge_unsigned(&self, request: &AwsRequest, account_id: &str, now_ms: i64) -> Option<AwsResponse> {
        let is_open = match request.service.as_str() {
            // Nothing tells the service: that is what the caller will hear.
            "" => true,
            "sts" => {
                let action = needs::form_value(request, "Action");
                action.is_some_and(|action| WITHOUT_SIGNATURE.contains(&action.as_str()))
            }
            // Its signature is in its body: S3 says that it is not read here.
            "s3" if needs::is_form_of_browser(request) => true,
            "s3" | "sqs" => {
                self.needs(request, account_id).iter().all(|need| self.may_everybody(need, now_ms))
            }
            _ => false,
        };
        (!is_open).then(|| refusal::unsigned(request))
    }

    /// Whether the resource's policy allows it to who did not sign.
    fn may_everybody(&self, need: &Need, now_ms: i64) -> bool {
        need.put(now_ms, |ask| {
            let policy = self.resource_policy(ask.resource);
            policy.is_some_and(|policy| policy.allows(ask, &Caller::Anonymous))
        })
    }

    /// The account's administrator may do everything but what the policy of a table or bucket denies to the account's root.
    /// Queues see to theirs themselves.
    fn judge_administrator(
        &self,
        request: &AwsRequest,
        account_id: &str,
        now_ms: i64,
    ) -> Option<AwsResponse> {
        let asked = match request.service.as_str() {
            // For the packages of functions.
            "lambda" => "s3",
            service @ ("dynamodb" | "s3") => service,
            _ => return None,
        };
        if self.source(asked).is_none_or(|source| source.is_empty()) {
            return None;
        }
        let is_asked = |need: &Need| need.action.split(':').next() == Some(asked);
        let denied = needs::of(request, account_id).into_iter().filter(is_asked).find(|need| {
            need.put(now_ms, |ask| {
                let policy = self.resource_policy(ask.resource);
                policy.is_some_and(|policy| self.is_denied_by(&policy, None, account_id, ask))
            })
        })?;
        // Else nobody could ever take the denial back: AWS keeps a policy from locking out who sets it, and lets the
        // account's root read, replace and delete any bucket's.
        if denied.action.ends_with("ResourcePolicy") || denied.action.ends_with("BucketPolicy") {
            return None;
        }
        let denied = Denied {
            principal: format!("arn:aws:iam::{account_id}:root"),
            action: denied.action.into_owned(),
            resource: denied.resource,
            reason: Reason::ResourceDenies,
        };
        Some(refusal::response(request, &denied))
    }

    fn source(&self, service: &str) -> Option<Arc<dyn PolicySource>> {
        let sources = self.inner.resources.0.read().unwrap_or_else(PoisonError::into_inner);
        sources.get(service).map(Arc::clone)
    }

    /// Of a role it is the one that says who may take it.
    fn resource_policy(&self, arn: &str) -> Option<Arc<Policy>> {
        match arn.split(':').nth(2)? {
            "iam" => self.identities().get(arn)?.role.as_ref()?.trust.clone(),
            service => self.source(service)?.policy(arn),
        }
    }

    fn refuse(&self, signer: &Signer, ask: &Ask<'_>, reason: Reason) -> Denied {
        let denied = Denied {
            principal: signer.arn.clone(),
            action: ask.action.to_owned(),
            resource: ask.resource.to_owned(),
            reason,
        };
        let refusal = Refusal {
            action: denied.action.clone(),
            resource: denied.resource.clone(),
            reason: reason_words(reason).to_owned(),
            count: 1,
            last_ms: ask.context.now_ms,
        };
        let mut refusals = self.inner.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.note(&signer.identity_arn, refusal);
        drop(refusals);
        tracing::debug!(%denied, "a call was denied");
        denied
    }

    /// Per role and user: what it was granted and never used, and what it was refused.
    #[must_use]
    pub fn report(&self) -> Report {
        let refusals = self.inner.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.report(self.is_enforced(), &self.identities())
    }
}

const fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::NotGranted => "not granted",
        Reason::IdentityDenies => "denied by a policy of its own",
        Reason::ResourceDenies => "denied by the policy of the resource",
        Reason::BoundaryDenies => "denied by the permissions boundary",
        Reason::OutsideBoundary => "outside the permissions boundary",
    }
}

#[cfg(test)]
pub(crate) mod tests;
