//! Every promise of `docs/guarantees.md` names what would fail if it were broken; a name that was changed in the code and
//! not there would prove nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source of the service, by its path below `lambdas/`.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Whether it is, or has, a module or type of this name.
    fn is_of(&self, name: &str) -> bool {
        self.path.iter().any(|part| part == name)
            || self.path.file_stem().is_some_and(|stem| stem == name)
            || ["mod", "struct", "enum"].iter().any(|kind| self.defines(kind, name))
    }

    fn defines(&self, kind: &str, name: &str) -> bool {
        let definition = format!("{kind} {name}");
        let is_whole = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        self.text.match_indices(&definition).any(|(at, _)| is_whole(&self.text[at + definition.len()..]))
    }

    /// A variant of an enum, at the beginning of its line.
    fn has_variant(&self, name: &str) -> bool {
        self.text.lines().any(|line| line.trim().trim_end_matches(',') == name)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources() -> Vec<Source> {
    let root = root().join("lambdas");
    let mut found = Vec::new();
    let mut to_visit = vec![root.clone()];
    while let Some(folder) = to_visit.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be listed").path();
            if path.is_dir() {
                to_visit.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                let path = path.strip_prefix(&root).expect("it lies below").to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names in the last column of the table, with the promise they stand for.
fn proofs(document: &str) -> Vec<(String, String)> {
    let rows = document.lines().filter(|line| line.starts_with("| G"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .flat_map(|cells| {
            let promise = cells[0].to_owned();
            let proved_by = cells.last().copied().unwrap_or_default();
            quoted(proved_by).map(|name| (promise.clone(), name.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

/// `package`, `function`, `module`, `Variant`, or the last of them within the one before: `module::function`.
fn exists(name: &str, sources: &[Source]) -> bool {
    // A package is the folder that it lies in; `task-core` lies in `core`.
    let parts: Vec<&str> = name.trim_start_matches("task-").split("::").collect();
    let (last, outer) = parts.split_last().expect("a split has one part at least");
    let mut within = sources.iter().filter(|source| outer.iter().all(|outer| source.is_of(outer)));
    within.any(|source| source.defines("fn", last) || source.is_of(last) || source.has_variant(last))
}

#[test]
fn what_proves_a_promise_is_there() {
    let document = std::fs::read_to_string(root().join("docs/guarantees.md")).expect("the document is there");
    let proofs = proofs(&document);
    let promises: BTreeSet<&str> = proofs.iter().map(|(promise, _)| promise.as_str()).collect();
    assert!(promises.len() >= 10, "the table was read: {promises:?}");
    let sources = sources();
    let missing: Vec<_> = proofs.iter().filter(|(_, name)| !exists(name, &sources)).collect();
    assert!(missing.is_empty(), "named in docs/guarantees.md and not in lambdas/: {missing:?}");
}

#[test]
fn a_name_that_is_nowhere_is_noticed() {
    let sources = sources();
    for name in ["histories::no_such_history", "no-such-package", "steps::tests::nothing", "World::nothing"] {
        assert!(!exists(name, &sources), "{name}");
    }
    assert!(exists("histories::without_faults_a_connected_client_hears_the_end_of_every_task", &sources));
}
