//! Lambda: functions as the API manages them, and the environments in which they run.

mod async_events;
mod code;
mod concurrency;
mod control;
mod error;
mod event_config;
mod exec;
mod faults;
mod input;
mod invocation;
mod invoke_api;
mod model;
mod names;
mod options;
mod permission;
mod policy;
mod publish;
mod rate;
mod router;
mod store;
mod tags;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use faults::{Fault, FaultKind, Faults};
pub(crate) use names::FunctionRef;
pub use options::Options;
pub(crate) use router::{function_of, names_whole_function, segments};

use crate::invoke::{Invoke, InvokeOutcome, InvokeRequest};
use crate::repeatable;
use crate::settings::Settings;
use crate::sqs::Sqs;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use exec::Host;
use store::Store;

/// The first rules that say of what there can be a policy, a destination and dead letters, and what a version is made of.
const RULES_OF_TARGETS: u32 = 1;

/// How often idle environments are looked for.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lambda {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: Arc<Host>,
    store: Mutex<Store>,
    peers: Peers,
    async_slots: Arc<Semaphore>,
}

/// Services that Lambda calls; set while the account is put together.
#[derive(Default)]
struct Peers {
    event_source_mappings: OnceLock<Arc<dyn Service>>,
    s3: OnceLock<Arc<dyn Service>>,
    sqs: OnceLock<Sqs>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

/// What FIS needs to know of a function that it is asked to fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultTarget {
    pub name: String,
    pub arn: String,
    /// `AWS_FIS_CONFIGURATION_LOCATION`, where FIS would write for the extension to read.
    pub configuration_location: Option<String>,
}

impl Lambda {
    /// # Errors
    /// When the working directory or the guardian process cannot be made.
    pub fn new(settings: Settings, options: Options) -> std::io::Result<Self> {
        let async_slots = Arc::new(Semaphore::new(options.async_events_max));
        let host = Arc::new(Host::new(settings, options)?);
        let store = Mutex::new(Store::default());
        let inner = Arc::new(Inner { host, store, peers: Peers::default(), async_slots });
        tokio::spawn(reap(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Takes `/2015-03-31/event-source-mappings` and the tags of mappings.
    pub fn set_event_source_mappings(&self, service: Arc<dyn Service>) {
        set_once(&self.inner.peers.event_source_mappings, service);
    }

    /// Where packages named by bucket and key are read.
    pub fn set_s3(&self, service: Arc<dyn Service>) {
        set_once(&self.inner.peers.s3, service);
    }

    /// Where failed asynchronous events go.
    pub fn set_sqs(&self, queues: Sqs) {
        set_once(&self.inner.peers.sqs, queues);
    }

    /// The faults in force; FIS writes it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.inner.host.faults.clone()
    }

    /// The function of this name, as its version or alias is configured.
    #[must_use]
    pub fn fault_target(&self, function: &str, qualifier: Option<&str>) -> Option<FaultTarget> {
        self.store().fault_target(function, qualifier)
    }

    /// The functions that carry all of these tags.
    #[must_use]
    pub fn fault_targets_tagged(
        &self,
        tags: &std::collections::BTreeMap<String, String>,
    ) -> Vec<FaultTarget> {
        self.store().fault_targets_tagged(tags)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.inner.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_revision(&self) -> String {
        self.inner.host.settings.random.uuid().to_string()
    }

    fn now_ms(&self) -> i64 {
        self.inner.host.settings.clock.now_ms()
    }
}

/// Whether the call is made again and was accepted under older rules: it comes out as it did then.
fn is_older_call() -> bool {
    repeatable::is_older_than(RULES_OF_TARGETS)
}

fn set_once<T>(slot: &OnceLock<T>, service: T) {
    if slot.set(service).is_err() {
        tracing::warn!("a peer service was set twice: the first stays");
    }
}

/// Ends environments that have been idle for long, until the service is gone.
async fn reap(inner: Weak<Inner>) {
    loop {
        let Some(clock) = inner.upgrade().map(|inner| inner.host.settings.clock.clone()) else { return };
        let every_ms = i64::try_from(REAP_EVERY.as_millis()).unwrap_or(i64::MAX);
        clock.sleep_until(clock.now_ms() + every_ms).await;
        let Some(inner) = inner.upgrade() else { return };
        let idle_ms = i64::try_from(inner.host.options.idle.as_millis()).unwrap_or(i64::MAX);
        let before_ms = clock.now_ms().saturating_sub(idle_ms);
        let pools = inner.store.lock().unwrap_or_else(PoisonError::into_inner).pools();
        for pool in pools {
            pool.reap(before_ms);
        }
    }
}

impl Service for Lambda {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(router::route(self, request))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for pool in self.store().pools() {
                pool.kill();
            }
            self.inner.host.guardian.kill_all();
        })
    }
}

impl Invoke for Lambda {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, InvokeOutcome> {
        Box::pin(invoke_api::invoke(self, request))
    }

    fn timeout_seconds(&self, function: &str) -> Option<u32> {
        self.store().timeout_seconds(function, self.now_ms())
    }

    fn role_arn(&self, function: &str) -> Option<String> {
        self.store().role_arn(function)
    }
}
