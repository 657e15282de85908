//! One bad task's life, from all sides, in the order of time.

use std::cmp::Reverse;

use loadtest::{LedgerEntry, Outcome};
use serde::{Deserialize, Serialize};

use super::history::parse;
use super::{Anomaly, AnomalyKind, Evidence, Findings, Record};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at_ms: u64,
    /// `client`, `table`, `push`, `queue`.
    pub source: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counterexample {
    pub task_id: String,
    pub kind: AnomalyKind,
    pub detail: String,
    pub timeline: Vec<Event>,
}

/// The worst kind of anomaly, shown by the task whose story is shortest.
pub fn counterexample(
    findings: &Findings,
    evidence: &Evidence<'_>,
    judged_at_ms: u64,
) -> Option<Counterexample> {
    let worst = findings.anomalies.iter().map(|anomaly| anomaly.kind).min()?;
    findings
        .of(worst)
        .map(|anomaly| story(anomaly, evidence, judged_at_ms))
        // A story that knows the client's side tells more than one that does not.
        .min_by_key(|story| (Reverse(has_client(story)), story.timeline.len()))
}

fn has_client(story: &Counterexample) -> bool {
    story.timeline.iter().any(|event| event.source == "client")
}

fn story(anomaly: &Anomaly, evidence: &Evidence<'_>, judged_at_ms: u64) -> Counterexample {
    let id = anomaly.task_id.as_str();
    let entry = evidence.ledger.iter().find(|entry| {
        entry.task_id() == Some(id) || evidence.named_ids.get(&entry.sequence).map(String::as_str) == Some(id)
    });
    let mut events = Vec::new();
    if let Some(entry) = entry {
        client_events(entry, &mut events);
    }
    if let Some(record) = evidence.records.get(id) {
        table_events(record, &mut events);
    }
    let dead = evidence.dead_letters.iter().find(|letter| letter.body.contains(id));
    let end = match dead {
        Some(letter) => format!("in the dead-letter queue, received {} times", letter.receive_count),
        None => format!("not in the dead-letter queue; {} messages in the tasks queue", evidence.remaining),
    };
    events.sort_by_key(|event| event.at_ms);
    events.push(event(judged_at_ms, "queue", end));
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
    events.extend(
        steps.map(|step| event(step.at_ms, "table", format!("version {} {:?}", step.version, step.status))),
    );
    let now = format!(
        "status {:?}, {} claims, highest receive {}, {} effects",
        record.status, record.attempts, record.deliveries, record.completions
    );
    events.push(event(record.updated_at_ms, "table", now));
}

fn event(at_ms: u64, source: &str, what: String) -> Event {
    Event { at_ms, source: source.to_owned(), what }
}
