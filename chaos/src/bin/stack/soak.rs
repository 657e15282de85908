//! Load for long, on a stack of its own whose tables lie on disk: the emulator's memory must stay as it is.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

use crate::emulator::{self, Ready};
use crate::error::StackError;
use crate::generator::{self, Open};
use crate::lifecycle;
use crate::steps::Steps;
use crate::workdir::{Retention, Workdir};

const STACKS: &str = "target/soak";
const MEMORY: &str = "the emulator's memory";
const OWNERS: u32 = 16;
/// Reached within the first fifth of a run of some minutes, so that the growth up to it is not in the figure.
const RETENTION: Retention = Retention { logs_mib: 2, metric_seconds: 20 };
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Growth from the second fifth of the time to the last: in the first one everything is filled for the first time.
const GROWTH_PERCENT_MAX: f64 = 5.0;
/// A shorter run says little in percent: in its minutes the allocator still settles, by so much whatever the load.
const SETTLED_MINUTES: u32 = 15;
const SETTLING_MIB_MAX: f64 = 5.0;
/// With fewer samples a fifth of them says nothing.
const SAMPLES_MIN: usize = 25;

pub(crate) fn run(
    steps: &Steps,
    minutes: u32,
    rate: u32,
    place: Option<&Path>,
) -> Result<ExitCode, StackError> {
    // Before the load, which without it would be for nothing.
    if emulator::memory_mib(Pid::this()).is_none() {
        let reason = "neither /proc nor ps tells the memory of a process here".to_owned();
        return Err(StackError::Unreadable { what: MEMORY, reason });
    }
    let dir = place.unwrap_or(Path::new(STACKS)).join(std::process::id().to_string());
    let workdir = Workdir::at(&dir)?.keeping_state().keeping_only(RETENTION);
    let load = Open { rate, seconds: minutes * 60, owners: OWNERS };
    let mut samples = Vec::new();
    let soaked = soak(steps, &workdir, &load, &mut samples);
    if soaked.is_err() {
        lifecycle::abandon(&workdir);
        // Gigabytes in which nobody looks for anything; the logs stay.
        workdir.remove_data()?;
    }
    // Of a load that failed as well: it says whether the memory is a part of why.
    let is_met = growth(&samples).map(|growth| report(&growth, minutes, rate));
    soaked?;
    let is_met = is_met.ok_or_else(|| StackError::Unreadable {
        what: MEMORY,
        reason: format!("{} samples, at least {SAMPLES_MIN} are needed", samples.len()),
    })?;
    Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says how the memory was, and whether that is good enough.
fn report(growth: &Growth, minutes: u32, rate: u32) -> bool {
    let is_met = growth.is_met(minutes);
    println!(
        "\n{rate} tasks per second for {minutes} min: \
         {:.1} MiB, then {:.1} MiB: {:+.1} %, at most {GROWTH_PERCENT_MAX} %{}{}",
        growth.before_mib,
        growth.after_mib,
        growth.percent(),
        if minutes < SETTLED_MINUTES {
            format!(" or {SETTLING_MIB_MAX} MiB in less than {SETTLED_MINUTES} min")
        } else {
            String::new()
        },
        if is_met { "" } else { " (missed)" }
    );
    is_met
}

fn soak(steps: &Steps, workdir: &Workdir, load: &Open, samples: &mut Vec<f64>) -> Result<(), StackError> {
    lifecycle::up(steps, workdir)?;
    let ready = Ready::read(workdir).ok_or_else(|| StackError::NotUp(workdir.path().to_path_buf()))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&ready, &is_over));
        let endured = generator::endure(steps, workdir, load);
        is_over.store(true, Ordering::Relaxed);
        sampler.thread().unpark();
        *samples = sampler.join().unwrap_or_default();
        endured
    })?;
    lifecycle::destroy(steps, workdir)
}

fn sample(ready: &Ready, is_over: &AtomicBool) -> Vec<f64> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        samples.extend(ready.memory_mib());
        thread::park_timeout(SAMPLE_INTERVAL);
    }
    samples
}

struct Growth {
    before_mib: f64,
    after_mib: f64,
}

impl Growth {
    fn percent(&self) -> f64 {
        (self.after_mib / self.before_mib - 1.0) * 100.0
    }

    fn is_met(&self, minutes: u32) -> bool {
        let is_settling = minutes < SETTLED_MINUTES && self.after_mib - self.before_mib <= SETTLING_MIB_MAX;
        self.percent() <= GROWTH_PERCENT_MAX || is_settling
    }
}

fn growth(samples: &[f64]) -> Option<Growth> {
    let fifth = samples.len() / 5;
    (samples.len() >= SAMPLES_MIN).then(|| Growth {
        before_mib: median(&samples[fifth..2 * fifth]),
        after_mib: median(&samples[samples.len() - fifth..]),
    })
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_seen_and_a_warm_up_is_not() {
        let leak: Vec<f64> = (0..100).map(|second| 50.0 + f64::from(second) / 10.0).collect();
        assert!(!growth(&leak).unwrap().is_met(2));
        let warm_up: Vec<f64> = (0..100).map(|second| if second < 15 { 20.0 } else { 50.0 }).collect();
        assert!(growth(&warm_up).unwrap().is_met(60));
        let settling: Vec<f64> = (0..100).map(|second| 50.0 + f64::from(second) / 20.0).collect();
        assert!(growth(&settling).unwrap().is_met(2));
        assert!(!growth(&settling).unwrap().is_met(60), "in an hour it settles in the first fifth");
        assert!(growth(&leak[..SAMPLES_MIN - 1]).is_none(), "too few to say");
    }
}
