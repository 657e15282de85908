//! One line that says where a run is.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use loadtest::Counts;

const TERMINAL_TICK: Duration = Duration::from_secs(1);
/// A log needs a sign of life, not a film.
const LOG_TICK: Duration = Duration::from_secs(10);
/// Back to the line's begin, and clear it.
const CLEAR_LINE: &str = "\r\x1b[2K";

pub(crate) struct Progress {
    began: Instant,
    is_terminal: bool,
    ticks: tokio::time::Interval,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let every = if is_terminal { TERMINAL_TICK } else { LOG_TICK };
        let ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        Self { began: Instant::now(), is_terminal, ticks }
    }

    pub(crate) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    pub(crate) fn show(&self, counts: &Counts) {
        let line = format!(
            "{:>4} s  sent {}  acknowledged {}  succeeded {}  dead-lettered {}  outstanding {}  POST p99 {:.0} ms",
            self.began.elapsed().as_secs(),
            counts.attempted,
            counts.acknowledged,
            counts.succeeded,
            counts.dead_lettered,
            counts.outstanding,
            counts.post_p99_ms,
        );
        if self.is_terminal {
            eprint!("{CLEAR_LINE}{line}");
            // A terminal that is gone shows nothing, which is no reason to end a run.
            drop(std::io::stderr().flush());
        } else {
            eprintln!("{line}");
        }
    }

    pub(crate) fn clear(&self) {
        if self.is_terminal {
            eprint!("{CLEAR_LINE}");
        }
    }
}
