//! The environments of one function version, lent to one invocation at a time.
//!
//! Last in, first out, so that a falling load lets the oldest go cold. An invocation that finds none idle waits for one that
//! has just answered, or starts one, and takes whichever is free first, its own or another's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::environment::{self, Ending, Environment, InitPhase, Job, Sandbox};
use super::host::Spec;
use super::lines::Lines;
use super::moment::Moment;
use crate::adversary::Act;

/// How long an environment is idle before it is frozen. AWS names no moment. Under load the next event comes sooner, and
/// stopping and continuing a process around each one would cost more than the event.
const FREEZE_AFTER: Duration = Duration::from_millis(10);
/// How long an invocation waits for an environment that has answered and not yet asked for its next event. On AWS the way
/// back to the caller is longer than that gap, so that a caller who invokes again finds the environment warm. A function
/// that works on after its answer is not waited for beyond this.
const FINISHING_GRACE_MS: i64 = 100;
/// Lambda's own types of errors.
pub(crate) const EXIT_ERROR: &str = "Runtime.ExitError";
pub(crate) const INVALID_ENTRYPOINT: &str = "Runtime.InvalidEntrypoint";
pub(crate) const OUT_OF_MEMORY: &str = "Runtime.OutOfMemory";
/// This emulator's own.
const NO_RESPONSE: &str = "Runtime.NoResponse";

/// An environment that waits at `/next`.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) environment: Arc<Environment>,
    pub(crate) job: oneshot::Sender<Job>,
    pub(crate) since_ms: i64,
    /// By the machine's clock, which is the one that processes run by.
    since: Instant,
}

/// Why an environment never came to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InitFailure {
    /// The runtime posted it to `/init/error`.
    Posted(Bytes),
    Exited(String),
    OutOfMemory,
    /// No `bootstrap`, or one that cannot be executed.
    Entrypoint(String),
    TimedOut,
}

impl InitFailure {
    /// Time that ran out has no type.
    pub(super) fn error_type(&self) -> Option<String> {
        match self {
            Self::Posted(body) => Some(posted_error_type(body)),
            Self::Exited(_) => Some(EXIT_ERROR.to_owned()),
            Self::OutOfMemory => Some(OUT_OF_MEMORY.to_owned()),
            Self::Entrypoint(_) => Some(INVALID_ENTRYPOINT.to_owned()),
            Self::TimedOut => None,
        }
    }
}

/// Of an error as a runtime posts it.
pub(crate) fn posted_error_type(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["errorType"].as_str().unwrap_or("Runtime.Unknown").to_owned()
}

/// The last try to initialise an environment, for the invocation that it is part of.
#[derive(Debug)]
pub(crate) struct InitFailed {
    pub(crate) why: InitFailure,
    pub(crate) lines: Arc<Lines>,
    pub(crate) begun: Moment,
    pub(crate) memory_peak_mb: u64,
}

/// Why an invocation got no environment.
#[derive(Debug)]
pub(crate) enum NotLent {
    /// This machine refused (sockets, processes, files): the emulator's limits, not the function's fault.
    Machine(std::io::Error),
    Init(InitFailed),
}

/// A sandbox whose process crashed or was killed at its timeout: the next one goes on in it.
#[derive(Debug)]
struct Spare {
    sandbox: Arc<Sandbox>,
    since_ms: i64,
}

type Waiter = oneshot::Sender<Result<Idle, NotLent>>;

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) spec: Arc<Spec>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Idle>,
    waiting: VecDeque<Waiter>,
    starting: usize,
    /// Environments that have answered and not yet asked for their next event.
    finishing: HashSet<u64>,
    alive: HashMap<u64, Arc<Environment>>,
    spare: Vec<Spare>,
    next_id: u64,
    closed: bool,
    /// Even what was busy was ended.
    killed: bool,
    /// A task is looking for environments to freeze.
    freezing: bool,
}

impl Pool {
    pub(crate) fn new(spec: Spec) -> Arc<Self> {
        Arc::new(Self { spec: Arc::new(spec), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An environment for one invocation, warm if there is one. Bounded by the init phase: one of the environments that
    /// are starting or busy always ends up here, or fails.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Idle, NotLent> {
        let mut receiver = {
            let mut state = self.state();
            while let Some(idle) = state.idle.pop() {
                if idle.job.is_closed() {
                    continue;
                }
                // AWS may end an environment whenever it likes, also the warm one that was counted on.
                if self.spec.host.settings.adversary.strikes(Act::ColdStart).is_some() {
                    idle.environment.retire();
                    break;
                }
                return Ok(idle);
            }
            if state.killed {
                return Err(NotLent::Machine(ErrorKind::NotConnected.into()));
            }
            let (waiter, receiver) = oneshot::channel();
            state.waiting.push_back(waiter);
            self.start_missing(&mut state);
            receiver
        };
        let clock = &self.spec.host.settings.clock;
        let got = tokio::select! {
            got = &mut receiver => got,
            () = clock.sleep_until(clock.now_ms() + FINISHING_GRACE_MS) => {
                self.start_beside(&mut self.state(), 0);
                receiver.await
            }
        };
        got.unwrap_or_else(|_| Err(NotLent::Init(self.unmade())))
    }

    /// For an environment that never was, and so has no log stream.
    fn unmade(&self) -> InitFailed {
        let why = InitFailure::Exited(super::process::ending(None));
        let begun = Moment::now(&self.spec.host.settings.clock);
        InitFailed { why, lines: Arc::new(Lines::new(&self.spec, String::new())), begun, memory_peak_mb: 0 }
    }

    /// As many cold starts as there are invocations for which nothing is starting or about to be free.
    fn start_missing(self: &Arc<Self>, state: &mut State) {
        self.start_beside(state, state.finishing.len());
    }

    /// The same, with so many environments about to be free.
    fn start_beside(self: &Arc<Self>, state: &mut State, expected: usize) {
        while state.starting + expected < state.waiting.len() {
            let used = state.spare.pop().map(|spare| (spare.sandbox, InitPhase::Invoke));
            let new = || Sandbox::new(&self.spec).map(|sandbox| (Arc::new(sandbox), InitPhase::Init));
            let (sandbox, phase) = match used.map_or_else(new, Ok) {
                Ok(started) => started,
                Err(error) => {
                    if let Some(waiter) = state.waiting.pop_front() {
                        waiter.send(Err(NotLent::Machine(error))).ok();
                    }
                    continue;
                }
            };
            state.starting += 1;
            state.next_id += 1;
            tokio::spawn(environment::live(Arc::clone(self), state.next_id, sandbox, phase));
        }
    }

    /// An environment asks for its next event.
    pub(crate) fn park(self: &Arc<Self>, environment: &Arc<Environment>, job: oneshot::Sender<Job>) {
        let mut state = self.state();
        if environment.became_ready() {
            state.starting = state.starting.saturating_sub(1);
        }
        state.finishing.remove(&environment.id);
        environment.finish();
        let since_ms = self.spec.host.settings.clock.now_ms();
        let mut idle = Idle { environment: Arc::clone(environment), job, since_ms, since: Instant::now() };
        while let Some(waiter) = state.waiting.pop_front() {
            match waiter.send(Ok(idle)) {
                Ok(()) => return,
                Err(Ok(returned)) => idle = returned,
                Err(Err(_)) => return,
            }
        }
        if state.closed {
            idle.environment.retire();
            return;
        }
        state.idle.push(idle);
        if self.spec.host.options.freeze && !std::mem::replace(&mut state.freezing, true) {
            tokio::spawn(freeze_idle(Arc::clone(self)));
        }
    }

    /// Freezes what has been idle for long enough. Under the lock, so that no thaw can be overtaken. False when nothing is
    /// left to freeze.
    fn freeze_due(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let mut waiting = false;
        for idle in &state.idle {
            if now.duration_since(idle.since) >= FREEZE_AFTER {
                idle.environment.freeze();
            } else {
                waiting = true;
            }
        }
        state.freezing = waiting;
        waiting
    }

    pub(crate) fn joined(&self, environment: &Arc<Environment>) {
        self.state().alive.insert(environment.id, Arc::clone(environment));
    }

    /// Answers the current invocation of an environment if it is this one; false when it is another or none.
    pub(crate) fn complete(&self, environment: &Environment, request_id: &str, ending: Ending) -> bool {
        let Some(current) = environment.take_current(request_id) else { return false };
        // Before the answer: whoever gets it may invoke again at once.
        self.state().finishing.insert(environment.id);
        current.answer(ending);
        true
    }

    /// An environment that asks for its next event never answers the one that it has.
    pub(super) fn give_up_unanswered(&self, environment: &Environment) {
        let Some(unanswered) = environment.take_unanswered() else { return };
        self.state().finishing.insert(environment.id);
        let message = "The runtime asked for the next event without a response to the current one.";
        let body = json!({"errorType": NO_RESPONSE, "errorMessage": message});
        unanswered.answer(Ending::Error(Bytes::from(body.to_string())));
    }

    pub(crate) fn left(self: &Arc<Self>, environment: &Environment) {
        let mut state = self.state();
        state.alive.remove(&environment.id);
        if state.finishing.remove(&environment.id) {
            self.start_missing(&mut state);
        }
        state.idle.retain(|idle| idle.environment.id != environment.id);
    }

    /// The failure belongs to whoever has waited longest; the others get new attempts.
    pub(crate) fn init_failed(self: &Arc<Self>, failed: NotLent, sandbox: Arc<Sandbox>) {
        let mut state = self.state();
        state.starting = state.starting.saturating_sub(1);
        // Where nothing ran the next environment begins with an init phase of its own.
        if matches!(failed, NotLent::Init(_)) {
            self.keep_sandbox(&mut state, sandbox);
        }
        if let Some(waiter) = state.waiting.pop_front() {
            waiter.send(Err(failed)).ok();
        }
        self.start_missing(&mut state);
    }

    /// For the next process, now that the environment's own has crashed or was killed. Before whoever waits for the answer
    /// gets it: it may invoke again at once.
    pub(crate) fn keep_sandbox_of(&self, environment: &Environment) {
        if let Some(sandbox) = environment.leave_sandbox() {
            self.keep_sandbox(&mut self.state(), sandbox);
        }
    }

    fn keep_sandbox(&self, state: &mut State, sandbox: Arc<Sandbox>) {
        if !state.closed {
            let since_ms = self.spec.host.settings.clock.now_ms();
            state.spare.push(Spare { sandbox, since_ms });
        }
    }

    /// No new work will come: idle environments end now, busy ones after their invocation, at its timeout at the latest.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for idle in state.idle.drain(..) {
            idle.environment.retire();
        }
        state.spare.clear();
    }

    /// Ends everything now.
    pub(crate) fn kill(&self) {
        self.close();
        let mut state = self.state();
        state.killed = true;
        for environment in state.alive.values() {
            environment.retire();
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.state().killed
    }

    /// Ends the environments that have been idle since before `before_ms`, and the sandboxes that have waited as long.
    pub(crate) fn reap(&self, before_ms: i64) {
        let mut state = self.state();
        for idle in state.idle.extract_if(.., |idle| idle.since_ms < before_ms) {
            idle.environment.retire();
        }
        state.spare.retain(|spare| spare.since_ms >= before_ms);
    }
}

async fn freeze_idle(pool: Arc<Pool>) {
    loop {
        tokio::time::sleep(FREEZE_AFTER).await;
        if !pool.freeze_due() {
            return;
        }
    }
}
