//! Brings a whole stack up on this machine and down again: emulator, real `terraform apply`, `stack.json`.
//!
//! It is what `make up`, `make plan`, `make down`, `make demo` and the infrastructure part of `make test` call. Every
//! child runs in a process group of its own, so that Ctrl-C is handled here, in order, and leaves nothing behind.

mod al2023;
mod bench;
mod calls;
mod child;
mod demo;
mod emulator;
mod error;
mod functions;
mod generator;
mod harness;
mod interrupt;
mod lifecycle;
mod mirror;
mod package;
mod peers;
mod provider;
mod python;
mod sdks;
mod soak;
mod steps;
mod terraform;
mod verify;
mod workdir;
mod yardstick;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::StackError;
use crate::interrupt::Interrupts;
use crate::steps::Steps;
use crate::workdir::Workdir;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

/// Brings the stack up and down on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where the stack keeps its files, a folder that is removed with them; its description is written beside it as `<dir>.json`.
    /// A folder that no stack made is left alone.
    #[arg(long, global = true, default_value = "target/stack")]
    dir: PathBuf,
    /// Gives the emulator a legal adversary with this seed (see docs/emulator.md).
    #[arg(long, global = true, value_name = "SEED")]
    adversary: Option<u64>,
    /// Lets faults of FIS begin and end as on AWS, after up to a minute; without it they do at once. Experiments whose faults
    /// last for seconds are INCONCLUSIVE with it.
    #[arg(long, global = true)]
    fis_ramps: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Zip the function binaries that lie beside this program.
    Package {
        /// Folder for the zips; stacks on this machine take theirs from the default.
        #[arg(long, value_name = "DIR", default_value = lifecycle::ZIPS)]
        into: PathBuf,
        /// Refuse what Lambda's `provided.al2023` could not start, and say which architecture the zips are for.
        #[arg(long)]
        for_lambda: bool,
    },
    /// Start the emulator, apply the local environment and leave both running.
    Up,
    /// Plan against the running stack: exit 0 when nothing would change, 2 when something would, 1 when there is no plan.
    Plan,
    /// Destroy the stack and stop its emulator.
    Down,
    /// Bring a stack up, run experiments on it, bring it down: all in one. Exits as `chaos run` does: 3 also where nothing was
    /// judged.
    Demo {
        /// The seed of load and faults; a fresh one when absent.
        #[arg(long)]
        seed: Option<u64>,
        /// Experiment files.
        #[arg(required = true)]
        experiments: Vec<PathBuf>,
    },
    /// Measure the figures that the README quotes, on a stack of its own.
    Bench,
    /// Measure this emulator beside MiniStack: the same Terraform, the same zips, the same load.
    BenchPeers,
    /// Load for long, on a stack of its own: the emulator's memory must stay as it is.
    Soak {
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
        minutes: u32,
        /// Tasks per second.
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Where the stack's files lie, its tables among them: 3 KiB a task. A disk that stalls does not hold the rate; on Linux
        /// /dev/shm takes it out of the figure.
        #[arg(long, value_name = "DIR")]
        place: Option<PathBuf>,
    },
    /// `terraform fmt -check`, `validate` and `test` of every module and environment.
    Verify,
    /// Drive the emulator with boto3 and the AWS CLI, fetched from the Python registry.
    TestSdks,
    /// Judge the emulator by the real Terraform provider: create, change in place, kill, plan again, destroy.
    TestProvider,
}

fn run(arguments: Arguments) -> Result<ExitCode, StackError> {
    let steps = Steps::new(Interrupts::listen()?);
    let at = |dir: &Path| -> Result<Workdir, StackError> {
        let workdir = Workdir::at(dir)?;
        Ok(workdir.with_adversary(arguments.adversary).with_fis_ramps(arguments.fis_ramps))
    };
    match arguments.verb {
        Verb::Package { into, for_lambda: false } => package::functions(&into).map(|_| ExitCode::SUCCESS),
        Verb::Package { into, for_lambda: true } => package::for_lambda(&into).map(|()| ExitCode::SUCCESS),
        Verb::Up => lifecycle::up_and_stay(&steps, &at(&arguments.dir)?),
        Verb::Plan => lifecycle::plan(&steps, &Workdir::at(&arguments.dir)?),
        Verb::Down => lifecycle::down(&steps, &Workdir::at(&arguments.dir)?),
        Verb::Demo { seed, experiments } => demo::run(&steps, &at(&demo::directory())?, seed, &experiments),
        Verb::Bench => bench::run(&steps),
        Verb::BenchPeers => peers::run(&steps),
        Verb::Soak { minutes, rate, place } => soak::run(&steps, minutes, rate, place.as_deref()),
        Verb::Verify => verify::run(&steps),
        Verb::TestSdks => sdks::run(&steps),
        Verb::TestProvider => provider::run(&steps),
    }
}
