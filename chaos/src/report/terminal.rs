//! The verdict as a table of plain text.

use crate::run::{ExperimentReport, RunReport};

const HEAD: [&str; 9] = [
    "experiment",
    "verdict",
    "acknowledged",
    "lost",
    "twice",
    "unexpected",
    "dead letters",
    "recovery",
    "p99 post",
];

pub fn table(run: &RunReport) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(run.experiments.iter().map(row));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for experiment in run.experiments.iter().filter(|experiment| !experiment.reasons.is_empty()) {
        text.push_str(&format!("\n{} is {}:\n", experiment.name, experiment.verdict.name()));
        for reason in &experiment.reasons {
            text.push_str(&format!("  - {reason}\n"));
        }
    }
    if !run.skipped.is_empty() {
        text.push_str(&format!("\nnot run: {}\n", run.skipped.join(", ")));
    }
    text.push_str(&format!(
        "\nverdict {} in {:.0} s, seed {}{}{}\n",
        run.verdict.name(),
        run.took_ms as f64 / 1000.0,
        run.seed,
        if run.reverted { "" } else { "; NOT EVERYTHING WAS PUT BACK, run `chaos recover`" },
        run.halted.as_ref().map(|reason| format!("; stopped: {reason}")).unwrap_or_default()
    ));
    text
}

fn row(experiment: &ExperimentReport) -> [String; 9] {
    let dead = if experiment.dlq_expected == experiment.dlq_allowed {
        format!("{} of {}", experiment.dlq_found, experiment.dlq_expected)
    } else {
        format!("{} of {}..{}", experiment.dlq_found, experiment.dlq_expected, experiment.dlq_allowed)
    };
    [
        experiment.name.clone(),
        experiment.verdict.name().to_owned(),
        format!("{} of {}", experiment.acknowledged, experiment.attempted),
        experiment.lost.to_string(),
        experiment.duplicate_effects.to_string(),
        experiment.unexpected.to_string(),
        dead,
        experiment.recovery_ms.map_or("-".into(), |ms| format!("{:.1} s", ms as f64 / 1000.0)),
        p99(experiment),
    ]
}

/// The worst of the phases.
fn p99(experiment: &ExperimentReport) -> String {
    let worst = experiment.phases.iter().map(|phase| phase.post.p99_ms).fold(0.0, f64::max);
    format!("{worst:.0} ms")
}
