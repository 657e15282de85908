//! The work, and how its end is written down.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use serde_json::Value;

use super::claim::Claimed;
use super::{Delivery, Done, Failed, Handled, Worker};
use crate::deadline::within;
use crate::error::PortError;
use crate::id::LeaseToken;
use crate::kind::{AttemptError, Job};
use crate::limits;
use crate::ports::{Changes, Clock, Extended, Random, Swapped, TaskStore, Visibility};
use crate::record::{Mover, TaskRecord};
use crate::retry::backoff;
use crate::state::{Event, Judge, Lease, Refused, TaskState};
use crate::time::{DurationMs, EpochMs};
use crate::wire::TaskError;

enum Settled {
    Moved,
    Lost(Refused),
}

impl<S: TaskStore, V: Visibility, C: Clock, R: Random, N: Changes> Worker<S, V, C, R, N> {
    pub(super) async fn attempt(&self, delivery: &Delivery, claimed: Claimed, deadline: EpochMs) -> Handled {
        self.tell(&claimed.record);
        match self.work(delivery, &claimed, deadline).await {
            Some(Ok(result)) => self.succeed(delivery, claimed, result, deadline).await,
            Some(Err(error)) => self.fail(delivery, claimed, &error, deadline).await,
            None => self.taken_over(delivery).await,
        }
    }

    /// `None` when another worker has taken over meanwhile.
    async fn work(
        &self,
        delivery: &Delivery,
        claimed: &Claimed,
        deadline: EpochMs,
    ) -> Option<Result<Value, AttemptError>> {
        let work = AssertUnwindSafe(self.run(&claimed.record)).catch_unwind();
        let work = within(&self.clock, deadline.minus(limits::SETTLE_MARGIN), work);
        match select(pin!(work), pin!(self.keep(delivery, claimed, deadline))).await {
            Either::Left((Some(Ok(outcome)), _)) => Some(outcome),
            Either::Left((Some(Err(_panic)), _)) => Some(Err(retryable("panicked", "the attempt panicked"))),
            Either::Left((None, _)) => {
                Some(Err(retryable("out_of_time", "the attempt did not end in the time it had")))
            }
            Either::Right(((), _)) => None,
        }
    }

    /// Keeps lease and message while the work goes on. Ends only when another worker has taken over, whose result counts.
    ///
    /// The message is shown again when the lease ends, not when the queue's visibility timeout does: that is six function
    /// timeouts, and a worker at long work may die at its beginning. Short work never comes to its first heartbeat.
    async fn keep(&self, delivery: &Delivery, claimed: &Claimed, deadline: EpochMs) {
        let mut lease = claimed.lease;
        // When the lease was taken, since it ends before the deadline.
        let mut beat_at = lease.until.minus(limits::LEASE_TIME);
        while lease.until < deadline {
            // By the clock: the time that one takes to fail must not put off the next.
            beat_at = beat_at.plus(limits::HEARTBEAT_EVERY);
            self.clock.sleep(beat_at.since(self.clock.now())).await;
            let extended = Lease { until: self.lease_end(deadline), ..lease };
            match self.store.extend(claimed.record.id, extended).await {
                Ok(Extended::Yes) => {
                    lease = extended;
                    let shown_at = lease.until.plus(limits::LEASE_MARGIN);
                    self.show_after(delivery, shown_at.since(self.clock.now())).await;
                }
                Ok(Extended::Lost) => return,
                // The lease outlasts two of them.
                Err(_) => {}
            }
        }
        // The lease outlives this worker now.
        std::future::pending().await
    }

    async fn taken_over(&self, delivery: &Delivery) -> Handled {
        self.show_after(delivery, backoff(delivery.receive_count, &self.random)).await;
        Handled::Failed(Failed::LeaseHeld)
    }

    async fn run(&self, record: &TaskRecord) -> Result<Value, AttemptError> {
        let job = Job::parse(&record.kind, &record.payload, self.policy.kinds).map_err(|error| {
            AttemptError::Permanent(TaskError { kind: "invalid_task".into(), message: error.to_string() })
        })?;
        job.run(record.attempts, &self.clock).await
    }

    async fn succeed(
        &self,
        delivery: &Delivery,
        claimed: Claimed,
        result: Value,
        deadline: EpochMs,
    ) -> Handled {
        let event = Event::Succeed { token: claimed.lease.token, result };
        match self.settle(&claimed.record, &event).await {
            Ok(Settled::Moved) => Handled::Done(Done::Succeeded),
            Ok(Settled::Lost(Refused::AlreadySucceeded)) => Handled::Done(Done::AlreadySucceeded),
            Ok(Settled::Lost(_)) => self.taken_over(delivery).await,
            Err(error) => self.dependency_failed(delivery, &error, self.lease_left(deadline)).await,
        }
    }

    async fn fail(
        &self,
        delivery: &Delivery,
        claimed: Claimed,
        error: &AttemptError,
        deadline: EpochMs,
    ) -> Handled {
        let is_last = delivery.receive_count >= self.policy.max_receive_count;
        let is_permanent = matches!(error, AttemptError::Permanent(_));
        let settled = match self.settle(&claimed.record, &failure(claimed.lease.token, error, is_last)).await
        {
            Ok(settled) => settled,
            Err(error) => {
                return self.dependency_failed(delivery, &error, self.lease_left(deadline)).await;
            }
        };
        // When no attempt can succeed, nothing is gained by waiting: on to the next receive or the redrive.
        let delay = if is_permanent || is_last {
            DurationMs::ZERO
        } else {
            backoff(delivery.receive_count, &self.random)
        };
        self.show_after(delivery, delay).await;
        Handled::Failed(match settled {
            Settled::Lost(_) => Failed::LeaseHeld,
            Settled::Moved if is_last => Failed::DeadLettered,
            Settled::Moved if is_permanent => Failed::Refused,
            Settled::Moved => Failed::Retried,
        })
    }

    /// Ends an attempt with `event`. Lost when another worker has taken over.
    async fn settle(&self, claimed: &TaskRecord, event: &Event) -> Result<Settled, PortError> {
        let after = match claimed.advance(event, self.clock.now()) {
            Ok(after) => after,
            Err(refused) => return Ok(Settled::Lost(refused)),
        };
        match self.store.swap(claimed, &after, Mover::Holder).await? {
            Swapped::Done => {}
            Swapped::Conflict(Some(stored)) if stored.is_same_move(&after) => {}
            Swapped::Conflict(Some(stored)) if matches!(stored.state, TaskState::Succeeded { .. }) => {
                // Whoever wrote this end may have died before it told anybody.
                self.tell(&stored);
                return Ok(Settled::Lost(Refused::AlreadySucceeded));
            }
            Swapped::Conflict(_) => return Ok(Settled::Lost(Refused::LeaseLost)),
        }
        self.tell(&after);
        Ok(Settled::Moved)
    }
}

fn retryable(kind: &str, message: &str) -> AttemptError {
    AttemptError::Retryable(TaskError { kind: kind.into(), message: message.into() })
}

fn failure(token: LeaseToken, error: &AttemptError, is_last: bool) -> Event {
    let mut error = error.error().clone();
    if let Some((end, _)) = error.message.char_indices().nth(limits::ERROR_MESSAGE_CHARS_MAX) {
        error.message.truncate(end);
    }
    if is_last {
        Event::DeadLetter { judge: Judge::Holder(token), error }
    } else {
        Event::GiveBack { token, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_is_kept_up_to_its_limit_in_characters() {
        let token = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let kept = |length: usize| {
            // Two bytes each: a cut in the middle of one would panic.
            let error = retryable("kind", &"\u{fc}".repeat(length));
            match failure(token, &error, false) {
                Event::GiveBack { error, .. } => error.message.chars().count(),
                other => panic!("not the last attempt: {other:?}"),
            }
        };
        let max = limits::ERROR_MESSAGE_CHARS_MAX;
        assert_eq!([max - 1, max, max + 1].map(kept), [max - 1, max, max]);
    }
}
