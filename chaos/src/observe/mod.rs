//! Looking at the stack without changing it.

mod canary;
mod configuration;
mod metrics;
mod probe;
mod queue;
mod sampler;
mod table;

pub use canary::{Beat, Canary, Pulse, empty_event};
pub use configuration::{Configuration, drift, read as configuration};
pub(crate) use metrics::MINUTE_MS;
pub use metrics::{Metric, sum_of_minutes, sum_since};
pub use probe::is_denied;
pub(crate) use queue::COUNTS_LAG_AWS;
pub use queue::{Depth, ShownCounts, at_rest, depth, drained, peek};
pub use sampler::{Sample, Sampler};
pub use table::{Wanted, each_record, owner_index_shards};
