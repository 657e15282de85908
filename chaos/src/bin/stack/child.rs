//! Child processes in groups of their own, that never outlive their use.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::StackError;
use crate::interrupt::Interrupts;

/// Names of this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "localhost"];
/// How often a running child is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What a child gets to end by itself after SIGINT: Terraform finishes its current call and frees its state lock.
const GRACE: Duration = Duration::from_secs(30);

/// A child whose whole process group is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    ended: bool,
}

/// Why a wait ended without the child's own exit.
#[derive(Debug)]
pub(crate) enum Ended {
    Exited(ExitStatus),
    Interrupted,
    TimedOut,
}

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        Ok(Self { child, ended: false })
    }

    /// Waits for the child, for the user's interrupt or for the limit, whichever comes first; `on_look` runs at every
    /// look, for progress.
    pub(crate) fn wait(
        mut self,
        interrupts: &Interrupts,
        limit: Duration,
        mut on_look: impl FnMut(),
    ) -> std::io::Result<Ended> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(Ended::Exited(status));
            }
            if interrupts.asked() {
                return Ok(Ended::Interrupted);
            }
            if Instant::now() >= until {
                return Ok(Ended::TimedOut);
            }
            on_look();
            interrupts.pause(LOOK_INTERVAL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // The group may be gone already: that is what is wanted.
            killpg(Pid::from_raw(pid), signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.signal(Signal::SIGINT);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        }
        // Whatever is left of the group, grandchildren included, is ended now.
        self.signal(Signal::SIGKILL);
        drop(self.child.wait());
    }
}

/// For what would look for this machine through a proxy that the environment names: loopback is added to what is spared.
pub(crate) fn without_proxy(command: &mut Command) -> &mut Command {
    for (name, other) in [("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")] {
        let spared = std::env::var(name).or_else(|_| std::env::var(other)).unwrap_or_default();
        command.env(name, with_loopback(&spared));
    }
    command
}

fn with_loopback(spared: &str) -> String {
    let before = spared.split(',').map(str::trim).filter(|host| !host.is_empty());
    before.chain(LOOPBACK).collect::<Vec<_>>().join(",")
}

/// A file that takes a command's output.
pub(crate) fn logged<'a>(command: &'a mut Command, log: &Path) -> Result<&'a mut Command, StackError> {
    let out = File::options().create(true).append(true).open(log).map_err(StackError::io("open", log))?;
    let err = out.try_clone().map_err(StackError::io("open", log))?;
    Ok(command.stdout(out).stderr(err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_spared_beside_what_is_spared_already() {
        assert_eq!(with_loopback(""), "127.0.0.1,localhost");
        assert_eq!(with_loopback("example.com, .internal"), "example.com,.internal,127.0.0.1,localhost");
    }
}
