//! The SDKs of others as judges: boto3 and the AWS CLI read every answer by the service models that AWS publishes.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::child::without_proxy;
use crate::emulator::Ready;
use crate::error::StackError;
use crate::lifecycle;
use crate::python;
use crate::steps::Steps;
use crate::workdir::Workdir;

const TESTS: &str = "emulator/tests/sdks";
/// The emulator's files of this test, and the virtual environment, which outlives them.
const STACK: &str = "target/sdks/stack";
const VENV: &str = "target/sdks/venv";
const TEST_LIMIT: Duration = Duration::from_secs(600);

/// Set where python3 may not be missing.
const REQUIRED: &str = "PYTHON_REQUIRED";

pub(crate) fn run(steps: &Steps) -> Result<ExitCode, StackError> {
    if !python::is_there() {
        return without_python(std::env::var_os(REQUIRED).is_some());
    }
    let workdir = Workdir::at(Path::new(STACK))?;
    let ready = lifecycle::start(steps, &workdir)?;
    let pins = Path::new(TESTS).join("requirements.txt");
    let python = python::environment(steps, VENV, &pins, &workdir.log("install"));
    let outcome = python.and_then(|python| judge(steps, &workdir, &ready, &python));
    lifecycle::abandon(&workdir);
    outcome?;
    workdir.remove()?;
    println!("boto3 and the AWS CLI understood every answer");
    Ok(ExitCode::SUCCESS)
}

/// Nothing is judged, and the user is told so: python3 is needed for nothing else.
fn without_python(is_required: bool) -> Result<ExitCode, StackError> {
    if is_required {
        let how = "apt-get install python3 python3-venv";
        let missing = format!("it is not on this machine, and {REQUIRED} is set: {how}");
        return Err(StackError::io("run", Path::new("python3"))(std::io::Error::other(missing)));
    }
    println!("SKIPPED: python3 is not on this machine, so boto3 and the AWS CLI judged NOTHING");
    Ok(ExitCode::SUCCESS)
}

fn judge(steps: &Steps, workdir: &Workdir, ready: &Ready, python: &Path) -> Result<(), StackError> {
    let log = workdir.log("sdks");
    let mut tests = Command::new(python);
    // No compiled files in the repository.
    tests
        .args(["-B", "-m", "unittest", "discover", "-v", "-s", TESTS])
        .env("EMULATOR_ENDPOINT", &ready.endpoint);
    steps.command("boto3 and the AWS CLI", without_proxy(&mut tests), &log, TEST_LIMIT, &[0]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_needs_python_does_not_pass_without() {
        let refused = without_python(true).unwrap_err().to_string();
        assert!(refused.contains("python3") && refused.contains(REQUIRED), "{refused}");
        assert!(without_python(false).is_ok());
    }
}
