//! An experiment is data: a hypothesis, a load, faults on a timeline, and what must hold afterwards.

mod fault_spec;
mod file;
mod model;
mod span;

pub use fault_spec::{FaultKind, FaultSpec};
pub(crate) use fault_spec::{QUEUE_PROBE, TABLE_PROBE};
pub use file::{ExperimentError, files_of, load, schema};
pub use model::{Abort, DlqRule, Expect, Experiment, Load, Mix, Sockets};
pub use span::Span;
