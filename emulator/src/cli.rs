//! The command line: `emulator up` and `emulator iam report`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rand::random;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::iam::Report;
use crate::logs::BYTES_MAX;
use crate::metrics::SECONDS_KEPT;
use crate::server::{Emulator, IAM_REPORT_PATH, Options, Running, StartError};

/// Far above what 200 denials for each of some hundred roles take.
const REPORT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// More than that is better written to a file.
const LOGS_MIB_MAX: usize = 16 * 1024;

/// AWS keeps no seconds for longer.
const METRIC_SECONDS_MAX: u64 = 3 * 3600;

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
    /// What the policies of roles did.
    #[command(subcommand)]
    Iam(IamCommand),
}

#[derive(Debug, Subcommand)]
enum IamCommand {
    /// Per role: granted actions never used, and calls denied, since the start.
    Report(IamReport),
}

#[derive(Debug, Args)]
struct IamReport {
    /// Of the running emulator, as it printed it.
    #[arg(long)]
    endpoint: String,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Whether policies decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Enforcement {
    On,
    Off,
}

/// When a function learns of a fault, and of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FisPolling {
    AtOnce,
    Aws,
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
    /// Whether each function may do only what the policies of its role allow.
    #[arg(long, value_enum, default_value_t = Enforcement::On)]
    iam: Enforcement,
    /// Whether the FIS extension in a function polls for faults in AWS's rhythm, up to a minute to begin and 20 s to end, or
    /// knows of them at once.
    #[arg(long, value_enum, default_value_t = FisPolling::Aws)]
    fis_polling: FisPolling,
    /// Does, by this seed, what AWS documents that it may do: duplicates, reordering, late deletes, stale answers, cold
    /// starts, connections just gone.
    #[arg(long, value_name = "SEED")]
    adversary: Option<u64>,
    /// Keeps what is acknowledged in this directory, over restarts and kill -9: messages, tables, objects and settings, and
    /// not logs, metrics and what else docs/emulator.md names. Without it: memory only.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The most that all log events together may take; the oldest go first.
    #[arg(long, value_name = "MIB", default_value_t = BYTES_MAX >> 20, value_parser = logs_mib)]
    logs_max_mib: usize,
    /// How long metrics of one second's resolution are kept by the second; by the minute after that. AWS: 10800.
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS_KEPT.as_secs(),
        value_parser = value_parser!(u64).range(1..=METRIC_SECONDS_MAX))]
    metric_seconds: u64,
}

fn logs_mib(text: &str) -> Result<usize, String> {
    let mib: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1..=LOGS_MIB_MAX).contains(&mib) { Ok(mib) } else { Err(format!("1 to {LOGS_MIB_MAX}")) }
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
    #[error("failed to read {url}")]
    Read { url: String, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Runs the command to its end.
///
/// # Errors
/// When the emulator cannot start or cannot say that it did.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Up(up) => run_up(up).await,
        Command::Iam(IamCommand::Report(wanted)) => report_iam(&wanted).await,
    }
}

async fn run_up(up: Up) -> Result<(), CliError> {
    // Before the port opens: a stop that comes early is still a clean stop.
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Signals)?;
    let seed = up.seed.unwrap_or_else(random);
    let running = Emulator::start(Options {
        port: up.port,
        region: up.region.clone(),
        account_id: up.account_id.clone(),
        clock: Clock::System,
        seed,
        iam: up.iam == Enforcement::On,
        fis_polling: up.fis_polling == FisPolling::Aws,
        adversary: up.adversary,
        data_dir: up.data_dir.clone(),
        logs_bytes_max: up.logs_max_mib << 20,
        metric_seconds_kept: Duration::from_secs(up.metric_seconds),
    })
    .await?;
    announce(&running, &up, seed).map_err(CliError::Output)?;
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

async fn report_iam(wanted: &IamReport) -> Result<(), CliError> {
    let url = format!("{}{IAM_REPORT_PATH}", wanted.endpoint.trim_end_matches('/'));
    let body = read(&url).await.map_err(|source| CliError::Read { url: url.clone(), source })?;
    let report: Report =
        serde_json::from_slice(&body).map_err(|error| CliError::Read { url, source: error.into() })?;
    let mut out = io::stdout().lock();
    let written =
        if wanted.json { out.write_all(&body).and_then(|()| writeln!(out)) } else { write!(out, "{report}") };
    written.map_err(CliError::Output)
}

async fn read(url: &str) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(url.parse()?).await?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("the answer was {status}").into());
    }
    Ok(Limited::new(answer.into_body(), REPORT_BYTES_MAX).collect().await?.to_bytes())
}

fn announce(running: &Running, up: &Up, seed: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "emulator listening on {}", running.endpoint())?;
    match &up.data_dir {
        None => writeln!(out, "state is kept in memory only and ends with the process; seed {seed}")?,
        Some(dir) => writeln!(out, "state is kept in {}; seed {seed}", dir.display())?,
    }
    if let Some(adversary) = up.adversary {
        writeln!(out, "a legal adversary is at work; seed {adversary}")?;
    }
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
