//! Faults that cannot be left behind: the prior value is on disk before the change, and whoever ends the run, in
//! whatever way, releases what is open.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep};

use super::Lever;
use crate::cloud::{CallError, Cloud};
use crate::journal::{Journal, JournalError, Open, Step};
use crate::wait::{Patience, until_seen};

/// How long a setting may take to read back as it was before: attributes of a queue take up to a minute on AWS.
const READ_BACK_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(90) };
/// Putting back is tried for so long: a throttled or refused call must not leave the stack changed.
const RELEASE_WITHIN: Duration = Duration::from_secs(30);
/// The look before a recovery.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Before the second attempt; then twice as long before each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(8);

#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("nothing was changed")]
    Journal(#[from] JournalError),
    #[error("the fault was applied, and that could not be recorded")]
    Unrecorded(#[source] JournalError),
    #[error("the setting reads as before, and that could not be recorded")]
    Unverified(#[source] JournalError),
    #[error("the fault could not be applied")]
    Apply(#[source] CallError),
    #[error("another fault of this run on the {setting} could not be put back: nothing was changed")]
    StillFaulted { setting: String },
    #[error(
        "the {setting} is {found} already, as a fault leaves it, perhaps another run's: nothing was changed"
    )]
    FaultedAlready { setting: String, found: String },
    #[error("the fault could not be put back")]
    Release(#[source] CallError),
    #[error("the setting is {found} and was {prior}")]
    Drift { prior: String, found: String },
    #[error(
        "the setting was changed since and is left alone: it is {found} and was {prior} before the fault; `--force` writes that"
    )]
    ChangedSince { prior: String, found: String },
    #[error("what was changed is not there any more, and that could not be recorded")]
    GoneUnrecorded(#[source] JournalError),
}

/// What became of one fault's way back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RevertReport {
    pub fault: u64,
    pub lever: Lever,
    pub prior: Value,
    /// `None` when the setting reads as before.
    pub error: Option<String>,
}

impl RevertReport {
    fn of(entry: &Open, outcome: Result<(), GuardError>) -> Self {
        Self {
            fault: entry.fault,
            lever: entry.lever.clone(),
            prior: entry.prior.clone(),
            error: outcome.err().map(|error| chain(&error)),
        }
    }
}

/// What became of a fault that a run left when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    PutBack,
    /// What was changed does not exist any more.
    Gone,
}

/// All faults of a run. Clones share the same set.
#[derive(Clone, Debug)]
pub struct Guards {
    cloud: Cloud,
    journal: Arc<Journal>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Also those that could not be put back.
    open: BTreeMap<u64, Open>,
    /// By the setting's name.
    settings: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
    /// Of the faults that are not put back yet.
    held: BTreeMap<u64, OwnedMutexGuard<()>>,
    reports: Vec<RevertReport>,
}

impl State {
    /// One report of each fault: the last attempt tells.
    fn keep(&mut self, report: RevertReport) {
        match self.reports.iter_mut().find(|kept| kept.fault == report.fault) {
            Some(kept) => *kept = report,
            None => self.reports.push(report),
        }
    }
}

/// The sole right of a fault to change its setting: whoever read it while another fault is in effect would take that one's
/// value for what must be put back.
#[derive(Debug)]
pub struct Turn {
    lever: Lever,
    held: Option<OwnedMutexGuard<()>>,
}

impl Guards {
    pub fn new(cloud: Cloud, journal: Journal) -> Self {
        Self { cloud, journal: Arc::new(journal), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every other fault on the setting is put back, for ever where one cannot be: whoever waits says until when.
    pub async fn turn(&self, lever: Lever) -> Turn {
        let Some(setting) = lever.setting() else { return Turn { lever, held: None } };
        let lock = Arc::clone(self.state().settings.entry(setting).or_default());
        Turn { lever, held: Some(lock.lock_owned().await) }
    }

    /// Snapshot, journal, change: in this order. What was changed by halves is put back. `ends_at_ms` is when the fault is to
    /// be over.
    pub async fn engage(&self, experiment: &str, turn: Turn, ends_at_ms: u64) -> Result<u64, GuardError> {
        let Turn { lever, held } = turn;
        let lever = lever.dated(ends_at_ms);
        self.must_be_put_back(&lever)?;
        let prior = lever.read(&self.cloud).await.map_err(GuardError::Apply)?;
        // What a fault set would be taken for what must be put back, and be written for good.
        if lever.is_as_faulted(&prior) {
            let (setting, found) = (lever.setting().unwrap_or_default(), prior.to_string());
            return Err(GuardError::FaultedAlready { setting, found });
        }
        let fault = self.open(experiment, &lever, &prior)?;
        self.state().held.extend(held.map(|held| (fault, held)));
        let engaged = match lever.engage(&self.cloud, &prior).await {
            Ok(()) => self.journal.record(Step::Engaged { fault }).map_err(GuardError::Unrecorded),
            Err(error) => Err(GuardError::Apply(error)),
        };
        if engaged.is_err() {
            self.release(fault).await;
        }
        engaged.map(|()| fault)
    }

    fn must_be_put_back(&self, lever: &Lever) -> Result<(), GuardError> {
        let Some(setting) = lever.setting() else { return Ok(()) };
        let is_left =
            self.state().open.values().any(|entry| entry.lever.setting().as_ref() == Some(&setting));
        if is_left { Err(GuardError::StillFaulted { setting }) } else { Ok(()) }
    }

    fn open(&self, experiment: &str, lever: &Lever, prior: &Value) -> Result<u64, GuardError> {
        let mut state = self.state();
        let fault = state.next;
        let entry = Open { fault, experiment: experiment.into(), lever: lever.clone(), prior: prior.clone() };
        self.journal.record(Step::Intent {
            fault,
            experiment: entry.experiment.clone(),
            lever: entry.lever.clone(),
            prior: entry.prior.clone(),
        })?;
        state.next += 1;
        state.open.insert(fault, entry);
        Ok(fault)
    }

    /// Puts one fault back and reads back. One that could not be put back stays open, and is tried once more whenever this is
    /// asked for. A fault that is not open is no error: somebody was faster.
    pub async fn release(&self, fault: u64) -> Option<RevertReport> {
        let (entry, was_tried) = {
            let state = self.state();
            (state.open.get(&fault).cloned()?, state.reports.iter().any(|report| report.fault == fault))
        };
        let within = if was_tried { Duration::ZERO } else { RELEASE_WITHIN };
        let outcome = try_release(&self.cloud, &self.journal, &entry, within).await;
        let report = RevertReport::of(&entry, outcome);
        let mut state = self.state();
        if report.error.is_none() {
            state.open.remove(&fault);
            state.held.remove(&fault);
        }
        state.keep(report.clone());
        Some(report)
    }

    /// Puts back everything that is open, the last change first.
    pub async fn release_all(&self) -> Vec<RevertReport> {
        let open: Vec<u64> = self.state().open.keys().rev().copied().collect();
        let mut reports = Vec::new();
        for fault in open {
            reports.extend(self.release(fault).await);
        }
        reports
    }

    /// Does the work and then, whatever became of it, a panic included, puts back what is still open. The error is the
    /// text of the panic.
    pub async fn around<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        self.release_all().await;
        outcome.map_err(|panic| panic_text(panic.as_ref()).to_owned())
    }

    /// Every fault of the run that was put back, or could not be.
    pub fn reports(&self) -> Vec<RevertReport> {
        self.state().reports.clone()
    }
}

/// Puts a fault back from what the journal says of it.
pub async fn release(cloud: &Cloud, journal: &Journal, entry: &Open) -> RevertReport {
    RevertReport::of(entry, try_release(cloud, journal, entry, RELEASE_WITHIN).await)
}

/// Puts back what a run left that died, where it is as that run left it. `is_forced`: whatever it is now.
pub async fn recover(
    cloud: &Cloud,
    journal: &Journal,
    entry: &Open,
    is_forced: bool,
) -> Result<Recovered, GuardError> {
    // What is not there must be so at every attempt: a way back is given up for it.
    match attempts(LOOK_WITHIN, async || entry.lever.read(cloud).await).await {
        Err(error) if error.is_not_there => {
            journal.record(Step::Gone { fault: entry.fault }).map_err(GuardError::GoneUnrecorded)?;
            return Ok(Recovered::Gone);
        }
        Err(error) if !is_forced => return Err(GuardError::Release(error)),
        Ok(found) if !is_forced && found != entry.prior && !entry.lever.is_left(&entry.prior, &found) => {
            let (prior, found) = (entry.prior.to_string(), found.to_string());
            return Err(GuardError::ChangedSince { prior, found });
        }
        // What reads as before is written all the same: on AWS the change may be on its way yet.
        Ok(_) | Err(_) => {}
    }
    try_release(cloud, journal, entry, RELEASE_WITHIN).await.map(|()| Recovered::PutBack)
}

async fn try_release(
    cloud: &Cloud,
    journal: &Journal,
    entry: &Open,
    within: Duration,
) -> Result<(), GuardError> {
    let put_back = attempts(within, async || entry.lever.put_back(cloud, &entry.prior).await);
    put_back.await.map_err(GuardError::Release)?;
    // Whether or not this is on disk, the setting is read back: only `verified` says that there is nothing left to do.
    journal.record(Step::Released { fault: entry.fault }).ok();
    let mut found = Value::Null;
    let same = until_seen(READ_BACK_PATIENCE, async || {
        found = entry.lever.read(cloud).await?;
        Ok((found == entry.prior).then_some(()))
    });
    if same.await.map_err(GuardError::Release)?.is_none() {
        return Err(GuardError::Drift { prior: entry.prior.to_string(), found: found.to_string() });
    }
    journal.record(Step::Verified { fault: entry.fault }).map_err(GuardError::Unverified)
}

/// Tries again after a failure until at least so long has passed: no time is one attempt.
async fn attempts<T>(
    within: Duration,
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let (began, mut pause) = (Instant::now(), PAUSE_MIN);
    loop {
        match call().await {
            Err(_) if began.elapsed() < within => {
                sleep(pause).await;
                pause = PAUSE_MAX.min(pause * 2);
            }
            outcome => return outcome,
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
