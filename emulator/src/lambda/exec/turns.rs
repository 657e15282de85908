//! Whose turn it is on this machine's processors.
//!
//! On AWS each environment has processors of its own. Here all of them share a few, and what runs beside each other by the
//! dozen takes the caches from one another. So an invocation that finds enough others at work lets them go first, for a
//! moment and no more. Concurrency, throttles and durations are as without it: the invocation is admitted before it waits,
//! and its own time begins after.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// More than one: an invocation leaves its processor to others while it waits for an answer.
const PER_PROCESSOR: usize = 3;
/// Then it begins all the same.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// An invocation that takes longer most likely waits for something: it is counted no more.
const HELD_MAX: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Turns {
    free: Semaphore,
}

impl Turns {
    pub(crate) fn of_this_machine() -> Self {
        Self::of(available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    fn of(processors: NonZeroUsize) -> Self {
        Self { free: Semaphore::new(PER_PROCESSOR.saturating_mul(processors.get())) }
    }

    /// Runs one invocation to its end.
    pub(crate) async fn run<T>(&self, invocation: impl Future<Output = T>) -> T {
        let Ok(Ok(turn)) = timeout(WAIT_MAX, self.free.acquire()).await else {
            return invocation.await;
        };
        let mut invocation = std::pin::pin!(invocation);
        let ended = timeout(HELD_MAX, &mut invocation).await;
        drop(turn);
        match ended {
            Ok(output) => output,
            Err(_still_running) => invocation.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::time::{Instant, sleep};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn one_processor() -> Turns {
        Turns::of(NonZeroUsize::MIN)
    }

    /// As many as have a turn at once.
    fn all_begun(turns: &Turns, each: Duration) -> Vec<impl Future<Output = ()>> {
        let mut begun: Vec<_> = (0..PER_PROCESSOR).map(|_| Box::pin(turns.run(sleep(each)))).collect();
        for invocation in &mut begun {
            assert!(invocation.now_or_never().is_none());
        }
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_too_many_begins_when_another_ends() {
        let turns = one_processor();
        let mut begun = all_begun(&turns, Duration::from_millis(2));
        let since = Instant::now();
        let (began, ()) = tokio::join!(turns.run(async { since.elapsed() }), begun.remove(0));
        assert_eq!(began, Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_a_moment_and_no_more() {
        let turns = one_processor();
        // They keep their turn: nobody asks them whether their time is over.
        let _begun = all_begun(&turns, LONG);
        let since = Instant::now();
        assert_eq!(turns.run(async { since.elapsed() }).await, WAIT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_long_keeps_nobody_waiting() {
        let turns = one_processor();
        let begun = futures_util::future::join_all(all_begun(&turns, LONG));
        let mut begun = pin!(begun);
        assert!(timeout(HELD_MAX, &mut begun).await.is_err());
        assert!((&mut begun).now_or_never().is_none());
        let since = Instant::now();
        assert_eq!(turns.run(async { since.elapsed() }).await, Duration::ZERO);
        begun.await;
        assert!(Instant::now() >= since + LONG - HELD_MAX, "it runs to its own end");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_given_up_leaves_its_turn() {
        let turns = one_processor();
        for _ in 0..2 * PER_PROCESSOR {
            assert!(turns.run(pending::<()>()).now_or_never().is_none());
        }
        let since = Instant::now();
        assert_eq!(turns.run(async { since.elapsed() }).await, Duration::ZERO);
    }
}
