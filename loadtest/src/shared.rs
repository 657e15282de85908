//! What all parts of one run share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};

use crate::book::{Book, Ended};
use crate::plan::LoadPlan;
use crate::stop::Stop;
use crate::target::Target;

/// Far above what sessions can measure between two turns of the recorder.
const SAMPLES_MAX: usize = 16_384;
/// Arrivals waiting for a worker. Past this the target is so far behind that more would only fill memory.
const BACKLOG_MAX: usize = 16_384;
/// Reads are side load: those that wait longer than a few are dropped.
const READ_BACKLOG_MAX: usize = 64;

/// What a session measured, for a row in goose's metrics.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) error: Option<String>,
}

/// One ticket per intended start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) sequence: u64,
}

/// A queue that a pool of goose users takes from.
pub(crate) struct Queue<T> {
    sender: Mutex<Option<mpsc::Sender<T>>>,
    receiver: AsyncMutex<mpsc::Receiver<T>>,
}

impl<T> Queue<T> {
    fn new(capacity: usize) -> Self {
        let (sender, receiver) = mpsc::channel(capacity);
        Self { sender: Mutex::new(Some(sender)), receiver: AsyncMutex::new(receiver) }
    }

    /// `false` when the queue is full or closed.
    pub(crate) fn offer(&self, item: T) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().is_some_and(|sender| sender.try_send(item).is_ok())
    }

    /// What is in the queue may still be taken; then takers see its end.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) async fn take(&self) -> Option<T> {
        self.receiver.lock().await.recv().await
    }
}

pub(crate) struct Shared {
    pub(crate) plan: LoadPlan,
    pub(crate) target: Target,
    pub(crate) book: Book,
    pub(crate) tickets: Queue<Ticket>,
    /// Numbers of reads, so that their kinds alternate.
    pub(crate) reads: Queue<u64>,
    pub(crate) samples: Queue<Sample>,
    /// Set when the run is finished or given up: everything ends at its next await.
    pub(crate) stop: Stop,
    /// Set when no more arrivals are to be issued.
    pub(crate) arrivals: Stop,
    pub(crate) workers_ready: watch::Sender<usize>,
    pub(crate) workers_done: watch::Sender<usize>,
}

impl Shared {
    pub(crate) fn new(plan: LoadPlan, target: Target, max_receive_count: Option<u32>) -> Self {
        let book = Book::new(target.owner_names(), max_receive_count, !target.is_token_given);
        Self {
            plan,
            target,
            book,
            tickets: Queue::new(BACKLOG_MAX),
            reads: Queue::new(READ_BACKLOG_MAX),
            samples: Queue::new(SAMPLES_MAX),
            stop: Stop::new(),
            arrivals: Stop::new(),
            workers_ready: watch::Sender::new(0),
            workers_done: watch::Sender::new(0),
        }
    }

    /// A row in goose's metrics; the run's own figures do not depend on it.
    pub(crate) fn sample(&self, sample: Sample) {
        self.samples.offer(sample);
    }

    pub(crate) fn sample_end(&self, ended: Ended) {
        let took = Duration::from_micros(ended.end_to_end_us);
        self.sample(Sample { name: "end-to-end", took, error: None });
    }
}
