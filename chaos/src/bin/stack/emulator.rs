//! The emulator as a background process of this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::error::StackError;
use crate::steps::{LOOK_INTERVAL, Steps};
use crate::workdir::{Workdir, program};

/// It starts in well under a second; a busy machine gets more.
const START_LIMIT: Duration = Duration::from_secs(15);
/// It ends its functions first.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const HEALTH: &str = "/_emulator/health";
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// What the emulator writes when it is ready.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) endpoint: String,
    pub(crate) pid: i32,
}

impl Ready {
    /// The emulator of this directory, if there is one.
    pub(crate) fn read(workdir: &Workdir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(workdir.ready_file()).ok()?).ok()
    }

    /// Whether it answers at its endpoint, so that a stale file is told from a live emulator.
    pub(crate) fn is_healthy(&self) -> bool {
        answers(&self.endpoint, HEALTH)
    }

    /// Its resident memory, where the system tells.
    pub(crate) fn memory_mib(&self) -> Option<f64> {
        memory_mib(Pid::from_raw(self.pid))
    }

    /// Whether the process that the file names is the one that was started for this directory. After it has ended, and above
    /// all after the machine has, its id may be that of anything: what was started here names the file in its command line.
    pub(crate) fn is_of(&self, workdir: &Workdir) -> bool {
        let file = workdir.ready_file();
        let name = file.as_os_str().as_bytes();
        command_line(self.pid).is_some_and(|line| line.windows(name.len()).any(|part| part == name))
    }

    /// SIGKILL, as a crash would be: returns once the process is gone.
    pub(crate) fn kill(&self) {
        let pid = Pid::from_raw(self.pid);
        kill(pid, Signal::SIGKILL).ok();
        let until = Instant::now() + STOP_LIMIT;
        while alive(pid) && Instant::now() < until {
            std::thread::park_timeout(LOOK_INTERVAL);
        }
    }

    /// SIGTERM, then SIGKILL for whatever of its process group is left after the limit. A stranger is left alone.
    pub(crate) fn stop(&self, workdir: &Workdir) {
        if !self.is_of(workdir) {
            return;
        }
        let pid = Pid::from_raw(self.pid);
        kill(pid, Signal::SIGTERM).ok();
        let until = Instant::now() + STOP_LIMIT;
        while alive(pid) && Instant::now() < until {
            std::thread::park_timeout(LOOK_INTERVAL);
        }
        killpg(pid, Signal::SIGKILL).ok();
    }
}

/// With what a process was started, if there is one of this id.
fn command_line(pid: i32) -> Option<Vec<u8>> {
    if cfg!(target_os = "linux") {
        return std::fs::read(format!("/proc/{pid}/cmdline")).ok();
    }
    told_by_ps(pid, "command=")
}

/// The resident memory of a process, where the system tells.
pub(crate) fn memory_mib(pid: Pid) -> Option<f64> {
    let kib: f64 = if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()?
    } else {
        kib_of(&told_by_ps(pid.as_raw(), "rss=")?)?
    };
    Some(kib / 1024.0)
}

/// `ps` counts in KiB, everywhere.
fn kib_of(told: &[u8]) -> Option<f64> {
    std::str::from_utf8(told).ok()?.trim().parse().ok()
}

/// One column without its title.
fn told_by_ps(pid: i32, column: &str) -> Option<Vec<u8>> {
    // Twice `w`: however long it is.
    let ps = Command::new("ps").args(["-ww", "-o", column, "-p", &pid.to_string()]).output().ok()?;
    ps.status.success().then_some(ps.stdout)
}

/// A child that has ended is reaped: by its id alone a zombie looks alive. One of another program counts as ended.
fn alive(pid: Pid) -> bool {
    if let Ok(status) = waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        return status == WaitStatus::StillAlive;
    }
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or_else(|_| kill(pid, None).is_ok() && !cfg!(target_os = "linux"), |stat| !stat.contains(") Z "))
}

/// Starts it on a free port and waits until it says that it is ready.
pub(crate) fn start(steps: &Steps, workdir: &Workdir) -> Result<Ready, StackError> {
    let mut command = Command::new(program("emulator")?);
    command.args(["up", "--port", "0", "--ready-file"]).arg(workdir.ready_file());
    if let Some(seed) = workdir.adversary() {
        command.args(["--adversary", &seed.to_string()]);
    }
    command.args(["--fis-polling", if workdir.fis_ramps() { "aws" } else { "at-once" }]);
    if let Some(dir) = workdir.data_dir() {
        command.arg("--data-dir").arg(dir);
    }
    if let Some(retention) = workdir.retention() {
        command.args(["--logs-max-mib", &retention.logs_mib.to_string()]);
        command.args(["--metric-seconds", &retention.metric_seconds.to_string()]);
    }
    let is_ready = |_| Ready::read(workdir);
    steps.serve("start the emulator", &mut command, &workdir.log("emulator"), START_LIMIT, is_ready)
}

/// Whether there is a server that answers this path with 200.
pub(crate) fn answers(endpoint: &str, path: &str) -> bool {
    is_answered(endpoint, path).unwrap_or(false)
}

fn is_answered(endpoint: &str, path: &str) -> Option<bool> {
    let address: SocketAddr = endpoint.strip_prefix("http://")?.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_LIMIT).ok()?;
    stream.set_read_timeout(Some(HEALTH_LIMIT)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    Some(status == *b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_has_ended_is_reaped() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        while alive(pid) {
            std::thread::yield_now();
        }
        assert!(child.wait().is_err(), "nobody is left to wait for");
    }

    #[test]
    fn memory_is_read_wherever_it_is_told() {
        assert!(memory_mib(Pid::this()).is_some_and(|mib| mib > 0.0));
        assert_eq!(kib_of(b"  15204\n"), Some(15204.0));
        assert_eq!(kib_of(b"\n"), None);
    }
}
