//! The load generator as a program beside this one, and what it says that it measured.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::error::StackError;
use crate::steps::Steps;
use crate::workdir::{Workdir, program};

/// One bench, warm-up and all, takes a fraction of it.
const CLOSED_LIMIT: Duration = Duration::from_secs(120);
/// Beside the arrivals: connecting, and waiting for every task to end.
const OPEN_LIMIT_BESIDE: Duration = Duration::from_secs(120);
/// Of the generator: its figures mean nothing. They do where more is offered than can be taken, on purpose.
const EXIT_INVALID: i32 = 4;

/// So many clients, each with one POST in flight.
pub(crate) struct Closed {
    pub(crate) clients: u32,
    pub(crate) keyed: bool,
    /// Nobody waits for a worker that does not work.
    pub(crate) is_worker_paused: bool,
}

impl Closed {
    pub(crate) fn of(clients: u32) -> Self {
        Self { clients, keyed: false, is_worker_paused: false }
    }
}

pub(crate) struct Posts {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) drained_ms: f64,
}

pub(crate) fn closed(steps: &Steps, workdir: &Workdir, load: &Closed) -> Result<Posts, StackError> {
    let mut name = format!("POST /tasks from {} clients", load.clients);
    let mut command = loadtest(workdir, "bench")?;
    command.args(["--clients", &load.clients.to_string()]);
    if load.keyed {
        name += ", keyed";
        command.arg("--keyed");
    }
    if load.is_worker_paused {
        name += ", worker paused";
        command.arg("--no-drain");
    }
    let figures = run(steps, workdir, &name, command, CLOSED_LIMIT, &[0])?;
    Ok(Posts {
        per_second: number(&figures, "/accepted_per_second"),
        p50_ms: number(&figures, "/post/p50_ms"),
        p99_ms: number(&figures, "/post/p99_ms"),
        drained_ms: number(&figures, "/drained_ms"),
    })
}

/// So many arrivals per second, whatever the target does, with a WebSocket session for each owner.
pub(crate) struct Open {
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    pub(crate) owners: u32,
}

impl Open {
    fn name(&self) -> String {
        format!("{} tasks per second for {} s", self.rate, self.seconds)
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds)) + OPEN_LIMIT_BESIDE
    }

    fn command(&self, workdir: &Workdir) -> Result<Command, StackError> {
        let mut command = loadtest(workdir, "run")?;
        command.args(["--rate", &self.rate.to_string(), "--duration", &format!("{}s", self.seconds)]);
        command.args(["--owners", &self.owners.to_string()]);
        Ok(command)
    }
}

pub(crate) struct Ended {
    pub(crate) post_p99_ms: f64,
    /// Final states that clients learnt of while tasks arrived.
    pub(crate) finals_per_second: f64,
}

/// As much as the target takes: what cannot be sent in time is part of the experiment.
pub(crate) fn overload(steps: &Steps, workdir: &Workdir, load: &Open) -> Result<Ended, StackError> {
    open(steps, workdir, load, &[0, EXIT_INVALID])
}

/// At a rate that the target must take.
pub(crate) fn at_rate(steps: &Steps, workdir: &Workdir, load: &Open) -> Result<Ended, StackError> {
    open(steps, workdir, load, &[0])
}

fn open(steps: &Steps, workdir: &Workdir, load: &Open, accepted: &[i32]) -> Result<Ended, StackError> {
    let figures = run(steps, workdir, &load.name(), load.command(workdir)?, load.limit(), accepted)?;
    let series = figures.pointer("/outcome/series").and_then(Value::as_array);
    let seconds = series.into_iter().flatten().take(load.seconds as usize);
    let finals: f64 = seconds.filter_map(|second| second["finals"].as_f64()).sum();
    Ok(Ended {
        post_p99_ms: number(&figures, "/outcome/total/post/p99_ms"),
        finals_per_second: finals / f64::from(load.seconds),
    })
}

/// Without its figures, of which the ledger alone would be hundreds of megabytes after an hour. That every task ended as it
/// must is in the exit code.
pub(crate) fn endure(steps: &Steps, workdir: &Workdir, load: &Open) -> Result<(), StackError> {
    let mut command = load.command(workdir)?;
    steps.command(&load.name(), &mut command, &workdir.log("load"), load.limit(), &[0]).map(drop)
}

fn loadtest(workdir: &Workdir, verb: &str) -> Result<Command, StackError> {
    let mut command = Command::new(program("loadtest")?);
    command.arg(verb).arg("--stack").arg(workdir.stack_file());
    Ok(command)
}

fn number(figures: &Value, pointer: &str) -> f64 {
    figures.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn run(
    steps: &Steps,
    workdir: &Workdir,
    name: &str,
    mut command: Command,
    limit: Duration,
    accepted: &[i32],
) -> Result<Value, StackError> {
    let out = workdir.path().join("figures.json");
    command.arg("--json").arg(&out);
    steps.command(name, &mut command, &workdir.log("load"), limit, accepted)?;
    let bytes = std::fs::read(&out).map_err(StackError::io("read", &out))?;
    serde_json::from_slice(&bytes).map_err(StackError::unreadable("the load generator's figures"))
}
