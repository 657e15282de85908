//! The whole story in one command: up, experiments, down.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::child::{Ended, Group};
use crate::error::StackError;
use crate::harness;
use crate::lifecycle;
use crate::steps::Steps;
use crate::workdir::{Workdir, program};

/// Where demos keep their stacks, each in a folder of its own.
const DEMOS: &str = "target/demo";
/// A hanging experiment ends here; its own deadlines are far shorter.
const EXPERIMENTS_LIMIT: Duration = Duration::from_secs(1800);
const RUNS: &str = "runs";

/// The directory of this demo's stack.
pub(crate) fn directory() -> PathBuf {
    Path::new(DEMOS).join(std::process::id().to_string())
}

/// Exits as the experiments did; whatever happened, nothing is left running.
pub(crate) fn run(
    steps: &Steps,
    workdir: &Workdir,
    seed: Option<u64>,
    files: &[PathBuf],
) -> Result<ExitCode, StackError> {
    let experiments = harness::read(files)?;
    let up = lifecycle::up(steps, workdir);
    let role = up
        .and_then(|_| steps.of("give the harness what is planned", |_| harness::role(workdir, &experiments)));
    let outcome = role.and_then(|role| drive(steps, workdir, &role, seed, files));
    match outcome {
        Ok(code) => {
            lifecycle::destroy(steps, workdir).inspect_err(|_| lifecycle::abandon(workdir))?;
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
    role: &str,
    seed: Option<u64>,
    files: &[PathBuf],
) -> Result<u8, StackError> {
    steps.check()?;
    let name = "run the experiments";
    let mut command = Command::new(program("chaos")?);
    command.arg("run").args(files).arg("--stack").arg(workdir.stack_file()).args(["--out", RUNS]);
    command.args(["--role-arn", role]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let log = Path::new(RUNS).join("latest");
    let fail = |error: std::io::Error| StackError::step(name, error.to_string(), &log);
    let group = Group::spawn(&mut command).map_err(fail)?;
    match group.wait(&steps.interrupts, EXPERIMENTS_LIMIT, || {}).map_err(fail)? {
        Ended::Exited(status) => Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Ended::Interrupted => Err(StackError::Interrupted),
        Ended::TimedOut => Err(StackError::TimedOut { step: name.to_owned(), limit: EXPERIMENTS_LIMIT, log }),
    }
}
