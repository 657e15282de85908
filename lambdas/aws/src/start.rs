//! What every binary does before its handler runs.

use std::future::Future;
use std::process::ExitCode;

use crate::env::{ConfigError, ProcessEnv};
use crate::{exec_wrapper, logging};

/// An SDK call makes some hundred small allocations; the system's allocator took a quarter of a function's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of sysexits: the configuration is wrong, and starting again will not help.
const EXIT_CONFIG: u8 = 64;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("configuration")]
    Config(#[from] ConfigError),
    #[error("runtime: {0}")]
    Runtime(#[from] lambda_runtime::Error),
}

/// Runs `main` on a runtime of one thread: Lambda gives an environment one event at a time, and below 1,769 MB less than
/// one processor.
pub fn run<F, R>(main: F) -> ExitCode
where
    F: FnOnce(ProcessEnv) -> R,
    R: Future<Output = Result<(), StartError>>,
{
    // First of all: exec(2) replaces the process, so nothing may have been started yet.
    exec_wrapper::wrap_if_asked(&ProcessEnv);
    // Fails only when there is one already, and there is none this early.
    let _set = tracing::subscriber::set_global_default(logging::subscriber(&ProcessEnv, std::io::stdout));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(main(ProcessEnv)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(error)) => {
            tracing::error!(%error, "failed to read the configuration");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(StartError::Runtime(error)) => {
            tracing::error!(%error, "failed to run");
            ExitCode::FAILURE
        }
    }
}
