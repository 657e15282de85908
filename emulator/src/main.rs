//! `emulator up`: see the library.

use clap::Parser;
use emulator::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

/// Warnings by default: an unknown call is one, and must be seen.
const DEFAULT_FILTER: &str = "warn";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(run(Cli::parse()).await?)
}
