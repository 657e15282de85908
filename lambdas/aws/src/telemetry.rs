//! One wide event per invocation, in CloudWatch's embedded metric format.
//!
//! Our own writer and not a crate: the format is one JSON line, and a metrics crate would add to compile time, cold start
//! and size what these lines do.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use task_core::notify::PushReport;
use task_core::ports::Clock as _;
use task_core::{EpochMs, Owner};

use crate::env::{Env as _, ProcessEnv};
use crate::sdk;
use crate::system::SystemClock;

/// AWS: alarms and dashboards find our metrics by this name.
pub const NAMESPACE: &str = "Tasks";

/// AWS: "The name of the function." Not the name of the program, which several stacks of one account and region share.
const ENV_FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

static DEPLOYED_AS: LazyLock<Option<String>> = LazyLock::new(|| ProcessEnv.get(ENV_FUNCTION_NAME));

/// Enough to find one owner's lines, and nothing that names the owner.
pub fn owner_hash(owner: &Owner) -> String {
    const BYTES: usize = 8;
    task_core::idempotency::hex(&Sha256::digest(owner.as_str())[..BYTES])
}

/// The trace in an X-Ray header: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=…;Sampled=1`.
pub fn trace_id(header: &str) -> &str {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root=")).unwrap_or(header)
}

static IS_WARM: AtomicBool = AtomicBool::new(false);

/// Of `ru_maxrss`: Linux counts kilobytes, and macOS bytes.
const RSS_UNITS_PER_MB: u64 = if cfg!(target_os = "macos") { 1024 * 1024 } else { 1024 };

/// What the process has used so far, as the kernel counts it.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu_us: u64,
    memory_peak_mb: u64,
}

impl Usage {
    /// Nothing where the kernel does not say: a metric is no reason to fail an invocation.
    fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let cpu_us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let memory_peak_mb = u64::try_from(usage.max_rss()).unwrap_or_default().div_ceil(RSS_UNITS_PER_MB);
        Self { cpu_us: u64::try_from(cpu_us).unwrap_or_default(), memory_peak_mb }
    }
}

/// Written when dropped, so that no way out of a handler forgets it.
#[derive(Debug)]
pub struct WideEvent {
    function: &'static str,
    started_at: EpochMs,
    calls_before: u64,
    cpu_us_before: u64,
    metrics: BTreeMap<&'static str, (&'static str, u64)>,
    fields: BTreeMap<&'static str, Value>,
}

impl WideEvent {
    /// `program` is what runs, whatever it is deployed as. `trace` is the X-Ray header that the invocation came with.
    pub fn begin(program: &'static str, request_id: &str, trace: Option<&str>) -> Self {
        Self::of(DEPLOYED_AS.as_deref().unwrap_or(program), request_id, trace)
    }

    fn of(function: &'static str, request_id: &str, trace: Option<&str>) -> Self {
        let mut event = Self {
            function,
            started_at: SystemClock.now(),
            calls_before: sdk::calls(),
            cpu_us_before: Usage::now().cpu_us,
            metrics: BTreeMap::new(),
            fields: BTreeMap::from([("request_id", Value::from(request_id))]),
        };
        if let Some(trace) = trace {
            event.field("trace_id", trace_id(trace));
        }
        let is_cold = !IS_WARM.swap(true, Ordering::Relaxed);
        event.count("cold_start", u64::from(is_cold));
        event
    }

    pub fn count(&mut self, name: &'static str, value: u64) {
        self.metrics.entry(name).or_insert(("Count", 0)).1 += value;
    }

    /// How much of something there is now. Read with `Maximum`: the next invocation finds the same again.
    pub fn level(&mut self, name: &'static str, value: u64) {
        self.set(name, "Count", value);
    }

    pub fn milliseconds(&mut self, name: &'static str, value: u64) {
        self.set(name, "Milliseconds", value);
    }

    fn set(&mut self, name: &'static str, unit: &'static str, value: u64) {
        self.metrics.insert(name, (unit, value));
    }

    /// CloudWatch has units for both; a task takes less than a millisecond of a processor.
    fn usage(&mut self) {
        let usage = Usage::now();
        let cpu_us = usage.cpu_us.saturating_sub(self.cpu_us_before);
        self.set("cpu_us", "Microseconds", cpu_us);
        self.set("memory_peak_mb", "Megabytes", usage.memory_peak_mb);
    }

    pub fn field(&mut self, name: &'static str, value: impl Into<Value>) {
        self.fields.insert(name, value.into());
    }

    pub fn owner(&mut self, owner: &Owner) {
        self.field("owner_hash", owner_hash(owner));
    }

    pub fn pushes(&mut self, report: PushReport) {
        self.count("pushes", u64::from(report.sent));
        self.count("pushes_gone", u64::from(report.gone));
        self.count("push_failures", u64::from(report.failed));
    }

    /// The event as it is written, with what the invocation has cost so far.
    #[cfg(any(test, feature = "testing"))]
    pub fn line(&mut self) -> Value {
        // Cannot fail: every key in it is text.
        serde_json::to_value(self.ended()).unwrap_or_default()
    }

    fn ended(&mut self) -> Line<'_> {
        let now = SystemClock.now();
        self.milliseconds("duration_ms", now.since(self.started_at).0);
        // An environment has one invocation at a time, so the difference is this one's.
        self.set("dependency_calls", "Count", sdk::calls().saturating_sub(self.calls_before));
        self.usage();
        Line { event: self, now }
    }
}

impl Drop for WideEvent {
    fn drop(&mut self) {
        // As one piece: standard output looks through each that it gets for an end of line.
        if let Ok(line) = serde_json::to_string(&self.ended()) {
            println!("{line}");
        }
    }
}

/// An event as it is written, without a tree of values in between: every invocation pays for it.
struct Line<'a> {
    event: &'a WideEvent,
    now: EpochMs,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WideEvent { function, metrics, fields, .. } = self.event;
        let defined = metrics.iter().map(|(name, (unit, _))| Definition { name, unit }).collect();
        let directive = Directive { namespace: NAMESPACE, dimensions: [["function"]], metrics: defined };
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &Metadata { timestamp: self.now.0, cloud_watch_metrics: [directive] })?;
        line.serialize_entry("function", function)?;
        for (name, (_, value)) in metrics {
            line.serialize_entry(name, value)?;
        }
        for (name, value) in fields {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: u64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: Vec<Definition<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    name: &'a str,
    unit: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    const OPERATIONS: &str = include_str!("../../../docs/operations.md");

    /// CloudWatch bills each by its name and function.
    #[test]
    fn operators_are_told_how_many_metrics_they_pay_for() {
        let every = testing::promised("every").len();
        let pushes = testing::promised("process-task and audit-dead-letters").len();
        let of = |function: &str| every + testing::promised(function).len();
        let audits = of("audit-dead-letters") + pushes;
        let without_pushes: usize =
            ["submit-task", "list-tasks", "websocket", "authorizer", "process-task"].map(of).iter().sum();
        let all = without_pushes + pushes + audits;
        assert!(OPERATIONS.contains(&format!("| {audits} metrics of the audits")), "{audits}");
        assert!(OPERATIONS.contains(&format!("up to {all} metrics in all")), "{all}");
    }

    #[test]
    fn what_an_invocation_used_is_counted_from_its_beginning() {
        let mut event = WideEvent::begin("process-task", "r-1", None);
        let (began_us, wanted_us) = (event.cpu_us_before, 20_000);
        let mut digest = [0; 32];
        while Usage::now().cpu_us < began_us + wanted_us {
            digest = Sha256::digest(std::hint::black_box(digest)).into();
        }
        event.usage();
        let (unit, cpu_us) = event.metrics["cpu_us"];
        assert_eq!(unit, "Microseconds");
        assert!((wanted_us..=Usage::now().cpu_us - began_us).contains(&cpu_us), "{cpu_us}");
        let (unit, memory_mb) = event.metrics["memory_peak_mb"];
        assert_eq!(unit, "Megabytes");
        // A test binary of this crate is some megabytes large and nowhere near a gigabyte.
        assert!((1..1_024).contains(&memory_mb), "{memory_mb}");
    }

    /// By their program alone, the worker of one would be the worker of all.
    #[test]
    fn two_stacks_of_one_account_and_region_have_metrics_of_their_own() {
        let [dev, other] = ["dev-submit-task", "other-submit-task"]
            .map(|deployed_as| WideEvent::of(deployed_as, "r-1", None).line());
        assert_eq!(dev["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["function"]]));
        assert_eq!([&dev["function"], &other["function"]], ["dev-submit-task", "other-submit-task"]);
    }

    #[test]
    fn every_invocation_carries_what_is_promised_of_every_function() {
        let mut event = WideEvent::begin("websocket", "r-1", None);
        assert_eq!(testing::metrics(&event.line()), testing::promised("every"));
    }

    #[test]
    fn pushes_are_counted_by_how_they_ended() {
        let mut event = WideEvent::begin("process-task", "r-1", None);
        event.pushes(PushReport { sent: 1, gone: 2, failed: 3 });
        let line = event.line();
        let mut expected = testing::promised("every");
        expected.extend(testing::promised("process-task and audit-dead-letters"));
        assert_eq!(testing::metrics(&line), expected);
        assert_eq!(["pushes", "pushes_gone", "push_failures"].map(|name| line[name].clone()), [1, 2, 3]);
    }

    #[test]
    fn every_metric_is_defined_and_is_a_root_member() {
        let mut event = WideEvent::begin("submit-task", "r-1", Some("Root=1-2-3;Parent=4;Sampled=1"));
        event.count("accepted", 1);
        event.count("accepted", 1);
        event.milliseconds("queue_age_ms", 7);
        event.owner(&Owner::parse("alice@example.com").unwrap());
        let line = event.line();
        let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().clone();
        assert!(defined.contains(&json!({"Name": "accepted", "Unit": "Count"})));
        assert!(defined.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_u64()));
        assert_eq!(line["accepted"], 2);
        assert_eq!(line["request_id"], "r-1");
        assert_eq!(line["trace_id"], "1-2-3");
        assert!(!line.to_string().contains("alice"));
    }
}
