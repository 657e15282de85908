//! The guides hold together: what a reader copies line by line works.

use std::collections::BTreeSet;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(path).expect("the document is there")
}

/// The lines of a section's blocks for a shell, without comments.
fn commands<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let section = document.split("\n## ").find(|text| text.lines().next() == Some(heading));
    let blocks = section.unwrap_or_default().split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines.map(|line| line.split(" # ").next().unwrap_or_default()).collect()
}

fn is_of_name(letter: char) -> bool {
    letter == '_' || letter.is_ascii_uppercase() || letter.is_ascii_digit()
}

/// `NAME` of each `$NAME` and `${NAME}`.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let names = line.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        rest.split(|letter: char| !is_of_name(letter)).next().unwrap_or_default()
    });
    names.filter(|name| !name.is_empty())
}

/// `NAME` of each `NAME=...`.
fn set(line: &str) -> impl Iterator<Item = &str> {
    let names = line.split_whitespace().filter_map(|word| word.split_once('=')).map(|(name, _)| name);
    names.filter(|name| !name.is_empty() && name.chars().all(is_of_name))
}

/// What is used before a line has set it.
fn unset<'a>(lines: &[&'a str]) -> BTreeSet<&'a str> {
    let (mut known, mut unset) = (BTreeSet::new(), BTreeSet::new());
    for &line in lines {
        unset.extend(used(line).filter(|name| !known.contains(name)));
        known.extend(set(line));
    }
    unset
}

#[test]
fn the_guide_to_a_redrive_sets_what_it_uses() {
    let guide = read("docs/operations.md");
    let lines = commands(&guide, "Redrive");
    assert!(lines.iter().any(|line| line.contains("start-message-move-task")), "it was read: {lines:?}");
    assert_eq!(unset(&lines), BTreeSet::new());
}

#[test]
fn a_variable_that_is_set_too_late_or_nowhere_is_noticed() {
    let lines = ["A=1   B=$(jq -r .b \"$STACK\")", "echo \"$A${B}\" --c=$C", "C=2"];
    assert_eq!(unset(&lines), BTreeSet::from(["C", "STACK"]));
}

#[test]
fn the_readme_asks_for_the_rust_that_the_workspace_needs() {
    let manifest = read("Cargo.toml");
    let needed = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let needed = needed.expect("the workspace has a floor").trim_matches('"');
    assert!(read("README.md").contains(&format!("Rust >= {needed}")), "Rust >= {needed}");
}
