//! What can go wrong while a stack goes up or down, and what the user is told.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chaos::run::RunReport;

/// How many lines of a failed step's log are shown.
const LOG_TAIL_LINES: usize = 20;
/// Of a verb that failed; of a demo it would say that the service did.
const EXIT_FAILED: u8 = 1;
/// What a shell reports after Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StackError {
    #[error("interrupted: everything that was started has been stopped")]
    Interrupted,
    #[error(
        "interrupted: the emulator of {dir} (process {pid}) still runs, and on it what of the stack is not destroyed yet; \
         `make down` again ends both",
        dir = .dir.display()
    )]
    StillUp { dir: PathBuf, pid: i32 },
    #[error("{step} failed: {reason}\n{tail}  log: {log}", log = .log.display())]
    Step { step: String, reason: String, tail: String, log: PathBuf },
    #[error("{step} did not end within {} s and was stopped; log: {log}", .limit.as_secs(), log = .log.display())]
    TimedOut { step: String, limit: Duration, log: PathBuf },
    #[error("a stack is already up in {dir}: `make down` first", dir = .0.display())]
    AlreadyUp(PathBuf),
    #[error(
        "what answers at {endpoint} was not started for {dir}: if its own emulator is gone, remove that folder; or, if the folder \
         was moved and process {pid} is its emulator, end that and try again",
        dir = .dir.display()
    )]
    NotOurs { endpoint: String, dir: PathBuf, pid: i32 },
    #[error("no stack is up in {dir}: `make up` first", dir = .0.display())]
    NotUp(PathBuf),
    #[error("{path} was not made by `stack`, and is left alone: name another folder with --dir", path = .0.display())]
    NotAStack(PathBuf),
    #[error("failed to {action} the experiments: {reason}")]
    Experiments { action: &'static str, reason: String },
    #[error("{0}\nthe demo is INCONCLUSIVE")]
    Inconclusive(Box<StackError>),
    #[error("{path} is missing: run this from the repository's root after `make build`", path = .0.display())]
    Missing(PathBuf),
    #[error(
        "{binary} cannot be started on AWS Lambda: {reason}; build on Amazon Linux 2023 (docs/operations.md)",
        binary = .binary.display()
    )]
    NotForLambda { binary: PathBuf, reason: String },
    #[error("failed to {action} {path}: {source}", path = .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to read {what}: {reason}")]
    Unreadable { what: &'static str, reason: String },
    #[error("failed to listen for signals: {0}")]
    Signals(#[from] ctrlc::Error),
}

impl StackError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn step(step: &str, reason: impl Into<String>, log: &Path) -> Self {
        Self::Step { step: step.to_owned(), reason: reason.into(), tail: tail(log), log: log.to_path_buf() }
    }

    /// For `map_err`.
    pub(crate) fn unreadable<E: Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Unreadable { what, reason: error.to_string() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// Of a plan 2 says that something would change: nothing that may go wrong with one has that code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Interrupted | Self::StillUp { .. } => EXIT_INTERRUPTED,
            Self::NotAStack(_) | Self::Experiments { .. } => RunReport::EXIT_USAGE,
            Self::Inconclusive(_) => RunReport::EXIT_INCONCLUSIVE,
            _ => EXIT_FAILED,
        }
    }

    /// Of a demo: what went wrong beside the experiments is not the service's doing.
    pub(crate) fn of_a_demo(self) -> Self {
        match self.code() {
            EXIT_FAILED => Self::Inconclusive(Box::new(self)),
            _ => self,
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines[from..].iter().map(|line| format!("  | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_service_fails_a_demo_and_only_a_change_is_one_of_a_plan() {
        let dir = || PathBuf::from("target/stack");
        let failed = || StackError::step("terraform plan", "exit status: 1", Path::new("no such log"));
        for of_a_plan in [StackError::NotUp(dir()), StackError::Missing(dir()), failed()] {
            assert_eq!(of_a_plan.code(), 1, "{of_a_plan}");
        }
        let inconclusive = failed().of_a_demo();
        assert_eq!(inconclusive.code(), 3);
        assert!(inconclusive.to_string().starts_with("terraform plan failed"), "{inconclusive}");
        let bad = StackError::Experiments { action: "read", reason: "a.toml: cannot be read".to_owned() };
        assert_eq!(bad.of_a_demo().code(), 2);
        assert_eq!(StackError::Interrupted.of_a_demo().code(), 130);
    }
}
