//! The same judgement over everything in memory, looked up and not joined: the model that the oracle is tested against.

mod counterexample;
mod judge;
mod manners;
mod model;
mod predict;
pub(super) mod tests;

pub(super) use counterexample::counterexample;
pub(super) use judge::judge;
pub(super) use model::{Evidence, Findings};
pub(super) use predict::{Prediction, Premises, after_redrive, predict};
