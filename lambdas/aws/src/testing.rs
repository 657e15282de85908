//! What the tests of every package above need: names as they are published, and what was logged.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use serde_json::Value;

use crate::env::Env;
use crate::{logging, sdk};

const ARCHITECTURE: &str = include_str!("../../../docs/architecture.md");

/// The environment of a function whose calls reach nobody: nothing listens at port 1, so that each fails at once.
pub fn cut_off() -> HashMap<&'static str, &'static str> {
    HashMap::from([(sdk::ENV_REGION, "eu-central-1"), (sdk::ENV_ENDPOINT_URL, "http://127.0.0.1:1")])
}

/// # Panics
/// Never: the environment above is complete.
pub fn cut_off_sdk() -> SdkConfig {
    sdk::config(&cut_off()).expect("region and endpoint are set")
}

/// The metrics that `docs/architecture.md` promises of `who`: what stands between backticks in that row of its table.
///
/// # Panics
/// When there is no such row.
pub fn promised(who: &str) -> BTreeSet<String> {
    let beginning = format!("| {who} |");
    let row = ARCHITECTURE.lines().find_map(|line| line.strip_prefix(&beginning));
    let row = row.unwrap_or_else(|| panic!("docs/architecture.md promises something of {who}"));
    row.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The metrics that a line in CloudWatch's embedded format defines.
pub fn metrics(line: &Value) -> BTreeSet<String> {
    let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array();
    let names = defined.into_iter().flatten().filter_map(|metric| metric["Name"].as_str());
    names.map(ToOwned::to_owned).collect()
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct NoEnv;

impl Env for NoEnv {
    fn get(&self, _key: &'static str) -> Option<String> {
        None
    }
}

/// Runs `work` as a function does, and gives the lines that it logged.
///
/// # Panics
/// When there is no runtime to be had, or a line is not JSON.
pub fn logged<F: Future>(work: F) -> (F::Output, Vec<Value>) {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = logging::subscriber(&NoEnv, move || writer.clone());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let output = tracing::subscriber::with_default(subscriber, || runtime.block_on(work));
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&bytes);
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    (output, lines)
}

/// The failed calls among `lines` that `request_id` finds, and how many there are in all.
pub fn failed_calls(lines: &[Value], request_id: &str) -> (usize, usize) {
    let is_failed = |line: &&Value| line["message"] == "dependency call failed";
    let failed: Vec<&Value> = lines.iter().filter(is_failed).collect();
    let is_found = |line: &&&Value| line.to_string().contains(&format!("\"{request_id}\""));
    (failed.iter().filter(is_found).count(), failed.len())
}
