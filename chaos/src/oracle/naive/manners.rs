//! How the service behaves besides being right.

use std::collections::BTreeMap;

use loadtest::{LedgerEntry, Outcome, TaskKind};

use super::{Evidence, Findings};
use crate::oracle::AnomalyKind;
use crate::oracle::judge::wrong_push_detail;
use crate::oracle::manners::{EAGER_GAP_MS, are_too_eager, are_too_many_missed, retry_gaps_ms};

pub(super) fn look(
    evidence: &Evidence<'_>,
    acknowledged: &BTreeMap<&str, &LedgerEntry>,
    findings: &mut Findings,
) {
    look_at_retries(evidence, acknowledged, findings);
    look_at_pushes(evidence, acknowledged, findings);
    compare_pushes(evidence, acknowledged, findings);
    for (id, entry) in acknowledged {
        for probe in &entry.probes {
            if let Outcome::Acknowledged { task_id } = &probe.outcome {
                let detail = format!("{} was answered with task {task_id}", probe.abuse.describe());
                findings.add(AnomalyKind::AcceptedAbuse, id, detail);
            }
        }
    }
}

fn look_at_retries(
    evidence: &Evidence<'_>,
    acknowledged: &BTreeMap<&str, &LedgerEntry>,
    findings: &mut Findings,
) {
    let mut eager: BTreeMap<&str, u64> = BTreeMap::new();
    // Poison that fails for good comes back at once: nothing is gained by waiting for its end.
    let waits = |id: &str| acknowledged.get(id).is_some_and(|entry| entry.kind != TaskKind::Poison);
    for record in evidence.records.values().filter(|record| waits(&record.task_id)) {
        for gap_ms in retry_gaps_ms(record) {
            findings.totals.retries += 1;
            if gap_ms < EAGER_GAP_MS {
                eager.insert(&record.task_id, gap_ms);
                findings.totals.eager_retries += 1;
            }
        }
    }
    let totals = findings.totals;
    if !are_too_eager(totals.eager_retries, totals.retries) {
        return;
    }
    for (id, gap_ms) in eager {
        let detail = format!("the next attempt began {gap_ms} ms after the failed one");
        findings.add(AnomalyKind::EagerRetry, id, detail);
    }
}

fn look_at_pushes(
    evidence: &Evidence<'_>,
    acknowledged: &BTreeMap<&str, &LedgerEntry>,
    findings: &mut Findings,
) {
    let ended = acknowledged.iter().filter_map(|(id, entry)| {
        let record = evidence.records.get(*id).filter(|record| record.status.is_final())?;
        Some((*id, *entry, record))
    });
    let (mut all, mut missed) = (0, Vec::new());
    for (id, entry, record) in ended {
        all += 1;
        if !entry.pushes.iter().any(|push| push.version >= record.version) {
            missed.push((id, record));
        }
    }
    findings.totals.ended = all;
    findings.totals.missed_pushes = missed.len() as u64;
    if !are_too_many_missed(findings.totals.missed_pushes, all, evidence.missed_pushes_percent_max) {
        return;
    }
    for (id, record) in missed {
        let detail = format!("version {} {:?} reached no socket of its owner", record.version, record.status);
        findings.add(AnomalyKind::MissedPush, id, detail);
    }
}

/// The newest state that was pushed, where it is the one that the table has.
fn compare_pushes(
    evidence: &Evidence<'_>,
    acknowledged: &BTreeMap<&str, &LedgerEntry>,
    findings: &mut Findings,
) {
    for (id, entry) in acknowledged {
        let Some(record) = evidence.records.get(*id) else { continue };
        if entry.pushes.iter().any(|push| push.version > record.version) {
            continue;
        }
        let mut of_it = entry.pushes.iter().filter(|push| push.version == record.version);
        if let Some(wrong) = of_it.find(|push| push.status != record.status) {
            let detail = wrong_push_detail(record.version, wrong.status, record.status);
            findings.add(AnomalyKind::WrongPush, id, detail);
        }
    }
}
