//! One invocation, from admission to its END line.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::json;

use super::Lambda;
use super::error::LambdaError;
use super::exec::{
    EXIT_ERROR, Ending, INVALID_ENTRYPOINT, Idle, InitFailed, InitFailure, Initialised, Job, KILLED, Lines,
    Moment, NotLent, OUT_OF_MEMORY, Pool, Report, posted_error_type,
};
use super::model::{FunctionConfig, Phase};
use super::names::FunctionRef;
use super::store::{Chosen, Kind, LATEST, Running, Store, Taken, Version};
use crate::clock::Clock;
use crate::metrics::Unit;
use crate::settings::Settings;

/// An environment can die between being lent and being given the event; then another is taken. More often in a row is
/// a function that exits right after `/next`.
const LEND_TRIES: usize = 5;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) function: FunctionRef,
    pub(crate) payload: Bytes,
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
    pub(crate) client_context: Option<String>,
    pub(crate) tail: bool,
}

impl Request {
    /// An event that another service of the account makes.
    pub(crate) fn by_service(function: FunctionRef, payload: Bytes, now_ms: i64) -> Self {
        Self {
            function,
            payload,
            request_id: uuid::Uuid::new_v4().to_string(),
            trace_id: trace_id(None, now_ms),
            client_context: None,
            tail: false,
        }
    }
}

/// An invocation that holds its unit of concurrency.
#[derive(Debug)]
pub(crate) struct Admitted {
    chosen: Chosen,
    running: Running,
    request: Request,
}

/// How an invocation went, with the log tail if it was asked for.
struct Outcome {
    result: Result<Bytes, FunctionError>,
    tail: Option<String>,
    /// Of the invoke phase, with what was initialised as part of it: the way to an environment and its own init phase
    /// are not in it.
    duration_ms: f64,
}

/// How it ended, for every kind of caller.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) result: Result<Bytes, FunctionError>,
    pub(crate) version: String,
    pub(crate) tail: Option<String>,
}

#[derive(Debug)]
pub(crate) struct FunctionError {
    pub(crate) payload: Bytes,
    pub(crate) timed_out: bool,
    error_type: String,
    /// The environment is gone, as opposed to a handler that answered with an error.
    crashed: bool,
}

impl FunctionError {
    fn new(error_type: &str, message: &str) -> Self {
        let payload = json!({"errorType": error_type, "errorMessage": message}).to_string();
        Self { payload: payload.into(), timed_out: false, error_type: error_type.into(), crashed: true }
    }

    fn timed_out(request_id: &str, seconds: u32) -> Self {
        let message = format!("RequestId: {request_id} Error: Task timed out after {seconds}.00 seconds");
        Self { timed_out: true, ..Self::new("Sandbox.Timedout", &message) }
    }

    fn posted(payload: Bytes, crashed: bool) -> Self {
        Self { timed_out: false, error_type: posted_error_type(&payload), crashed, payload }
    }
}

/// `Root=1-<time>-<96 bits>;Parent=<64 bits>;Sampled=0`, with what the caller already decided kept.
pub(crate) fn trace_id(given: Option<&str>, now_ms: i64) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let mut trace = given
        .filter(|trace| trace.contains("Root="))
        .map_or_else(|| format!("Root=1-{:08x}-{}", now_ms / 1_000, &id[..24]), str::to_owned);
    if !trace.contains("Parent=") {
        trace.push_str(&format!(";Parent={}", &id[16..]));
    }
    if !trace.contains("Sampled=") {
        trace.push_str(";Sampled=0");
    }
    trace
}

impl Lambda {
    /// Invoke always names the version that is not there.
    pub(crate) fn unknown(&self, function: &FunctionRef) -> LambdaError {
        let qualifier = function.qualifier.as_deref().unwrap_or(LATEST);
        LambdaError::function_not_found(&format!("{}:{qualifier}", self.function_arn(&function.name)))
    }

    /// "Lambda does not invoke a function during pending state. Any invocations [...] will fail."
    pub(crate) fn check_invocable(&self, function: &FunctionRef) -> Result<(), LambdaError> {
        let now_ms = self.now_ms();
        let unknown = || self.unknown(function);
        let mut store = self.store();
        let found = store.get(&function.name, now_ms).ok_or_else(unknown)?;
        check_active(found.version(function.qualifier.as_deref()).ok_or_else(unknown)?, now_ms)
    }

    /// The version that is to run.
    fn chosen(&self, store: &mut Store, function: &FunctionRef) -> Result<Chosen, LambdaError> {
        let now_ms = self.now_ms();
        let unknown = || self.unknown(function);
        let random = &self.inner.host.settings.random;
        let found = store.get(&function.name, now_ms).ok_or_else(unknown)?;
        let chosen = found.choose(function.qualifier.as_deref(), random).ok_or_else(unknown)?;
        check_active(&chosen.version, now_ms)?;
        Ok(chosen)
    }

    /// Finds the version and takes a unit of concurrency, or says why not. Counts throttles.
    pub(crate) fn admit(&self, request: Request, kind: Kind) -> Result<Admitted, LambdaError> {
        let mut store = self.store();
        let chosen = self.chosen(&mut store, &request.function)?;
        let found =
            store.functions.get(&request.function.name).ok_or_else(|| self.unknown(&request.function))?;
        match store.enter(found, &self.inner.host.options, kind, self.now_ms()) {
            Ok(running) => Ok(Admitted { chosen, running, request }),
            Err(throttle) => {
                drop(store);
                let measure = Measure::new(&self.inner.host.settings, &request.function);
                measure.of(&chosen).everywhere("Throttles", 1.0, Unit::Count);
                Err(throttle)
            }
        }
    }
}

fn check_active(version: &Version, now_ms: i64) -> Result<(), LambdaError> {
    match version.phase(now_ms) {
        Phase::Pending => Err(LambdaError::conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        )),
        Phase::Updating | Phase::Ready => Ok(()),
    }
}

/// Runs to the end whatever becomes of the caller: AWS does not stop a function whose invoker has hung up. An error means
/// that the function did not run, for no fault of its own.
pub(crate) async fn run(admitted: Admitted) -> Result<Finished, LambdaError> {
    let ended = tokio::spawn(run_here(admitted)).await;
    ended.unwrap_or_else(|error| Err(LambdaError::service(error.to_string())))
}

async fn run_here(admitted: Admitted) -> Result<Finished, LambdaError> {
    let Admitted { chosen, running, request } = admitted;
    let pool = &chosen.version.pool;
    let measure = Measure::new(&pool.spec.host.settings, &request.function).of(&chosen);
    measure.concurrency(running.function.load(Ordering::SeqCst), running.taken);
    let Outcome { result, tail, duration_ms } = pool.spec.host.turns.run(lend(pool, &request)).await?;
    measure.invocation(duration_ms, result.is_err());
    drop(running);
    Ok(Finished { result, version: pool.spec.version.clone(), tail })
}

async fn lend(pool: &Arc<Pool>, request: &Request) -> Result<Outcome, LambdaError> {
    let asked = Moment::now(&pool.spec.host.settings.clock);
    for _ in 0..LEND_TRIES {
        match pool.acquire().await {
            Ok(idle) => {
                if let Some(outcome) = serve(pool, idle, request, asked).await {
                    return Ok(outcome);
                }
            }
            Err(NotLent::Init(failed)) => return Ok(not_started(pool, failed, request, asked)),
            Err(NotLent::Machine(error)) => return Err(refused(pool, &error)),
        }
    }
    let result = Err(exited(&request.request_id, "Runtime exited without providing a reason", EXIT_ERROR));
    Ok(Outcome { result, tail: None, duration_ms: 0.0 })
}

/// A function error would spend a receive or an attempt, and the function would be blamed.
fn refused(pool: &Pool, error: &std::io::Error) -> LambdaError {
    tracing::warn!(function.name = %pool.spec.name, %error, "an environment could not be made");
    LambdaError::service(format!("the environment could not be made: {error}"))
}

/// None when the environment died before it got the event.
async fn serve(pool: &Pool, idle: Idle, request: &Request, asked: Moment) -> Option<Outcome> {
    let spec = &pool.spec;
    let clock = &spec.host.settings.clock;
    let environment = idle.environment;
    let lines = &environment.lines;
    let id = request.request_id.as_str();
    let reply = environment.begin(id);
    let initialised = environment.take_initialised();
    if initialised.is_some() {
        // What the init phase wrote comes before START.
        environment.drain_output();
    }
    lines.keep_tail(request.tail);
    lines.start(id, &spec.version);
    environment.thaw();
    let (begun, init_ms) = beginning(initialised, asked, clock);
    let deadline_ms = begun.at_ms + spec.timeout_ms();
    environment.bind(deadline_ms);
    if idle.job.send(job(spec.arn.clone(), request, deadline_ms)).is_err() {
        environment.abandon();
        return None;
    }
    let ending = tokio::select! {
        ending = reply => Some(ending.unwrap_or_else(|_| Ending::Exited("Runtime exited without providing a reason".into()))),
        () = clock.sleep_until(deadline_ms) => None,
    };
    if ending.is_none() {
        environment.kill();
        pool.keep_sandbox_of(&environment);
    }
    environment.drain_output();
    let result = outcome(lines, id, ending, spec.config.timeout_seconds);
    let (duration_ms, used_mb) = (begun.elapsed_ms(), environment.memory_peak_mb());
    lines.report(&report(id, result.as_ref().err(), duration_ms, init_ms, &spec.config, used_mb));
    Some(Outcome { result, tail: lines.take_tail(), duration_ms })
}

/// When the invoke phase began, and the init phase that the REPORT shows beside it. What was initialised as part of the
/// invocation is in its time, as far as the invocation waited for it.
fn beginning(initialised: Option<Initialised>, asked: Moment, clock: &Clock) -> (Moment, Option<f64>) {
    match initialised {
        Some(Initialised::Within(begun)) => (begun.max(asked), None),
        Some(Initialised::Before(init_ms)) => (Moment::now(clock), Some(init_ms)),
        None => (Moment::now(clock), None),
    }
}

fn job(arn: String, request: &Request, deadline_ms: i64) -> Job {
    let invoked_arn = match &request.function.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", arn.split(':').take(7).collect::<Vec<_>>().join(":")),
        None => arn,
    };
    Job {
        request_id: request.request_id.clone(),
        payload: request.payload.clone(),
        deadline_ms,
        trace_id: request.trace_id.clone(),
        arn: invoked_arn,
        client_context: request.client_context.clone(),
    }
}

fn outcome(
    lines: &Lines,
    id: &str,
    ending: Option<Ending>,
    timeout_seconds: u32,
) -> Result<Bytes, FunctionError> {
    match ending {
        None => {
            lines.timed_out(id, timeout_seconds);
            Err(FunctionError::timed_out(id, timeout_seconds))
        }
        Some(Ending::Response(body)) => Ok(body),
        Some(Ending::Error(body)) => Err(FunctionError::posted(body, false)),
        Some(Ending::ResponseTooLarge) => {
            let message = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
            Err(FunctionError {
                crashed: false,
                ..FunctionError::new("Function.ResponseSizeTooLarge", message)
            })
        }
        Some(Ending::Exited(words)) => Err(crashed(lines, id, &words, EXIT_ERROR)),
        Some(Ending::OutOfMemory) => Err(out_of_memory(lines, id)),
    }
}

fn exited(id: &str, words: &str, error_type: &str) -> FunctionError {
    FunctionError::new(error_type, &format!("RequestId: {id} Error: {words}"))
}

/// The same, with its line in the log.
fn crashed(lines: &Lines, id: &str, words: &str, error_type: &str) -> FunctionError {
    lines.crashed(id, words, error_type);
    exited(id, words, error_type)
}

/// Only the REPORT gives the cause.
fn out_of_memory(lines: &Lines, id: &str) -> FunctionError {
    FunctionError { error_type: OUT_OF_MEMORY.into(), ..crashed(lines, id, KILLED, EXIT_ERROR) }
}

fn report<'a>(
    id: &'a str,
    error: Option<&'a FunctionError>,
    duration_ms: f64,
    init_ms: Option<f64>,
    config: &FunctionConfig,
    memory_used_mb: u64,
) -> Report<'a> {
    Report {
        request_id: id,
        duration_ms,
        init_ms,
        timeout_seconds: config.timeout_seconds,
        memory_mb: config.memory_mb,
        // On AWS a process ends before it has more.
        memory_used_mb: memory_used_mb.min(u64::from(config.memory_mb)),
        status: match error {
            None => "success",
            Some(error) if error.timed_out => "timeout",
            Some(_) => "error",
        },
        error_type: error.map(|error| error.error_type.as_str()),
        crashed: error.is_some_and(|error| error.crashed),
    }
}

/// "First-invoke init failures with on-demand surface as the invocation's error."
fn not_started(pool: &Pool, failed: InitFailed, request: &Request, asked: Moment) -> Outcome {
    let InitFailed { why, lines, begun, memory_peak_mb } = failed;
    let spec = &pool.spec;
    let id = request.request_id.as_str();
    lines.keep_tail(request.tail);
    lines.start(id, &spec.version);
    let error = match why {
        InitFailure::Posted(body) => FunctionError::posted(body, true),
        InitFailure::Exited(words) => crashed(&lines, id, &words, EXIT_ERROR),
        InitFailure::OutOfMemory => out_of_memory(&lines, id),
        InitFailure::Entrypoint(words) => crashed(&lines, id, &words, INVALID_ENTRYPOINT),
        InitFailure::TimedOut => {
            lines.timed_out(id, spec.config.timeout_seconds);
            FunctionError::timed_out(id, spec.config.timeout_seconds)
        }
    };
    let duration_ms = begun.max(asked).elapsed_ms();
    lines.report(&report(id, Some(&error), duration_ms, None, &spec.config, memory_peak_mb));
    Outcome { result: Err(error), tail: lines.take_tail(), duration_ms }
}

/// Where the measurements of one invocation or event go.
#[derive(Debug)]
pub(super) struct Measure<'a> {
    settings: &'a Settings,
    at_ms: i64,
    name: &'a str,
    resource: String,
    /// Of an invocation by an alias that has two versions.
    executed_version: Option<&'a str>,
}

impl<'a> Measure<'a> {
    pub(super) fn new(settings: &'a Settings, function: &'a FunctionRef) -> Self {
        let resource = match &function.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", function.name),
            None => function.name.clone(),
        };
        let at_ms = settings.clock.now_ms();
        Self { settings, at_ms, name: &function.name, resource, executed_version: None }
    }

    fn of(self, chosen: &'a Chosen) -> Self {
        Self { executed_version: chosen.executed_version(), ..self }
    }

    fn record(&self, metric: &str, dimensions: &[(&str, &str)], value: f64, unit: Unit) {
        self.settings.metrics.record(self.at_ms, "AWS/Lambda", metric, dimensions, value, unit);
    }

    /// By function, by function and resource, and for the account. Where an alias has two versions, also by the one
    /// that was chosen.
    pub(super) fn everywhere(&self, metric: &str, value: f64, unit: Unit) {
        self.record(metric, &[("FunctionName", self.name)], value, unit);
        let (name, resource) = (("FunctionName", self.name), ("Resource", self.resource.as_str()));
        self.record(metric, &[name, resource], value, unit);
        self.record(metric, &[], value, unit);
        if let Some(version) = self.executed_version {
            self.record(metric, &[name, resource, ("ExecutedVersion", version)], value, unit);
        }
    }

    fn concurrency(&self, function: u32, taken: Taken) {
        self.record("ConcurrentExecutions", &[("FunctionName", self.name)], f64::from(function), Unit::Count);
        for (metric, value) in [
            ("ConcurrentExecutions", taken.executions),
            ("UnreservedConcurrentExecutions", taken.unreserved),
            ("ClaimedAccountConcurrency", taken.claimed()),
        ] {
            self.record(metric, &[], f64::from(value), Unit::Count);
        }
    }

    fn invocation(&self, duration_ms: f64, failed: bool) {
        self.everywhere("Invocations", 1.0, Unit::Count);
        self.everywhere("Errors", if failed { 1.0 } else { 0.0 }, Unit::Count);
        self.everywhere("Duration", duration_ms, Unit::Milliseconds);
        // A series with no throttle is 0, not missing.
        self.record("Throttles", &[("FunctionName", self.name)], 0.0, Unit::Count);
    }
}
