//! When the fault-injection extension learns of faults: it polls while an invocation runs, seldom as long as it finds none,
//! often as long as it finds some. What it found last holds until it looks again: faults ramp up and ramp down.

use std::sync::{Mutex, PoisonError};

use super::proxy::variable;
use crate::lambda::faults::Fault;
use crate::lambda::model::FunctionConfig;

const SLOW_INTERVAL: &str = "AWS_FIS_SLOW_POLL_INTERVAL_SECONDS";
const SLOW_SECONDS_DEFAULT: u32 = 60;
/// Less falls back to the default.
const SLOW_SECONDS_MIN: u32 = 20;
/// As long as there are faults.
const HOT_MS: i64 = 20_000;
const WAIT_MAX: &str = "AWS_FIS_POLL_MAX_WAIT_MILLISECONDS";

/// What one extension knows, and when it looks again.
#[derive(Debug)]
pub(crate) struct Poll {
    rhythm: Rhythm,
    last: Mutex<Last>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rhythm {
    slow_ms: i64,
    hot_ms: i64,
    /// The invocation waits for the poll that it begins; else the next one has what is found. A poll takes no time here.
    waits: bool,
}

/// Each invocation looks and waits.
const AT_ONCE: Rhythm = Rhythm { slow_ms: 0, hot_ms: 0, waits: true };

#[derive(Debug, Default)]
struct Last {
    found: Vec<Fault>,
    /// None before the first look.
    again_ms: Option<i64>,
}

impl Rhythm {
    fn of<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Self {
        let number = |name| variable(name).and_then(|text| text.parse::<u32>().ok());
        let slow = number(SLOW_INTERVAL).filter(|seconds| *seconds >= SLOW_SECONDS_MIN);
        Self {
            slow_ms: i64::from(slow.unwrap_or(SLOW_SECONDS_DEFAULT)) * 1_000,
            hot_ms: HOT_MS,
            waits: number(WAIT_MAX).is_some_and(|wait_ms| wait_ms > 0),
        }
    }
}

impl Poll {
    /// In AWS's rhythm, or at once.
    pub(crate) fn of(config: &FunctionConfig, is_aws: bool) -> Self {
        let rhythm = if is_aws { Rhythm::of(|name| variable(config, name)) } else { AT_ONCE };
        Self { rhythm, last: Mutex::default() }
    }

    /// What an invocation that begins now is to be faulted with. `find` is the poll, if one is due; `changed` hears when the
    /// first faults appear and when the last are gone.
    pub(super) fn known(
        &self,
        now_ms: i64,
        find: impl FnOnce() -> Vec<Fault>,
        changed: impl FnOnce(bool),
    ) -> Vec<Fault> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.again_ms.is_some_and(|again_ms| now_ms < again_ms) {
            return last.found.clone();
        }
        let found = find();
        if found.is_empty() != last.found.is_empty() {
            changed(!found.is_empty());
        }
        let interval_ms = if found.is_empty() { self.rhythm.slow_ms } else { self.rhythm.hot_ms };
        // An extension that has just started has looked before the first invocation comes.
        let is_first = last.again_ms.replace(now_ms + interval_ms).is_none();
        let before = std::mem::replace(&mut last.found, found);
        if is_first || self.rhythm.waits { last.found.clone() } else { before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::faults::FaultKind;

    const SLOW_MS: i64 = 60_000;

    fn poll(waits: bool) -> Poll {
        let rhythm = Rhythm { slow_ms: SLOW_MS, hot_ms: HOT_MS, waits };
        Poll { rhythm, last: Mutex::default() }
    }

    fn fault() -> Fault {
        Fault {
            id: "experiment/action".into(),
            action_id: "aws:lambda:invocation-error",
            kind: FaultKind::Error { prevent_execution: true },
            percentage: 100,
            starts_ms: 0,
            ends_ms: i64::MAX,
            qualifier: None,
        }
    }

    /// Whether an invocation at that time is faulted, while faults are published or not.
    fn is_faulted(poll: &Poll, now_ms: i64, is_published: bool) -> bool {
        let published = if is_published { vec![fault()] } else { Vec::new() };
        !poll.known(now_ms, || published, |_| {}).is_empty()
    }

    #[test]
    fn faults_ramp_up_within_the_slow_interval_and_down_within_the_hot_one() {
        let poll = poll(true);
        assert!(!is_faulted(&poll, 0, false));
        assert!(!is_faulted(&poll, SLOW_MS - 1, true), "it has not looked again");
        assert!(is_faulted(&poll, SLOW_MS, true));
        assert!(is_faulted(&poll, SLOW_MS + HOT_MS - 1, false), "it does not know yet");
        assert!(!is_faulted(&poll, SLOW_MS + HOT_MS, false));
        assert!(!is_faulted(&poll, SLOW_MS + 2 * HOT_MS, true), "slow again");
    }

    #[test]
    fn who_does_not_wait_for_the_poll_is_faulted_from_the_next_invocation_on() {
        let poll = poll(false);
        assert!(!is_faulted(&poll, 0, false));
        assert!(!is_faulted(&poll, SLOW_MS, true), "the poll is still under way");
        assert!(is_faulted(&poll, SLOW_MS, true));
    }

    #[test]
    fn at_once_every_invocation_looks_and_a_change_is_told_once() {
        let poll = Poll { rhythm: AT_ONCE, last: Mutex::default() };
        let mut told = Vec::new();
        for is_published in [false, true, true, false, false] {
            let published = if is_published { vec![fault()] } else { Vec::new() };
            let known = poll.known(0, || published, |any| told.push(any));
            assert_eq!(!known.is_empty(), is_published);
        }
        assert_eq!(told, [true, false]);
    }

    #[test]
    fn the_slow_interval_is_the_functions_own_unless_it_is_too_short() {
        for (seconds, slow_ms) in
            [(None, SLOW_MS), (Some("20"), 20_000), (Some("19"), SLOW_MS), (Some("soon"), SLOW_MS)]
        {
            let rhythm = Rhythm::of(|name| seconds.filter(|_| name == SLOW_INTERVAL));
            assert_eq!(rhythm, Rhythm { slow_ms, hot_ms: HOT_MS, waits: false }, "{seconds:?}");
        }
        assert!(Rhythm::of(|name| (name == WAIT_MAX).then_some("500")).waits);
    }
}
