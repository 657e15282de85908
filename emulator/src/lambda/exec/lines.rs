//! The platform's own log lines, in both formats, and where a function's lines go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::environment::InitPhase;
use super::host::Spec;
use super::pool::InitFailure;
use super::proxy::variable;
use crate::iam::{Ask, Context, Signer};
use crate::lambda::model::Logging;
use crate::settings::Settings;

/// `X-Amz-Log-Result` holds the last 4 KB.
const TAIL_MAX_BYTES: usize = 4_096;
/// "INFO, WARN or ERROR", INFO by default.
const FIS_LOG_LEVEL: &str = "AWS_FIS_LOG_LEVEL";

/// From the most detail to the least.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
/// The place of that level.
const INFO: usize = 2;
/// "Lambda supports most common naming conventions used by the managed runtimes."
const TIMESTAMPS: [&str; 3] = ["timestamp", "time", "@timestamp"];

/// The log of one environment: one stream of the function's group.
#[derive(Debug)]
pub(crate) struct Lines {
    settings: Settings,
    logging: Logging,
    group: String,
    pub(crate) stream: String,
    /// What a caller may ask for: what is logged until the first invocation ends, and then what belongs to an invocation
    /// whose caller wants it.
    tail: Mutex<Option<String>>,
    session: Signer,
    /// Lambda writes a function's log in the name of its role: without the permission nothing is written, and nobody is
    /// told.
    permitted: AtomicBool,
    /// `AWS_FIS_LOG_LEVEL`: what the fault-injection extension says is all of level INFO.
    extension_is_quiet: bool,
}

/// Of a line in JSON. AWS gives WARN to what reports a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Info,
    Warn,
}

/// What the REPORT line says.
#[derive(Clone, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) duration_ms: f64,
    pub(crate) init_ms: Option<f64>,
    pub(crate) timeout_seconds: u32,
    pub(crate) memory_mb: u32,
    pub(crate) memory_used_mb: u64,
    /// `success`, `failure`, `timeout` or `error`.
    pub(crate) status: &'static str,
    pub(crate) error_type: Option<&'a str>,
    /// The runtime itself ended; an error that a handler answered with leaves no mark in the text form.
    pub(crate) crashed: bool,
}

impl Lines {
    pub(crate) fn new(spec: &Spec, stream: String) -> Self {
        let (settings, logging) = (spec.host.settings.clone(), spec.config.logging.clone());
        let lines = Self {
            settings,
            group: logging.group(&spec.name),
            logging,
            stream,
            tail: Mutex::new(None),
            session: Signer::session(&spec.config.role, &spec.name),
            permitted: AtomicBool::new(false),
            extension_is_quiet: matches!(variable(&spec.config, FIS_LOG_LEVEL), Some("WARN" | "ERROR")),
        };
        lines.look_up_permission();
        lines
    }

    /// Once for each environment and each invocation: a policy may change between two of them.
    fn look_up_permission(&self) {
        let settings = &self.settings;
        let arn = format!(
            "arn:aws:logs:{}:{}:log-group:{}:log-stream:",
            settings.region, settings.account_id, self.group
        );
        let of_stream = format!("{arn}{}", self.stream);
        let may = |action, resource| {
            let ask = Ask { action, resource, context: Context::at(settings.clock.now_ms()) };
            settings.iam.check(&self.session, &ask).is_ok()
        };
        let permitted = !settings.iam.is_enforced()
            || ((settings.logs.has_group(&self.group) || may("logs:CreateLogGroup", &arn))
                && may("logs:CreateLogStream", &of_stream)
                && may("logs:PutLogEvents", &of_stream));
        self.permitted.store(permitted, Ordering::Relaxed);
    }

    /// Whether what is logged from now on is also kept for the caller, with what the init phase logged.
    pub(crate) fn keep_tail(&self, wanted: bool) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        *tail = wanted.then(|| tail.take().unwrap_or_default());
    }

    pub(crate) fn take_tail(&self) -> Option<String> {
        let text = self.tail.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut start = text.len().saturating_sub(TAIL_MAX_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        Some(text[start..].to_owned())
    }

    /// A line of the function's own, newline included. In the JSON format Lambda leaves out what is below the function's level.
    pub(crate) fn said(&self, line: &str) {
        let least = place_of(self.logging.application_level()).unwrap_or_default();
        if !self.logging.json || level_of(line) >= least {
            self.put(line);
        }
    }

    /// One line as it is, newline included.
    pub(crate) fn put(&self, line: &str) {
        if let Some(tail) = self.tail.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            tail.push_str(line);
            // Kept from growing with a chatty function; only the end is ever asked for.
            if tail.len() > 16 * TAIL_MAX_BYTES {
                let mut cut = tail.len() - TAIL_MAX_BYTES;
                while !tail.is_char_boundary(cut) {
                    cut += 1;
                }
                tail.drain(..cut);
            }
        }
        if !self.permitted.load(Ordering::Relaxed) {
            return;
        }
        self.settings.logs.put(&self.group, &self.stream, self.settings.clock.now_ms(), line);
    }

    /// A sandbox has one INIT_START, none where its next process initialises.
    pub(crate) fn init_start(&self, phase: InitPhase, runtime: &str) {
        if phase == InitPhase::Init {
            self.say_init_start(runtime);
        }
        // The first line of the tail is the function's own.
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = Some(String::new());
    }

    fn say_init_start(&self, runtime: &str) {
        let version = format!("{}.v1", runtime.replace("provided.", "provided:"));
        if self.logging.json {
            let record =
                json!({"initializationType": "on-demand", "phase": "init", "runtimeVersion": version});
            return self.platform(Level::Info, "platform.initStart", record);
        }
        let arn = runtime_arn(&self.settings.region);
        self.put(&format!("INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"));
    }

    /// Only of an init phase that failed, as on AWS.
    pub(crate) fn init_report(&self, phase: InitPhase, why: &InitFailure, init_ms: f64) {
        let (phase, error_type) = (phase.name(), why.error_type());
        let status = if *why == InitFailure::TimedOut { "timeout" } else { "error" };
        if self.logging.json {
            let mut record = json!({
                "initializationType": "on-demand", "phase": phase, "status": status,
                "metrics": {"durationMs": thousandths(init_ms)},
            });
            if let Some(error_type) = error_type {
                record["errorType"] = json!(error_type);
            }
            return self.platform(Level::Warn, "platform.initReport", record);
        }
        let mut line =
            format!("INIT_REPORT Init Duration: {init_ms:.2} ms\tPhase: {phase}\tStatus: {status}");
        if let Some(error_type) = error_type {
            line.push_str(&format!("\tError Type: {error_type}"));
        }
        line.push('\n');
        self.put(&line);
    }

    pub(crate) fn start(&self, request_id: &str, version: &str) {
        self.look_up_permission();
        if self.logging.json {
            let record = json!({"requestId": request_id, "version": version});
            return self.platform(Level::Info, "platform.start", record);
        }
        self.put(&format!("START RequestId: {request_id} Version: {version}\n"));
    }

    /// END and REPORT.
    pub(crate) fn report(&self, report: &Report<'_>) {
        let billed_ms = billed_ms(report);
        if self.logging.json {
            let level = if report.status == "success" { Level::Info } else { Level::Warn };
            return self.platform(level, "platform.report", json_report(report, billed_ms));
        }
        let id = report.request_id;
        self.put(&format!("END RequestId: {id}\n"));
        let mut line = format!(
            "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {billed_ms} ms\t\
             Memory Size: {} MB\tMax Memory Used: {} MB\t",
            report.duration_ms, report.memory_mb, report.memory_used_mb
        );
        if let Some(init_ms) = report.init_ms {
            line.push_str(&format!("Init Duration: {init_ms:.2} ms\t"));
        }
        match report.status {
            "timeout" => line.push_str("Status: timeout"),
            "error" if report.crashed => {
                let error_type = report.error_type.unwrap_or("Runtime.Unknown");
                line.push_str(&format!("Status: error\tError Type: {error_type}"));
            }
            _ => {}
        }
        line.push('\n');
        self.put(&line);
    }

    pub(crate) fn timed_out(&self, request_id: &str, seconds: u32) {
        let at = self.now();
        self.put(&format!("{at} {request_id} Task timed out after {seconds}.00 seconds\n\n"));
    }

    pub(crate) fn crashed(&self, request_id: &str, message: &str, error_type: &str) {
        self.put(&format!("RequestId: {request_id} Error: {message}\n{error_type}\n"));
    }

    /// A line of the fault-injection extension, in the form that its documentation shows.
    pub(crate) fn extension(&self, message: &str, request_id: Option<&str>) {
        if self.extension_is_quiet {
            return;
        }
        let at = self.now();
        let message = format!("AWS FIS EXTENSION - {message}");
        if self.logging.json {
            let mut fields = json!({"message": message});
            if let Some(request_id) = request_id {
                fields["requestId"] = json!(request_id);
            }
            return self.put(&format!("{}\n", json!({"timestamp": at, "level": "INFO", "fields": fields})));
        }
        self.put(&format!("{at} INFO {message}\n"));
    }

    fn platform(&self, level: Level, kind: &str, record: Value) {
        // "SystemLogLevel WARN" hides the ordinary life of an environment.
        if level == Level::Warn || self.logging.system_level() != "WARN" {
            self.put(&format!("{}\n", json!({"time": self.now(), "type": kind, "record": record})));
        }
    }

    fn now(&self) -> String {
        timestamp(self.settings.clock.now_ms())
    }
}

/// RFC 3339 with milliseconds.
pub(crate) fn timestamp(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The form of `LastModified`: no colon in the offset.
pub(crate) fn last_modified(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// A runtime version ARN has an opaque hash; this one says which runtime it stands for.
pub(crate) fn runtime_arn(region: &str) -> String {
    format!("arn:aws:lambda:{region}::runtime:{}", "0".repeat(64))
}

fn thousandths(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// AWS bills no more than the timeout, and whole milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "no invocation is longer than its timeout and its init phase"
)]
fn billed_ms(report: &Report<'_>) -> u64 {
    let invoked_ms = report.duration_ms.min(f64::from(report.timeout_seconds) * 1e3);
    (invoked_ms + report.init_ms.unwrap_or(0.0)).ceil() as u64
}

fn place_of(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level))
}

/// "If the level value field is invalid or missing, Lambda will assign the log output the level INFO", also "if you don't supply a
/// valid timestamp".
fn level_of(line: &str) -> usize {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let is_time = |text: &str| text.parse::<Timestamp>().is_ok();
    let is_dated = TIMESTAMPS.iter().any(|name| event[*name].as_str().is_some_and(is_time));
    let level = event["level"].as_str().filter(|_| is_dated);
    level.and_then(place_of).unwrap_or(INFO)
}

fn json_report(report: &Report<'_>, billed_ms: u64) -> Value {
    let mut metrics = json!({
        "durationMs": thousandths(report.duration_ms),
        "billedDurationMs": billed_ms,
        "memorySizeMB": report.memory_mb,
        "maxMemoryUsedMB": report.memory_used_mb,
    });
    if let Some(init_ms) = report.init_ms {
        metrics["initDurationMs"] = json!(thousandths(init_ms));
    }
    let mut record = json!({"requestId": report.request_id, "metrics": metrics, "status": report.status});
    if let Some(error_type) = report.error_type {
        record["errorType"] = json!(error_type);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_billed_than_the_timeout_and_only_whole_milliseconds() {
        let report = |duration_ms, init_ms| Report {
            request_id: "id",
            duration_ms,
            init_ms,
            timeout_seconds: 3,
            memory_mb: 128,
            memory_used_mb: 10,
            status: "success",
            error_type: None,
            crashed: false,
        };
        for (duration_ms, init_ms, billed) in [
            (12.1, None, 13),
            (12.0, None, 12),
            (12.1, Some(100.2), 113),
            (3_000.0, None, 3_000),
            (3_004.2, None, 3_000),
            (3_004.2, Some(100.5), 3_101),
        ] {
            let report = report(duration_ms, init_ms);
            assert_eq!(billed_ms(&report), billed, "{report:?}");
            let shown = json_report(&report, billed_ms(&report));
            assert_eq!(shown["metrics"]["billedDurationMs"].as_u64(), Some(billed), "{shown}");
        }
    }

    #[test]
    fn a_line_has_the_level_that_it_names_beside_its_time_and_else_info() {
        let at = "2027-01-15T08:00:00.123Z";
        for (line, level) in [
            (json!({"timestamp": at, "level": "warn"}), "WARN"),
            (json!({"time": at, "level": "ERROR", "message": "m"}), "ERROR"),
            (json!({"timestamp": at, "level": "DEBUG"}), "DEBUG"),
            (json!({"timestamp": "yesterday", "level": "ERROR"}), "INFO"),
            (json!({"level": "DEBUG"}), "INFO"),
            (json!({"timestamp": at, "level": "LOUD"}), "INFO"),
            (json!({"timestamp": at, "level": 3}), "INFO"),
            (json!({"_aws": {}}), "INFO"),
            (json!(["level"]), "INFO"),
        ] {
            assert_eq!(LEVELS[level_of(&format!("{line}\n"))], level, "{line}");
        }
        assert_eq!(LEVELS[level_of("panicked at src/main.rs\n")], "INFO");
    }
}
