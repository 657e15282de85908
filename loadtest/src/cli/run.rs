//! `loadtest run`.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use loadtest::verdict::{self, Exit, Verdict};
use loadtest::{Arrivals, LoadOutcome, LoadPlan, NuisanceSockets, Running, TaskMix, start};
use serde::Serialize;
use tokio::sync::watch;

use super::{OutputArgs, StackArgs, now_ms, parse_duration, progress, table};

/// Version of the file that `--json` writes.
const SCHEMA: u32 = 1;
/// Exit code of a process that a second interrupt ends at once, as a shell reports it.
const INTERRUPTED: i32 = 130;

/// Sockets of each owner besides the one that listens; they must harm nobody.
#[derive(Args)]
struct NuisanceArgs {
    /// Neither read nor write.
    #[arg(long, value_name = "N", default_value_t = 0)]
    silent_sockets: u32,
    /// Read one message in a while.
    #[arg(long, value_name = "N", default_value_t = 0)]
    slow_sockets: u32,
    /// Are dropped without a close, again and again.
    #[arg(long, value_name = "N", default_value_t = 0)]
    dropped_sockets: u32,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    stack: StackArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    nuisance: NuisanceArgs,
    /// Arrivals per second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Constant)]
    arrivals: ArrivalsArg,
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// Client identities, each with one WebSocket session.
    #[arg(long, default_value_t = 8)]
    owners: u32,
    /// POSTs in flight at once, at the most.
    #[arg(long, default_value_t = 64)]
    workers: usize,
    /// GETs per second besides.
    #[arg(long, default_value_t = 2.0)]
    poll_rate: f64,
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// How often a POST of unknown fate is sent again with its key.
    #[arg(long, default_value_t = 3)]
    unknown_retries: u32,
    /// How long to wait, after the last arrival, for every task to end.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    settle: Duration,
    #[command(flatten)]
    mix: MixArgs,
}

#[derive(Args)]
struct MixArgs {
    /// One task in N always fails.
    #[arg(long, value_name = "N")]
    poison_one_in: Option<NonZeroU32>,
    /// One task in N fails its first attempts.
    #[arg(long, value_name = "N")]
    flaky_one_in: Option<NonZeroU32>,
    #[arg(long, value_name = "N", default_value_t = 1)]
    flaky_failures: u32,
    /// One task in N sleeps.
    #[arg(long, value_name = "N")]
    sleep_one_in: Option<NonZeroU32>,
    #[arg(long, value_name = "MS", default_value_t = 100)]
    sleep_ms: u32,
    /// One POST in N is sent twice at once, with the same key.
    #[arg(long, value_name = "N")]
    duplicate_one_in: Option<NonZeroU32>,
    /// The key of one acknowledged task in N is sent again with another body, which must be refused.
    #[arg(long, value_name = "N")]
    conflict_one_in: Option<NonZeroU32>,
    /// Beside one POST in N a body beyond the service's limit is sent, which must be refused.
    #[arg(long, value_name = "N")]
    oversize_one_in: Option<NonZeroU32>,
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    payload_bytes: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum ArrivalsArg {
    Constant,
    Poisson,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    verdict: &'a Verdict,
    outcome: &'a LoadOutcome,
}

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<Exit> {
    // Before goose would set its own, which only stops goose.
    let mut interrupted = on_interrupt()?;
    let stack = args.stack.load()?;
    args.output.check()?;
    let plan = args.plan();
    println!("run {} with seed {}", plan.run_id, plan.seed);
    let running = start(&stack, plan).await?;
    drive(&running, args.settle, &mut interrupted).await;
    let outcome = running.finish().await?;
    let verdict = verdict::judge(&outcome, &args.output.thresholds);
    print!("{}", table::run(&outcome, &verdict));
    let report = Report { schema: SCHEMA, verdict: &verdict, outcome: &outcome };
    Ok(args.output.keep(&report, verdict.exit))
}

async fn drive(running: &Running, settle: Duration, interrupted: &mut watch::Receiver<bool>) {
    let wait = async {
        running.arrivals_ended().await;
        running.settled(settle).await
    };
    tokio::pin!(wait);
    let mut progress = progress::Progress::begin();
    loop {
        tokio::select! {
            _ = &mut wait => break,
            // Once: what was acknowledged is still followed to its end.
            Ok(()) = interrupted.changed() => running.stop_arrivals(),
            () = progress.tick() => progress.show(&running.counts()),
        }
    }
    progress.clear();
}

fn on_interrupt() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    ctrlc::set_handler(move || {
        if sender.send_replace(true) {
            std::process::exit(INTERRUPTED);
        }
        eprintln!("\nending the arrivals; interrupt again to leave at once");
    })
    .context("cannot handle interrupts")?;
    Ok(receiver)
}

impl RunArgs {
    fn plan(&self) -> LoadPlan {
        let now_ms = now_ms();
        LoadPlan {
            run_id: self.output.run_id(now_ms),
            seed: self.output.seed.unwrap_or(now_ms),
            rate_per_second: self.rate,
            arrivals: match self.arrivals {
                ArrivalsArg::Constant => Arrivals::Constant,
                ArrivalsArg::Poisson => Arrivals::Poisson,
            },
            duration: self.duration,
            owners: self.owners,
            mix: self.mix.mix(),
            nuisance: NuisanceSockets {
                silent: self.nuisance.silent_sockets,
                slow: self.nuisance.slow_sockets,
                dropped: self.nuisance.dropped_sockets,
            },
            poll_rate_per_second: self.poll_rate,
            request_timeout: self.timeout,
            workers: self.workers,
            unknown_retries: self.unknown_retries,
        }
    }
}

impl MixArgs {
    fn mix(&self) -> TaskMix {
        TaskMix {
            poison_one_in: self.poison_one_in,
            flaky_one_in: self.flaky_one_in,
            flaky_failures: self.flaky_failures,
            sleep_one_in: self.sleep_one_in,
            sleep_ms: self.sleep_ms,
            duplicate_one_in: self.duplicate_one_in,
            conflict_one_in: self.conflict_one_in,
            oversize_one_in: self.oversize_one_in,
            payload_bytes: self.payload_bytes,
        }
    }
}
