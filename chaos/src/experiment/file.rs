//! Reading experiment files. What is wrong is told with its file, line, field, and what was expected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadtest::LoadError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Experiment, Load};

/// Larger files are no experiments.
const FILE_BYTES_MAX: u64 = 256 * 1024;
const NAME_LENGTH_MAX: usize = 48;
const RATE_MAX_PER_SECOND: f64 = 10_000.0;
const OWNERS_MAX: u32 = 1000;
const SOCKETS_MAX: u32 = 10;
/// No queue of a stack says less of its visibility timeout.
const VISIBILITY_MIN: Duration = Duration::from_secs(1);
/// What `toml::Spanned` adds to the path of a field; no name of ours.
const SPAN_STEP: &str = ".$__serde_spanned_private_value";

#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    #[error("{}: cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: has no experiment files, which end in .toml", path.display())]
    NoFiles { path: PathBuf },
    #[error("{}: {bytes} bytes; an experiment has at most {FILE_BYTES_MAX}", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{}:{line}: field `{field}`: {expected}", path.display())]
    Field { path: PathBuf, line: usize, field: String, expected: String },
    #[error("{}: the name `{name}` is already that of another file of this run", path.display())]
    SameName { path: PathBuf, name: String },
}

/// Reads and checks all files, and only then returns: nothing is touched because of a first good file.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Experiment>, ExperimentError> {
    let mut names = BTreeSet::new();
    let mut experiments = Vec::with_capacity(paths.len());
    for path in paths {
        let experiment = load_one(path)?;
        if !names.insert(experiment.name.clone()) {
            return Err(ExperimentError::SameName { path: path.clone(), name: experiment.name });
        }
        experiments.push(experiment);
    }
    Ok(experiments)
}

/// The experiment files of a folder, by name.
pub fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    let unreadable = |source| ExperimentError::Unreadable { path: folder.to_owned(), source };
    let entries: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(unreadable)?.collect();
    let paths = entries.map_err(unreadable)?.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    if files.is_empty() {
        return Err(ExperimentError::NoFiles { path: folder.to_owned() });
    }
    Ok(files)
}

/// The JSON Schema of an experiment file.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Experiment)
}

fn load_one(path: &Path) -> Result<Experiment, ExperimentError> {
    let unreadable = |source| ExperimentError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(ExperimentError::TooLarge { path: path.to_owned(), bytes });
    }
    parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
}

fn parse(path: &Path, text: &str) -> Result<Experiment, ExperimentError> {
    let problem = |offset: usize, field: String, expected: String| ExperimentError::Field {
        path: path.to_owned(),
        line: line_of(text, offset),
        field,
        expected,
    };
    let document = toml::Deserializer::parse(text).map_err(|error| {
        problem(error.span().map_or(0, |span| span.start), "(syntax)".into(), error.message().to_owned())
    })?;
    let experiment: Experiment = serde_path_to_error::deserialize(document).map_err(|error| {
        let field = error.path().to_string().replace(SPAN_STEP, "");
        let inner = error.into_inner();
        problem(inner.span().map_or(0, |span| span.start), field, inner.message().to_owned())
    })?;
    match check(&experiment) {
        Some((field, expected)) => Err(problem(offset_of(text, &field), field, expected)),
        None => Ok(experiment),
    }
}

/// What serde's types cannot say: the field, and what was expected.
fn check(experiment: &Experiment) -> Option<(String, String)> {
    let problem = |field: &str, expected: &str| Some((field.to_owned(), expected.to_owned()));
    if !is_name(&experiment.name) {
        return problem("name", "1 to 48 lower-case letters, digits and hyphens");
    }
    if experiment.hypothesis.trim().is_empty() {
        return problem("hypothesis", "what is believed to hold, in words");
    }
    let found = load_problem(&experiment.load).or_else(|| limit_problem(experiment));
    if found.is_some() {
        return found;
    }
    for (index, fault) in experiment.fault_specs().enumerate() {
        if let Some((field, expected)) = fault.problem() {
            return Some((format!("fault[{index}].{field}"), expected));
        }
    }
    let moved = experiment.fault_specs().find(|fault| fault.delays_clients());
    if let (Some(_), Some(fault)) = (experiment.abort.p99_ms_max, moved) {
        let expected = format!("a metric that the fault does not move, and {} does", fault.kind.name());
        return problem("abort.p99_ms_max", &expected);
    }
    None
}

/// What no load can be, on whatever stack.
fn load_problem(load: &Load) -> Option<(String, String)> {
    let problem = |field: &str, expected: &str| Some((format!("load.{field}"), expected.to_owned()));
    if !(1.0..=RATE_MAX_PER_SECOND).contains(&load.rate_per_second) {
        return problem("rate_per_second", "1 to 10000");
    }
    if !(1..=OWNERS_MAX).contains(&load.owners) {
        return problem("owners", "1 to 1000");
    }
    let sockets =
        [("silent", load.sockets.silent), ("slow", load.sockets.slow), ("dropped", load.sockets.dropped)];
    if let Some((kind, _)) = sockets.iter().find(|(_, count)| *count > SOCKETS_MAX) {
        return problem(&format!("sockets.{kind}"), "0 to 10");
    }
    match load.plan(VISIBILITY_MIN).validate() {
        Ok(()) => None,
        Err(LoadError::Plan { field, problem: expected }) => problem(field, &expected),
        Err(error) => Some(("load".to_owned(), error.to_string())),
    }
}

/// Limits that are none: nothing that is measured is ever above them, or all is.
fn limit_problem(experiment: &Experiment) -> Option<(String, String)> {
    let (expect, abort) = (&experiment.expect, &experiment.abort);
    let shares = [
        ("expect.refused_percent_max", Some(expect.refused_percent_max)),
        ("expect.refused_percent_during_max", expect.refused_percent_during_max),
        ("expect.missed_pushes_percent_max", Some(expect.missed_pushes_percent_max)),
        ("abort.refused_percent", Some(abort.refused_percent)),
    ];
    let waits =
        [("expect.p99_after_ms_max", expect.p99_after_ms_max), ("abort.p99_ms_max", abort.p99_ms_max)];
    let is_no_share = |share: f64| !(0.0..=100.0).contains(&share);
    let is_no_wait = |wait_ms: f64| !(0.0..f64::INFINITY).contains(&wait_ms);
    let shares = shares.into_iter().filter(|(_, share)| share.is_some_and(is_no_share));
    let waits = waits.into_iter().filter(|(_, wait_ms)| wait_ms.is_some_and(is_no_wait));
    let shares = shares.map(|(field, _)| (field.to_owned(), "0 to 100".to_owned()));
    let waits = waits.map(|(field, _)| (field.to_owned(), "a number from 0".to_owned()));
    shares.chain(waits).next()
}

/// Where the value of a field is, or the innermost table that lacks it.
fn offset_of(text: &str, field: &str) -> usize {
    let Ok(document) = DeTable::parse(text) else { return 0 };
    let document = Spanned::new(0..0, DeValue::Table(document.into_inner()));
    let mut place = &document;
    for step in field.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
        let inner = place.get_ref();
        let Some(next) = step.parse::<usize>().map_or_else(|_| inner.get(step), |index| inner.get(index))
        else {
            break;
        };
        place = next;
    }
    place.span().start
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LENGTH_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::FaultKind;

    const GOOD: &str = r#"name = "throttled"
hypothesis = "The backlog drains."
[load]
rate_per_second = 40
duration = "20s"
settle = "30s"
[[fault]]
kind = "lambda-reserved-concurrency"
target = "process-task"
start = "2s"
duration = "6.5 receives"
concurrency = 0
"#;

    fn read(text: &str) -> Result<Experiment, String> {
        parse(Path::new("x.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_good_file_is_read() {
        let experiment = read(GOOD).unwrap();
        assert_eq!(experiment.faults.len(), 1);
        assert_eq!(experiment.load.owners, OWNERS_DEFAULT_SEEN);
    }

    const OWNERS_DEFAULT_SEEN: u32 = 4;

    #[test]
    fn what_is_wrong_is_told_with_file_line_field_and_expectation() {
        for (from, to, told) in [
            (
                "rate_per_second = 40",
                "rate_per_second = \"many\"",
                "x.toml:4: field `load.rate_per_second`: invalid type",
            ),
            (
                "rate_per_second = 40",
                "rate_per_second = 0",
                "x.toml:4: field `load.rate_per_second`: 1 to 10000",
            ),
            (
                "settle = \"30s\"",
                "settles = \"30s\"",
                "x.toml:6: field `load.settles`: unknown field `settles`, expected one of",
            ),
            (
                "\"6.5 receives\"",
                "\"soon\"",
                "x.toml:11: field `fault[0].duration`: not a length of time: \"soon\"",
            ),
            (
                "concurrency = 0",
                "percent = 5",
                "field `fault[0].percent`: no such field with lambda-reserved-concurrency",
            ),
            (
                "concurrency = 0",
                "",
                "field `fault[0].concurrency`: a value: lambda-reserved-concurrency needs it",
            ),
            (
                "lambda-reserved-concurrency",
                "lightning",
                "x.toml:8: field `fault[0].kind`: unknown variant `lightning`, expected one of",
            ),
            ("name = \"throttled\"", "name = \"A B\"", "x.toml:1: field `name`: 1 to 48"),
            ("concurrency = 0", "concurrency = 1001", "x.toml:12: field `fault[0].concurrency`: 0 to 1000"),
            (
                "[load]",
                "[expect]\nrefused_percent_max = nan\n[load]",
                "x.toml:4: field `expect.refused_percent_max`: 0 to 100",
            ),
            (
                "[load]",
                "[expect]\nmissed_pushes_percent_max = nan\n[load]",
                "x.toml:4: field `expect.missed_pushes_percent_max`: 0 to 100",
            ),
            (
                "[load]",
                "[abort]\nattempts_min = 1\nrefused_percent = nan\n[load]",
                "x.toml:5: field `abort.refused_percent`: 0 to 100",
            ),
            (
                "[load]",
                "[expect]\np99_after_ms_max = nan\n[load]",
                "x.toml:4: field `expect.p99_after_ms_max`: a number from 0",
            ),
            ("[load]", "[load", "x.toml:3: field `(syntax)`"),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(told), "{error}\n  lacks: {told}");
        }
    }

    #[test]
    fn a_line_is_that_of_the_field_and_not_of_another_of_this_name() {
        let owners = GOOD.replace("The backlog", "Of two owners each backlog");
        let owners = owners.replace("settle =", "owners = 0\nsettle =");
        assert_eq!(read(&owners).unwrap_err(), "x.toml:6: field `load.owners`: 1 to 1000");
        let throttle = "kind = \"http-throttle\"\ntarget = \"http-api\"\nstart = \"0s\"\nduration = \"9s\"\n\
                        rate_per_second = 5\nburst = 5\n";
        let (head, load) = GOOD.split_once("[load]").unwrap();
        let (load, _) = load.split_once("[[fault]]").unwrap();
        let load = load.replace("rate_per_second = 40", "rate_per_second = 0");
        let text = format!("{head}[[fault]]\n{throttle}[load]{load}");
        assert_eq!(read(&text).unwrap_err(), "x.toml:11: field `load.rate_per_second`: 1 to 10000");
        let second =
            format!("{GOOD}[[fault]]\n{}", throttle.replace("rate_per_second = 5", "rate_per_second = -1"));
        let told = "x.toml:18: field `fault[1].rate_per_second`: a number from 0";
        assert_eq!(read(&second).unwrap_err(), told);
    }

    /// What the load generator would refuse in the middle of a suite is refused here.
    #[test]
    fn each_bound_of_the_schema_is_kept() {
        let with = |table: &str, line: &str| match table {
            "load" => GOOD.replace("[load]", &format!("[load]\n{line}")),
            table => format!("{GOOD}[{table}]\n{line}\n"),
        };
        for (table, line, is_taken) in [
            ("load", "owners = 0", false),
            ("load", "owners = 1", true),
            ("load", "owners = 1000", true),
            ("load", "owners = 1001", false),
            ("load.sockets", "silent = 10", true),
            ("load.sockets", "silent = 11", false),
            ("load.sockets", "slow = 10", true),
            ("load.sockets", "slow = 11", false),
            ("load.sockets", "dropped = 10", true),
            ("load.sockets", "dropped = 11", false),
            ("expect", "refused_percent_max = 100", true),
            ("expect", "refused_percent_max = 100.1", false),
            ("expect", "refused_percent_max = -1", false),
            ("expect", "refused_percent_during_max = 100.1", false),
            ("expect", "refused_percent_during_max = -1", false),
            ("expect", "missed_pushes_percent_max = 100.1", false),
            ("expect", "missed_pushes_percent_max = -1", false),
            ("expect", "p99_after_ms_max = -1", false),
            ("expect", "p99_after_ms_max = inf", false),
            ("abort", "refused_percent = 0", true),
            ("abort", "refused_percent = 100.1", false),
            ("abort", "refused_percent = -1", false),
            ("abort", "p99_ms_max = -1", false),
        ] {
            let read = read(&with(table, line));
            assert_eq!(read.is_ok(), is_taken, "{line}: {read:?}");
            let field = format!("`{table}.{}`", line.split(' ').next().unwrap());
            assert!(read.is_ok() || read.unwrap_err().contains(&field), "{line} is not told by {field}");
        }
        for (from, to) in [
            ("rate_per_second = 40", "rate_per_second = 0.9"),
            ("rate_per_second = 40", "rate_per_second = 10001"),
            ("rate_per_second = 40", "rate_per_second = nan"),
            ("duration = \"20s\"", "duration = \"0s\""),
            ("duration = \"20s\"", "duration = \"0 receives\""),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err();
            let field = from.split(' ').next().unwrap();
            assert!(error.contains(&format!("field `load.{field}`")), "{to}: {error}");
        }
    }

    #[test]
    fn each_bound_of_a_fault_is_kept() {
        let (head, _) = GOOD.split_once("kind = ").unwrap();
        let delay = |line: &str| format!("delay_ms = 1\n{line}");
        let answer = |line: &str| format!("prevent_execution = true\n{line}");
        for (kind, target, rest, is_taken) in [
            ("fis-invocation-delay", "process-task", delay("percent = 0"), false),
            ("fis-invocation-delay", "process-task", delay("percent = 1"), true),
            ("fis-invocation-delay", "process-task", delay("percent = 100"), true),
            ("fis-invocation-delay", "process-task", delay("percent = 101"), false),
            ("fis-invocation-delay", "process-task", "delay_ms = 900000".to_owned(), true),
            ("fis-invocation-delay", "process-task", "delay_ms = 900001".to_owned(), false),
            ("fis-http-response", "process-task", answer("status_code = 99"), false),
            ("fis-http-response", "process-task", answer("status_code = 100"), true),
            ("fis-http-response", "process-task", answer("status_code = 599"), true),
            ("fis-http-response", "process-task", answer("status_code = 600"), false),
            ("lambda-reserved-concurrency", "process-task", "concurrency = 1000".to_owned(), true),
            ("lambda-reserved-concurrency", "process-task", "concurrency = 1001".to_owned(), false),
            ("mapping-maximum-concurrency", "process-task", "concurrency = 1".to_owned(), false),
            ("mapping-maximum-concurrency", "process-task", "concurrency = 2".to_owned(), true),
            ("mapping-maximum-concurrency", "process-task", "concurrency = 1001".to_owned(), false),
            ("table-on-demand-cap", "tasks", "write_units = 1".to_owned(), true),
            ("table-on-demand-cap", "tasks", "write_units = 0".to_owned(), false),
            ("table-on-demand-cap", "tasks", "read_units = 0".to_owned(), false),
            ("table-provisioned-capacity", "tasks", "read_units = 1\nwrite_units = 0".to_owned(), false),
            ("table-provisioned-capacity", "tasks", "write_units = 1\nread_units = 0".to_owned(), false),
        ] {
            let read = read(&format!(
                "{head}kind = \"{kind}\"\ntarget = \"{target}\"\nstart = \"0s\"\nduration = \"9s\"\n{rest}\n"
            ));
            assert_eq!(read.is_ok(), is_taken, "{kind}, {rest}: {read:?}");
            let (last, _) = rest.lines().next_back().unwrap().split_once(' ').unwrap();
            let told = format!("x.toml:{}: field `fault[0].{last}`", 11 + rest.lines().count());
            assert!(read.is_ok() || read.unwrap_err().contains(&told), "{kind}, {rest} lacks {told}");
        }
    }

    #[test]
    fn a_missing_table_is_told_by_name() {
        let error = read("name = \"a\"\nhypothesis = \"b\"\n").unwrap_err();
        assert!(error.contains("missing field `load`"), "{error}");
    }

    #[test]
    fn a_folder_without_experiments_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(files_of(folder.path()), Err(ExperimentError::NoFiles { .. })));
    }

    #[test]
    fn a_metric_that_the_fault_moves_cannot_abort_it() {
        let delay = GOOD
            .replace("lambda-reserved-concurrency", "fis-invocation-delay")
            .replace("concurrency = 0", "delay_ms = 100")
            + "[abort]\np99_ms_max = 500\n";
        assert!(read(&delay).is_ok(), "the worker is not on the clients' way");
        let error = read(&delay.replace("process-task", "submit-task")).unwrap_err();
        assert!(error.contains("`abort.p99_ms_max`: a metric that the fault does not move"), "{error}");
    }

    #[test]
    fn a_fault_that_could_leave_no_evidence_is_refused_with_what_helps() {
        let (head, _) = GOOD.split_once("kind = ").unwrap();
        let fault = |kind: &str, target: &str, rest: &str| {
            read(&format!(
                "{head}kind = \"{kind}\"\ntarget = \"{target}\"\nstart = \"0s\"\nduration = \"9s\"\n{rest}\n"
            ))
        };
        let throttle = |route: &str| {
            fault(
                "http-throttle",
                "http-api",
                &format!("rate_per_second = 1\nburst = 1\nroute = \"{route}\""),
            )
        };
        let deny = |kind: &str, target: &str, action: &str| {
            fault(kind, target, &format!("actions = [\"{action}\"]"))
        };
        let errors = |target: &str| fault("fis-invocation-error", target, "prevent_execution = true");
        for (refused, told) in [
            (throttle("GET /tasks"), "`fault[0].route`: `POST /tasks`, or none"),
            (
                deny("queue-deny", "tasks", "sqs:ReceiveMessage"),
                "`fault[0].actions`: sqs:DeleteMessage among",
            ),
            (
                deny("queue-deny", "tasks-dlq", "sqs:SendMessage"),
                "`fault[0].actions`: sqs:DeleteMessage among",
            ),
            (
                deny("table-deny", "tasks", "dynamodb:UpdateItem"),
                "`fault[0].actions`: dynamodb:GetItem among",
            ),
            (deny("role-permission", "list-tasks", "dynamodb:Query"), "`fault[0].target`: process-task or"),
            (deny("role-permission", "authorizer", "kms:Decrypt"), "`fault[0].target`: process-task or"),
            (
                deny("role-permission", "submit-task", "dynamodb:PutItem"),
                "`fault[0].actions`: sqs:SendMessage among",
            ),
            (
                deny("role-permission", "process-task", "dynamodb:Query"),
                "`fault[0].actions`: dynamodb:UpdateItem among",
            ),
            (errors("audit-dead-letters"), "`fault[0].target`: another function: each canary"),
        ] {
            let error = refused.unwrap_err();
            assert!(error.contains(told), "{error}\n  lacks: {told}");
        }
        for taken in [
            throttle("POST /tasks"),
            deny("queue-deny", "tasks", "sqs:SendMessage"),
            deny("queue-deny", "tasks-dlq", "sqs:DeleteMessage"),
            deny("table-deny", "tasks", "dynamodb:GetItem"),
            deny("role-permission", "process-task", "dynamodb:UpdateItem"),
            deny("role-permission", "submit-task", "sqs:SendMessage"),
            fault("queue-deny", "tasks", ""),
            errors("websocket"),
        ] {
            assert!(taken.is_ok(), "{taken:?}");
        }
    }

    #[test]
    fn every_kind_is_in_the_schema() {
        let schema = serde_json::to_string(&schema()).unwrap();
        for kind in crate::experiment::FaultKind::ALL {
            assert!(schema.contains(kind.name()), "{} is missing", kind.name());
        }
    }

    /// On AWS a receive is a minute, FIS begins no action shorter than that, and a queue's setting takes as long.
    #[test]
    fn the_files_that_are_shipped_have_the_time_that_aws_takes() {
        let minute = std::time::Duration::from_secs(60);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        for experiment in load(&files_of(&folder).unwrap()).unwrap() {
            let name = &experiment.name;
            let (load, settle) = (&experiment.load, experiment.load.settle.resolve(minute));
            assert!(settle >= minute * 5, "{name}: a message is received five times before it ends");
            if let Some(recovery) = experiment.expect.recovery_max {
                assert!(
                    recovery.resolve(minute) >= minute * 3,
                    "{name}: a failed batch comes back after a minute"
                );
            }
            for fault in experiment.fault_specs() {
                let duration = fault.duration.resolve(minute);
                let ends = fault.start.resolve(minute) + duration;
                // A stage takes a new limit within seconds.
                if fault.kind != FaultKind::HttpThrottle {
                    assert!(duration >= minute, "{name}: the fault is hardly there when it ends");
                }
                if fault.fis_action_id().is_some() {
                    assert!(
                        load.duration.resolve(minute) + minute >= ends,
                        "{name}: the fault meets arrivals"
                    );
                }
            }
        }
    }

    #[test]
    fn the_files_that_are_shipped_are_good_and_named_as_their_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let paths = files_of(&folder).unwrap();
        assert!(paths.len() >= 12);
        for (experiment, path) in load(&paths).unwrap().iter().zip(&paths) {
            assert_eq!(Some(experiment.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        }
    }
}
