//! The figures that the README quotes, measured on a stack of their own.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::error::StackError;
use crate::functions::Functions;
use crate::generator::{self, Closed, Open};
use crate::lifecycle;
use crate::package::FUNCTIONS;
use crate::steps::Steps;
use crate::workdir::Workdir;
use crate::yardstick;

const BENCHES: &str = "target/bench";
/// A worker that keeps up has little left when the load ends.
const DRAINED_MS_MAX: f64 = 2_000.0;
const CLIENTS: u32 = 32;
const OWNERS: u32 = 32;
const PER_SECOND_MIN: f64 = 500.0;
/// A key costs one more read of the table.
const KEYED_PER_SECOND_MIN: f64 = 400.0;
const MIB: f64 = 1024.0 * 1024.0;

/// One line of the table.
struct Figure {
    what: &'static str,
    measured: f64,
    unit: &'static str,
    limit: Option<Limit>,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    fn at_most(what: &'static str, measured: f64, unit: &'static str, limit: f64) -> Self {
        Self { what, measured, unit, limit: Some(Limit::AtMost(limit)) }
    }

    fn at_least(what: &'static str, measured: f64, unit: &'static str, limit: f64) -> Self {
        Self { what, measured, unit, limit: Some(Limit::AtLeast(limit)) }
    }

    fn of_the_machine(what: &'static str, measured: f64, unit: &'static str) -> Self {
        Self { what, measured, unit, limit: None }
    }

    fn row(&self) -> String {
        let unit = self.unit;
        let (limit, met) = match self.limit {
            None => ("-".to_owned(), true),
            Some(Limit::AtMost(most)) => (format!("<= {most} {unit}"), self.measured <= most),
            Some(Limit::AtLeast(least)) => (format!(">= {least} {unit}"), self.measured >= least),
        };
        let note = if met { "" } else { " (missed)" };
        format!("| {} | {:.1} {unit}{note} | {limit} |", self.what, self.measured)
    }
}

pub(crate) fn run(steps: &Steps) -> Result<ExitCode, StackError> {
    let workdir = Workdir::at(&Path::new(BENCHES).join(std::process::id().to_string()))?;
    let measured = measure(steps, &workdir);
    if measured.is_err() {
        lifecycle::abandon(&workdir);
    }
    println!("\n| figure | measured | limit |\n| --- | --: | --: |");
    for figure in measured? {
        println!("{}", figure.row());
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(steps: &Steps, workdir: &Workdir) -> Result<Vec<Figure>, StackError> {
    let machine = steps.of("what the machine does alone", |_| {
        yardstick::round_trips_per_second().map_err(StackError::unreadable("the speed of the machine"))
    })?;
    let zips = lifecycle::zips()?;
    let began = Instant::now();
    let ready = lifecycle::start(steps, workdir)?;
    let mut figures = vec![
        Figure::of_the_machine("the machine alone: round trips of 1 KiB over loopback", machine, "/s"),
        Figure::at_most("emulator start", began.elapsed().as_secs_f64(), "s", 1.0),
        Figure::at_most("emulator memory, idle", ready.memory_mib().unwrap_or(f64::NAN), "MiB", 60.0),
        Figure::at_most("largest function zip", largest_zip_mib(&zips)?, "MiB", 6.0),
    ];
    let (stack, apply) = timed(|| lifecycle::apply(steps, workdir, &ready, &zips))?;
    figures.push(Figure::at_most("terraform apply, init included", apply, "s", 80.0));
    let functions = Functions::of(&stack, &ready)?;
    let cold = steps.of("cold starts", |_| functions.cold_start_ms())?;
    figures.push(Figure::at_most("cold start, process start to first response, p50", cold, "ms", 60.0));
    figures.extend(worker_running(steps, workdir)?);
    figures.extend(with_sessions(steps, workdir)?);
    steps.of("pause the worker", |_| functions.pause_worker())?;
    let paused = Closed { is_worker_paused: true, ..Closed::of(CLIENTS) };
    let paused = generator::closed(steps, workdir, &paused)?;
    figures.push(Figure::at_least("accepted POST /tasks, worker paused", paused.per_second, "/s", 2_500.0));
    let ((), destroy) = timed(|| lifecycle::destroy(steps, workdir))?;
    figures.push(Figure::at_most("terraform destroy, stop included", destroy, "s", 40.0));
    Ok(figures)
}

fn worker_running(steps: &Steps, workdir: &Workdir) -> Result<[Figure; 5], StackError> {
    let many = generator::closed(steps, workdir, &Closed::of(CLIENTS))?;
    let keyed = generator::closed(steps, workdir, &Closed { keyed: true, ..Closed::of(CLIENTS) })?;
    let one = generator::closed(steps, workdir, &Closed::of(1))?;
    Ok([
        Figure::at_least(
            "accepted POST /tasks, 32 clients, worker running",
            many.per_second,
            "/s",
            PER_SECOND_MIN,
        ),
        Figure::at_most("POST /tasks p99, 32 clients", many.p99_ms, "ms", 150.0),
        Figure::at_most("worker done after the last POST", many.drained_ms, "ms", DRAINED_MS_MAX),
        Figure::at_least(
            "the same, each with an Idempotency-Key",
            keyed.per_second,
            "/s",
            KEYED_PER_SECOND_MIN,
        ),
        Figure::at_most("POST /tasks p50, 1 client", one.p50_ms, "ms", 5.0),
    ])
}

/// Each owner with a WebSocket session, so that final states are pushed.
fn with_sessions(steps: &Steps, workdir: &Workdir) -> Result<[Figure; 2], StackError> {
    let steady = generator::at_rate(steps, workdir, &Open { rate: 300, seconds: 20, owners: OWNERS })?;
    // More than the goal: of what arrives last the final state comes after the end, however fast everything is.
    let most = generator::overload(steps, workdir, &Open { rate: 1_050, seconds: 20, owners: OWNERS })?;
    Ok([
        Figure::at_most("POST /tasks p99, 300 tasks per second", steady.post_p99_ms, "ms", 50.0),
        Figure::at_least(
            "from POST to pushed final state, 1,050 offered",
            most.finals_per_second,
            "/s",
            1_000.0,
        ),
    ])
}

fn timed<T>(work: impl FnOnce() -> Result<T, StackError>) -> Result<(T, f64), StackError> {
    let began = Instant::now();
    work().map(|done| (done, began.elapsed().as_secs_f64()))
}

fn largest_zip_mib(zips: &Path) -> Result<f64, StackError> {
    let mut largest = 0.0_f64;
    for name in FUNCTIONS {
        let path = zips.join(format!("{name}.zip"));
        let bytes = path.metadata().map_err(StackError::io("read", &path))?.len();
        #[expect(clippy::cast_precision_loss, reason = "a zip is far below 2^52 bytes")]
        let mib = bytes as f64 / MIB;
        largest = largest.max(mib);
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_limit_is_said() {
        assert!(Figure::at_most("x", 2.0, "s", 1.0).row().contains("missed"));
        assert!(!Figure::at_least("x", 2.0, "/s", 1.0).row().contains("missed"));
        assert_eq!(Figure::of_the_machine("x", 2.0, "/s").row(), "| x | 2.0 /s | - |");
    }
}
