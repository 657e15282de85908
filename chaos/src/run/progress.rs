//! What a person sees while a run lasts: a line that updates on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use loadtest::Counts;

/// Without a terminal the counts are printed this often: enough to see that it lives.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(120);

#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    printed: Mutex<Option<Instant>>,
}

impl Default for Progress {
    fn default() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // A template that cannot be parsed leaves the default one.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {prefix} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, began: Instant::now(), printed: Mutex::new(None) }
    }
}

impl Progress {
    pub fn begin(&self, experiment: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(experiment.to_owned());
        }
        self.line(&format!("experiment {experiment}"));
    }

    pub fn line(&self, text: &str) {
        let text = format!("[{:>6.1} s] {text}", self.began.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    pub fn counts(&self, counts: &Counts) {
        let text = format!(
            "{} sent, {} acknowledged, {} refused, {} unknown, {} done, {} waiting, p99 {:.0} ms",
            counts.attempted,
            counts.acknowledged,
            counts.refused,
            counts.unknown,
            counts.succeeded + counts.dead_lettered,
            counts.outstanding,
            counts.post_p99_ms
        );
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return;
        }
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.is_none_or(|at| at.elapsed() >= PLAIN_EVERY) {
            *printed = Some(Instant::now());
            drop(printed);
            self.line(&text);
        }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
