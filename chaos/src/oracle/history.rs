//! Whether a task's recorded life is one that a task may have.

use loadtest::TaskStatus;

use super::Record;

/// The first illegal step, in words.
pub(super) fn illegal_step(history: &[String]) -> Option<String> {
    let mut before: Option<Step> = None;
    for line in history {
        let Some(step) = parse(line) else { return Some(format!("{line:?} is no step of a history")) };
        if let Some(problem) = problem(before, step) {
            return Some(problem);
        }
        before = Some(step);
    }
    None
}

#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) version: u64,
    pub(super) status: TaskStatus,
    pub(super) at_ms: u64,
}

pub(super) fn parse(line: &str) -> Option<Step> {
    let mut parts = line.split(' ');
    let step = Step {
        version: parts.next()?.parse().ok()?,
        status: status(parts.next()?)?,
        at_ms: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(step)
}

/// Asked for every step of every task: no allocation.
fn status(name: &str) -> Option<TaskStatus> {
    match name {
        "queued" => Some(TaskStatus::Queued),
        "running" => Some(TaskStatus::Running),
        "succeeded" => Some(TaskStatus::Succeeded),
        "dead_lettered" => Some(TaskStatus::DeadLettered),
        _ => None,
    }
}

fn problem(before: Option<Step>, step: Step) -> Option<String> {
    let Some(before) = before else {
        return (step.version != 1 || step.status != TaskStatus::Queued)
            .then(|| format!("begins with version {} {:?}", step.version, step.status));
    };
    if step.version != before.version + 1 {
        return Some(format!("version {} follows {}", step.version, before.version));
    }
    if step.at_ms < before.at_ms {
        return Some(format!("version {} is earlier than {}", step.version, before.version));
    }
    (!is_legal(before.status, step.status)).then(|| format!("{:?} follows {:?}", step.status, before.status))
}

/// A second claim follows a first whose lease ran out; a dead letter runs again when it is moved back.
fn is_legal(from: TaskStatus, to: TaskStatus) -> bool {
    use TaskStatus::{DeadLettered, Queued, Running, Succeeded};
    matches!(
        (from, to),
        (Queued, Running | DeadLettered)
            | (Running, Running | Queued | Succeeded | DeadLettered)
            | (DeadLettered, Running)
    )
}

/// When a worker first began with it.
pub fn begun_at_ms(record: &Record) -> Option<u64> {
    let mut steps = record.history.iter().filter_map(|line| parse(line));
    steps.find(|step| step.status == TaskStatus::Running).map(|step| step.at_ms)
}

/// How often the history says that the task succeeded.
pub(super) fn successes(history: &[String]) -> usize {
    history.iter().filter_map(|line| parse(line)).filter(|step| step.status == TaskStatus::Succeeded).count()
}

/// The readable steps of a task's life: what it became, and when.
pub fn steps(record: &Record) -> impl Iterator<Item = (TaskStatus, u64)> {
    record.history.iter().filter_map(|line| parse(line)).map(|step| (step.status, step.at_ms))
}
