//! A log on disk with group commit: records are added without waiting, and many callers wait for one sync.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

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
    /// Nothing more is taken: it would wait for ever.
    failed: bool,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Vec<u8>),
    /// What follows goes into this file.
    Next(File),
    /// What follows goes into a new file, whose number is told.
    Begin {
        bytes_before: u64,
        begun: Begun,
    },
}

type Begun = oneshot::Sender<Result<u64, StoreError>>;

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
/// Of a file without a record.
const EMPTY_BYTES: u64 = frame::MAGIC.len() as u64;

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
        let last = last_with_records(dir, &numbers)?;
        let mut good = Vec::new();
        for number in &numbers {
            good.push(frame::scan(&path_of(dir, *number), *number >= last, &mut each)?);
        }
        let mut newest = None;
        for (number, good) in numbers.into_iter().zip(good).filter(|(number, _)| *number >= last) {
            newest = Some((number, resume(&path_of(dir, number), good)?));
        }
        let (file_number, file) = match newest {
            Some(newest) => newest,
            None => (1, create(dir, 1)?),
        };
        let file_bytes = file.metadata().map_err(StoreError::io("read", dir))?.len();
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
        if shared.failed {
            return;
        }
        if !matches!(shared.waiting.last(), Some(Chunk::Bytes(_))) {
            shared.waiting.push(Chunk::Bytes(Vec::new()));
        }
        let Some(Chunk::Bytes(bytes)) = shared.waiting.last_mut() else { return };
        let before = bytes.len();
        if let Err(error) = frame::write(record, bytes) {
            drop(shared);
            self.fail(&error.to_string());
            return;
        }
        let added = (bytes.len() - before) as u64;
        shared.file_bytes += added;
        shared.appended += 1;
        drop(shared);
        self.0.work.notify_one();
    }

    /// # Errors
    /// When it is known that nothing more is taken.
    pub fn check(&self) -> Result<(), JournalFailed> {
        self.0.progress.borrow().failed.clone().map_or(Ok(()), Err)
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

    /// Records that are added and not on disk yet.
    #[cfg(test)]
    pub(crate) fn uncommitted(&self) -> u64 {
        let shared = self.0.lock();
        shared.appended - self.0.progress.borrow().committed
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
    /// When the file cannot be made. Then they go on into the one before.
    pub async fn begin_file(&self) -> Result<u64, StoreError> {
        let begun = self.ask_for_file().await;
        begun.unwrap_or_else(|_| {
            let source = std::io::Error::other("the journal takes nothing more");
            Err(StoreError::io("begin a file in", &self.0.dir)(source))
        })
    }

    /// The writer makes the file, in the order of the records.
    fn ask_for_file(&self) -> oneshot::Receiver<Result<u64, StoreError>> {
        let (begun, answer) = oneshot::channel();
        let mut shared = self.0.lock();
        if !shared.failed && !shared.closed {
            let bytes_before = std::mem::replace(&mut shared.file_bytes, EMPTY_BYTES);
            shared.waiting.push(Chunk::Begin { bytes_before, begun });
            self.0.work.notify_one();
        }
        answer
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
        keep: impl FnMut(usize) -> bool,
        mut reached: impl FnMut(Step) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = path_of(&self.0.dir, self.0.lock().file_number);
        let partial = path.with_extension(PARTIAL);
        let placed = write_partial(&path, &partial, keep, &mut reached)
            .and_then(|()| std::fs::rename(&partial, &path).map_err(StoreError::io("rename", &partial)));
        if placed.is_err() {
            // It would be a strange file when the journal is read the next time.
            drop(std::fs::remove_file(&partial));
        }
        placed?;
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
            if let Err(error) = self.write_chunks(&mut file, chunks) {
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
        // Only now that it is known: whoever adds nothing any more must not be told that everything is safe.
        let mut shared = self.lock();
        shared.failed = true;
        shared.waiting = Vec::new();
    }

    fn write_chunks(&self, file: &mut File, chunks: Vec<Chunk>) -> std::io::Result<()> {
        for chunk in chunks {
            match chunk {
                Chunk::Bytes(bytes) => file.write_all(&bytes)?,
                Chunk::Next(next) => {
                    file.sync_data()?;
                    *file = next;
                }
                Chunk::Begin { bytes_before, begun } => {
                    // A crash must not leave a torn file with a successor.
                    file.sync_data()?;
                    // Whoever asked may be gone.
                    drop(begun.send(self.begin(file, bytes_before)));
                }
            }
        }
        file.sync_data()
    }

    /// Goes on in a new file. When there can be none, in the one before, which had so many bytes.
    fn begin(&self, file: &mut File, bytes_before: u64) -> Result<u64, StoreError> {
        let number = self.lock().file_number + 1;
        let created = create(&self.dir, number);
        let mut shared = self.lock();
        match created {
            Ok(created) => {
                *file = created;
                shared.file_number = number;
                Ok(number)
            }
            Err(error) => {
                shared.file_bytes += bytes_before - EMPTY_BYTES;
                Err(error)
            }
        }
    }
}

/// Copies the records that `keep` names into a file beside theirs.
fn write_partial(
    path: &Path,
    partial: &Path,
    mut keep: impl FnMut(usize) -> bool,
    mut reached: impl FnMut(Step) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut file = File::create(partial).map(BufWriter::new).map_err(StoreError::io("create", partial))?;
    file.write_all(frame::MAGIC).map_err(StoreError::io("write", partial))?;
    let (mut place, mut failed) = (0, None);
    frame::scan(path, true, |record| {
        if keep(place) && failed.is_none() {
            let mut framed = Vec::new();
            frame::write(record, &mut framed).map_err(|error| error.to_string())?;
            failed = file.write_all(&framed).err();
        }
        place += 1;
        Ok(())
    })?;
    failed.map_or(Ok(()), Err).map_err(StoreError::io("write", partial))?;
    reached(Step::Written)?;
    let file = file.into_inner().map_err(|error| StoreError::io("write", partial)(error.into_error()))?;
    file.sync_all().map_err(StoreError::io("sync", partial))?;
    reached(Step::Synced)
}

/// The newest file that holds more than its first bytes. Those behind it were begun and not written yet, so that a crash may
/// have torn this one.
fn last_with_records(dir: &Path, numbers: &[u64]) -> Result<u64, StoreError> {
    for number in numbers.iter().rev() {
        let path = path_of(dir, *number);
        let metadata = std::fs::metadata(&path).map_err(StoreError::io("read", &path))?;
        if metadata.len() > EMPTY_BYTES {
            return Ok(*number);
        }
    }
    Ok(0)
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

/// One that is there already was begun in vain, and holds nothing.
fn create(dir: &Path, number: u64) -> Result<File, StoreError> {
    let path = path_of(dir, number);
    let mut file = File::create(&path).map_err(StoreError::io("create", &path))?;
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
            journal.begin_file().await.unwrap();
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
        frame::write(b"never acknowledged", &mut bytes).unwrap();
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

    #[tokio::test]
    async fn after_a_failure_nothing_is_held_in_memory_and_no_file_is_begun() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.fail("no space left");
        let before = journal.file_bytes();
        (0..100).for_each(|_| journal.append(&[0; 1_000]));
        assert!(journal.begin_file().await.is_err());
        assert_eq!(journal.file_bytes(), before);
        assert!(journal.0.lock().waiting.is_empty());
        assert!(!path_of(directory.path(), 2).exists());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_gets_no_successor() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        let mut read_only = File::open(path_of(directory.path(), 1)).unwrap();
        let (begun, answer) = oneshot::channel();
        let chunks = vec![Chunk::Bytes(b"record".to_vec()), Chunk::Begin { bytes_before: 8, begun }];
        assert!(journal.0.write_chunks(&mut read_only, chunks).is_err());
        assert!(answer.await.is_err());
        assert!(!path_of(directory.path(), 2).exists());
    }

    #[tokio::test]
    async fn a_file_that_was_begun_before_the_one_before_was_whole_is_no_damage() {
        for begun in [&frame::MAGIC[..], b"emul", b""] {
            let directory = tempfile::tempdir().unwrap();
            let (journal, _) = read(directory.path());
            journal.append(b"one");
            journal.close();
            let mut torn = std::fs::read(path_of(directory.path(), 1)).unwrap();
            frame::write(b"never acknowledged", &mut torn).unwrap();
            std::fs::write(path_of(directory.path(), 1), &torn[..torn.len() - 5]).unwrap();
            std::fs::write(path_of(directory.path(), 2), begun).unwrap();
            let (journal, records) = read(directory.path());
            assert_eq!(records, ["one"]);
            journal.append(b"two");
            assert_eq!(journal.begin_file().await.unwrap(), 3);
            journal.append(b"three");
            journal.close();
            assert_eq!(read(directory.path()).1, ["one", "two", "three"]);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_begun_leaves_the_one_before_and_can_be_begun_later() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.append(b"one");
        let in_the_way = path_of(directory.path(), 2);
        std::fs::create_dir(&in_the_way).unwrap();
        assert!(journal.begin_file().await.is_err());
        journal.append(b"two");
        journal.committed().await.unwrap();
        let written = std::fs::metadata(path_of(directory.path(), 1)).unwrap().len();
        assert_eq!(journal.file_bytes(), written);
        std::fs::remove_dir(&in_the_way).unwrap();
        // What an attempt leaves that failed later.
        std::fs::write(&in_the_way, b"emul").unwrap();
        assert_eq!(journal.begin_file().await.unwrap(), 2);
        journal.append(b"three");
        journal.close();
        assert_eq!(read(directory.path()).1, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn files_before_a_checkpoint_can_go() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        journal.append(b"old");
        let number = journal.begin_file().await.unwrap();
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
            // What a kill leaves, which ends the process before it can tidy up.
            std::fs::write(path_of(directory.path(), 1).with_extension(PARTIAL), "half").unwrap();
            let expected: Vec<&str> =
                left.iter().copied().chain((at != Step::Renamed).then_some("late")).collect();
            assert_eq!(read(directory.path()).1, expected, "{at:?}");
            let strange = std::fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(strange, 1, "{at:?}: nothing is left of it");
        }
    }

    #[tokio::test]
    async fn a_rewrite_that_failed_can_be_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = read(directory.path());
        (0..4).for_each(|n| journal.append(n.to_string().as_bytes()));
        journal.committed().await.unwrap();
        let full = || StoreError::Foreign { path: PathBuf::new(), reason: "no space left".to_owned() };
        for at in [Step::Written, Step::Synced] {
            let failed = journal.rewrite(|_| true, |step| if step == at { Err(full()) } else { Ok(()) });
            assert!(failed.is_err(), "{at:?}");
            let mut records = 0;
            let counted = journal.read(|_| {
                records += 1;
                Ok(())
            });
            assert!(counted.is_ok(), "{at:?}: {counted:?}");
            assert_eq!(records, 4, "{at:?}");
        }
        journal.rewrite(|place| place > 1, |_| Ok(())).unwrap();
        journal.append(b"after");
        journal.close();
        assert_eq!(read(directory.path()).1, ["2", "3", "after"]);
    }

    #[test]
    fn a_strange_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(Journal::open(directory.path(), |_| Ok(())), Err(StoreError::Foreign { .. })));
    }
}
