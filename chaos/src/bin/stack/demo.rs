//! The whole story in one command: up, experiments, down.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use chaos::plan::Plan;
use chaos::run::RunReport;

use crate::child::{Ended, Group};
use crate::error::StackError;
use crate::harness::{self, Harness};
use crate::lifecycle;
use crate::steps::Steps;
use crate::workdir::{Workdir, program};

/// Where demos keep their stacks, each in a folder of its own.
const DEMOS: &str = "target/demo";
/// What a run gets besides the longest time of its experiments: preflight, canaries, audits and reports.
const JUDGING_MAX: Duration = Duration::from_secs(600);
/// The same for each experiment, as preflight has it of a token.
const JUDGING_MAX_OF_EACH: Duration = Duration::from_secs(300);
const RUNS: &str = "runs";

/// The directory of this demo's stack.
pub(crate) fn directory() -> PathBuf {
    Path::new(DEMOS).join(std::process::id().to_string())
}

/// Exits as the experiments did, and as inconclusive where something else went wrong; whatever happened, nothing is left
/// running.
pub(crate) fn run(
    steps: &Steps,
    workdir: &Workdir,
    seed: Option<u64>,
    files: &[PathBuf],
) -> Result<ExitCode, StackError> {
    judged(steps, workdir, seed, files).map_err(StackError::of_a_demo)
}

fn judged(
    steps: &Steps,
    workdir: &Workdir,
    seed: Option<u64>,
    files: &[PathBuf],
) -> Result<ExitCode, StackError> {
    let experiments = harness::read(files)?;
    let up = lifecycle::up(steps, workdir);
    let harness = up.and_then(|_| {
        steps.of("give the harness what is planned", |_| Harness::prepare(workdir, &experiments))
    });
    let outcome = harness.and_then(|harness| drive(steps, workdir, &harness, seed, files));
    match outcome {
        Ok(code) => {
            let destroyed = lifecycle::destroy(steps, workdir).inspect_err(|_| lifecycle::abandon(workdir));
            // Whether or not it can be destroyed: what was seen broken must be told.
            match destroyed {
                Err(error) if code != RunReport::EXIT_PASS => eprintln!("{error}"),
                destroyed => destroyed?,
            }
            Ok(ExitCode::from(code))
        }
        Err(StackError::Interrupted) => {
            // The account lives in the emulator's memory: ending it leaves nothing to destroy.
            lifecycle::abandon(workdir);
            workdir.remove()?;
            Err(StackError::Interrupted)
        }
        Err(error) => {
            lifecycle::abandon(workdir);
            Err(error)
        }
    }
}

fn drive(
    steps: &Steps,
    workdir: &Workdir,
    harness: &Harness,
    seed: Option<u64>,
    files: &[PathBuf],
) -> Result<u8, StackError> {
    steps.check()?;
    let name = "run the experiments";
    let mut command = Command::new(program("chaos")?);
    command.arg("run").args(files).arg("--stack").arg(workdir.stack_file()).args(["--out", RUNS]);
    command.args(["--role-arn", &harness.role_arn]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let log = Path::new(RUNS).join("latest");
    let fail = |error: std::io::Error| StackError::step(name, error.to_string(), &log);
    let group = Group::spawn(&mut command).map_err(fail)?;
    let limit = limit(&harness.plan);
    match group.wait(&steps.interrupts, limit, || {}).map_err(fail)? {
        Ended::Exited(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            code.ok_or_else(|| StackError::step(name, status.to_string(), &log))
        }
        Ended::Interrupted => Err(StackError::Interrupted),
        Ended::TimedOut => Err(StackError::TimedOut { step: name.to_owned(), limit, log }),
    }
}

/// A run that hangs ends here; its own deadlines are shorter.
fn limit(plan: &Plan) -> Duration {
    let judging = plan.experiments.iter().map(|_| JUDGING_MAX_OF_EACH).sum::<Duration>();
    Duration::try_from_secs_f64(plan.seconds_max).unwrap_or_default() + judging + JUDGING_MAX
}

#[cfg(test)]
mod tests {
    use chaos::plan::plan;
    use loadtest::stack::Stack;
    use serde_json::json;

    use super::*;

    const LONG: &str = r#"
name = "long"
hypothesis = "It takes its time."

[load]
rate_per_second = 1
duration = "7200s"
settle = "60s"
"#;

    #[test]
    fn an_experiment_may_last_as_long_as_its_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("long.toml");
        std::fs::write(&file, LONG).unwrap();
        let stack: Stack = serde_json::from_value(json!({
            "endpoint": "http://127.0.0.1:1", "region": "us-east-1", "account_id": "123456789012",
            "http_url": "http://127.0.0.1:1/h", "websocket_url": "ws://127.0.0.1:1/w",
            "http_api": {"id": "a", "stage": "$default"}, "websocket_api": {"id": "b", "stage": "live"},
            "functions": {}, "queues": {"tasks": {"url": "u", "arn": "a"}}, "tables": {},
            "event_source_mapping_id": "1", "auth": {"issuer": "i", "audience": "a"},
        }))
        .unwrap();
        let plan = plan(&harness::read(&[file]).unwrap(), &stack).unwrap();
        assert!(limit(&plan) > Duration::from_secs(7260) + JUDGING_MAX, "{:?}", limit(&plan));
    }
}
