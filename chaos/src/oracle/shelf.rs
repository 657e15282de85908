//! Where the evidence lies whole: only what is shown to people is fetched from it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use loadtest::LedgerEntry;

use super::fact::Body;
use super::judge::Case;
use crate::oracle::{DeadLetter, Record};

#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("there is no {what} at {position}")]
    Missing { what: &'static str, position: u64 },
    #[error("{}: the records that were read could not be kept", dir.display())]
    Io { dir: PathBuf, source: std::io::Error },
    #[error("a record that was kept is not one")]
    Json(#[from] serde_json::Error),
}

/// By the positions under which things were added to the indexes.
pub trait Shelf {
    fn entry(&self, position: u64) -> Result<LedgerEntry, ShelfError>;
    fn record(&self, position: u64) -> Result<Record, ShelfError>;
    fn letter(&self, position: u64) -> Result<DeadLetter, ShelfError>;
    /// What the key of this request names.
    fn named_id(&self, entry: &LedgerEntry) -> Option<String>;

    #[expect(private_interfaces, reason = "the oracle asks itself; nobody else has a case")]
    fn task_id(&self, case: &Case) -> Result<String, ShelfError> {
        if let Some(record) = case.record {
            return Ok(self.record(record.position)?.task_id);
        }
        if let Some(letter) = case.letters.first() {
            return Ok(Body::of(&self.letter(letter.position)?).map(|body| body.task_id).unwrap_or_default());
        }
        let Some(fact) = case.entries.first() else { return Ok(String::new()) };
        let entry = self.entry(fact.position)?;
        let answered = entry.task_id().filter(|_| fact.is_answered).map(str::to_owned);
        Ok(answered.or_else(|| self.named_id(&entry)).unwrap_or_default())
    }
}

/// Records on disk, one line each, in a file without a name: it is gone when the process is, however it ends.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    file: Mutex<BufWriter<File>>,
    end: u64,
    line: Vec<u8>,
}

impl Records {
    pub fn new(dir: &Path) -> Result<Self, ShelfError> {
        let file =
            tempfile::tempfile_in(dir).map_err(|source| ShelfError::Io { dir: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), file: Mutex::new(BufWriter::new(file)), end: 0, line: Vec::new() })
    }

    /// The answer is where it can be read again.
    pub fn keep(&mut self, record: &Record) -> Result<u64, ShelfError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        let position = self.end;
        self.end += self.line.len() as u64;
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&self.line).map_err(|source| ShelfError::Io { dir: self.dir.clone(), source })?;
        Ok(position)
    }

    pub fn read(&self, position: u64) -> Result<Record, ShelfError> {
        if position >= self.end {
            return Err(ShelfError::Missing { what: "record", position });
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = read_line(&mut file, position);
        let line = line.map_err(|source| ShelfError::Io { dir: self.dir.clone(), source })?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// Reads where it is told to, and goes back to the end, where the next record is kept.
fn read_line(file: &mut BufWriter<File>, position: u64) -> std::io::Result<String> {
    file.flush()?;
    let file = file.get_mut();
    file.seek(SeekFrom::Start(position))?;
    let mut line = String::new();
    BufReader::new(&mut *file).read_line(&mut line)?;
    file.seek(SeekFrom::End(0))?;
    Ok(line)
}
