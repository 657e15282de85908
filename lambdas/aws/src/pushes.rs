//! Pushing while tasks are worked on, without holding them up.

use std::time::Duration;

use task_core::notify::{Notifier, PushReport};
use task_core::ports::{Change, Changes, Connections, Pusher};
use tokio::sync::mpsc;

/// Takes the changes of one batch. Unbounded, because a batch makes only a few changes per message.
#[derive(Clone, Debug)]
pub struct ChangeSender(mpsc::UnboundedSender<Change>);

impl Changes for ChangeSender {
    fn changed(&self, change: Change) {
        // Fails only when pushing has ended at its time limit; the client then learns by asking.
        let _late = self.0.send(change);
    }
}

pub fn channel() -> (ChangeSender, mpsc::UnboundedReceiver<Change>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (ChangeSender(sender), receiver)
}

/// Pushes until all senders are gone. What gathers while one round is under way makes up the next, so that a change that
/// was overtaken meanwhile is not sent.
pub async fn push_all<N: Connections, P: Pusher>(
    mut notifier: Notifier<N, P>,
    mut changes: mpsc::UnboundedReceiver<Change>,
    time_limit: Duration,
) -> PushReport {
    let mut report = PushReport::default();
    let rounds = async {
        let mut round = Vec::new();
        while changes.recv_many(&mut round, usize::MAX).await > 0 {
            report.add(notifier.notify(std::mem::take(&mut round)).await);
        }
    };
    if tokio::time::timeout(time_limit, rounds).await.is_err() {
        tracing::warn!(time_limit_ms = time_limit.as_millis(), "pushing ended at its time limit");
        report.failed += 1;
    }
    report
}
