//! The counterexample, chosen among all stories told.

use std::cmp::Reverse;

use super::{Evidence, Findings};
use crate::oracle::counterexample::{Sides, tell};
use crate::oracle::{Anomaly, Counterexample};

/// The worst kind of anomaly, shown by the task whose story is shortest.
pub(in crate::oracle) fn counterexample(
    findings: &Findings,
    evidence: &Evidence<'_>,
) -> Option<Counterexample> {
    let worst = findings.anomalies.iter().map(|anomaly| anomaly.kind).min()?;
    findings
        .of(worst)
        .map(|anomaly| story(anomaly, evidence))
        // A story that knows the client's side tells more than one that does not.
        .min_by_key(|story| (Reverse(has_client(story)), story.timeline.len()))
}

fn has_client(story: &Counterexample) -> bool {
    story.timeline.iter().any(|event| event.source == "client")
}

fn story(anomaly: &Anomaly, evidence: &Evidence<'_>) -> Counterexample {
    let id = anomaly.task_id.as_str();
    let entry = evidence.ledger.iter().find(|entry| {
        entry.task_id() == Some(id) || evidence.named_ids.get(&entry.sequence).map(String::as_str) == Some(id)
    });
    let letter = evidence.dead_letters.iter().find(|letter| letter.body.contains(id));
    let (remaining, at_ms) = (evidence.remaining, evidence.at_ms);
    tell(anomaly, &Sides { entry, record: evidence.records.get(id), letter, remaining, at_ms })
}
