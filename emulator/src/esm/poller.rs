//! The data plane of a mapping: receive, filter, invoke, delete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::RngExt as _;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::Inner;
use super::event::{self, Invocation, PAYLOAD_BYTES_MAX};
use super::filter::with_parsed_body;
use super::gather::{Gathering, WAIT_MS};
use super::mapping::Config;
use super::permission;
use super::report::{self, Report};
use super::scaling::{Load, Scaling, TICK_MS};
use crate::invoke::{InvokeOutcome, InvokeRequest};
use crate::sqs::account::Receive;
use crate::sqs::handle::QueueHandle;
use crate::sqs::queue::Received;
use crate::sqs::service::{Principal, check_policy};

/// Long polling, as on AWS.
const POLL_WAIT_MS: i64 = 20_000;
/// AWS quota: messages of one receive.
const RECEIVE_MAX: usize = 10;
/// First pause after a refused or failed invocation, or a refused receive; doubled each time in a row.
const BACKOFF_FIRST_MS: i64 = 100;
/// Longest such pause: short beside any visibility timeout that a mapping may have with a function of one second.
const BACKOFF_MAX_MS: i64 = 1_000;
/// How often a receive that waits looks whether there is still somebody to invoke.
const LOOK_MS: i64 = 1_000;
/// Refused batches that are tried again beside the pollers, which receive on meanwhile. 10,000 messages of batches of ten:
/// far below the 120,000 that may be in flight.
const PARKED_MAX: usize = 1_000;
/// What may be under way where the mapping has no limit of its own. AWS quota: 1,000 per mapping.
const INVOCATIONS_MAX: usize = 1_000;
/// Added to window and function timeout where the queue's visibility timeout is shorter than both.
const VISIBILITY_MARGIN_SECONDS: i64 = 30;

/// The running pollers of one mapping. They stop when told to, or when this is dropped.
#[derive(Debug)]
pub struct Runner {
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

impl Runner {
    /// Starts polling at `start_ms`, or when the service begins if that is later.
    #[must_use]
    pub fn start(inner: Arc<Inner>, config: Config, start_ms: i64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let invocations = Semaphore::new(config.concurrency_max.unwrap_or(INVOCATIONS_MAX));
        let parking = Arc::new(Semaphore::new(PARKED_MAX));
        let (pool, gathering) = (Pool::default(), Gathering::default());
        let poller = Poller { inner, config, stopped, pool, invocations, gathering, parking };
        Self { stop, supervisor: tokio::spawn(supervise(Arc::new(poller), start_ms)) }
    }

    /// No receive begins after this, and no invocation that waits; those under way end by themselves.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns when the last invocation has ended.
    pub async fn ended(self) {
        if let Err(error) = self.supervisor.await {
            tracing::error!(%error, "the pollers of an event source mapping died");
        }
    }
}

/// What workers tell their supervisor, and it them.
#[derive(Debug, Default)]
struct Pool {
    wanted: AtomicUsize,
    running: AtomicUsize,
    throttled: AtomicBool,
    failing: AtomicBool,
    /// There was nobody to invoke at the last look.
    deserted: AtomicBool,
}

struct Poller {
    inner: Arc<Inner>,
    config: Config,
    stopped: watch::Receiver<bool>,
    pool: Pool,
    /// The mapping's own limit. Pollers alone would hold it; parked batches come on top of them.
    invocations: Semaphore,
    gathering: Gathering,
    parking: Arc<Semaphore>,
}

/// What became of one attempt to invoke.
enum Attempt {
    Ran(InvokeOutcome),
    /// The function did not run.
    Refused,
    /// It waited for its turn until the batch could no longer be invoked.
    TooLate,
}

/// How a batch ended, for the pace of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Steady,
    Slow,
}

async fn supervise(poller: Arc<Poller>, start_ms: i64) {
    let clock = poller.inner.settings.clock.clone();
    let mut scaling = Scaling::new(poller.config.concurrency_max);
    let mut workers = JoinSet::new();
    let mut tick_ms = start_ms;
    loop {
        tokio::select! {
            biased;
            () = poller.stop_signal() => break,
            () = poller.turn(tick_ms) => {}
        }
        if tick_ms > start_ms {
            scaling.tick(poller.load());
        }
        poller.pool.wanted.store(scaling.wanted(), Ordering::SeqCst);
        while poller.pool.running.load(Ordering::SeqCst) < scaling.wanted() {
            poller.pool.running.fetch_add(1, Ordering::SeqCst);
            workers.spawn(work(Arc::clone(&poller)));
        }
        while let Some(ended) = workers.try_join_next() {
            poller.note(ended);
        }
        tick_ms = clock.now_ms() + TICK_MS;
    }
    while let Some(ended) = workers.join_next().await {
        poller.note(ended);
    }
    // Every parked batch gives its place back when it ends. The semaphore is never closed.
    drop(poller.parking.acquire_many(u32::try_from(PARKED_MAX).unwrap_or(u32::MAX)).await);
}

/// One batch after the other, until stopped or surplus.
async fn work(poller: Arc<Poller>) {
    let mut in_a_row = 0;
    while !poller.is_stopped() && !poller.leaves_as_surplus() {
        let pace = match poller.collect().await {
            Ok(batch) if batch.is_empty() => continue,
            Ok(batch) => poller.process(batch).await,
            Err(()) => Pace::Slow,
        };
        if pace == Pace::Steady {
            in_a_row = 0;
            continue;
        }
        let pause_ms = poller.backoff_ms(in_a_row);
        in_a_row += 1;
        poller.pause(poller.now_ms() + pause_ms).await;
    }
}

impl Poller {
    fn now_ms(&self) -> i64 {
        self.inner.settings.clock.now_ms()
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    /// Returns once stopped. A dropped runner counts as a stop.
    async fn stop_signal(&self) {
        let mut stopped = self.stopped.clone();
        // The only error is that the sender is gone.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }

    /// Returns at the time, but not before the service begins.
    async fn turn(&self, at_ms: i64) {
        self.inner.begun().await;
        self.inner.settings.clock.sleep_until(at_ms).await;
    }

    /// True for the workers that are too many; each of them must end.
    fn leaves_as_surplus(&self) -> bool {
        let wanted = self.pool.wanted.load(Ordering::SeqCst);
        let fewer = |running: usize| (running > wanted).then(|| running - 1);
        self.pool.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }

    fn note(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            // A panic took a worker with it; the supervisor replaces it at the next tick.
            self.pool.running.fetch_sub(1, Ordering::SeqCst);
            tracing::error!(%error, "a worker of an event source mapping died");
        }
    }

    fn load(&self) -> Load {
        let backlog = self.queue().map_or(0, |queue| queue.counts(self.now_ms()).visible);
        Load {
            backlog,
            throttled: self.pool.throttled.swap(false, Ordering::SeqCst),
            failing: self.pool.failing.swap(false, Ordering::SeqCst),
        }
    }

    fn queue(&self) -> Option<Arc<QueueHandle>> {
        self.inner.queues.by_arn(&self.config.queue_arn)
    }

    /// Full jitter over the upper half, so that a pause is never nothing.
    fn backoff_ms(&self, in_a_row: u32) -> i64 {
        let ceiling_ms = (BACKOFF_FIRST_MS << in_a_row.min(8)).min(BACKOFF_MAX_MS);
        self.inner.settings.random.with(|random| random.random_range(ceiling_ms / 2..=ceiling_ms))
    }

    /// Sleeps, but not past a stop.
    async fn pause(&self, until_ms: i64) {
        tokio::select! {
            () = self.stop_signal() => {}
            () = self.inner.settings.clock.sleep_until(until_ms) => {}
        }
    }

    /// Receives until the batch is full, its window ends, its payload is large enough, or the mapping is stopped.
    async fn collect(&self) -> Result<Vec<Received>, ()> {
        let queue = self.queue().ok_or(())?;
        let mut batch = self.receive(&queue, self.config.batch_size, POLL_WAIT_MS).await?;
        if batch.is_empty() {
            return Ok(batch);
        }
        if self.config.window_seconds == 0 {
            return Ok(self.gather(batch).await);
        }
        let deadline_ms = self.now_ms() + self.config.window_seconds * 1_000;
        let mut payload_bytes: usize = batch.iter().map(|one| one.content.size_bytes()).sum();
        while batch.len() < self.config.batch_size && payload_bytes < PAYLOAD_BYTES_MAX && !self.is_stopped()
        {
            let left_ms = deadline_ms - self.now_ms();
            if left_ms <= 0 {
                break;
            }
            // What was received so far is worth more than the reason why no more can be.
            let wanted = self.config.batch_size - batch.len();
            let Ok(more) = self.receive(&queue, wanted, left_ms.min(POLL_WAIT_MS)).await else { break };
            payload_bytes += more.iter().map(|one| one.content.size_bytes()).sum::<usize>();
            batch.extend(more);
        }
        Ok(batch)
    }

    /// What was received, or more, or nothing where another worker invokes with it.
    async fn gather(&self, batch: Vec<Received>) -> Vec<Received> {
        let until_ms = self.now_ms() + WAIT_MS;
        // Of a queue that hides nothing others may have received it by then.
        if batch.iter().any(|one| one.visible_at_ms <= until_ms) {
            return batch;
        }
        self.gathering.gather(batch, self.config.batch_size, self.pause(until_ms)).await
    }

    async fn receive(&self, queue: &QueueHandle, wanted: usize, wait_ms: i64) -> Result<Vec<Received>, ()> {
        let request = Receive {
            messages_max: wanted.min(RECEIVE_MAX),
            visibility_ms: self.visibility_ms(queue),
            wait_ms: Some(wait_ms),
        };
        self.permitted("sqs:ReceiveMessage", queue)?;
        let principal = self.principal();
        let received = tokio::select! {
            biased;
            () = self.stop_signal() => return Ok(Vec::new()),
            () = self.desertion() => {
                // What waits is no reason to grow, as where the function fails.
                self.pool.failing.store(true, Ordering::SeqCst);
                return Err(());
            }
            received = self.inner.queues.receive(&principal, queue, request) => received,
        };
        received.map_err(|error| {
            tracing::warn!(mapping = %self.config.uuid, %error, "failed to receive for an event source mapping");
        })
    }

    /// Returns once the function, or its version or alias, is not there: a message would spend its receives in vain.
    async fn desertion(&self) {
        while self.has_function() {
            self.inner.settings.clock.sleep_until(self.now_ms() + LOOK_MS).await;
        }
    }

    /// Says once that it is gone.
    fn has_function(&self) -> bool {
        let is_there = self.inner.functions.timeout_seconds(&self.config.function_arn).is_some();
        let was_deserted = self.pool.deserted.swap(!is_there, Ordering::SeqCst);
        if !is_there && !was_deserted {
            let function = &self.config.function_arn;
            tracing::warn!(mapping = %self.config.uuid, function, "a mapping receives nothing: its function is not there");
        }
        is_there
    }

    /// With a window, "if window plus timeout exceed the queue's visibility timeout, Lambda uses window, timeout and 30
    /// seconds"; without one, the queue's own.
    fn visibility_ms(&self, queue: &QueueHandle) -> Option<i64> {
        let window_seconds = Some(self.config.window_seconds).filter(|window| *window > 0)?;
        let timeout_seconds = self.inner.functions.timeout_seconds(&self.config.function_arn)?;
        let total_seconds = window_seconds + i64::from(timeout_seconds);
        let short = total_seconds > queue.attributes().visibility_seconds;
        short.then_some((total_seconds + VISIBILITY_MARGIN_SECONDS) * 1_000)
    }

    async fn process(self: &Arc<Self>, batch: Vec<Received>) -> Pace {
        let Some(queue) = self.queue() else { return Pace::Slow };
        let batch = self.drop_filtered(&queue, batch);
        let invocations = event::invocations(&queue, &self.inner.settings.region, batch);
        let mut pace = Pace::Steady;
        for (n, invocation) in invocations.into_iter().enumerate() {
            // Those behind the first have waited for it.
            if n > 0 && self.is_too_late(&invocation) {
                continue;
            }
            if self.deliver(&queue, invocation).await == Pace::Slow {
                pace = Pace::Slow;
            }
        }
        pace
    }

    /// Deletes what no filter matches: the function never sees it.
    fn drop_filtered(&self, queue: &QueueHandle, batch: Vec<Received>) -> Vec<Received> {
        if self.config.filters.is_empty() {
            return batch;
        }
        let (wanted, unwanted): (Vec<_>, Vec<_>) = batch.into_iter().partition(|received| {
            let record = event::record(queue, &self.inner.settings.region, received);
            let record = with_parsed_body(&record);
            self.config.filters.iter().any(|filter| filter.matches(&record))
        });
        self.delete(queue, unwanted.iter());
        wanted
    }

    /// Invokes once. A refused batch is parked: "Lambda continues to retry the message until the message's timestamp
    /// exceeds your queue's visibility timeout", and pollers receive on meanwhile, since a mapping does not account for the
    /// concurrency of its function. One that finds no place among the invocations before that is dropped as well.
    async fn deliver(self: &Arc<Self>, queue: &Arc<QueueHandle>, invocation: Invocation) -> Pace {
        match self.invoke(&invocation).await {
            Attempt::Ran(outcome) => return self.end(queue, &invocation, &outcome),
            Attempt::TooLate => return Pace::Slow,
            Attempt::Refused => {}
        }
        match Arc::clone(&self.parking).try_acquire_owned() {
            Ok(place) => {
                let (poller, queue) = (Arc::clone(self), Arc::clone(queue));
                tokio::spawn(async move {
                    poller.retry(&queue, invocation).await;
                    drop(place);
                });
            }
            Err(_) => self.retry(queue, invocation).await,
        }
        Pace::Slow
    }

    /// Deletes what succeeded. What failed stays invisible until its timeout: a mapping never shortens it.
    fn end(&self, queue: &QueueHandle, invocation: &Invocation, outcome: &InvokeOutcome) -> Pace {
        if let InvokeOutcome::Success(answer) = outcome {
            self.settle(queue, answer, &invocation.messages);
            return Pace::Steady;
        }
        self.pool.failing.store(true, Ordering::SeqCst);
        Pace::Slow
    }

    /// Invokes again until the function ran, for as long as the batch is invisible; then the batch is dropped, and its
    /// messages come back by their timeout with one receive spent.
    async fn retry(&self, queue: &QueueHandle, invocation: Invocation) {
        let give_up_ms = invocation.visible_at_ms();
        let mut in_a_row = 0;
        loop {
            let again_ms = self.now_ms() + self.backoff_ms(in_a_row);
            in_a_row += 1;
            if again_ms >= give_up_ms || self.is_stopped() {
                return;
            }
            self.pause(again_ms).await;
            if self.is_too_late(&invocation) {
                return;
            }
            match self.invoke(&invocation).await {
                Attempt::Ran(outcome) => {
                    self.end(queue, &invocation, &outcome);
                    return;
                }
                Attempt::TooLate => return,
                Attempt::Refused => {}
            }
        }
    }

    /// Whether what waited may no longer be invoked: its messages may be with another receive already, or the mapping is
    /// stopped.
    fn is_too_late(&self, invocation: &Invocation) -> bool {
        self.is_stopped() || self.now_ms() >= invocation.visible_at_ms()
    }

    /// A place among the invocations of the mapping, at once or before it is too late.
    async fn place(&self, invocation: &Invocation) -> Option<SemaphorePermit<'_>> {
        // What was only just received is under way, also when the mapping stops or the queue hides nothing.
        if let Ok(place) = self.invocations.try_acquire() {
            return Some(place);
        }
        let place = tokio::select! {
            biased;
            () = self.stop_signal() => return None,
            () = self.inner.settings.clock.sleep_until(invocation.visible_at_ms()) => return None,
            // The semaphore is never closed.
            place = self.invocations.acquire() => place.ok()?,
        };
        (!self.is_too_late(invocation)).then_some(place)
    }

    fn settle(&self, queue: &QueueHandle, answer: &[u8], messages: &[Received]) {
        let ids: Vec<String> = messages.iter().map(|one| one.id.to_string()).collect();
        let report = if self.config.reports_failures {
            report::read(answer, |id| ids.iter().any(|known| known == id))
        } else {
            Report::AllSucceeded
        };
        match report {
            Report::AllSucceeded => self.delete(queue, messages.iter()),
            Report::Failed(failed) => {
                let done = messages.iter().zip(&ids).filter(|(_, id)| !failed.contains(*id));
                self.delete(queue, done.map(|(one, _)| one));
            }
            Report::BatchFailed(reason) => {
                self.pool.failing.store(true, Ordering::SeqCst);
                tracing::warn!(mapping = %self.config.uuid, reason, "a partial batch response failed its whole batch");
            }
        }
    }

    async fn invoke(&self, invocation: &Invocation) -> Attempt {
        let Some(_place) = self.place(invocation).await else { return Attempt::TooLate };
        let function = self.config.function_arn.clone();
        let request = InvokeRequest {
            function,
            payload: invocation.payload.clone(),
            trace_id: None,
            request_id: None,
            source: None,
        };
        let _under_way = self.gathering.begin();
        match self.inner.functions.invoke(request).await {
            done @ (InvokeOutcome::Success(_) | InvokeOutcome::FunctionError { .. }) => Attempt::Ran(done),
            refused => {
                tracing::debug!(mapping = %self.config.uuid, ?refused, "an invocation was refused");
                self.pool.throttled.store(true, Ordering::SeqCst);
                Attempt::Refused
            }
        }
    }

    /// Of whom the policy of the queue speaks.
    fn principal(&self) -> Principal {
        let session = permission::session(&self.inner, &self.config.function_arn);
        session.map_or(Principal::Judged, |session| Principal::Session(Arc::new(session)))
    }

    /// A mapping does what it does in the name of the function's execution role.
    fn permitted(&self, action: &str, queue: &QueueHandle) -> Result<(), ()> {
        permission::check(&self.inner, &self.config.function_arn, action, &queue.arn).map_err(|denied| {
            tracing::warn!(mapping = %self.config.uuid, %denied, "the execution role lacks a permission");
        })
    }

    fn delete<'a>(&self, queue: &QueueHandle, messages: impl Iterator<Item = &'a Received>) {
        if self.permitted("sqs:DeleteMessage", queue).is_err() {
            return;
        }
        if let Err(error) = check_policy(&self.inner.queues, &self.principal(), queue, "DeleteMessage") {
            tracing::warn!(mapping = %self.config.uuid, %error, "failed to delete a processed batch");
            return;
        }
        self.inner.queues.delete_received(queue, messages);
    }
}
