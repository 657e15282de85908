//! The figures that the README quotes, measured on a stack of their own.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine;
use serde_json::Value;

use crate::emulator::{LOOK_INTERVAL, Ready};
use crate::error::StackError;
use crate::generator::{self, Closed, Open};
use crate::lifecycle;
use crate::package::FUNCTIONS;
use crate::steps::Steps;
use crate::workdir::Workdir;

const BENCHES: &str = "target/bench";
const UPDATE_LIMIT: Duration = Duration::from_secs(30);
/// A worker that keeps up has little left when the load ends.
const DRAINED_MS_MAX: f64 = 2_000.0;
const CLIENTS: u32 = 32;
const OWNERS: u32 = 32;
const PER_SECOND_MIN: f64 = 500.0;
/// A key costs one more read of the table.
const KEYED_PER_SECOND_MIN: f64 = 400.0;
/// An odd number has a middle one.
const COLD_STARTS: u32 = 9;
/// The function whose cold starts are measured: it builds the most clients.
const COLD_FUNCTION: &str = "process-task";
/// An SQS event without records: nothing is done, so that only the start is measured.
const EMPTY_EVENT: &str = r#"{"Records":[]}"#;
const MIB: f64 = 1024.0 * 1024.0;

/// One line of the table.
struct Figure {
    what: &'static str,
    measured: f64,
    unit: &'static str,
    limit: f64,
    /// Whether the limit is the least that is wanted, rather than the most.
    at_least: bool,
}

impl Figure {
    fn at_most(what: &'static str, measured: f64, unit: &'static str, limit: f64) -> Self {
        Self { what, measured, unit, limit, at_least: false }
    }

    fn at_least(what: &'static str, measured: f64, unit: &'static str, limit: f64) -> Self {
        Self { what, measured, unit, limit, at_least: true }
    }

    fn row(&self) -> String {
        let (sign, met) = if self.at_least {
            (">=", self.measured >= self.limit)
        } else {
            ("<=", self.measured <= self.limit)
        };
        let note = if met { "" } else { " (missed)" };
        format!(
            "| {} | {:.1} {unit}{note} | {sign} {} {unit} |",
            self.what,
            self.measured,
            self.limit,
            unit = self.unit
        )
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
    let began = Instant::now();
    let ready = lifecycle::start(steps, workdir)?;
    let mut figures = vec![
        Figure::at_most("emulator start", began.elapsed().as_secs_f64(), "s", 1.0),
        Figure::at_most("emulator memory, idle", ready.memory_mib().unwrap_or(f64::NAN), "MiB", 60.0),
        Figure::at_most("largest function zip", largest_zip_mib()?, "MiB", 6.0),
    ];
    let zips = lifecycle::zips()?;
    let (stack, apply) = timed(|| lifecycle::apply(steps, workdir, &ready, &zips))?;
    figures.push(Figure::at_most("terraform apply, init included", apply, "s", 80.0));
    let cold = steps.of("cold starts", |_| cold_start_ms(&stack, &ready))?;
    figures.push(Figure::at_most("cold start, process start to first response, p50", cold, "ms", 60.0));
    figures.extend(worker_running(steps, workdir)?);
    figures.extend(with_sessions(steps, workdir)?);
    steps.of("pause the worker", |_| pause_worker(&stack, &ready))?;
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
    let most = generator::overload(steps, workdir, &Open { rate: 1_000, seconds: 10, owners: OWNERS })?;
    Ok([
        Figure::at_most("POST /tasks p99, 300 tasks per second", steady.post_p99_ms, "ms", 50.0),
        Figure::at_least(
            "from POST to pushed final state, 1,000 offered",
            most.finals_per_second,
            "/s",
            1_000.0,
        ),
    ])
}

/// Returns once the mapping is disabled, so that nothing of the worker is in the figures that follow.
fn pause_worker(stack: &Value, ready: &Ready) -> Result<(), StackError> {
    let failed = |reason: String| StackError::Unreadable { what: "the event source mapping", reason };
    let text = |error: &dyn std::error::Error| failed(format!("{error}: {:?}", error.source()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let lambda = client(stack, ready);
    let id = stack["event_source_mapping_id"].as_str().unwrap_or_default();
    runtime.block_on(async {
        let update = lambda.update_event_source_mapping().uuid(id).enabled(false);
        update.send().await.map_err(|error| text(&error))?;
        let until = Instant::now() + UPDATE_LIMIT;
        while Instant::now() < until {
            let found = lambda.get_event_source_mapping().uuid(id).send().await;
            if found.map_err(|error| text(&error))?.state() == Some("Disabled") {
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(failed(format!("not disabled within {} s", UPDATE_LIMIT.as_secs())))
    })
}

fn timed<T>(work: impl FnOnce() -> Result<T, StackError>) -> Result<(T, f64), StackError> {
    let began = Instant::now();
    work().map(|done| (done, began.elapsed().as_secs_f64()))
}

fn largest_zip_mib() -> Result<f64, StackError> {
    let zips = lifecycle::zips()?;
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

/// The median over fresh environments of what Lambda reports as init plus duration.
fn cold_start_ms(stack: &Value, ready: &Ready) -> Result<f64, StackError> {
    let failed = |reason: String| StackError::Unreadable { what: "a cold start", reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let name = stack["functions"][COLD_FUNCTION]["name"].as_str().unwrap_or_default();
    let lambda = client(stack, ready);
    let mut measured = Vec::new();
    for round in 0..COLD_STARTS {
        measured.push(runtime.block_on(one_cold_start(&lambda, name, round)).map_err(failed)?);
    }
    measured.sort_by(f64::total_cmp);
    Ok(measured[measured.len() / 2])
}

fn client(stack: &Value, ready: &Ready) -> aws_sdk_lambda::Client {
    let region = stack["region"].as_str().unwrap_or_default().to_owned();
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .endpoint_url(&ready.endpoint)
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .build();
    aws_sdk_lambda::Client::from_conf(config)
}

/// A change of configuration retires every warm environment, on AWS as here.
async fn one_cold_start(lambda: &aws_sdk_lambda::Client, name: &str, round: u32) -> Result<f64, String> {
    let text = |error: &dyn std::error::Error| format!("{error}: {:?}", error.source());
    let change = lambda.update_function_configuration().function_name(name);
    change.description(format!("cold start {round}")).send().await.map_err(|error| text(&error))?;
    let updated = lambda.wait_until_function_updated_v2().function_name(name);
    updated.wait(UPDATE_LIMIT).await.map_err(|error| text(&error))?;
    let invoked = lambda.invoke().function_name(name).payload(Blob::new(EMPTY_EVENT)).log_type(LogType::Tail);
    let log = invoked.send().await.map_err(|error| text(&error))?.log_result.unwrap_or_default();
    let log = base64::engine::general_purpose::STANDARD.decode(log).map_err(|error| error.to_string())?;
    let log = String::from_utf8_lossy(&log).into_owned();
    let field = |name: &str| reported(&log, name).ok_or_else(|| format!("no {name} in {log}"));
    Ok(field("Init Duration: ")? + field("\tDuration: ")?)
}

/// A number of milliseconds in a REPORT line.
fn reported(log: &str, field: &str) -> Option<f64> {
    let report = log.lines().find(|line| line.starts_with("REPORT"))?;
    let value = &report[report.find(field)? + field.len()..];
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_line_gives_its_durations() {
        let log = "START RequestId: 1\nREPORT RequestId: 1\tDuration: 3.01 ms\tBilled Duration: 4 ms\tInit Duration: 110.10 ms\t\n";
        assert_eq!(reported(log, "\tDuration: "), Some(3.01));
        assert_eq!(reported(log, "Init Duration: "), Some(110.10));
        assert_eq!(reported("END RequestId: 1\n", "Duration: "), None);
    }

    #[test]
    fn a_missed_limit_is_said() {
        assert!(Figure::at_most("x", 2.0, "s", 1.0).row().contains("missed"));
        assert!(!Figure::at_least("x", 2.0, "/s", 1.0).row().contains("missed"));
    }
}
