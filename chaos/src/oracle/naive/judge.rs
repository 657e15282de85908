//! Finds every anomaly, and accounts for every acknowledged task exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use loadtest::{Duplicate, Expectation, LedgerEntry, Outcome, TaskStatus};
use serde::Deserialize;
use serde_json::Value;

use super::{Evidence, Findings, manners};
use crate::oracle::history::{illegal_step, successes};
use crate::oracle::judge::{lost_detail, unseen_detail, waiting_detail};
use crate::oracle::manners::are_too_many_unseen;
use crate::oracle::rules::{LOOKS_SPARED_MAX, RECEIVES_UNSEEN_MAX, looks_max};
use crate::oracle::{Anomaly, AnomalyKind, DeadLetter, Record};

pub(in crate::oracle) fn judge(evidence: &Evidence<'_>) -> Findings {
    let mut judge = Judge::new(evidence);
    judge.count_requests();
    judge.account_for_acknowledged();
    judge.look_for_shared_tasks();
    judge.compare_owners();
    judge.look_for_unexpected();
    judge.look_at_records();
    judge.look_at_dead_letters();
    judge.compare_with_prediction();
    manners::look(evidence, &judge.acknowledged, &mut judge.findings);
    judge.findings.anomalies.sort();
    judge.findings.anomalies.dedup();
    judge.findings
}

/// The body of a queue message, as far as it is compared.
#[derive(Deserialize)]
struct Body {
    task_id: String,
    owner: String,
    kind: String,
    payload: Value,
    created_at_ms: u64,
    request_hash: String,
}

struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    /// One entry per acknowledged task: a repeated request acknowledges the same task again.
    acknowledged: BTreeMap<&'a str, &'a LedgerEntry>,
    owners: HashSet<&'a str>,
    /// This run's dead letters by task.
    dead: BTreeMap<String, (&'a DeadLetter, Body)>,
    findings: Findings,
}

impl<'a> Judge<'a> {
    fn new(evidence: &'a Evidence<'a>) -> Self {
        let acknowledged =
            evidence.ledger.iter().filter_map(|entry| Some((entry.task_id()?, entry))).collect();
        let owners: HashSet<&str> = evidence.ledger.iter().map(|entry| entry.owner.as_str()).collect();
        let mut judge =
            Self { evidence, acknowledged, owners, dead: BTreeMap::new(), findings: Findings::default() };
        judge.index_dead_letters();
        judge
    }

    /// Earlier runs' dead letters have other owners and are left aside. A body that cannot be read is nobody's poison.
    fn index_dead_letters(&mut self) {
        for letter in self.evidence.dead_letters {
            let Ok(body) = serde_json::from_str::<Body>(&letter.body) else { continue };
            if !self.owners.contains(body.owner.as_str()) {
                continue;
            }
            let id = body.task_id.clone();
            self.findings.dead_letters.insert(id.clone());
            if let Some((first, _)) = self.dead.insert(id.clone(), (letter, body))
                && first.message_id != letter.message_id
            {
                let detail = format!("messages {} and {}", first.message_id, letter.message_id);
                self.findings.add(AnomalyKind::RepeatedDeadLetter, &id, detail);
            }
        }
    }

    fn count_requests(&mut self) {
        let totals = &mut self.findings.totals;
        for entry in self.evidence.ledger {
            match entry.outcome {
                Outcome::Unsent => totals.unsent += 1,
                Outcome::Acknowledged { .. } => totals.attempted += 1,
                Outcome::Refused { .. } => {
                    totals.attempted += 1;
                    totals.refused += 1;
                }
                Outcome::Unknown { .. } => {
                    totals.attempted += 1;
                    totals.unknown += 1;
                }
            }
        }
        totals.acknowledged = self.acknowledged.len() as u64;
    }

    fn account_for_acknowledged(&mut self) {
        for (id, entry) in self.acknowledged.clone() {
            let record = self.evidence.records.get(id);
            let dead = self.dead.contains_key(id);
            self.place(id, record, dead);
            if entry.result_ok == Some(false) {
                self.findings.add(AnomalyKind::WrongResult, id, "the client's own computation differs");
            }
            if let Some(Duplicate::OtherTask { task_id }) = &entry.duplicate {
                self.findings.add(
                    AnomalyKind::SplitKey,
                    id,
                    format!("the same key was also answered with {task_id}"),
                );
            }
        }
    }

    /// Exactly one of: succeeded, dead letter, waiting, lost.
    fn place(&mut self, id: &str, record: Option<&Record>, dead: bool) {
        let (status, remaining) = (record.map(|record| record.status), self.evidence.remaining);
        // A record says so of a dead letter that was moved back, until a worker has come to it.
        let is_marked = status == Some(TaskStatus::DeadLettered) && !self.evidence.is_moved_back;
        if status == Some(TaskStatus::Succeeded) {
            self.findings.totals.succeeded += 1;
            self.findings.totals.succeeded_dead_letters += u64::from(dead);
        } else if dead {
            self.findings.totals.dead_lettered += 1;
        } else if remaining > 0 && !is_marked {
            self.findings.totals.pending += 1;
            self.findings.add(AnomalyKind::Unfinished, id, waiting_detail(status, remaining));
        } else {
            self.findings.totals.lost += 1;
            self.findings.add(AnomalyKind::Lost, id, lost_detail(status, remaining));
        }
    }

    /// Two keys name two tasks.
    fn look_for_shared_tasks(&mut self) {
        let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for entry in self.evidence.ledger {
            if let Some(id) = entry.task_id() {
                keys.entry(id).or_default().insert(&entry.idempotency_key);
            }
        }
        for (id, keys) in keys.into_iter().filter(|(_, keys)| keys.len() > 1) {
            let detail =
                format!("{} requests, each with a key of its own, were answered with it", keys.len());
            self.findings.add(AnomalyKind::SharedTask, id, detail);
        }
    }

    /// Of each task the first request that does not fit is told.
    fn compare_owners(&mut self) {
        let evidence = self.evidence;
        let mut told = BTreeSet::new();
        for entry in evidence.ledger {
            let named = evidence.named_ids.get(&entry.sequence).map(String::as_str);
            for id in entry.task_id().into_iter().chain(named) {
                let Some(record) = evidence.records.get(id) else { continue };
                if record.owner != entry.owner && told.insert(id) {
                    let detail =
                        format!("{} asked for it, and it is filed under {}", entry.owner, record.owner);
                    self.findings.add(AnomalyKind::OtherOwner, id, detail);
                }
            }
        }
    }

    fn look_for_unexpected(&mut self) {
        let evidence = self.evidence;
        let asked: HashMap<&str, &LedgerEntry> = evidence
            .ledger
            .iter()
            .filter_map(|entry| Some((evidence.named_ids.get(&entry.sequence)?.as_str(), entry)))
            .collect();
        let ours = evidence.records.values().filter(|record| self.owners.contains(record.owner.as_str()));
        let there: BTreeSet<String> =
            ours.map(|record| record.task_id.clone()).chain(self.dead.keys().cloned()).collect();
        for id in there.iter().filter(|id| !self.acknowledged.contains_key(id.as_str())) {
            match asked.get(id.as_str()).map(|entry| &entry.outcome) {
                // Acknowledged under another id: the answer did not name the task that the key names.
                None | Some(Outcome::Acknowledged { .. } | Outcome::Unsent) => {
                    self.findings.add(AnomalyKind::Unexpected, id, "no request of this run asked for it");
                }
                Some(Outcome::Refused { status, .. }) => {
                    self.findings.add(
                        AnomalyKind::RefusedApplied,
                        id,
                        format!("the client was told {status}"),
                    );
                }
                Some(Outcome::Unknown { .. }) => self.findings.totals.recovered += 1,
            }
        }
    }

    fn look_at_records(&mut self) {
        let records = self.evidence.records;
        for record in records.values().filter(|record| self.owners.contains(record.owner.as_str())) {
            let id = &record.task_id;
            let effects = record.completions.max(successes(&record.history) as u64);
            if effects > 1 {
                self.findings.add(AnomalyKind::DuplicateEffect, id, format!("{effects} effects"));
            }
            if record.status == TaskStatus::Succeeded && record.completions == 0 {
                self.findings.add(AnomalyKind::IllegalHistory, id, "succeeded, and no effect is recorded");
            }
            if let Some(step) = illegal_step(&record.history) {
                self.findings.add(AnomalyKind::IllegalHistory, id, step);
            }
            self.findings.totals.redelivered += u64::from(record.deliveries > 1);
            // SQS hands a message to nobody once its receives are used up.
            if record.deliveries > self.evidence.max_receive_count {
                let detail = format!("a worker got it at receive {}", record.deliveries);
                self.findings.add(AnomalyKind::ReceiveCount, id, detail);
            }
        }
    }

    fn look_at_dead_letters(&mut self) {
        let (mut anomalies, mut likely, mut untold) = (Vec::new(), 0, 0);
        let (mut calm, mut unseen_in_calm) = (0, Vec::new());
        for (id, (letter, body)) in &self.dead {
            let anomaly = |kind, detail| Anomaly { kind, task_id: id.clone(), detail };
            let (unseen, uncounted) = self.receives_lacking(letter, body);
            if letter.receives() < self.evidence.max_receive_count {
                let detail = format!("received {} times at the most", letter.receives());
                anomalies.push(anomaly(AnomalyKind::ReceiveCount, detail));
            } else if unseen > RECEIVES_UNSEEN_MAX && uncounted > LOOKS_SPARED_MAX {
                untold += 1;
            } else if unseen > 0 && uncounted > 0 {
                likely += 1;
            }
            if letter.receives() >= self.evidence.max_receive_count && self.is_calm(id) {
                calm += 1;
                if unseen > 0 && uncounted > 0 {
                    let seen = self.evidence.records.get(id).map_or(0, |record| record.deliveries);
                    let detail = unseen_detail(seen, self.evidence.max_receive_count);
                    unseen_in_calm.push(anomaly(AnomalyKind::ReceiveCount, detail));
                }
            }
            if let Some(difference) =
                self.evidence.records.get(id).and_then(|record| difference(body, record))
            {
                anomalies
                    .push(anomaly(AnomalyKind::AlteredBody, format!("its {difference} is not the record's")));
            }
        }
        self.findings.anomalies.extend(anomalies);
        if are_too_many_unseen(unseen_in_calm.len() as u64, calm) {
            self.findings.anomalies.extend(unseen_in_calm);
        }
        (self.findings.receives_likely, self.findings.receives_untold) = (likely, untold);
    }

    fn is_calm(&self, id: &str) -> bool {
        let sent_at_ms = self.acknowledged.get(id).and_then(|entry| entry.sent_at_ms);
        matches!((sent_at_ms, self.evidence.calm_from_ms), (Some(sent), Some(from)) if sent >= from)
    }

    /// How many of the receives that are allowed no worker saw, and how many SQS did not surely count.
    fn receives_lacking(&self, letter: &DeadLetter, body: &Body) -> (u64, u64) {
        let evidence = self.evidence;
        let record = evidence.records.get(&body.task_id);
        let is_done = record.is_some_and(|record| record.status == TaskStatus::Succeeded);
        if !is_done && evidence.prediction.due.contains(&body.task_id) {
            return (0, 0);
        }
        let counted = letter.receives().saturating_sub(looks_max(body.created_at_ms, evidence.at_ms));
        let seen = record.map_or(0, |record| record.deliveries);
        [seen, counted].map(|receives| evidence.max_receive_count.saturating_sub(receives)).into()
    }

    fn compare_with_prediction(&mut self) {
        let prediction = self.evidence.prediction;
        let found = self.findings.dead_letters.clone();
        for id in prediction.must.difference(&found) {
            let detail = match self.evidence.records.get(id) {
                Some(record) => format!("{:?} after {} deliveries", record.status, record.deliveries),
                None => "and has no record".to_owned(),
            };
            self.findings.add(AnomalyKind::MissingDeadLetter, id, detail);
        }
        for id in found.difference(&prediction.may) {
            let poison = self.acknowledged.get(id.as_str()).map(|entry| entry.expectation);
            let detail = match poison {
                Some(Expectation::DeadLetters) => "outside of the prediction",
                Some(Expectation::Succeeds) => "it should have succeeded",
                None => "it was not acknowledged",
            };
            self.findings.add(AnomalyKind::InnocentDeadLetter, id, detail);
        }
    }
}

/// The first member of the body that is not what the record has.
fn difference(body: &Body, record: &Record) -> Option<&'static str> {
    [
        ("owner", body.owner == record.owner),
        ("kind", body.kind == record.kind),
        ("payload", body.payload == record.payload),
        ("created_at_ms", body.created_at_ms == record.created_at_ms),
        ("request_hash", body.request_hash == record.request_hash),
    ]
    .into_iter()
    .find_map(|(member, same)| (!same).then_some(member))
}
