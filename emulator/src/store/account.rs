//! Whose directory it is, and that only one emulator uses it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Grows by one when an older emulator could not read the files.
const FORMAT: u32 = 1;
/// A killed process may be listed as ended while its last threads still hold its files.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(20);

/// What ARNs and URLs are made of: what was kept names it everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub account_id: String,
    pub region: String,
    pub port: u16,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
}

/// The kernel gives the lock back when the process ends, however it ends; that of a killed one may take a moment.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let mut file = file.map_err(StoreError::io("open", &path))?;
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= until => {
                return Err(StoreError::Locked { dir: dir.to_path_buf() });
            }
            Err((returned, Errno::EWOULDBLOCK)) => file = returned,
            Err((_, errno)) => return Err(StoreError::Io { what: "lock", path, source: errno.into() }),
        }
        std::thread::park_timeout(LOCK_LOOK_EVERY);
    }
}

impl Identity {
    /// Of the directory, if it has one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join("account.json");
        let Some(written) = read_whole::<Written>(&path)? else { return Ok(None) };
        if written.format != FORMAT {
            let reason = format!("format {}, this emulator reads {FORMAT}", written.format);
            return Err(StoreError::Foreign { path, reason });
        }
        Ok(Some(written.identity))
    }

    /// Writes it whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let text = serde_json::to_vec(&Written { format: FORMAT, identity: self.clone() });
        let text =
            text.map_err(|error| StoreError::Foreign { path: dir.to_path_buf(), reason: error.to_string() })?;
        write_whole(&dir.join("account.json"), &text)
    }

    /// # Errors
    /// Names the first member in which the two differ.
    pub fn check(&self, asked_for: &Self) -> Result<(), StoreError> {
        let members = [
            ("account", self.account_id.clone(), asked_for.account_id.clone()),
            ("region", self.region.clone(), asked_for.region.clone()),
            ("port", self.port.to_string(), asked_for.port.to_string()),
        ];
        for (what, made_for, asked_for) in members {
            if made_for != asked_for {
                return Err(StoreError::Mismatch { what, made_for, asked_for });
            }
        }
        Ok(())
    }
}

/// How many starts on the directory were counted before this one, which counts from now on: what a seed chose for one of
/// them must not be chosen for another.
///
/// # Errors
/// When the count cannot be read or written.
pub(super) fn count_start(dir: &Path, is_new: bool) -> Result<u64, StoreError> {
    let path = dir.join("starts.json");
    // Older emulators did not count.
    let before = read_whole(&path)?.unwrap_or(u64::from(!is_new));
    write_whole(&path, (before + 1).to_string().as_bytes())?;
    Ok(before)
}

/// None: there is no such file.
fn read_whole<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::io("read", path)(source)),
    };
    let foreign = |error: serde_json::Error| {
        let (path, reason) = (path.to_path_buf(), error.to_string());
        StoreError::Foreign { path, reason }
    };
    serde_json::from_slice(&text).map(Some).map_err(foreign)
}

/// A file that is either the old or the new one, after any crash.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial).map_err(StoreError::io("create", &partial))?;
    file.write_all(bytes).map_err(StoreError::io("write", &partial))?;
    file.sync_all().map_err(StoreError::io("sync", &partial))?;
    std::fs::rename(&partial, path).map_err(StoreError::io("rename", &partial))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// A new name in a directory is durable only when the directory is.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let opened = File::open(dir).and_then(|dir| dir.sync_all());
    opened.map_err(StoreError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_and_a_directory_of_before_they_were_had_one() {
        let directory = tempfile::tempdir().unwrap();
        let count = |is_new| count_start(directory.path(), is_new).unwrap();
        assert_eq!([count(true), count(false), count(false)], [0, 1, 2]);
        std::fs::remove_file(directory.path().join("starts.json")).unwrap();
        assert_eq!([count(false), count(false)], [1, 2]);
        std::fs::write(directory.path().join("starts.json"), "many").unwrap();
        assert!(matches!(count_start(directory.path(), false), Err(StoreError::Foreign { .. })));
    }
}
