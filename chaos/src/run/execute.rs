//! One experiment from its first request to the last look at what it left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::future::join_all;
use loadtest::stack::{Queue, Stack};
use loadtest::{Counts, LedgerEntry, LoadOutcome, LoadPlan, NuisanceSockets, Running, TaskMix};
use task_core::idempotency::named_task_id;
use task_core::{IdempotencyKey, Owner};
use tokio::time::Instant;

use super::halt::Halt;
use super::live::{FaultState, LiveFault};
use super::progress::Progress;
use super::timeline::{FaultRun, PHASE_BEFORE, Planned, Stage};
use super::verdict::Redrive;
use super::{Dose, actions, dose};
use crate::clock::{millis, now_ms};
use crate::cloud::{CallError, Cloud};
use crate::experiment::{Abort, Experiment, Mix};
use crate::fault::{Guards, Lever, ResolveError, resolve};
use crate::observe::{self, Configuration, Sample, Sampler};
use crate::oracle::{DeadLetter, Record};

/// How often the error budget is looked at.
const BUDGET_LOOK: Duration = Duration::from_secs(1);
/// For the pushes that tell the clients of the last final states.
const SETTLE_CLIENTS: Duration = Duration::from_secs(5);
/// The queue may refill while dead letters are moved back and fail again.
const REDRIVE_SETTLE: Duration = Duration::from_secs(120);
/// Where a queue says nothing of itself: SQS's own default.
const VISIBILITY_DEFAULT_SECONDS: u32 = 30;
const MAX_RECEIVE_COUNT_DEFAULT: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("a fault does not fit the stack")]
    Resolve(#[from] ResolveError),
    #[error("the stack has no queue {0:?}")]
    NoQueue(&'static str),
    #[error("the stack has no table {0:?}")]
    NoTable(&'static str),
    #[error("the load could not run")]
    Load(#[from] loadtest::LoadError),
    #[error("the stack could not be read")]
    Read(#[from] CallError),
    #[error("{0}; what was changed is put back, and nothing was judged")]
    Halted(String),
}

/// What every experiment of a run works with.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) stack: &'a Stack,
    pub(super) guards: &'a Guards,
    pub(super) run_id: &'a str,
    pub(super) seed: u64,
    /// Of the whole run: a signal.
    pub(super) halt: &'a Halt,
    pub(super) progress: &'a Progress,
}

/// Where the live view looks.
#[derive(Clone, Copy, Debug)]
struct Watched<'a> {
    running: &'a Running,
    sampler: &'a Sampler,
}

/// The data plane at one quiet moment.
#[derive(Debug)]
pub(super) struct Quiet {
    pub(super) records: BTreeMap<String, Record>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) remaining: u64,
    pub(super) at_ms: u64,
}

/// Everything that was seen of one experiment; judged without AWS.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) outcome: LoadOutcome,
    pub(super) named_ids: HashMap<u64, String>,
    pub(super) dose: Vec<Dose>,
    pub(super) samples: Vec<Sample>,
    pub(super) quiet: Quiet,
    /// Whether the auditor could be run.
    pub(super) audit: Result<(), String>,
    /// After the audit, or after the redrive.
    pub(super) end: Quiet,
    pub(super) redrive: Option<Result<Redrive, String>>,
    pub(super) configuration: (Configuration, Configuration),
    /// As read while the first fault was in effect.
    pub(super) during: Option<Configuration>,
    pub(super) budget_spent: Option<String>,
    pub(super) queue: QueueFacts,
    pub(super) started_at_ms: u64,
    pub(super) took_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueFacts {
    pub(crate) visibility_timeout: Duration,
    pub(crate) max_receive_count: u64,
}

impl Bench<'_> {
    pub(super) async fn execute(&self, experiment: &Experiment) -> Result<Observed, ExecuteError> {
        let (began, started_at_ms) = (Instant::now(), now_ms());
        let queue = self.queue_facts()?;
        let planned = self.plan(experiment, queue)?;
        let before = observe::configuration(self.cloud, self.stack).await?;
        let tasks_url = self.queue("tasks")?.url.clone();
        let dead_url = self.queue("tasks-dlq")?.url.clone();
        let sampler = Sampler::start(self.cloud.clone(), tasks_url.clone(), dead_url);

        let running = loadtest::start(self.stack, self.load_plan(experiment, queue)).await?;
        running.phase(PHASE_BEFORE);
        self.announce(experiment, &planned, queue);
        let watched = Watched { running: &running, sampler: &sampler };
        let (runs, budget_spent) = self.under_load(experiment, &planned, watched).await;
        // Whoever asked to stop wants to have the terminal back, not a verdict in some minutes.
        if let Some(reason) = self.halt.reason() {
            return Err(ExecuteError::Halted(reason));
        }
        let settle = experiment.load.settle.resolve(queue.visibility_timeout);
        self.progress.line("waiting for the queue to empty");
        self.progress.phase("draining");
        self.showing(watched, observe::drained(self.cloud, &tasks_url, settle)).await?;
        self.progress.phase("judging");

        let quiet = self.look(&running.ledger()).await?;
        let dose = self.doses(&planned, &runs, &running.ledger(), &quiet.records).await;
        let audit = actions::audit(self.cloud, self.stack).await.map_err(|error| error.to_string());
        let redrive = match experiment.expect.redrive {
            true => {
                self.progress.phase("redrive");
                let redrive = self.showing(watched, self.redrive(&running, settle)).await;
                Some(redrive.map_err(|error| crate::fault::chain(&error)))
            }
            false => None,
        };
        running.settled(SETTLE_CLIENTS).await;
        let outcome = running.finish().await?;
        let end = self.look(&outcome.ledger).await?;
        let after = observe::configuration(self.cloud, self.stack).await?;
        Ok(Observed {
            named_ids: named_ids(&outcome.ledger),
            outcome,
            dose,
            samples: sampler.finish().await,
            quiet,
            audit,
            end,
            redrive,
            configuration: (before, after),
            during: runs.into_iter().find_map(|run| run.during),
            budget_spent,
            queue,
            started_at_ms,
            took_ms: millis(began.elapsed()),
        })
    }

    fn plan(&self, experiment: &Experiment, queue: QueueFacts) -> Result<Vec<Planned>, ExecuteError> {
        let planned = experiment.fault_specs().enumerate().map(|(index, spec)| {
            let duration = spec.duration.resolve(queue.visibility_timeout);
            let token = format!("{}-{}-{index}", self.run_id, experiment.name);
            let lever = resolve(spec, self.stack, duration, token)?;
            let function = match &lever {
                Lever::Fis(_) | Lever::ReservedConcurrency(_) => self.stack.functions.get(&spec.target),
                _ => None,
            };
            let function = function.map(|function| function.name.clone());
            Ok(Planned {
                metrics: dose::metrics(&lever, function.as_deref()),
                spec: spec.clone(),
                lever,
                function,
                start: spec.start.resolve(queue.visibility_timeout),
                duration,
            })
        });
        planned.collect()
    }

    /// Arrivals, faults and the error budget side by side; returns when arrivals and faults have ended.
    async fn under_load(
        &self,
        experiment: &Experiment,
        planned: &[Planned],
        watched: Watched<'_>,
    ) -> (Vec<FaultRun>, Option<String>) {
        let (halt, running) = (Halt::default(), watched.running);
        let stage = Stage {
            cloud: self.cloud,
            stack: self.stack,
            guards: self.guards,
            running,
            halt: &halt,
            progress: self.progress,
            experiment: &experiment.name,
            active: AtomicUsize::new(0),
            began: Instant::now(),
        };
        let faults =
            join_all(planned.iter().enumerate().map(|(number, planned)| stage.play(number, planned)));
        let work = async {
            let arrivals = async {
                tokio::select! {
                    () = running.arrivals_ended() => {}
                    () = halt.asked() => running.stop_arrivals(),
                }
            };
            tokio::join!(faults, arrivals).0
        };
        let watch = self.watch(&experiment.abort, watched, &halt);
        tokio::select! {
            runs = work => (runs, halt.reason()),
            // Watching never ends by itself.
            never = watch => match never {},
        }
    }

    async fn watch(&self, abort: &Abort, watched: Watched<'_>, halt: &Halt) -> std::convert::Infallible {
        loop {
            if !self.halt.sleep(BUDGET_LOOK).await {
                halt.ask(&self.halt.reason().unwrap_or_default());
            }
            let counts = self.show(watched);
            let bad = counts.refused + counts.unknown;
            let share = bad as f64 * 100.0 / counts.attempted.max(1) as f64;
            if counts.attempted >= abort.attempts_min && share > abort.refused_percent {
                halt.ask(&format!(
                    "the error budget is spent: {share:.1} % of requests were refused or unanswered"
                ));
            }
            if let Some(max_ms) = abort.p99_ms_max.filter(|max_ms| counts.post_p99_ms > *max_ms)
                && counts.attempted >= abort.attempts_min
            {
                halt.ask(&format!(
                    "clients wait too long: p99 {:.0} ms, at most {max_ms} ms",
                    counts.post_p99_ms
                ));
            }
            if halt.reason().is_some() {
                tokio::time::sleep(BUDGET_LOOK).await;
            }
        }
    }

    fn announce(&self, experiment: &Experiment, planned: &[Planned], queue: QueueFacts) {
        let faults = planned.iter().map(|planned| LiveFault {
            name: format!("{} on {}", planned.spec.kind.name(), planned.spec.target),
            starts_ms: millis(planned.start),
            ends_ms: millis(planned.start + planned.duration),
            state: FaultState::Waiting,
        });
        let load = experiment.load.duration.resolve(queue.visibility_timeout);
        self.progress.load_begins(millis(load), faults.collect());
        self.progress.phase(PHASE_BEFORE);
    }

    fn show(&self, watched: Watched<'_>) -> Counts {
        let counts = watched.running.counts();
        self.progress.observe(&counts, watched.sampler.latest());
        counts
    }

    /// Does the work, and meanwhile goes on showing what is seen.
    async fn showing<T>(&self, watched: Watched<'_>, work: impl Future<Output = T>) -> T {
        let show = async {
            loop {
                self.show(watched);
                tokio::time::sleep(BUDGET_LOOK).await;
            }
        };
        tokio::select! {
            done = work => done,
            // Showing never ends by itself.
            never = show => match never {},
        }
    }

    async fn look(&self, ledger: &[LedgerEntry]) -> Result<Quiet, ExecuteError> {
        let table = self.stack.tables.get("tasks").ok_or(ExecuteError::NoTable("tasks"))?;
        let submit = self.stack.functions.get("submit-task").map_or("submit-task", |function| &function.name);
        let shards = observe::owner_index_shards(self.cloud, submit).await?;
        let mut ids: BTreeSet<String> =
            ledger.iter().filter_map(|entry| entry.task_id().map(str::to_owned)).collect();
        ids.extend(named_ids(ledger).into_values());
        let owners = ledger.iter().map(|entry| entry.owner.clone()).collect();
        Ok(Quiet {
            at_ms: now_ms(),
            remaining: observe::depth(self.cloud, &self.queue("tasks")?.url).await?.total(),
            dead_letters: observe::peek(self.cloud, &self.queue("tasks-dlq")?.url).await?,
            records: observe::records(self.cloud, &table.name, &ids, &owners, shards).await?,
        })
    }

    async fn doses(
        &self,
        planned: &[Planned],
        runs: &[FaultRun],
        ledger: &[LedgerEntry],
        records: &BTreeMap<String, Record>,
    ) -> Vec<Dose> {
        let all = planned.iter().zip(runs);
        let doses = all.map(|(planned, run)| dose::measure(self.cloud, planned, run, ledger, records));
        join_all(doses).await
    }

    async fn redrive(&self, running: &Running, settle: Duration) -> Result<Redrive, ExecuteError> {
        self.progress.line("moving the dead letters back");
        let began = Instant::now();
        let dead_letters = self.queue("tasks-dlq")?;
        observe::at_rest(self.cloud, &dead_letters.url).await?;
        let moved = actions::redrive(self.cloud, &dead_letters.arn).await?;
        observe::drained(self.cloud, &self.queue("tasks")?.url, settle.min(REDRIVE_SETTLE)).await?;
        running.settled(SETTLE_CLIENTS).await;
        Ok(Redrive {
            moved,
            took_ms: millis(began.elapsed()),
            not_succeeded: 0,
            dlq_expected: 0,
            dlq_found: 0,
        })
    }

    fn queue(&self, name: &'static str) -> Result<&Queue, ExecuteError> {
        self.stack.queues.get(name).ok_or(ExecuteError::NoQueue(name))
    }

    fn queue_facts(&self) -> Result<QueueFacts, ExecuteError> {
        queue_facts(self.stack)
    }

    fn load_plan(&self, experiment: &Experiment, queue: QueueFacts) -> LoadPlan {
        let load = &experiment.load;
        LoadPlan {
            run_id: format!("{}-{}", self.run_id, experiment.name),
            seed: self.seed,
            rate_per_second: load.rate_per_second,
            duration: load.duration.resolve(queue.visibility_timeout),
            owners: load.owners,
            mix: task_mix(&load.mix),
            nuisance: NuisanceSockets {
                silent: load.sockets.silent,
                slow: load.sockets.slow,
                dropped: load.sockets.dropped,
            },
            ..LoadPlan::default()
        }
    }
}

fn task_mix(mix: &Mix) -> TaskMix {
    let stock = TaskMix::default();
    TaskMix {
        poison_one_in: mix.poison_one_in,
        flaky_one_in: mix.flaky_one_in,
        flaky_failures: mix.flaky_failures.unwrap_or(stock.flaky_failures),
        sleep_one_in: mix.sleep_one_in,
        sleep_ms: mix.sleep_ms.unwrap_or(stock.sleep_ms),
        duplicate_one_in: mix.duplicate_one_in,
        conflict_one_in: mix.conflict_one_in,
        oversize_one_in: mix.oversize_one_in,
        ..stock
    }
}

pub(crate) fn queue_facts(stack: &Stack) -> Result<QueueFacts, ExecuteError> {
    let queue = stack.queues.get("tasks").ok_or(ExecuteError::NoQueue("tasks"))?;
    let visibility = queue.visibility_timeout_seconds.unwrap_or(VISIBILITY_DEFAULT_SECONDS);
    Ok(QueueFacts {
        visibility_timeout: Duration::from_secs(visibility.into()),
        max_receive_count: queue.max_receive_count.unwrap_or(MAX_RECEIVE_COUNT_DEFAULT).into(),
    })
}

/// What the service promises of a key: it names the task, whatever the client was told.
fn named_ids(ledger: &[LedgerEntry]) -> HashMap<u64, String> {
    ledger.iter().filter_map(|entry| Some((entry.sequence, named_id(entry)?))).collect()
}

fn named_id(entry: &LedgerEntry) -> Option<String> {
    let owner = Owner::parse(&entry.owner).ok()?;
    let key = IdempotencyKey::parse(&entry.idempotency_key).ok()?;
    Some(named_task_id(&owner, &key).to_string())
}
