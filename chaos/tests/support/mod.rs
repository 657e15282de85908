//! What the end-to-end tests share: a stack of their own, its worker, and the services that are broken on purpose.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod capacity;
pub(crate) mod controls;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chaos::cloud::Cloud;
use serde_json::Value;

pub(crate) use worker::Worker;

/// A stack in a directory of its own; dropped, it is brought down whatever happened.
pub(crate) struct Stack {
    pub(crate) root: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Stack {
    pub(crate) fn up() -> Self {
        Self::up_with(&[])
    }

    pub(crate) fn up_with(options: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let dir = root.join("target/end-to-end").join(std::process::id().to_string());
        let stack = Self { root, dir };
        let output = stack.tool("stack", &[&["up"], options].concat());
        assert!(output.status.success(), "stack up failed:\n{}", text(&output));
        stack
    }

    pub(crate) fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(name, arguments);
        command
            .output()
            .unwrap_or_else(|error| panic!("{name} could not be started ({error}): `make build` first"))
    }

    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        let mut command = Command::new(self.root.join(target).join("release").join(name));
        command.current_dir(&self.root).args(arguments);
        if name == "stack" {
            command.arg("--dir").arg(&self.dir);
        }
        command
    }

    pub(crate) fn stack_file(&self) -> PathBuf {
        self.dir.with_extension("json")
    }

    pub(crate) fn description(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.stack_file()).unwrap()).unwrap()
    }

    /// Runs one experiment; returns its exit code and its entry of `verdict.json`.
    pub(crate) fn experiment(&self, name: &str, seed: &str) -> (i32, Value) {
        self.experiment_with(name, seed, &[])
    }

    pub(crate) fn experiment_with(&self, name: &str, seed: &str, options: &[&str]) -> (i32, Value) {
        let runs = self.dir.join("runs");
        let file = format!("chaos/experiments/{name}.toml");
        let (stack, out) = (self.stack_file(), runs.clone());
        let (stack, out) = (stack.to_str().unwrap(), out.to_str().unwrap());
        let mut arguments = vec!["run", &file, "--stack", stack, "--out", out, "--seed", seed];
        arguments.extend(options);
        let output = self.tool("chaos", &arguments);
        let path = runs.join("latest/verdict.json");
        let verdict: Value = serde_json::from_slice(
            &std::fs::read(&path)
                .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), text(&output))),
        )
        .unwrap();
        for file in ["junit.xml", "summary.md", "report.html"] {
            assert!(runs.join("latest").join(file).is_file(), "{file} is missing");
        }
        (output.status.code().unwrap_or(-1), verdict["experiments"][0].clone())
    }

    /// Clients of the stack, as the harness itself has them.
    pub(crate) async fn cloud(&self) -> Cloud {
        let description = self.description();
        let text = |key: &str| description[key].as_str().unwrap().to_owned();
        Cloud::connect(Some(&text("endpoint")), &text("region")).await
    }

    pub(crate) fn planned_changes(&self) -> Option<i32> {
        self.tool("stack", &["plan"]).status.code()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let output = self.tool("stack", &["down"]);
        if !output.status.success() {
            eprintln!("stack down failed:\n{}", text(&output));
        }
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
