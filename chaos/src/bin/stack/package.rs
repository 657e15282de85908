//! Function binaries into zips, the same bytes for the same binary.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::al2023;
use crate::error::StackError;
use crate::workdir::function;

/// The functions, by package name.
pub(crate) const FUNCTIONS: [&str; 6] =
    ["authorizer", "submit-task", "list-tasks", "process-task", "websocket", "audit-dead-letters"];
/// The worker of the positive controls, packaged where it was built.
const SABOTAGED: &str = "process-task-sabotaged";
/// What the `provided` runtimes start.
const ENTRY: &str = "bootstrap";
/// Lambda refuses an entry that may not be executed.
const EXECUTABLE: u32 = 0o755;
/// Size on the wire against time to pack; the last levels gain under a percent.
const LEVEL: i64 = 6;

/// The same for AWS: all of one architecture, which is the one of this machine, and none that fails at its start there.
pub(crate) fn for_lambda(into: &Path) -> Result<(), StackError> {
    let mut architecture = "";
    for name in FUNCTIONS {
        architecture = al2023::architecture(&function(name)?)?;
    }
    let into = functions(into)?;
    println!(
        "{} zips, to be deployed with architecture = \"{architecture}\": {}",
        FUNCTIONS.len(),
        into.display()
    );
    Ok(())
}

/// Zips every function that was built into `into`; returns the folder.
pub(crate) fn functions(into: &Path) -> Result<PathBuf, StackError> {
    std::fs::create_dir_all(into).map_err(StackError::io("create", into))?;
    for name in FUNCTIONS {
        one(&function(name)?, &into.join(format!("{name}.zip")))?;
    }
    if let Ok(binary) = function(SABOTAGED) {
        one(&binary, &into.join(format!("{SABOTAGED}.zip")))?;
    }
    std::path::absolute(into).map_err(StackError::io("resolve", into))
}

/// Packs whatever is there: a zip that is newer than the binary may be of another build, and packing takes moments.
fn one(binary: &Path, zip: &Path) -> Result<(), StackError> {
    let bytes = std::fs::read(binary).map_err(StackError::io("read", binary))?;
    // Written under another name first: a run beside this one never sees half a zip.
    let draft = zip.with_extension(format!("zip.{}", std::process::id()));
    write(&bytes, &draft).map_err(StackError::io("write", &draft))?;
    std::fs::rename(&draft, zip).map_err(StackError::io("write", zip))
}

fn write(bytes: &[u8], path: &Path) -> std::io::Result<()> {
    // A fixed time stamp: the hash of the zip, and so Terraform's plan, depends on the binary alone.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL))
        .last_modified_time(DateTime::default())
        .unix_permissions(EXECUTABLE);
    let mut writer = ZipWriter::new(File::create(path)?);
    writer.start_file(ENTRY, options)?;
    writer.write_all(bytes)?;
    writer.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_same_binary_makes_the_same_zip() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a.zip"), dir.path().join("b.zip"));
        write(b"\x7fELF", &first).unwrap();
        write(b"\x7fELF", &second).unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        let mut archive = zip::ZipArchive::new(File::open(&first).unwrap()).unwrap();
        let entry = archive.by_name(ENTRY).unwrap();
        assert_eq!(entry.unix_mode().unwrap() & 0o777, EXECUTABLE);
    }

    #[test]
    fn a_binary_that_is_older_than_the_zip_of_another_build_is_packed() {
        let dir = tempfile::tempdir().unwrap();
        let (binary, packed) = (dir.path().join("worker"), dir.path().join("worker.zip"));
        std::fs::write(&binary, "one build").unwrap();
        one(&binary, &packed).unwrap();
        std::fs::write(&binary, "another build").unwrap();
        File::options().write(true).open(&binary).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        one(&binary, &packed).unwrap();
        let mut archive = zip::ZipArchive::new(File::open(&packed).unwrap()).unwrap();
        let entry = archive.by_name(ENTRY).unwrap();
        assert_eq!(std::io::read_to_string(entry).unwrap(), "another build");
    }
}
