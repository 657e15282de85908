//! One execution environment: one process, one Runtime API, at most one invocation at a time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::extensions::Extensions;
use super::host::Spec;
use super::lines::Lines;
use super::moment::Moment;
use super::output::Output;
use super::poll::Poll;
use super::pool::{EXIT_ERROR, InitFailed, InitFailure, NotLent, Pool};
use super::process::{self, KILLED, Place};
use super::runtime_api::{self, Door};
use super::{lines, proxy};
use crate::lambda::code::private_directory;
use crate::lambda::model::Logging;

/// AWS: the init phase may take 10 s. What is run again inside the invocation has the function's timeout.
const INIT_MAX_MS: i64 = 10_000;
/// How often the memory of an init phase or an invocation is looked at, and whether one that was answered is over.
const MEMORY_SAMPLE: Duration = Duration::from_millis(250);
/// AWS: with an internal extension the runtime has 500 ms between SIGTERM and SIGKILL; without one it gets none.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// What one invocation hands to the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline_ms: i64,
    pub(crate) trace_id: String,
    pub(crate) arn: String,
    pub(crate) client_context: Option<String>,
}

/// How an invocation ended, seen from the Runtime API and the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Response(Bytes),
    /// As posted by the runtime.
    Error(Bytes),
    ResponseTooLarge,
    /// The process ended; in Lambda's words.
    Exited(String),
    /// It was killed for its memory.
    OutOfMemory,
}

#[derive(Debug)]
pub(super) struct Current {
    request_id: String,
    reply: oneshot::Sender<Ending>,
    /// A fault's answer, given instead of the function's.
    replacement: Option<Ending>,
}

impl Current {
    /// The invoker may have given up at the same moment (timeout): then nobody listens, rightly.
    pub(super) fn answer(self, ending: Ending) {
        self.reply.send(self.replacement.unwrap_or(ending)).ok();
    }
}

/// What outlives a crashed process: AWS re-initialises in the same sandbox, with the same `/tmp` and log stream.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// Holds everything that goes away with the sandbox.
    directory: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) stream: String,
}

impl Sandbox {
    /// A new one: `YYYY/MM/DD/[version]hash` is the form of AWS's stream names, with the function's name before the
    /// version in a group that functions may share.
    pub(super) fn new(spec: &Spec) -> std::io::Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let directory = spec.host.root.join(format!("sandbox-{id}"));
        let scratch = directory.join("tmp");
        private_directory(&scratch)?;
        let day = lines::timestamp(spec.host.settings.clock.now_ms())[..10].replace('-', "/");
        let stream = format!("{day}/{}[{}]{id}", name_in_stream(spec), spec.version);
        Ok(Self { directory, scratch, stream })
    }
}

/// Empty in the function's own group.
fn name_in_stream(spec: &Spec) -> &str {
    let own = Logging::default().group(&spec.name);
    if spec.config.logging.group(&spec.name) == own { "" } else { &spec.name }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, "a sandbox was not removed");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) id: u64,
    pub(crate) spec: Arc<Spec>,
    pub(crate) lines: Arc<Lines>,
    /// Set with the first `/next`.
    pub(crate) ready: AtomicBool,
    /// An extension is registered, so that the runtime is told before it is killed.
    pub(crate) extension: AtomicBool,
    /// Those that are told of events.
    pub(super) extensions: Extensions,
    /// What the fault-injection extension knows.
    pub(crate) poll: Poll,
    pid: i32,
    output: Output,
    init: Init,
    /// Set with the first `/next`, for the first invocation.
    initialised: Mutex<Option<Initialised>>,
    init_error: Mutex<Option<Bytes>>,
    current: Mutex<Option<Current>>,
    /// The invocation that was answered, until the next `/next`: AWS's invoke phase goes on, within the function's timeout.
    unfinished: Mutex<Option<String>>,
    /// Of the last invocation.
    deadline_ms: AtomicI64,
    frozen: AtomicBool,
    end: Notify,
    sandbox: Arc<Sandbox>,
    /// The sandbox was left to another process, or goes away with this one.
    left: AtomicBool,
    memory_peak_mb: AtomicU64,
}

/// Where AWS counts the init phase: what failed, crashed or was killed at its timeout is initialised again as part of
/// an invocation ("suppressed init").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitPhase {
    Init,
    Invoke,
}

impl InitPhase {
    /// AWS's word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
        }
    }
}

/// One try to initialise.
#[derive(Clone, Copy, Debug)]
struct Init {
    phase: InitPhase,
    begun: Moment,
}

impl Init {
    fn until_ms(self, spec: &Spec) -> i64 {
        let max_ms = match self.phase {
            InitPhase::Init => INIT_MAX_MS,
            InitPhase::Invoke => spec.timeout_ms(),
        };
        self.begun.at_ms + max_ms
    }
}

/// What the first invocation of an environment has to know of its init phase.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Initialised {
    /// It took so many milliseconds of its own.
    Before(f64),
    /// It is part of the invocation, and began then.
    Within(Moment),
}

/// Why a process never asked for an event.
#[derive(Debug)]
pub(super) enum Unserved {
    /// This machine could not start it.
    Machine(std::io::Error),
    Init {
        why: InitFailure,
        memory_peak_mb: u64,
    },
}

impl From<std::io::Error> for Unserved {
    fn from(error: std::io::Error) -> Self {
        Self::Machine(error)
    }
}

impl From<InitFailure> for Unserved {
    fn from(why: InitFailure) -> Self {
        Self::Init { why, memory_peak_mb: 0 }
    }
}

/// Why one process of an environment is no more.
enum Exit {
    Process(Option<std::process::ExitStatus>),
    Ended,
    InitTimedOut,
    /// It went on after its answer for longer than its invocation may take.
    Overran,
    OutOfMemory,
}

impl Environment {
    /// Makes this invocation the current one; its end arrives at the receiver.
    pub(crate) fn begin(&self, request_id: &str) -> oneshot::Receiver<Ending> {
        let (reply, receiver) = oneshot::channel();
        let current = Current { request_id: request_id.to_owned(), reply, replacement: None };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        receiver
    }

    /// Until when the invocation may take, with what it does after its answer.
    pub(crate) fn bind(&self, deadline_ms: i64) {
        self.deadline_ms.store(deadline_ms, Ordering::SeqCst);
    }

    /// The current invocation if it is this one, to be answered. It is over when the process asks for the next event.
    pub(super) fn take_current(&self, request_id: &str) -> Option<Current> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = current.take_if(|current| current.request_id == request_id)?;
        let unfinished = Some(request_id.to_owned());
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = unfinished;
        Some(answered)
    }

    /// The current invocation, which nobody will answer. It is over, too, when the process asks for the next event.
    pub(super) fn take_unanswered(&self) -> Option<Current> {
        let taken = self.current.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let unfinished = Some(taken.request_id.clone());
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = unfinished;
        Some(taken)
    }

    /// The process asks for the next event, or is no more. The invocation that was answered, if it was not over.
    pub(super) fn finish(&self) -> Option<String> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_unfinished(&self) -> bool {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The function may run, but the caller will get this.
    pub(crate) fn replace(&self, request_id: &str, ending: Ending) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_mut().filter(|current| current.request_id == request_id) {
            current.replacement = Some(ending);
        }
    }

    /// Ends the process at once: whatever it would still do after its timeout must not happen.
    pub(crate) fn kill(&self) {
        self.abandon();
        self.signal(Signal::SIGKILL);
        self.end.notify_one();
    }

    pub(crate) fn abandon(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn busy(&self) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The first `/next` ends the init phase. True only for that one.
    pub(crate) fn became_ready(&self) -> bool {
        let first = !self.ready.swap(true, Ordering::SeqCst);
        if first {
            let initialised = match self.init.phase {
                InitPhase::Init => Initialised::Before(self.init.begun.elapsed_ms()),
                InitPhase::Invoke => Initialised::Within(self.init.begun),
            };
            *self.initialised.lock().unwrap_or_else(PoisonError::into_inner) = Some(initialised);
        }
        first
    }

    /// Once: it belongs to the first invocation.
    pub(crate) fn take_initialised(&self) -> Option<Initialised> {
        self.initialised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn fail_init(&self, body: Bytes) {
        *self.init_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Stops the processes, once. The caller holds the pool's lock, so that no thaw can be overtaken.
    pub(crate) fn freeze(&self) {
        if !self.extension.load(Ordering::Relaxed) && !self.frozen.swap(true, Ordering::SeqCst) {
            self.signal(Signal::SIGSTOP);
        }
    }

    pub(crate) fn thaw(&self) {
        if self.frozen.swap(false, Ordering::SeqCst) {
            self.signal(Signal::SIGCONT);
        }
    }

    /// Asks the environment's task to end the process, and the sandbox with it.
    pub(crate) fn retire(&self) {
        self.left.store(true, Ordering::SeqCst);
        self.end.notify_one();
    }

    /// The sandbox for another process, once.
    pub(super) fn leave_sandbox(&self) -> Option<Arc<Sandbox>> {
        (!self.left.swap(true, Ordering::SeqCst)).then(|| Arc::clone(&self.sandbox))
    }

    /// Moves what the function has written so far into its log.
    pub(crate) fn drain_output(&self) -> bool {
        self.output.drain(|line| self.lines.said(line))
    }

    /// Highest resident size seen, refreshed by the sampler and at the first report.
    pub(crate) fn memory_peak_mb(&self) -> u64 {
        match self.memory_peak_mb.load(Ordering::Relaxed) {
            0 => self.sample_memory(),
            seen => seen,
        }
    }

    fn sample_memory(&self) -> u64 {
        let peak = process::memory_peak_mb(self.pid).unwrap_or(0);
        self.memory_peak_mb.fetch_max(peak, Ordering::Relaxed).max(peak)
    }

    fn is_over_memory(&self) -> bool {
        self.sample_memory() > u64::from(self.spec.config.memory_mb)
    }

    fn signal(&self, signal: Signal) {
        // A group that is already gone is the monitor's business.
        killpg(Pid::from_raw(self.pid), signal).ok();
    }
}

/// What the processes of one environment have in common: the first, and the one that tries again.
struct Setup {
    pool: Arc<Pool>,
    id: u64,
    sandbox: Arc<Sandbox>,
    lines: Arc<Lines>,
}

/// Runs one environment to its end. An init phase that fails is run again once, as part of the invocation.
pub(crate) async fn live(pool: Arc<Pool>, id: u64, sandbox: Arc<Sandbox>, phase: InitPhase) {
    let lines = Arc::new(Lines::new(&pool.spec, sandbox.stream.clone()));
    lines.init_start(phase, &pool.spec.config.runtime);
    let setup = Setup { pool, id, sandbox, lines };
    let mut ended = live_once(&setup, phase).await;
    // What the end of the service took along has not failed.
    if matches!(ended, Err(NotLent::Init(_))) && phase == InitPhase::Init && !setup.pool.is_killed() {
        ended = live_once(&setup, InitPhase::Invoke).await;
    }
    if let Err(failed) = ended {
        setup.pool.init_failed(failed, setup.sandbox);
    }
}

/// One process. An error means that it never asked for an event, which is said in the log where the function is to blame.
async fn live_once(setup: &Setup, phase: InitPhase) -> Result<(), NotLent> {
    let begun = Moment::now(&setup.pool.spec.host.settings.clock);
    let ended = run_process(setup, Init { phase, begun }).await;
    ended.map_err(|unserved| match unserved {
        Unserved::Machine(error) => NotLent::Machine(error),
        Unserved::Init { why, memory_peak_mb } => {
            setup.lines.init_report(phase, &why, begun.elapsed_ms());
            NotLent::Init(InitFailed { why, lines: Arc::clone(&setup.lines), begun, memory_peak_mb })
        }
    })
}

async fn run_process(setup: &Setup, init: Init) -> Result<(), Unserved> {
    let Setup { pool, id, sandbox, lines } = setup;
    let spec = &pool.spec;
    let host = &spec.host;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let runtime_api = listener.local_addr()?.to_string();
    let proxy = proxy::open(spec, sandbox).await?;
    if proxy::is_attached(&spec.config) {
        lines.extension(&format!("extension enabled {}", proxy::EXTENSION_VERSION), None);
        // It polls from now on. What it finds is told at the first invocation; whether it may look, already here.
        proxy::may_read_faults(spec);
    }
    let place = Place {
        runtime_api: &runtime_api,
        log_stream: &sandbox.stream,
        scratch: &sandbox.scratch,
        wrapper: proxy.as_ref().map(|proxy| proxy.wrapper.as_path()),
    };
    let (output, writer) = Output::new()?;
    let child = process::spawn(spec, &place, &writer).await?;
    drop(writer);
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
    host.guardian.started(pid);
    let environment = Arc::new(Environment {
        id: *id,
        spec: Arc::clone(spec),
        lines: Arc::clone(lines),
        ready: AtomicBool::new(false),
        extension: AtomicBool::new(false),
        extensions: Extensions::default(),
        poll: Poll::of(&spec.config, host.options.fis_polling),
        pid,
        output,
        init,
        initialised: Mutex::new(None),
        init_error: Mutex::new(None),
        current: Mutex::new(None),
        unfinished: Mutex::new(None),
        deadline_ms: AtomicI64::new(i64::MAX),
        frozen: AtomicBool::new(false),
        end: Notify::new(),
        sandbox: Arc::clone(sandbox),
        left: AtomicBool::new(false),
        memory_peak_mb: AtomicU64::new(0),
    });
    let door = Door { environment: Arc::clone(&environment), pool: Arc::clone(pool), faulted: false };
    let mut doors = JoinSet::new();
    if let Some(proxy) = proxy {
        doors.spawn(runtime_api::serve(proxy.listener, Door { faulted: true, ..door.clone() }));
    }
    doors.spawn(runtime_api::serve(listener, door));
    pool.joined(&environment);
    let exit = watch(&environment, child).await;
    drop(doors);
    host.guardian.ended(pid);
    depart(pool, &environment, exit)
}

/// Waits for the end of the process, whoever causes it. Afterwards the whole group is gone.
async fn watch(environment: &Environment, mut child: Child) -> Exit {
    let clock = &environment.spec.host.settings.clock;
    let init_until_ms = environment.init.until_ms(&environment.spec);
    // Lasts longer than a turn of the loop: nothing that happens puts off the next look.
    let mut memory = tokio::time::interval_at(tokio::time::Instant::now() + MEMORY_SAMPLE, MEMORY_SAMPLE);
    memory.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut output_open = true;
    let mut overran = false;
    let exit = loop {
        let starting = !environment.ready.load(Ordering::SeqCst);
        tokio::select! {
            status = child.wait() => break Exit::Process(status.ok()),
            () = environment.end.notified() => break Exit::Ended,
            readable = environment.output.readable(), if output_open => {
                output_open = readable.is_ok() && environment.drain_output();
                // There may be more already, again and again: the others on this thread have their turn.
                tokio::task::yield_now().await;
            }
            () = clock.sleep_until(init_until_ms), if starting => {
                if !environment.ready.load(Ordering::SeqCst) {
                    break Exit::InitTimedOut;
                }
            }
            _ = memory.tick() => {
                let unfinished = environment.is_unfinished();
                if (starting || unfinished || environment.busy()) && environment.is_over_memory() {
                    break Exit::OutOfMemory;
                }
                // At the second look: a clock that is moved by hand runs ahead of a process that is about to ask.
                let overruns = unfinished && environment.deadline_ms.load(Ordering::SeqCst) <= clock.now_ms();
                if overruns && overran {
                    break Exit::Overran;
                }
                overran = overruns;
            }
        }
    };
    if matches!(exit, Exit::Ended) && environment.extension.load(Ordering::SeqCst) && !environment.busy() {
        environment.signal(Signal::SIGTERM);
        // Its own end or the grace, whichever comes first; SIGKILL follows in both cases.
        tokio::time::timeout(SHUTDOWN_GRACE, child.wait()).await.ok();
    }
    environment.signal(Signal::SIGKILL);
    match child.wait().await {
        Ok(status) if matches!(exit, Exit::Process(_) | Exit::Ended) => Exit::Process(Some(status)),
        _ => exit,
    }
}

/// Tells the pool and the waiting invoker.
fn depart(pool: &Arc<Pool>, environment: &Environment, exit: Exit) -> Result<(), Unserved> {
    environment.drain_output();
    let served = environment.ready.load(Ordering::SeqCst);
    if let Some(unfinished) = environment.finish() {
        say_end(environment, &unfinished, &exit);
    }
    if served {
        pool.keep_sandbox_of(environment);
    }
    pool.left(environment);
    if served {
        let ending = match exit {
            Exit::OutOfMemory => Ending::OutOfMemory,
            Exit::Process(status) => Ending::Exited(process::ending(status)),
            Exit::Ended | Exit::InitTimedOut | Exit::Overran => Ending::Exited(process::ending(None)),
        };
        let current = environment.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(current) = current {
            current.reply.send(ending).ok();
        }
        return Ok(());
    }
    let posted = environment.init_error.lock().unwrap_or_else(PoisonError::into_inner).take();
    let why = match (posted, exit) {
        (Some(body), _) => InitFailure::Posted(body),
        (None, Exit::InitTimedOut) => InitFailure::TimedOut,
        (None, Exit::OutOfMemory) => InitFailure::OutOfMemory,
        (None, Exit::Process(status)) => InitFailure::Exited(process::ending(status)),
        (None, Exit::Ended | Exit::Overran) => InitFailure::Exited(process::ending(None)),
    };
    Err(Unserved::Init { why, memory_peak_mb: environment.memory_peak_mb.load(Ordering::Relaxed) })
}

/// Of what was killed after its answer only the log tells.
fn say_end(environment: &Environment, request_id: &str, exit: &Exit) {
    match exit {
        Exit::Overran => {
            environment.lines.timed_out(request_id, environment.spec.config.timeout_seconds);
        }
        Exit::OutOfMemory => environment.lines.crashed(request_id, KILLED, EXIT_ERROR),
        Exit::Process(_) | Exit::Ended | Exit::InitTimedOut => {}
    }
}
