//! The files of one stack: two stacks in two directories never touch each other.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::StackError;

/// The profile of `Cargo.toml` in which the functions are built.
const FUNCTION_PROFILE: &str = "function";

/// By this file a folder is known as a stack's, which may be removed with all that is in it.
const MARKER: &str = ".stack";
const MARKER_TEXT: &str = "Made by `stack`, which removes this folder.\n";
/// What lies in a stack's folder, by which one is known that was made before there were markers.
const CONTENTS: [&str; 7] =
    ["data", "emulator.json", "figures.json", "logs", "runs", "terraform", "token-key.pem"];
/// Of these such a folder has one, and one of anybody else's hardly does.
const SIGNS: [&str; 5] =
    ["emulator.json", "token-key.pem", "logs/emulator.log", "logs/fmt.log", "logs/ministack.log"];
/// A field that every description of a stack has.
const DESCRIBED: &str = "event_source_mapping_id";

/// What an emulator keeps of what only runs.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    pub(crate) logs_mib: u32,
    /// For how many seconds metrics are kept by the second.
    pub(crate) metric_seconds: u32,
}

/// The directory of one stack.
#[derive(Clone, Debug)]
pub(crate) struct Workdir {
    dir: PathBuf,
    /// The seed of the adversary of the emulator that is started here.
    adversary: Option<u64>,
    /// Whether faults of FIS begin and end there as slowly as on AWS.
    fis_ramps: bool,
    /// Whether that emulator keeps its state on disk.
    keeps_state: bool,
    /// Whether the FIS extension is wired into the functions.
    fault_injection: bool,
    /// What that emulator may keep, if not the default.
    retention: Option<Retention>,
}

impl Workdir {
    /// Absolute, because Terraform runs elsewhere.
    pub(crate) fn at(dir: &Path) -> Result<Self, StackError> {
        let dir = std::path::absolute(dir).map_err(StackError::io("resolve", dir))?;
        // Without a slash at its end, behind which the description's name would be another.
        let dir = dir.components().collect();
        Ok(Self {
            dir,
            adversary: None,
            fis_ramps: false,
            keeps_state: false,
            fault_injection: true,
            retention: None,
        })
    }

    pub(crate) fn with_adversary(self, adversary: Option<u64>) -> Self {
        Self { adversary, ..self }
    }

    pub(crate) fn with_fis_ramps(self, fis_ramps: bool) -> Self {
        Self { fis_ramps, ..self }
    }

    pub(crate) fn keeping_state(self) -> Self {
        Self { keeps_state: true, ..self }
    }

    pub(crate) fn keeping_only(self, retention: Retention) -> Self {
        Self { retention: Some(retention), ..self }
    }

    pub(crate) fn retention(&self) -> Option<&Retention> {
        self.retention.as_ref()
    }

    pub(crate) fn without_fault_injection(self) -> Self {
        Self { fault_injection: false, ..self }
    }

    pub(crate) fn fault_injection(&self) -> bool {
        self.fault_injection
    }

    /// Where the emulator keeps its state, if it does.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.keeps_state.then(|| self.dir.join("data"))
    }

    pub(crate) fn adversary(&self) -> Option<u64> {
        self.adversary
    }

    pub(crate) fn fis_ramps(&self) -> bool {
        self.fis_ramps
    }

    pub(crate) fn create(&self) -> Result<(), StackError> {
        std::fs::create_dir_all(&self.dir).map_err(StackError::io("create", &self.dir))?;
        let marker = self.dir.join(MARKER);
        std::fs::write(&marker, MARKER_TEXT).map_err(StackError::io("write", &marker))?;
        let logs = self.dir.join("logs");
        std::fs::create_dir_all(&logs).map_err(StackError::io("create", &logs))
    }

    /// Whoever names a folder may mean another: what no stack made is never removed.
    pub(crate) fn must_be_a_stack(&self) -> Result<(), StackError> {
        let description = self.stack_file();
        if !may_be_removed(&self.dir)? {
            return Err(StackError::NotAStack(self.dir.clone()));
        }
        if is_description(&description) { Ok(()) } else { Err(StackError::NotAStack(description)) }
    }

    /// Removes the stack's files and its description; what is gone already is fine.
    pub(crate) fn remove(&self) -> Result<(), StackError> {
        self.must_be_a_stack()?;
        // The marker last: a removal that is cut short can be gone on with.
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten() {
            let entry = entry.map_err(StackError::io("read", &self.dir))?;
            if entry.file_name() != MARKER {
                remove(&entry.path())?;
            }
        }
        [&self.dir, &self.stack_file()].into_iter().try_for_each(|path| remove(path))
    }

    /// In one step: half a description would be taken for a file of somebody else.
    pub(crate) fn write_description(&self, stack: &Value) -> Result<(), StackError> {
        let (draft, path) = (self.dir.join("stack.json.new"), self.stack_file());
        std::fs::write(&draft, format!("{stack:#}\n")).map_err(StackError::io("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(StackError::io("write", &path))
    }

    /// Removes what its emulator kept, which must have ended.
    pub(crate) fn remove_data(&self) -> Result<(), StackError> {
        self.must_be_a_stack()?;
        self.data_dir().map_or(Ok(()), |data| remove(&data))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// `target/stack` is described by `target/stack.json`, and `target/v1.2` by `target/v1.2.json`.
    pub(crate) fn stack_file(&self) -> PathBuf {
        let mut name = self.dir.clone().into_os_string();
        name.push(".json");
        PathBuf::from(name)
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.join("emulator.json")
    }

    pub(crate) fn token_key(&self) -> PathBuf {
        self.dir.join("token-key.pem")
    }

    pub(crate) fn terraform(&self) -> PathBuf {
        self.dir.join("terraform")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }
}

/// Whether a folder is a stack's, empty, or not there.
fn may_be_removed(dir: &Path) -> Result<bool, StackError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(_) if dir.is_file() => return Ok(false),
        Err(error) => return Err(StackError::io("read", dir)(error)),
    };
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names.map_err(StackError::io("read", dir))?;
    if names.is_empty() || dir.join(MARKER).is_file() {
        return Ok(true);
    }
    let is_known = |name: &OsString| name.to_str().is_some_and(|name| CONTENTS.contains(&name));
    Ok(names.iter().all(is_known) && SIGNS.iter().any(|sign| dir.join(sign).is_file()))
}

/// Whether what has a description's name is one, or is not there.
fn is_description(path: &Path) -> bool {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice::<Value>(&text).is_ok_and(|stack| stack[DESCRIBED].is_string()),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

fn remove(path: &Path) -> Result<(), StackError> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StackError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A program that was built beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf, StackError> {
    let this = std::env::current_exe().map_err(StackError::io("find", Path::new("the running program")))?;
    let path = this.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(StackError::Missing(path)) }
}

/// A function, which cargo builds in a profile and so in a folder of its own.
pub(crate) fn function(name: &str) -> Result<PathBuf, StackError> {
    program(&format!("../{FUNCTION_PROFILE}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> (tempfile::TempDir, Workdir) {
        let root = tempfile::tempdir().unwrap();
        let workdir = Workdir::at(&root.path().join("v1.2")).unwrap();
        for file in files {
            let path = workdir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        (root, workdir)
    }

    #[test]
    fn a_folder_is_removed_that_a_stack_made_and_no_other() {
        for ours in [
            &["emulator.json"][..],
            &[],
            &["logs/emulator.log", "data/tables.sqlite", "terraform/main.tf"],
            &["logs/fmt.log", "terraform/main.tf"],
            &["token-key.pem", "logs/load.log", "figures.json"],
        ] {
            let (_root, workdir) = folder(ours);
            workdir.remove().unwrap();
            assert!(!workdir.path().exists(), "{ours:?}");
        }
        for others in [
            &["thesis.txt"][..],
            &["emulator.json", "thesis.txt"],
            &["terraform/main.tf", "logs/app.log"],
            &["terraform/emulator.log"],
        ] {
            let (_root, workdir) = folder(others);
            assert!(matches!(workdir.remove(), Err(StackError::NotAStack(_))), "{others:?}");
            assert!(others.iter().all(|file| workdir.path().join(file).is_file()), "{others:?}");
        }
    }

    #[test]
    fn a_description_is_whole_or_not_there() {
        let (_root, workdir) = folder(&[]);
        workdir.create().unwrap();
        workdir.write_description(&serde_json::json!({DESCRIBED: "1"})).unwrap();
        workdir.must_be_a_stack().unwrap();
        assert!(!workdir.path().join("stack.json.new").exists());
    }

    #[test]
    fn what_was_put_into_a_folder_that_a_stack_made_goes_with_it() {
        let (_root, workdir) = folder(&["notes.txt"]);
        workdir.create().unwrap();
        workdir.remove().unwrap();
        assert!(!workdir.path().exists());
    }

    #[test]
    fn a_description_has_the_whole_name_of_its_folder_and_what_is_none_is_left_alone() {
        let (root, workdir) = folder(&["emulator.json"]);
        let slash = Workdir::at(&root.path().join("v1.2/")).unwrap();
        assert_eq!(workdir.stack_file(), root.path().join("v1.2.json"));
        assert_eq!(slash.stack_file(), workdir.stack_file());
        std::fs::write(workdir.stack_file(), "{}").unwrap();
        assert!(matches!(workdir.remove(), Err(StackError::NotAStack(_))));
        std::fs::write(workdir.stack_file(), r#"{"event_source_mapping_id":"1"}"#).unwrap();
        workdir.remove().unwrap();
        assert!(!workdir.stack_file().exists() && !workdir.path().exists());
    }
}
