//! The ledger while the run is under way: the one place where answers, pushes and reads of a task meet.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::histogram::Histogram;
use crate::job::{self, idempotency_key};
use crate::ledger::{
    Counts, Duplicate, Expectation, Final, LedgerEntry, Outcome, Probe, Push, Source, TaskKind, TaskStatus,
};
use crate::outcome::{Absence, ConnectionStats, ReadDefect, ReadStats, WrongRead};
use crate::plan::LoadPlan;
use crate::reads::{Begun, Doubtful, ReadFailure, Reads, SHOWN_WITHIN, is_other_result, unnamed};
use crate::timeline::{Timeline, micros};
use crate::wire::{Digest, Seen};

/// A task has three or four states; a stuttering service must not fill the memory.
const PUSHES_KEPT_MAX: usize = 64;
/// Tasks pushed before their POST was answered. Far above what can be in flight at once.
const EARLY_TASKS_MAX: usize = 65_536;
/// The phase of arrivals before the first call of `phase`.
const FIRST_PHASE: &str = "load";
/// An answer that takes longer is late. A phase of a fault begins as long before the fault does.
const LATE_US: u64 = 300_000;

/// One arrival. Times are microseconds on the run's timeline.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) owner: usize,
    pub(crate) kind: TaskKind,
    pub(crate) expectation: Expectation,
    pub(crate) phase: usize,
    pub(crate) intended_us: u64,
    pub(crate) sent_us: Option<u64>,
    pub(crate) answered_us: Option<u64>,
    /// The first push of a final state.
    pub(crate) pushed_us: Option<u64>,
    /// The first sight of a final state, by push or read.
    pub(crate) ended_us: Option<u64>,
    pub(crate) outcome: Outcome,
    pub(crate) sends: u32,
    duplicate: Option<Duplicate>,
    probes: Vec<Probe>,
    pushes: Vec<Push>,
    pub(crate) final_state: Option<Final>,
    result_ok: Option<bool>,
    digest: Option<Digest>,
    /// The last read by GET, so that reads go round.
    read_us: u64,
    /// The highest that GET /tasks/{id} has shown, which reads consistently.
    version_shown: u64,
}

impl Record {
    fn is_unfinished(&self) -> bool {
        self.final_state.is_none() && matches!(self.outcome, Outcome::Acknowledged { .. })
    }

    /// Ids besides that of the answer: of the twin, and of what should have been refused.
    fn named(&self) -> impl Iterator<Item = &str> {
        let twin = match &self.duplicate {
            Some(Duplicate::OtherTask { task_id }) => Some(task_id.as_str()),
            Some(Duplicate::SameTask | Duplicate::NoTask) | None => None,
        };
        let accepted = self.probes.iter().filter_map(|probe| match &probe.outcome {
            Outcome::Acknowledged { task_id } => Some(task_id.as_str()),
            Outcome::Refused { .. } | Outcome::Unknown { .. } | Outcome::Unsent => None,
        });
        twin.into_iter().chain(accepted)
    }

    /// How many tasks it may have made that no answer names.
    fn untold(&self) -> usize {
        let is_untold = |outcome: &Outcome| matches!(outcome, Outcome::Unknown { .. });
        let probes = self.probes.iter().filter(|probe| is_untold(&probe.outcome)).count();
        let is_sent = self.sent_us.is_some() && !matches!(self.outcome, Outcome::Acknowledged { .. });
        usize::from(is_sent) + probes
    }

    /// It was refused or not answered, and that only in a later phase than its own.
    pub(crate) fn straddles(&self, phases: &[Phase]) -> bool {
        let has_failed = matches!(self.outcome, Outcome::Refused { .. } | Outcome::Unknown { .. });
        let next = phases.get(self.phase + 1);
        has_failed && next.zip(self.answered_us).is_some_and(|(next, at_us)| at_us >= next.began_us)
    }

    /// It straddles, is of unknown fate, and was so late when the later phase began that its own may be the cause.
    pub(crate) fn hung_before(&self, phases: &[Phase]) -> bool {
        let is_unknown = matches!(self.outcome, Outcome::Unknown { .. });
        let next = phases.get(self.phase + 1);
        is_unknown
            && self.straddles(phases)
            && next.zip(self.sent_us).is_some_and(|(next, at_us)| next.is_late(at_us))
    }

    /// Whether a push of this version showed another status.
    fn was_pushed_otherwise(&self, seen: Seen) -> bool {
        self.pushes.iter().any(|push| push.version == seen.version && push.status != seen.status)
    }

    fn acknowledged(&self) -> Option<Readable> {
        match &self.outcome {
            Outcome::Acknowledged { task_id } => {
                Some(Readable { owner: self.owner, task_id: task_id.clone() })
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } | Outcome::Unsent => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) began_us: u64,
    pub(crate) post: Histogram,
    pub(crate) end_to_end: Histogram,
    pub(crate) push: Histogram,
    pub(crate) reads: ReadStats,
}

impl Phase {
    /// Whether what was sent then, and not answered, was late when this phase began. What was sent just before has met the phase's
    /// fault, when it has failed since.
    fn is_late(&self, sent_us: u64) -> bool {
        sent_us.saturating_add(LATE_US) < self.began_us
    }

    fn new(name: &str, began_us: u64) -> Self {
        Self {
            name: name.to_owned(),
            began_us,
            post: Histogram::new(),
            end_to_end: Histogram::new(),
            push: Histogram::new(),
            reads: ReadStats::default(),
        }
    }
}

#[derive(Debug)]
struct EarlyPush {
    owner: usize,
    seen: Seen,
    at_us: u64,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) records: Vec<Record>,
    by_task: HashMap<String, usize>,
    early: HashMap<String, Vec<EarlyPush>>,
    pub(crate) phases: Vec<Phase>,
    counts: Counts,
    post: Histogram,
    end_to_end: Histogram,
    pub(crate) issue_lag: Histogram,
    pub(crate) pool_wait: Histogram,
    pub(crate) connect: Histogram,
    pub(crate) ping: Histogram,
    pub(crate) connections: ConnectionStats,
    absences: Vec<Away>,
    reads: Reads,
    /// By owner, the task whose end was seen first.
    first_ended: HashMap<usize, usize>,
}

/// An owner without a session.
#[derive(Clone, Copy, Debug)]
struct Away {
    owner: usize,
    from_us: u64,
    to_us: Option<u64>,
}

/// A push that ended a task for the first time, for goose's own rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) end_to_end_us: u64,
}

/// A task to read by GET.
#[derive(Clone, Debug)]
pub(crate) struct Readable {
    pub(crate) owner: usize,
    pub(crate) task_id: String,
}

#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) timeline: Timeline,
    pub(crate) owners: Vec<String>,
    max_receive_count: Option<u32>,
    /// Owners are of this run alone: what they have, they have submitted.
    are_owners_ours: bool,
    inner: Mutex<Inner>,
    /// Something ended or was acknowledged.
    pub(crate) changed: Notify,
}

impl Book {
    pub(crate) fn new(owners: Vec<String>, max_receive_count: Option<u32>, are_owners_ours: bool) -> Self {
        let timeline = Timeline::begin();
        let inner = Inner {
            records: Vec::new(),
            by_task: HashMap::new(),
            early: HashMap::new(),
            phases: vec![Phase::new(FIRST_PHASE, 0)],
            counts: Counts::default(),
            post: Histogram::new(),
            end_to_end: Histogram::new(),
            issue_lag: Histogram::new(),
            pool_wait: Histogram::new(),
            connect: Histogram::new(),
            ping: Histogram::new(),
            connections: ConnectionStats::default(),
            absences: Vec::new(),
            reads: Reads::default(),
            first_ended: HashMap::new(),
        };
        let (inner, changed) = (Mutex::new(inner), Notify::new());
        Self { timeline, owners, max_receive_count, are_owners_ours, inner, changed }
    }

    /// A panic elsewhere leaves at worst one record half-written, which the verdict then shows.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phase(&self, name: &str) {
        let now_us = self.timeline.now_us();
        let mut inner = self.lock();
        if inner.records.is_empty() {
            inner.phases.clear();
        }
        inner.phases.push(Phase::new(name, now_us));
        // Nothing can have been meant to start before the first phase.
        if let [only] = inner.phases.as_mut_slice() {
            only.began_us = 0;
        }
    }

    /// The clock issued an arrival; it is unsent until a worker takes it.
    pub(crate) fn issue(&self, plan: &LoadPlan, intended_us: u64) -> u64 {
        let lag_us = self.timeline.now_us().saturating_sub(intended_us);
        let mut inner = self.lock();
        inner.issue_lag.record_us(lag_us);
        let sequence = inner.records.len();
        let kind = job::kind_of(&plan.mix, sequence as u64);
        let phase = inner.phases.iter().rposition(|phase| phase.began_us <= intended_us).unwrap_or(0);
        inner.records.push(Record {
            owner: sequence % self.owners.len(),
            kind,
            expectation: job::expectation(&plan.mix, kind, self.max_receive_count),
            phase,
            intended_us,
            sent_us: None,
            answered_us: None,
            pushed_us: None,
            ended_us: None,
            outcome: Outcome::Unsent,
            sends: 0,
            duplicate: None,
            probes: Vec::new(),
            pushes: Vec::new(),
            final_state: None,
            result_ok: None,
            digest: None,
            read_us: 0,
            version_shown: 0,
        });
        sequence as u64
    }

    /// The pool could not take an arrival.
    pub(crate) fn drop_arrival(&self) {
        self.lock().counts.unsent += 1;
    }

    pub(crate) fn sent(&self, sequence: u64, digest: Option<Digest>) -> usize {
        let now_us = self.timeline.now_us();
        let mut inner = self.lock();
        inner.counts.attempted += 1;
        let record = &mut inner.records[index(sequence)];
        record.sent_us = Some(now_us);
        record.digest = digest;
        // Until an answer says otherwise: a run cut short here must not call it unsent.
        record.outcome = Outcome::Unknown { reason: "in flight".to_owned() };
        let (owner, wait_us) = (record.owner, now_us.saturating_sub(record.intended_us));
        inner.pool_wait.record_us(wait_us);
        owner
    }

    /// The POST has its outcome; pushes that came before it are counted now. Returns the first end among them.
    pub(crate) fn answered(&self, sequence: u64, outcome: Outcome, sends: u32) -> Option<Ended> {
        let now_us = self.timeline.now_us();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let record = &mut inner.records[index(sequence)];
        record.answered_us = Some(now_us);
        record.sends = sends;
        record.outcome = outcome.clone();
        let post_us = now_us.saturating_sub(record.intended_us);
        inner.phases[record.phase].post.record_us(post_us);
        inner.post.record_us(post_us);
        inner.counts.retries += u64::from(sends.saturating_sub(1));
        match outcome {
            Outcome::Acknowledged { task_id } => self.acknowledged(inner, sequence, task_id),
            Outcome::Refused { .. } => {
                inner.counts.refused += 1;
                None
            }
            Outcome::Unknown { .. } | Outcome::Unsent => {
                inner.counts.unknown += 1;
                None
            }
        }
    }

    fn acknowledged(&self, inner: &mut Inner, sequence: u64, task_id: String) -> Option<Ended> {
        inner.counts.acknowledged += 1;
        inner.counts.outstanding += 1;
        let early = inner.early.remove(&task_id).unwrap_or_default();
        inner.by_task.insert(task_id, index(sequence));
        let mut ended = None;
        for push in early {
            inner.connections.pushes_early += 1;
            ended = ended.or(self.push_to(inner, index(sequence), push.owner, push.seen, push.at_us));
        }
        self.changed.notify_waiters();
        ended
    }

    pub(crate) fn duplicate(&self, sequence: u64, duplicate: Duplicate) {
        self.lock().records[index(sequence)].duplicate = Some(duplicate);
    }

    pub(crate) fn probed(&self, sequence: u64, probe: Probe) {
        self.lock().records[index(sequence)].probes.push(probe);
    }

    /// A push reached the session of `owner`. Returns when it is the first that ends its task.
    pub(crate) fn pushed(&self, owner: usize, task_id: &str, seen: Seen) -> Option<Ended> {
        let at_us = self.timeline.now_us();
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.connections.pushes += 1;
        if let Some(position) = inner.by_task.get(task_id).copied() {
            return self.push_to(inner, position, owner, seen, at_us);
        }
        if inner.early.len() < EARLY_TASKS_MAX || inner.early.contains_key(task_id) {
            let pushes = inner.early.entry(task_id.to_owned()).or_default();
            if pushes.len() < PUSHES_KEPT_MAX {
                pushes.push(EarlyPush { owner, seen, at_us });
            }
        }
        None
    }

    fn push_to(
        &self,
        inner: &mut Inner,
        position: usize,
        owner: usize,
        seen: Seen,
        at_us: u64,
    ) -> Option<Ended> {
        let record = &mut inner.records[position];
        if record.owner != owner {
            inner.connections.pushes_misrouted += 1;
            return None;
        }
        if record.pushes.iter().any(|push| push.version == seen.version) {
            inner.connections.pushes_repeated += 1;
        } else if record.pushes.iter().any(|push| push.version > seen.version) {
            inner.connections.pushes_reordered += 1;
        }
        if record.pushes.len() < PUSHES_KEPT_MAX {
            let at_ms = self.timeline.unix_ms(at_us);
            record.pushes.push(Push { at_ms, version: seen.version, status: seen.status });
        }
        let mut ended = None;
        if seen.status.is_final() && record.pushed_us.is_none() {
            record.pushed_us = Some(at_us);
            let end_to_end_us = at_us.saturating_sub(record.intended_us);
            // An early push came before the answer: it took no time after it.
            let push_us = at_us.saturating_sub(record.answered_us.unwrap_or(at_us));
            let phase = &mut inner.phases[record.phase];
            phase.end_to_end.record_us(end_to_end_us);
            phase.push.record_us(push_us);
            inner.end_to_end.record_us(end_to_end_us);
            ended = Some(Ended { end_to_end_us });
        }
        self.end(inner, position, seen, Source::Push, at_us);
        ended
    }

    /// A read begins, of one task or of a page.
    pub(crate) fn begin_read(&self, task_id: Option<&str>) -> Begun {
        let at_us = self.timeline.now_us();
        let inner = self.lock();
        let phase = inner.phases.len().saturating_sub(1);
        let position = task_id.and_then(|task_id| inner.by_task.get(task_id));
        let record = position.map(|position| &inner.records[*position]);
        let version_shown = record.map_or(0, |record| record.version_shown);
        // What was shown once was there.
        let may_be_missing = version_shown == 0 && record.is_some_and(|record| record.phase != phase);
        Begun { at_us, phase, version_shown, may_be_missing, is_aside: false }
    }

    pub(crate) fn failed_read(&self, begun: Begun, failure: ReadFailure) {
        let mut inner = self.lock();
        let next = inner.phases.get(begun.phase + 1);
        // What was refused for good was refused at once: when another phase had begun, that one may be the cause.
        let is_late = |next: &Phase| failure.may_pass() && next.is_late(begun.at_us);
        let is_of_another = next.is_some_and(|next| !is_late(next));
        let straddles = next.is_some();
        if is_of_another || (failure.is_not_found() && begun.may_be_missing) {
            return;
        }
        let reads = &mut inner.phases[begun.phase].reads;
        reads.denied += u64::from(failure.is_denial());
        reads.straddling += u64::from(straddles);
        match failure {
            ReadFailure::Refused { .. } => reads.refused += 1,
            ReadFailure::Unanswered => reads.unanswered += 1,
        }
    }

    /// GET /tasks/{id} was answered with a task.
    pub(crate) fn read_task(&self, begun: Begun, asked: &str, shown: &str, seen: Seen) {
        let at_us = self.timeline.now_us();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(position) = inner.by_task.get(asked).copied() else { return };
        let record = &mut inner.records[position];
        let owner = record.owner;
        let defect = if shown != asked {
            Some(ReadDefect::OtherTask)
        } else if seen.version < begun.version_shown {
            Some(ReadDefect::WentBack)
        } else if record.was_pushed_otherwise(seen) {
            Some(ReadDefect::OtherStatus)
        } else if is_other_result(record.digest, seen) {
            Some(ReadDefect::OtherResult)
        } else {
            None
        };
        if shown == asked {
            record.version_shown = record.version_shown.max(seen.version);
            self.end(inner, position, seen, Source::Poll, at_us);
        }
        let reads = &mut inner.phases[begun.phase].reads;
        match defect {
            Some(defect) => {
                reads.wrong += 1;
                inner.reads.name(&self.owners[owner], asked, defect);
            }
            None => reads.right += u64::from(!begun.is_aside),
        }
    }

    /// GET /tasks was answered with no task and no further page.
    pub(crate) fn read_nothing(&self, begun: Begun, owner: usize) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let since_us = begun.at_us.saturating_sub(micros(SHOWN_WITHIN));
        let first = inner.first_ended.get(&owner).map(|position| &inner.records[*position]);
        let hidden = first.filter(|record| record.ended_us.is_some_and(|at_us| at_us < since_us));
        let hidden = hidden.and_then(Record::acknowledged);
        let reads = &mut inner.phases[begun.phase].reads;
        match hidden {
            Some(task) => {
                reads.wrong += 1;
                inner.reads.name(&self.owners[owner], &task.task_id, ReadDefect::ShowsNone);
            }
            None => reads.right += 1,
        }
    }

    /// GET /tasks was answered with a page. What no answer has named yet is judged when all answers are in.
    pub(crate) fn read_page(&self, begun: Begun, owner: usize, tasks: &[(String, Seen)]) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let (by_task, records) = (&inner.by_task, &inner.records);
        let (mut is_wrong, mut unnamed) = (false, Vec::new());
        for (task_id, seen) in tasks {
            let Some(record) = by_task.get(task_id).map(|position| &records[*position]) else {
                unnamed.push(task_id.clone());
                continue;
            };
            let defect = if record.owner != owner {
                ReadDefect::OtherOwner
            } else if record.was_pushed_otherwise(*seen) {
                ReadDefect::OtherStatus
            } else if seen.sha256.is_some() && is_other_result(record.digest, *seen) {
                ReadDefect::OtherResult
            } else {
                continue;
            };
            is_wrong = true;
            inner.reads.name(&self.owners[owner], task_id, defect);
        }
        let is_settled = |task: &Doubtful| {
            by_task.get(&task.task_id).is_some_and(|position| records[*position].owner == task.owner)
        };
        let doubt = |task_id| inner.reads.doubt(Doubtful { owner, phase: begun.phase, task_id }, is_settled);
        let is_judged = is_wrong || !self.are_owners_ours || unnamed.into_iter().all(doubt);
        let reads = &mut inner.phases[begun.phase].reads;
        match (is_wrong, is_judged) {
            (true, _) => reads.wrong += 1,
            (false, true) => reads.right += 1,
            (false, false) => reads.unjudged += 1,
        }
    }

    /// All answers are in: what a page showed is one of its owner's requests by now, unless it is nobody's or another's. Each
    /// task that must not be shown makes one page wrong that was taken for right.
    pub(crate) fn judge_pages(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let doubtful = std::mem::take(&mut inner.reads.doubtful);
        let besides = inner.records.iter().flat_map(Record::named);
        let named: HashSet<&str> = inner.by_task.keys().map(String::as_str).chain(besides).collect();
        let unnamed = unnamed(&doubtful, |task_id| named.contains(task_id));
        // What a request of unknown fate made is its owner's, and no answer names it.
        let mut explained = vec![0; self.owners.len()];
        inner.records.iter().for_each(|record| explained[record.owner] += record.untold());
        let is_unexplained = |owner: usize| unnamed.get(&owner).map_or(0, HashSet::len) > explained[owner];
        for Doubtful { owner, phase, task_id } in &doubtful {
            let submitted_by = inner.by_task.get(task_id).map(|at| inner.records[*at].owner);
            let defect = match submitted_by {
                Some(submitter) => (submitter != *owner).then_some(ReadDefect::OtherOwner),
                None if named.contains(task_id.as_str()) => None,
                None => is_unexplained(*owner).then_some(ReadDefect::NeverSubmitted),
            };
            let Some(defect) = defect else { continue };
            let reads = &mut inner.phases[*phase].reads;
            reads.right = reads.right.saturating_sub(1);
            reads.wrong += 1;
            inner.reads.name(&self.owners[*owner], task_id, defect);
        }
    }

    pub(crate) fn wrong_reads(&self) -> Vec<WrongRead> {
        self.lock().reads.wrong.clone()
    }

    /// The answer to a POST showed a task.
    pub(crate) fn read(&self, task_id: &str, seen: Seen) {
        let at_us = self.timeline.now_us();
        let mut inner = self.lock();
        if let Some(position) = inner.by_task.get(task_id).copied() {
            self.end(&mut inner, position, seen, Source::Poll, at_us);
        }
    }

    fn end(&self, inner: &mut Inner, position: usize, seen: Seen, source: Source, at_us: u64) {
        let record = &mut inner.records[position];
        let is_news = match record.final_state {
            None => true,
            Some(before) => seen.version > before.version && seen.status != before.status,
        };
        if !seen.status.is_final() || !is_news {
            return;
        }
        match record.final_state {
            None => inner.counts.outstanding -= 1,
            Some(before) => *total_of(&mut inner.counts, before.status) -= 1,
        }
        *total_of(&mut inner.counts, seen.status) += 1;
        let at_ms = self.timeline.unix_ms(at_us);
        record.final_state = Some(Final { at_ms, version: seen.version, status: seen.status, source });
        record.ended_us.get_or_insert(at_us);
        inner.first_ended.entry(record.owner).or_insert(position);
        if let (TaskStatus::Succeeded, Some(digest)) = (seen.status, record.digest) {
            record.result_ok = Some(seen.sha256 == Some(digest));
        }
        self.changed.notify_waiters();
    }

    /// Up to `limit` acknowledged tasks without a final state that were neither answered nor read in the last
    /// `quiet_us`, longest unread first, and of the same moment those that never were read. They count as read from now on.
    pub(crate) fn take_unfinished(&self, owner: Option<usize>, quiet_us: u64, limit: usize) -> Vec<Readable> {
        let now_us = self.timeline.now_us();
        let mut inner = self.lock();
        let mut due: Vec<_> = inner
            .records
            .iter()
            .enumerate()
            .filter(|(_, record)| record.is_unfinished() && owner.is_none_or(|owner| record.owner == owner))
            .map(|(position, record)| {
                (record.read_us.max(record.answered_us.unwrap_or(0)), record.read_us, position)
            })
            .filter(|(touched_us, ..)| touched_us + quiet_us <= now_us)
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        due.into_iter()
            .filter_map(|(.., position)| {
                let record = &mut inner.records[position];
                record.read_us = now_us;
                record.acknowledged()
            })
            .collect()
    }

    pub(crate) fn acknowledged_at(&self, sequence: u64) -> Option<Readable> {
        self.lock().records.get(index(sequence)).and_then(Record::acknowledged)
    }

    /// One of the latest acknowledged tasks; which one goes round with `number`.
    pub(crate) fn recently_acknowledged(&self, number: u64) -> Option<Readable> {
        /// How far back "latest" reaches, so that a page of refusals cannot cost a walk over the whole ledger.
        const LOOK_BACK: usize = 64;
        let inner = self.lock();
        let latest = inner.records.iter().rev().skip(index(number) % LOOK_BACK).take(LOOK_BACK);
        latest.filter_map(Record::acknowledged).next()
    }

    /// Whether a read showed an end that no push has told.
    pub(crate) fn is_push_missing(&self) -> bool {
        self.lock().records.iter().any(|record| record.ended_us.is_some() && record.pushed_us.is_none())
    }

    pub(crate) fn pushes(&self) -> u64 {
        self.lock().connections.pushes
    }

    /// Cheaper than all counts: asked at every push while a run settles.
    pub(crate) fn outstanding(&self) -> u64 {
        self.lock().counts.outstanding
    }

    pub(crate) fn counts(&self) -> Counts {
        let inner = self.lock();
        Counts {
            post_p99_ms: inner.post.p99_ms(),
            end_to_end_p99_ms: inner.end_to_end.p99_ms(),
            ..inner.counts
        }
    }

    /// The session of an owner is gone. What was pushed after `heard_at`, when something last came from it, may be lost with it.
    pub(crate) fn lost_session(&self, owner: usize, code: String, heard_at: Instant) {
        let from_us = self.timeline.us_of(heard_at);
        let mut inner = self.lock();
        inner.connections.disconnects += 1;
        *inner.connections.closes.entry(code).or_insert(0) += 1;
        inner.absences.push(Away { owner, from_us, to_us: None });
    }

    /// It has a new one.
    pub(crate) fn regained_session(&self, owner: usize) {
        let now_us = self.timeline.now_us();
        if let Some(away) = self.lock().absences.iter_mut().rfind(|away| away.owner == owner) {
            away.to_us = Some(now_us);
        }
    }

    pub(crate) fn absences(&self) -> Vec<Absence> {
        let absence = |away: &Away| Absence {
            owner: self.owners[away.owner].clone(),
            from_ms: self.timeline.unix_ms(away.from_us),
            to_ms: away.to_us.map(|at_us| self.timeline.unix_ms(at_us)),
        };
        self.lock().absences.iter().map(absence).collect()
    }

    pub(crate) fn connection_stats(&self) -> ConnectionStats {
        let inner = self.lock();
        ConnectionStats {
            connect: inner.connect.latency(),
            ping: inner.ping.latency(),
            pushes_unclaimed: inner.early.values().map(|pushes| pushes.len() as u64).sum(),
            ..inner.connections.clone()
        }
    }

    pub(crate) fn entries(&self, run_id: &str) -> Vec<LedgerEntry> {
        let inner = self.lock();
        let entry = |(sequence, record)| self.entry(&inner, run_id, sequence, record);
        inner.records.iter().enumerate().map(entry).collect()
    }

    fn entry(&self, inner: &Inner, run_id: &str, position: usize, record: &Record) -> LedgerEntry {
        let sequence = position as u64;
        let unix_ms = |at_us| self.timeline.unix_ms(at_us);
        LedgerEntry {
            sequence,
            owner: self.owners[record.owner].clone(),
            idempotency_key: idempotency_key(run_id, sequence),
            kind: record.kind,
            expectation: record.expectation,
            phase: inner.phases[record.phase].name.clone(),
            intended_at_ms: unix_ms(record.intended_us),
            sent_at_ms: record.sent_us.map(unix_ms),
            answered_at_ms: record.answered_us.map(unix_ms),
            outcome: record.outcome.clone(),
            sends: record.sends,
            duplicate: record.duplicate.clone(),
            probes: record.probes.clone(),
            pushes: record.pushes.clone(),
            final_state: record.final_state,
            result_ok: record.result_ok,
        }
    }
}

fn total_of(counts: &mut Counts, status: TaskStatus) -> &mut u64 {
    match status {
        TaskStatus::DeadLettered => &mut counts.dead_lettered,
        TaskStatus::Succeeded | TaskStatus::Queued | TaskStatus::Running => &mut counts.succeeded,
    }
}

fn index(sequence: u64) -> usize {
    usize::try_from(sequence).expect("invariant: sequences are positions in a vector")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::reads::DOUBTFUL_MAX;
    use crate::target::note_page;
    use proptest::prelude::*;

    const OWNERS: [&str; 2] = ["owner-0", "owner-1"];

    fn book() -> Book {
        Book::new(OWNERS.map(str::to_owned).to_vec(), Some(5), true)
    }

    fn seen(version: u64, status: TaskStatus) -> Seen {
        Seen { version, status, sha256: None }
    }

    fn acknowledge(book: &Book, task_id: &str) -> u64 {
        let sequence = book.issue(&LoadPlan::default(), book.timeline.now_us());
        book.sent(sequence, None);
        book.answered(sequence, Outcome::Acknowledged { task_id: task_id.to_owned() }, 1);
        sequence
    }

    fn entry(book: &Book, sequence: u64) -> LedgerEntry {
        book.entries("run").swap_remove(index(sequence))
    }

    #[test]
    fn a_push_that_beats_the_answer_is_kept_for_it() {
        let book = book();
        let sequence = book.issue(&LoadPlan::default(), 0);
        book.sent(sequence, None);
        assert!(book.pushed(0, "a", seen(3, TaskStatus::Succeeded)).is_none());
        let ended = book.answered(sequence, Outcome::Acknowledged { task_id: "a".to_owned() }, 1);
        assert!(ended.is_some());
        let end = entry(&book, sequence).final_state.unwrap();
        assert_eq!((end.status, end.source), (TaskStatus::Succeeded, Source::Push));
        assert_eq!((book.counts().succeeded, book.counts().outstanding), (1, 0));
        assert_eq!(book.connection_stats().pushes_early, 1);
        assert_eq!(book.connection_stats().pushes_unclaimed, 0);
    }

    #[test]
    fn a_push_to_another_owner_s_session_ends_nothing() {
        let book = book();
        let sequence = acknowledge(&book, "a");
        book.pushed(1, "a", seen(3, TaskStatus::Succeeded));
        assert!(entry(&book, sequence).is_unfinished());
        assert_eq!(book.connection_stats().pushes_misrouted, 1);
    }

    #[test]
    fn a_push_to_another_owner_s_session_is_told_even_when_it_beats_the_answer() {
        let book = book();
        let sequence = book.issue(&LoadPlan::default(), 0);
        book.sent(sequence, None);
        book.pushed(1, "a", seen(3, TaskStatus::Succeeded));
        assert_eq!(book.connection_stats().pushes_misrouted, 0, "whose task it is nobody knows yet");
        book.answered(sequence, Outcome::Acknowledged { task_id: "a".to_owned() }, 1);
        assert!(entry(&book, sequence).is_unfinished());
        assert_eq!(book.connection_stats().pushes_misrouted, 1);
    }

    #[test]
    fn repeats_and_reorderings_are_counted_and_change_nothing() {
        let book = book();
        let sequence = acknowledge(&book, "a");
        for (version, status) in
            [(3, TaskStatus::Succeeded), (2, TaskStatus::Running), (3, TaskStatus::Succeeded)]
        {
            book.pushed(0, "a", seen(version, status));
        }
        let stats = book.connection_stats();
        assert_eq!((stats.pushes, stats.pushes_reordered, stats.pushes_repeated), (3, 1, 1));
        assert_eq!(entry(&book, sequence).pushes.len(), 3);
        assert_eq!(book.counts().succeeded, 1);
    }

    #[test]
    fn a_redrive_replaces_a_dead_letter_by_a_success() {
        let book = book();
        let sequence = acknowledge(&book, "a");
        book.pushed(0, "a", seen(4, TaskStatus::DeadLettered));
        assert_eq!(book.counts().dead_lettered, 1);
        assert!(book.pushed(0, "a", seen(6, TaskStatus::Succeeded)).is_none(), "it ended before");
        let counts = book.counts();
        assert_eq!((counts.dead_lettered, counts.succeeded, counts.outstanding), (0, 1, 0));
        assert_eq!(entry(&book, sequence).final_state.unwrap().version, 6);
        book.read("a", seen(4, TaskStatus::DeadLettered));
        assert_eq!(book.counts().succeeded, 1, "an old state is no news");
    }

    #[test]
    fn a_wrong_or_missing_result_of_a_digest_is_told() {
        let book = book();
        let right = [7; 32];
        for (sha256, expected) in [(Some(right), true), (Some([8; 32]), false), (None, false)] {
            let sequence = book.issue(&LoadPlan::default(), 0);
            book.sent(sequence, Some(right));
            let task_id = sequence.to_string();
            book.answered(sequence, Outcome::Acknowledged { task_id: task_id.clone() }, 1);
            book.read(&task_id, Seen { version: 3, status: TaskStatus::Succeeded, sha256 });
            assert_eq!(entry(&book, sequence).result_ok, Some(expected));
        }
    }

    fn ended_by_push(book: &Book, task_id: &str, digest: Digest) {
        let sequence = book.issue(&LoadPlan::default(), book.timeline.now_us());
        let owner = book.sent(sequence, Some(digest));
        book.answered(sequence, Outcome::Acknowledged { task_id: task_id.to_owned() }, 1);
        book.pushed(owner, task_id, Seen { sha256: Some(digest), ..seen(3, TaskStatus::Succeeded) });
    }

    fn reads(book: &Book) -> ReadStats {
        let inner = book.lock();
        inner.phases.iter().fold(ReadStats::default(), |mut sum, phase| {
            sum.add(&phase.reads);
            sum
        })
    }

    fn defects(book: &Book) -> Vec<ReadDefect> {
        book.wrong_reads().into_iter().map(|wrong| wrong.defect).collect()
    }

    #[test]
    fn a_read_after_the_push_that_shows_another_result_or_task_or_an_older_version_is_wrong() {
        let (right, other) = ([7; 32], [8; 32]);
        let succeeded = |sha256| Seen { sha256, ..seen(3, TaskStatus::Succeeded) };
        let shown = |shown_id: &str, shown: Seen| {
            let book = book();
            ended_by_push(&book, "a", right);
            book.read_task(book.begin_read(Some("a")), "a", "a", seen(2, TaskStatus::Running));
            book.read_task(book.begin_read(Some("a")), "a", shown_id, shown);
            (reads(&book).wrong, defects(&book))
        };
        assert_eq!(shown("a", succeeded(Some(right))), (0, vec![]));
        assert_eq!(shown("a", succeeded(Some(other))), (1, vec![ReadDefect::OtherResult]));
        assert_eq!(shown("a", succeeded(None)), (1, vec![ReadDefect::OtherResult]));
        assert_eq!(shown("b", succeeded(Some(right))), (1, vec![ReadDefect::OtherTask]));
        assert_eq!(shown("a", seen(1, TaskStatus::Queued)), (1, vec![ReadDefect::WentBack]));
    }

    #[test]
    fn a_read_besides_those_of_the_rate_is_judged_and_is_none_of_those_that_were_right() {
        let book = book();
        let sequence = acknowledge(&book, "a");
        let aside = || Begun { is_aside: true, ..book.begin_read(Some("a")) };
        book.read_task(aside(), "a", "a", seen(3, TaskStatus::Succeeded));
        assert_eq!((reads(&book).all(), entry(&book, sequence).is_unfinished()), (0, false));
        book.read_task(aside(), "a", "a", seen(2, TaskStatus::Running));
        assert_eq!((reads(&book).wrong, reads(&book).all()), (1, 1));
        assert_eq!(defects(&book), [ReadDefect::WentBack]);
    }

    #[test]
    fn a_read_that_was_overtaken_by_a_later_one_does_not_go_back() {
        let book = book();
        acknowledge(&book, "a");
        let slow = book.begin_read(Some("a"));
        book.read_task(book.begin_read(Some("a")), "a", "a", seen(3, TaskStatus::Succeeded));
        book.read_task(slow, "a", "a", seen(2, TaskStatus::Running));
        assert_eq!((reads(&book).right, reads(&book).wrong), (2, 0));
    }

    #[test]
    fn a_page_with_a_task_of_another_owner_or_of_nobody_is_wrong() {
        let page = |owner: usize, task_id: &str| {
            let book = book();
            acknowledge(&book, "a");
            let tasks = [(task_id.to_owned(), seen(1, TaskStatus::Queued))];
            book.read_page(book.begin_read(None), owner, &tasks);
            book.judge_pages();
            (reads(&book).right, defects(&book))
        };
        assert_eq!(page(0, "a"), (1, vec![]));
        assert_eq!(page(1, "a"), (0, vec![ReadDefect::OtherOwner]));
        assert_eq!(page(0, "ghost"), (0, vec![ReadDefect::NeverSubmitted]));
    }

    #[test]
    fn what_a_page_shows_before_its_answer_or_of_a_request_of_unknown_fate_is_no_mistake() {
        let book = book();
        let (early, lost) = (book.issue(&LoadPlan::default(), 0), book.issue(&LoadPlan::default(), 0));
        let (owner, other) = (book.sent(early, None), book.sent(lost, None));
        for (owner, task_id) in [(owner, "early"), (other, "lost")] {
            let page = [(task_id.to_owned(), seen(1, TaskStatus::Queued))];
            book.read_page(book.begin_read(None), owner, &page);
        }
        book.answered(early, Outcome::Acknowledged { task_id: "early".to_owned() }, 1);
        book.answered(lost, Outcome::Unknown { reason: "timeout".to_owned() }, 4);
        book.judge_pages();
        assert_eq!((reads(&book).right, defects(&book)), (2, vec![]));
    }

    #[test]
    fn a_read_that_shows_another_status_than_a_push_of_the_same_version_is_wrong() {
        let book = book();
        acknowledge(&book, "a");
        book.pushed(0, "a", seen(3, TaskStatus::Succeeded));
        let wrong = |status, is_page: bool| {
            let before = reads(&book).wrong;
            if is_page {
                book.read_page(book.begin_read(None), 0, &[("a".to_owned(), seen(3, status))]);
            } else {
                book.read_task(book.begin_read(Some("a")), "a", "a", seen(3, status));
            }
            reads(&book).wrong - before
        };
        for is_page in [false, true] {
            assert_eq!(wrong(TaskStatus::Succeeded, is_page), 0);
            assert_eq!(wrong(TaskStatus::Running, is_page), 1);
        }
        assert_eq!(defects(&book), [ReadDefect::OtherStatus; 2]);
        assert_eq!(book.counts().succeeded, 1);
    }

    #[test]
    fn a_page_without_a_task_is_wrong_once_the_end_of_one_was_seen_long_before() {
        let book = book();
        acknowledge(&book, "a");
        let late = SHOWN_WITHIN + Duration::from_secs(1);
        let found = |owner, after: Duration| {
            let begun = book.begin_read(None);
            book.read_nothing(Begun { at_us: begun.at_us + micros(after), ..begun }, owner);
            (reads(&book).right, defects(&book))
        };
        assert_eq!(found(0, late), (1, vec![]), "the table may not have it yet");
        book.pushed(0, "a", seen(3, TaskStatus::Succeeded));
        assert_eq!(found(0, Duration::ZERO), (2, vec![]), "the index trails the table");
        assert_eq!(found(1, late), (3, vec![]), "the other owner has none");
        assert_eq!(found(0, late), (3, vec![ReadDefect::ShowsNone]));
        assert_eq!(book.wrong_reads()[0].task_id, "a");
    }

    #[test]
    fn a_page_without_a_task_that_is_not_the_last_one_shows_nothing_wrong() {
        let book = book();
        acknowledge(&book, "a");
        book.pushed(0, "a", seen(3, TaskStatus::Succeeded));
        let shown = |body: &[u8]| {
            let begun = book.begin_read(None);
            note_page(&book, Begun { at_us: begun.at_us + 2 * micros(SHOWN_WITHIN), ..begun }, 0, body);
            (reads(&book).right, reads(&book).wrong)
        };
        assert_eq!(shown(br#"{"tasks":[],"next_cursor":"more"}"#), (1, 0));
        assert_eq!(shown(br#"{"tasks":[]}"#), (1, 1));
    }

    #[test]
    fn an_absence_begins_with_the_last_that_was_heard_and_not_when_it_is_found_out() {
        let book = book();
        let heard_at = Instant::now() + Duration::from_secs(3_600);
        book.lost_session(0, "silent".to_owned(), heard_at);
        let expected_ms = book.timeline.unix_ms(book.timeline.us_of(heard_at));
        assert_eq!(book.absences()[0].from_ms, expected_ms);
        assert_eq!(book.connection_stats().closes.get("silent"), Some(&1));
    }

    fn show_page(book: &Book, task_id: String) {
        book.read_page(book.begin_read(None), 0, &[(task_id, seen(1, TaskStatus::Queued))]);
    }

    #[test]
    fn a_task_that_nobody_has_named_is_kept_once_however_many_pages_show_it() {
        let book = book();
        (0..=DOUBTFUL_MAX).for_each(|_| show_page(&book, "early".to_owned()));
        show_page(&book, "ghost".to_owned());
        let sequence = book.issue(&LoadPlan::default(), 0);
        book.sent(sequence, None);
        book.answered(sequence, Outcome::Acknowledged { task_id: "early".to_owned() }, 1);
        book.judge_pages();
        let stats = reads(&book);
        assert_eq!((stats.right, stats.wrong, stats.unjudged), (DOUBTFUL_MAX as u64 + 1, 1, 0));
        assert_eq!(defects(&book), [ReadDefect::NeverSubmitted]);
    }

    #[test]
    fn however_long_a_run_is_what_its_pages_show_before_the_answer_is_judged() {
        let book = book();
        for number in 0..=DOUBTFUL_MAX {
            let sequence = book.issue(&LoadPlan::default(), 0);
            let (owner, task_id) = (book.sent(sequence, None), number.to_string());
            let page = [(task_id.clone(), seen(1, TaskStatus::Queued))];
            book.read_page(book.begin_read(None), owner, &page);
            book.answered(sequence, Outcome::Acknowledged { task_id }, 1);
        }
        book.judge_pages();
        let stats = reads(&book);
        assert_eq!((stats.right, stats.unjudged), (DOUBTFUL_MAX as u64 + 1, 0));
    }

    #[test]
    fn a_page_with_more_than_can_be_kept_is_not_right() {
        let book = book();
        (0..DOUBTFUL_MAX).for_each(|number| show_page(&book, number.to_string()));
        show_page(&book, "ghost".to_owned());
        let stats = reads(&book);
        assert_eq!((stats.right, stats.unjudged), (DOUBTFUL_MAX as u64, 1));
        assert_eq!(stats.all(), DOUBTFUL_MAX as u64 + 1);
    }

    #[test]
    fn a_page_of_an_owner_whose_token_was_given_may_show_what_it_had_before() {
        let book = Book::new(vec!["somebody".to_owned()], Some(5), false);
        book.read_page(book.begin_read(None), 0, &[("earlier".to_owned(), seen(3, TaskStatus::Succeeded))]);
        book.judge_pages();
        assert_eq!((reads(&book).right, defects(&book)), (1, vec![]));
    }

    #[test]
    fn a_read_that_fails_counts_unless_another_phase_may_be_the_cause() {
        let book = book();
        let not_found = ReadFailure::Refused { status: 404 };
        acknowledge(&book, "a");
        book.failed_read(book.begin_read(Some("a")), not_found);
        book.failed_read(book.begin_read(None), ReadFailure::Unanswered);
        book.failed_read(book.begin_read(None), ReadFailure::Refused { status: 401 });
        let in_two_phases = book.begin_read(None);
        book.phase("after");
        book.failed_read(in_two_phases, ReadFailure::Refused { status: 429 });
        book.failed_read(book.begin_read(Some("a")), not_found);
        let stats = reads(&book);
        assert_eq!((stats.refused, stats.denied, stats.unanswered, stats.straddling), (2, 1, 1, 0));
        book.read_task(book.begin_read(Some("a")), "a", "a", seen(1, TaskStatus::Queued));
        book.failed_read(book.begin_read(Some("a")), not_found);
        assert_eq!(reads(&book).refused, 3, "it was there");
    }

    #[test]
    fn a_read_that_was_sent_again_until_another_phase_had_begun_is_told_apart_in_its_own() {
        let book = book();
        acknowledge(&book, "a");
        let begun_at = |at_us| Begun { at_us, ..book.begin_read(None) };
        let (hung, failed) = (begun_at(0), begun_at(0));
        let just_before = [1, 1].map(begun_at);
        book.phase("fault");
        book.lock().phases[1].began_us = LATE_US + 1;
        let failure = ReadFailure::Refused { status: 500 };
        book.failed_read(hung, ReadFailure::Unanswered);
        book.failed_read(failed, failure);
        just_before.into_iter().for_each(|begun| book.failed_read(begun, failure));
        let inner = book.lock();
        let told = |at: usize| {
            let stats = inner.phases[at].reads;
            (stats.unanswered, stats.refused, stats.straddling)
        };
        assert_eq!(told(0), (1, 1, 2));
        assert_eq!(inner.phases.get(1).map(|phase| phase.reads), Some(ReadStats::default()));
    }

    #[test]
    fn arrivals_belong_to_the_phase_of_their_intended_start() {
        let book = book();
        book.issue(&LoadPlan::default(), 0);
        book.phase("fault");
        let began_us = book.lock().phases[1].began_us;
        let late = book.issue(&LoadPlan::default(), began_us - 1);
        let after = book.issue(&LoadPlan::default(), began_us);
        assert_eq!(entry(&book, late).phase, "load");
        assert_eq!(entry(&book, after).phase, "fault");
    }

    #[test]
    fn reads_of_unfinished_tasks_go_round() {
        let book = book();
        for task_id in ["a", "b", "c"] {
            acknowledge(&book, task_id);
        }
        let ids = |limit| -> Vec<String> {
            book.take_unfinished(None, 0, limit).into_iter().map(|task| task.task_id).collect()
        };
        let (first, second) = (ids(2), ids(1));
        assert_eq!(first, ["a", "b"]);
        assert_eq!(second, ["c"]);
        assert!(book.take_unfinished(None, 3_600_000_000, 9).is_empty(), "all were touched just now");
        assert_eq!(book.take_unfinished(Some(1), 0, 9).len(), 1, "only the owner's own");
    }

    /// What may happen to one of a few tasks, in any order.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Answer { task: u64, acknowledged: bool },
        Push { task: u64, owner: usize, version: u64, status: TaskStatus },
        Read { task: u64, version: u64, status: TaskStatus },
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let status = || {
            prop_oneof![
                Just(TaskStatus::Queued),
                Just(TaskStatus::Running),
                Just(TaskStatus::Succeeded),
                Just(TaskStatus::DeadLettered)
            ]
        };
        prop_oneof![
            (0..TASKS, any::<bool>()).prop_map(|(task, acknowledged)| Event::Answer { task, acknowledged }),
            (0..TASKS, 0..2_usize, 1..8_u64, status())
                .prop_map(|(task, owner, version, status)| Event::Push { task, owner, version, status }),
            (0..TASKS, 1..8_u64, status()).prop_map(|(task, version, status)| Event::Read {
                task,
                version,
                status
            }),
        ]
    }

    const TASKS: u64 = 4;

    fn replay(events: &[Event]) -> Book {
        let book = book();
        for _ in 0..TASKS {
            let sequence = book.issue(&LoadPlan::default(), 0);
            book.sent(sequence, None);
        }
        let mut answered = std::collections::BTreeSet::new();
        for event in events {
            match *event {
                Event::Answer { task, acknowledged } if answered.insert(task) => {
                    let refused = Outcome::Refused { status: 422, problem_type: None };
                    let known = Outcome::Acknowledged { task_id: task.to_string() };
                    book.answered(task, if acknowledged { known } else { refused }, 1);
                }
                // A POST is answered once.
                Event::Answer { .. } => {}
                Event::Push { task, owner, version, status } => {
                    book.pushed(owner, &task.to_string(), seen(version, status));
                }
                Event::Read { task, version, status } => book.read(&task.to_string(), seen(version, status)),
            }
        }
        book
    }

    proptest! {
        #[test]
        fn totals_equal_a_recount_of_the_ledger(events in proptest::collection::vec(any_event(), 0..40)) {
            let book = replay(&events);
            let (counts, entries) = (book.counts(), book.entries("run"));
            let count = |is: &dyn Fn(&&LedgerEntry) -> bool| entries.iter().filter(is).count() as u64;
            let ended = |status| count(&|entry| entry.final_state.is_some_and(|end| end.status == status));
            prop_assert_eq!(counts.acknowledged, count(&|entry| entry.is_acknowledged()));
            prop_assert_eq!(counts.outstanding, count(&|entry| entry.is_unfinished()));
            prop_assert_eq!(counts.succeeded, ended(TaskStatus::Succeeded));
            prop_assert_eq!(counts.dead_lettered, ended(TaskStatus::DeadLettered));
            prop_assert!(entries.iter().all(|entry| entry.final_state.is_none() || entry.is_acknowledged()));
        }
    }

    #[test]
    fn a_push_that_no_answer_names_stays_unclaimed() {
        let book = book();
        acknowledge(&book, "a");
        book.pushed(0, "ghost", seen(1, TaskStatus::Queued));
        book.pushed(1, "ghost", seen(1, TaskStatus::Queued));
        let stats = book.connection_stats();
        assert_eq!((stats.pushes_unclaimed, stats.pushes_misrouted), (2, 0));
    }
}
