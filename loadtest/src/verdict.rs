//! What a run without faults must show: every acknowledged task once, ended as expected, with the right result, to its owner
//! alone, and to whoever reads as it is.

use std::collections::HashMap;

use serde::Serialize;

use crate::ledger::LedgerEntry;
use crate::outcome::{LoadOutcome, Validity};
use crate::threshold::{Judged, Threshold};

/// What is wrong with one entry of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// Acknowledged, and never seen to end.
    Unfinished,
    /// It ended as it must not, with a wrong result, or one key made two tasks.
    Unexpected,
    /// Two keys were given the same task.
    SharedTask,
    /// Its key with another body, or a body beyond the limit, was accepted.
    AcceptedAbuse,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrongTask {
    pub sequence: u64,
    pub task_id: String,
    pub wrong: Wrong,
}

/// The exit codes are part of the tool's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Ok = 0,
    Threshold = 1,
    Usage = 2,
    /// Tasks lost or wrong, accepted although they must be refused, shown to another owner, or shown as they are not.
    Tasks = 3,
    /// The figures mean nothing, or there are none.
    Invalid = 4,
}

#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub exit: Exit,
    pub wrong: Vec<WrongTask>,
    /// Pushes that reached a session of another owner than the task's.
    pub pushes_misrouted: u64,
    /// Reads that showed what they must not.
    pub reads_wrong: u64,
    pub thresholds: Vec<Judged>,
    pub invalid: Option<String>,
}

pub fn judge(outcome: &LoadOutcome, thresholds: &[Threshold]) -> Verdict {
    let wrong = wrong_tasks(&outcome.ledger);
    let pushes_misrouted = outcome.connection_stats.pushes_misrouted;
    let reads_wrong = outcome.total.reads.wrong;
    let (tokens_denied, reads_unjudged) = (outcome.tokens_denied(), outcome.total.reads.unjudged);
    let thresholds: Vec<_> = thresholds.iter().map(|threshold| threshold.judge(outcome)).collect();
    let invalid = match &outcome.validity {
        Validity::Invalid { reason } => Some(reason.clone()),
        Validity::Valid if tokens_denied > 0 => Some(format!(
            "the token was not taken any more: {tokens_denied} requests were answered 401 or 403"
        )),
        Validity::Valid if outcome.counts.acknowledged == 0 => {
            Some(format!("not one of {} submissions was accepted", outcome.counts.attempted))
        }
        Validity::Valid if reads_unjudged > 0 => {
            Some(format!("{reads_unjudged} pages showed more tasks without an answer than can be judged"))
        }
        Validity::Valid => None,
    };
    // Who may not read sees no task end.
    let is_seen_wrong = |task: &WrongTask| tokens_denied == 0 || task.wrong != Wrong::Unfinished;
    // A lost task is lost even when the figures are worth nothing.
    let exit = if wrong.iter().any(is_seen_wrong) || pushes_misrouted + reads_wrong > 0 {
        Exit::Tasks
    } else if invalid.is_some() {
        Exit::Invalid
    } else if thresholds.iter().any(|judged| !judged.met) {
        Exit::Threshold
    } else {
        Exit::Ok
    };
    Verdict { exit, wrong, pushes_misrouted, reads_wrong, thresholds, invalid }
}

pub fn wrong_tasks(ledger: &[LedgerEntry]) -> Vec<WrongTask> {
    let mut first_by_task: HashMap<&str, u64> = HashMap::new();
    let mut wrong = Vec::new();
    for entry in ledger {
        let Some(task_id) = entry.task_id() else { continue };
        let is_shared = first_by_task.insert(task_id, entry.sequence).is_some();
        let of_task = if is_shared {
            Some(Wrong::SharedTask)
        } else if entry.is_unfinished() {
            Some(Wrong::Unfinished)
        } else if entry.is_unexpected() {
            Some(Wrong::Unexpected)
        } else {
            None
        };
        // Whatever became of the task itself.
        let of_abuse = entry.has_accepted_abuse().then_some(Wrong::AcceptedAbuse);
        let named = |found| WrongTask { sequence: entry.sequence, task_id: task_id.to_owned(), wrong: found };
        wrong.extend(of_task.into_iter().chain(of_abuse).map(named));
    }
    wrong
}
