//! The stored view of a task, and how an event changes all of it at once.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::id::{Owner, RequestHash, TaskId, Version};
use crate::limits;
use crate::message::QueueMessage;
use crate::state::{Event, Lease, Refused, TaskState, apply};
use crate::time::EpochMs;
use crate::wire::{Status, Task, TaskError};

/// One line of a task's life: `"{version} {status} {at_ms}"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    pub version: Version,
    pub status: Status,
    pub at: EpochMs,
}

impl fmt::Display for HistoryEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.version, self.status, self.at.0)
    }
}

impl HistoryEntry {
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let entry = Self {
            version: Version(parts.next()?.parse().ok()?),
            status: Status::parse(parts.next()?)?,
            at: EpochMs(parts.next()?.parse().ok()?),
        };
        parts.next().is_none().then_some(entry)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    pub id: TaskId,
    pub owner: Owner,
    pub kind: String,
    pub payload: Arc<Value>,
    pub request_hash: RequestHash,
    pub state: TaskState,
    pub version: Version,
    /// Claims.
    pub attempts: u32,
    /// Highest receive count that a worker saw.
    pub deliveries: u32,
    /// Effects: 0 or 1.
    pub completions: u32,
    pub error: Option<TaskError>,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
    pub history: Vec<HistoryEntry>,
}

/// Who moves a record that may be under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// The holder of the lease, which its own heartbeats may have moved since.
    Holder,
    /// Whoever found the lease at its end, or none: a claim, or the auditor.
    Other,
}

impl TaskRecord {
    /// The first record of a task. Depends on the message alone, so that submit and worker create the same one.
    pub fn queued(message: &QueueMessage) -> Self {
        let first =
            HistoryEntry { version: Version::FIRST, status: Status::Queued, at: message.created_at_ms };
        Self {
            id: message.task_id,
            owner: message.owner.clone(),
            kind: message.kind.clone(),
            payload: Arc::clone(&message.payload),
            request_hash: message.request_hash.clone(),
            state: TaskState::Queued,
            version: Version::FIRST,
            attempts: 0,
            deliveries: 0,
            completions: 0,
            error: None,
            created_at: message.created_at_ms,
            updated_at: message.created_at_ms,
            history: vec![first],
        }
    }

    /// The record after `event`, or why the event does not apply.
    pub fn advance(&self, event: &Event, now: EpochMs) -> Result<Self, Refused> {
        let state = apply(&self.state, event, now)?;
        let mut next = self.clone();
        next.version = self.version.next();
        // Clocks of two workers differ; a record never goes back in time.
        next.updated_at = now.max(self.updated_at);
        match event {
            // Told to the store by its own call, without a version; here for completeness of the one function.
            Event::Extend(_) => return Ok(Self { state, ..self.clone() }),
            Event::Claim(_) => next.attempts = self.attempts.saturating_add(1),
            Event::Succeed { .. } => {
                next.completions = self.completions.saturating_add(1);
                next.error = None;
            }
            Event::GiveBack { error, .. } | Event::DeadLetter { error, .. } => {
                next.error = Some(error.clone())
            }
        }
        if next.history.len() < limits::HISTORY_ENTRIES_MAX {
            next.history.push(HistoryEntry {
                version: next.version,
                status: state.status(),
                at: next.updated_at,
            });
        }
        next.state = state;
        Ok(next)
    }

    /// The lease that a move takes from its holder.
    pub const fn lease_taken_over_by(&self, mover: Mover) -> Option<&Lease> {
        match mover {
            Mover::Holder => None,
            Mover::Other => self.state.lease(),
        }
    }

    /// Whether it is the record of this message. A submission that was refused, because its key named another task, may leave a
    /// message with the id of that task.
    pub fn is_of(&self, message: &QueueMessage) -> bool {
        self.request_hash == message.request_hash && self.owner == message.owner
    }

    /// Whether it is what was meant to be written with `after`: a lost answer and a retried write look like a lost race.
    pub fn is_same_move(&self, after: &Self) -> bool {
        self.version == after.version && self.state == after.state && self.updated_at == after.updated_at
    }

    pub fn expires_at(&self) -> EpochMs {
        self.updated_at.plus(limits::RECORD_TTL)
    }

    pub fn to_wire(&self) -> Task {
        let result = match &self.state {
            TaskState::Succeeded { result } => Some(result.clone()),
            _ => None,
        };
        Task {
            id: self.id,
            kind: self.kind.clone(),
            status: self.state.status(),
            version: self.version,
            attempts: self.attempts,
            created_at: self.created_at,
            updated_at: self.updated_at,
            result,
            error: self.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::digest;

    #[test]
    fn a_history_grows_to_its_limit_and_the_record_goes_on_without_it() {
        let id = "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap();
        let message = digest(id, &Owner::parse("alice").unwrap(), EpochMs(0));
        let mut record = TaskRecord::queued(&message);
        let token = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let error = TaskError { kind: "flaky".into(), message: "again".into() };
        let claim = Event::Claim(Lease { token, until: EpochMs(u64::MAX) });
        let events = [claim, Event::GiveBack { token, error }];
        let kept = limits::HISTORY_ENTRIES_MAX as u64;
        let moves = kept + 1;
        for (event, now) in events.iter().cycle().zip(1..=moves) {
            record = record.advance(event, EpochMs(now)).unwrap();
        }
        assert_eq!(record.history.len(), limits::HISTORY_ENTRIES_MAX);
        let last = record.history.last().unwrap();
        assert_eq!(last.version, Version(kept), "the oldest are kept");
        assert_eq!((record.version, record.updated_at), (Version(moves + 1), EpochMs(moves)));
    }
}
