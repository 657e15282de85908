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

/// As `until`, for looks that change nothing: one that failed says nothing, and the next one may succeed. What the last one
/// failed with is told when patience ends.
pub(crate) async fn until_seen<T, E>(
    patience: Patience,
    mut look: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let mut failed = None;
    let found = until(patience, async || match look().await {
        Ok(found) => {
            failed = None;
            Ok::<_, E>(found)
        }
        Err(error) => {
            failed = Some(error);
            Ok(None)
        }
    })
    .await?;
    match (found, failed) {
        (None, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { every: Duration::from_millis(1), at_most: Duration::from_millis(20) };

    #[tokio::test]
    async fn a_look_that_failed_is_repeated_and_told_only_when_patience_ends_with_it() {
        let mut looks = 0;
        let found = until_seen(PATIENCE, async || {
            looks += 1;
            if looks < 3 { Err("refused") } else { Ok(Some(looks)) }
        });
        assert_eq!(found.await, Ok(Some(3)));
        assert_eq!(until_seen(PATIENCE, async || Err::<Option<()>, _>("refused")).await, Err("refused"));
        assert_eq!(until_seen(PATIENCE, async || Ok::<Option<()>, &str>(None)).await, Ok(None));
    }
}
