//! From the book to figures.

use crate::book::{Book, Inner, Phase, Record};
use crate::histogram::Histogram;
use crate::ledger::{Counts, Outcome, TaskStatus};
use crate::outcome::{Latency, PhaseStats, SeriesPoint, Validity};
use crate::wire::is_denial;

/// Above this the generator itself was starved: on an idle machine the clock is late by a millisecond or two.
pub const ISSUE_LAG_P99_MAX_MS: f64 = 500.0;
/// Of all arrivals. A dropped arrival is load that the target never saw.
pub const UNSENT_SHARE_MAX: f64 = 0.001;
/// Points of the series: one day of seconds.
const SERIES_MAX: usize = 86_400;
const MICROS_PER_SECOND: u64 = 1_000_000;
/// The name of the row over all phases.
const TOTAL: &str = "total";

/// What a token that was given is denied is no phase's doing, and so straddles none.
pub(crate) fn phases(book: &Book, is_token_given: bool) -> Vec<PhaseStats> {
    let inner = book.lock();
    let straddles = |record: &Record| {
        let is_aside = is_token_given && is_denied(record);
        !is_aside && record.straddles(&inner.phases)
    };
    let stats = |(number, phase): (usize, &Phase)| {
        let mut stats = PhaseStats {
            name: phase.name.clone(),
            began_at_ms: book.timeline.unix_ms(phase.began_us),
            post: phase.post.latency(),
            end_to_end: phase.end_to_end.latency(),
            push: phase.push.latency(),
            reads: phase.reads,
            ..PhaseStats::default()
        };
        inner.records.iter().filter(|record| record.phase == number).for_each(|record| {
            tally(&mut stats, record, straddles(record));
            stats.straddling_unknown += u64::from(record.hung_before(&inner.phases));
        });
        stats
    };
    inner.phases.iter().enumerate().map(stats).collect()
}

pub(crate) fn total(book: &Book) -> PhaseStats {
    let inner = book.lock();
    let merged = |of: fn(&Phase) -> &Histogram| {
        let mut sum = Histogram::new();
        inner.phases.iter().for_each(|phase| sum.add(of(phase)));
        sum.latency()
    };
    let mut stats = PhaseStats {
        name: TOTAL.to_owned(),
        began_at_ms: book.timeline.unix_ms(inner.phases.first().map_or(0, |phase| phase.began_us)),
        post: merged(|phase| &phase.post),
        end_to_end: merged(|phase| &phase.end_to_end),
        push: merged(|phase| &phase.push),
        ..PhaseStats::default()
    };
    inner.phases.iter().for_each(|phase| stats.reads.add(&phase.reads));
    // Of all phases together nothing is in another one.
    stats.reads.straddling = 0;
    inner.records.iter().for_each(|record| tally(&mut stats, record, false));
    stats
}

fn is_denied(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Refused { status, .. } if is_denial(status))
}

fn tally(stats: &mut PhaseStats, record: &Record, straddles: bool) {
    stats.straddling += u64::from(straddles);
    match record.outcome {
        Outcome::Acknowledged { .. } => stats.acknowledged += 1,
        Outcome::Refused { status, .. } => {
            stats.refused += 1;
            stats.denied += u64::from(is_denial(status) && !straddles);
        }
        Outcome::Unknown { .. } => stats.unknown += 1,
        Outcome::Unsent => stats.unsent += 1,
    }
    stats.attempted += u64::from(record.sent_us.is_some());
    if let Some(end) = record.final_state {
        match end.status {
            TaskStatus::DeadLettered => stats.dead_lettered += 1,
            TaskStatus::Succeeded | TaskStatus::Queued | TaskStatus::Running => stats.succeeded += 1,
        }
        stats.finals_by_poll += u64::from(record.pushed_us.is_none());
    }
}

pub(crate) fn validity(counts: &Counts, issue_lag: &Latency) -> Validity {
    let issued = counts.attempted + counts.unsent;
    let reason = if issued == 0 {
        "no arrival was issued".to_owned()
    } else if share(counts.unsent, issued) > UNSENT_SHARE_MAX {
        format!("{} of {issued} arrivals were never sent: every worker was busy", counts.unsent)
    } else if issue_lag.p99_ms > ISSUE_LAG_P99_MAX_MS {
        format!(
            "the generator issued arrivals late: p99 {:.0} ms, limit {ISSUE_LAG_P99_MAX_MS:.0} ms",
            issue_lag.p99_ms
        )
    } else {
        return Validity::Valid;
    };
    Validity::Invalid { reason }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[derive(Default)]
struct Second {
    point: SeriesPoint,
    acknowledgements: u64,
    post_us: Vec<u64>,
    end_to_end_us: Vec<u64>,
}

pub(crate) fn series(book: &Book) -> Vec<SeriesPoint> {
    let inner = book.lock();
    let mut seconds: Vec<Second> = Vec::new();
    inner.records.iter().for_each(|record| place(&mut seconds, record));
    let mut outstanding = 0;
    seconds
        .into_iter()
        .enumerate()
        .map(|(number, second)| {
            // An end is placed no earlier than its acknowledgement, so this never goes below zero.
            outstanding += second.acknowledgements;
            outstanding -= second.point.finals;
            finish_second(book, &inner, number, second, outstanding)
        })
        .collect()
}

fn place(seconds: &mut Vec<Second>, record: &Record) {
    let Some(second) = at(seconds, record.intended_us) else { return };
    second.point.attempted += u64::from(record.sent_us.is_some());
    second.point.refused += u64::from(matches!(record.outcome, Outcome::Refused { .. }));
    second.point.unknown += u64::from(matches!(record.outcome, Outcome::Unknown { .. }));
    if let Some(answered_us) = record.answered_us {
        second.post_us.push(answered_us.saturating_sub(record.intended_us));
    }
    if let Some(pushed_us) = record.pushed_us {
        second.end_to_end_us.push(pushed_us.saturating_sub(record.intended_us));
    }
    let (Outcome::Acknowledged { .. }, Some(answered_us)) = (&record.outcome, record.answered_us) else {
        return;
    };
    second.point.acknowledged += 1;
    let Some(second) = at(seconds, answered_us) else { return };
    second.acknowledgements += 1;
    if let Some(ended_us) = record.ended_us
        && let Some(second) = at(seconds, ended_us.max(answered_us))
    {
        second.point.finals += 1;
    }
}

fn at(seconds: &mut Vec<Second>, at_us: u64) -> Option<&mut Second> {
    let number = usize::try_from(at_us / MICROS_PER_SECOND).ok().filter(|number| *number < SERIES_MAX)?;
    if seconds.len() <= number {
        seconds.resize_with(number + 1, Second::default);
    }
    seconds.get_mut(number)
}

fn finish_second(
    book: &Book,
    inner: &Inner,
    number: usize,
    mut second: Second,
    outstanding: u64,
) -> SeriesPoint {
    let began_us = number as u64 * MICROS_PER_SECOND;
    let phase = inner.phases.iter().rfind(|phase| phase.began_us < began_us + MICROS_PER_SECOND);
    second.post_us.sort_unstable();
    second.end_to_end_us.sort_unstable();
    SeriesPoint {
        at_ms: book.timeline.unix_ms(began_us),
        phase: phase.map(|phase| phase.name.clone()).unwrap_or_default(),
        outstanding,
        post_p50_ms: quantile_ms(&second.post_us, 50),
        post_p99_ms: quantile_ms(&second.post_us, 99),
        end_to_end_p50_ms: quantile_ms(&second.end_to_end_us, 50),
        end_to_end_p99_ms: quantile_ms(&second.end_to_end_us, 99),
        ..second.point
    }
}

/// The smallest value that at least `percent` of the sorted values do not exceed.
#[expect(clippy::cast_precision_loss, reason = "a latency in microseconds is far below 2^53")]
fn quantile_ms(sorted_us: &[u64], percent: usize) -> Option<f64> {
    let rank = (sorted_us.len() * percent).div_ceil(100);
    sorted_us.get(rank.saturating_sub(1)).map(|value_us| *value_us as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LoadPlan;

    #[test]
    fn what_was_refused_or_unanswered_only_in_a_later_phase_is_told_apart_in_its_own() {
        const FAULT_US: u64 = 1_000_000;
        let book = Book::new(vec!["owner".to_owned()], None, true);
        book.phase("before");
        let sent = || {
            let sequence = book.issue(&LoadPlan::default(), 0);
            book.sent(sequence, None);
            sequence
        };
        let denied = || Outcome::Refused { status: 403, problem_type: None };
        let unknown = Outcome::Unknown { reason: "timeout".to_owned() };
        let acknowledged = Outcome::Acknowledged { task_id: "a".to_owned() };
        for outcome in [denied(), denied(), unknown.clone(), acknowledged, unknown] {
            book.answered(sent(), outcome, 1);
        }
        book.phase("fault");
        let mut inner = book.lock();
        inner.phases[1].began_us = FAULT_US;
        let answered_us = [FAULT_US - 1, FAULT_US, FAULT_US, FAULT_US, FAULT_US];
        // The last was sent just before, and so has met the fault.
        let sent_us = [0, 0, 0, 0, FAULT_US - 10_000];
        for (record, (at_us, sent_us)) in inner.records.iter_mut().zip(answered_us.into_iter().zip(sent_us)) {
            (record.answered_us, record.sent_us) = (Some(at_us), Some(sent_us));
        }
        drop(inner);
        let given = phases(&book, true);
        assert_eq!((given[0].straddling, given[0].straddling_unknown, given[0].denied), (2, 1, 2));
        let phases = phases(&book, false);
        let [before, fault] = phases.as_slice() else { panic!("two phases: {phases:?}") };
        assert_eq!((before.attempted, before.acknowledged), (5, 1));
        assert_eq!((before.refused, before.unknown, before.straddling, before.denied), (2, 2, 3, 1));
        assert_eq!(before.straddling_unknown, 1);
        assert_eq!((fault.attempted, fault.straddling), (0, 0));
        let total = total(&book);
        assert_eq!((total.refused, total.unknown, total.straddling, total.denied), (2, 2, 0, 2));
    }

    fn counts(attempted: u64, unsent: u64) -> Counts {
        Counts { attempted, unsent, ..Counts::default() }
    }

    #[test]
    fn a_run_is_invalid_when_the_generator_was_the_bottleneck() {
        let prompt = Latency { p99_ms: 2.0, ..Latency::default() };
        let late = Latency { p99_ms: 501.0, ..Latency::default() };
        assert_eq!(validity(&counts(1000, 1), &prompt), Validity::Valid);
        let reason = |counts, lag: &Latency| match validity(&counts, lag) {
            Validity::Invalid { reason } => reason,
            Validity::Valid => panic!("must be invalid"),
        };
        assert!(reason(counts(1000, 2), &prompt).starts_with("2 of 1002 arrivals were never sent"));
        assert!(reason(counts(1000, 0), &late).contains("late: p99 501 ms"));
        assert_eq!(reason(counts(0, 0), &prompt), "no arrival was issued");
    }

    #[test]
    fn quantiles_of_few_values_are_values() {
        assert_eq!(quantile_ms(&[], 99), None);
        assert_eq!(quantile_ms(&[1_000], 50), Some(1.0));
        assert_eq!(quantile_ms(&[1_000, 2_000], 50), Some(1.0));
        assert_eq!(quantile_ms(&[1_000, 2_000, 3_000], 99), Some(3.0));
    }
}
