//! EventBridge Scheduler: schedules that really run, and deliver to functions and queues as their roles.

mod cron;
mod error;
mod expression;
mod operations;
mod runner;
mod schedule;
mod targets;
mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

use crate::iam::Signer;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use error::SchedulerError;
use schedule::{Group, Schedule};
pub use targets::AccountTargets;
use tokens::Tokens;

/// What a target said to a delivery that it did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub message: String,
}

/// What schedules deliver to: Lambda and SQS, or a stand-in of a test.
pub trait Targets: Send + Sync + 'static {
    /// An asynchronous invocation: taken is delivered.
    ///
    /// # Errors
    /// When the event is not taken.
    fn invoke(&self, function_arn: &str, payload: Bytes) -> Result<(), Refused>;

    /// One message to a queue, in the name of this session.
    fn send<'a>(
        &'a self,
        session: &'a Signer,
        queue_arn: &'a str,
        body: &'a str,
        attributes: Option<Value>,
    ) -> BoxFuture<'a, Result<(), Refused>>;
}

/// The schedules of the account. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    targets: Arc<dyn Targets>,
    state: Mutex<State>,
    changed: Arc<Notify>,
    stop: Arc<Notify>,
}

/// Group and name.
type Key = (String, String);

#[derive(Default)]
struct State {
    schedules: BTreeMap<Key, Schedule>,
    groups: BTreeMap<String, Group>,
    tokens: Tokens,
    revisions: u64,
}

impl State {
    /// The schedule, if it was neither deleted nor changed since this one was taken from here.
    fn unchanged(&self, taken: &Schedule) -> Option<&Schedule> {
        let now = self.schedules.get(&(taken.group.clone(), taken.name.clone()))?;
        (now.revision == taken.revision).then_some(now)
    }

    /// Whether it will not run again, and was not changed since it ran.
    fn is_done(&self, ran: &Schedule) -> bool {
        self.unchanged(ran).is_some_and(|now| now.due_ms.is_none())
    }

    fn put(&mut self, key: Key, mut schedule: Schedule) {
        self.revisions += 1;
        schedule.revision = self.revisions;
        self.schedules.insert(key, schedule);
    }
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").finish_non_exhaustive()
    }
}

impl Scheduler {
    /// No schedule runs before the service begins.
    #[must_use]
    pub fn new(settings: Settings, targets: Arc<dyn Targets>) -> Self {
        let now_ms = settings.clock.now_ms();
        let inner = Inner {
            settings,
            targets,
            state: Mutex::default(),
            changed: Arc::default(),
            stop: Arc::default(),
        };
        let scheduler = Self { inner: Arc::new(inner) };
        let arn = scheduler.arn("schedule-group", operations::DEFAULT_GROUP);
        let default = Group { arn, created_ms: now_ms, tags: BTreeMap::new() };
        scheduler.state().groups.insert(operations::DEFAULT_GROUP.to_owned(), default);
        scheduler
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.inner.settings.clock.now_ms()
    }

    fn arn(&self, kind: &str, name: &str) -> String {
        let settings = &self.inner.settings;
        format!("arn:aws:scheduler:{}:{}:{kind}/{name}", settings.region, settings.account_id)
    }

    fn group_arn(&self, name: &str) -> String {
        self.arn("schedule-group", name)
    }

    /// Wakes the runner: something may be due earlier than it thought.
    fn changed(&self) {
        self.inner.changed.notify_one();
    }
}

impl Service for Scheduler {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        // Not before the answer is waited for: a call that is made again is so only then.
        Box::pin(async move {
            operations::route(self, &request).unwrap_or_else(|error: SchedulerError| error.response())
        })
    }

    /// In the background, for as long as a clone of this lives.
    fn begin(&self) {
        runner::start(&self.inner);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.inner.stop.notify_one();
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests;
