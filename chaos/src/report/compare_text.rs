//! A comparison for a terminal, and for a pull request.

use std::fmt::Write;

use super::markdown::cell;
use super::{Comparison, ExperimentChange};
use crate::run::Verdict;

pub fn comparison_terminal(comparison: &Comparison) -> String {
    let mut text = format!("{} (A)  against  {} (B)\n", comparison.a.run_id, comparison.b.run_id);
    for experiment in &comparison.experiments {
        push(&mut text, format_args!("\n{}: {}\n", experiment.name, verdicts(experiment)));
        let width =
            experiment.changes.iter().map(|change| change.what.chars().count()).max().unwrap_or_default();
        for change in &experiment.changes {
            let difference = change.difference.as_ref().map(|by| format!("  ({by})")).unwrap_or_default();
            push(
                &mut text,
                format_args!(
                    "  {:<13}  {:<width$}  {} -> {}{difference}\n",
                    change.group.name(),
                    change.what,
                    change.a,
                    change.b
                ),
            );
        }
        if experiment.changes.is_empty() {
            text.push_str("  nothing else changed\n");
        }
    }
    push(&mut text, format_args!("\n{}\n", conclusion(comparison)));
    text
}

pub fn comparison_markdown(comparison: &Comparison) -> String {
    let (a, b) = (&comparison.a, &comparison.b);
    let mut text = format!(
        "# {} against {}\n\nA is {} (seed {}), B is {} (seed {}). {}\n",
        cell(&a.run_id),
        cell(&b.run_id),
        a.verdict.name(),
        a.seed,
        b.verdict.name(),
        b.seed,
        conclusion(comparison)
    );
    for experiment in &comparison.experiments {
        push(&mut text, format_args!("\n## {}: {}\n", cell(&experiment.name), verdicts(experiment)));
        if experiment.changes.is_empty() {
            text.push_str("\nNothing else changed.\n");
            continue;
        }
        text.push_str("\n| | what | A | B | difference |\n| --- | --- | --- | --- | --: |\n");
        for change in &experiment.changes {
            push(
                &mut text,
                format_args!(
                    "| {} | {} | {} | {} | {} |\n",
                    change.group.name(),
                    cell(&change.what),
                    cell(&change.a),
                    cell(&change.b),
                    cell(change.difference.as_deref().unwrap_or_default())
                ),
            );
        }
    }
    text
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("invariant: a string takes all that is written to it");
}

fn verdicts(experiment: &ExperimentChange) -> String {
    let name = |verdict: Option<Verdict>| verdict.map_or("not run", Verdict::name);
    let (a, b) = (name(experiment.a), name(experiment.b));
    let worse = if experiment.worse { ", worse" } else { "" };
    if a == b { format!("{a} in both") } else { format!("{a} -> {b}{worse}") }
}

fn conclusion(comparison: &Comparison) -> &'static str {
    if comparison.worse { "B is worse than A." } else { "No experiment of B is worse than in A." }
}
