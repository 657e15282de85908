//! The direction of dependencies that `docs/architecture.md` promises, read from the manifests themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

const FUNCTIONS: [&str; 6] =
    ["submit-task", "list-tasks", "process-task", "websocket", "audit-dead-letters", "authorizer"];
/// Judges answers by the published documents; for tests of either side.
const JUDGE: &str = "contract";
const HARNESS: [&str; 3] = ["emulator", "loadtest", "chaos"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// None is an ordinary dependency; else `dev` or `build`.
    kind: Option<String>,
}

/// Every package of the workspace with what its manifest names, tests and builds included.
struct Layers(BTreeMap<String, Vec<Dependency>>);

impl Layers {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
            .arg(root)
            .output()
            .expect("cargo runs: it started this test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("format version 1");
        Self(metadata.packages.into_iter().map(|package| (package.name, package.dependencies)).collect())
    }

    fn dependencies(&self, package: &str) -> &[Dependency] {
        self.0.get(package).unwrap_or_else(|| panic!("the workspace has no package {package}"))
    }

    /// Those of our own packages that the package can reach, itself left out.
    fn ours_below(&self, package: &str) -> BTreeSet<&str> {
        let mut below = BTreeSet::new();
        let mut to_visit = vec![package];
        while let Some(visited) = to_visit.pop() {
            for Dependency { name, .. } in self.dependencies(visited) {
                if name != package && self.0.contains_key(name) && below.insert(name.as_str()) {
                    to_visit.push(name);
                }
            }
        }
        below
    }
}

#[test]
fn every_package_has_a_layer() {
    let known = ["task-core", "task-aws", JUDGE].into_iter().chain(FUNCTIONS).chain(HARNESS);
    let named: Vec<String> = Layers::read().0.into_keys().collect();
    assert_eq!(named, known.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
}

#[test]
fn the_service_never_depends_on_its_harness() {
    let layers = Layers::read();
    for package in ["task-core", "task-aws"].into_iter().chain(FUNCTIONS) {
        let below = layers.ours_below(package);
        assert!(below.is_disjoint(&HARNESS.into()), "{package} depends on {below:?}");
    }
}

#[test]
fn a_function_depends_on_no_other_function() {
    let layers = Layers::read();
    for function in FUNCTIONS {
        let mut below = layers.ours_below(function);
        below.remove(JUDGE);
        assert_eq!(below, BTreeSet::from(["task-aws", "task-core"]), "{function}");
        let is_judged = |dependency: &Dependency| dependency.name == JUDGE && dependency.kind.is_none();
        assert!(
            !layers.dependencies(function).iter().any(is_judged),
            "{function} ships the judge of its tests"
        );
    }
    assert_eq!(
        layers.ours_below(JUDGE),
        BTreeSet::new(),
        "a judge that shares code with what it judges sees nothing"
    );
    assert_eq!(layers.ours_below("task-aws"), BTreeSet::from(["task-core"]));
    assert_eq!(layers.ours_below("task-core"), BTreeSet::new());
}

#[test]
fn the_emulator_and_the_load_test_share_no_code_with_the_service() {
    let layers = Layers::read();
    for package in ["emulator", "loadtest"] {
        assert_eq!(layers.ours_below(package), BTreeSet::new(), "{package}");
    }
    assert!(!layers.ours_below("chaos").contains("emulator"), "the judge knows the emulator only by its API");
}

#[test]
fn the_core_sees_no_aws_no_runtime_and_no_lambda() {
    let layers = Layers::read();
    let core = layers.dependencies("task-core").iter().filter(|dependency| dependency.kind.is_none());
    let names: Vec<&str> = core.map(|dependency| dependency.name.as_str()).collect();
    assert!(names.contains(&"serde"), "a list that misses what is there proves nothing: {names:?}");
    for foreign in ["aws", "tokio", "lambda", "hyper", "reqwest"] {
        assert!(!names.iter().any(|name| name.starts_with(foreign)), "{foreign}: {names:?}");
    }
}
