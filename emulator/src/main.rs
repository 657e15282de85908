//! `emulator up`: see the library.

use clap::Parser;
use emulator::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

/// A task is some thousand small allocations in a process with as many threads as the machine: the system's allocator took
/// a fifth of the emulator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Warnings by default: an unknown call is one, and must be seen.
const DEFAULT_FILTER: &str = "warn";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(run(Cli::parse()).await?)
}
