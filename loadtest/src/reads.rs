//! What reads are judged by: GET /tasks and GET /tasks/{id} while the run is under way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::outcome::{ReadDefect, WrongRead};
use crate::wire::{Digest, Seen, is_denial};

/// Named in the outcome; all are counted.
const WRONG_NAMED_MAX: usize = 100;
/// Tasks that pages show before an answer has named them. Few POSTs are in flight at once, and fewer are never answered.
pub(crate) const DOUBTFUL_MAX: usize = 4_096;
/// A task whose end was seen is in the table, and pages show it from then on. DynamoDB's indexes trail their table by a fraction of a
/// second, "under normal conditions".
pub(crate) const SHOWN_WITHIN: Duration = Duration::from_secs(5);

const STATUS_NOT_FOUND: u16 = 404;
const STATUS_SERVER_ERROR: u16 = 500;

/// How a read got nothing to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFailure {
    Refused { status: u16 },
    Unanswered,
}

impl ReadFailure {
    /// Worth another try: a client of this API sends such a read again.
    pub(crate) fn may_pass(self) -> bool {
        match self {
            Self::Refused { status } => status >= STATUS_SERVER_ERROR,
            Self::Unanswered => true,
        }
    }

    pub(crate) fn is_denial(self) -> bool {
        matches!(self, Self::Refused { status } if is_denial(status))
    }

    pub(crate) fn is_not_found(self) -> bool {
        self == Self::Refused { status: STATUS_NOT_FOUND }
    }
}

/// What was known when a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) at_us: u64,
    pub(crate) phase: usize,
    /// The highest version that a read had shown which ended before this one began.
    pub(crate) version_shown: u64,
    /// It was submitted in another phase. Where the table failed then, the record is there once a worker has come to it.
    pub(crate) may_be_missing: bool,
    /// Besides those that are issued at their rate. Its failures are not counted, and so it must not be counted as right.
    pub(crate) is_aside: bool,
}

/// A task that no answer had named when a page showed it, on however many pages it lay.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Doubtful {
    pub(crate) owner: usize,
    pub(crate) phase: usize,
    pub(crate) task_id: String,
}

#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) doubtful: BTreeSet<Doubtful>,
    pub(crate) wrong: Vec<WrongRead>,
}

impl Reads {
    pub(crate) fn name(&mut self, owner: &str, task_id: &str, defect: ReadDefect) {
        if self.wrong.len() < WRONG_NAMED_MAX {
            let (owner, task_id) = (owner.to_owned(), task_id.to_owned());
            self.wrong.push(WrongRead { owner, task_id, defect });
        }
    }

    /// `false` when there are too many to keep. `is_settled` says of which there is no doubt any more: their room is needed when
    /// there is no other.
    pub(crate) fn doubt(&mut self, task: Doubtful, is_settled: impl Fn(&Doubtful) -> bool) -> bool {
        if self.doubtful.contains(&task) {
            return true;
        }
        if self.doubtful.len() >= DOUBTFUL_MAX {
            self.doubtful.retain(|kept| !is_settled(kept));
        }
        self.doubtful.len() < DOUBTFUL_MAX && self.doubtful.insert(task)
    }
}

/// By owner, those of these tasks that `is_named` knows nothing of.
pub(crate) fn unnamed(
    doubtful: &BTreeSet<Doubtful>,
    is_named: impl Fn(&str) -> bool,
) -> HashMap<usize, HashSet<&str>> {
    let mut by_owner: HashMap<usize, HashSet<&str>> = HashMap::new();
    for task in doubtful.iter().filter(|task| !is_named(&task.task_id)) {
        by_owner.entry(task.owner).or_default().insert(&task.task_id);
    }
    by_owner
}

/// Of a task that succeeded: whether the result is not the client's own.
pub(crate) fn is_other_result(digest: Option<Digest>, seen: Seen) -> bool {
    seen.is_succeeded() && digest.is_some() && seen.sha256 != digest
}
