//! `AWS_LAMBDA_EXEC_WRAPPER` on a custom runtime.
//!
//! Lambda honours the variable on managed runtimes only, and ignores it on OS-only runtimes. The
//! fault injection of AWS FIS depends on it, so that without this shim an experiment on a Rust function completes and
//! does nothing. A wrapper is a program that starts its arguments; ours is called with this binary.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::env::Env;

pub const ENV_EXEC_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// Set for the wrapped process, which would otherwise wrap itself again and again.
pub const ENV_WRAPPED: &str = "TASKS_EXEC_WRAPPED";

const SELF: &str = "/proc/self/exe";

/// Replaces this process by the wrapper around it, when asked to. Returns when there is nothing to do, and when the
/// wrapper cannot be started: a function without its fault injection is worth more than none.
pub fn wrap_if_asked(env: &impl Env) {
    let Some(wrapper) = env.get(ENV_EXEC_WRAPPER).filter(|wrapper| !wrapper.is_empty()) else {
        return;
    };
    if env.get(ENV_WRAPPED).is_some() {
        return;
    }
    // Resolved here, because `/proc/self` of the wrapper is the wrapper.
    let binary = std::fs::read_link(SELF).unwrap_or_else(|_| Path::new(SELF).to_owned());
    let error =
        Command::new(&wrapper).arg(&binary).args(std::env::args_os().skip(1)).env(ENV_WRAPPED, "1").exec();
    // The log is not set up yet; standard error reaches it all the same.
    eprintln!(
        r#"{{"level":"ERROR","message":"failed to start AWS_LAMBDA_EXEC_WRAPPER; running without it, so no fault will be injected","wrapper":{wrapper:?},"error":{:?}}}"#,
        error.to_string()
    );
}
