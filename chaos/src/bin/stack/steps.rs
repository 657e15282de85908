//! Long steps: what runs, for how long, and where its log is when it fails.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::child::{Ended, Group, logged};
use crate::error::StackError;
use crate::interrupt::Interrupts;

/// How often a long step says that it is still running, where there is no terminal to draw on.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How often something that takes moments is looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs steps and reports them.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    pub(crate) interrupts: Interrupts,
    terminal: bool,
}

impl Steps {
    pub(crate) fn new(interrupts: Interrupts) -> Self {
        Self { interrupts, terminal: std::io::stderr().is_terminal() }
    }

    /// Fails when the user asked to stop, so that nothing new is started.
    pub(crate) fn check(&self) -> Result<(), StackError> {
        if self.interrupts.asked() { Err(StackError::Interrupted) } else { Ok(()) }
    }

    /// Does `work` as a named step.
    pub(crate) fn of<T>(
        &self,
        name: &str,
        work: impl FnOnce(&Progress) -> Result<T, StackError>,
    ) -> Result<T, StackError> {
        self.check()?;
        let progress = Progress::start(name, self.terminal);
        let result = work(&progress);
        progress.end(name, result.is_ok());
        result
    }

    /// Starts a server as a named step, its output in `log`, and waits until `ready` says so of its process. It runs on, in a
    /// group of its own: Ctrl-C must not end it before what stands on it has been destroyed.
    pub(crate) fn serve<T>(
        &self,
        name: &str,
        command: &mut Command,
        log: &Path,
        limit: Duration,
        mut ready: impl FnMut(u32) -> Option<T>,
    ) -> Result<T, StackError> {
        self.of(name, |progress| {
            let fail = |reason: String| StackError::step(name, reason, log);
            command.stdin(Stdio::null()).process_group(0);
            let mut child = logged(command, log)?.spawn().map_err(|error| fail(error.to_string()))?;
            let until = Instant::now() + limit;
            loop {
                if let Some(ready) = ready(child.id()) {
                    return Ok(ready);
                }
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(fail(status.to_string()));
                }
                if self.interrupts.asked() || Instant::now() >= until {
                    drop(child.kill());
                    drop(child.wait());
                    self.check()?;
                    return Err(fail(format!("not ready within {} s", limit.as_secs())));
                }
                progress.look();
                self.interrupts.pause(LOOK_INTERVAL);
            }
        })
    }

    /// Runs a command as a named step, its output in `log`. Any exit code in `accepted` is a success.
    pub(crate) fn command(
        &self,
        name: &str,
        command: &mut Command,
        log: &Path,
        limit: Duration,
        accepted: &[i32],
    ) -> Result<i32, StackError> {
        self.of(name, |progress| {
            let cannot_start = |error: std::io::Error| StackError::step(name, error.to_string(), log);
            let group = Group::spawn(logged(command, log)?).map_err(cannot_start)?;
            match group.wait(&self.interrupts, limit, || progress.look()).map_err(cannot_start)? {
                Ended::Exited(status) => match status.code() {
                    Some(code) if accepted.contains(&code) => Ok(code),
                    _ => Err(StackError::step(name, status.to_string(), log)),
                },
                Ended::Interrupted => Err(StackError::Interrupted),
                Ended::TimedOut => {
                    Err(StackError::TimedOut { step: name.to_owned(), limit, log: log.to_path_buf() })
                }
            }
        })
    }
}

/// The line of a running step.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    begun: Instant,
    bar: Option<ProgressBar>,
    said: std::cell::Cell<Instant>,
}

impl Progress {
    fn start(name: &str, terminal: bool) -> Self {
        let bar = terminal.then(|| {
            let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed}");
            let bar = ProgressBar::new_spinner().with_message(name.to_owned());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { name: name.to_owned(), begun: Instant::now(), bar, said: std::cell::Cell::new(Instant::now()) }
    }

    /// Says from time to time that the step is still running.
    pub(crate) fn look(&self) {
        if self.bar.is_none() && self.said.get().elapsed() >= HEARTBEAT {
            self.said.set(Instant::now());
            eprintln!("  ... {} {:.0} s", self.name, self.begun.elapsed().as_secs_f64());
        }
    }

    fn end(&self, name: &str, ok: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let mark = if ok { "ok  " } else { "FAIL" };
        eprintln!("  {mark} {name:<46} {:>6.1} s", self.begun.elapsed().as_secs_f64());
    }
}
