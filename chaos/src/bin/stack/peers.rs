//! This emulator beside MiniStack: the same Terraform with the same zips applied to both, and the same load on both, in
//! turn in one run.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::emulator::{self, Ready};
use crate::error::StackError;
use crate::generator::{self, Closed, Posts};
use crate::lifecycle;
use crate::python;
use crate::soak::median;
use crate::steps::Steps;
use crate::workdir::Workdir;

const PINS: &str = "emulator/benches/peers/requirements.txt";
const VENV: &str = "target/peers/venv";
const STACKS: &str = "target/peers";
const CLIENTS: u32 = 32;
/// Python imports a hundred services.
const START_LIMIT: Duration = Duration::from_secs(60);
const HEALTH: &str = "/_ministack/health";
/// As this emulator has it, so that names and policies are the same.
const ACCOUNT: &str = "123456789012";
/// In turn, as a machine grows faster and slower: of each figure the median counts.
const ROUNDS: usize = 3;
/// Times as many accepted submissions as the peer.
const RATIO_MIN: f64 = 8.0;

pub(crate) fn run(steps: &Steps) -> Result<ExitCode, StackError> {
    if !python::is_there() {
        println!("SKIPPED: python3 is not on this machine, so nothing was compared");
        return Ok(ExitCode::SUCCESS);
    }
    let theirs = workdir("ministack")?;
    theirs.remove()?;
    theirs.create()?;
    let python = python::environment(steps, VENV, Path::new(PINS), &theirs.log("install"))?;
    let [ours, theirs] = compare(steps, &workdir("emulator")?, &theirs, &python)?;
    Ok(tell(&ours, &theirs))
}

fn compare(
    steps: &Steps,
    ours: &Workdir,
    theirs: &Workdir,
    python: &Path,
) -> Result<[Measured; 2], StackError> {
    let ours = Peer { workdir: ours, ready: lifecycle::start(steps, ours)? };
    let our_seconds = ours.apply(steps)?;
    let theirs = Peer { workdir: theirs, ready: start(steps, theirs, python)? };
    let their_seconds = theirs.apply(steps)?;
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_ours.push(ours.load(steps)?);
        of_theirs.push(theirs.load(steps)?);
    }
    Ok([ours.measured(our_seconds, of_ours), theirs.measured(their_seconds, of_theirs)])
}

/// Without faults: the peer has no FIS extension.
fn workdir(name: &str) -> Result<Workdir, StackError> {
    Workdir::at(&Path::new(STACKS).join(name)).map(Workdir::without_fault_injection)
}

/// One that this run has started, and that ends with this.
struct Peer<'a> {
    workdir: &'a Workdir,
    ready: Ready,
}

struct Measured {
    apply_seconds: f64,
    rounds: Vec<Posts>,
    memory_mib: f64,
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        // Its account lives in its memory: ending it leaves nothing to destroy.
        lifecycle::abandon(self.workdir);
    }
}

impl Peer<'_> {
    /// How many seconds it took.
    fn apply(&self, steps: &Steps) -> Result<f64, StackError> {
        let zips = lifecycle::zips()?;
        let began = Instant::now();
        let stack = lifecycle::apply(steps, self.workdir, &self.ready, &zips)?;
        let apply_seconds = began.elapsed().as_secs_f64();
        reach_by_path(self.workdir, stack, &self.ready)?;
        Ok(apply_seconds)
    }

    fn load(&self, steps: &Steps) -> Result<Posts, StackError> {
        generator::closed(steps, self.workdir, &Closed::of(CLIENTS))
    }

    fn measured(&self, apply_seconds: f64, rounds: Vec<Posts>) -> Measured {
        Measured { apply_seconds, rounds, memory_mib: self.ready.memory_mib().unwrap_or(f64::NAN) }
    }
}

impl Measured {
    fn median_of(&self, figure: impl Fn(&Posts) -> f64) -> f64 {
        median(&self.rounds.iter().map(figure).collect::<Vec<_>>())
    }
}

/// MiniStack tells APIs apart by host names that not every machine resolves; by path it serves them as well.
fn reach_by_path(workdir: &Workdir, mut stack: Value, ready: &Ready) -> Result<(), StackError> {
    let url = stack["http_url"].as_str().unwrap_or_default();
    if url.contains(".execute-api.localhost") {
        let (id, stage) = (&stack["http_api"]["id"], &stack["http_api"]["stage"]);
        let (id, stage) = (id.as_str().unwrap_or_default(), stage.as_str().unwrap_or_default());
        stack["http_url"] = json!(format!("{}/_aws/execute-api/{id}/{stage}", ready.endpoint));
        // It names the WebSocket API by an HTTP scheme, which no client takes.
        let sockets = stack["websocket_url"].as_str().unwrap_or_default().replacen("http://", "ws://", 1);
        stack["websocket_url"] = json!(sockets);
        workdir.write_description(&stack)?;
    }
    Ok(())
}

fn start(steps: &Steps, workdir: &Workdir, python: &Path) -> Result<Ready, StackError> {
    let port = free_port().map_err(StackError::unreadable("a free port"))?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(python);
    // An option that Python hands on and nobody reads: by its name in the command line this process is known again.
    command.arg("-X").arg(format!("ready_file={}", workdir.ready_file().display()));
    command.args(["-m", "ministack"]).current_dir(workdir.path());
    command.envs([("GATEWAY_PORT", port.to_string().as_str()), ("BIND_HOST", "127.0.0.1")]);
    command.envs([("MINISTACK_ACCOUNT_ID", ACCOUNT), ("LOG_LEVEL", "WARNING")]);
    // Handed on to its functions, which otherwise look for AWS itself.
    command.env("AWS_ENDPOINT_URL", &endpoint);
    // It writes no description of itself.
    let is_ready = |pid| {
        let ready = json!({ "endpoint": &endpoint, "pid": pid }).to_string();
        emulator::answers(&endpoint, HEALTH).then(|| std::fs::write(workdir.ready_file(), ready).ok())??;
        Ready::read(workdir)
    };
    steps.serve("start MiniStack", &mut command, &workdir.log("ministack"), START_LIMIT, is_ready)
}

/// It cannot be told to take any port: one is asked for and given back just before.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn tell(ours: &Measured, theirs: &Measured) -> ExitCode {
    println!("\n| figure | this emulator | MiniStack | ratio |\n| --- | --: | --: | --: |");
    let row = |what: &str, unit: &str, ours: f64, theirs: f64, ratio: f64| {
        println!("| {what} | {ours:.1} {unit} | {theirs:.1} {unit} | {ratio:.1} |");
    };
    let at_most = |what, unit, ours: f64, theirs: f64| row(what, unit, ours, theirs, theirs / ours);
    let rounds = ours.rounds.iter().zip(&theirs.rounds);
    let ratios: Vec<_> = rounds.map(|(mine, peer)| mine.per_second / peer.per_second).collect();
    let ratio = median(&ratios);
    let [mine, peer] = [ours, theirs].map(|of| of.median_of(|posts| posts.per_second));
    row("accepted POST /tasks, 32 clients, worker running", "/s", mine, peer, ratio);
    let latency = |what, figure: fn(&Posts) -> f64| {
        at_most(what, "ms", ours.median_of(figure), theirs.median_of(figure));
    };
    latency("POST /tasks p50", |posts| posts.p50_ms);
    latency("POST /tasks p99", |posts| posts.p99_ms);
    at_most("terraform apply, init included", "s", ours.apply_seconds, theirs.apply_seconds);
    at_most("memory after the load", "MiB", ours.memory_mib, theirs.memory_mib);
    let is_met = ratio >= RATIO_MIN;
    let of_rounds: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.1}")).collect();
    println!(
        "\naccepted: {ratio:.1} times as many (rounds: {}), at least {RATIO_MIN}{}",
        of_rounds.join(", "),
        if is_met { "" } else { " (missed)" }
    );
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
