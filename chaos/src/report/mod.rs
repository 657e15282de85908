//! What a run leaves for people and for machines.

mod compare;
mod compare_text;
mod html;
mod junit;
mod markdown;
mod terminal;

use std::fs::File;
use std::io::Write;
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

/// Writes the verdict and all forms of it into the run's folder.
pub fn write(folder: &Path, report: &RunReport) -> Result<(), ReportError> {
    let json = serde_json::to_string_pretty(report).map_err(ReportError::Json)?;
    put(folder, VERDICT_FILE, &json)?;
    write_forms(folder, report)
}

/// Writes what is made of a verdict, and leaves the verdict itself alone: there is no other.
pub fn write_forms(folder: &Path, report: &RunReport) -> Result<(), ReportError> {
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
    let (path, fresh) = (folder.join(name), folder.join(format!(".{name}.new")));
    let replaced = write_whole(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path));
    replaced.map_err(|source| {
        std::fs::remove_file(&fresh).ok();
        ReportError::Write { path, source }
    })
}

/// To the disk, before it takes the place of another: whatever ends this, one of the two is there and whole.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> RunReport {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts/pass.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn forms_are_written_again_and_the_verdict_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &verdict()).unwrap();
        let kept = folder.path().join(VERDICT_FILE);
        std::fs::write(&kept, "as it was").unwrap();
        std::fs::remove_file(folder.path().join("junit.xml")).unwrap();
        write_forms(folder.path(), &verdict()).unwrap();
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "as it was");
        assert!(folder.path().join("junit.xml").is_file());
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(names.is_empty(), "left beside them: {names:?}");
    }

    #[test]
    fn what_cannot_be_written_whole_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &verdict()).unwrap();
        // As a full disk would: the new one cannot be made.
        std::fs::create_dir(folder.path().join(format!(".{VERDICT_FILE}.new"))).unwrap();
        let error = write(folder.path(), &verdict()).unwrap_err();
        assert!(error.to_string().ends_with("verdict.json: cannot be written"), "{error}");
        assert_eq!(read(folder.path()).unwrap(), verdict());
    }
}
