//! The way of changes from the work on tasks to the pushing, which goes on beside it.

use futures_util::Stream;
use futures_util::stream;
use task_core::ports::{Change, Changes};
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

/// The stream ends when the sender is dropped with the work.
pub fn channel() -> (ChangeSender, impl Stream<Item = Change> + Unpin) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (ChangeSender(sender), stream::poll_fn(move |context| receiver.poll_recv(context)))
}
