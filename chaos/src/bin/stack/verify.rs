//! Everything that can be proven about the Terraform configuration without applying it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::error::StackError;
use crate::steps::Steps;
use crate::terraform;
use crate::workdir::Workdir;

const SOURCE: &str = "terraform";
/// Where the copies are checked: `init` writes beside the configuration.
const COPY: &str = "target/terraform-verify";
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn run(steps: &Steps) -> Result<ExitCode, StackError> {
    let workdir = Workdir::at(Path::new(COPY))?;
    workdir.remove()?;
    workdir.create()?;
    terraform::copy(Path::new(SOURCE), &workdir.terraform())?;
    let log = workdir.log("fmt");
    let mut fmt = terraform::command(&workdir.terraform());
    steps.command("terraform fmt", fmt.args(["fmt", "-check", "-recursive", "-diff"]), &log, LIMIT, &[0])?;
    let configurations = configurations(&workdir.terraform())?;
    for dir in &configurations {
        verify(steps, &workdir, dir)?;
    }
    println!("terraform: {} configurations formatted, valid and tested", configurations.len());
    Ok(ExitCode::SUCCESS)
}

fn verify(steps: &Steps, workdir: &Workdir, dir: &Path) -> Result<(), StackError> {
    let name = dir.strip_prefix(workdir.path()).unwrap_or(dir).display().to_string();
    let log = workdir.log(&name.replace('/', "-"));
    steps.command(&format!("init      {name}"), &mut terraform::init(dir), &log, LIMIT, &[0])?;
    let mut validate = terraform::command(dir);
    steps.command(
        &format!("validate  {name}"),
        validate.args(["validate", "-no-color"]),
        &log,
        LIMIT,
        &[0],
    )?;
    if has_tests(dir) {
        let mut test = terraform::command(dir);
        steps.command(&format!("test      {name}"), test.args(["test", "-no-color"]), &log, LIMIT, &[0])?;
    }
    Ok(())
}

/// The folder of the tests, which take the modules one by one, and the environments, which hold every module.
fn configurations(root: &Path) -> Result<Vec<PathBuf>, StackError> {
    let environments = root.join("environments");
    let mut found = vec![root.to_path_buf()];
    for entry in std::fs::read_dir(&environments).map_err(StackError::io("read", &environments))? {
        found.push(entry.map_err(StackError::io("read", &environments))?.path());
    }
    found.sort();
    Ok(found)
}

fn has_tests(dir: &Path) -> bool {
    has(dir, ".tftest.hcl") || has(&dir.join("tests"), ".tftest.hcl")
}

fn has(dir: &Path, suffix: &str) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(suffix))
    })
}
