//! What a run leaves for people and for machines.

mod compare;
mod compare_text;
mod html;
mod junit;
mod markdown;
mod terminal;

use std::path::{Path, PathBuf};

pub use compare::{Change, Comparison, ExperimentChange, Group, Side, compare};
pub use compare_text::{comparison_markdown, comparison_terminal};
pub(crate) use html::live_html;
pub use html::{comparison_html, html};
pub use junit::junit;
pub use markdown::markdown;
pub use terminal::table;

use crate::run::RunReport;

pub const VERDICT_FILE: &str = "verdict.json";
pub const SCHEMA_FILE: &str = "verdict.schema.json";

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{}: cannot be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}: cannot be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: not a verdict of this version", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("the verdict cannot be put into JSON")]
    Json(#[source] serde_json::Error),
    #[error("the verdict cannot be put into JUnit XML")]
    Junit(#[source] quick_junit::SerializeError),
}

/// Writes all forms of the report into the run's folder.
pub fn write(folder: &Path, report: &RunReport) -> Result<(), ReportError> {
    let json = serde_json::to_string_pretty(report).map_err(ReportError::Json)?;
    put(folder, VERDICT_FILE, &json)?;
    put(folder, SCHEMA_FILE, &schema_text()?)?;
    put(folder, "junit.xml", &junit(report).map_err(ReportError::Junit)?)?;
    put(folder, "summary.md", &markdown(report))?;
    put(folder, "report.html", &html(report).map_err(ReportError::Json)?)
}

/// The JSON Schema of `verdict.json`.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(RunReport)
}

fn schema_text() -> Result<String, ReportError> {
    serde_json::to_string_pretty(&schema()).map_err(ReportError::Json)
}

pub fn read(folder: &Path) -> Result<RunReport, ReportError> {
    let path = folder.join(VERDICT_FILE);
    let text = std::fs::read(&path).map_err(|source| ReportError::Read { path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| ReportError::Parse { path, source })
}

fn put(folder: &Path, name: &str, text: &str) -> Result<(), ReportError> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|source| ReportError::Write { path, source })
}
