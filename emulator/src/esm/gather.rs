//! Fuller batches while the function is at work anyway.
//!
//! On AWS a receive crosses a network, and what is sent meanwhile comes with it. Here it answers at the first message, and a
//! busy queue would be worked off by invocations of one message each. So a batch that is not full lets others' messages join
//! it while another invocation of the mapping is under way, for a moment and no more. While none is, nothing waits.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::event::PAYLOAD_BYTES_MAX;
use crate::sqs::queue::Received;

/// About what a receive and an invocation take on AWS: far below any visibility timeout but none.
pub const WAIT_MS: i64 = 20;

/// Of one mapping.
#[derive(Debug, Default)]
pub struct Gathering {
    under_way: watch::Sender<usize>,
    open: Mutex<Option<Open>>,
}

/// A batch that others may join.
#[derive(Debug)]
struct Open {
    messages: Vec<Received>,
    /// Dropped once it is.
    full: Option<oneshot::Sender<()>>,
}

/// An invocation, until dropped.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Gathering);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|under_way| *under_way = under_way.saturating_sub(1));
    }
}

/// What became of newly received messages.
enum Join {
    /// They are a batch.
    Ready(Vec<Received>),
    /// They are part of the batch of whoever opened it.
    Joined,
    /// Others may join them until this answers.
    Opened(oneshot::Receiver<()>),
}

impl Gathering {
    pub fn begin(&self) -> UnderWay<'_> {
        self.under_way.send_modify(|under_way| *under_way += 1);
        UnderWay(self)
    }

    /// The batch to invoke with: at once, or when it is full, when nothing is under way any more, or when the wait ends.
    /// Empty where the messages have joined another batch. Whoever calls this must await its end: others rely on it.
    pub async fn gather(
        &self,
        messages: Vec<Received>,
        size: usize,
        wait: impl Future<Output = ()>,
    ) -> Vec<Received> {
        let full = match self.join(messages, size) {
            Join::Ready(messages) => return messages,
            Join::Joined => return Vec::new(),
            Join::Opened(full) => full,
        };
        let mut under_way = self.under_way.subscribe();
        tokio::select! {
            _ = full => {}
            _ = under_way.wait_for(|under_way| *under_way == 0) => {}
            () = wait => {}
        }
        self.open().take().map(|open| open.messages).unwrap_or_default()
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, messages: Vec<Received>, size: usize) -> Join {
        if messages.len() >= size {
            return Join::Ready(messages);
        }
        let mut place = self.open();
        match &mut *place {
            None if *self.under_way.borrow() == 0 => Join::Ready(messages),
            None => {
                let (full, filled) = oneshot::channel();
                *place = Some(Open { messages, full: Some(full) });
                Join::Opened(filled)
            }
            Some(open) if open.takes(&messages, size) => {
                open.messages.extend(messages);
                if open.messages.len() >= size {
                    open.full = None;
                }
                Join::Joined
            }
            Some(_) => Join::Ready(messages),
        }
    }
}

impl Open {
    /// Whether they fit, and none of them is here already: a report of failures could not tell the two from each other.
    fn takes(&self, more: &[Received], size: usize) -> bool {
        let both = || self.messages.iter().chain(more);
        let bytes: usize = both().map(|message| message.content.size_bytes()).sum();
        let ids: HashSet<_> = both().map(|message| message.id).collect();
        let count = self.messages.len() + more.len();
        count <= size && bytes < PAYLOAD_BYTES_MAX && ids.len() == count
    }
}
