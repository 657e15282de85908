//! Changes that will soon be overtaken, most of them.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::id::TaskId;
use crate::limits;
use crate::ports::{Change, Clock};
use crate::time::EpochMs;

/// Each is held back for the same time, so that the first to come is the first to go.
#[derive(Default)]
pub(super) struct Held<'a> {
    waiting: VecDeque<(EpochMs, Change)>,
    /// Ends not after the first is due.
    timer: Option<BoxFuture<'a, ()>>,
}

impl<'a> Held<'a> {
    pub(super) fn put(&mut self, change: Change, now: EpochMs) {
        self.waiting.push_back((now.plus(limits::BEGUN_HELD), change));
    }

    pub(super) fn overtake(&mut self, task: TaskId) {
        self.waiting.retain(|(_, change)| change.task.id != task);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn take(&mut self) -> Option<Change> {
        self.waiting.pop_front().map(|(_, change)| change)
    }

    /// The next that has been held back for its time. Pending also while nothing is: what is put later is polled for.
    pub(super) fn poll_due<C: Clock>(&mut self, context: &mut Context<'_>, clock: &'a C) -> Poll<Change> {
        loop {
            let Some(due) = self.waiting.front().map(|(due, _)| *due) else {
                self.timer = None;
                return Poll::Pending;
            };
            let now = clock.now();
            if due <= now
                && let Some(change) = self.take()
            {
                return Poll::Ready(change);
            }
            let left = due.since(now);
            let timer = self.timer.get_or_insert_with(|| clock.sleep(left).boxed());
            ready!(timer.poll_unpin(context));
            self.timer = None;
        }
    }
}
