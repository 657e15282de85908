//! What a run changed, on disk before it is changed, so that `kill -9` leaves a way back.
//!
//! One JSON object per line. A fault whose `intent` is there and whose `verified` is not may be in effect: it is released
//! again, which does no harm when it never was. The last line may be torn by a crash; its change had not begun.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::now_ms;
use crate::fault::Lever;

pub const FILE_NAME: &str = "journal.jsonl";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// First line: where the levers are.
    Target {
        endpoint: Option<String>,
        region: String,
        account_id: String,
    },
    /// About to change: how to change back. Without this on disk nothing is changed.
    Intent {
        fault: u64,
        experiment: String,
        lever: Lever,
        prior: Value,
    },
    Engaged {
        fault: u64,
    },
    Released {
        fault: u64,
    },
    /// Read back, and equal to what was before.
    Verified {
        fault: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at_ms: u64,
    entry: Step,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{}: cannot be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}: cannot be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: not a line of a journal", path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{}: has no first line that names the target", path.display())]
    NoTarget { path: PathBuf },
}

/// An open journal. Every line is on the disk when `record` returns.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the journal of a run's folder, to append.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(FILE_NAME);
        let write = |source| JournalError::Write { path: path.clone(), source };
        mend(&path).map_err(write)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(write)?;
        // The folder's entry for the file must survive as well.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(write)?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    pub fn record(&self, step: Step) -> Result<(), JournalError> {
        let write = |source: std::io::Error| JournalError::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&Line { at_ms: now_ms(), entry: step })
            .map_err(|error| write(error.into()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(write)
    }
}

/// Cuts off a torn last line, so that what is appended starts on a line of its own.
fn mend(path: &Path) -> std::io::Result<()> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(()) };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole == bytes.len() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(whole as u64)?;
    file.sync_all()
}

/// A lever that may be away from where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub fault: u64,
    pub experiment: String,
    pub lever: Lever,
    pub prior: Value,
}

/// What a journal says that is left to do.
#[derive(Debug, PartialEq)]
pub struct Recovery {
    pub endpoint: Option<String>,
    pub region: String,
    pub account_id: String,
    /// In the order in which they must be released: the last change first.
    pub open: Vec<Open>,
    pub faults: usize,
}

pub fn recovery(folder: &Path) -> Result<Recovery, JournalError> {
    let path = folder.join(FILE_NAME);
    let mut steps = read(&path)?.into_iter();
    let Some(Step::Target { endpoint, region, account_id }) = steps.next() else {
        return Err(JournalError::NoTarget { path });
    };
    let mut open: Vec<Open> = Vec::new();
    let mut faults = 0;
    for step in steps {
        match step {
            Step::Intent { fault, experiment, lever, prior } => {
                faults += 1;
                open.push(Open { fault, experiment, lever, prior });
            }
            Step::Verified { fault } => open.retain(|entry| entry.fault != fault),
            Step::Target { .. } | Step::Engaged { .. } | Step::Released { .. } => {}
        }
    }
    open.reverse();
    Ok(Recovery { endpoint, region, account_id, open, faults })
}

fn read(path: &Path) -> Result<Vec<Step>, JournalError> {
    let unreadable = |source| JournalError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut steps = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).map_err(unreadable)? == 0 || !line.ends_with('\n') {
            return Ok(steps);
        }
        let line: Line = serde_json::from_str(&line).map_err(|source| JournalError::Line {
            path: path.to_owned(),
            line: steps.len() + 1,
            source,
        })?;
        steps.push(line.entry);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fault::ReservedConcurrency;

    fn lever() -> Lever {
        Lever::ReservedConcurrency(ReservedConcurrency {
            function: "worker".into(),
            function_arn: "arn".into(),
            concurrency: 0,
        })
    }

    fn steps() -> Vec<Step> {
        let intent =
            |fault| Step::Intent { fault, experiment: "one".into(), lever: lever(), prior: json!(7) };
        let (endpoint, region) = (Some("http://127.0.0.1:1".into()), "us-east-1".into());
        vec![
            Step::Target { endpoint, region, account_id: "1".into() },
            intent(0),
            Step::Engaged { fault: 0 },
            intent(1),
            Step::Engaged { fault: 1 },
            Step::Released { fault: 0 },
            Step::Verified { fault: 0 },
            Step::Released { fault: 1 },
            Step::Verified { fault: 1 },
        ]
    }

    fn write(folder: &Path, steps: &[Step]) {
        let journal = Journal::open(folder).unwrap();
        steps.iter().for_each(|step| journal.record(step.clone()).unwrap());
    }

    #[test]
    fn a_crash_after_any_step_leaves_open_exactly_what_may_be_changed() {
        let open_after: [&[u64]; 9] = [&[], &[0], &[0], &[1, 0], &[1, 0], &[1, 0], &[1], &[1], &[]];
        for (index, expected) in open_after.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &steps()[..=index]);
            let open: Vec<u64> =
                recovery(folder.path()).unwrap().open.iter().map(|entry| entry.fault).collect();
            assert_eq!(&open, expected, "after step {index}");
        }
    }

    #[test]
    fn a_torn_last_line_is_a_change_that_never_began() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &steps()[..2]);
        let path = folder.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in first_line..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(recovery(folder.path()).unwrap().open, Vec::new(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_appended_after_a_torn_line_is_read() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &steps()[..2]);
        let path = folder.path().join(FILE_NAME);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(br#"{"at_ms":1,"ent"#);
        std::fs::write(&path, torn).unwrap();
        write(folder.path(), &[Step::Released { fault: 0 }, Step::Verified { fault: 0 }]);
        assert_eq!(recovery(folder.path()).unwrap().open, Vec::new());
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &steps()[1..2]);
        assert!(matches!(recovery(folder.path()), Err(JournalError::NoTarget { .. })));
        std::fs::write(folder.path().join(FILE_NAME), "{}\n").unwrap();
        assert!(matches!(recovery(folder.path()), Err(JournalError::Line { line: 1, .. })));
    }
}
