//! Where functions and gateways write their log lines, and the CloudWatch Logs API that reads them.

mod api;
mod emf;
mod metric_filter;
mod page;
mod pattern;
mod search;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::api::LogsApi;
pub use self::store::BYTES_MAX;
use self::store::{Event, Store};
use crate::metrics::Metrics;

/// How far from now an event may be, and the values of a line in the Embedded Metric Format.
const PAST_MAX_MS: i64 = 14 * 24 * 3600 * 1000;
const FUTURE_MAX_MS: i64 = 2 * 3600 * 1000;

/// The name in the ARN of a log group, with or without the trailing `:*`.
pub(crate) fn group_in_arn(arn: &str) -> Option<&str> {
    let (_, group) = arn.split_once(":log-group:")?;
    Some(group.strip_suffix(":*").unwrap_or(group))
}

/// A handle to the log store. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    store: Arc<Mutex<Store>>,
    metrics: Metrics,
}

impl Logs {
    /// A store of at most so many bytes, whose embedded metrics go to `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics, bytes_max: usize) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(bytes_max))), metrics }
    }

    /// Appends one event. A missing group or stream is created, as Lambda does for its own. A line in the Embedded
    /// Metric Format also becomes metrics, and what the metric filters of the group make of a line does.
    pub fn put(&self, group: &str, stream: &str, at_ms: i64, message: &str) {
        emf::record(&self.metrics, at_ms, message);
        let filters = self.store().append(group, stream, Event::new(at_ms, at_ms, message), at_ms);
        if let Some(filters) = filters {
            metric_filter::record(&filters, &self.metrics, at_ms, message);
        }
    }

    /// Whether there is such a group.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        self.store().groups.contains_key(group)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
