//! The faults in force, as FIS would publish them to the extension.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What happens to an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Delay { delay_ms: i64 },
    Error { prevent_execution: bool },
    HttpResponse { prevent_execution: bool, status_code: u16, content_type: String },
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
    /// Only this version; None for all.
    pub qualifier: Option<String>,
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

    /// The faults that apply now, earliest first. Of two with the same action "only the one with the earliest start
    /// applies".
    #[must_use]
    pub fn active(&self, function: &str, version: &str, now_ms: i64) -> Vec<Fault> {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let table = self.0.by_function.read().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<Fault> = Vec::new();
        for fault in table.get(function).into_iter().flatten() {
            let now = fault.starts_ms <= now_ms && now_ms < fault.ends_ms;
            let here = fault.qualifier.as_deref().is_none_or(|qualifier| qualifier == version);
            if now && here && out.iter().all(|other| other.action_id != fault.action_id) {
                out.push(fault.clone());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let ids = |now_ms| -> Vec<String> {
            faults.active("f", "$LATEST", now_ms).into_iter().map(|fault| fault.id).collect()
        };
        assert_eq!(ids(50), ["early"]);
        faults.withdraw("early");
        assert_eq!(ids(50), ["late"]);
        assert_eq!(ids(5), Vec::<String>::new(), "not yet started");
        assert_eq!(ids(100), Vec::<String>::new(), "over");
        assert!(faults.active("other", "$LATEST", 50).is_empty());
    }
}
