//! The data plane at one quiet moment: read once, and kept as sorted facts. What people are shown is found again on disk.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use loadtest::LedgerEntry;
use loadtest::stack::{Queue, Stack, Table};
use task_core::idempotency::named_task_id;
use task_core::{IdempotencyKey, Owner};

use super::activity::Activity;
use super::dose::Untouched;
use super::execute::ExecuteError;
use crate::clock::now_ms;
use crate::cloud::Cloud;
use crate::observe;
use crate::oracle::{
    DeadLetter, Evidence, Findings, LedgerIndex, LetterIndex, OracleError, Record, Records, Rules, Shelf,
    ShelfError, TableIndex, judge,
};

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

    /// `untouched` is shown every record.
    pub(super) async fn look(
        self,
        ledger: &[LedgerEntry],
        untouched: &mut [Option<Untouched>],
    ) -> Result<Quiet, ExecuteError> {
        let shards = observe::owner_index_shards(self.cloud, self.submit).await?;
        let at_ms = now_ms();
        let remaining = observe::depth(self.cloud, &self.tasks.url).await?.total();
        let mut quiet = Quiet::new(self.folder, at_ms, remaining)?;
        quiet.keep_letters(observe::peek(self.cloud, &self.dead_letters.url).await?)?;
        let (ids, owners) = asked(ledger);
        observe::each_record(self.cloud, &self.table.name, ids, &owners, shards, |record| {
            untouched.iter_mut().flatten().for_each(|untouched| untouched.see(&record));
            Ok::<_, ExecuteError>(quiet.keep_record(&record)?)
        })
        .await?;
        Ok(quiet)
    }
}

/// Every id that an answer or a key names, and every owner.
fn asked(ledger: &[LedgerEntry]) -> (BTreeSet<String>, BTreeSet<String>) {
    let answered = ledger.iter().filter_map(|entry| entry.task_id().map(str::to_owned));
    let ids = answered.chain(ledger.iter().filter_map(named_id)).collect();
    (ids, ledger.iter().map(|entry| entry.owner.clone()).collect())
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
    /// Tasks that are dead letters.
    dead: HashSet<String>,
    remaining: u64,
    at_ms: u64,
    activity: Activity,
    unmarked: u64,
}

impl Quiet {
    fn new(folder: &Path, at_ms: u64, remaining: u64) -> Result<Self, OracleError> {
        Ok(Self {
            table: TableIndex::new(folder),
            records: Records::new(folder)?,
            letters: LetterIndex::new(folder),
            dead_letters: Vec::new(),
            dead: HashSet::new(),
            remaining,
            at_ms,
            activity: Activity::default(),
            unmarked: 0,
        })
    }

    fn keep_letters(&mut self, dead_letters: Vec<DeadLetter>) -> Result<(), OracleError> {
        for (position, letter) in (0..).zip(&dead_letters) {
            self.letters.add(position, letter)?;
        }
        self.dead = dead_letters.iter().filter_map(DeadLetter::task_id).collect();
        self.dead_letters = dead_letters;
        Ok(())
    }

    fn keep_record(&mut self, record: &Record) -> Result<(), OracleError> {
        self.activity.see(record);
        self.unmarked += u64::from(self.dead.contains(&record.task_id) && !record.status.is_final());
        let position = self.records.keep(record)?;
        Ok(self.table.add(position, record)?)
    }

    pub(super) fn dead_letters_seen(&self) -> u64 {
        self.dead_letters.len() as u64
    }

    /// Dead letters of which the table does not say that they are final.
    pub(super) fn unmarked(&self) -> u64 {
        self.unmarked
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn judge(
        self,
        ledger: &[LedgerEntry],
        rules: &Rules,
        folder: &Path,
    ) -> Result<Findings, OracleError> {
        let mut requests = LedgerIndex::new(folder);
        for (position, entry) in (0..).zip(ledger) {
            requests.add(position, entry, named_id(entry).as_deref())?;
        }
        let evidence = Evidence {
            ledger: requests,
            table: self.table,
            dead_letters: self.letters,
            remaining: self.remaining,
            at_ms: self.at_ms,
        };
        judge(evidence, rules, &Kept { ledger, records: &self.records, dead_letters: &self.dead_letters })
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
