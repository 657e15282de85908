//! `AWS_LAMBDA_EXEC_WRAPPER` on a custom runtime.
//!
//! Lambda honours the variable on managed runtimes only, and ignores it on OS-only runtimes. The
//! fault injection of AWS FIS depends on it, so that without this shim an experiment on a Rust function completes and
//! does nothing. A wrapper is a program that starts its arguments; ours is called with this binary.
//!
//! exec(2) has no way back, so the wrapper is tried first: it must start a copy of this binary that says so, within a time,
//! and the Runtime API that it points to must take connections. See docs/fis-on-rust.md.

use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::env::Env;

pub const ENV_EXEC_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// Set for what the wrapper starts: the trial copy, and the function, which would otherwise wrap itself again and again.
pub const ENV_WRAPPED: &str = "TASKS_EXEC_WRAPPED";
const TRIAL: &str = "trial";
const WRAPPED: &str = "1";

const ENV_RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// For a wrapper to start what it wraps. AWS: a function has 10 s to initialise, all in all.
const TRIAL_TIME: Duration = Duration::from_secs(3);

/// For the Runtime API behind the wrapper to take connections: an extension may still be starting.
const CONNECT_TIME: Duration = Duration::from_secs(2);
const CONNECT_RETRY: Duration = Duration::from_millis(20);

/// What the trial copy says on standard output; a wrapper may print before it.
const REACHED: &str = "exec-wrapper-trial: reached";
const NO_RUNTIME_API: &str = "exec-wrapper-trial: no Runtime API";

/// Why the function runs without its wrapper.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the function's own binary is not known: {0}")]
    NoBinary(#[source] std::io::Error),
    #[error("it cannot be started: {0}")]
    NotStarted(#[source] std::io::Error),
    #[error("it did not start the function within {} ms", TRIAL_TIME.as_millis())]
    TooSlow,
    #[error("it ended without starting the function")]
    NeverReached,
    #[error("the Runtime API that it points to takes no connections")]
    NoRuntimeApi,
}

/// Replaces this process by the wrapper around it, when asked to. Returns when there is nothing to do, and when the
/// wrapper does not work: a function without its fault injection is worth more than none.
pub fn wrap_if_asked(env: &impl Env) {
    let Some(wrapper) = env.get(ENV_EXEC_WRAPPER).filter(|wrapper| !wrapper.is_empty()) else {
        return;
    };
    match env.get(ENV_WRAPPED).as_deref() {
        None => {}
        Some(TRIAL) => say_that_the_trial_arrived(env),
        Some(_) => return,
    }
    let failure = wrap(&wrapper);
    // The log is not set up yet; standard error reaches it all the same.
    eprintln!(
        r#"{{"level":"ERROR","message":"AWS_LAMBDA_EXEC_WRAPPER does not work; running without it, so no fault will be injected","wrapper":{wrapper:?},"error":{:?}}}"#,
        failure.to_string()
    );
}

/// Returns only when it fails.
fn wrap(wrapper: &str) -> Failure {
    // Resolved here: what stands for this process, as `/proc/self` does, stands for the wrapper once that runs.
    let binary = match std::env::current_exe() {
        Ok(binary) => binary,
        Err(error) => return Failure::NoBinary(error),
    };
    match try_out(wrapper, &binary) {
        Ok(()) => Failure::NotStarted(command(wrapper, &binary, WRAPPED).exec()),
        Err(failure) => failure,
    }
}

fn command(wrapper: &str, binary: &PathBuf, wrapped: &str) -> Command {
    let mut command = Command::new(wrapper);
    command.arg(binary).args(std::env::args_os().skip(1)).env(ENV_WRAPPED, wrapped);
    command
}

/// Lets the wrapper start a copy that only says that it was reached.
fn try_out(wrapper: &str, binary: &PathBuf) -> Result<(), Failure> {
    let mut trial = command(wrapper, binary, TRIAL);
    trial.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = trial.spawn().map_err(Failure::NotStarted)?;
    let (said, hears) = mpsc::channel();
    if let Some(mut output) = child.stdout.take() {
        // A thread, because a pipe has no timeout. exec(2) ends it; else it ends with the pipe.
        std::thread::spawn(move || {
            let mut text = String::new();
            let _partial = output.read_to_string(&mut text);
            let _nobody_waits = said.send(text);
        });
    }
    let heard = hears.recv_timeout(TRIAL_TIME);
    // Ended already, unless it was too slow.
    let _ended = child.kill();
    let _reaped = child.wait();
    match heard {
        Ok(text) if text.contains(REACHED) => Ok(()),
        Ok(text) if text.contains(NO_RUNTIME_API) => Err(Failure::NoRuntimeApi),
        Ok(_) => Err(Failure::NeverReached),
        Err(_) => Err(Failure::TooSlow),
    }
}

fn say_that_the_trial_arrived(env: &impl Env) -> ! {
    let reached = env.get(ENV_RUNTIME_API).is_some_and(|address| takes_connections(&address));
    println!("{}", if reached { REACHED } else { NO_RUNTIME_API });
    std::process::exit(0)
}

fn takes_connections(address: &str) -> bool {
    let end = Instant::now() + CONNECT_TIME;
    loop {
        let mut addresses = address.to_socket_addrs().into_iter().flatten();
        if addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIME).is_ok()) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(CONNECT_RETRY);
    }
}
