//! A helper process that outlives a killed emulator just long enough to end its functions.
//!
//! A stopped process cannot notice that its Runtime API is gone, and a parent-death signal would need code between fork
//! and exec. The guardian blocks on a pipe that only the emulator holds open; when it closes, for whatever reason, it
//! kills every process group still on its list and removes the working directory.

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Reads `+ PGID` and `- PGID`. Its own process group keeps a Ctrl-C of the terminal away from it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
live=" "
while read -r op group; do
  case $op in
    +) live="$live$group " ;;
    -) live="${live%% "$group" *} ${live#* "$group" }" ;;
  esac
done
for group in $live; do kill -9 -- "-$group" 2>/dev/null; done
rm -rf -- "$1"
"#;

/// The list of live process groups, kept here and in the helper.
#[derive(Debug)]
pub(crate) struct Guardian {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    helper: Child,
    live: HashSet<i32>,
}

impl Guardian {
    pub(crate) fn start(root: &Path) -> std::io::Result<Self> {
        let helper = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "emulator-guardian"])
            .arg(root)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { state: Mutex::new(State { helper, live: HashSet::new() }) })
    }

    pub(crate) fn started(&self, group: i32) {
        self.tell('+', group);
    }

    pub(crate) fn ended(&self, group: i32) {
        self.tell('-', group);
    }

    fn tell(&self, op: char, group: i32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if op == '+' {
            state.live.insert(group);
        } else {
            state.live.remove(&group);
        }
        if let Some(pipe) = state.helper.stdin.as_mut()
            && let Err(error) = writeln!(pipe, "{op} {group}")
        {
            tracing::warn!(%error, "the guardian is gone: a kill -9 of the emulator would leave functions behind");
        }
    }

    /// Ends every function process and the helper.
    pub(crate) fn kill_all(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for group in std::mem::take(&mut state.live) {
            // Already gone is as good.
            killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
        }
        drop(state.helper.stdin.take());
        if let Err(error) = state.helper.wait() {
            tracing::debug!(%error, "the guardian could not be waited for");
        }
    }
}
