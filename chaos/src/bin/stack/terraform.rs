//! The real Terraform, run on a copy of the repository's configuration.
//!
//! State, lock file and provider links live in the stack's own directory, so that the repository stays clean and two
//! stacks never share a lock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::emulator::Ready;
use crate::error::StackError;
use crate::mirror;
use crate::steps::Steps;
use crate::workdir::Workdir;

/// What is copied, relative to the repository's root.
const SOURCE: &str = "terraform";
const ENVIRONMENT: &str = "environments/local";
/// Terraform's own folder, made by `init`; never copied over, never copied along.
const DATA_FOLDER: &str = ".terraform";
/// Fetching the provider from the registry takes minutes on a slow line.
const INIT_LIMIT: Duration = Duration::from_secs(600);
const CHANGE_LIMIT: Duration = Duration::from_secs(600);
const READ_LIMIT: Duration = Duration::from_secs(120);
/// How variables begin by which a user's shell would give values and arguments to what Terraform does here.
const USERS_OWN: [&str; 2] = ["TF_VAR_", "TF_CLI_ARGS"];

/// The configuration of one stack.
#[derive(Debug)]
pub(crate) struct Terraform<'a> {
    steps: &'a Steps,
    workdir: &'a Workdir,
    log: PathBuf,
}

impl<'a> Terraform<'a> {
    /// Copies today's configuration into the stack's directory and initialises it.
    pub(crate) fn prepare(steps: &'a Steps, workdir: &'a Workdir) -> Result<Self, StackError> {
        let source = Path::new(SOURCE);
        if !source.join(ENVIRONMENT).is_dir() {
            return Err(StackError::Missing(source.join(ENVIRONMENT)));
        }
        copy(source, &workdir.terraform())?;
        let this = Self { steps, workdir, log: workdir.log("terraform") };
        let mut command = init(&this.environment());
        steps.command("terraform init", &mut command, &this.log, INIT_LIMIT, &[0])?;
        Ok(this)
    }

    /// The values that differ from stack to stack. A file that Terraform reads by itself: apply, plan and destroy cannot
    /// disagree about it.
    pub(crate) fn write_variables(&self, ready: &Ready, zips: &Path, jwks: &str) -> Result<(), StackError> {
        let path = self.environment().join("stack.auto.tfvars.json");
        let values = json!({
            "endpoint": ready.endpoint, "zip_dir": zips, "token_jwks": jwks,
            "fault_injection": self.workdir.fault_injection(),
        });
        std::fs::write(&path, values.to_string()).map_err(StackError::io("write", &path))
    }

    pub(crate) fn apply(&self) -> Result<(), StackError> {
        self.run("terraform apply", &["apply", "-auto-approve"], CHANGE_LIMIT, &[0]).map(drop)
    }

    /// 0 when nothing would change, 2 when something would.
    pub(crate) fn plan(&self) -> Result<i32, StackError> {
        self.run("terraform plan", &["plan", "-detailed-exitcode"], READ_LIMIT, &[0, 2])
    }

    pub(crate) fn destroy(&self) -> Result<(), StackError> {
        self.run("terraform destroy", &["destroy", "-auto-approve"], CHANGE_LIMIT, &[0]).map(drop)
    }

    /// The `stack` output.
    pub(crate) fn stack_output(&self) -> Result<serde_json::Value, StackError> {
        let unreadable = |reason: String| StackError::Unreadable { what: "terraform output", reason };
        let output = command(&self.environment())
            .args(["output", "-json", "stack"])
            .output()
            .map_err(|error| unreadable(error.to_string()))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| unreadable(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))
    }

    fn run(&self, name: &str, arguments: &[&str], limit: Duration, ok: &[i32]) -> Result<i32, StackError> {
        let mut command = command(&self.environment());
        command.args(arguments).args(["-input=false", "-no-color"]);
        self.steps.command(name, &mut command, &self.log, limit, ok)
    }

    fn environment(&self) -> PathBuf {
        self.workdir.terraform().join(ENVIRONMENT)
    }

    /// What the last plan printed, for the user to read.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}

/// `terraform -chdir=...`, without the user's own settings that would change what it does.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new("terraform");
    command.arg(format!("-chdir={}", dir.display()));
    command.env("TF_IN_AUTOMATION", "1").env("CHECKPOINT_DISABLE", "1");
    command.env_remove("TF_DATA_DIR").env_remove("TF_WORKSPACE");
    forget(&mut command, std::env::vars_os().map(|(name, _)| name));
    let settings = std::env::var_os("TF_CLI_CONFIG_FILE");
    if settings.is_some_and(|file| !Path::new(&file).exists()) {
        // A name of a file that is not there makes every command print a warning.
        command.env_remove("TF_CLI_CONFIG_FILE");
    }
    command
}

/// Ours are set after it.
fn forget(command: &mut Command, names: impl Iterator<Item = OsString>) {
    for name in names {
        let bytes = name.as_encoded_bytes();
        if USERS_OWN.iter().any(|start| bytes.starts_with(start.as_bytes())) {
            command.env_remove(&name);
        }
    }
}

/// `terraform init` without a back end, from a local mirror where there is one.
pub(crate) fn init(dir: &Path) -> Command {
    let mut command = command(dir);
    command.args(["init", "-input=false", "-no-color", "-backend=false"]);
    if let Some(mirror) = mirror::find() {
        let mut flag = OsString::from("-plugin-dir=");
        flag.push(mirror);
        command.arg(flag);
    }
    command
}

/// Copies a configuration tree over another, leaving Terraform's own files in place.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), StackError> {
    std::fs::create_dir_all(to).map_err(StackError::io("create", to))?;
    for entry in std::fs::read_dir(from).map_err(StackError::io("read", from))? {
        let path = entry.map_err(StackError::io("read", from))?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if name == DATA_FOLDER || name.to_string_lossy().contains(".tfstate") {
            continue;
        }
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(StackError::io("copy", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn values_and_arguments_of_the_user_s_shell_do_not_reach_a_stack_and_ours_do() {
        let mut command = Command::new("terraform");
        let own = ["TF_VAR_name_prefix", "TF_VAR_endpoint", "TF_CLI_ARGS", "TF_CLI_ARGS_plan"];
        let names = own.into_iter().chain(["TF_LOG", "MY_TF_VAR_x"]);
        forget(&mut command, names.map(OsString::from));
        command.env("TF_VAR_endpoint", "ours");
        let told: Vec<(&OsStr, Option<&OsStr>)> = command.get_envs().collect();
        assert_eq!(told.len(), own.len(), "{told:?}");
        for name in own {
            let value = (name == "TF_VAR_endpoint").then_some(OsStr::new("ours"));
            assert!(told.contains(&(OsStr::new(name), value)), "{name}: {told:?}");
        }
    }

    #[test]
    fn a_copy_takes_the_configuration_and_leaves_state_behind() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        std::fs::create_dir_all(from.join("modules/.terraform")).unwrap();
        for file in ["main.tf", "terraform.tfstate", "modules/a.tf", "modules/.terraform/provider"] {
            std::fs::write(from.join(file), file).unwrap();
        }
        copy(&from, &to).unwrap();
        assert!(to.join("main.tf").is_file() && to.join("modules/a.tf").is_file());
        assert!(!to.join("terraform.tfstate").exists() && !to.join("modules/.terraform").exists());
    }
}
