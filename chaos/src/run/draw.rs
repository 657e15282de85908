//! The snapshot as lines of text. Pure, so that what a terminal shows is tested without one.

use super::live::{FaultState, LiveFault, Snapshot};

/// Cells of the bar that stands for the whole load.
const BAR_CELLS: u64 = 40;

/// What a terminal shows, line by line.
pub(super) fn lines(now: &Snapshot) -> Vec<String> {
    let mut lines = vec![head(now), traffic(now), service(now)];
    if now.load_began_at_ms.is_some() {
        lines.push(format!("faults  {}", bar(now)));
        lines.extend(now.faults.iter().map(|fault| format!("        {}", describe(fault, now))));
    }
    lines
}

/// What is printed where there is no terminal, now and then.
pub(super) fn plain(now: &Snapshot) -> String {
    format!("{}: {}; {}", now.phase, traffic(now), service(now))
}

fn head(now: &Snapshot) -> String {
    let elapsed = now.at_ms.saturating_sub(now.began_at_ms) / 1000;
    format!("{} of {}  {}  {}  {elapsed} s", now.number, now.of, now.experiment, now.phase)
}

fn traffic(now: &Snapshot) -> String {
    let counts = &now.counts;
    format!(
        "{:.0}/s arrivals, {} sent, {} acknowledged, {} refused, {} unanswered, {} sent again, p99 {:.0} ms",
        now.arrivals_per_second,
        counts.attempted,
        counts.acknowledged,
        counts.refused,
        counts.unknown,
        counts.retries,
        counts.post_p99_ms
    )
}

fn service(now: &Snapshot) -> String {
    let counts = &now.counts;
    let queue = now.queue.map_or_else(String::new, |sample| {
        let tasks = sample.tasks;
        format!(
            ", queue {} + {} in flight, {} dead letters",
            tasks.visible + tasks.delayed,
            tasks.in_flight,
            sample.dead_letters
        )
    });
    let completed = counts.succeeded + counts.dead_lettered;
    format!("{completed} completed, {} waiting{queue}", counts.outstanding)
}

/// The load from its beginning to its end: where it is, and where the faults lie.
fn bar(now: &Snapshot) -> String {
    let total_ms = now.faults.iter().map(|fault| fault.ends_ms).fold(now.load_ms, u64::max).max(1);
    let here_ms = since_load(now);
    (0..BAR_CELLS)
        .map(|cell| {
            let at_ms = total_ms * cell / BAR_CELLS;
            let passed = at_ms <= here_ms;
            let faulty = now.faults.iter().any(|fault| (fault.starts_ms..fault.ends_ms).contains(&at_ms));
            match (faulty, passed) {
                (true, true) => '█',
                (true, false) => '░',
                (false, true) => '━',
                (false, false) => '·',
            }
        })
        .collect()
}

fn since_load(now: &Snapshot) -> u64 {
    now.at_ms.saturating_sub(now.load_began_at_ms.unwrap_or(now.at_ms))
}

fn describe(fault: &LiveFault, now: &Snapshot) -> String {
    let here_ms = since_load(now);
    let state = match fault.state {
        FaultState::Waiting => format!("begins in {} s", fault.starts_ms.saturating_sub(here_ms) / 1000),
        FaultState::Active => format!("in effect, {} s left", fault.ends_ms.saturating_sub(here_ms) / 1000),
        FaultState::PutBack => "put back".to_owned(),
    };
    format!("{}: {state}", fault.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Depth, Sample};
    use loadtest::Counts;

    fn snapshot() -> Snapshot {
        Snapshot {
            experiment: "worker-throttled".into(),
            number: 2,
            of: 3,
            phase: "fault".into(),
            began_at_ms: 5_000,
            load_began_at_ms: Some(10_000),
            load_ms: 40_000,
            at_ms: 30_000,
            faults: vec![LiveFault {
                name: "lambda-reserved-concurrency on process-task".into(),
                starts_ms: 10_000,
                ends_ms: 30_000,
                state: FaultState::Active,
            }],
            counts: Counts {
                attempted: 400,
                acknowledged: 398,
                refused: 2,
                succeeded: 90,
                dead_lettered: 8,
                outstanding: 300,
                retries: 3,
                post_p99_ms: 41.6,
                ..Counts::default()
            },
            arrivals_per_second: 20.0,
            queue: Some(Sample {
                at_ms: 30_000,
                tasks: Depth { visible: 250, in_flight: 40, delayed: 10 },
                dead_letters: 8,
            }),
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_terminal_shows_phase_arrivals_ends_queue_dead_letters_and_the_fault_bar() {
        let lines = lines(&snapshot());
        assert_eq!(lines[0], "2 of 3  worker-throttled  fault  25 s");
        assert_eq!(
            lines[1],
            "20/s arrivals, 400 sent, 398 acknowledged, 2 refused, 0 unanswered, 3 sent again, p99 42 ms"
        );
        assert_eq!(lines[2], "98 completed, 300 waiting, queue 260 + 40 in flight, 8 dead letters");
        assert_eq!(lines[3], "faults  ━━━━━━━━━━███████████░░░░░░░░░··········");
        assert_eq!(lines[4], "        lambda-reserved-concurrency on process-task: in effect, 10 s left");
    }

    #[test]
    fn without_a_terminal_one_line_says_the_same() {
        let line = plain(&snapshot());
        assert!(line.starts_with("fault: 20/s arrivals, 400 sent"), "{line}");
        assert!(line.ends_with("8 dead letters"), "{line}");
        assert!(!line.contains('\n'));
    }
}
