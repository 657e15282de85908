//! Programs of the Python registry, pinned, in a virtual environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::StackError;
use crate::steps::Steps;

/// Fetching the packages takes minutes on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// It is needed for nothing else: without it these judges are left out, and the user is told so.
pub(crate) fn is_there() -> bool {
    Command::new("python3").arg("--version").output().is_ok()
}

/// The environment's interpreter. The environment outlives its user, and is made anew when the pins change.
pub(crate) fn environment(steps: &Steps, venv: &str, pins: &Path, log: &Path) -> Result<PathBuf, StackError> {
    let venv = std::path::absolute(venv).map_err(StackError::io("resolve", Path::new(venv)))?;
    let (python, installed) = (venv.join("bin/python"), venv.join("installed.txt"));
    let wanted = std::fs::read(pins).map_err(StackError::io("read", pins))?;
    if std::fs::read(&installed).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&venv);
    steps.command("python3 -m venv", &mut make, log, INSTALL_LIMIT, &[0])?;
    let mut fetch = Command::new(&python);
    fetch.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(pins);
    steps.command("pip install", &mut fetch, log, INSTALL_LIMIT, &[0])?;
    std::fs::write(&installed, wanted).map_err(StackError::io("write", &installed))?;
    Ok(python)
}
