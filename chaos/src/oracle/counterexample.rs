//! One bad task's life, from all sides, in the order of time.

use loadtest::{LedgerEntry, Outcome, TaskStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::history::{Step, parse};
use super::{Anomaly, AnomalyKind, DeadLetter, Record};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    pub at_ms: u64,
    /// `client`, `queue`, `worker`, `table` or `push`.
    pub source: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counterexample {
    pub task_id: String,
    pub kind: AnomalyKind,
    pub detail: String,
    pub timeline: Vec<Event>,
}

/// All that is known of one task.
pub(super) struct Sides<'a> {
    pub(super) entry: Option<&'a LedgerEntry>,
    pub(super) record: Option<&'a Record>,
    pub(super) letter: Option<&'a DeadLetter>,
    /// Messages in the tasks queue.
    pub(super) remaining: u64,
    pub(super) at_ms: u64,
}

pub(super) fn tell(anomaly: &Anomaly, sides: &Sides<'_>) -> Counterexample {
    let mut events = Vec::new();
    if let Some(entry) = sides.entry {
        client_events(entry, &mut events);
    }
    if let Some(record) = sides.record {
        table_events(record, &mut events);
    }
    let end = match sides.letter {
        Some(letter) => format!("in the dead-letter queue, received {} times", letter.receive_count),
        None => format!("not in the dead-letter queue; {} messages in the tasks queue", sides.remaining),
    };
    events.push(event(sides.at_ms, "queue", end));
    events.sort_by_key(|event| event.at_ms);
    Counterexample {
        task_id: anomaly.task_id.clone(),
        kind: anomaly.kind,
        detail: anomaly.detail.clone(),
        timeline: events,
    }
}

fn client_events(entry: &LedgerEntry, events: &mut Vec<Event>) {
    let asked = format!("POST /tasks {:?}, number {} of {}", entry.kind, entry.sequence, entry.owner);
    events.push(event(entry.sent_at_ms.unwrap_or(entry.intended_at_ms), "client", asked));
    let answer = match &entry.outcome {
        Outcome::Acknowledged { task_id } => format!("202, task {task_id}"),
        Outcome::Refused { status, problem_type } => {
            format!("{status} {}", problem_type.as_deref().unwrap_or_default())
        }
        Outcome::Unknown { reason } => format!("no answer: {reason}"),
        Outcome::Unsent => "never sent".to_owned(),
    };
    events.push(event(entry.answered_at_ms.unwrap_or(entry.intended_at_ms), "client", answer));
    let pushes = entry
        .pushes
        .iter()
        .map(|push| event(push.at_ms, "push", format!("version {} {:?}", push.version, push.status)));
    events.extend(pushes);
}

fn table_events(record: &Record, events: &mut Vec<Event>) {
    let steps = record.history.iter().filter_map(|line| parse(line));
    events.extend(steps.map(step_event));
    let now = format!(
        "status {:?}, {} claims, highest receive {}, {} effects",
        record.status, record.attempts, record.deliveries, record.completions
    );
    events.push(event(record.updated_at_ms, "table", now));
}

/// The row's first version is written by the function that accepts the task; claims and their ends by the worker.
fn step_event(step: Step) -> Event {
    let (source, what) = match (step.status, step.version) {
        (TaskStatus::Queued, 1) => ("table", "row written"),
        (TaskStatus::Queued, _) => ("worker", "attempt failed, back to the queue"),
        (TaskStatus::Running, _) => ("worker", "claimed"),
        (TaskStatus::Succeeded, _) => ("worker", "effect recorded, succeeded"),
        (TaskStatus::DeadLettered, _) => ("table", "marked as a dead letter"),
    };
    event(step.at_ms, source, format!("version {} {:?}: {what}", step.version, step.status))
}

fn event(at_ms: u64, source: &str, what: String) -> Event {
    Event { at_ms, source: source.to_owned(), what }
}
