//! The states of a task and the one function that moves between them.

use serde_json::Value;

use crate::id::LeaseToken;
use crate::time::EpochMs;
use crate::wire::{Status, TaskError};

/// The right to work on a task until a moment. Whoever holds a later token has fenced this one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub token: LeaseToken,
    pub until: EpochMs,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TaskState {
    Queued,
    Running(Lease),
    Succeeded { result: Value },
    DeadLettered,
}

impl TaskState {
    pub const fn status(&self) -> Status {
        match self {
            Self::Queued => Status::Queued,
            Self::Running(_) => Status::Running,
            Self::Succeeded { .. } => Status::Succeeded,
            Self::DeadLettered => Status::DeadLettered,
        }
    }

    pub const fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Running(lease) => Some(lease),
            _ => None,
        }
    }
}

/// Who says that a task is dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// The worker whose last attempt failed.
    Holder(LeaseToken),
    /// The auditor, which found the message in the dead-letter queue.
    Auditor,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Claim(Lease),
    /// The holder is still at it.
    Extend(Lease),
    Succeed {
        token: LeaseToken,
        result: Value,
    },
    /// An attempt failed and another will follow.
    GiveBack {
        token: LeaseToken,
        error: TaskError,
    },
    DeadLetter {
        judge: Judge,
        error: TaskError,
    },
}

/// Why an event does not apply. Not an error of anyone: the loser of a race gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the task has already succeeded")]
    AlreadySucceeded,
    #[error("the task is already dead-lettered")]
    AlreadyDeadLettered,
    #[error("another worker holds the lease")]
    LeaseHeld { until: EpochMs },
    #[error("the lease was lost to another worker")]
    LeaseLost,
}

/// The one function that moves a task.
pub fn apply(state: &TaskState, event: &Event, now: EpochMs) -> Result<TaskState, Refused> {
    match event {
        Event::Claim(lease) => claim(state, lease, now),
        Event::Extend(lease) => {
            let held = held_by(state, lease.token)?;
            Ok(TaskState::Running(Lease { until: lease.until.max(held.until), ..*lease }))
        }
        Event::Succeed { token, result } => {
            held_by(state, *token)?;
            Ok(TaskState::Succeeded { result: result.clone() })
        }
        Event::GiveBack { token, .. } => {
            held_by(state, *token)?;
            Ok(TaskState::Queued)
        }
        Event::DeadLetter { judge, .. } => dead_letter(state, *judge, now),
    }
}

fn claim(state: &TaskState, lease: &Lease, now: EpochMs) -> Result<TaskState, Refused> {
    match state {
        TaskState::Running(held) if now < held.until => Err(Refused::LeaseHeld { until: held.until }),
        // Dead-lettered and delivered again: its message was redriven.
        TaskState::Queued | TaskState::DeadLettered | TaskState::Running(_) => Ok(TaskState::Running(*lease)),
        TaskState::Succeeded { .. } => Err(Refused::AlreadySucceeded),
    }
}

fn held_by(state: &TaskState, token: LeaseToken) -> Result<&Lease, Refused> {
    match state {
        // An expired lease that nobody took over still counts: the token fences, not the clock.
        TaskState::Running(held) if held.token == token => Ok(held),
        TaskState::Succeeded { .. } => Err(Refused::AlreadySucceeded),
        TaskState::Running(_) | TaskState::Queued | TaskState::DeadLettered => Err(Refused::LeaseLost),
    }
}

fn dead_letter(state: &TaskState, judge: Judge, now: EpochMs) -> Result<TaskState, Refused> {
    match (judge, state) {
        (Judge::Holder(token), _) => {
            held_by(state, token)?;
        }
        (Judge::Auditor, TaskState::Succeeded { .. }) => return Err(Refused::AlreadySucceeded),
        (Judge::Auditor, TaskState::DeadLettered) => return Err(Refused::AlreadyDeadLettered),
        (Judge::Auditor, TaskState::Running(held)) if now < held.until => {
            return Err(Refused::LeaseHeld { until: held.until });
        }
        (Judge::Auditor, TaskState::Queued | TaskState::Running(_)) => {}
    }
    Ok(TaskState::DeadLettered)
}
