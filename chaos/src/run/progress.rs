//! What a person sees while a run lasts: a view that updates on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use loadtest::Counts;

use super::Verdict;
use super::draw;
use super::live::{FaultState, Judged, Live, LiveFault};
use crate::clock::now_ms;
use crate::observe::Sample;
use crate::tell;

/// Without a terminal the counts are printed this often: enough to see that it lives.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(120);

#[derive(Debug)]
pub struct Progress {
    live: Arc<Live>,
    bar: Option<ProgressBar>,
    began: Instant,
    printed: Mutex<Option<Instant>>,
}

impl Progress {
    pub fn new(live: Arc<Live>, run_id: &str, experiments: usize) -> Self {
        live.change(|now| {
            now.run_id = run_id.to_owned();
            now.of = experiments;
        });
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // A template that cannot be parsed leaves the default one.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { live, bar, began: Instant::now(), printed: Mutex::new(None) }
    }

    pub fn begin(&self, experiment: &str) {
        self.live.begin(experiment);
        self.line(&format!("experiment {experiment}"));
    }

    /// The load begins, with these faults ahead of it.
    pub(super) fn load_begins(&self, load_ms: u64, faults: Vec<LiveFault>) {
        self.live.change(|now| {
            now.load_began_at_ms = Some(now_ms());
            now.load_ms = load_ms;
            now.faults = faults;
        });
    }

    pub(super) fn phase(&self, name: &str) {
        self.live.change(|now| now.phase = name.to_owned());
    }

    pub(super) fn fault(&self, number: usize, state: FaultState) {
        self.live.change(|now| {
            if let Some(fault) = now.faults.get_mut(number) {
                fault.state = state;
            }
        });
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        let text = format!("[{:>6.1} s] {text}", self.began.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.println(text),
            None => tell::err(text),
        }
    }

    pub fn observe(&self, counts: &Counts, queue: Option<Sample>) {
        self.live.observe(counts, queue);
        let now = self.live.snapshot();
        if let Some(bar) = &self.bar {
            bar.set_message(draw::lines(&now).join("\n  "));
            return;
        }
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.is_none_or(|at| at.elapsed() >= PLAIN_EVERY) {
            *printed = Some(Instant::now());
            drop(printed);
            self.line(&draw::plain(&now));
        }
    }

    pub(super) fn judged(&self, name: &str, verdict: Verdict) {
        self.live.change(|now| now.judged.push(Judged { name: name.to_owned(), verdict }));
        self.line(&format!("{name}: {}", verdict.name()));
    }

    pub fn end(&self, verdict: Verdict) {
        self.live.change(|now| {
            now.phase = "over".into();
            now.verdict = Some(verdict);
        });
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
