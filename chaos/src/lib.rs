//! Chaos experiments with a verdict on data: was the fault in effect, was anything that was acknowledged lost or done
//! twice, is the dead-letter queue exactly what it must be, and is everything that was changed changed back.

pub mod cli;
pub mod clock;
pub mod cloud;
pub mod experiment;
pub mod fault;
pub mod iam;
pub mod journal;
pub mod observe;
pub mod oracle;
pub mod plan;
pub mod preflight;
pub mod report;
pub mod run;
pub mod serve;

#[cfg(test)]
mod mocked;
mod tell;
mod wait;
