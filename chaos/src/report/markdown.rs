//! The summary for a pull request or a chat.

use crate::clock::rfc3339;
use crate::run::{ExperimentReport, Outcome, RunReport};

pub fn markdown(run: &RunReport) -> String {
    let mut text = format!(
        "# Chaos run {}: {}\n\nStarted {}, seed {}, {} s, account {} in {}.\n\n",
        cell(&run.run_id),
        run.verdict.name(),
        run.started_at,
        run.seed,
        run.took_ms / 1000,
        cell(&run.account_id),
        cell(&run.region)
    );
    if !run.reverted {
        text.push_str("**Not everything was put back: run `chaos recover`.**\n\n");
    }
    if let Some(reason) = &run.halted {
        text.push_str(&format!("**Stopped early: {}.**\n\n", cell(reason)));
    }
    if !run.skipped.is_empty() {
        let names: Vec<String> = run.skipped.iter().map(|name| cell(name)).collect();
        text.push_str(&format!("**Not run: {}.**\n\n", names.join(", ")));
    }
    text.push_str(
        "| experiment | verdict | acknowledged | lost | effects twice | dead letters (must, may) | recovery | dose |\n\
         | --- | --- | --: | --: | --: | --: | --: | --- |\n",
    );
    for experiment in &run.experiments {
        text.push_str(&row(experiment));
    }
    for experiment in &run.experiments {
        text.push_str(&details(experiment));
    }
    text
}

fn row(experiment: &ExperimentReport) -> String {
    let dose: Vec<String> = experiment.dose.iter().map(|dose| cell(&dose.measured)).collect();
    format!(
        "| {} | {} | {} of {} | {} | {} | {} ({}, {}) | {} | {} |\n",
        cell(&experiment.name),
        experiment.verdict.name(),
        experiment.acknowledged,
        experiment.attempted,
        experiment.lost,
        experiment.duplicate_effects,
        experiment.dlq_found,
        experiment.dlq_expected,
        experiment.dlq_allowed,
        experiment.recovery_ms.map_or("-".into(), |ms| format!("{:.1} s", ms as f64 / 1000.0)),
        dose.join("; ")
    )
}

fn details(experiment: &ExperimentReport) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", cell(&experiment.name), cell(&experiment.hypothesis));
    for check in &experiment.checks {
        let mark = match check.outcome {
            Outcome::Held => "held",
            Outcome::Broken => "**broken**",
            Outcome::Unknown => "**unknown**",
        };
        text.push_str(&format!("- {mark}: {} ({})\n", cell(&check.name), cell(&check.detail)));
    }
    if let Some(counterexample) = &experiment.counterexample {
        text.push_str(&format!(
            "\nTask {} {}:\n\n",
            cell(&counterexample.task_id),
            counterexample.kind.describe()
        ));
        for event in &counterexample.timeline {
            text.push_str(&format!(
                "1. {} {}: {}\n",
                rfc3339(event.at_ms),
                cell(&event.source),
                cell(&event.what)
            ));
        }
    }
    text
}

/// Nothing that a task or an error says can end a cell or begin markup.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => {
                out.push('\\');
                out.push(character);
            }
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
