//! Sorts facts by task in bounded memory: full buffers are sorted and spilled to unnamed files, then merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::key::TaskKey;

/// Facts in one buffer: about 30 MB. A run of an afternoon fits in one, and then no file is made.
pub(super) const BUFFER_FACTS: usize = 1 << 19;
/// Each spilled buffer is read through one of these while merging.
const READ_BUFFER_BYTES: usize = 1 << 17;

#[derive(Debug, thiserror::Error)]
#[error("{}: the spill file of the oracle failed", dir.display())]
pub struct SpillError {
    pub dir: PathBuf,
    pub source: std::io::Error,
}

/// What is known of a task from one side, in a fixed number of bytes.
pub(super) trait Fact: Copy {
    const BYTES: usize;
    fn key(&self) -> TaskKey;
    /// Where the whole of it lies; facts of one task keep this order.
    fn position(&self) -> u64;
    /// Exactly `BYTES` bytes.
    fn encode(&self, bytes: &mut Vec<u8>);
    fn decode(bytes: &mut Bytes<'_>) -> Self;
}

/// Reads numbers off the bytes of one fact.
pub(super) struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) =
            self.0.split_first_chunk().expect("invariant: a fact decodes as many bytes as it encodes");
        self.0 = rest;
        *head
    }
}

fn order<F: Fact>(fact: &F) -> (TaskKey, u64) {
    (fact.key(), fact.position())
}

#[derive(Debug)]
pub(super) struct Sorter<F> {
    dir: PathBuf,
    buffer: Vec<F>,
    buffer_max: usize,
    runs: Vec<File>,
}

impl<F: Fact> Sorter<F> {
    /// Spills, when it must, to the filesystem of `dir`. On one that lies in memory nothing would be gained.
    pub(super) fn new(dir: &Path, buffer_max: usize) -> Self {
        Self { dir: dir.to_owned(), buffer: Vec::new(), buffer_max, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, fact: F) -> Result<(), SpillError> {
        if self.buffer.len() >= self.buffer_max {
            self.spill()?;
        }
        self.buffer.push(fact);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn overlook_one(&mut self) {
        self.buffer.pop();
    }

    fn spill(&mut self) -> Result<(), SpillError> {
        self.buffer.sort_unstable_by_key(order);
        let file = write_run(&self.dir, &self.buffer);
        self.runs.push(file.map_err(|source| SpillError { dir: self.dir.clone(), source })?);
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn sorted(mut self) -> Result<Sorted<F>, SpillError> {
        self.buffer.sort_unstable_by_key(order);
        let mut runs: Vec<Run<F>> = self.runs.into_iter().map(Run::spilled).collect();
        runs.push(Run::Held(self.buffer.into_iter()));
        let mut sorted =
            Sorted { dir: self.dir, heads: BinaryHeap::new(), next: vec![None; runs.len()], runs };
        (0..sorted.runs.len()).try_for_each(|run| sorted.refill(run))?;
        Ok(sorted)
    }
}

fn write_run<F: Fact>(dir: &Path, facts: &[F]) -> std::io::Result<File> {
    let mut file = BufWriter::with_capacity(READ_BUFFER_BYTES, tempfile::tempfile_in(dir)?);
    let mut bytes = Vec::with_capacity(F::BYTES);
    for fact in facts {
        bytes.clear();
        fact.encode(&mut bytes);
        file.write_all(&bytes)?;
    }
    let mut file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

#[derive(Debug)]
enum Run<F> {
    Held(std::vec::IntoIter<F>),
    Spilled { file: BufReader<File>, bytes: Vec<u8> },
}

impl<F: Fact> Run<F> {
    fn spilled(file: File) -> Self {
        Self::Spilled { file: BufReader::with_capacity(READ_BUFFER_BYTES, file), bytes: vec![0; F::BYTES] }
    }

    fn next(&mut self) -> std::io::Result<Option<F>> {
        match self {
            Self::Held(facts) => Ok(facts.next()),
            Self::Spilled { file, bytes } => {
                if file.fill_buf()?.is_empty() {
                    return Ok(None);
                }
                file.read_exact(bytes)?;
                Ok(Some(F::decode(&mut Bytes(bytes))))
            }
        }
    }
}

/// All facts, in the order of their tasks.
#[derive(Debug)]
pub(super) struct Sorted<F> {
    dir: PathBuf,
    runs: Vec<Run<F>>,
    /// The first fact of each run that was not yet handed out.
    next: Vec<Option<F>>,
    heads: BinaryHeap<Reverse<(TaskKey, u64, usize)>>,
}

impl<F: Fact> Sorted<F> {
    fn refill(&mut self, run: usize) -> Result<(), SpillError> {
        let fact = self.runs[run].next().map_err(|source| SpillError { dir: self.dir.clone(), source })?;
        if let Some(fact) = fact {
            self.heads.push(Reverse((fact.key(), fact.position(), run)));
        }
        self.next[run] = fact;
        Ok(())
    }

    pub(super) fn peek(&self) -> Option<TaskKey> {
        self.heads.peek().map(|Reverse((key, _, _))| *key)
    }

    /// Moves all facts of this task, which must be the first one left, into `facts`.
    pub(super) fn take(&mut self, key: TaskKey, facts: &mut Vec<F>) -> Result<(), SpillError> {
        facts.clear();
        while self.peek() == Some(key) {
            let Some(Reverse((_, _, run))) = self.heads.pop() else { break };
            facts.extend(self.next[run]);
            self.refill(run)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn decode<F: Fact>(bytes: &[u8]) -> F {
    F::decode(&mut Bytes(bytes))
}
