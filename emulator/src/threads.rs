//! Work that takes long, on a few threads beside those of the runtime.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// So many threads at once: hundreds, which a burst of calls would start, keep hundreds of megabytes.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<Semaphore>);

impl Threads {
    pub(crate) fn at_most(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Runs `work` on a thread of its own. Its turn ends when it does and not with its caller: one who has given up leaves
    /// a thread behind that still works.
    ///
    /// # Errors
    /// When `work` panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Never closed, so that it is always one.
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let run = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(run).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    const THREADS_MAX: usize = 4;

    #[tokio::test]
    async fn callers_who_gave_up_leave_no_more_threads_behind_than_there_are_turns() {
        let (threads, begun) = (Threads::at_most(THREADS_MAX), Arc::new(AtomicUsize::new(0)));
        let mut ends = Vec::new();
        for _ in 0..THREADS_MAX * 3 {
            let (end, ended) = mpsc::channel::<()>();
            let begun = Arc::clone(&begun);
            let call = threads.run(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                ended.recv().ok();
            });
            // Polled once and dropped, as when a client closes its connection.
            assert!(Box::pin(call).now_or_never().is_none());
            ends.push(end);
        }
        drop(ends);
        // One who comes later has a turn once the abandoned calls have ended, and only those that had one ever began.
        threads.run(|| ()).await.unwrap();
        assert!(begun.load(Ordering::SeqCst) <= THREADS_MAX, "{begun:?} threads");
    }
}
