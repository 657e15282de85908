//! What an operator types after `kill -9`: the run that was begun last, whichever was ended last.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use chaos::journal::{FILE_NAME, Journal, Step, left_open, point_latest};
use chaos::observe::drift;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::bench::Bench;
use crate::{END_LIMIT, EXIT_PASS, LOOK, settings};

const EXIT_USAGE: i32 = 2;
const EXIT_NOT_REVERTED: i32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_killed_is_the_latest_and_no_other_is_recovered_as_if_all_were_well() {
    let bench = Box::pin(Bench::up()).await;
    let before = settings(&bench).await;
    let out = bench.folder().join("runs");
    let earlier = out.join("earlier");
    ended_well(&bench, &earlier);
    let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
    program.arg("run").arg(bench.experiment()).args(["--seed", "1", "--stack"]).arg(bench.stack_file());
    program.arg("--out").arg(&out).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = program.kill_on_drop(true).spawn().unwrap();
    let until = Instant::now() + END_LIMIT;
    while left_open(&out).is_empty() {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < until, "no fault begins");
        sleep(LOOK).await;
    }
    run.kill().await.unwrap();
    let (killed, _) = left_open(&out).remove(0);
    let killed = killed.file_name().unwrap().to_str().unwrap();

    let (told, code) = recovered(&earlier).await;
    assert_eq!(code, EXIT_NOT_REVERTED, "{told}");
    assert!(told.contains("earlier/journal.jsonl") && told.contains(killed), "{told}");
    let (told, code) = recovered(&out.join("latest")).await;
    assert_eq!(code, EXIT_PASS, "{told}");
    assert!(told.contains(&format!("{killed}/journal.jsonl")) && !told.contains("\n0 put back"), "{told}");
    assert_eq!(left_open(&out), Vec::new());
    assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new());
    assert_eq!(recovered(&earlier).await.1, EXIT_PASS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_with_a_line_that_cannot_be_read_or_understood_is_not_recovered_as_if_all_were_well() {
    let bench = Box::pin(Bench::up()).await;
    let torn = r#"{"at_ms":1,"ent"#;
    let of_another_version = r#"{"at_ms":1,"entry":{"step":"paused","fault":0}}"#;
    for (name, line, code, said) in [
        ("torn", torn, EXIT_NOT_REVERTED, "line 2 of the journal cannot be read"),
        ("newer", of_another_version, EXIT_USAGE, "journal.jsonl:2: not a line of a journal"),
    ] {
        let folder = bench.folder().join("unreadable").join(name);
        ended_well(&bench, &folder);
        let mut file = OpenOptions::new().append(true).open(folder.join(FILE_NAME)).unwrap();
        writeln!(file, "{line}").unwrap();
        let (told, found) = recovered(&folder).await;
        assert_eq!(found, code, "{told}");
        assert!(told.contains(said), "{told}");
    }
}

/// A run that changed nothing, and was the latest.
fn ended_well(bench: &Bench, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let stack = bench.stack();
    let (endpoint, region) = (stack.endpoint.clone(), stack.region.clone());
    let target = Step::Target { endpoint, region, account_id: stack.account_id.clone() };
    Journal::open(folder).unwrap().record(target).unwrap();
    point_latest(folder).unwrap();
}

/// What was printed, and the exit code.
async fn recovered(folder: &Path) -> (String, i32) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
    let output = program.arg("recover").arg(folder).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (told.into_owned(), output.status.code().unwrap())
}
