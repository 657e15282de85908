//! The `stack` program beside processes that it did not start, or that do not answer: neither an emulator nor Terraform is
//! needed.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::json;
use tempfile::TempDir;

const EXIT_USAGE: i32 = 2;
const EXIT_INCONCLUSIVE: i32 = 3;
/// Where nobody answers.
const SILENT: &str = "http://127.0.0.1:1";
const HEALTHY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// The directory of a stack, with the file that an emulator leaves there, and the process that the file names.
struct Left {
    root: TempDir,
    process: Child,
}

impl Left {
    /// By an emulator that still runs: the process was started with the name of the file.
    fn by_one_that_runs(endpoint: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let file = dir(&root).join("emulator.json");
        let process = waiting(&[file.to_str().unwrap()]);
        Self { root, process }.with_file(endpoint)
    }

    /// By an emulator that is gone: the process only has its id.
    fn by_one_that_is_gone(endpoint: &str) -> Self {
        Self { root: tempfile::tempdir().unwrap(), process: waiting(&[]) }.with_file(endpoint)
    }

    fn with_file(self, endpoint: &str) -> Self {
        std::fs::create_dir(self.dir()).unwrap();
        let ready = json!({"endpoint": endpoint, "pid": self.process.id()});
        std::fs::write(self.dir().join("emulator.json"), ready.to_string()).unwrap();
        self
    }

    fn dir(&self) -> PathBuf {
        dir(&self.root)
    }

    fn stack(&self, verb: &str) -> (bool, String) {
        stack(verb, &self.dir())
    }

    fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

fn dir(root: &TempDir) -> PathBuf {
    root.path().join("stack")
}

/// Whether it succeeded, and all that it said.
fn stack(verb: &str, dir: &Path) -> (bool, String) {
    let (code, said) = coded(Command::new(env!("CARGO_BIN_EXE_stack")).args([verb, "--dir"]).arg(dir));
    (code == Some(0), said)
}

/// The code that it exited with, and all that it said.
fn coded(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// A demo of this file, in a folder where no stack comes up: what would hold its files is a file.
fn demo(root: &Path, experiment: &str) -> (Option<i32>, String) {
    let file = root.join("experiment.toml");
    std::fs::write(&file, experiment).unwrap();
    std::fs::write(root.join("target"), "").unwrap();
    coded(Command::new(env!("CARGO_BIN_EXE_stack")).arg("demo").arg(file).current_dir(root))
}

/// A process that does nothing, until it is ended or this test is. `read` is a part of the shell, which so keeps its command
/// line.
fn waiting(arguments: &[&str]) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line", "sh"]).args(arguments).stdin(Stdio::piped()).spawn().unwrap()
}

/// Where whoever asks is told that all is well, for as long as the test lasts.
fn healthy() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // An answer to a request that was not read to its end may be lost on its way.
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            (&stream).write_all(HEALTHY).unwrap();
        }
    });
    endpoint
}

#[test]
fn an_up_beside_a_stack_that_is_up_is_refused_and_leaves_it_alone() {
    for endpoint in [healthy().as_str(), SILENT] {
        let mut left = Left::by_one_that_runs(endpoint);
        let (succeeded, said) = left.stack("up");
        assert!(!succeeded && said.contains("already up"), "{said}");
        assert!(left.is_running() && left.dir().join("emulator.json").exists(), "{said}");
    }
}

#[test]
fn a_down_ends_an_emulator_that_does_not_answer() {
    let mut left = Left::by_one_that_runs(SILENT);
    let (succeeded, said) = left.stack("down");
    assert!(succeeded, "{said}");
    assert!(!left.is_running() && !left.dir().exists(), "{said}");
}

#[test]
fn a_down_leaves_a_process_alone_that_only_has_the_id_of_an_emulator_that_is_gone() {
    let mut left = Left::by_one_that_is_gone(SILENT);
    let (succeeded, said) = left.stack("down");
    assert!(succeeded, "{said}");
    assert!(left.is_running() && !left.dir().exists(), "{said}");
}

#[test]
fn a_down_leaves_a_stack_alone_that_only_has_the_port_of_an_emulator_that_is_gone() {
    let mut left = Left::by_one_that_is_gone(&healthy());
    let (succeeded, said) = left.stack("down");
    assert!(!succeeded && said.contains("was not started for"), "{said}");
    assert!(left.is_running() && left.dir().exists(), "{said}");
}

#[test]
fn a_down_of_a_stack_whose_folder_was_moved_leaves_it_alone_and_names_the_process_to_end() {
    let mut left = Left::by_one_that_runs(&healthy());
    let moved = left.root.path().join("moved");
    std::fs::rename(left.dir(), &moved).unwrap();
    let (succeeded, said) = stack("down", &moved);
    let advice = format!("and process {} is its emulator, end that and try again", left.process.id());
    assert!(!succeeded && said.contains(&advice), "{said}");
    assert!(left.is_running() && moved.join("emulator.json").exists(), "{said}");
}

#[test]
fn a_folder_that_no_stack_made_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("thesis.txt");
    std::fs::write(&file, "years").unwrap();
    for verb in ["up", "down"] {
        for dir in [root.path(), Path::new(".")] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
            let (code, said) = coded(command.current_dir(&root).args([verb, "--dir"]).arg(dir));
            assert_eq!(code, Some(EXIT_USAGE), "{verb}: {said}");
            assert!(said.contains("was not made by `stack`") && file.exists(), "{verb}: {said}");
        }
    }
}

#[test]
fn a_down_takes_the_description_of_its_own_folder_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1.2");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("token-key.pem"), "").unwrap();
    let (own, other) = (root.path().join("v1.2.json"), root.path().join("v1.json"));
    for description in [&own, &other] {
        std::fs::write(description, json!({"event_source_mapping_id": "1"}).to_string()).unwrap();
    }
    let (succeeded, said) = stack("down", &dir);
    assert!(succeeded && !dir.exists() && !own.exists(), "{said}");
    assert!(other.exists(), "{said}");
}

#[test]
fn a_demo_that_judged_nothing_does_not_exit_as_a_service_that_failed() {
    let root = tempfile::tempdir().unwrap();
    let (code, said) = demo(root.path(), "name = 1");
    assert_eq!(code, Some(EXIT_USAGE), "{said}");
    assert!(said.contains("experiment.toml:1: field `name`"), "{said}");
    let baseline = include_str!("../experiments/baseline.toml");
    let (code, said) = demo(root.path(), baseline);
    assert_eq!(code, Some(EXIT_INCONCLUSIVE), "{said}");
    assert!(said.contains("INCONCLUSIVE"), "{said}");
}

#[test]
fn a_plan_without_a_stack_does_not_exit_as_one_that_would_change_something() {
    let root = tempfile::tempdir().unwrap();
    let (code, said) =
        coded(Command::new(env!("CARGO_BIN_EXE_stack")).args(["plan", "--dir"]).arg(dir(&root)));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no stack is up"), "{said}");
}
