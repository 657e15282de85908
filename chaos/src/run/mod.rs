//! Running experiments: load, faults on a timeline, waiting until all is quiet, judging, putting back.

mod actions;
mod assess;
mod clients;
mod dose;
mod execute;
mod halt;
mod progress;
mod suite;
mod timeline;
mod verdict;

pub use dose::{Dose, Proof};
pub use halt::Halt;
pub use progress::Progress;
pub use suite::{RunError, Suite, run};
pub use verdict::{Check, ExperimentReport, NamedWindow, Outcome, Redrive, Revert, RunReport, Verdict};

pub(crate) use execute::queue_facts;
