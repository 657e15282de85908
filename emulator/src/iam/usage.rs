//! What roles and users were granted and never used, and what they were refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::{Identities, Identity};
use super::policy::Effect;

/// Refusals told apart per identity: enough to see what is missing, bounded whatever a function does.
const REFUSALS_MAX: usize = 200;

/// `GET /_emulator/iam/report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// False with `--iam off`: then nothing below was counted.
    pub enforced: bool,
    /// Roles, then users, in the order of their ARNs.
    pub identities: Vec<IdentityReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityReport {
    pub arn: String,
    /// Of an identity that does not exist (any more) everything is denied.
    pub exists: bool,
    pub used: Vec<Grant>,
    pub never_used: Vec<Grant>,
    pub denied: Vec<Refusal>,
}

/// One action as a statement grants it, or all but those that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    pub action: String,
    pub resources: Vec<String>,
    pub policy: String,
}

/// One call that was denied, however often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub action: String,
    pub resource: String,
    pub reason: String,
    pub count: u64,
    pub last_ms: i64,
}

/// Refusals by identity, and by action and resource.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, BTreeMap<(String, String), Refusal>>);

impl Refusals {
    pub(super) fn note(&mut self, arn: &str, refusal: Refusal) {
        let of_identity = self.0.entry(arn.to_owned()).or_default();
        let key = (refusal.action.clone(), refusal.resource.clone());
        if of_identity.len() >= REFUSALS_MAX && !of_identity.contains_key(&key) {
            return;
        }
        let known = of_identity.entry(key).or_insert(Refusal { count: 0, ..refusal.clone() });
        known.count += 1;
        known.last_ms = refusal.last_ms;
        known.reason = refusal.reason;
    }

    pub(super) fn report(&self, enforced: bool, identities: &Identities) -> Report {
        let mut all: BTreeMap<String, IdentityReport> =
            identities.all().map(|identity| (identity.arn.clone(), granted(identity))).collect();
        for (arn, refusals) in &self.0 {
            let report = all
                .entry(arn.clone())
                .or_insert_with(|| IdentityReport { arn: arn.clone(), ..IdentityReport::default() });
            report.denied = refusals.values().cloned().collect();
        }
        Report { enforced, identities: all.into_values().collect() }
    }
}

fn granted(identity: &Identity) -> IdentityReport {
    let mut report = IdentityReport { arn: identity.arn.clone(), exists: true, ..IdentityReport::default() };
    for attached in &identity.policies {
        for statement in attached.policy.statements.iter().filter(|one| one.effect == Effect::Allow) {
            for granted in statement.actions.granted() {
                let grant = Grant {
                    action: granted.pattern.clone(),
                    resources: statement.resources.shown(),
                    policy: attached.name.clone(),
                };
                if granted.is_used() { report.used.push(grant) } else { report.never_used.push(grant) }
            }
        }
    }
    report.used.sort();
    report.never_used.sort();
    report
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.enforced {
            writeln!(f, "policies are not enforced (--iam off): nothing was counted")?;
        }
        for identity in &self.identities {
            let gone = if identity.exists { "" } else { " (does not exist)" };
            writeln!(f, "{}{gone}", identity.arn)?;
            for grant in &identity.never_used {
                writeln!(f, "  never used  {} on {}", grant.action, grant.resources.join(", "))?;
            }
            for refusal in &identity.denied {
                let Refusal { action, resource, reason, count, .. } = refusal;
                writeln!(f, "  denied      {action} on {resource}: {reason} ({count} times)")?;
            }
            if identity.never_used.is_empty() && identity.denied.is_empty() {
                writeln!(f, "  every granted action was used, and no call was denied")?;
            }
        }
        Ok(())
    }
}
