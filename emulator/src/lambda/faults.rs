//! The faults in force, as FIS would publish them to the extension.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::store::LATEST;

/// What happens to an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Delay { delay_ms: i64 },
    Error { prevent_execution: bool },
    HttpResponse { prevent_execution: bool, status_code: u16, content_type: String },
}

impl FaultKind {
    const fn decides_answer(&self) -> bool {
        matches!(self, Self::Error { .. } | Self::HttpResponse { .. })
    }
}

/// How an invocation came to a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invoked<'a> {
    /// Version or alias in the ARN that was invoked.
    pub(crate) qualifier: Option<&'a str>,
    /// What that meant: `$LATEST` or a number.
    pub(crate) version: &'a str,
}

/// One action of one experiment on one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Unique: experiment and action.
    pub id: String,
    pub action_id: &'static str,
    pub kind: FaultKind,
    /// 1..=100.
    pub percentage: u8,
    pub starts_ms: i64,
    pub ends_ms: i64,
    /// Only invocations of this version, or by this alias; None for all.
    pub qualifier: Option<String>,
}

impl Fault {
    /// `$LATEST` means the function without a qualifier as well, and not an alias that points to it.
    fn meets(&self, invoked: Invoked<'_>) -> bool {
        match self.qualifier.as_deref() {
            None => true,
            Some(LATEST) => invoked.qualifier.is_none_or(|qualifier| qualifier == LATEST),
            Some(wanted) => invoked.qualifier == Some(wanted) || invoked.version == wanted,
        }
    }

    /// Two delays are identical, and only one of two answers can be given.
    const fn conflicts_with(&self, other: &Self) -> bool {
        self.kind.decides_answer() == other.kind.decides_answer()
    }
}

/// Those of the published faults, earliest first, that apply to an invocation: of identical or conflicting ones only the
/// earliest, whether its percentage falls on this invocation or not.
pub(crate) fn applying<'a>(published: &'a [Fault], invoked: Invoked<'_>) -> Vec<&'a Fault> {
    let mut out: Vec<&Fault> = Vec::new();
    for fault in published.iter().filter(|fault| fault.meets(invoked)) {
        if !out.iter().any(|earlier| earlier.conflicts_with(fault)) {
            out.push(fault);
        }
    }
    out
}

/// A handle to the table. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Spares every faultless invocation the lock.
    count: AtomicUsize,
    by_function: RwLock<HashMap<String, Vec<Fault>>>,
}

impl Faults {
    pub fn inject(&self, function: &str, fault: Fault) {
        let mut table = self.0.by_function.write().unwrap_or_else(PoisonError::into_inner);
        let faults = table.entry(function.to_owned()).or_default();
        faults.push(fault);
        faults.sort_by_key(|fault| fault.starts_ms);
        self.0.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back what this id injected, everywhere.
    pub fn withdraw(&self, id: &str) {
        let mut table = self.0.by_function.write().unwrap_or_else(PoisonError::into_inner);
        for faults in table.values_mut() {
            let before = faults.len();
            faults.retain(|fault| fault.id != id);
            self.0.count.fetch_sub(before - faults.len(), Ordering::SeqCst);
        }
        table.retain(|_, faults| !faults.is_empty());
    }

    /// What an extension that polls now finds for its function, earliest first.
    #[must_use]
    pub fn published(&self, function: &str, now_ms: i64) -> Vec<Fault> {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let table = self.0.by_function.read().unwrap_or_else(PoisonError::into_inner);
        let is_now = |fault: &&Fault| fault.starts_ms <= now_ms && now_ms < fault.ends_ms;
        table.get(function).into_iter().flatten().filter(is_now).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Invoked<'_> = Invoked { qualifier: None, version: LATEST };

    fn ids<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> Vec<&'a str> {
        faults.into_iter().map(|fault| fault.id.as_str()).collect()
    }

    fn fault(id: &str, starts_ms: i64, percentage: u8) -> Fault {
        Fault {
            id: id.into(),
            action_id: "aws:lambda:invocation-error",
            kind: FaultKind::Error { prevent_execution: true },
            percentage,
            starts_ms,
            ends_ms: 100,
            qualifier: None,
        }
    }

    #[test]
    fn of_two_identical_actions_the_earlier_applies_until_it_is_withdrawn() {
        let faults = Faults::default();
        faults.inject("f", fault("late", 10, 20));
        faults.inject("f", fault("early", 0, 10));
        assert_eq!(ids(applying(&faults.published("f", 50), PLAIN)), ["early"]);
        faults.withdraw("early");
        assert_eq!(ids(applying(&faults.published("f", 50), PLAIN)), ["late"]);
        assert!(faults.published("f", 5).is_empty(), "not yet started");
        assert!(faults.published("f", 100).is_empty(), "over");
        assert!(faults.published("other", 50).is_empty());
    }

    #[test]
    fn of_two_answers_only_the_earlier_is_in_play_however_seldom_it_falls() {
        let response = FaultKind::HttpResponse {
            prevent_execution: true,
            status_code: 503,
            content_type: "application/json".into(),
        };
        let late = Fault { kind: response, ..fault("response", 10, 100) };
        let delay = Fault { kind: FaultKind::Delay { delay_ms: 5 }, ..fault("delay", 20, 100) };
        let published = [fault("error", 0, 1), late, delay];
        assert_eq!(ids(applying(&published, PLAIN)), ["error", "delay"]);
    }

    #[test]
    fn a_qualifier_is_a_version_or_an_alias() {
        let meets = |wanted: &str, qualifier, version| {
            let fault = Fault { qualifier: Some(wanted.into()), ..fault("f", 0, 100) };
            !applying(&[fault], Invoked { qualifier, version }).is_empty()
        };
        assert!(meets("live", Some("live"), "1"));
        assert!(!meets("live", Some("1"), "1"), "the alias points there, and was not invoked");
        assert!(!meets("live", None, LATEST));
        assert!(meets("1", Some("1"), "1") && meets("1", Some("live"), "1"));
        assert!(!meets("1", Some("2"), "2"));
        assert!(meets(LATEST, None, LATEST) && meets(LATEST, Some(LATEST), LATEST));
        assert!(!meets(LATEST, Some("live"), LATEST));
    }
}
