//! The life of one run.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::attack::{self, Attack, OnlyOne};
use crate::clock::{issue_arrivals, issue_reads};
use crate::error::LoadError;
use crate::ledger::{Counts, LedgerEntry};
use crate::nuisance;
use crate::outcome::LoadOutcome;
use crate::plan::LoadPlan;
use crate::session::{CONNECTS_AT_ONCE, Command, Session};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::summary;
use crate::target::Target;

/// Goose starts its users within a second or two, even thousands.
const USERS_START_TIMEOUT: Duration = Duration::from_secs(30);
/// Goose looks twice a second whether its users have ended.
const GOOSE_END_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a finish waits for arrivals in the backlog, beyond one POST with all its repeats.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(30);
/// A settling run looks this often, when no push wakes it.
const SETTLE_TICK: Duration = Duration::from_millis(250);
/// A task is read when nothing was heard of it for this long: pushes are faster while all is well.
const SETTLE_QUIET: Duration = Duration::from_secs(3);
/// Reads per tick: 40 per second at the most, so that settling is no load of its own.
const SETTLE_READS_MAX: usize = 10;
const LAST_READS_TIMEOUT: Duration = Duration::from_secs(30);
const READS_AT_ONCE: usize = 8;
/// For a push that a read of the same end has overtaken.
const LAST_PUSHES_TIMEOUT: Duration = Duration::from_secs(1);
const LAST_PUSHES_TICK: Duration = Duration::from_millis(20);
/// Commands to one session that it has not yet sent.
const COMMANDS_MAX: usize = 64;
const SESSIONS_END_TIMEOUT: Duration = Duration::from_secs(5);

/// A run under way. Dropping it stops the load and closes the sockets.
pub struct Running {
    shared: Arc<Shared>,
    commands: Vec<mpsc::Sender<Command>>,
    sessions: Vec<JoinHandle<()>>,
    attack: Option<Attack>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("run_id", &self.shared.plan.run_id).finish_non_exhaustive()
    }
}

/// Connects the sockets, begins the arrivals, and returns. There is one run at a time: one that was dropped is waited for.
///
/// Goose installs a handler for SIGINT and SIGTERM unless the process has one already: a program with a handler of its
/// own must set it, through the `ctrlc` crate, before its first run.
pub async fn start(stack: &Stack, plan: LoadPlan) -> Result<Running, LoadError> {
    plan.validate()?;
    let only_one = OnlyOne::claim(&plan).await?;
    let target = Target::new(stack, &plan)?;
    let shared = Arc::new(Shared::new(plan, target, stack.max_receive_count()));
    only_one.belongs_to(&shared);
    // From here on an early return drops the run, which ends what was begun.
    let mut running = Running { shared, commands: Vec::new(), sessions: Vec::new(), attack: None };
    running.connect().await?;
    running.attack = Some(attack::launch(&running.shared, only_one)?);
    running.workers_ready().await?;
    tokio::spawn(issue_arrivals(Arc::clone(&running.shared)));
    tokio::spawn(issue_reads(Arc::clone(&running.shared)));
    Ok(running)
}

impl Running {
    async fn connect(&mut self) -> Result<(), LoadError> {
        let handshakes = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
        let mut firsts = Vec::new();
        for owner in 0..self.shared.target.owners.len() {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let (told, first) = oneshot::channel();
            let session = Session {
                owner,
                shared: Arc::clone(&self.shared),
                commands,
                handshakes: Arc::clone(&handshakes),
            };
            self.commands.push(sender);
            self.sessions.push(tokio::spawn(session.run(told)));
            firsts.push(first);
            self.sessions.extend(nuisance::spawn(&self.shared, owner, &handshakes));
        }
        for (owner, first) in firsts.into_iter().enumerate() {
            let told = first.await.unwrap_or_else(|_| Err("its task ended".to_owned()));
            let name = &self.shared.target.owners[owner].name;
            told.map_err(|reason| LoadError::Connect { owner: name.clone(), reason })?;
        }
        Ok(())
    }

    async fn workers_ready(&mut self) -> Result<(), LoadError> {
        let workers = self.shared.plan.workers;
        let mut ready = self.shared.workers_ready.subscribe();
        let attack = self.attack.as_mut().expect("invariant: launched just before");
        let reason = tokio::select! {
            waited = timeout(USERS_START_TIMEOUT, ready.wait_for(|ready| *ready >= workers)) => match waited {
                Ok(_) => return Ok(()),
                Err(_) => format!("not all of its {workers} users started in {USERS_START_TIMEOUT:?}"),
            },
            ended = attack => format!("it ended at once: {:?}", ended.map(|metrics| metrics.err())),
        };
        self.attack = None;
        Err(LoadError::Goose { reason })
    }

    /// From now on arrivals belong to the phase `name`, by their intended start.
    pub fn phase(&self, name: &str) {
        self.shared.book.phase(name);
    }

    /// Ends the arrivals early.
    pub fn stop_arrivals(&self) {
        self.shared.arrivals.set();
    }

    /// Asks on its owner's socket for the state of a task. Does nothing unless the task is acknowledged.
    pub fn watch(&self, sequence: u64) {
        let Some(task) = self.shared.book.acknowledged_at(sequence) else { return };
        let command = json!({"action": "watch", "task_id": task.task_id}).to_string();
        // A full channel is a session that is away: its catch-up reads the task instead.
        drop(self.commands[task.owner].try_send(command));
    }

    pub fn counts(&self) -> Counts {
        self.shared.book.counts()
    }

    /// A copy of the ledger as it is now.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.shared.book.entries(&self.shared.plan.run_id)
    }

    /// Every arrival was issued, and every POST has its outcome.
    pub async fn arrivals_ended(&self) {
        let workers = self.shared.plan.workers;
        // The sender lives in `shared`: it cannot be gone.
        drop(self.shared.workers_done.subscribe().wait_for(|done| *done >= workers).await);
    }

    /// Waits until every acknowledged task has a final state, by push or GET; `false` when `deadline` came first.
    pub async fn settled(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut next_reads = Instant::now() + SETTLE_TICK;
        loop {
            let changed = self.shared.book.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.book.outstanding() == 0 {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            if Instant::now() >= next_reads {
                self.read_some(SETTLE_QUIET, SETTLE_READS_MAX).await;
                next_reads = Instant::now() + SETTLE_TICK;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(next_reads.min(until)) => {}
            }
        }
    }

    /// Waits until no push has come for `silence`; `false` when `deadline` came first.
    pub async fn pushes_ceased(&self, silence: Duration, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let (mut seen, mut since) = (self.shared.book.pushes(), Instant::now());
        while since.elapsed() < silence {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LAST_PUSHES_TICK).await;
            let now = self.shared.book.pushes();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        true
    }

    async fn read_some(&self, quiet: Duration, limit: usize) {
        let quiet_us = crate::timeline::micros(quiet);
        let tasks = self.shared.book.take_unfinished(None, quiet_us, limit);
        let (target, book) = (&self.shared.target, &self.shared.book);
        futures_util::stream::iter(tasks)
            .for_each_concurrent(READS_AT_ONCE, |task| async move {
                target.read_into(book, task.owner, &task.task_id).await;
            })
            .await;
    }

    /// Ends the run, reads unfinished tasks once more, and sums up.
    pub async fn finish(mut self) -> Result<LoadOutcome, LoadError> {
        self.stop_arrivals();
        let repeats = self.shared.plan.request_timeout * (self.shared.plan.unknown_retries + 1);
        // Past this the backlog stays unsent, and the outcome says so.
        drop(timeout(BACKLOG_TIMEOUT + repeats, self.arrivals_ended()).await);
        // What a hanging target does not answer stays unfinished.
        drop(timeout(LAST_READS_TIMEOUT, self.read_some(Duration::ZERO, usize::MAX)).await);
        // Without its push, an end counts as found by reading only: that must not be a matter of milliseconds.
        drop(timeout(LAST_PUSHES_TIMEOUT, self.pushes_arrived()).await);
        self.end_load();
        for session in std::mem::take(&mut self.sessions) {
            drop(timeout(SESSIONS_END_TIMEOUT, session).await);
        }
        // Only now: until its end a session may offer the sample of a push that is already in the book.
        self.shared.samples.close();
        let goose = self.join_attack().await?;
        Ok(self.outcome(goose))
    }

    async fn pushes_arrived(&self) {
        while self.shared.book.is_push_missing() {
            tokio::time::sleep(LAST_PUSHES_TICK).await;
        }
    }

    fn end_load(&self) {
        self.shared.arrivals.set();
        self.shared.stop.set();
        self.shared.tickets.close();
        self.shared.reads.close();
    }

    async fn join_attack(&mut self) -> Result<Value, LoadError> {
        let Some(attack) = self.attack.take() else { return Ok(Value::Null) };
        // A POST in flight is not cut short: goose ends after its longest one.
        let limit = GOOSE_END_TIMEOUT + self.shared.plan.request_timeout;
        let ended = timeout(limit, attack)
            .await
            .map_err(|_| LoadError::GooseStuck { waited_seconds: limit.as_secs() })?;
        let reason = match ended {
            Ok(Ok(metrics)) => match serde_json::to_value(&metrics) {
                Ok(value) => return Ok(value),
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(LoadError::Goose { reason })
    }

    fn outcome(&self, goose: Value) -> LoadOutcome {
        let book = &self.shared.book;
        book.judge_pages();
        let counts = book.counts();
        let (issue_lag, pool_wait) = {
            let inner = book.lock();
            (inner.issue_lag.latency(), inner.pool_wait.latency())
        };
        LoadOutcome {
            plan: self.shared.plan.clone(),
            counts,
            ledger: self.ledger(),
            phases: summary::phases(book, self.shared.target.is_token_given),
            total: summary::total(book),
            series: summary::series(book),
            validity: summary::validity(&counts, &issue_lag),
            issue_lag,
            pool_wait,
            connection_stats: book.connection_stats(),
            absences: book.absences(),
            wrong_reads: book.wrong_reads(),
            is_token_given: self.shared.target.is_token_given,
            goose,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_load();
        self.shared.samples.close();
    }
}
