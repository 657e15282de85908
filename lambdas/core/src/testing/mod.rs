//! In-memory ports, a decorator that fails on purpose, and the task of tests that need one and do not care which.

mod fault;
mod fixture;
mod memory;

pub use fault::{Crash, Fault, Faults, Faulty};
pub use fixture::digest;
pub use memory::{ManualClock, Memory, SeededRandom, SentMessage};
