//! A run: experiments one after the other, and whatever happens, everything put back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use loadtest::stack::Stack;

use super::assess::{assess, failed};
use super::execute::{Bench, queue_facts};
use super::halt::Halt;
use super::live::Live;
use super::progress::Progress;
use super::verdict::{ExperimentReport, RunReport, overall};
use crate::clock::{millis, now_ms, rfc3339};
use crate::cloud::Cloud;
use crate::experiment::Experiment;
use crate::fault::{Guards, RevertReport, chain};
use crate::journal::{self, Journal, JournalError, Step, point_latest};

#[derive(Debug)]
pub struct Suite {
    pub experiments: Vec<Experiment>,
    pub stack: Stack,
    pub cloud: Cloud,
    pub seed: u64,
    pub run_id: String,
    /// Of this run alone.
    pub folder: PathBuf,
    pub halt: Halt,
    /// What is known while the run lasts.
    pub live: Arc<Live>,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{}: cannot be made", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("{}: another run, of the same second and seed, has this folder and this name; start again", path.display())]
    Taken { path: PathBuf },
    #[error("nothing was run: another run goes on in the same account and Region, {}", path.display())]
    GoesOn { path: PathBuf },
    #[error("nothing was run")]
    Journal(#[from] JournalError),
}

pub async fn run(suite: &Suite) -> Result<RunReport, RunError> {
    let (began, started_at_ms) = (Instant::now(), now_ms());
    make_folder(&suite.folder)?;
    let journal = Journal::open(&suite.folder)?;
    journal.record(Step::Target {
        endpoint: suite.stack.endpoint.clone(),
        region: suite.stack.region.clone(),
        account_id: suite.stack.account_id.clone(),
    })?;
    must_be_alone(suite)?;
    // Before anything is touched: whoever kills this run recovers `latest`.
    point_latest(&suite.folder)?;
    let guards = Guards::new(suite.cloud.clone(), journal);
    let progress = Progress::new(Arc::clone(&suite.live), &suite.run_id, suite.experiments.len());
    let mut experiments: Vec<ExperimentReport> = Vec::with_capacity(suite.experiments.len());
    let mut halted = None;
    for experiment in &suite.experiments {
        halted = suite.halt.reason().or_else(|| experiments.last().and_then(left_changed));
        if halted.is_some() {
            break;
        }
        progress.begin(&experiment.name);
        let (report, reason) = conduct(suite, &guards, &progress, experiment).await;
        halted = reason;
        progress.judged(&report.name, report.verdict);
        experiments.push(report);
    }
    let skipped = suite.experiments.iter().skip(experiments.len());
    let skipped: Vec<String> = skipped.map(|experiment| experiment.name.clone()).collect();
    let verdict = overall(&experiments, &skipped);
    progress.end(verdict);
    let reverted = guards.reports().iter().all(|report| report.error.is_none());
    Ok(RunReport {
        run_id: suite.run_id.clone(),
        verdict,
        seed: suite.seed,
        started_at: rfc3339(started_at_ms),
        took_ms: millis(began.elapsed()),
        versions: versions(suite),
        endpoint: suite.stack.endpoint.clone(),
        region: suite.stack.region.clone(),
        account_id: suite.stack.account_id.clone(),
        reverted,
        halted,
        skipped,
        experiments,
    })
}

/// One that is there is another run's, and so is the name by which this one's templates and owners would be told.
fn make_folder(folder: &Path) -> Result<(), RunError> {
    let failed = |source| RunError::Folder { path: folder.to_owned(), source };
    folder.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::create_dir(folder).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => RunError::Taken { path: folder.to_owned() },
        _ => failed(source),
    })
}

/// Two runs may pass the preflight at the same time. Each has said where it is before it looks, so that one of them sees the
/// other at least.
fn must_be_alone(suite: &Suite) -> Result<(), RunError> {
    let stack = &suite.stack;
    let runs = suite.folder.parent().map(journal::live).unwrap_or_default();
    let other = runs.into_iter().find(|(folder, of)| {
        folder.file_name() != suite.folder.file_name()
            && of.is_of(stack.endpoint.as_deref(), &stack.region, &stack.account_id)
    });
    other.map_or(Ok(()), |(path, _)| Err(RunError::GoesOn { path }))
}

/// Why an experiment was not carried through, where that is a wish to stop. One that comes when all is seen cuts nothing short.
fn cut_short<T, E>(outcome: &Result<Result<T, E>, String>, halt: &Halt) -> Option<String> {
    match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(_)) | Err(_) => halt.reason(),
    }
}

/// Whoever came after a fault that is perhaps not put back might find the service broken by it.
fn left_changed(report: &ExperimentReport) -> Option<String> {
    let is_left = report.reverts.iter().any(|revert| revert.error.is_some());
    is_left.then(|| format!("{} left a setting that could not be shown to be put back", report.name))
}

/// The report, and why the experiment was cut short, if it was.
async fn conduct(
    suite: &Suite,
    guards: &Guards,
    progress: &Progress,
    experiment: &Experiment,
) -> (ExperimentReport, Option<String>) {
    let (began, started_at_ms) = (Instant::now(), now_ms());
    let bench = Bench {
        cloud: &suite.cloud,
        stack: &suite.stack,
        guards,
        run_id: &suite.run_id,
        folder: &suite.folder,
        seed: suite.seed,
        halt: &suite.halt,
        progress,
    };
    let before = guards.reports().len();
    let outcome = guards.around(Box::pin(bench.execute(experiment))).await;
    let halted = cut_short(&outcome, &suite.halt);
    let reverts: Vec<RevertReport> = guards.reports().split_off(before);
    let error = match outcome {
        Ok(Ok(observed)) => match assess(experiment, observed, &reverts, &suite.folder) {
            Ok(report) => return (report, halted),
            Err(error) => chain(&error),
        },
        Ok(Err(error)) => chain(&error),
        Err(panic) => format!("a defect of the harness: {panic}"),
    };
    (failed(experiment, error, &reverts, started_at_ms, millis(began.elapsed())), halted)
}

/// Of the harness, of what it ran against, and what every length in receives follows from.
fn versions(suite: &Suite) -> Vec<(String, String)> {
    let target = if suite.cloud.emulated { "emulator" } else { "AWS" };
    let mut versions = vec![
        ("chaos".into(), env!("CARGO_PKG_VERSION").into()),
        ("os".into(), std::env::consts::OS.into()),
        ("architecture".into(), std::env::consts::ARCH.into()),
        ("target".into(), target.into()),
    ];
    versions.extend(queue_facts(&suite.stack).into_iter().flat_map(|queue| {
        [
            ("visibility timeout".into(), format!("{} s", queue.visibility_timeout.as_secs())),
            ("max receive count".into(), queue.max_receive_count.to_string()),
        ]
    }));
    versions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mocked;
    use crate::run::Verdict;

    /// Of no experiments.
    async fn suite(folder: PathBuf) -> Suite {
        Suite {
            experiments: Vec::new(),
            stack: mocked::stack(&json!({}), &json!({})),
            cloud: mocked::cloud().await,
            seed: 1,
            run_id: "run-1".into(),
            folder,
            halt: Halt::default(),
            live: Arc::default(),
        }
    }

    #[tokio::test]
    async fn two_runs_of_one_name_do_not_share_a_folder() {
        let runs = tempfile::tempdir().unwrap();
        let suite = suite(runs.path().join("runs").join("run-1")).await;
        assert_eq!(run(&suite).await.unwrap().verdict, Verdict::Inconclusive, "nothing was run");
        let first = std::fs::read(suite.folder.join(journal::FILE_NAME)).unwrap();
        assert!(matches!(run(&suite).await, Err(RunError::Taken { .. })));
        assert_eq!(std::fs::read(suite.folder.join(journal::FILE_NAME)).unwrap(), first);
    }

    #[tokio::test]
    async fn a_run_does_not_begin_beside_another_one_on_its_target() {
        let runs = tempfile::tempdir().unwrap();
        let [first, second, third] = ["first", "second", "third"].map(|name| runs.path().join(name));
        std::fs::create_dir(&first).unwrap();
        let other = Journal::open(&first).unwrap();
        let (endpoint, region) = (None, "us-east-1".into());
        other.record(Step::Target { endpoint, region, account_id: "1".into() }).unwrap();
        let refused = run(&suite(second).await).await;
        assert!(matches!(&refused, Err(RunError::GoesOn { path }) if *path == first), "{refused:?}");
        drop(other);
        run(&suite(third).await).await.unwrap();
    }

    #[test]
    fn a_signal_that_comes_when_an_experiment_is_seen_to_its_end_cut_nothing_short() {
        let halt = Halt::default();
        let (judged, stopped) = (Ok(Ok(())), Ok(Err("stopped")));
        let panicked: Result<Result<(), &str>, String> = Err("it panicked".into());
        assert_eq!(cut_short(&stopped, &halt), None, "nobody asked to stop");
        halt.ask("a signal");
        let told = [&judged, &stopped, &panicked].map(|outcome| cut_short(outcome, &halt).is_some());
        assert_eq!(told, [false, true, true]);
    }
}
