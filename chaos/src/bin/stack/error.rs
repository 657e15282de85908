//! What can go wrong while a stack goes up or down, and what the user is told.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How many lines of a failed step's log are shown.
const LOG_TAIL_LINES: usize = 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StackError {
    #[error("interrupted: everything that was started has been stopped")]
    Interrupted,
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

    /// 130 is what a shell reports after Ctrl-C.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if matches!(self, Self::Interrupted) { 130 } else { 1 })
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines[from..].iter().map(|line| format!("  | {line}\n")).collect()
}
