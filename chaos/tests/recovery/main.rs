//! Stopped at any moment and in any way, a run leaves nothing changed.
//!
//! The `chaos` program runs against the `emulator` program with bare resources: the faults are real settings of real
//! services, while submissions go to a front that refuses them all. Each round ends the run at another moment, by a signal
//! or by `kill -9` and `chaos recover`, and reads every setting back.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod bench;
mod budget;
mod endings;
mod front;
mod latest;
mod other_account;
mod preflight;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use chaos::observe::{Configuration, configuration, drift};
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use self::bench::Bench;

const ROUNDS: u64 = 20;
/// Each has an emulator of its own.
const LANES: u64 = 4;
/// Faults begin, last and end within this time of the moment from which it is counted.
const MOMENT_MAX: Duration = Duration::from_millis(4_500);
/// One round in so many is counted from the program's start, and may end it before it has touched anything; the others from
/// the first fault, to which a busy machine may be slow to come.
const EARLY_ONE_IN: u64 = 5;
/// Putting back takes seconds, and half a minute where it cannot be done; a busy machine gets more.
const END_LIMIT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(20);
/// In fewer rounds the kill, or the signal, would have met no fault in effect, and the test would prove nothing.
const ROUNDS_WITH_FAULTS_MIN: usize = 3;
const EXIT_PASS: i32 = 0;
const EXIT_FAIL: i32 = 1;
const EXIT_INCONCLUSIVE: i32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Kill,
    Interrupt,
    Terminate,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    seed: u64,
    way: Way,
    moment: Duration,
}

impl Round {
    fn of(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let way = match (seed / LANES) % 4 {
            0 => Way::Interrupt,
            1 => Way::Terminate,
            _ => Way::Kill,
        };
        Self { seed, way, moment: MOMENT_MAX.mul_f64(random.random()) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_stopped_at_twenty_moments_leaves_nothing_changed() {
    let met = join_all((0..LANES).map(|lane| Box::pin(run_lane(lane)))).await;
    for is_kill in [true, false] {
        let count = met.iter().flatten().filter(|way| (**way == Way::Kill) == is_kill).count();
        assert!(count >= ROUNDS_WITH_FAULTS_MIN, "kill {is_kill}: {count} met a fault");
    }
}

/// Every so-manieth round on one emulator; answers the ways of those that met a fault.
async fn run_lane(lane: u64) -> Vec<Way> {
    let bench = Box::pin(Bench::up()).await;
    let mut met = Vec::new();
    for round in (0..ROUNDS).filter(|seed| seed % LANES == lane).map(Round::of) {
        if Box::pin(play(&bench, round)).await {
            met.push(round.way);
        }
    }
    met
}

async fn play(bench: &Bench, round: Round) -> bool {
    let before = settings(bench).await;
    let out = bench.folder().join(format!("runs-{}", round.seed));
    let mut run = chaos(&[
        "run",
        bench.experiment().to_str().unwrap(),
        "--stack",
        bench.stack_file().to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--seed",
        "1",
    ]);
    if !round.seed.is_multiple_of(EARLY_ONE_IN) {
        begun(&mut run, &out, round).await;
    }
    sleep(round.moment).await;
    let signal = match round.way {
        Way::Kill => Signal::SIGKILL,
        Way::Interrupt => Signal::SIGINT,
        Way::Terminate => Signal::SIGTERM,
    };
    kill(Pid::from_raw(run.id().try_into().unwrap()), signal).unwrap();
    let status = ended(&mut run, round).await;
    let met = match (round.way, run_folder(&out)) {
        (Way::Kill, Some(folder)) => recover(&folder, round).await,
        // A signal before the handler is there ends the program like a kill, with nothing begun.
        (Way::Interrupt | Way::Terminate, Some(folder)) => {
            // A signal that comes when all is put back and looked at already changes no verdict; this load proves nothing.
            assert!(matches!(status.code(), Some(EXIT_FAIL | EXIT_INCONCLUSIVE)), "{round:?}: {status}");
            let recovery = chaos::journal::recovery(&folder);
            assert!(recovery.as_ref().is_ok_and(|recovery| recovery.open.is_empty()), "{round:?}");
            recovery.is_ok_and(|recovery| recovery.faults > 0)
        }
        (_, None) => false,
    };
    let residue = drift(&before, &settings(bench).await);
    assert_eq!(residue, Vec::<String>::new(), "{round:?}");
    assert_eq!(bench.experiments_left().await, 0, "{round:?} left an experiment of FIS");
    met
}

/// Twice: a second recovery has nothing to do and does nothing.
async fn recover(folder: &Path, round: Round) -> bool {
    let open = chaos::journal::recovery(folder).map_or(0, |recovery| recovery.open.len());
    if chaos::journal::recovery(folder).is_ok() {
        for _ in 0..2 {
            let mut recovery = chaos(&["recover", folder.to_str().unwrap()]);
            assert_eq!(ended(&mut recovery, round).await.code(), Some(EXIT_PASS), "{round:?}");
        }
        assert_eq!(chaos::journal::recovery(folder).unwrap().open, Vec::new(), "{round:?}");
    }
    open > 0
}

async fn settings(bench: &Bench) -> Configuration {
    configuration(bench.cloud(), bench.stack()).await.unwrap()
}

/// The folder of the one run that was begun under `out`, once its journal names the target.
fn run_folder(out: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(out).ok()?.filter_map(Result::ok);
    // Not by `latest`, which is a link and made a moment later.
    let mut folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let is_begun = |path: &PathBuf| path.join(chaos::journal::FILE_NAME).is_file();
    folders.find_map(|entry| Some(entry.path()).filter(is_begun))
}

fn chaos(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Waits for the first fault.
async fn begun(run: &mut Child, out: &Path, round: Round) {
    let until = Instant::now() + END_LIMIT;
    let faults = || run_folder(out).and_then(|folder| chaos::journal::recovery(&folder).ok());
    while faults().is_none_or(|recovery| recovery.faults == 0) {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < until, "{round:?} does not begin");
        sleep(LOOK).await;
    }
}

async fn ended(child: &mut Child, round: Round) -> ExitStatus {
    let until = Instant::now() + END_LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "{round:?} does not end");
        sleep(LOOK).await;
    }
}
