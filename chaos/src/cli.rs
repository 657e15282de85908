//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use loadtest::stack::Stack;
use rand::RngExt;

use crate::clock::{now_ms, rfc3339};
use crate::cloud::{Cloud, check_target};
use crate::experiment::{self, Experiment};
use crate::fault::{Recovered, chain, recover as recover_fault};
use crate::journal::{self, Journal, Recovery};
use crate::oracle;
use crate::plan::{Planned, plan};
use crate::preflight::{self, Intent};
use crate::report;
use crate::run::{Halt, Live, RunReport, Suite, run};
use crate::serve::Server;
use crate::tell;

const STACK_DEFAULT: &str = "target/stack.json";
const RUNS_DEFAULT: &str = "runs";
/// From the root of the repository.
const SHIPPED: &str = "chaos/experiments";
/// A seed is typed again by people.
const SEED_MAX: u64 = 1_000_000;

/// Ten million tasks are a day of a busy queue; who waits for their verdict waits a minute.
const ORACLE_TIME_MAX: Duration = Duration::from_secs(60);
/// What a small CI machine has to spare.
const ORACLE_MEMORY_MIB_MAX: i64 = 1_024;

/// Chaos experiments with a verdict on data.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Names of the experiments in these files, or of all that are shipped, and what each believes.
    List { files: Vec<PathBuf> },
    /// Reads the files, or all that are shipped, and says what is wrong. Touches nothing.
    Validate { files: Vec<PathBuf> },
    /// What a run of these files, or of all that are shipped, would do: targets, calls, IAM policy, duration, cost. Touches
    /// nothing.
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
    /// Puts back what a run that died left changed, where it is as that run left it. Where the run left nothing, those beside
    /// it are named that did: exit 4.
    Recover {
        /// Folder of the run, for example runs/latest.
        run: PathBuf,
        /// The account that may be touched; needed on AWS.
        #[arg(long)]
        account: Option<String>,
        /// Also writes what was before over a setting that somebody has changed since.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        identity: Identity,
    },
    /// Writes the reports of a run again, from its verdict.json; or says what changed between two runs.
    Report(ReportArguments),
    /// The JSON Schema of an experiment file, or of verdict.json.
    Schema {
        #[arg(value_enum, default_value_t = SchemaOf::Experiment)]
        of: SchemaOf,
    },
    /// Judges a generated run of that many tasks, and says how long it took in how much memory.
    BenchOracle {
        #[arg(long, default_value_t = 10_000_000)]
        tasks: u64,
        /// Where facts are spilled; on a disk, not in memory.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SchemaOf {
    Experiment,
    Verdict,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Terminal,
    Markdown,
    Html,
    Json,
}

#[derive(Debug, clap::Args)]
struct ReportArguments {
    /// Folder of the run, for example runs/latest.
    #[arg(required_unless_present = "compare", conflicts_with = "compare")]
    run: Option<PathBuf>,
    /// Folders of two runs. Exits with 1 when an experiment of B has a worse verdict than in A, or is missing.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    compare: Vec<PathBuf>,
    /// Of the comparison, which is printed.
    #[arg(long, value_enum, default_value_t = Format::Terminal, requires = "compare")]
    format: Format,
}

/// Who calls AWS.
#[derive(Debug, clap::Args)]
struct Identity {
    /// A role that is assumed for every call. It needs the policy that `plan` prints.
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
}

impl Identity {
    async fn connect(&self, endpoint: Option<&str>, region: &str) -> Cloud {
        match &self.role_arn {
            Some(role_arn) => Cloud::connect_as(role_arn, endpoint, region).await,
            None => Cloud::connect(endpoint, region).await,
        }
    }
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
    #[command(flatten)]
    identity: Identity,
    /// On AWS, where an experiment moves the dead letters back: also those that are there before the run, whosever they
    /// are. SQS moves all or none.
    #[arg(long)]
    redrive_all: bool,
    /// Shows the run in a page of this machine that updates live. Without a port a free one is taken.
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    serve: Option<u16>,
}

impl RunArguments {
    fn experiments(&self) -> anyhow::Result<Vec<Experiment>> {
        let mut files = self.files.clone();
        if let Some(folder) = &self.suite {
            files.extend(experiment::files_of(folder)?);
        }
        Ok(experiment::load(&files)?)
    }

    fn intent<'a>(&'a self, experiments: &'a [Experiment]) -> Intent<'a> {
        Intent { experiments, runs: &self.out, redrive_all: self.redrive_all }
    }
}

/// Runs the command. What is wrong with its input is told on standard error, and exits with 2.
pub fn main(cli: Cli) -> ExitCode {
    match dispatch(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell::err(format_args!("chaos: {error:#}"));
            ExitCode::from(RunReport::EXIT_USAGE)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List { files } => list(&named_or_shipped(files)?),
        Command::Validate { files } => {
            tell::out(format_args!("{} experiments are well formed", named_or_shipped(files)?.len()));
        }
        Command::Plan { files, stack, json } => {
            let plan = plan(&named_or_shipped(files)?, &Stack::load(stack)?)?;
            let text = if json { serde_json::to_string_pretty(&plan)? } else { plan.to_string() };
            tell::out(text.trim_end());
        }
        Command::Preflight(arguments) => return preflight_command(&arguments),
        Command::Run(arguments) => return run_command(arguments),
        Command::Recover { run, account, force, identity } => {
            return runtime()?.block_on(recover(&run, account.as_deref(), force, &identity));
        }
        Command::Report(arguments) => return report_command(&arguments),
        Command::Schema { of } => {
            let schema = match of {
                SchemaOf::Experiment => experiment::schema(),
                SchemaOf::Verdict => report::schema(),
            };
            tell::out(serde_json::to_string_pretty(&schema)?);
        }
        Command::BenchOracle { tasks, dir } => return bench_oracle(tasks, &dir),
    }
    Ok(RunReport::EXIT_PASS)
}

fn report_command(arguments: &ReportArguments) -> anyhow::Result<u8> {
    if let [a, b] = arguments.compare.as_slice() {
        let comparison = report::compare(&report::read(a)?, &report::read(b)?);
        let text = match arguments.format {
            Format::Terminal => report::comparison_terminal(&comparison),
            Format::Markdown => report::comparison_markdown(&comparison),
            Format::Html => report::comparison_html(&comparison)?,
            Format::Json => serde_json::to_string_pretty(&comparison)?,
        };
        tell::out(text.trim_end());
        return Ok(if comparison.worse { RunReport::EXIT_FAIL } else { RunReport::EXIT_PASS });
    }
    let run = arguments.run.as_deref().context("no run is named")?;
    let report = report::read(run)?;
    report::write_forms(run, &report)?;
    tell::out(report::table(&report).trim_end());
    Ok(RunReport::EXIT_PASS)
}

/// Exits with 1 where the planted loss is not the one finding, or a limit is missed.
fn bench_oracle(tasks: u64, dir: &Path) -> anyhow::Result<u8> {
    let measured = oracle::bench(tasks, dir)?;
    let findings = &measured.findings;
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let peak_mib = peak_kib(usage.max_rss()) / 1024;
    let is_found = findings.anomalies.len() == 1;
    let is_quick = measured.judged_in <= ORACLE_TIME_MAX;
    let is_small = peak_mib <= ORACLE_MEMORY_MIB_MAX;
    let note = |is_met| if is_met { "" } else { " (missed)" };
    let found = findings.anomalies.len();
    tell::out(format_args!("{tasks} tasks, {found} anomalies found of 1 planted{}", note(is_found)));
    tell::out(format_args!(
        "judged in {:.1} s, at most {} s{}; {:.1} s of them went into making the tasks",
        measured.judged_in.as_secs_f64(),
        ORACLE_TIME_MAX.as_secs(),
        note(is_quick),
        measured.generated_in.as_secs_f64()
    ));
    tell::out(format_args!(
        "peak memory {peak_mib} MiB, at most {ORACLE_MEMORY_MIB_MAX} MiB{}",
        note(is_small)
    ));
    Ok(if is_found && is_quick && is_small { RunReport::EXIT_PASS } else { RunReport::EXIT_FAIL })
}

/// Linux counts in KiB, macOS in bytes.
fn peak_kib(max_rss: i64) -> i64 {
    if cfg!(target_os = "macos") { max_rss / 1024 } else { max_rss }
}

/// Those that were named, or else all that are shipped.
fn named_or_shipped(files: Vec<PathBuf>) -> anyhow::Result<Vec<Experiment>> {
    let files = if files.is_empty() { experiment::files_of(Path::new(SHIPPED))? } else { files };
    Ok(experiment::load(&files)?)
}

fn list(experiments: &[Experiment]) {
    for experiment in experiments {
        tell::out(format_args!("{}\n    {}", experiment.name, experiment.hypothesis.trim()));
    }
}

fn run_command(arguments: RunArguments) -> anyhow::Result<u8> {
    let experiments = arguments.experiments()?;
    let stack = Stack::load(&arguments.stack)?;
    check_target(&stack, &arguments.account)?;
    // Resolves every fault, so that the last experiment's bad target is found before the first begins.
    let planned = plan(&experiments, &stack)?;
    let seed = arguments.seed.unwrap_or_else(|| rand::rng().random_range(1..SEED_MAX));
    let run_id = run_id(seed);
    let folder = arguments.out.join(&run_id);
    let halt = halt_on_signals()?;
    tell::err(format_args!(
        "run {run_id}, seed {seed}, {} experiments, results in {}",
        experiments.len(),
        folder.display()
    ));
    planned.experiments.iter().filter_map(Planned::owners_note).for_each(tell::err);
    if let Err(error) = loadtest::open_files::raise() {
        tell::err(format_args!("chaos: the limit of open files was not raised: {error}"));
    }
    let report = runtime()?.block_on(async {
        let cloud = arguments.identity.connect(stack.endpoint.as_deref(), &stack.region).await;
        preflight::must_hold(&cloud, &stack, arguments.intent(&experiments)).await?;
        let live = Arc::new(Live::default());
        let server = match arguments.serve {
            Some(port) => {
                Some(Server::start(Arc::clone(&live), port).await.context("cannot serve the live view")?)
            }
            None => None,
        };
        if let Some(server) = &server {
            tell::err(format_args!("live view: http://{}/", server.address));
        }
        let suite = Suite { experiments, stack, cloud, seed, run_id, folder: folder.clone(), halt, live };
        let report = run(&suite).await?;
        if let Some(server) = server {
            server.end().await;
        }
        anyhow::Ok(report)
    })?;
    let kept = report::write(&folder, &report);
    // Whether or not it can be kept: what is left changed, or was seen broken, must be told.
    tell::out(format_args!("\n{}", report::table(&report).trim_end()));
    if let Err(error) = kept {
        tell::err(format_args!("chaos: {}", chain(&error)));
        return Ok(report.exit_code_unwritten());
    }
    tell::out(format_args!("report: {}", folder.join("report.html").display()));
    Ok(report.exit_code())
}

fn preflight_command(arguments: &RunArguments) -> anyhow::Result<u8> {
    let experiments = arguments.experiments()?;
    let stack = Stack::load(&arguments.stack)?;
    check_target(&stack, &arguments.account)?;
    plan(&experiments, &stack)?;
    let findings = runtime()?.block_on(async {
        let cloud = arguments.identity.connect(stack.endpoint.as_deref(), &stack.region).await;
        preflight::preflight(&cloud, &stack, arguments.intent(&experiments)).await
    })?;
    findings.iter().for_each(tell::out);
    let all_hold = findings.iter().all(|finding| finding.holds);
    Ok(if all_hold { RunReport::EXIT_PASS } else { RunReport::EXIT_USAGE })
}

/// Sortable, and short enough to be part of an owner's name.
fn run_id(seed: u64) -> String {
    let stamp: String =
        rfc3339(now_ms()).chars().take(19).filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    format!("{}-{seed}", stamp.to_lowercase())
}

async fn recover(
    folder: &Path,
    account: Option<&str>,
    is_forced: bool,
    identity: &Identity,
) -> anyhow::Result<u8> {
    // By its own name: `latest` is whichever run was begun last.
    let folder = &std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let recovery = journal::recovery(folder)?;
    tell::out(format_args!("the journal is {}", folder.join(journal::FILE_NAME).display()));
    for line in &recovery.unreadable {
        tell::err(format_args!("chaos: line {line} of the journal cannot be read and is passed over"));
    }
    if recovery.endpoint.is_none() && account != Some(recovery.account_id.as_str()) {
        bail!("the run was in account {0} on AWS; allow it with --account {0}", recovery.account_id);
    }
    let cloud = identity.connect(recovery.endpoint.as_deref(), &recovery.region).await;
    // A lever of the same name in another account would be moved, and the journal would say that all is well.
    if !recovery.open.is_empty() {
        preflight::account_must_be(&cloud, &recovery.account_id).await?;
    }
    let journal = Journal::open(folder)?;
    // Until now another may have put back what was open.
    let recovery = journal::recovery(folder)?;
    let (mut put_back, mut gone, mut failed) = (0, 0, 0);
    for entry in &recovery.open {
        let (count, told) = match recover_fault(&cloud, &journal, entry, is_forced).await {
            Ok(Recovered::PutBack) => (&mut put_back, "put back, and reads as before".to_owned()),
            Ok(Recovered::Gone) => (&mut gone, "what it changed is not there any more".to_owned()),
            Err(error) => (&mut failed, chain(&error)),
        };
        *count += 1;
        tell::out(format_args!("fault {} of {}: {told}", entry.fault, entry.experiment));
    }
    let faults = recovery.faults;
    tell::out(format_args!(
        "{put_back} put back, {failed} not, {gone} gone, of {faults} faults in the journal"
    ));
    // Whoever recovers a run that left nothing may have meant another.
    let is_another_left = recovery.open.is_empty() && name_left_open(folder, &recovery);
    let is_all_well = failed == 0 && recovery.unreadable.is_empty() && !is_another_left;
    Ok(if is_all_well { RunReport::EXIT_PASS } else { RunReport::EXIT_NOT_REVERTED })
}

/// Names the runs beside this one that left faults open on its target, or lines that may have been one, and says whether
/// there are any.
fn name_left_open(folder: &Path, recovery: &Recovery) -> bool {
    let mut left = folder.parent().map(journal::left_open).unwrap_or_default();
    left.retain(|(other, of)| {
        other != folder && of.is_of(recovery.endpoint.as_deref(), &recovery.region, &recovery.account_id)
    });
    for (other, recovery) in &left {
        let (count, lines, other) = (recovery.open.len(), recovery.unreadable.len(), other.display());
        tell::err(format_args!(
            "chaos: faults open in another run: {count}, lines that cannot be read: {lines}; `chaos recover {other}`"
        ));
    }
    !left.is_empty()
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
        tell::err(if again {
            "still putting back what was changed"
        } else {
            "stopping; putting back what was changed"
        });
    })
    .context("cannot listen for signals")?;
    Ok(halt)
}
