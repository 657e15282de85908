//! The command line: `emulator up`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use rand::random;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::server::{Emulator, Options, StartError};

/// An embedded AWS on one loopback port.
#[derive(Debug, Parser)]
#[command(name = "emulator", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Listen until SIGTERM or SIGINT.
    Up(Up),
}

#[derive(Debug, Args)]
struct Up {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// Written when ready: {"endpoint","pid"}.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    #[arg(long, default_value = "123456789012", value_parser = account_id)]
    account_id: String,
    /// Repeats the random choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

fn account_id(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("an account id is 12 digits".to_owned())
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("failed to start")]
    Start(#[from] StartError),
    #[error("failed to write the ready file {}", path.display())]
    ReadyFile { path: PathBuf, source: io::Error },
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    #[error("failed to write to the standard output")]
    Output(#[source] io::Error),
}

/// Runs the command to its end.
///
/// # Errors
/// When the emulator cannot start or cannot say that it did.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Up(up) => run_up(up).await,
    }
}

async fn run_up(up: Up) -> Result<(), CliError> {
    // Before the port opens: a stop that comes early is still a clean stop.
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Signals)?;
    let seed = up.seed.unwrap_or_else(random);
    let running = Emulator::start(Options {
        port: up.port,
        region: up.region,
        account_id: up.account_id,
        clock: Clock::System,
        seed,
    })
    .await?;
    announce(running.endpoint(), seed).map_err(CliError::Output)?;
    if let Some(path) = &up.ready_file {
        write_ready_file(path, running.endpoint())
            .map_err(|source| CliError::ReadyFile { path: path.clone(), source })?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    if let Some(path) = &up.ready_file {
        remove_ready_file(path);
    }
    Ok(())
}

fn announce(endpoint: &str, seed: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "emulator listening on {endpoint}")?;
    writeln!(out, "state is kept in memory only and ends with the process; seed {seed}")?;
    out.flush()
}

/// Whole or not at all: whoever waits for the file may read it at once.
fn write_ready_file(path: &Path, endpoint: &str) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    std::fs::write(&partial, json!({"endpoint": endpoint, "pid": std::process::id()}).to_string())?;
    std::fs::rename(&partial, path)
}

fn remove_ready_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(%error, "the ready file was already gone");
    }
}
