//! The real Terraform provider as a judge of the emulator: every resource type that the modules use, changed in place and
//! taken away again, and a configuration in the style of others.

mod leftovers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::emulator;
use crate::error::StackError;
use crate::lifecycle;
use crate::steps::Steps;
use crate::terraform;
use crate::workdir::Workdir;

const SOURCE: &str = "emulator/tests/terraform";
/// Provider block and variables, the same for all.
const COMMON: &str = "provider.tf";
const DIR: &str = "target/provider";
/// Any two packages will do: nothing is invoked.
const PACKAGE: &str = "authorizer.zip";
const OTHER_PACKAGE: &str = "list-tasks.zip";
const LIMIT: Duration = Duration::from_secs(600);
/// Created, every argument changed in place, everything optional taken away.
const STEPS: [&str; 3] = ["0", "1", "2"];
/// The step after which the emulator is killed and started again.
const KILLED_AFTER: &str = "1";
/// What a plan says of a resource that it cannot change in place.
const REPLACED: &str = "must be replaced";
/// In the words of the emulator: what it does not have is refused by name.
const REFUSAL: &str = "FIFO queues are not part of this emulator";

struct Judge<'a> {
    steps: &'a Steps,
    workdir: &'a Workdir,
    endpoint: String,
    /// Where the packages lie.
    zips: PathBuf,
}

pub(crate) fn run(steps: &Steps) -> Result<ExitCode, StackError> {
    let workdir = Workdir::at(Path::new(DIR))?.keeping_state();
    let zips = lifecycle::zips()?;
    let endpoint = lifecycle::start(steps, &workdir)?.endpoint;
    let judge = Judge { steps, workdir: &workdir, endpoint, zips };
    let outcome = judge.judge();
    lifecycle::abandon(&workdir);
    outcome?;
    println!(
        "terraform: every resource created, changed in place, kept over a kill, and destroyed to nothing"
    );
    Ok(ExitCode::SUCCESS)
}

impl Judge<'_> {
    fn judge(&self) -> Result<(), StackError> {
        let mut seen = self.apply_all("every-resource", true)?;
        seen.extend(self.apply_all("other-authors", false)?);
        leftovers::check_all_seen(&seen)?;
        self.refused()
    }

    /// Each step is applied, and a plan after it is empty. Returns the kinds of resources that were there, and are gone.
    fn apply_all(&self, name: &str, in_place: bool) -> Result<BTreeSet<&'static str>, StackError> {
        let dir = self.prepare(name)?;
        for step in STEPS {
            self.terraform(&dir, name, "apply", step, &["apply", "-auto-approve"], &[0])?;
            self.plan_is_empty(&dir, name, step)?;
            if step == KILLED_AFTER {
                self.restart()?;
                self.plan_is_empty(&dir, name, step)?;
            }
        }
        let seen = leftovers::found(&self.endpoint)?;
        self.terraform(&dir, name, "destroy", STEPS[2], &["destroy", "-auto-approve"], &[0])?;
        let log = self.workdir.log(name);
        let left = leftovers::found(&self.endpoint)?;
        if !left.is_empty() {
            let reason = format!("left behind: {}", left.into_iter().collect::<Vec<_>>().join(", "));
            return Err(StackError::step("destroy to nothing", reason, &log));
        }
        let text = std::fs::read_to_string(&log).map_err(StackError::io("read", &log))?;
        if in_place && text.contains(REPLACED) {
            return Err(StackError::step("change in place", "a resource was replaced".to_owned(), &log));
        }
        Ok(seen)
    }

    fn plan_is_empty(&self, dir: &Path, name: &str, step: &str) -> Result<(), StackError> {
        self.terraform(dir, name, "plan again", step, &["plan", "-detailed-exitcode"], &[0])
    }

    /// kill -9, and a start on the same directory.
    fn restart(&self) -> Result<(), StackError> {
        if let Some(ready) = emulator::Ready::read(self.workdir) {
            ready.kill();
        }
        let ready = self.workdir.ready_file();
        std::fs::remove_file(&ready).map_err(StackError::io("remove", &ready))?;
        emulator::start(self.steps, self.workdir).map(drop)
    }

    fn refused(&self) -> Result<(), StackError> {
        let name = "refused";
        let dir = self.prepare(name)?;
        self.terraform(&dir, name, "apply is refused", STEPS[0], &["apply", "-auto-approve"], &[1])?;
        let log = self.workdir.log(name);
        // Terraform wraps long lines, and frames them.
        let text = std::fs::read_to_string(&log).map_err(StackError::io("read", &log))?;
        let words = text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        if words.contains(REFUSAL) {
            return Ok(());
        }
        Err(StackError::step("refuse", format!("the refusal does not say: {REFUSAL}"), &log))
    }

    /// A copy with the common file beside it, initialised.
    fn prepare(&self, name: &str) -> Result<PathBuf, StackError> {
        let dir = self.workdir.terraform().join(name);
        terraform::copy(&Path::new(SOURCE).join(name), &dir)?;
        let (from, to) = (Path::new(SOURCE).join(COMMON), dir.join(COMMON));
        std::fs::copy(&from, &to).map_err(StackError::io("copy", &from))?;
        let log = self.workdir.log(name);
        self.steps.command(&format!("{name}: init"), &mut terraform::init(&dir), &log, LIMIT, &[0])?;
        Ok(dir)
    }

    fn terraform(
        &self,
        dir: &Path,
        name: &str,
        what: &str,
        step: &str,
        arguments: &[&str],
        accepted: &[i32],
    ) -> Result<(), StackError> {
        let mut command = terraform::command(dir);
        command.args(arguments).args(["-input=false", "-no-color"]);
        command.env("TF_VAR_endpoint", &self.endpoint).env("TF_VAR_step", step);
        command.env("TF_VAR_zip", self.zips.join(PACKAGE));
        command.env("TF_VAR_other_zip", self.zips.join(OTHER_PACKAGE));
        let title = format!("{name}: {what}, step {step}");
        self.steps.command(&title, &mut command, &self.workdir.log(name), LIMIT, accepted).map(drop)
    }
}
