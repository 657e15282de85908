//! `emulator up`: see the library.

use std::time::Duration;

use clap::Parser;
use emulator::cli::{Cli, run};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

/// A task is some thousand small allocations in a process with as many threads as the machine: the system's allocator took
/// a fifth of the emulator's time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Warnings by default: an unknown call is one, and must be seen.
const DEFAULT_FILTER: &str = "warn";

/// Four calls on tables at a time, and what sweeps, unpacks and compacts. Every thread keeps memory that others cannot use, so
/// that there are few and they stay.
const BLOCKING_THREADS_MAX: usize = 8;
const BLOCKING_THREADS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What macOS takes at the most where it says that there is no end.
const OPEN_MAX: u64 = 10_240;

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREADS_KEPT)
        .build()?;
    Ok(runtime.block_on(run(Cli::parse()))?)
}

/// As far as this user may. An environment is a listener, a pipe and some connections here: of the 1,024 files that a shell
/// grants at first, a few hundred environments have none left.
fn raise_open_files() {
    if let Err(error) = try_to_raise_open_files() {
        tracing::warn!(%error, "the limit of open files was not raised");
    }
}

fn try_to_raise_open_files() -> nix::Result<()> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let mut raised = Ok(());
    for limit in open_files_to_try(now, most) {
        raised = setrlimit(Resource::RLIMIT_NOFILE, limit, most);
        if raised.is_ok() {
            break;
        }
    }
    raised
}

/// The best first. None is below what there is.
fn open_files_to_try(now: u64, most: u64) -> Vec<u64> {
    let mut limits = vec![most, most.min(OPEN_MAX)];
    limits.dedup();
    limits.retain(|limit| *limit > now);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_had_is_tried_before_less_and_nothing_that_lowers_the_limit() {
        assert_eq!(open_files_to_try(1_024, 524_288), [524_288, OPEN_MAX]);
        assert_eq!(open_files_to_try(256, u64::MAX), [u64::MAX, OPEN_MAX]);
        assert_eq!(open_files_to_try(1_024, 4_096), [4_096]);
        assert_eq!(open_files_to_try(20_000, 524_288), [524_288]);
        assert_eq!(open_files_to_try(4_096, 4_096), [0_u64; 0]);
    }
}
