//! The data plane at one quiet moment: read once, and kept as sorted facts. What people are shown is found again on disk.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use loadtest::stack::{Queue, Stack, Table};
use loadtest::{LedgerEntry, Outcome, TaskStatus};
use task_core::idempotency::named_task_id;
use task_core::{IdempotencyKey, Owner};
use tokio::time::{Instant, sleep};

use super::activity::Activity;
use super::dose::Untouched;
use super::execute::ExecuteError;
use crate::clock::{SKEW_MS_MAX, now_ms};
use crate::cloud::Cloud;
use crate::observe::{self, COUNTS_LAG_AWS, ShownCounts, Wanted};
use crate::oracle::{
    Body, DeadLetter, Evidence, Findings, LedgerIndex, LetterIndex, OracleError, Record, Records, Rules,
    Shelf, ShelfError, TableIndex, TaskKey, judge,
};

/// A look reads all of the run's records: minutes may be waited for, and seconds do not matter.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Of a submission that was acknowledged when nobody looked for its task any more.
const ACKNOWLEDGED_LATE: &str = "acknowledged after the look";

/// How the tasks queue was left by the wait for it to empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    pub(super) left: u64,
    /// So long the experiment lets its tasks wait.
    pub(super) settled_by: Instant,
}

/// How long to look again while an acknowledged task is nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    /// From then on it may be called lost.
    lost_from: Instant,
    /// While the queue says that messages are in it, it is not called unfinished before.
    settled_by: Instant,
}

impl Until {
    /// On AWS the counts of a queue may say that it is empty while a message is invisible in it.
    pub(super) fn after(drained: Drained, emulated: bool, visibility_timeout: Duration) -> Self {
        let is_told = emulated || drained.left > 0;
        let lag = if is_told { Duration::ZERO } else { visibility_timeout + COUNTS_LAG_AWS };
        Self { lost_from: Instant::now() + lag, settled_by: drained.settled_by }
    }

    fn is_over(&self, quiet: &Quiet, now: Instant) -> bool {
        let may_be_told = now >= self.lost_from && (quiet.remaining == 0 || now >= self.settled_by);
        quiet.nowhere() == 0 || may_be_told
    }
}

/// Where to look, and where to keep what was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) table: &'a Table,
    pub(super) tasks: &'a Queue,
    pub(super) dead_letters: &'a Queue,
    /// The function that knows how many shards the owner index has.
    pub(super) submit: &'a str,
    /// On a disk, not in memory.
    pub(super) folder: &'a Path,
}

impl<'a> Place<'a> {
    pub(super) fn of(cloud: &'a Cloud, stack: &'a Stack, folder: &'a Path) -> Result<Self, ExecuteError> {
        let queue = |name| stack.queues.get(name).ok_or(ExecuteError::NoQueue(name));
        Ok(Self {
            cloud,
            table: stack.tables.get("tasks").ok_or(ExecuteError::NoTable("tasks"))?,
            tasks: queue("tasks")?,
            dead_letters: queue("tasks-dlq")?,
            submit: stack.functions.get("submit-task").map_or("submit-task", |function| &function.name),
            folder,
        })
    }

    /// Looks once, and again for as long as told. What shall be shown every record is made anew for each look; `counts` are
    /// those that dead letters showed at all looks.
    pub(super) async fn look_until(
        self,
        until: Until,
        ledger: &[LedgerEntry],
        counts: &mut ShownCounts,
        untouched: impl Fn() -> Vec<Option<Untouched>>,
    ) -> Result<(Quiet, Vec<Option<Untouched>>), ExecuteError> {
        loop {
            let mut untouched = untouched();
            let quiet = self.look(ledger, counts, &mut untouched).await?;
            if until.is_over(&quiet, Instant::now()) {
                return Ok((quiet, untouched));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// `untouched` is shown every record.
    async fn look(
        self,
        ledger: &[LedgerEntry],
        counts: &mut ShownCounts,
        untouched: &mut [Option<Untouched>],
    ) -> Result<Quiet, ExecuteError> {
        let shards = observe::owner_index_shards(self.cloud, self.submit).await?;
        let remaining = observe::depth(self.cloud, &self.tasks.url).await?.total();
        let letters = observe::peek(self.cloud, &self.dead_letters.url, counts).await?;
        // After the dead letters: no look at them that they count comes later.
        let mut quiet = Quiet::new(self.folder, now_ms(), remaining, ledger)?;
        let mut wanted = wanted(ledger);
        quiet.keep_letters(letters, &mut wanted)?;
        observe::each_record(self.cloud, &self.table.name, wanted, shards, |record| {
            untouched.iter_mut().flatten().for_each(|untouched| untouched.see(&record));
            Ok::<_, ExecuteError>(quiet.keep_record(&record)?)
        })
        .await?;
        Ok(quiet)
    }
}

/// Every id that an answer or a key names, and all that the owners have had since the run began: where the token is given,
/// all runs have one owner.
fn wanted(ledger: &[LedgerEntry]) -> Wanted {
    let answered = ledger.iter().filter_map(|entry| entry.task_id().map(str::to_owned));
    let began_at_ms = ledger.iter().map(|entry| entry.intended_at_ms).min().unwrap_or_default();
    Wanted {
        ids: answered.chain(ledger.iter().filter_map(named_id)).collect(),
        owners: ledger.iter().map(|entry| entry.owner.clone()).collect(),
        since_ms: began_at_ms.saturating_sub(SKEW_MS_MAX),
    }
}

/// What the service promises of a key: it names the task, whatever the client was told.
fn named_id(entry: &LedgerEntry) -> Option<String> {
    let owner = Owner::parse(&entry.owner).ok()?;
    let key = IdempotencyKey::parse(&entry.idempotency_key).ok()?;
    Some(named_task_id(&owner, &key).to_string())
}

#[derive(Debug)]
pub(super) struct Quiet {
    table: TableIndex,
    records: Records,
    letters: LetterIndex,
    dead_letters: Vec<DeadLetter>,
    /// Tasks of this run that are dead letters, and of which no record says that they are final.
    unmarked: HashSet<String>,
    /// Whether each submission was acknowledged when this was looked at.
    was_acknowledged: Vec<bool>,
    /// Acknowledged tasks that neither succeeded nor are dead letters.
    nowhere: HashSet<TaskKey>,
    remaining: u64,
    at_ms: u64,
    activity: Activity,
}

impl Quiet {
    fn new(folder: &Path, at_ms: u64, remaining: u64, ledger: &[LedgerEntry]) -> Result<Self, OracleError> {
        Ok(Self {
            table: TableIndex::new(folder),
            records: Records::new(folder)?,
            letters: LetterIndex::new(folder),
            dead_letters: Vec::new(),
            unmarked: HashSet::new(),
            was_acknowledged: ledger.iter().map(LedgerEntry::is_acknowledged).collect(),
            nowhere: ledger.iter().filter_map(LedgerEntry::task_id).map(TaskKey::of).collect(),
            remaining,
            at_ms,
            activity: Activity::default(),
        })
    }

    /// Of a dead letter that is wanted the record is, too: the index may not show yet what the auditor has just made.
    fn keep_letters(
        &mut self,
        dead_letters: Vec<DeadLetter>,
        wanted: &mut Wanted,
    ) -> Result<(), OracleError> {
        for (position, letter) in (0..).zip(&dead_letters) {
            let task = Body::of(letter);
            let ours = task.filter(|task| wanted.names(&task.task_id, &task.owner, task.created_at_ms));
            let Some(task) = ours else {
                self.letters.pass_over();
                continue;
            };
            self.letters.add(position, letter)?;
            self.nowhere.remove(&TaskKey::of(&task.task_id));
            self.unmarked.insert(task.task_id.clone());
            wanted.ids.insert(task.task_id);
        }
        self.dead_letters = dead_letters;
        Ok(())
    }

    fn keep_record(&mut self, record: &Record) -> Result<(), OracleError> {
        self.activity.see(record);
        if record.status.is_final() {
            self.unmarked.remove(&record.task_id);
        }
        // That a record says of a task that it is a dead letter tells nothing of where it is: the look at the queue may have missed
        // it, and what was moved back reads so until a worker has it.
        if record.status == TaskStatus::Succeeded {
            self.nowhere.remove(&TaskKey::of(&record.task_id));
        }
        let position = self.records.keep(record)?;
        Ok(self.table.add(position, record)?)
    }

    pub(super) fn dead_letters_seen(&self) -> u64 {
        self.dead_letters.len() as u64
    }

    /// Dead letters of which the table does not say that they are final, be it that it does not know them.
    pub(super) fn unmarked(&self) -> u64 {
        self.unmarked.len() as u64
    }

    /// Acknowledged tasks of which neither the table says that they succeeded, nor the dead-letter queue that they failed.
    fn nowhere(&self) -> u64 {
        self.nowhere.len() as u64
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    fn is_late(&self, position: usize, entry: &LedgerEntry) -> bool {
        entry.is_acknowledged() && !self.was_acknowledged.get(position).copied().unwrap_or_default()
    }

    /// What was acknowledged since may be there and was not looked for: of that nothing is known.
    fn as_looked_for<'a>(&self, ledger: &'a [LedgerEntry]) -> Cow<'a, [LedgerEntry]> {
        if !ledger.iter().enumerate().any(|(position, entry)| self.is_late(position, entry)) {
            return Cow::Borrowed(ledger);
        }
        let mut ledger = ledger.to_vec();
        for (position, entry) in ledger.iter_mut().enumerate() {
            if self.is_late(position, entry) {
                entry.outcome = Outcome::Unknown { reason: ACKNOWLEDGED_LATE.to_owned() };
            }
        }
        Cow::Owned(ledger)
    }

    /// `ledger` is of any time since.
    pub(super) fn judge(
        self,
        ledger: &[LedgerEntry],
        rules: &Rules,
        folder: &Path,
    ) -> Result<Findings, OracleError> {
        let ledger = self.as_looked_for(ledger);
        let mut requests = LedgerIndex::new(folder);
        for (position, entry) in (0..).zip(ledger.iter()) {
            requests.add(position, entry, named_id(entry).as_deref())?;
        }
        let evidence = Evidence {
            ledger: requests,
            table: self.table,
            dead_letters: self.letters,
            remaining: self.remaining,
            at_ms: self.at_ms,
        };
        let kept = Kept { ledger: &ledger, records: &self.records, dead_letters: &self.dead_letters };
        judge(evidence, rules, &kept)
    }
}

/// Where a whole entry, record or dead letter is found again.
struct Kept<'a> {
    ledger: &'a [LedgerEntry],
    records: &'a Records,
    dead_letters: &'a [DeadLetter],
}

impl Shelf for Kept<'_> {
    fn entry(&self, position: u64) -> Result<LedgerEntry, ShelfError> {
        at(self.ledger, "ledger entry", position)
    }

    fn record(&self, position: u64) -> Result<Record, ShelfError> {
        self.records.read(position)
    }

    fn letter(&self, position: u64) -> Result<DeadLetter, ShelfError> {
        at(self.dead_letters, "dead letter", position)
    }

    fn named_id(&self, entry: &LedgerEntry) -> Option<String> {
        named_id(entry)
    }
}

fn at<T: Clone>(all: &[T], what: &'static str, position: u64) -> Result<T, ShelfError> {
    let found = usize::try_from(position).ok().and_then(|position| all.get(position));
    found.cloned().ok_or(ShelfError::Missing { what, position })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::experiment::DlqRule;
    use crate::oracle::{Absences, AnomalyKind, Ending, QueueRules};

    const BEGAN_AT_MS: u64 = 1_700_000_000_000;
    /// Of the token that every run was given.
    const OWNER: &str = "somebody";
    const EARLIER: &str = "0193e0a4-7c1e-5b6f-8a9d-00000000000a";

    /// The first request of a run, acknowledged with the task that its key names.
    fn request() -> LedgerEntry {
        let entry = json!({
            "sequence": 0, "owner": OWNER, "idempotency_key": "run-2-0", "kind": "digest",
            "expectation": "succeeds", "phase": "before", "intended_at_ms": BEGAN_AT_MS,
            "sent_at_ms": BEGAN_AT_MS, "answered_at_ms": BEGAN_AT_MS + 5, "outcome": {"answer": "unsent"},
            "sends": 1, "duplicate": null, "pushes": [], "final_state": null, "result_ok": null,
        });
        let entry: LedgerEntry = serde_json::from_value(entry).unwrap();
        let task_id = named_id(&entry).unwrap();
        LedgerEntry { outcome: Outcome::Acknowledged { task_id }, ..entry }
    }

    fn row(task_id: &str, status: &str, created_at_ms: u64) -> Record {
        let history = [
            format!("1 queued {created_at_ms}"),
            format!("2 running {}", created_at_ms + 1),
            format!("3 {status} {}", created_at_ms + 2),
        ];
        let row = json!({
            "task_id": task_id, "owner": OWNER, "kind": "digest", "payload": {"text": "a"}, "status": status,
            "version": 3, "attempts": 1, "deliveries": 1, "completions": u8::from(status == "succeeded"),
            "created_at_ms": created_at_ms, "updated_at_ms": created_at_ms + 2, "request_hash": "hash",
            "history": history,
        });
        serde_json::from_value(row).unwrap()
    }

    fn letter(task_id: &str, owner: &str, created_at_ms: u64) -> DeadLetter {
        let body = json!({
            "schema": 1, "task_id": task_id, "owner": owner, "kind": "digest", "payload": {"text": "a"},
            "created_at_ms": created_at_ms, "request_hash": "hash",
        });
        DeadLetter {
            message_id: format!("m-{task_id}"),
            receive_count: 6,
            own_receives: 1,
            body: body.to_string(),
        }
    }

    fn rules() -> Rules {
        Rules {
            dead_letters: Ending::By(DlqRule::Poison),
            throttled: Vec::new(),
            queue: QueueRules { max_receive_count: 5, ..QueueRules::default() },
            faults_end_ms: None,
            calm_from_ms: None,
            missed_pushes_percent_max: 100.0,
            absences: Absences::default(),
        }
    }

    /// What a look sees, and the ids of the records that it asks for.
    fn look(folder: &Path, letters: Vec<DeadLetter>, records: &[Record]) -> (Quiet, Wanted) {
        look_at(folder, 0, letters, records)
    }

    /// `remaining` messages are in the tasks queue.
    fn look_at(
        folder: &Path,
        remaining: u64,
        letters: Vec<DeadLetter>,
        records: &[Record],
    ) -> (Quiet, Wanted) {
        let ledger = [request()];
        let mut quiet = Quiet::new(folder, BEGAN_AT_MS + 60_000, remaining, &ledger).unwrap();
        let mut wanted = wanted(&ledger);
        quiet.keep_letters(letters, &mut wanted).unwrap();
        for record in records {
            quiet.keep_record(record).unwrap();
        }
        (quiet, wanted)
    }

    #[test]
    fn what_the_same_owner_left_before_the_run_is_not_the_run_s() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = [request()];
        let records = [row(ledger[0].task_id().unwrap(), "succeeded", BEGAN_AT_MS)];
        let judge = |created_at_ms| {
            let letters = vec![letter(EARLIER, OWNER, created_at_ms)];
            let (quiet, wanted) = look(folder.path(), letters, &records);
            let unmarked = quiet.unmarked();
            let findings = quiet.judge(&ledger, &rules(), folder.path()).unwrap();
            let unexpected = findings.count(AnomalyKind::Unexpected);
            (wanted.ids.contains(EARLIER), unmarked, unexpected, findings.dead_letters.of_others)
        };
        assert_eq!(judge(BEGAN_AT_MS - SKEW_MS_MAX - 1), (false, 0, 0, 1));
        assert_eq!(judge(BEGAN_AT_MS), (true, 1, 1, 0), "nobody asked for it");
    }

    #[test]
    fn what_is_wrong_with_a_task_of_a_given_owner_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = [request()];
        let mut record = row(ledger[0].task_id().unwrap(), "succeeded", BEGAN_AT_MS);
        record.completions = 2;
        record.deliveries = 6;
        let (quiet, _) = look(folder.path(), Vec::new(), &[record]);
        let findings = quiet.judge(&ledger, &rules(), folder.path()).unwrap();
        let counts =
            [AnomalyKind::DuplicateEffect, AnomalyKind::ReceiveCount].map(|kind| findings.count(kind));
        assert_eq!((counts, findings.totals.redelivered), ([1, 1], 1));
    }

    #[test]
    fn what_was_acknowledged_after_the_look_is_not_lost_and_what_was_before_is() {
        let folder = tempfile::tempdir().unwrap();
        let acknowledged = request();
        let in_flight = Outcome::Unknown { reason: "in flight".into() };
        let before = LedgerEntry { outcome: in_flight, answered_at_ms: None, ..acknowledged.clone() };
        for (at_the_look, lost, known) in [(before, 0, 0), (acknowledged.clone(), 1, 1)] {
            let quiet = Quiet::new(folder.path(), BEGAN_AT_MS + 60_000, 0, &[at_the_look]).unwrap();
            let findings = quiet.judge(std::slice::from_ref(&acknowledged), &rules(), folder.path()).unwrap();
            assert_eq!((findings.count(AnomalyKind::Lost), findings.totals.acknowledged), (lost, known));
        }
    }

    #[test]
    fn an_acknowledged_task_is_nowhere_until_it_succeeded_or_its_dead_letter_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let asked = request().task_id().unwrap().to_owned();
        let nowhere = |letters, records: &[Record]| look(folder.path(), letters, records).0.nowhere();
        assert_eq!(nowhere(Vec::new(), &[]), 1);
        assert_eq!(nowhere(Vec::new(), &[row(&asked, "running", BEGAN_AT_MS)]), 1);
        assert_eq!(nowhere(Vec::new(), &[row(EARLIER, "succeeded", BEGAN_AT_MS)]), 1);
        assert_eq!(nowhere(Vec::new(), &[row(&asked, "succeeded", BEGAN_AT_MS)]), 0);
        let marked = [row(&asked, "dead_lettered", BEGAN_AT_MS)];
        assert_eq!(nowhere(Vec::new(), &marked), 1, "one look may have missed it");
        assert_eq!(nowhere(vec![letter(&asked, OWNER, BEGAN_AT_MS)], &marked), 0);
        assert_eq!(nowhere(vec![letter(&asked, OWNER, BEGAN_AT_MS)], &[]), 0);
    }

    #[test]
    fn looking_ends_when_nothing_is_nowhere_or_when_what_waits_has_had_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let asked = request().task_id().unwrap().to_owned();
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let until = Until { lost_from: began + second, settled_by: began + 3 * second };
        let is_over = |status: &str, remaining: u64, seconds: u32| {
            let records = [row(&asked, status, BEGAN_AT_MS)];
            let (quiet, _) = look_at(folder.path(), remaining, Vec::new(), &records);
            until.is_over(&quiet, began + seconds * second)
        };
        assert!(is_over("succeeded", 1, 0), "nobody waits for it");
        for status in ["queued", "dead_lettered"] {
            assert_eq!([0, 1].map(|seconds| is_over(status, 0, seconds)), [false, true], "{status}");
        }
        assert_eq!([0, 1, 2, 3].map(|seconds| is_over("queued", 1, seconds)), [false, false, false, true]);
    }

    #[test]
    fn a_queue_that_says_what_is_left_is_believed_and_one_of_aws_that_says_nothing_is_not_yet() {
        let (settled_by, visibility) = (Instant::now(), Duration::from_secs(60));
        let lag = |left, emulated| {
            let until = Until::after(Drained { left, settled_by }, emulated, visibility);
            until.lost_from.saturating_duration_since(Instant::now()) > visibility
        };
        assert_eq!([lag(0, true), lag(1, false), lag(0, false)], [false, false, true]);
    }

    #[test]
    fn a_dead_letter_without_a_final_record_is_not_marked_and_one_without_any_neither() {
        let folder = tempfile::tempdir().unwrap();
        let asked = request().task_id().unwrap().to_owned();
        let unmarked = |owner: &str, records: &[Record]| {
            look(folder.path(), vec![letter(&asked, owner, BEGAN_AT_MS)], records).0.unmarked()
        };
        assert_eq!(unmarked(OWNER, &[]), 1);
        assert_eq!(unmarked(OWNER, &[row(&asked, "running", BEGAN_AT_MS)]), 1);
        assert_eq!(unmarked(OWNER, &[row(&asked, "dead_lettered", BEGAN_AT_MS)]), 0);
        assert_eq!(unmarked(OWNER, &[row(&asked, "succeeded", BEGAN_AT_MS)]), 0);
        let of_others = vec![letter(EARLIER, "somebody-else", BEGAN_AT_MS)];
        assert_eq!(look(folder.path(), of_others, &[]).0.unmarked(), 0);
    }
}
