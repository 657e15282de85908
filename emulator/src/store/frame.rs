//! Records in a file, each with the check sums that tell a torn end from damage.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::StoreError;

/// The first bytes of every file: what it is, and in which format.
pub(super) const MAGIC: &[u8; 8] = b"emulog01";
/// Length, check sum of the length, check sum of the record.
const HEADER_BYTES: usize = 12;

/// More than the length of a record can say.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {0} bytes is longer than a journal takes")]
pub(super) struct TooLong(usize);

/// Adds one record.
///
/// # Errors
/// A record that is too long; then nothing was added.
pub(super) fn write(record: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = length_of(record.len())?.to_le_bytes();
    out.extend(length);
    out.extend(crc32fast::hash(&length).to_le_bytes());
    out.extend(crc32fast::hash(record).to_le_bytes());
    out.extend(record);
    Ok(())
}

fn length_of(bytes: usize) -> Result<u32, TooLong> {
    u32::try_from(bytes).map_err(|_| TooLong(bytes))
}

/// What one step over a file found.
enum Step {
    Record(Vec<u8>),
    End,
    /// The file ends within a record, or in nothing but zeros: what a crash in the middle of a write leaves.
    Torn,
    Damaged(&'static str),
}

/// Reads all records of a file and returns how many of its bytes are good. Only the newest file may be torn.
///
/// # Errors
/// Damage, or what `each` says of a record.
pub(super) fn scan(
    path: &Path,
    is_newest: bool,
    mut each: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<u64, StoreError> {
    let io = |source| StoreError::Io { what: "read", path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    let mut reader = BufReader::new(file);
    let damaged = |offset: u64, reason: &str| StoreError::Damaged {
        path: path.to_path_buf(),
        offset,
        reason: reason.to_owned(),
    };
    let mut magic = Vec::new();
    reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
    if magic != MAGIC {
        let is_torn = is_newest && (MAGIC.starts_with(&magic) || magic.iter().all(|byte| *byte == 0));
        return if is_torn { Ok(0) } else { Err(damaged(0, "not a journal of this format")) };
    }
    let mut good = MAGIC.len() as u64;
    loop {
        match step(&mut reader, total - good).map_err(io)? {
            Step::Record(record) => {
                each(&record).map_err(|reason| damaged(good, &reason))?;
                good += (HEADER_BYTES + record.len()) as u64;
            }
            Step::End => return Ok(good),
            Step::Torn if is_newest => return Ok(good),
            Step::Torn => return Err(damaged(good, "a file that has a successor ends within a record")),
            Step::Damaged(reason) => return Err(damaged(good, reason)),
        }
    }
}

fn step(reader: &mut impl Read, left: u64) -> std::io::Result<Step> {
    if left == 0 {
        return Ok(Step::End);
    }
    if left < HEADER_BYTES as u64 {
        return Ok(Step::Torn);
    }
    let mut header = [0; HEADER_BYTES];
    reader.read_exact(&mut header)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = word(0);
    if word(4) != crc32fast::hash(&header[..4]) {
        let is_blank = header.iter().all(|byte| *byte == 0) && only_zeros(reader)?;
        return Ok(if is_blank {
            Step::Torn
        } else {
            Step::Damaged("a length does not match its check sum")
        });
    }
    // What is read into memory is bounded by what is there: an object that was uploaded in parts may be of any size.
    let behind = left - HEADER_BYTES as u64;
    if u64::from(length) > behind {
        return Ok(Step::Torn);
    }
    let mut record = vec![0; length as usize];
    reader.read_exact(&mut record)?;
    if word(8) == crc32fast::hash(&record) {
        return Ok(Step::Record(record));
    }
    // The last record may have been written in part, its blocks in any order.
    let is_last = u64::from(length) == behind;
    Ok(if is_last { Step::Torn } else { Step::Damaged("a record does not match its check sum") })
}

fn only_zeros(reader: &mut impl Read) -> std::io::Result<bool> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest)?;
    Ok(rest.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[&[u8]]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        records.iter().for_each(|record| write(record, &mut bytes).unwrap());
        bytes
    }

    /// The records read, and how many bytes were good.
    fn read(bytes: &[u8], is_newest: bool) -> Result<(Vec<Vec<u8>>, u64), StoreError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        std::fs::write(&path, bytes).unwrap();
        let mut records = Vec::new();
        let good = scan(&path, is_newest, |record| {
            records.push(record.to_vec());
            Ok(())
        })?;
        Ok((records, good))
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_whole_records_before_the_cut() {
        let bytes = file(&[b"one", b"", b"three"]);
        let ends = [8, 8 + 15, 8 + 15 + 12, bytes.len()];
        for cut in 0..=bytes.len() {
            let (records, good) = read(&bytes[..cut], true).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(records.len(), whole.saturating_sub(1), "cut at {cut}");
            assert_eq!(good, if whole == 0 { 0 } else { ends[whole - 1] as u64 }, "cut at {cut}");
        }
    }

    #[test]
    fn a_record_larger_than_any_request_is_read_back_and_only_one_without_a_length_is_refused() {
        let large = vec![7; 80 * 1024 * 1024 + 1];
        let (records, _) = read(&file(&[&large, b"behind"]), false).unwrap();
        assert!(records == [large, b"behind".to_vec()]);
        let longest = u32::MAX as usize;
        assert_eq!(length_of(longest), Ok(u32::MAX));
        assert_eq!(length_of(longest + 1), Err(TooLong(longest + 1)));
    }

    #[test]
    fn a_flipped_bit_before_the_last_record_is_damage_and_never_a_shorter_file() {
        let bytes = file(&[b"one", b"two", b"three"]);
        for at in 0..8 + 2 * 15 {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let outcome = read(&flipped, true);
                assert!(
                    matches!(outcome, Err(StoreError::Damaged { .. })),
                    "byte {at}, bit {bit}: {outcome:?}"
                );
            }
        }
    }

    #[test]
    fn an_end_of_zeros_is_torn_and_a_torn_file_with_a_successor_is_damage() {
        let mut bytes = file(&[b"one"]);
        bytes.extend([0; 4096]);
        assert_eq!(read(&bytes, true).unwrap(), (vec![b"one".to_vec()], 8 + 15));
        assert!(matches!(read(&bytes, false), Err(StoreError::Damaged { offset: 23, .. })));
        assert!(matches!(read(&bytes[..20], false), Err(StoreError::Damaged { offset: 8, .. })));
    }
}
