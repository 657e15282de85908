//! Starting `bootstrap`, with the environment variables that Lambda documents.

use std::collections::BTreeMap;
use std::io::{ErrorKind, PipeWriter};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::process::{Pid, getpriority_process, setpriority_process};
#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tokio::process::{Child, Command};

use super::environment::Unserved;
use super::host::Spec;
use super::pool::InitFailure;

/// A file being written by one thread while another forks is "busy" until that child execs: for milliseconds, and for
/// longer only where the machine is overloaded.
const BUSY_TRIES: usize = 500;
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// How Lambda reports a runtime that was killed, for its memory or by itself.
pub(crate) const KILLED: &str = "Runtime exited with error: signal: killed";

/// By how much functions stand behind the emulator when there is more to do than processors: it serves them all, so that
/// what it does next is what most of them wait for.
const NICENESS: i32 = 5;
/// AWS quota: file descriptors of an environment. The emulator's own limit, which they would have from it, is far above.
#[cfg(target_os = "linux")]
const FILES_MAX: u64 = 1_024;

/// The parts of the environment variables that differ between environments of one version.
pub(crate) struct Place<'a> {
    pub(crate) runtime_api: &'a str,
    pub(crate) log_stream: &'a str,
    pub(crate) scratch: &'a Path,
    /// The emulator's own stand-in for the fault-injection wrapper, when the function is wired for it.
    pub(crate) wrapper: Option<&'a Path>,
}

/// "The following additional environment variables aren't reserved and can be extended in your function configuration."
fn defaults(spec: &Spec) -> BTreeMap<String, String> {
    let root = spec.code.directory.display();
    let values = [
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
        ("LD_LIBRARY_PATH", format!("{root}:{root}/lib")),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129:2000".to_owned()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

fn variables(spec: &Spec, place: &Place<'_>) -> BTreeMap<String, String> {
    let host = &spec.host;
    let root = spec.code.directory.display();
    let region = host.settings.region.to_string();
    let config = &spec.config;
    let mut all = defaults(spec);
    all.extend(config.environment.clone().unwrap_or_default());
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    if let Some(wrapper) = place.wrapper {
        set("AWS_LAMBDA_EXEC_WRAPPER", wrapper.display().to_string());
    }
    set("AWS_REGION", region.clone());
    set("AWS_DEFAULT_REGION", region);
    set("AWS_ACCESS_KEY_ID", spec.credentials.access_key_id.clone());
    set("AWS_SECRET_ACCESS_KEY", spec.credentials.secret_access_key.clone());
    set("AWS_SESSION_TOKEN", spec.credentials.session_token.clone());
    set("AWS_LAMBDA_RUNTIME_API", place.runtime_api.into());
    set("AWS_LAMBDA_FUNCTION_NAME", spec.name.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", spec.version.clone());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", config.logging.group(&spec.name));
    set("AWS_LAMBDA_LOG_STREAM_NAME", place.log_stream.into());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into());
    set("_HANDLER", config.handler.clone());
    set("LAMBDA_TASK_ROOT", root.to_string());
    set("LAMBDA_RUNTIME_DIR", root.to_string());
    set("PWD", root.to_string());
    // AWS gives each sandbox its own /tmp; here it is this directory.
    set("TMPDIR", place.scratch.display().to_string());
    set("_AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129".into());
    set("_AWS_XRAY_DAEMON_PORT", "2000".into());
    set("AWS_ENDPOINT_URL", host.settings.endpoint.to_string());
    if config.logging.json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON".into());
        set("AWS_LAMBDA_LOG_LEVEL", config.logging.application_level().into());
    }
    all
}

/// Starts the process in a group of its own, so that whatever it starts can be stopped and killed with it.
pub(super) async fn spawn(spec: &Spec, place: &Place<'_>, output: &PipeWriter) -> Result<Child, Unserved> {
    // Gone with the start: each environment would keep its own for as long as it lives.
    let variables = variables(spec, place);
    let executable = spec.code.directory.join("bootstrap");
    for _ in 0..BUSY_TRIES {
        let (stdout, stderr) = (output.try_clone()?, output.try_clone()?);
        let started = Command::new(&executable)
            .env_clear()
            .envs(&variables)
            .current_dir(&spec.code.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn();
        match started {
            Ok(child) => {
                put_in_its_place(&child);
                return Ok(child);
            }
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) if is_exhausted(&error) => return Err(error.into()),
            Err(error) => return Err(entrypoint(&error).into()),
        }
    }
    Err(Unserved::Machine(ErrorKind::ExecutableFileBusy.into()))
}

/// What the machine has no more of, as opposed to a `bootstrap` that cannot be run: files, processes, memory.
fn is_exhausted(error: &std::io::Error) -> bool {
    let exhausted = [Errno::EMFILE, Errno::ENFILE, Errno::EAGAIN, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw(code)))
}

fn entrypoint(error: &std::io::Error) -> InitFailure {
    InitFailure::Entrypoint(match error.kind() {
        ErrorKind::NotFound => {
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned()
        }
        _ => format!("fork/exec /var/task/bootstrap: {error}"),
    })
}

/// Where this fails the function runs like any other process.
fn put_in_its_place(child: &Child) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    let Some(pid) = pid else { return };
    if let Ok(own) = getpriority_process(None) {
        setpriority_process(Some(pid), own.saturating_add(NICENESS)).ok();
    }
    #[cfg(target_os = "linux")]
    limit_files(pid);
}

/// Code between fork and exec would be unsafe: `bootstrap` is loading when it is limited.
#[cfg(target_os = "linux")]
fn limit_files(pid: Pid) {
    let most = getrlimit(Resource::Nofile).maximum.map_or(FILES_MAX, |most| most.min(FILES_MAX));
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }).ok();
}

/// The words in which Lambda reports how a runtime ended.
pub(crate) fn ending(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    let Some(status) = status else {
        return "Runtime exited without providing a reason".into();
    };
    match (status.code(), status.signal()) {
        (Some(0), _) | (None, None) => "Runtime exited without providing a reason".into(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, Some(signal)) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
    }
}

/// Go's names, which are what Lambda prints.
fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(Signal::SIGKILL) => "killed".into(),
        Ok(Signal::SIGTERM) => "terminated".into(),
        Ok(Signal::SIGABRT) => "aborted".into(),
        Ok(Signal::SIGSEGV) => "segmentation fault".into(),
        Ok(Signal::SIGBUS) => "bus error".into(),
        Ok(Signal::SIGILL) => "illegal instruction".into(),
        Ok(Signal::SIGINT) => "interrupt".into(),
        _ => signal.to_string(),
    }
}

/// Highest resident size so far, in MB; None when the process is gone.
pub(crate) fn memory_peak_mb(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes.div_ceil(1_024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_has_no_more_is_told_from_a_bootstrap_that_cannot_be_run() {
        for (errno, exhausted) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::EAGAIN, true),
            (Errno::ENOMEM, true),
            (Errno::EACCES, false),
            (Errno::ENOEXEC, false),
            (Errno::ENOENT, false),
        ] {
            assert_eq!(is_exhausted(&errno.into()), exhausted, "{errno}");
        }
    }
}
