//! Whether Lambda's `provided.al2023` can start a binary. One that it cannot is accepted by every API, and fails at its first event.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use elf::abi::{EM_AARCH64, EM_X86_64, SHT_GNU_VERNEED, VER_FLG_WEAK};
use elf::endian::AnyEndian;
use elf::gnu_symver::VerNeedIterator;
use elf::{ElfBytes, ParseError};

use crate::error::StackError;

/// glibc of Amazon Linux 2023.
const GLIBC: Version = Version(2, 34);
/// How the versions of glibc's symbols begin.
const GLIBC_SYMBOLS: &str = "GLIBC_";
/// `GLIBC_ABI_DT_RELR` was the first that is a demand instead of a number.
const OF_THE_FIRST_ABI: Version = Version(2, 36);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    /// Of `2.34` or `2.2.5`: what comes third has never decided.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a binary asks of the machine that starts it.
#[derive(Debug, PartialEq, Eq)]
struct Needs {
    /// As the variable `architecture` of the modules names it.
    architecture: &'static str,
    /// None where it is linked statically.
    glibc: Option<Version>,
}

/// The architecture of a binary that can be started there.
pub(crate) fn architecture(binary: &Path) -> Result<&'static str, StackError> {
    let bytes = std::fs::read(binary).map_err(StackError::io("read", binary))?;
    let unfit = |reason| StackError::NotForLambda { binary: binary.to_path_buf(), reason };
    let needs = needs(&bytes).map_err(unfit)?;
    fits(&needs).map_err(unfit)?;
    Ok(needs.architecture)
}

fn fits(needs: &Needs) -> Result<(), String> {
    match needs.glibc {
        Some(glibc) if glibc > GLIBC => {
            Err(format!("it was linked against glibc {glibc}, and provided.al2023 has {GLIBC}"))
        }
        _ => Ok(()),
    }
}

fn needs(bytes: &[u8]) -> Result<Needs, String> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(bytes)
        .map_err(|error| format!("it is not a program for Linux ({error})"))?;
    let architecture = match file.ehdr.e_machine {
        EM_X86_64 => "x86_64",
        EM_AARCH64 => "arm64",
        other => return Err(format!("Lambda has no machine of ELF's type {other}")),
    };
    let glibc = newest_glibc(&file).map_err(|error| format!("its symbols cannot be read ({error})"))?;
    Ok(Needs { architecture, glibc })
}

/// What the loader compares, whether or not a symbol has that version.
fn newest_glibc(file: &ElfBytes<'_, AnyEndian>) -> Result<Option<Version>, ParseError> {
    let Some(sections) = file.section_headers() else { return Ok(None) };
    let Some(needs) = sections.iter().find(|section| section.sh_type == SHT_GNU_VERNEED) else {
        return Ok(None);
    };
    let names = file.section_data_as_strtab(&sections.get(needs.sh_link as usize)?)?;
    let (data, _) = file.section_data(&needs)?;
    let (endian, class, count) = (file.ehdr.endianness, file.ehdr.class, u64::from(needs.sh_info));
    let mut newest = None;
    for (_, versions) in VerNeedIterator::new(endian, class, count, 0, data) {
        // The loader goes on without what is only weakly needed.
        for version in versions.filter(|version| version.vna_flags & VER_FLG_WEAK == 0) {
            let name = names.get(version.vna_name as usize)?.strip_prefix(GLIBC_SYMBOLS);
            newest = newest.max(name.map(|name| Version::parse(name).unwrap_or(OF_THE_FIRST_ABI)));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needing(glibc: Option<Version>) -> Needs {
        Needs { architecture: "arm64", glibc }
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_program_tells_its_architecture_and_the_glibc_that_it_needs() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&this).unwrap();
        assert_eq!(needs.architecture, if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" });
        // Of threads, which the standard library starts.
        assert!(needs.glibc >= Some(Version(2, 14)), "{needs:?}");
    }

    #[test]
    fn glibc_may_be_older_than_the_one_there_and_not_newer() {
        for fit in [None, Version::parse("2.2.5"), Version::parse("2.34")] {
            assert_eq!(fits(&needing(fit)), Ok(()), "{fit:?}");
        }
        let newer = fits(&needing(Version::parse("2.38")));
        assert_eq!(newer.unwrap_err(), "it was linked against glibc 2.38, and provided.al2023 has 2.34");
    }

    #[test]
    fn what_is_no_program_for_linux_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("submit-task");
        for bytes in [&b"\xcf\xfa\xed\xfe of macOS"[..], b"#!/bin/sh\n", b""] {
            std::fs::write(&binary, bytes).unwrap();
            let refused = architecture(&binary).unwrap_err().to_string();
            assert!(
                refused.contains("submit-task") && refused.contains("not a program for Linux"),
                "{refused}"
            );
        }
    }
}
