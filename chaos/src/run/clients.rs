//! Whether the clients really misbehaved as the experiment asked.

use loadtest::{Abuse, Duplicate, LedgerEntry, LoadOutcome, Outcome};

use super::verdict::Check;
use crate::experiment::Experiment;

/// One check for each kind of misbehaviour that the load asks for: without an answer to it nothing was tried.
pub(super) fn checks(experiment: &Experiment, outcome: &LoadOutcome) -> Vec<Check> {
    let (mix, sockets) = (&experiment.load.mix, experiment.load.sockets);
    let ledger = &outcome.ledger;
    let mut checks = Vec::new();
    let mut add = |asked: bool, what: &str, count: u64| {
        if asked {
            checks.push(Check::evidence(&format!("clients: {what}"), count > 0, format!("{count}")));
        }
    };
    let same = |entry: &&LedgerEntry| entry.duplicate == Some(Duplicate::SameTask);
    add(
        mix.duplicate_one_in.is_some(),
        "repeated submissions that named the same task",
        ledger.iter().filter(same).count() as u64,
    );
    let refused = |abuse| probes(ledger, abuse);
    add(mix.conflict_one_in.is_some(), "keys reused with another body, refused", refused(Abuse::Conflict));
    add(mix.oversize_one_in.is_some(), "bodies beyond the limit, refused", refused(Abuse::Oversize));
    let seen = &outcome.connection_stats;
    add(sockets.silent > 0, "sockets that read nothing", seen.nuisance_silent);
    add(sockets.slow > 0, "messages read slowly", seen.nuisance_reads);
    add(sockets.dropped > 0, "sockets dropped without a close", seen.nuisance_drops);
    checks
}

fn probes(ledger: &[LedgerEntry], abuse: Abuse) -> u64 {
    let all = ledger.iter().flat_map(|entry| &entry.probes);
    let refused =
        all.filter(|probe| probe.abuse == abuse && matches!(probe.outcome, Outcome::Refused { .. }));
    refused.count() as u64
}
