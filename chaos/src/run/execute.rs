//! One experiment from its first request to the last look at what it left.

use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::future::join_all;
use loadtest::stack::Stack;
use loadtest::{Counts, LedgerEntry, LoadOutcome, LoadPlan, Running};
use tokio::time::{Instant, timeout};

use super::budget::Budget;
use super::dose::Untouched;
use super::halt::Halt;
use super::live::{FaultState, LiveFault};
use super::progress::Progress;
use super::quiet::{Drained, Place, Quiet, Until};
use super::timeline::{FaultRun, PHASE_BEFORE, Planned, Stage};
use super::verdict::Redrive;
use super::{Dose, actions, dose};
use crate::clock::{millis, now_ms};
use crate::cloud::{CallError, Cloud};
use crate::experiment::{Abort, Experiment};
use crate::fault::{Guards, Lever, ResolveError, place};
use crate::observe::{self, Configuration, Sample, Sampler, ShownCounts};
use crate::oracle::OracleError;

/// How often the error budget is looked at.
const BUDGET_LOOK: Duration = Duration::from_secs(1);
/// What waits for a worker of the load when arrivals are stopped early is sent within this time, or after the looks.
const BACKLOG_WITHIN: Duration = Duration::from_secs(30);
/// For the pushes that tell the clients of the last final states.
const SETTLE_CLIENTS: Duration = Duration::from_secs(5);
/// A push takes milliseconds: then nothing more is on its way.
const PUSHES_CEASED_FOR: Duration = Duration::from_millis(500);
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
    #[error("what was seen could not be kept")]
    Evidence(#[from] OracleError),
    #[error("{0}; what was changed is put back, and nothing was judged")]
    Halted(String),
    #[error("a fault could not be put back while clients arrived, and nothing was judged: {0}")]
    StillFaulted(String),
}

/// What every experiment of a run works with.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) stack: &'a Stack,
    pub(super) guards: &'a Guards,
    pub(super) run_id: &'a str,
    /// Of this run alone: what does not fit in memory is kept there for a while.
    pub(super) folder: &'a Path,
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

/// The data plane, as it was read when all was quiet.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) quiet: Quiet,
    /// After the audit, or after the redrive.
    pub(super) end: Quiet,
}

/// Everything else that was seen of one experiment; judged without AWS.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) outcome: LoadOutcome,
    pub(super) dose: Vec<Dose>,
    pub(super) samples: Vec<Sample>,
    /// Whether the auditor could be run.
    pub(super) audit: Result<(), String>,
    pub(super) redrive: Option<Result<Redrive, String>>,
    /// Before and after; the latter, where it could be read.
    pub(super) configuration: (Configuration, Result<Configuration, String>),
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
    pub(super) async fn execute(&self, experiment: &Experiment) -> Result<(Observed, Looks), ExecuteError> {
        let (began, started_at_ms) = (Instant::now(), now_ms());
        let queue = self.queue_facts()?;
        let planned = self.plan(experiment, queue)?;
        let before = observe::configuration(self.cloud, self.stack).await?;
        let place = Place::of(self.cloud, self.stack, self.folder)?;
        let tasks_url = &place.tasks.url;
        let sampler = Sampler::start(self.cloud.clone(), tasks_url.clone(), place.dead_letters.url.clone());

        let running = loadtest::start(self.stack, self.load_plan(experiment, queue)).await?;
        running.phase(PHASE_BEFORE);
        self.announce(experiment, &planned, queue);
        let watched = Watched { running: &running, sampler: &sampler };
        let arrivals = experiment.load.duration.resolve(queue.visibility_timeout);
        let (mut runs, budget_spent) = self.under_load(experiment, &planned, arrivals, watched).await;
        self.put_back_again(&planned, &mut runs).await?;
        dose::set_apart(&planned, &mut runs);
        let looks = async {
            let watched = Watched { running: &running, sampler: &sampler };
            let settle = experiment.load.settle.resolve(queue.visibility_timeout);
            self.progress.line("waiting for the queue to empty");
            self.progress.phase("draining");
            let drained = self.showing(watched, self.drained(tasks_url, settle)).await?;
            self.progress.phase("judging");

            let (ledger, mut counts) = (running.ledger(), ShownCounts::new());
            let until = self.until(drained, queue);
            let untouched = untouched(&planned, &runs, &ledger);
            let (quiet, untouched) = place.look_until(until, &ledger, &mut counts, untouched).await?;
            let dose = self.doses(&planned, &runs, &ledger, &untouched).await;
            drop(ledger);
            let audit = actions::audit(self.cloud, self.stack).await.map_err(|error| error.to_string());
            let redrive = match experiment.expect.redrive {
                true => {
                    self.progress.phase("redrive");
                    let redrive = self.redrive(place, &running, quiet.dead_letters_seen(), settle);
                    let redrive = self.showing(watched, redrive).await;
                    Some(redrive.map_err(|error| crate::fault::chain(&error)))
                }
                false => None,
            };
            running.settled(SETTLE_CLIENTS).await;
            let outcome = running.finish().await?;
            // What was moved back may be as invisible as it was at first.
            let until = match &redrive {
                Some(Ok((_, drained))) => self.until(*drained, queue),
                Some(Err(_)) | None => until,
            };
            let (end, _) = place.look_until(until, &outcome.ledger, &mut counts, Vec::new).await?;
            let after = observe::configuration(self.cloud, self.stack).await;
            let observed = Observed {
                outcome,
                dose,
                samples: sampler.finish().await,
                audit,
                redrive: redrive.map(|redrive| redrive.map(|(redrive, _)| redrive)),
                configuration: (before, after.map_err(|error| error.to_string())),
                during: runs.into_iter().find_map(|run| run.during),
                budget_spent,
                queue,
                started_at_ms,
                took_ms: millis(began.elapsed()),
            };
            Ok::<_, ExecuteError>((observed, Looks { quiet, end }))
        };
        // Looks that were cut short prove nothing, whatever was seen by then.
        Box::pin(self.unless_halted(looks)).await?
    }

    fn plan(&self, experiment: &Experiment, queue: QueueFacts) -> Result<Vec<Planned>, ExecuteError> {
        let placed = place(experiment, self.stack, queue.visibility_timeout, self.run_id)?;
        let planned = placed.into_iter().map(|placed| {
            let function = match &placed.lever {
                Lever::Fis(_) | Lever::ReservedConcurrency(_) => {
                    self.stack.functions.get(&placed.spec.target).cloned()
                }
                _ => None,
            };
            let name = function.as_ref().map(|function| function.name.as_str());
            Planned {
                metrics: dose::metrics(&placed.lever, name),
                is_ramped: matches!(placed.lever, Lever::Fis(_)) && self.has_ramps(),
                spec: placed.spec,
                lever: placed.lever,
                function,
                start: placed.start,
                duration: placed.duration,
            }
        });
        Ok(planned.collect())
    }

    /// Whether environments of a function learn of a fault of FIS one after the other.
    fn has_ramps(&self) -> bool {
        let is_at_once = self.stack.fault_injection.as_ref().is_some_and(|faults| faults.at_once);
        !(self.cloud.emulated && is_at_once)
    }

    /// Arrivals, faults and the error budget side by side; returns when arrivals and faults have ended.
    async fn under_load(
        &self,
        experiment: &Experiment,
        planned: &[Planned],
        arrivals: Duration,
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
            ending: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
            began: Instant::now(),
            arrivals,
        };
        let faults =
            join_all(planned.iter().enumerate().map(|(number, planned)| stage.play(number, planned)));
        let work = async {
            let arrivals = async {
                tokio::select! {
                    () = running.arrivals_ended() => {}
                    () = halt.asked() => {
                        running.stop_arrivals();
                        self.answered(running).await;
                    }
                }
            };
            tokio::join!(faults, arrivals).0
        };
        let watch = self.watch(&experiment.abort, watched, &stage);
        tokio::select! {
            runs = work => (runs, halt.reason()),
            // Watching never ends by itself.
            never = watch => match never {},
        }
    }

    /// Once more before the tasks are waited for: what is still in effect would be taken for the service's doing.
    async fn put_back_again(&self, planned: &[Planned], runs: &mut [FaultRun]) -> Result<(), ExecuteError> {
        let mut left = None;
        for report in self.guards.release_all().await {
            left = left.or_else(|| report.error.clone());
            let mut faults = planned.iter().zip(runs.iter_mut()).enumerate();
            if let Some((number, (planned, run))) =
                faults.find(|(_, (_, run))| run.fault == Some(report.fault))
            {
                planned.tell_put_back(self.progress, number, &report);
                run.put_back(report);
            }
        }
        left.map_or(Ok(()), |error| Err(ExecuteError::StillFaulted(error)))
    }

    /// What is under way when arrivals are stopped is answered before anybody looks for what was acknowledged. After a signal
    /// nobody looks.
    async fn answered(&self, running: &Running) {
        let limit = answers_within(&LoadPlan::default());
        tokio::select! {
            () = self.halt.asked() => {}
            ended = timeout(limit, running.arrivals_ended()) => drop(ended),
        }
    }

    async fn watch(
        &self,
        abort: &Abort,
        watched: Watched<'_>,
        stage: &Stage<'_>,
    ) -> std::convert::Infallible {
        let (mut budget, halt) = (Budget::new(abort), stage.halt);
        loop {
            if !self.halt.sleep(BUDGET_LOOK).await {
                halt.ask(&self.halt.reason().unwrap_or_default());
            }
            let counts = self.show(watched);
            if let Some(reason) = budget.look(&counts, stage.refuses_clients()) {
                halt.ask(&reason);
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

    /// Whoever asks to stop wants to have the terminal back, not a verdict in some minutes.
    async fn unless_halted<T>(&self, work: impl Future<Output = T>) -> Result<T, ExecuteError> {
        tokio::select! {
            biased;
            () = self.halt.asked() => Err(ExecuteError::Halted(self.halt.reason().unwrap_or_default())),
            done = work => Ok(done),
        }
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

    async fn doses(
        &self,
        planned: &[Planned],
        runs: &[FaultRun],
        ledger: &[LedgerEntry],
        untouched: &[Option<Untouched>],
    ) -> Vec<Dose> {
        let doses = planned.iter().zip(runs).zip(untouched).map(|((planned, run), untouched)| {
            dose::measure(self.cloud, planned, run, ledger, untouched.as_ref())
        });
        join_all(doses).await
    }

    /// Waits for the tasks queue to empty.
    async fn drained(&self, tasks_url: &str, settle: Duration) -> Result<Drained, CallError> {
        let settled_by = Instant::now() + settle;
        let left = observe::drained(self.cloud, tasks_url, settle).await?;
        Ok(Drained { left, settled_by })
    }

    fn until(&self, drained: Drained, queue: QueueFacts) -> Until {
        Until::after(drained, self.cloud.emulated, queue.visibility_timeout)
    }

    async fn redrive(
        &self,
        place: Place<'_>,
        running: &Running,
        letters: u64,
        settle: Duration,
    ) -> Result<(Redrive, Drained), ExecuteError> {
        self.progress.line("moving the dead letters back");
        let began = Instant::now();
        let moved = actions::redrive(self.cloud, place.dead_letters, letters).await?;
        // What is left then is judged like what is left after the load.
        let drained = self.drained(&place.tasks.url, settle).await?;
        running.settled(SETTLE_CLIENTS).await;
        // What came back as a dead letter is marked while its owner still listens: by its schedule the auditor may come
        // just when the sockets are gone.
        actions::audit(self.cloud, self.stack).await?;
        running.pushes_ceased(PUSHES_CEASED_FOR, SETTLE_CLIENTS).await;
        let took_ms = millis(began.elapsed());
        let redrive = Redrive { moved, took_ms, not_succeeded: 0, dlq_expected: 0, dlq_found: 0 };
        Ok((redrive, drained))
    }

    fn queue_facts(&self) -> Result<QueueFacts, ExecuteError> {
        queue_facts(self.stack)
    }

    fn load_plan(&self, experiment: &Experiment, queue: QueueFacts) -> LoadPlan {
        LoadPlan {
            run_id: load_id(self.run_id, &experiment.name),
            seed: self.seed,
            owners: experiment.load.owners_on(self.stack),
            ..experiment.load.plan(queue.visibility_timeout)
        }
    }
}

/// Shown every record of the first look, so that the table is read once by the oracle's facts and by the proofs of faults.
fn untouched<'a>(
    planned: &'a [Planned],
    runs: &'a [FaultRun],
    ledger: &'a [LedgerEntry],
) -> impl Fn() -> Vec<Option<Untouched>> + 'a {
    move || {
        let faults = planned.iter().zip(runs);
        faults.map(|(planned, run)| Untouched::of(&planned.spec, run, ledger)).collect()
    }
}

/// How long the last answers may take once arrivals are stopped: a POST of unknown fate is sent again.
fn answers_within(plan: &LoadPlan) -> Duration {
    BACKLOG_WITHIN + plan.request_timeout * (plan.unknown_retries + 1)
}

/// Of one experiment's load among all of a run.
fn load_id(run_id: &str, experiment: &str) -> String {
    format!("{run_id}-{experiment}")
}

pub(crate) fn queue_facts(stack: &Stack) -> Result<QueueFacts, ExecuteError> {
    let queue = stack.queues.get("tasks").ok_or(ExecuteError::NoQueue("tasks"))?;
    let visibility = queue.visibility_timeout_seconds.unwrap_or(VISIBILITY_DEFAULT_SECONDS);
    Ok(QueueFacts {
        visibility_timeout: Duration::from_secs(visibility.into()),
        max_receive_count: queue.max_receive_count.unwrap_or(MAX_RECEIVE_COUNT_DEFAULT).into(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_lambda::operation::delete_function_concurrency::DeleteFunctionConcurrencyOutput;
    use aws_sdk_lambda::operation::get_function_concurrency::GetFunctionConcurrencyOutput;
    use aws_sdk_lambda::operation::put_function_concurrency::PutFunctionConcurrencyOutput;
    use aws_smithy_mocks::mock;
    use serde_json::json;

    use super::*;
    use crate::fault::ReservedConcurrency;
    use crate::journal::Journal;
    use crate::mocked;
    use crate::run::Live;

    /// Lambda takes every change, and says of no function that its concurrency is reserved.
    async fn cloud() -> Cloud {
        let rules = [
            mock!(aws_sdk_lambda::Client::get_function_concurrency)
                .then_output(|| GetFunctionConcurrencyOutput::builder().build()),
            mock!(aws_sdk_lambda::Client::put_function_concurrency)
                .then_output(|| PutFunctionConcurrencyOutput::builder().build()),
            mock!(aws_sdk_lambda::Client::delete_function_concurrency)
                .then_output(|| DeleteFunctionConcurrencyOutput::builder().build()),
        ];
        Cloud { lambda: mocked::lambda(&rules), ..mocked::cloud().await }
    }

    fn planned() -> Planned {
        let spec = json!({
            "kind": "lambda-reserved-concurrency", "target": "list-tasks", "start": "0s", "duration": "1s",
            "concurrency": 0,
        });
        Planned {
            spec: serde_json::from_value(spec).unwrap(),
            lever: Lever::ReservedConcurrency(ReservedConcurrency {
                function: "list-tasks".into(),
                function_arn: "arn".into(),
                concurrency: 0,
            }),
            function: None,
            metrics: Vec::new(),
            is_ramped: false,
            start: Duration::ZERO,
            duration: Duration::from_secs(1),
        }
    }

    #[tokio::test]
    async fn what_is_put_back_when_the_load_has_ended_is_shown_as_put_back() {
        let stack = mocked::stack(&json!({}), &json!({}));
        let (cloud, folder) = (cloud().await, tempfile::tempdir().unwrap());
        let guards = Guards::new(cloud.clone(), Journal::open(folder.path()).unwrap());
        let (live, planned) = (Arc::new(Live::default()), [planned()]);
        let progress = Progress::new(Arc::clone(&live), "run", 1);
        let waiting = LiveFault { name: "f".into(), starts_ms: 0, ends_ms: 1, state: FaultState::Active };
        progress.load_begins(1, vec![waiting]);
        let turn = guards.turn(planned[0].lever.clone()).await;
        let fault = Some(guards.engage("one", turn, 0).await.unwrap());
        let mut runs = [FaultRun { fault, error: Some("refused".into()), ..FaultRun::default() }];
        let bench = Bench {
            cloud: &cloud,
            stack: &stack,
            guards: &guards,
            run_id: "run",
            folder: folder.path(),
            seed: 1,
            halt: &Halt::default(),
            progress: &progress,
        };
        bench.put_back_again(&planned, &mut runs).await.unwrap();
        assert_eq!((live.snapshot().faults[0].state, &runs[0].error), (FaultState::PutBack, &None));
    }

    /// The baseline under a name of so many letters, as it is read from its file.
    fn named(letters: usize) -> Option<Experiment> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/baseline.toml");
        let name = format!("name = \"{}\"", "n".repeat(letters));
        let text = std::fs::read_to_string(shipped).unwrap().replace("name = \"baseline\"", &name);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("experiment.toml");
        std::fs::write(&file, text).unwrap();
        crate::experiment::load(&[file]).ok()?.pop()
    }

    #[test]
    fn the_longest_name_and_the_largest_seed_make_a_load_that_can_run() {
        assert!(named(49).is_none(), "48 letters are the most");
        let longest = named(48).unwrap();
        // A run's id is its moment and its seed.
        let run_id = load_id(&format!("20261123t012332-{}", u64::MAX), &longest.name);
        LoadPlan { run_id, ..LoadPlan::default() }.validate().unwrap();
    }
}
