//! Waiting for a condition, always with a bound.

use std::time::Duration;

use tokio::time::{Instant, sleep};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub every: Duration,
    pub at_most: Duration,
}

/// Looks until there is something, or until patience ends: then `None`. A failed look ends the wait. One that is under way
/// is not cut short: its calls have limits of their own.
pub(crate) async fn until<T, E>(
    patience: Patience,
    mut look: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let deadline = Instant::now() + patience.at_most;
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(patience.every).await;
    }
}
