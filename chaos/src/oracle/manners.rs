//! How the service behaves besides being right: does a failed attempt wait before the next one, is every end pushed, and is
//! what must be refused refused?
//!
//! Back-off and pushes are judged by shares and not one by one: a random pause may be nearly nothing, and a push is best
//! effort. When the share is too large every task of it is named.

use std::collections::BTreeMap;

use loadtest::{LedgerEntry, Outcome, TaskKind, TaskStatus};

use super::history::{Step, parse};
use super::{AnomalyKind, Evidence, Findings, Record};

/// A pause drawn evenly from at least a second is shorter than this in at most three of ten cases.
pub const EAGER_GAP_MS: u64 = 300;
/// Of retries that may be eager by chance. Of 20 with a chance of three in ten each, more than half are in 2 of 100 runs;
/// with pauses in whole seconds, as SQS takes them, in none.
const EAGER_PERCENT_MAX: f64 = 50.0;
/// Fewer retries say nothing.
const RETRIES_MIN: u64 = 20;

pub(super) fn look(
    evidence: &Evidence<'_>,
    acknowledged: &BTreeMap<&str, &LedgerEntry>,
    findings: &mut Findings,
) {
    look_at_retries(evidence, acknowledged, findings);
    look_at_pushes(evidence, acknowledged, findings);
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

/// From each failed attempt until the next one began. A task that waited for its first attempt was not retried.
pub(super) fn retry_gaps_ms(record: &Record) -> impl Iterator<Item = u64> {
    let steps: Vec<Step> = record.history.iter().filter_map(|line| parse(line)).collect();
    let gaps = steps.windows(3).filter_map(|steps| match steps {
        [ran, failed, again]
            if (ran.status, failed.status, again.status)
                == (TaskStatus::Running, TaskStatus::Queued, TaskStatus::Running) =>
        {
            Some(again.at_ms.saturating_sub(failed.at_ms))
        }
        _ => None,
    });
    gaps.collect::<Vec<_>>().into_iter()
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
    findings.totals.missed_pushes = missed.len() as u64;
    if !are_too_many_missed(findings.totals.missed_pushes, all, evidence.missed_pushes_percent_max) {
        return;
    }
    for (id, record) in missed {
        let detail = format!("version {} {:?} reached no socket of its owner", record.version, record.status);
        findings.add(AnomalyKind::MissedPush, id, detail);
    }
}

pub(super) fn are_too_eager(eager: u64, retries: u64) -> bool {
    retries >= RETRIES_MIN && percent(eager, retries) > EAGER_PERCENT_MAX
}

pub(super) fn are_too_many_missed(missed: u64, all: u64, percent_max: f64) -> bool {
    percent(missed, all) > percent_max
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
