//! Deployment packages: checked, bounded, unpacked to a private directory.

use std::fs;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::error::LambdaError;

/// AWS quota: the package with its layers, unpacked.
const UNZIPPED_MAX_BYTES: u64 = 262_144_000;
/// Not an AWS quota: an archive of empty files must not fill the disk's inodes.
const ENTRIES_MAX: usize = 20_000;

/// One unpacked package. The directory goes away with the last version that uses it.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) directory: PathBuf,
    pub(crate) sha256: String,
    pub(crate) size: usize,
}

impl Code {
    /// Unpacks `zip` below `root` into a directory that nobody else can enter.
    pub(crate) fn unpack(root: &Path, zip: &[u8]) -> Result<Self, LambdaError> {
        let sha256 = STANDARD.encode(Sha256::digest(zip));
        let directory = root.join(format!("code-{}", uuid::Uuid::new_v4().simple()));
        private_directory(&directory).map_err(storage)?;
        let code = Self { directory, sha256, size: zip.len() };
        // From here on a failure drops `code`, and with it what was written.
        code.write_entries(zip)?;
        Ok(code)
    }

    fn write_entries(&self, zip: &[u8]) -> Result<(), LambdaError> {
        let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| unreadable())?;
        if archive.len() > ENTRIES_MAX {
            return Err(LambdaError::invalid_parameter(format!(
                "The package has more than {ENTRIES_MAX} entries."
            )));
        }
        let mut left = UNZIPPED_MAX_BYTES;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(|_| unreadable())?;
            // `enclosed_name` is None for absolute paths and for any that climbs out ("zip slip").
            let name = entry.enclosed_name().ok_or_else(unreadable)?;
            let mode = entry.unix_mode().unwrap_or(0o644);
            if entry.is_symlink() {
                return Err(unreadable());
            }
            let path = self.directory.join(name);
            if entry.is_dir() {
                fs::create_dir_all(&path).map_err(unwritten)?;
                continue;
            }
            left = write_file(&mut entry, &path, mode, left)?;
        }
        Ok(())
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, directory = %self.directory.display(), "unpacked code was not removed");
        }
    }
}

/// Copies one entry, never more than `left` bytes whatever the archive claims; returns what is left.
fn write_file(entry: &mut impl Read, path: &Path, mode: u32, left: u64) -> Result<u64, LambdaError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(unwritten)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // The owner can always read and replace it; the executable bits are the package's own.
        .mode((mode & 0o755) | 0o600)
        .open(path)
        .map_err(unwritten)?;
    let written = std::io::copy(&mut entry.take(left + 1), &mut file).map_err(|_| unreadable())?;
    file.flush().map_err(storage)?;
    left.checked_sub(written).ok_or_else(|| {
        LambdaError::invalid_parameter(format!(
            "Unzipped size must be smaller than {UNZIPPED_MAX_BYTES} bytes"
        ))
    })
}

/// Makes a directory that only this user can enter.
pub(crate) fn private_directory(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn unreadable() -> LambdaError {
    LambdaError::invalid_parameter(
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )
}

/// Of an entry: its name may be too long, and what is a file in one entry a directory in another.
fn unwritten(error: std::io::Error) -> LambdaError {
    match error.kind() {
        ErrorKind::AlreadyExists
        | ErrorKind::InvalidFilename
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory => unreadable(),
        _ => storage(error),
    }
}

fn storage(error: std::io::Error) -> LambdaError {
    LambdaError::service(format!("the package could not be stored: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn the_executable_bit_survives_and_the_directory_is_private() {
        let root = tempfile::tempdir().unwrap();
        let code =
            Code::unpack(root.path(), &archive(&[("bootstrap", 0o755, b"x"), ("a/b", 0o644, b"y")])).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_ne!(mode(&code.directory.join("bootstrap")) & 0o100, 0);
        assert_eq!(mode(&code.directory.join("a/b")) & 0o111, 0);
        assert_eq!(mode(&code.directory) & 0o077, 0);
        let directory = code.directory.clone();
        drop(code);
        assert!(!directory.exists());
    }

    #[test]
    fn a_package_cannot_write_outside_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let error = Code::unpack(root.path(), &archive(&[("../escaped", 0o644, b"x")])).unwrap_err();
        assert_eq!((error.status, error.code), (400, "InvalidParameterValueException"));
        assert!(!root.path().join("escaped").exists());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn entries_that_no_directory_can_hold_are_refused_like_any_other_bad_package() {
        let root = tempfile::tempdir().unwrap();
        let long = "x".repeat(256);
        let below = format!("{long}/a");
        for names in [["a", "a/b"], ["a/b", "a"], ["a", "a/b/c"], ["a", long.as_str()], ["a", below.as_str()]]
        {
            let entries = names.map(|name| (name, 0o644, &b"x"[..]));
            let error = Code::unpack(root.path(), &archive(&entries)).unwrap_err();
            assert_eq!((error.status, error.message), (400, unreadable().message), "{names:?}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_archive_is_refused_in_the_words_of_aws() {
        let root = tempfile::tempdir().unwrap();
        let error = Code::unpack(root.path(), b"not a zip").unwrap_err();
        assert!(error.message.starts_with("Could not unzip uploaded file."), "{}", error.message);
    }
}
