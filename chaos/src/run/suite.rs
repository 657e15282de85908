//! A run: experiments one after the other, and whatever happens, everything put back.

use std::path::PathBuf;
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
use crate::journal::{Journal, JournalError, Step, point_latest};

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
    #[error("nothing was run")]
    Journal(#[from] JournalError),
}

pub async fn run(suite: &Suite) -> Result<RunReport, RunError> {
    let (began, started_at_ms) = (Instant::now(), now_ms());
    std::fs::create_dir_all(&suite.folder)
        .map_err(|source| RunError::Folder { path: suite.folder.clone(), source })?;
    let journal = Journal::open(&suite.folder)?;
    journal.record(Step::Target {
        endpoint: suite.stack.endpoint.clone(),
        region: suite.stack.region.clone(),
        account_id: suite.stack.account_id.clone(),
    })?;
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
        let report = conduct(suite, &guards, &progress, experiment).await;
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
        halted: suite.halt.reason().or(halted),
        skipped,
        experiments,
    })
}

/// Whoever came after a fault that is perhaps not put back might find the service broken by it.
fn left_changed(report: &ExperimentReport) -> Option<String> {
    let is_left = report.reverts.iter().any(|revert| revert.error.is_some());
    is_left.then(|| format!("{} left a setting that could not be shown to be put back", report.name))
}

async fn conduct(
    suite: &Suite,
    guards: &Guards,
    progress: &Progress,
    experiment: &Experiment,
) -> ExperimentReport {
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
    let reverts: Vec<RevertReport> = guards.reports().split_off(before);
    let error = match outcome {
        Ok(Ok(observed)) => match assess(experiment, observed, &reverts, &suite.folder) {
            Ok(report) => return report,
            Err(error) => chain(&error),
        },
        Ok(Err(error)) => chain(&error),
        Err(panic) => format!("a defect of the harness: {panic}"),
    };
    failed(experiment, error, &reverts, started_at_ms, millis(began.elapsed()))
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
