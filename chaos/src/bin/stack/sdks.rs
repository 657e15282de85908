//! The SDKs of others as judges: boto3 and the AWS CLI read every answer by the service models that AWS publishes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::emulator::Ready;
use crate::error::StackError;
use crate::lifecycle;
use crate::steps::Steps;
use crate::workdir::Workdir;

const TESTS: &str = "emulator/tests/sdks";
/// The emulator's files of this test, and the virtual environment, which outlives them.
const STACK: &str = "target/sdks/stack";
const VENV: &str = "target/sdks/venv";
/// Fetching the packages takes minutes on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const TEST_LIMIT: Duration = Duration::from_secs(600);

/// Without python3 nothing is judged, and the user is told so: it is needed for nothing else.
pub(crate) fn run(steps: &Steps) -> Result<ExitCode, StackError> {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("SKIPPED: python3 is not on this machine, so boto3 and the AWS CLI judged NOTHING");
        return Ok(ExitCode::SUCCESS);
    }
    let workdir = Workdir::at(Path::new(STACK))?;
    let ready = lifecycle::start(steps, &workdir)?;
    let outcome = install(steps, &workdir).and_then(|python| judge(steps, &workdir, &ready, &python));
    lifecycle::abandon(&workdir);
    outcome?;
    workdir.remove()?;
    println!("boto3 and the AWS CLI understood every answer");
    Ok(ExitCode::SUCCESS)
}

/// The packages, pinned, in an environment of their own. Made anew when the pins change.
fn install(steps: &Steps, workdir: &Workdir) -> Result<PathBuf, StackError> {
    let venv = std::path::absolute(VENV).map_err(StackError::io("resolve", Path::new(VENV)))?;
    let (python, installed) = (venv.join("bin/python"), venv.join("installed.txt"));
    let pins = Path::new(TESTS).join("requirements.txt");
    let wanted = std::fs::read(&pins).map_err(StackError::io("read", &pins))?;
    if std::fs::read(&installed).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    let log = workdir.log("install");
    let mut make = Command::new("python3");
    steps.command(
        "python3 -m venv",
        make.args(["-m", "venv", "--clear"]).arg(&venv),
        &log,
        INSTALL_LIMIT,
        &[0],
    )?;
    let mut fetch = Command::new(&python);
    fetch.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&pins);
    steps.command("pip install boto3 awscli", &mut fetch, &log, INSTALL_LIMIT, &[0])?;
    std::fs::write(&installed, wanted).map_err(StackError::io("write", &installed))?;
    Ok(python)
}

fn judge(steps: &Steps, workdir: &Workdir, ready: &Ready, python: &Path) -> Result<(), StackError> {
    let log = workdir.log("sdks");
    let mut tests = Command::new(python);
    // No compiled files in the repository.
    tests
        .args(["-B", "-m", "unittest", "discover", "-v", "-s", TESTS])
        .env("EMULATOR_ENDPOINT", &ready.endpoint);
    steps.command("boto3 and the AWS CLI", &mut tests, &log, TEST_LIMIT, &[0]).map(drop)
}
