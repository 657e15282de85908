//! Event source mappings from SQS queues to functions: the control operations of Lambda's API, and the pollers.
//!
//! [`control`] answers the API, [`poller`] receives and invokes, [`gather`] makes fuller batches, [`event`] writes the event,
//! [`report`] reads the function's answer, [`filter`] decides what a function gets to see, [`scaling`] how many batches run at
//! once.

pub mod control;
pub mod error;
pub mod event;
pub mod filter;
pub mod gather;
pub mod mapping;
pub mod permission;
pub mod poller;
pub mod report;
pub mod scaling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::invoke::Invoke;
use crate::settings::Settings;
use crate::sqs::account::Account;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

use self::mapping::Mapping;

/// How long a stop waits for invocations that are under way.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// The mappings of the account. Cheap to clone.
#[derive(Clone)]
pub struct EventSourceMappings {
    inner: Arc<Inner>,
}

/// What control operations and pollers share.
pub struct Inner {
    pub settings: Settings,
    pub queues: Arc<Account>,
    pub functions: Arc<dyn Invoke>,
    mappings: Mutex<BTreeMap<String, Mapping>>,
    /// Set once everything that was kept is back. No poller receives before: its function would call an emulator that does
    /// not answer yet.
    begun: watch::Sender<bool>,
}

impl std::fmt::Debug for EventSourceMappings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSourceMappings").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Inner {
    /// The mappings, without those whose deletion has settled.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Mapping>> {
        let now_ms = self.settings.clock.now_ms();
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        mappings.retain(|_, mapping| !mapping.is_gone(now_ms));
        mappings
    }

    /// Returns once pollers may receive.
    async fn begun(&self) {
        // The only error is that the sender is gone.
        drop(self.begun.subscribe().wait_for(|begun| *begun).await);
    }
}

impl EventSourceMappings {
    /// No mapping receives before the service begins.
    #[must_use]
    pub fn new(settings: Settings, queues: Arc<Account>, functions: Arc<dyn Invoke>) -> Self {
        let (mappings, begun) = (Mutex::default(), watch::Sender::new(false));
        Self { inner: Arc::new(Inner { settings, queues, functions, mappings, begun }) }
    }

    /// Answers a request to `/2015-03-31/event-source-mappings` or to the tags of a mapping. Creating and updating
    /// start pollers, so this must be called within a tokio runtime.
    #[must_use]
    pub fn handle(&self, request: &AwsRequest) -> AwsResponse {
        control::answer(&self.inner, request)
    }

    /// Stops receiving at once and gives the invocations under way a moment to end.
    pub async fn shutdown(&self) {
        let runners: Vec<_> = self.inner.lock().values_mut().filter_map(Mapping::take_runner).collect();
        runners.iter().for_each(poller::Runner::stop);
        let ended = futures_util::future::join_all(runners.into_iter().map(poller::Runner::ended));
        if tokio::time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            tracing::warn!("invocations of event source mappings were still under way at the stop");
        }
    }
}

impl Service for EventSourceMappings {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        let answer = Self::handle(self, &request);
        Box::pin(async { answer })
    }

    fn begin(&self) {
        self.inner.begun.send_replace(true);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::shutdown(self))
    }
}

#[cfg(test)]
mod tests;
