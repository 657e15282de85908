//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use loadtest::stack::Stack;
use rand::RngExt;

use crate::clock::{now_ms, rfc3339};
use crate::cloud::{Cloud, check_target};
use crate::experiment::{self, Experiment};
use crate::fault::release;
use crate::journal::{self, Journal};
use crate::plan::plan;
use crate::preflight;
use crate::report;
use crate::run::{Halt, RunReport, Suite, run};

const STACK_DEFAULT: &str = "target/stack.json";
const RUNS_DEFAULT: &str = "runs";
/// A seed is typed again by people.
const SEED_MAX: u64 = 1_000_000;

/// Chaos experiments with a verdict on data.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Names of the experiments in these files, and what each believes.
    List { files: Vec<PathBuf> },
    /// Reads the files and says what is wrong. Touches nothing.
    Validate { files: Vec<PathBuf> },
    /// What a run would do: targets, calls, IAM policy, duration, cost. Touches nothing.
    Plan {
        files: Vec<PathBuf>,
        #[arg(long, default_value = STACK_DEFAULT)]
        stack: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// What must hold before a run: account, tags, alarms, safety lever, queues, clock. Only reads.
    Preflight(RunArguments),
    /// Runs the experiments one after the other and judges them.
    Run(RunArguments),
    /// Puts back what a run that died left changed.
    Recover {
        /// Folder of the run, for example runs/latest.
        run: PathBuf,
        /// The account that may be touched; needed on AWS.
        #[arg(long)]
        account: Option<String>,
    },
    /// Writes the reports of a run again, from its verdict.json.
    Report { run: PathBuf },
    /// The JSON Schema of an experiment file.
    Schema,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    #[arg(required_unless_present = "suite")]
    files: Vec<PathBuf>,
    /// Every experiment file of this folder, by name; not those of folders in it.
    #[arg(long)]
    suite: Option<PathBuf>,
    #[arg(long, default_value = STACK_DEFAULT)]
    stack: PathBuf,
    /// Decides the tasks of the load; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the folders of runs.
    #[arg(long, default_value = RUNS_DEFAULT)]
    out: PathBuf,
    /// The account that may be touched; needed on AWS. Several are an allow-list.
    #[arg(long, value_delimiter = ',')]
    account: Vec<String>,
}

impl RunArguments {
    fn experiments(&self) -> anyhow::Result<Vec<Experiment>> {
        let mut files = self.files.clone();
        if let Some(folder) = &self.suite {
            files.extend(experiment::files_of(folder)?);
        }
        Ok(experiment::load(&files)?)
    }
}

/// Runs the command. What is wrong with its input is told on standard error, and exits with 2.
pub fn main(cli: Cli) -> ExitCode {
    match dispatch(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(RunReport::EXIT_USAGE)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List { files } => list(&experiment::load(&files)?),
        Command::Validate { files } => {
            println!("{} experiments are well formed", experiment::load(&files)?.len());
        }
        Command::Plan { files, stack, json } => {
            let plan = plan(&experiment::load(&files)?, &Stack::load(stack)?)?;
            let text = if json { serde_json::to_string_pretty(&plan)? } else { plan.to_string() };
            println!("{}", text.trim_end());
        }
        Command::Preflight(arguments) => return preflight_command(&arguments),
        Command::Run(arguments) => return run_command(arguments),
        Command::Recover { run, account } => return runtime()?.block_on(recover(&run, account.as_deref())),
        Command::Report { run } => {
            let report = report::read(&run)?;
            report::write(&run, &report)?;
            print!("{}", report::table(&report));
        }
        Command::Schema => println!("{}", serde_json::to_string_pretty(&experiment::schema())?),
    }
    Ok(RunReport::EXIT_PASS)
}

fn list(experiments: &[Experiment]) {
    for experiment in experiments {
        println!("{}\n    {}", experiment.name, experiment.hypothesis.trim());
    }
}

fn run_command(arguments: RunArguments) -> anyhow::Result<u8> {
    let experiments = arguments.experiments()?;
    let stack = Stack::load(&arguments.stack)?;
    check_target(&stack, &arguments.account)?;
    // Resolves every fault, so that the last experiment's bad target is found before the first begins.
    plan(&experiments, &stack)?;
    let seed = arguments.seed.unwrap_or_else(|| rand::rng().random_range(1..SEED_MAX));
    let run_id = run_id(seed);
    let folder = arguments.out.join(&run_id);
    let halt = halt_on_signals()?;
    eprintln!(
        "run {run_id}, seed {seed}, {} experiments, results in {}",
        experiments.len(),
        folder.display()
    );
    let report = runtime()?.block_on(async {
        let cloud = Cloud::connect(stack.endpoint.as_deref(), &stack.region).await;
        preflight::must_hold(&cloud, &stack, &experiments).await?;
        let suite = Suite { experiments, stack, cloud, seed, run_id, folder: folder.clone(), halt };
        anyhow::Ok(run(&suite).await?)
    })?;
    report::write(&folder, &report)?;
    report::point_latest(&arguments.out, &report.run_id)?;
    print!("\n{}", report::table(&report));
    println!("report: {}", folder.join("report.html").display());
    Ok(report.exit_code())
}

fn preflight_command(arguments: &RunArguments) -> anyhow::Result<u8> {
    let experiments = arguments.experiments()?;
    let stack = Stack::load(&arguments.stack)?;
    check_target(&stack, &arguments.account)?;
    plan(&experiments, &stack)?;
    let findings = runtime()?.block_on(async {
        let cloud = Cloud::connect(stack.endpoint.as_deref(), &stack.region).await;
        preflight::preflight(&cloud, &stack, &experiments).await
    })?;
    findings.iter().for_each(|finding| println!("{finding}"));
    let all_hold = findings.iter().all(|finding| finding.holds);
    Ok(if all_hold { RunReport::EXIT_PASS } else { RunReport::EXIT_USAGE })
}

/// Sortable, and short enough to be part of an owner's name.
fn run_id(seed: u64) -> String {
    let stamp: String =
        rfc3339(now_ms()).chars().take(19).filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    format!("{}-{seed}", stamp.to_lowercase())
}

async fn recover(folder: &Path, account: Option<&str>) -> anyhow::Result<u8> {
    let recovery = journal::recovery(folder)?;
    if recovery.endpoint.is_none() && account != Some(recovery.account_id.as_str()) {
        bail!("the run was in account {0} on AWS; allow it with --account {0}", recovery.account_id);
    }
    let cloud = Cloud::connect(recovery.endpoint.as_deref(), &recovery.region).await;
    let journal = Journal::open(folder)?;
    let mut failed = 0;
    for entry in &recovery.open {
        let report = release(&cloud, &journal, entry).await;
        let outcome = report.error.as_deref().unwrap_or("put back, and reads as before");
        println!("fault {} of {}: {outcome}", entry.fault, entry.experiment);
        failed += usize::from(report.error.is_some());
    }
    let put_back = recovery.open.len() - failed;
    println!("{put_back} put back, {failed} not, of {} faults in the journal", recovery.faults);
    Ok(if failed == 0 { RunReport::EXIT_PASS } else { RunReport::EXIT_NOT_REVERTED })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")
}

/// Set before the load begins: goose would install a handler of its own. A second signal does not cut short the way back;
/// `kill -9` and `chaos recover` are for that.
fn halt_on_signals() -> anyhow::Result<Halt> {
    let halt = Halt::default();
    let asked = halt.clone();
    let told = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        asked.ask("a signal asked to stop");
        let again = told.swap(true, Ordering::SeqCst);
        eprintln!(
            "{}",
            if again {
                "still putting back what was changed"
            } else {
                "stopping; putting back what was changed"
            }
        );
    })
    .context("cannot listen for signals")?;
    Ok(halt)
}
