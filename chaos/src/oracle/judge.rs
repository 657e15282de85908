//! Joins ledger, table and dead letters by task, in one pass and bounded memory, and judges one task at a time.

use std::collections::{BTreeMap, HashSet};

use loadtest::{Outcome, TaskStatus};

use super::fact::{Answer, Body, EntryFact, LetterFact, RecordFact};
use super::index::{LedgerIndex, LetterIndex, TableIndex};
use super::key::TaskKey;
use super::rules::{Ending, Receives, Rules};
use super::shelf::{Shelf, ShelfError};
use super::sort::SpillError;
use super::story::{Candidate, story};
use crate::oracle::history::illegal_step;
use crate::oracle::manners::{are_too_eager, are_too_many_missed, are_too_many_unseen};
use crate::oracle::{Anomaly, AnomalyKind, Counterexample, Totals};

/// Anomalies of one kind that are named; all are counted.
pub const NAMED_MAX: u64 = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    #[error("the evidence could not be sorted")]
    Spill(#[from] SpillError),
    #[error("the evidence could not be read again")]
    Shelf(#[from] ShelfError),
}

/// Everything that is known at the moment of judgement.
#[derive(Debug)]
pub struct Evidence {
    pub ledger: LedgerIndex,
    pub table: TableIndex,
    pub dead_letters: LetterIndex,
    /// Messages that are still in the tasks queue: visible, in flight or delayed.
    pub remaining: u64,
    pub at_ms: u64,
}

pub fn judge(evidence: Evidence, rules: &Rules, shelf: &impl Shelf) -> Result<Findings, OracleError> {
    let mut judge = Judge {
        rules,
        shelf,
        owners: evidence.ledger.owners,
        remaining: evidence.remaining,
        at_ms: evidence.at_ms,
        letters: 0,
        findings: Findings::default(),
        worst: None,
        eager: Held::default(),
        missed: Held::default(),
        unseen: Held::default(),
        calm_letters: 0,
    };
    judge.findings.totals = evidence.ledger.totals;
    let (mut ledger, mut table, mut letters) = (
        evidence.ledger.facts.sorted()?,
        evidence.table.facts.sorted()?,
        evidence.dead_letters.facts.sorted()?,
    );
    let mut case = Case::default();
    let mut records = Vec::new();
    while let Some(key) = [ledger.peek(), table.peek(), letters.peek()].into_iter().flatten().min() {
        ledger.take(key, &mut case.entries)?;
        table.take(key, &mut records)?;
        letters.take(key, &mut case.letters)?;
        case.key = Some(key);
        case.record = records.last().copied();
        case.letters.retain(|letter| judge.owners.contains(&letter.owner));
        judge.task(&case)?;
    }
    judge.findings.dead_letters.of_others = evidence.dead_letters.total.saturating_sub(judge.letters);
    judge.conclude()
}

/// Dead letters by count: asked for, allowed, there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterCounts {
    pub must: u64,
    pub may: u64,
    /// The same by the clock of the receives alone, where that was asked for.
    pub by_clock: Option<(u64, u64)>,
    /// Tasks of this run.
    pub found: u64,
    /// Messages that are nobody's of this run.
    pub of_others: u64,
    /// Likely received as often as is allowed, which is not proven.
    pub receives_likely: u64,
    /// The auditor's looks hide how often these were received before.
    pub receives_untold: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    pub totals: Totals,
    /// Of all anomalies.
    pub counts: BTreeMap<AnomalyKind, u64>,
    /// Worst first; of each kind at most [`NAMED_MAX`].
    pub anomalies: Vec<Anomaly>,
    pub dead_letters: DeadLetterCounts,
    /// Seen by a worker more than once, though not hopeless.
    pub redelivered: u64,
    /// Acknowledged, not hopeless, and not succeeded.
    pub not_succeeded: u64,
    /// When the last task that was acknowledged before the end of the faults was done.
    pub backlog_done_at_ms: Option<u64>,
    pub counterexample: Option<Counterexample>,
}

impl Findings {
    pub fn count(&self, kind: AnomalyKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }
}

/// One task, from all sides.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) key: Option<TaskKey>,
    /// In the order of the ledger.
    pub(super) entries: Vec<EntryFact>,
    pub(super) record: Option<RecordFact>,
    /// This run's.
    pub(super) letters: Vec<LetterFact>,
}

impl Case {
    pub(super) fn acknowledged(&self) -> impl DoubleEndedIterator<Item = &EntryFact> {
        self.entries.iter().filter(|entry| entry.is_answered)
    }

    pub(super) fn status(&self) -> Option<TaskStatus> {
        self.record.map(|record| record.status)
    }
}

struct Judge<'a, S> {
    rules: &'a Rules,
    shelf: &'a S,
    owners: HashSet<u64>,
    remaining: u64,
    at_ms: u64,
    /// Dead letters of this run.
    letters: u64,
    findings: Findings,
    /// The best counterexample so far.
    worst: Option<Candidate>,
    eager: Held,
    missed: Held,
    /// Of `calm_letters`, those whose last receive no worker wrote down and nothing else proves.
    unseen: Held,
    /// Dead letters that no fault was in the way of.
    calm_letters: u64,
}

/// What is an anomaly only when too many tasks have it, which is known at the end.
#[derive(Debug, Default)]
struct Held {
    tasks: u64,
    anomalies: Vec<Anomaly>,
    best: Option<Candidate>,
}

impl<S: Shelf> Judge<'_, S> {
    fn task(&mut self, case: &Case) -> Result<(), OracleError> {
        let record = case.record.filter(|record| self.owners.contains(&record.owner));
        self.repeated_letters(case)?;
        self.shared_task(case)?;
        self.other_owner(case)?;
        match case.acknowledged().next_back() {
            Some(entry) => self.account_for(case, entry)?,
            None if record.is_some() || !case.letters.is_empty() => self.unasked(case)?,
            None => {}
        }
        if let Some(record) = record {
            self.look_at_record(case, &record)?;
        }
        if let Some(letter) = case.letters.last() {
            self.look_at_letter(case, letter)?;
        }
        self.compare_with_prediction(case)?;
        self.look_at_manners(case)
    }

    fn repeated_letters(&mut self, case: &Case) -> Result<(), OracleError> {
        self.letters += case.letters.len() as u64;
        for pair in case.letters.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            if first.message != second.message {
                self.add(AnomalyKind::RepeatedDeadLetter, case, |shelf| {
                    let (first, second) = (shelf.letter(first.position)?, shelf.letter(second.position)?);
                    Ok(format!("messages {} and {}", first.message_id, second.message_id))
                })?;
            }
        }
        Ok(())
    }

    /// Each entry of the ledger has a key of its own.
    fn shared_task(&mut self, case: &Case) -> Result<(), OracleError> {
        let answered = case.acknowledged().count();
        if answered > 1 {
            // The ledger counts answers, and this is one task.
            let totals = &mut self.findings.totals;
            totals.acknowledged = totals.acknowledged.saturating_sub(answered as u64 - 1);
            let detail = format!("{answered} requests, each with a key of its own, were answered with it");
            self.add(AnomalyKind::SharedTask, case, |_| Ok(detail))?;
        }
        Ok(())
    }

    fn other_owner(&mut self, case: &Case) -> Result<(), OracleError> {
        let Some(record) = case.record else { return Ok(()) };
        let Some(entry) = case.entries.iter().find(|entry| entry.owner != record.owner) else {
            return Ok(());
        };
        self.add(AnomalyKind::OtherOwner, case, |shelf| {
            let (entry, record) = (shelf.entry(entry.position)?, shelf.record(record.position)?);
            Ok(format!("{} asked for it, and it is filed under {}", entry.owner, record.owner))
        })
    }

    fn account_for(&mut self, case: &Case, entry: &EntryFact) -> Result<(), OracleError> {
        self.place(case)?;
        if !entry.is_hopeless && case.status() != Some(TaskStatus::Succeeded) {
            self.findings.not_succeeded += 1;
        }
        if entry.has_wrong_result {
            self.add(AnomalyKind::WrongResult, case, |_| Ok("the client's own computation differs".into()))?;
        }
        if entry.has_other_task {
            self.add(AnomalyKind::SplitKey, case, |shelf| {
                let entry = shelf.entry(entry.position)?;
                let other = match &entry.duplicate {
                    Some(loadtest::Duplicate::OtherTask { task_id }) => task_id.as_str(),
                    _ => "another task",
                };
                Ok(format!("the same key was also answered with {other}"))
            })?;
        }
        Ok(())
    }

    /// Exactly one of: succeeded, dead letter, waiting, lost.
    fn place(&mut self, case: &Case) -> Result<(), OracleError> {
        let (status, dead) = (case.status(), !case.letters.is_empty());
        let (remaining, may_wait) = (self.remaining, self.may_wait(status));
        let totals = &mut self.findings.totals;
        if status == Some(TaskStatus::Succeeded) {
            totals.succeeded += 1;
            totals.succeeded_dead_letters += u64::from(dead);
            self.note_recovery(case);
        } else if dead {
            totals.dead_lettered += 1;
        } else if may_wait {
            totals.pending += 1;
            self.add(AnomalyKind::Unfinished, case, |_| Ok(waiting_detail(status, remaining)))?;
        } else {
            totals.lost += 1;
            self.add(AnomalyKind::Lost, case, |_| Ok(lost_detail(status, remaining)))?;
        }
        Ok(())
    }

    /// What is marked as a dead letter left the queue, unless it was moved back: then the record still says so until a worker
    /// has come to it.
    fn may_wait(&self, status: Option<TaskStatus>) -> bool {
        let is_moved_back = self.rules.dead_letters == Ending::AfterRedrive;
        self.remaining > 0 && (is_moved_back || status != Some(TaskStatus::DeadLettered))
    }

    /// When the last of the tasks that were acknowledged before the faults ended was done.
    fn note_recovery(&mut self, case: &Case) {
        let (Some(end_ms), Some(record)) = (self.rules.faults_end_ms, case.record) else { return };
        let before = |entry: &EntryFact| entry.answered_at_ms().is_some_and(|at_ms| at_ms <= end_ms);
        if case.acknowledged().any(before) {
            let last = &mut self.findings.backlog_done_at_ms;
            *last = (*last).max(Some(record.updated_at_ms));
        }
    }

    /// It is there, and nobody was told so.
    fn unasked(&mut self, case: &Case) -> Result<(), OracleError> {
        match case.entries.iter().rfind(|entry| entry.is_named).map(|entry| entry.answer) {
            // Acknowledged under another id: the answer did not name the task that the key names.
            None | Some(Answer::Acknowledged | Answer::Unsent) => {
                self.add(AnomalyKind::Unexpected, case, |_| Ok("no request of this run asked for it".into()))
            }
            Some(Answer::Refused { status }) => {
                self.add(AnomalyKind::RefusedApplied, case, |_| Ok(format!("the client was told {status}")))
            }
            Some(Answer::Unknown) => {
                self.findings.totals.recovered += 1;
                Ok(())
            }
        }
    }

    fn look_at_record(&mut self, case: &Case, record: &RecordFact) -> Result<(), OracleError> {
        if record.effects > 1 {
            let detail = format!("{} effects", record.effects);
            self.add(AnomalyKind::DuplicateEffect, case, |_| Ok(detail))?;
        }
        if record.is_effect_missing {
            let detail = "succeeded, and no effect is recorded".to_owned();
            self.add(AnomalyKind::IllegalHistory, case, |_| Ok(detail))?;
        }
        if record.is_history_illegal {
            self.add(AnomalyKind::IllegalHistory, case, |shelf| {
                Ok(illegal_step(&shelf.record(record.position)?.history).unwrap_or_default())
            })?;
        }
        let is_repeated = record.deliveries > 1;
        self.findings.totals.redelivered += u64::from(is_repeated);
        let is_hopeless = case.entries.iter().any(|entry| entry.is_hopeless);
        self.findings.redelivered += u64::from(is_repeated && !is_hopeless);
        // SQS hands a message to nobody once its receives are used up.
        if u64::from(record.deliveries) > self.rules.queue.max_receive_count {
            let detail = format!("a worker got it at receive {}", record.deliveries);
            self.add(AnomalyKind::ReceiveCount, case, |_| Ok(detail))?;
        }
        Ok(())
    }

    fn look_at_letter(&mut self, case: &Case, letter: &LetterFact) -> Result<(), OracleError> {
        let receives = self.rules.receives(case, letter, self.at_ms);
        match receives {
            Receives::Enough => {}
            Receives::Likely => self.findings.dead_letters.receives_likely += 1,
            Receives::Untold => self.findings.dead_letters.receives_untold += 1,
            Receives::TooFew => {
                let detail = format!("received {} times at the most", letter.receives);
                self.add(AnomalyKind::ReceiveCount, case, |_| Ok(detail))?;
            }
        }
        self.look_for_unseen_receives(case, receives)?;
        let Some(record) = case.record else { return Ok(()) };
        if record.body != letter.body {
            self.add(AnomalyKind::AlteredBody, case, |shelf| {
                let (letter, record) = (shelf.letter(letter.position)?, shelf.record(record.position)?);
                let member = Body::of(&letter).and_then(|body| body.difference(&record));
                Ok(format!("its {} is not the record's", member.unwrap_or("body")))
            })?;
        }
        Ok(())
    }

    fn look_for_unseen_receives(&mut self, case: &Case, receives: Receives) -> Result<(), OracleError> {
        if receives == Receives::TooFew || !self.rules.is_calm(case) {
            return Ok(());
        }
        self.calm_letters += 1;
        if receives == Receives::Enough {
            return Ok(());
        }
        let seen = case.record.map_or(0, |record| record.deliveries);
        let detail = unseen_detail(u64::from(seen), self.rules.queue.max_receive_count);
        hold(&mut self.unseen, self.shelf, AnomalyKind::ReceiveCount, case, detail)
    }

    fn compare_with_prediction(&mut self, case: &Case) -> Result<(), OracleError> {
        let fate = self.rules.fate(case);
        let found = !case.letters.is_empty();
        let counts = &mut self.findings.dead_letters;
        counts.must += u64::from(fate.must);
        counts.may += u64::from(fate.may);
        counts.found += u64::from(found);
        if let Some((must, may)) = fate.by_clock {
            let sum = counts.by_clock.get_or_insert_default();
            *sum = (sum.0 + must, sum.1 + may);
        }
        if fate.must && !found {
            let detail = match case.record {
                Some(record) => format!("{:?} after {} deliveries", record.status, record.deliveries),
                None => "and has no record".to_owned(),
            };
            self.add(AnomalyKind::MissingDeadLetter, case, |_| Ok(detail))?;
        }
        if found && !fate.may {
            let detail = match case.acknowledged().next_back().map(|entry| entry.is_poison) {
                Some(true) => "outside of the prediction",
                Some(false) => "it should have succeeded",
                None => "it was not acknowledged",
            };
            self.add(AnomalyKind::InnocentDeadLetter, case, |_| Ok(detail.to_owned()))?;
        }
        Ok(())
    }

    fn look_at_manners(&mut self, case: &Case) -> Result<(), OracleError> {
        let Some(entry) = case.acknowledged().next_back().copied() else { return Ok(()) };
        for number in 0..usize::from(entry.accepted_abuses) {
            self.add(AnomalyKind::AcceptedAbuse, case, |shelf| {
                accepted_abuse(shelf, entry.position, number)
            })?;
        }
        let Some(record) = case.record else { return Ok(()) };
        if entry.pushed.is_wrong(record.version, record.status) {
            self.add(AnomalyKind::WrongPush, case, |shelf| wrong_push(shelf, entry.position, &record))?;
        }
        // Poison that fails for good comes back at once: nothing is gained by waiting for its end.
        if !entry.is_hopeless {
            self.findings.totals.retries += u64::from(record.retries);
            self.findings.totals.eager_retries += u64::from(record.eager_retries);
            if record.eager_retries > 0 {
                let detail =
                    format!("the next attempt began {} ms after the failed one", record.eager_gap_ms);
                hold(&mut self.eager, self.shelf, AnomalyKind::EagerRetry, case, detail)?;
            }
        }
        if record.status.is_final() {
            self.findings.totals.ended += 1;
            if entry.pushed.version() >= record.version {
                return Ok(());
            }
            let owner = self.shelf.record(record.position)?.owner;
            if self.rules.absences.cover(&owner, record.updated_at_ms) {
                self.findings.totals.missed_while_away += 1;
            } else {
                let detail =
                    format!("version {} {:?} reached no socket of its owner", record.version, record.status);
                hold(&mut self.missed, self.shelf, AnomalyKind::MissedPush, case, detail)?;
            }
        }
        Ok(())
    }

    /// Counts an anomaly. Only the first of a kind are looked up on the shelf and named.
    fn add(
        &mut self,
        kind: AnomalyKind,
        case: &Case,
        detail: impl FnOnce(&S) -> Result<String, ShelfError>,
    ) -> Result<(), OracleError> {
        let count = self.findings.counts.entry(kind).or_default();
        *count += 1;
        let candidate = Candidate::of(kind, case);
        let is_worse = self.worst.as_ref().is_none_or(|worst| candidate.tells_more_than(worst));
        if *count > NAMED_MAX && !is_worse {
            return Ok(());
        }
        let anomaly = Anomaly { kind, task_id: self.shelf.task_id(case)?, detail: detail(self.shelf)? };
        if is_worse {
            self.worst = Some(candidate.with(anomaly.clone()));
        }
        if *count <= NAMED_MAX {
            self.findings.anomalies.push(anomaly);
        }
        Ok(())
    }

    /// What was held back counts only when it is too much.
    fn release_held(&mut self) {
        let totals = &mut self.findings.totals;
        totals.missed_pushes = self.missed.tasks;
        let missed_max = self.rules.missed_pushes_percent_max;
        let is_unseen_too_often = are_too_many_unseen(self.unseen.tasks, self.calm_letters);
        let judged = [
            (AnomalyKind::ReceiveCount, &mut self.unseen, is_unseen_too_often),
            (AnomalyKind::EagerRetry, &mut self.eager, are_too_eager(totals.eager_retries, totals.retries)),
            (
                AnomalyKind::MissedPush,
                &mut self.missed,
                are_too_many_missed(totals.missed_pushes, totals.ended, missed_max),
            ),
        ];
        for (kind, held, _) in judged.into_iter().filter(|(_, _, is_too_much)| *is_too_much) {
            let count = self.findings.counts.entry(kind).or_default();
            held.anomalies.truncate(usize::try_from(NAMED_MAX.saturating_sub(*count)).unwrap_or(usize::MAX));
            *count += held.tasks;
            self.findings.anomalies.append(&mut held.anomalies);
            let is_worse =
                |best: &Candidate| self.worst.as_ref().is_none_or(|worst| best.tells_more_than(worst));
            if held.best.as_ref().is_some_and(is_worse) {
                self.worst = held.best.take();
            }
        }
    }

    fn conclude(mut self) -> Result<Findings, OracleError> {
        self.release_held();
        self.findings.anomalies.sort();
        if let Some(worst) = self.worst {
            self.findings.counterexample = story(worst, self.shelf, self.remaining, self.at_ms)?;
        }
        Ok(self.findings)
    }
}

fn hold(
    held: &mut Held,
    shelf: &impl Shelf,
    kind: AnomalyKind,
    case: &Case,
    detail: String,
) -> Result<(), OracleError> {
    held.tasks += 1;
    let candidate = Candidate::of(kind, case);
    let is_better = held.best.as_ref().is_none_or(|best| candidate.tells_more_than(best));
    if held.tasks > NAMED_MAX && !is_better {
        return Ok(());
    }
    let anomaly = Anomaly { kind, task_id: shelf.task_id(case)?, detail };
    if is_better {
        held.best = Some(candidate.with(anomaly.clone()));
    }
    if held.tasks <= NAMED_MAX {
        held.anomalies.push(anomaly);
    }
    Ok(())
}

pub(super) fn waiting_detail(status: Option<TaskStatus>, remaining: u64) -> String {
    format!("{}, and {}", table_says(status), queue_holds(remaining))
}

pub(super) fn lost_detail(status: Option<TaskStatus>, remaining: u64) -> String {
    format!("{}, {}, and it is no dead letter", table_says(status), queue_holds(remaining))
}

fn table_says(status: Option<TaskStatus>) -> String {
    status.map_or("the table has no record of it".to_owned(), |status| format!("the table says {status:?}"))
}

fn queue_holds(remaining: u64) -> String {
    match remaining {
        0 => "the queue is empty".to_owned(),
        1 => "the queue holds 1 message".to_owned(),
        _ => format!("the queue holds {remaining} messages"),
    }
}

pub(super) fn unseen_detail(seen: u64, allowed: u64) -> String {
    format!("no worker saw more than {seen} of the {allowed} receives, and no fault was in the way")
}

pub(super) fn wrong_push_detail(version: u64, pushed: TaskStatus, status: TaskStatus) -> String {
    format!("version {version} was pushed as {pushed:?} and is {status:?}")
}

fn wrong_push(shelf: &impl Shelf, position: u64, record: &RecordFact) -> Result<String, ShelfError> {
    let (entry, version) = (shelf.entry(position)?, u64::from(record.version));
    let mut pushes = entry.pushes.iter();
    let wrong = pushes.find(|push| push.version == version && push.status != record.status);
    let wrong = wrong.ok_or(ShelfError::Missing { what: "wrong push", position })?;
    Ok(wrong_push_detail(version, wrong.status, record.status))
}

fn accepted_abuse(shelf: &impl Shelf, position: u64, number: usize) -> Result<String, ShelfError> {
    let entry = shelf.entry(position)?;
    let mut accepted = entry.probes.iter().filter_map(|probe| match &probe.outcome {
        Outcome::Acknowledged { task_id } => Some((probe.abuse, task_id)),
        _ => None,
    });
    let (abuse, task_id) =
        accepted.nth(number).ok_or(ShelfError::Missing { what: "accepted abuse", position })?;
    Ok(format!("{} was answered with task {task_id}", abuse.describe()))
}
