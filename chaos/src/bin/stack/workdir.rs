//! The files of one stack: two stacks in two directories never touch each other.

use std::path::{Path, PathBuf};

use crate::error::StackError;

/// The profile of `Cargo.toml` in which the functions are built.
const FUNCTION_PROFILE: &str = "function";

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
        let logs = self.dir.join("logs");
        std::fs::create_dir_all(&logs).map_err(StackError::io("create", &logs))
    }

    /// Removes the stack's files and its description; what is gone already is fine.
    pub(crate) fn remove(&self) -> Result<(), StackError> {
        [&self.dir, &self.stack_file()].into_iter().try_for_each(|path| remove(path))
    }

    /// Removes what its emulator kept, which must have ended.
    pub(crate) fn remove_data(&self) -> Result<(), StackError> {
        self.data_dir().map_or(Ok(()), |data| remove(&data))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// `target/stack` is described by `target/stack.json`.
    pub(crate) fn stack_file(&self) -> PathBuf {
        self.dir.with_extension("json")
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

fn remove(path: &Path) -> Result<(), StackError> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StackError::io("remove", path)(error))
        }
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
