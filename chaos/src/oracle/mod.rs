//! The verdict on data: the clients' ledger against the table, the dead-letter queue and the queue. Pure: no AWS here.

mod counterexample;
mod history;
mod judge;
mod manners;
mod model;
mod predict;
pub mod stream;
#[cfg(test)]
mod tests;

pub use counterexample::{Counterexample, Event, counterexample};
pub use history::{begun_at_ms, steps};
pub use judge::judge;
pub use manners::EAGER_GAP_MS;
pub use model::{Anomaly, AnomalyKind, DeadLetter, Evidence, Findings, Record, Totals};
pub use predict::{Prediction, Premises, QueueRules, Window, after_redrive, predict};
