//! A log on disk with group commit: records are added without waiting, and many callers wait for one sync.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::account::sync_dir;
use super::frame;
use super::{StoreError, account};

/// The disk refused. What was not acknowledged until now never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data directory cannot be written: {0}")]
pub struct JournalFailed(Arc<str>);

/// A directory of numbered files; records go to the newest. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    shared: Mutex<Shared>,
    /// Rung when there is something to write, or nothing more to come.
    work: Condvar,
    progress: watch::Sender<Progress>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Vec<Chunk>,
    /// Records added so far.
    appended: u64,
    file_number: u64,
    /// Of the newest file, with what waits for it.
    file_bytes: u64,
    closed: bool,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Vec<u8>),
    /// What follows goes into this file.
    Next(File),
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Records on disk.
    committed: u64,
    failed: Option<JournalFailed>,
}

/// How far a rewrite is; a crash at any of them loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Written,
    Synced,
    Renamed,
}

/// A file that is not finished yet, and never will be if the process ends before.
const PARTIAL: &str = "partial";

impl Journal {
    /// Opens the directory, made if need be, and reads every record, the oldest first.
    ///
    /// # Errors
    /// What cannot be read, written, or trusted.
    pub(super) fn open(
        dir: &Path,
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
        remove_partial(dir)?;
        let numbers = numbers(dir)?;
        let newest = numbers.last().copied();
        let mut good = 0;
        for number in &numbers {
            good = frame::scan(&path_of(dir, *number), Some(*number) == newest, &mut each)?;
        }
        let file = match newest {
            Some(number) => resume(&path_of(dir, number), good)?,
            None => create(dir, 1)?,
        };
        let file_bytes = file.metadata().map_err(StoreError::io("read", dir))?.len();
        let file_number = newest.unwrap_or(1);
        let shared = Mutex::new(Shared { file_number, file_bytes, ..Shared::default() });
        let inner = Arc::new(Inner {
            dir: dir.to_path_buf(),
            shared,
            work: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
            writer: Mutex::new(None),
        });
        let writer = std::thread::Builder::new().name("journal".to_owned()).spawn({
            let inner = Arc::clone(&inner);
            move || inner.write_all(file)
        });
        let writer = writer.map_err(StoreError::io("start a writer for", dir))?;
        *inner.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(Self(inner))
    }

    /// Adds a record behind all earlier ones. It is safe once [`Journal::committed`] has returned.
    pub fn append(&self, record: &[u8]) {
        let mut shared = self.0.lock();
        let before = match shared.waiting.last() {
            Some(Chunk::Bytes(bytes)) => bytes.len(),
            _ => {
                shared.waiting.push(Chunk::Bytes(Vec::new()));
                0
            }
        };
        let Some(Chunk::Bytes(bytes)) = shared.waiting.last_mut() else { return };
        frame::write(record, bytes);
        let added = (bytes.len() - before) as u64;
        shared.file_bytes += added;
        shared.appended += 1;
        drop(shared);
        self.0.work.notify_one();
    }

    /// Returns when everything added so far is on disk.
    ///
    /// # Errors
    /// When it never will be.
    pub async fn committed(&self) -> Result<(), JournalFailed> {
        let wanted = self.0.lock().appended;
        let mut progress = self.0.progress.subscribe();
        let reached =
            progress.wait_for(|progress| progress.failed.is_some() || progress.committed >= wanted).await;
        // The sender lives in `self`.
        let failed = reached.ok().and_then(|progress| progress.failed.clone());
        failed.map_or(Ok(()), Err)
    }

    /// From now on nothing is acknowledged any more.
    pub fn fail(&self, reason: &str) {
        self.0.fail(reason);
    }

    /// Bytes of the newest file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.0.lock().file_bytes
    }

    /// Records from now on go into a new file, whose number is returned.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn begin_file(&self) -> Result<u64, StoreError> {
        let number = self.0.lock().file_number + 1;
        let file = create(&self.0.dir, number)?;
        let mut shared = self.0.lock();
        shared.waiting.push(Chunk::Next(file));
        shared.file_number = number;
        shared.file_bytes = frame::MAGIC.len() as u64;
        Ok(number)
    }

    /// Removes the files before `number`: what they tell is told again since.
    ///
    /// # Errors
    /// When one cannot be removed. It does no harm.
    pub fn remove_before(&self, number: u64) -> Result<(), StoreError> {
        for old in numbers(&self.0.dir)?.into_iter().filter(|old| *old < number) {
            let path = path_of(&self.0.dir, old);
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        sync_dir(&self.0.dir)
    }

    /// Reads all records again. Only sound before the first one is added.
    pub(super) fn read(&self, mut each: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), StoreError> {
        for number in numbers(&self.0.dir)? {
            frame::scan(&path_of(&self.0.dir, number), true, &mut each)?;
        }
        Ok(())
    }

    /// Writes the newest file anew with the records that `keep` names by their place in it, and puts it in its stead: at
    /// any moment the file is the old one or the new one, whole. Only sound while nobody adds a record. `reached` is told
    /// how far it is.
    ///
    /// # Errors
    /// When a file cannot be read, written or put in place. What was committed is safe all the same.
    pub(super) fn rewrite(
        &self,
        mut keep: impl FnMut(usize) -> bool,
        mut reached: impl FnMut(Step) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = path_of(&self.0.dir, self.0.lock().file_number);
        let partial = path.with_extension(PARTIAL);
        let mut file =
            File::create(&partial).map(BufWriter::new).map_err(StoreError::io("create", &partial))?;
        file.write_all(frame::MAGIC).map_err(StoreError::io("write", &partial))?;
        let (mut place, mut failed) = (0, None);
        frame::scan(&path, true, |record| {
            if keep(place) && failed.is_none() {
                let mut framed = Vec::new();
                frame::write(record, &mut framed);
                failed = file.write_all(&framed).err();
            }
            place += 1;
            Ok(())
        })?;
        failed.map_or(Ok(()), Err).map_err(StoreError::io("write", &partial))?;
        reached(Step::Written)?;
        let file =
            file.into_inner().map_err(|error| StoreError::io("write", &partial)(error.into_error()))?;
        file.sync_all().map_err(StoreError::io("sync", &partial))?;
        reached(Step::Synced)?;
        std::fs::rename(&partial, &path).map_err(StoreError::io("rename", &partial))?;
        // The writer still holds the old file: what it wrote from here on would be lost.
        let swapped = reached(Step::Renamed).and_then(|()| self.swap(&path));
        swapped.inspect_err(|error| self.fail(&error.to_string()))
    }

    /// The writer goes on at the end of the file that is now there.
    fn swap(&self, path: &Path) -> Result<(), StoreError> {
        sync_dir(&self.0.dir)?;
        let file = OpenOptions::new().append(true).open(path).map_err(StoreError::io("open", path))?;
        let file_bytes = file.metadata().map_err(StoreError::io("read", path))?.len();
        let mut shared = self.0.lock();
        shared.waiting.push(Chunk::Next(file));
        shared.file_bytes = file_bytes;
        drop(shared);
        self.0.work.notify_one();
        Ok(())
    }

    /// Writes what waits and ends the writer.
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.0.work.notify_one();
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of a journal died");
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer: whatever came in during one sync goes to the disk with the next.
    fn write_all(&self, mut file: File) {
        loop {
            let mut shared = self.lock();
            while shared.waiting.is_empty() && !shared.closed {
                shared = self.work.wait(shared).unwrap_or_else(PoisonError::into_inner);
            }
            let chunks = std::mem::take(&mut shared.waiting);
            let (appended, closed) = (shared.appended, shared.closed);
            drop(shared);
            if let Err(error) = write_chunks(&mut file, chunks) {
                self.fail(&error.to_string());
                return;
            }
            self.progress.send_modify(|progress| progress.committed = appended);
            if closed {
                return;
            }
        }
    }

    fn fail(&self, reason: &str) {
        tracing::error!(dir = %self.dir.display(), reason, "the data directory cannot be written");
        let failed = JournalFailed(reason.into());
        self.progress.send_modify(|progress| {
            progress.failed.get_or_insert(failed);
        });
    }
}

fn write_chunks(file: &mut File, chunks: Vec<Chunk>) -> std::io::Result<()> {
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => file.write_all(&bytes)?,
            Chunk::Next(next) => {
                file.sync_data()?;
                *file = next;
            }
        }
    }
    file.sync_data()
}

/// The newest file, without its torn end.
fn resume(path: &Path, good: u64) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).open(path).map_err(StoreError::io("open", path))?;
    let torn = file.metadata().map_err(StoreError::io("read", path))?.len() - good;
    if torn > 0 {
        tracing::warn!(path = %path.display(), bytes = torn, "the end of a journal was torn, and is cut off");
        file.set_len(good).map_err(StoreError::io("cut", path))?;
    }
    if good == 0 {
        file.write_all(frame::MAGIC).map_err(StoreError::io("write", path))?;
    }
    file.sync_all().map_err(StoreError::io("sync", path))?;
    Ok(file)
}

fn create(dir: &Path, number: u64) -> Result<File, StoreError> {
    let path = path_of(dir, number);
    let mut options = OpenOptions::new();
    let mut file =
        options.append(true).create_new(true).open(&path).map_err(StoreError::io("create", &path))?;
    file.write_all(frame::MAGIC).map_err(StoreError::io("write", &path))?;
    file.sync_all().map_err(StoreError::io("sync", &path))?;
    account::sync_dir(dir)?;
    Ok(file)
}

/// What a crash left of a rewrite: the file that it was made from is still there.
fn remove_partial(dir: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("read", dir))? {
        let path = entry.map_err(StoreError::io("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == PARTIAL) {
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

/// The files of a journal, the oldest first.
fn numbers(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("read", dir))? {
        let name = entry.map_err(StoreError::io("read", dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).map(str::parse);
        match number {
            Some(Ok(number)) => found.push(number),
            _ => {
                let reason = format!("{} is no file of a journal", name.display());
                return Err(StoreError::Foreign { path: dir.to_path_buf(), reason });
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path) -> (Journal, Vec<String>) {
        let mut records = Vec::new();
        let journal = Journal::open(dir, |record| {
            records.push(String::from_utf8(record.to_vec()).unwrap());
            Ok(())
        });
        (journal.unwrap(), records)
    }

    #[tokio::test]
    async fn records_are_read_back_in_order_across_files_and_restarts() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let (journal, records) = read(directory.path());
            let expected: Vec<String> = (0..round * 20).map(|n| n.to_string()).collect();
            assert_eq!(records, expected);
            (round * 20..round * 20 + 10).for_each(|n| journal.append(n.to_string().as_bytes()));
            journal.begin_file().unwrap();
            (round * 20 + 10..round * 20 + 20).for_each(|n| journal.append(n.to_string().as_bytes()));
            journal.committed().await.unwrap();
            journal.close();
        }
    }

    #[tokio::test]
    async fn what_is_committed_is_on_disk_although_the_journal_was_never_closed() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.append(b"kept");
        journal.committed().await.unwrap();
        let bytes = std::fs::read(path_of(directory.path(), 1)).unwrap();
        assert!(bytes.ends_with(b"kept"));
        journal.close();
    }

    #[tokio::test]
    async fn a_torn_end_is_cut_off_and_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.append(b"one");
        journal.close();
        let path = path_of(directory.path(), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        frame::write(b"never acknowledged", &mut bytes);
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let (journal, records) = read(directory.path());
        assert_eq!(records, ["one"]);
        journal.append(b"two");
        journal.close();
        assert_eq!(read(directory.path()).1, ["one", "two"]);
    }

    #[tokio::test]
    async fn after_a_failure_nothing_is_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.fail("no space left");
        journal.append(b"one");
        assert!(journal.committed().await.unwrap_err().to_string().contains("no space left"));
    }

    #[test]
    fn files_before_a_checkpoint_can_go() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.append(b"old");
        let number = journal.begin_file().unwrap();
        journal.append(b"new");
        journal.remove_before(number).unwrap();
        journal.close();
        assert_eq!(read(directory.path()).1, ["new"]);
    }

    #[tokio::test]
    async fn a_rewrite_keeps_what_it_is_told_and_what_comes_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        (0..6).for_each(|n| journal.append(n.to_string().as_bytes()));
        journal.committed().await.unwrap();
        let before = journal.file_bytes();
        journal.rewrite(|place| place % 2 == 0, |_| Ok(())).unwrap();
        assert!(journal.file_bytes() < before);
        journal.append(b"after");
        journal.committed().await.unwrap();
        // Never closed, as after a kill.
        assert_eq!(read(directory.path()).1, ["0", "2", "4", "after"]);
    }

    #[tokio::test]
    async fn a_crash_in_the_middle_of_a_rewrite_leaves_the_old_file_or_the_new_one() {
        let crash = || StoreError::Foreign { path: PathBuf::new(), reason: "crash".to_owned() };
        for (at, left) in [
            (Step::Written, &["old", "kept"][..]),
            (Step::Synced, &["old", "kept"]),
            (Step::Renamed, &["kept"]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let (journal, _) = read(directory.path());
            journal.append(b"old");
            journal.append(b"kept");
            journal.committed().await.unwrap();
            let crashed =
                journal.rewrite(|place| place == 1, |step| if step == at { Err(crash()) } else { Ok(()) });
            assert!(crashed.is_err(), "{at:?}");
            // What would go into a file that is no longer there is never acknowledged.
            journal.append(b"late");
            assert_eq!(journal.committed().await.is_ok(), at != Step::Renamed, "{at:?}");
            let expected: Vec<&str> =
                left.iter().copied().chain((at != Step::Renamed).then_some("late")).collect();
            assert_eq!(read(directory.path()).1, expected, "{at:?}");
            let strange = std::fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(strange, 1, "{at:?}: nothing is left of it");
        }
    }

    #[test]
    fn a_strange_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(Journal::open(directory.path(), |_| Ok(())), Err(StoreError::Foreign { .. })));
    }
}
