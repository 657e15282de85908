//! The emulator as a background process of this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib / 1024.0)
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
    // Twice `w`: however long it is.
    let ps = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    ps.status.success().then_some(ps.stdout)
}

/// A zombie child counts as ended: it is reaped when this program ends.
fn alive(pid: Pid) -> bool {
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
