//! Fault Injection Service: templates, experiments, and the faults that they put into functions.

mod catalogue;
mod error;
mod experiment;
mod log;
mod operations;
mod permission;
mod runner;
mod targets;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::cloudwatch::CloudWatch;
use crate::lambda::Lambda;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use experiment::Experiment;
use template::Template;

/// The states of alarms, for stop conditions and assertions; CloudWatch implements it.
pub trait AlarmStates: Send + Sync + 'static {
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`; None when there is no such alarm.
    fn state(&self, alarm_arn: &str) -> Option<String>;
}

impl AlarmStates for CloudWatch {
    fn state(&self, alarm_arn: &str) -> Option<String> {
        self.alarm_state(alarm_arn).map(str::to_owned)
    }
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Fis {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    lambda: Lambda,
    alarms: OnceLock<Arc<dyn AlarmStates>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    templates: BTreeMap<String, Template>,
    experiments: BTreeMap<String, Experiment>,
    /// What a client token made, so that a repeated call makes nothing new.
    tokens: HashMap<String, Made>,
    lever: Lever,
}

/// The outcome behind a client token, with the request that it belongs to.
#[derive(Clone)]
struct Made {
    id: String,
    request: bytes::Bytes,
}

#[derive(Default)]
struct Lever {
    engaged: bool,
    reason: String,
}

impl std::fmt::Debug for Fis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fis").finish_non_exhaustive()
    }
}

impl Fis {
    #[must_use]
    pub fn new(settings: Settings, lambda: Lambda) -> Self {
        let (alarms, state) = (OnceLock::new(), Mutex::default());
        Self { inner: Arc::new(Inner { settings, lambda, alarms, state }) }
    }

    /// Without it an alarm is unknown, and an experiment that names one does not start.
    pub fn set_alarms(&self, alarms: Arc<dyn AlarmStates>) {
        if self.inner.alarms.set(alarms).is_err() {
            tracing::warn!("the alarms were set twice: the first stay");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.inner.settings.clock.now_ms()
    }

    fn alarm_state(&self, arn: &str) -> Option<String> {
        self.inner.alarms.get()?.state(arn)
    }
}

impl Service for Fis {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(
            async move { operations::route(self, &request).unwrap_or_else(error::FisError::into_response) },
        )
    }
}
