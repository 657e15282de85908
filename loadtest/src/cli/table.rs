//! Figures for people.

use std::fmt::Write as _;

use loadtest::bench::BenchOutcome;
use loadtest::threshold::Judged;
use loadtest::verdict::{Exit, Verdict};
use loadtest::{Latency, LoadOutcome, Outcome, WrongRead};

/// The JSON file has them all.
const WRONG_SHOWN_MAX: usize = 10;

/// Text that grows line by line; writing to a string cannot fail.
struct Lines(String);

impl Lines {
    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("invariant: writing to a string cannot fail");
        self.0.push('\n');
    }

    fn latency(&mut self, name: &str, latency: &Latency) {
        let Latency { count, mean_ms, p50_ms, p90_ms, p99_ms, max_ms } = latency;
        self.add(format_args!(
            "{name:<12} {count:>8} {mean_ms:>9.1} {p50_ms:>9.1} {p90_ms:>9.1} {p99_ms:>9.1} {max_ms:>9.1}"
        ));
    }

    fn latency_header(&mut self) {
        self.add(format_args!(
            "{:<12} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "milliseconds", "count", "mean", "p50", "p90", "p99", "max"
        ));
    }

    fn thresholds(&mut self, judged: &[Judged]) {
        for judged in judged {
            let word = if judged.met { "met" } else { "NOT MET" };
            let measured =
                judged.measured.map_or("nothing measured".to_owned(), |value| format!("{value:.3}"));
            self.add(format_args!("threshold    {word}: {} ({measured})", judged.threshold));
        }
    }
}

pub(crate) fn run(outcome: &LoadOutcome, verdict: &Verdict) -> String {
    let mut lines = Lines(String::new());
    let counts = &outcome.counts;
    lines.add(format_args!(
        "sent         {} (acknowledged {}, refused {}, unknown {}; sent again {}; never sent {})",
        counts.attempted, counts.acknowledged, counts.refused, counts.unknown, counts.retries, counts.unsent
    ));
    lines.add(format_args!(
        "ended        {} succeeded, {} dead-lettered, {} unfinished; {} known by reading only",
        counts.succeeded, counts.dead_lettered, counts.outstanding, outcome.total.finals_by_poll
    ));
    let stats = &outcome.connection_stats;
    lines.add(format_args!(
        "pushes       {} ({} repeated, {} out of order, {} before the answer, {} of unknown tasks, {} to others)",
        stats.pushes,
        stats.pushes_repeated,
        stats.pushes_reordered,
        stats.pushes_early,
        stats.pushes_unclaimed,
        stats.pushes_misrouted
    ));
    let reads = &outcome.total.reads;
    lines.add(format_args!(
        "reads        {} (right {}, refused {}, unanswered {}, wrong {}, not judged {})",
        reads.all(),
        reads.right,
        reads.refused,
        reads.unanswered,
        reads.wrong,
        reads.unjudged
    ));
    let probes = outcome.ledger.iter().flat_map(|entry| &entry.probes);
    let (mut refused, mut accepted, mut unknown) = (0, 0, 0);
    for probe in probes {
        match probe.outcome {
            Outcome::Refused { .. } => refused += 1,
            Outcome::Acknowledged { .. } => accepted += 1,
            Outcome::Unknown { .. } | Outcome::Unsent => unknown += 1,
        }
    }
    lines.add(format_args!(
        "abuses       {} (refused {refused}, accepted {accepted}, unknown {unknown})",
        refused + accepted + unknown
    ));
    lines.add(format_args!(
        "sessions     {} connects, {} failed, {} lost",
        stats.connects, stats.connect_failures, stats.disconnects
    ));
    lines.latency_header();
    lines.latency("POST", &outcome.total.post);
    lines.latency("end-to-end", &outcome.total.end_to_end);
    lines.latency("push", &outcome.total.push);
    lines.latency("connect", &stats.connect);
    lines.latency("issue lag", &outcome.issue_lag);
    lines.latency("pool wait", &outcome.pool_wait);
    lines.thresholds(&verdict.thresholds);
    wrong(&mut lines, outcome, verdict);
    lines.0
}

fn wrong(lines: &mut Lines, outcome: &LoadOutcome, verdict: &Verdict) {
    for wrong in verdict.wrong.iter().take(WRONG_SHOWN_MAX) {
        lines.add(format_args!(
            "wrong        task {} of arrival {}: {:?}",
            wrong.task_id, wrong.sequence, wrong.wrong
        ));
    }
    if verdict.wrong.len() > WRONG_SHOWN_MAX {
        lines.add(format_args!("wrong        and {} more", verdict.wrong.len() - WRONG_SHOWN_MAX));
    }
    if verdict.pushes_misrouted > 0 {
        lines.add(format_args!(
            "wrong        {} pushes reached a session of another owner",
            verdict.pushes_misrouted
        ));
    }
    for read in outcome.wrong_reads.iter().take(WRONG_SHOWN_MAX) {
        let WrongRead { owner, task_id, defect } = read;
        lines.add(format_args!("wrong        read of task {task_id} by {owner}: {defect:?}"));
    }
    if let Some(reason) = &verdict.invalid {
        lines.add(format_args!("invalid      {reason}"));
    }
    let word = match verdict.exit {
        Exit::Ok => "ok",
        Exit::Threshold => "a threshold was not met",
        Exit::Usage => "usage",
        Exit::Tasks => "tasks were lost or wrong, shown to another owner, or shown as they are not",
        Exit::Invalid => "the run is invalid",
    };
    lines.add(format_args!("verdict      {word}"));
}

pub(crate) fn bench(outcome: &BenchOutcome, judged: &[Judged]) -> String {
    let mut lines = Lines(String::new());
    lines.add(format_args!(
        "{} clients, {:.0} s: {:.1} accepted POST/s ({} accepted, {} not)",
        outcome.clients, outcome.seconds, outcome.accepted_per_second, outcome.accepted, outcome.failed
    ));
    match outcome.drained_ms {
        Some(drained_ms) => {
            lines.add(format_args!("the worker was done {drained_ms} ms after the last POST"))
        }
        None if outcome.is_drain_awaited => lines.add(format_args!("the worker was not done in time")),
        None => lines.add(format_args!("the worker was not waited for")),
    }
    lines.latency_header();
    lines.latency("POST", &outcome.post);
    lines.thresholds(judged);
    lines.0
}
