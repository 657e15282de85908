//! In-memory ports, and a decorator that fails on purpose.

mod fault;
mod memory;

pub use fault::{Crash, Fault, Faults, Faulty};
pub use memory::{ManualClock, Memory, SeededRandom, SentMessage};
