//! The figures that the README quotes, measured on a stack of their own.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine;
use serde_json::Value;

use crate::emulator::Ready;
use crate::error::StackError;
use crate::lifecycle;
use crate::package::FUNCTIONS;
use crate::steps::Steps;
use crate::workdir::{Workdir, program};

const BENCHES: &str = "target/bench";
/// One bench of the load generator, warm-up and all, takes a fraction of it.
const GENERATOR_LIMIT: Duration = Duration::from_secs(120);
const UPDATE_LIMIT: Duration = Duration::from_secs(30);
/// A worker that keeps up has little left when the load ends.
const DRAINED_MS_MAX: f64 = 2_000.0;
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
    let many = generator(steps, workdir, 32, false)?;
    figures.push(Figure::at_least(
        "accepted POST /tasks, 32 clients, worker running",
        many.per_second,
        "/s",
        500.0,
    ));
    figures.push(Figure::at_most("POST /tasks p99, 32 clients", many.p99_ms, "ms", 150.0));
    figures.push(Figure::at_most("worker done after the last POST", many.drained_ms, "ms", DRAINED_MS_MAX));
    let keyed = generator(steps, workdir, 32, true)?;
    figures.push(Figure::at_least(
        "the same, each with an Idempotency-Key",
        keyed.per_second,
        "/s",
        KEYED_PER_SECOND_MIN,
    ));
    let one = generator(steps, workdir, 1, false)?;
    figures.push(Figure::at_most("POST /tasks p50, 1 client", one.p50_ms, "ms", 5.0));
    let ((), destroy) = timed(|| lifecycle::destroy(steps, workdir))?;
    figures.push(Figure::at_most("terraform destroy, stop included", destroy, "s", 40.0));
    Ok(figures)
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

/// What the load generator measured.
pub(crate) struct Posts {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    drained_ms: f64,
}

pub(crate) fn generator(
    steps: &Steps,
    workdir: &Workdir,
    clients: u32,
    keyed: bool,
) -> Result<Posts, StackError> {
    let kind = if keyed { "-keyed" } else { "" };
    let out = workdir.path().join(format!("bench-{clients}{kind}.json"));
    let log = workdir.log("bench");
    let mut command = Command::new(program("loadtest")?);
    command.args(["bench", "--clients", &clients.to_string(), "--stack"]).arg(workdir.stack_file());
    command.arg("--json").arg(&out).args(keyed.then_some("--keyed"));
    steps.command(
        &format!("POST /tasks from {clients} clients{}", if keyed { ", keyed" } else { "" }),
        &mut command,
        &log,
        GENERATOR_LIMIT,
        &[0],
    )?;
    let bytes = std::fs::read(&out).map_err(StackError::io("read", &out))?;
    let outcome: Value = serde_json::from_slice(&bytes).map_err(|error| StackError::Unreadable {
        what: "the load generator's figures",
        reason: error.to_string(),
    })?;
    let number = |pointer: &str| outcome.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    Ok(Posts {
        per_second: number("/accepted_per_second"),
        p50_ms: number("/post/p50_ms"),
        p99_ms: number("/post/p99_ms"),
        drained_ms: number("/drained_ms"),
    })
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
