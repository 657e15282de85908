//! The limit of open files: a socket for each owner, and those that annoy, are beyond the 1,024 that a shell grants at first.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What macOS takes at the most where it says that there is no end.
const OPEN_MAX: u64 = 10_240;

/// Raises it as far as this user may.
pub fn raise() -> std::io::Result<()> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let mut raised = Ok(());
    for limit in to_try(now, most) {
        raised = setrlimit(Resource::RLIMIT_NOFILE, limit, most);
        if raised.is_ok() {
            break;
        }
    }
    raised.map_err(std::io::Error::from)
}

/// The best first. None is below what there is.
fn to_try(now: u64, most: u64) -> Vec<u64> {
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
        assert_eq!(to_try(1_024, 524_288), [524_288, OPEN_MAX]);
        assert_eq!(to_try(256, u64::MAX), [u64::MAX, OPEN_MAX]);
        assert_eq!(to_try(1_024, 4_096), [4_096]);
        assert_eq!(to_try(20_000, 524_288), [524_288]);
        assert_eq!(to_try(4_096, 4_096), [0_u64; 0]);
    }
}
