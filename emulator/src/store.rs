//! What survives the process: `emulator up --data-dir DIR`. Without a directory everything is kept in memory only.
//!
//! * `tables.sqlite`: the tables, in the engine's own file.
//! * `messages/`: a journal of every change of every message ([`crate::sqs`]'s trail), made anew from time to time.
//! * `requests/`: a journal of the calls that changed anything else, made again in order at the next start ([`replay`]),
//!   without those of what is gone ([`compact`]).
//! * `account.json`: whose directory it is. `starts.json`: how often an emulator began on it. `lock`: held while one runs.

mod account;
mod by_itself;
pub mod compact;
mod frame;
mod journal;
mod kept;
pub mod replay;
mod touch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::Flock;

pub use account::Identity;
pub(crate) use account::write_whole;
pub use journal::{Journal, JournalFailed};
pub use kept::{is_kept, operation};

use crate::sqs::trail::Recovered;

/// Calls that change anything but messages and items, and that are about what still is: an apply of a stack is about 200.
/// Reading so many again takes seconds.
pub const REQUESTS_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("failed to {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by another emulator", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} is not of this emulator: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("{} is damaged at byte {offset}: {reason}; what follows it cannot be trusted", path.display())]
    Damaged { path: PathBuf, offset: u64, reason: String },
    #[error("the directory was made for {what} {made_for}, not {asked_for}")]
    Mismatch { what: &'static str, made_for: String, asked_for: String },
}

impl StoreError {
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { what, path: path.to_path_buf(), source }
    }
}

/// The data directory, or none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Store(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    dir: PathBuf,
    messages: Journal,
    requests: Journal,
    turn: Arc<tokio::sync::Mutex<replay::Turn>>,
    /// Taken once, when the queues are back.
    recovered: Mutex<Option<Recovered>>,
    _lock: Flock<std::fs::File>,
}

impl Store {
    /// Opens the directory, made if need be, and reads its messages. A torn end of a journal, which a kill leaves, is
    /// cut off: nothing behind it was ever acknowledged.
    ///
    /// # Errors
    /// A directory that is in use, of another account, or damaged.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
        let lock = account::lock(dir)?;
        let mut recovered = Recovered::default();
        let messages = Journal::open(&dir.join("messages"), |record| recovered.apply(record))?;
        let requests = Journal::open(&dir.join("requests"), |_| Ok(()))?;
        Ok(Self(Some(Arc::new(Kept {
            dir: dir.to_path_buf(),
            messages,
            requests,
            turn: Arc::default(),
            recovered: Mutex::new(Some(recovered)),
            _lock: lock,
        }))))
    }

    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.0.as_deref().map(|kept| kept.dir.as_path())
    }

    #[must_use]
    pub fn tables_file(&self) -> Option<PathBuf> {
        self.dir().map(|dir| dir.join("tables.sqlite"))
    }

    #[must_use]
    pub fn messages(&self) -> Option<&Journal> {
        self.0.as_deref().map(|kept| &kept.messages)
    }

    #[must_use]
    pub fn requests(&self) -> Option<&Journal> {
        self.0.as_deref().map(|kept| &kept.requests)
    }

    /// The journal of calls, and the turn that whoever adds one must have.
    fn calls(&self) -> Option<(&Journal, &Arc<tokio::sync::Mutex<replay::Turn>>)> {
        self.0.as_deref().map(|kept| (&kept.requests, &kept.turn))
    }

    /// Drops the calls that are only about what is gone: they need not be made again. Returns how many.
    ///
    /// # Errors
    /// Calls that cannot be read, or written anew. What is kept is safe all the same.
    pub async fn compact(&self) -> Result<usize, StoreError> {
        let Some((_, turn)) = self.calls() else { return Ok(0) };
        let mut turn = turn.lock().await;
        turn.compact(self).await
    }

    /// Takes the directory for the account and counts this start. How many there were before; 0 without a directory.
    ///
    /// # Errors
    /// A directory of another account, region or port, or one that cannot be written.
    pub fn claim(&self, known: Option<&Identity>, ours: &Identity) -> Result<u64, StoreError> {
        let Some(dir) = self.dir() else { return Ok(0) };
        match known {
            Some(known) => known.check(ours)?,
            None => ours.write(dir)?,
        }
        account::count_start(dir, known.is_none())
    }

    /// The messages of the process before this one; once.
    #[must_use]
    pub fn take_recovered(&self) -> Option<Recovered> {
        let kept = self.0.as_deref()?;
        kept.recovered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes what is left. Whoever was told that something is kept needs none of this.
    pub fn close(&self) {
        if let Some(kept) = self.0.as_deref() {
            kept.messages.close();
            kept.requests.close();
        }
    }
}
