//! Running experiments: load, faults on a timeline, waiting until all is quiet, judging, putting back.

mod actions;
mod activity;
mod assess;
mod budget;
mod clients;
mod dose;
mod draw;
mod execute;
mod halt;
mod live;
mod progress;
mod quiet;
mod share;
mod suite;
mod timeline;
mod verdict;

pub use activity::ActivityPoint;
pub use dose::{Dose, Proof};
pub use halt::Halt;
pub use live::{FaultState, Live, LiveFault, LivePoint, Past, Snapshot};
pub use progress::Progress;
pub use suite::{RunError, Suite, run};
pub use verdict::{
    Check, Configurations, ExperimentReport, NamedWindow, Outcome, Redrive, Revert, RunReport, Verdict,
};

pub(crate) use execute::queue_facts;
