//! Whole lives of tasks, in a world that fails on purpose.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod histories;
mod steps;
mod world;
