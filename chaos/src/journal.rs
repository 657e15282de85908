//! What a run changed, on disk before it is changed, so that `kill -9` leaves a way back.
//!
//! One JSON object per line. A fault whose `intent` is there and whose `verified` or `gone` is not may be in effect: it is
//! released again, which does no harm when it never was. The last line may be torn by a crash; its change had not begun. A
//! line in between that is torn, by a full disk, was told as an error to whoever wrote it, and is passed over. One that is
//! whole and says something else was written by another version, and may be a fault that only that version can put back.
//!
//! Whoever writes to a journal holds a lock on it, which ends with its process however that ends: nobody else changes what a
//! run that goes on will put back.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::now_ms;
use crate::fault::Lever;

pub const FILE_NAME: &str = "journal.jsonl";
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Beside the folders of runs: the one that was begun last.
const LATEST: &str = "latest";

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
    /// What was changed does not exist any more.
    Gone {
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
    Write { path: PathBuf, source: io::Error },
    #[error("{}: cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}: not a line of a journal", path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{}: has no first line that names the target", path.display())]
    NoTarget { path: PathBuf },
    #[error("{}: its run, or the recovery of it, still goes on: let it end", path.display())]
    Live { path: PathBuf },
}

/// An open journal. Every line is on the disk when `record` returns.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    tail: Mutex<Tail<File>>,
}

/// What the lines are written to.
trait Disk: Write {
    fn length(&self) -> io::Result<u64>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.sync_data()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The end of a journal, where lines are added.
#[derive(Debug)]
struct Tail<D> {
    disk: D,
    /// A part of a line is there that could not be cut off.
    is_torn: bool,
}

impl<D: Disk> Tail<D> {
    /// A line that did not get onto the disk whole leaves nothing to which the next one would be glued.
    fn append(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        if self.is_torn {
            line.insert(0, b'\n');
        }
        let before = self.disk.length()?;
        let written = self.disk.write_all(&line).and_then(|()| self.disk.sync());
        match &written {
            Ok(()) => self.is_torn = false,
            Err(_) => self.is_torn |= self.disk.cut(before).is_err(),
        }
        written
    }
}

impl Journal {
    /// Opens the journal of a run's folder, to append. No other can be opened while this one is.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(FILE_NAME);
        let write = |source| JournalError::Write { path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(write)?;
        // Before it is mended: a line that is just being written looks torn.
        if !is_ours(&file).map_err(write)? {
            return Err(JournalError::Live { path: path.clone() });
        }
        mend(&path).map_err(write)?;
        // The folder's entry for the file must survive as well.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(write)?;
        Ok(Self { path, tail: Mutex::new(Tail { disk: file, is_torn: false }) })
    }

    pub fn record(&self, step: Step) -> Result<(), JournalError> {
        let write = |source: io::Error| JournalError::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&Line { at_ms: now_ms(), entry: step })
            .map_err(|error| write(error.into()))?;
        line.push(b'\n');
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).append(line).map_err(write)
    }
}

/// Whether nobody else writes to it. Where a file system has no locks that is believed: what was changed can be put back
/// there as well.
fn is_ours(file: &File) -> io::Result<bool> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            // Whoever only looks whether a run is live has it for a moment.
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
        }
    }
    Ok(false)
}

fn has_no_locks(error: &io::Error) -> bool {
    let none = [Errno::ENOLCK, Errno::ENOSYS, Errno::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| none.contains(&Errno::from_raw(code)))
}

/// Points `latest` at this run's folder, among the folders of runs. Replaced in one step, so that a reader never finds
/// nothing.
pub fn point_latest(folder: &Path) -> Result<(), JournalError> {
    let (Some(runs), Some(run_id)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let (link, fresh) = (runs.join(LATEST), runs.join(format!(".{LATEST}-{}", run_id.display())));
    let write = |source| JournalError::Write { path: link.clone(), source };
    std::os::unix::fs::symlink(run_id, &fresh).map_err(write)?;
    std::fs::rename(&fresh, &link).map_err(write)
}

/// Cuts off a torn last line, so that what is appended starts on a line of its own.
fn mend(path: &Path) -> io::Result<()> {
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
    /// Numbers of lines that say nothing.
    pub unreadable: Vec<usize>,
}

impl Recovery {
    /// Whether the levers are there.
    pub fn is_of(&self, endpoint: Option<&str>, region: &str, account_id: &str) -> bool {
        (self.endpoint.as_deref(), self.region.as_str(), self.account_id.as_str())
            == (endpoint, region, account_id)
    }
}

/// The folders under `runs` whose journals have open faults, or lines that say nothing and may have been one. What is no
/// journal has none.
pub fn left_open(runs: &Path) -> Vec<(PathBuf, Recovery)> {
    let mut open = journals(runs);
    open.retain(|(_, recovery)| !recovery.open.is_empty() || !recovery.unreadable.is_empty());
    open
}

/// The folders under `runs` whose runs, or the recoveries of them, still go on.
pub fn live(runs: &Path) -> Vec<(PathBuf, Recovery)> {
    let mut live = journals(runs);
    live.retain(|(folder, _)| is_live(folder));
    live
}

fn is_live(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(FILE_NAME)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// By the names of their folders.
fn journals(runs: &Path) -> Vec<(PathBuf, Recovery)> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().filter_map(Result::ok);
    // Not by links: `latest` is one of the others.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let found = folders.filter_map(|entry| {
        let lines = read(&entry.path().join(FILE_NAME)).ok()?;
        Some((entry.path(), left_by(lines)?))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

pub fn recovery(folder: &Path) -> Result<Recovery, JournalError> {
    let path = folder.join(FILE_NAME);
    let mut lines = read(&path)?;
    match lines.unknown.take() {
        Some(error) => Err(error),
        None => left_by(lines).ok_or(JournalError::NoTarget { path }),
    }
}

/// `None` where the first line names no target.
fn left_by(lines: Lines) -> Option<Recovery> {
    let Lines { steps, unreadable, .. } = lines;
    let mut steps = steps.into_iter();
    let Some(Step::Target { endpoint, region, account_id }) = steps.next() else { return None };
    let mut open: Vec<Open> = Vec::new();
    let mut faults = 0;
    for step in steps {
        match step {
            Step::Intent { fault, experiment, lever, prior } => {
                faults += 1;
                open.push(Open { fault, experiment, lever, prior });
            }
            Step::Verified { fault } | Step::Gone { fault } => open.retain(|entry| entry.fault != fault),
            Step::Target { .. } | Step::Engaged { .. } | Step::Released { .. } => {}
        }
    }
    open.reverse();
    Some(Recovery { endpoint, region, account_id, open, faults, unreadable })
}

#[derive(Debug, Default)]
struct Lines {
    steps: Vec<Step>,
    /// Numbers of the lines that are no step.
    unreadable: Vec<usize>,
    /// The first of them that is whole all the same: of another version.
    unknown: Option<JournalError>,
}

/// A file whose first line is no step is no journal.
fn read(path: &Path) -> Result<Lines, JournalError> {
    let failed = |source| JournalError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut lines = Lines::default();
    for number in 1.. {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(failed)?;
        if !line.ends_with(b"\n") {
            break;
        }
        match serde_json::from_slice::<Line>(&line) {
            Ok(line) => lines.steps.push(line.entry),
            Err(source) => {
                let is_whole = serde_json::from_slice::<Value>(&line).is_ok();
                let error = JournalError::Line { path: path.to_owned(), line: number, source };
                if number == 1 {
                    return Err(error);
                }
                lines.unreadable.push(number);
                if is_whole {
                    lines.unknown.get_or_insert(error);
                }
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
impl Journal {
    /// One that is there, and that cannot be written to.
    pub(crate) fn unwritable(folder: &Path) -> Self {
        let path = folder.join(FILE_NAME);
        let disk = File::open(&path).unwrap();
        Self { path, tail: Mutex::new(Tail { disk, is_torn: false }) }
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

    /// Takes so many bytes more, and then no other.
    struct FullDisk {
        kept: Vec<u8>,
        room: usize,
        can_cut: bool,
    }

    impl Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.kept.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk for FullDisk {
        fn length(&self) -> io::Result<u64> {
            Ok(self.kept.len() as u64)
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.can_cut {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.kept.truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_after_a_full_disk_stands_on_a_line_of_its_own() {
        for (can_cut, kept) in [(true, "one\nfour\n"), (false, "one\ntw\nfour\n")] {
            let disk = FullDisk { kept: Vec::new(), room: 6, can_cut };
            let mut tail = Tail { disk, is_torn: false };
            tail.append(b"one\n".to_vec()).unwrap();
            tail.append(b"two\n".to_vec()).unwrap_err();
            tail.disk.room = 0;
            tail.append(b"three\n".to_vec()).unwrap_err();
            tail.disk.room = 100;
            tail.append(b"four\n".to_vec()).unwrap();
            assert_eq!(String::from_utf8(tail.disk.kept).unwrap(), kept);
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &steps()[..2]);
        let path = folder.path().join(FILE_NAME);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"at_ms\":1,\"ent\xff\n");
        std::fs::write(&path, torn).unwrap();
        write(folder.path(), &steps()[3..7]);
        let recovery = recovery(folder.path()).unwrap();
        let open: Vec<u64> = recovery.open.iter().map(|entry| entry.fault).collect();
        assert_eq!((open, recovery.unreadable), (vec![1], vec![3]));
    }

    /// Adds a whole line, whatever it says.
    fn add(folder: &Path, line: &str) {
        let mut file = OpenOptions::new().append(true).open(folder.join(FILE_NAME)).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    #[test]
    fn a_line_that_another_version_wrote_is_not_passed_over() {
        for line in [
            r#"{"at_ms":1,"entry":{"step":"paused","fault":0}}"#,
            r#"{"at_ms":1,"entry":{"step":"intent","fault":0,"experiment":"one","lever":{"kind":"clock"},"prior":1}}"#,
        ] {
            let runs = tempfile::tempdir().unwrap();
            let folder = runs.path().join("a");
            std::fs::create_dir(&folder).unwrap();
            write(&folder, &steps()[..1]);
            add(&folder, line);
            let refused = recovery(&folder).unwrap_err();
            assert!(matches!(refused, JournalError::Line { line: 2, .. }), "{refused}");
            let left = left_open(runs.path());
            assert_eq!(left.iter().map(|(_, left)| left.unreadable.clone()).collect::<Vec<_>>(), [[2]]);
        }
    }

    #[test]
    fn what_does_not_exist_any_more_is_not_open() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &steps()[..2]);
        write(folder.path(), &[Step::Gone { fault: 0 }]);
        assert_eq!(recovery(folder.path()).unwrap().open, Vec::new());
    }

    #[test]
    fn a_run_with_a_line_that_cannot_be_read_is_found_though_nothing_is_open() {
        let runs = tempfile::tempdir().unwrap();
        let folder = runs.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        write(&folder, &steps());
        assert_eq!(left_open(runs.path()), Vec::new());
        add(&folder, r#"{"at_ms":1,"ent"#);
        let left = left_open(runs.path());
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].1.open.len(), left[0].1.unreadable.as_slice()), (0, &[10][..]));
    }

    #[test]
    fn the_runs_that_left_something_open_are_found_each_once() {
        let runs = tempfile::tempdir().unwrap();
        for (name, count) in [("a", 9), ("b", 2), ("c", 5), ("d", 1)] {
            let folder = runs.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            write(&folder, &steps()[..count]);
            point_latest(&folder).unwrap();
        }
        std::fs::create_dir(runs.path().join("no-run")).unwrap();
        let open: Vec<_> = left_open(runs.path()).into_iter().map(|(folder, _)| folder).collect();
        assert_eq!(open, [runs.path().join("b"), runs.path().join("c")]);
        assert_eq!(std::fs::read_link(runs.path().join(LATEST)).unwrap(), Path::new("d"));
    }

    #[test]
    fn a_journal_that_is_written_to_is_live_and_nobody_else_s() {
        let runs = tempfile::tempdir().unwrap();
        let folder = runs.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        write(&folder, &steps()[..2]);
        assert_eq!(live(runs.path()), Vec::new(), "its run is over");
        let journal = Journal::open(&folder).unwrap();
        assert!(matches!(Journal::open(&folder), Err(JournalError::Live { .. })));
        assert_eq!(live(runs.path()).len(), 1);
        assert_eq!(left_open(runs.path()).len(), 1, "whoever only reads is not kept from it");
        drop(journal);
        assert_eq!(live(runs.path()), Vec::new());
        Journal::open(&folder).unwrap();
    }

    #[test]
    fn a_file_system_without_locks_keeps_nobody_from_the_way_back() {
        for (errno, none) in [(Errno::ENOLCK, true), (Errno::EOPNOTSUPP, true), (Errno::EIO, false)] {
            assert_eq!(has_no_locks(&errno.into()), none, "{errno}");
        }
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
