//! `loadtest bench`.

use std::time::Duration;

use clap::Args;
use loadtest::bench::{self, BenchPlan};
use loadtest::verdict::Exit;

use super::{OutputArgs, StackArgs, now_ms, parse_duration, table};

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    stack: StackArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Clients, each with one POST in flight.
    #[arg(long, default_value_t = 32)]
    clients: u32,
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Before the measurement, for cold starts and connections.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    payload_bytes: usize,
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// Send each POST with an Idempotency-Key of its own.
    #[arg(long)]
    keyed: bool,
    /// Do not wait for the worker afterwards: it is paused.
    #[arg(long)]
    no_drain: bool,
}

pub(crate) async fn bench(args: BenchArgs) -> anyhow::Result<Exit> {
    args.output.check()?;
    let now_ms = now_ms();
    let plan = BenchPlan {
        run_id: args.output.run_id(now_ms),
        seed: args.output.seed.unwrap_or(now_ms),
        clients: args.clients,
        warm_up: args.warm_up,
        duration: args.duration,
        payload_bytes: args.payload_bytes,
        request_timeout: args.timeout,
        keyed: args.keyed,
        drain: !args.no_drain,
    };
    let outcome = bench::bench(&args.stack.load()?, &plan).await?;
    let judged: Vec<_> = args.output.thresholds.iter().map(|threshold| threshold.judge(&outcome)).collect();
    print!("{}", table::bench(&outcome, &judged));
    let is_met = judged.iter().all(|judged| judged.met);
    let exit = if outcome.accepted == 0 {
        Exit::Invalid
    } else if is_met {
        Exit::Ok
    } else {
        Exit::Threshold
    };
    Ok(args.output.keep(&outcome, exit))
}
