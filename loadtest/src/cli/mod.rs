//! The command line of `loadtest`.

mod bench;
mod progress;
mod run;
mod table;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use loadtest::stack::Stack;
use loadtest::verdict::Exit;
use loadtest::{LoadError, Threshold};
use serde::Serialize;

/// Load for the task backend, with a ledger of what became of every task.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 ok, 1 a threshold was not met, 2 usage, 3 tasks lost or wrong, \
accepted although they must be refused, shown to another owner or shown as they are not, \
4 the run is invalid or could not be done or kept."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Open loop: arrivals at a rate, whatever the target does.
    Run(run::RunArgs),
    /// Closed loop: as many POSTs as so many clients get answered.
    Bench(bench::BenchArgs),
    /// Prints a token for one owner.
    Token(token::TokenArgs),
}

/// What every command needs to know.
#[derive(Args)]
struct StackArgs {
    /// Written by `stack up`.
    #[arg(long, value_name = "FILE", default_value = "target/stack.json")]
    stack: PathBuf,
}

impl StackArgs {
    fn load(&self) -> Result<Stack, LoadError> {
        Ok(Stack::load(&self.stack)?)
    }
}

/// What both kinds of load share.
#[derive(Args)]
struct OutputArgs {
    /// A rule such as "p99<500ms for POST", "p90<2s for end-to-end", "error-rate<1%" (also "for GET") or
    /// "rate>=100". May be repeated.
    #[arg(long = "threshold", value_name = "RULE")]
    thresholds: Vec<Threshold>,
    /// Writes everything measured to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seed of everything random, for a replay [default: from the time, printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Part of every idempotency key, and of every owner but one whose token is given [default: from the time].
    #[arg(long)]
    run_id: Option<String>,
}

/// Where the report cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", .path.display())]
struct Unwritable {
    path: PathBuf,
    source: std::io::Error,
}

impl OutputArgs {
    /// Before the load: who asks for a file wants no run without it.
    fn check(&self) -> Result<(), Unwritable> {
        let Some(path) = &self.json else { return Ok(()) };
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map(drop).map_err(|source| Unwritable { path: path.clone(), source })
    }

    /// What a run found is told by its exit code even where it cannot be kept.
    fn keep(&self, report: &impl Serialize, exit: Exit) -> Exit {
        let Some(path) = &self.json else { return exit };
        let Err(error) = write_json(path, report) else { return exit };
        eprintln!("loadtest: {error:#}");
        if exit == Exit::Ok { Exit::Invalid } else { exit }
    }

    fn run_id(&self, now_ms: u64) -> String {
        self.run_id.clone().unwrap_or_else(|| format!("load-{now_ms:x}"))
    }
}

impl Cli {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if let Err(error) = loadtest::open_files::raise() {
            eprintln!("loadtest: the limit of open files was not raised: {error}");
        }
        // Two cores are shared with the target: more threads would only take turns.
        let runtime = tokio::runtime::Runtime::new()?;
        let exit = runtime.block_on(async {
            match self.command {
                Command::Run(args) => run::run(args).await,
                Command::Bench(args) => bench::bench(args).await,
                Command::Token(args) => token::token(&args),
            }
        });
        // What still waits for a target that hangs is not waited for.
        runtime.shutdown_background();
        Ok(ExitCode::from(exit? as u8))
    }
}

/// Wrong input is usage; a target that could not be reached leaves no verdict.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<Unwritable>() {
        return Exit::Usage;
    }
    match error.downcast_ref::<LoadError>() {
        Some(
            LoadError::Plan { .. }
            | LoadError::Stack(_)
            | LoadError::Token(_)
            | LoadError::NoToken { .. }
            | LoadError::NoKey
            | LoadError::OneTokenManyOwners { .. }
            | LoadError::NoSubject { .. }
            | LoadError::TokenEnds { .. }
            | LoadError::UnreadableToken { .. },
        ) => Exit::Usage,
        _ => Exit::Invalid,
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(value).context("cannot serialize the report")?;
    std::fs::write(path, bytes).map_err(|source| Unwritable { path: path.to_owned(), source })?;
    Ok(())
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `500ms`, `30s` or `2m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 500ms, 30s or 2m");
    let (number, unit_seconds) = if let Some(number) = text.strip_suffix("ms") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60.0)
    } else {
        return Err(wrong());
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "-1s", "s", "1h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
