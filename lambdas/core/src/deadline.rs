//! Work bounded by a moment.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};

use crate::ports::Clock;
use crate::time::EpochMs;

/// The output of `work`, or `None` when `deadline` came first. Work that is ready at once is never cut off.
pub(crate) async fn within<C: Clock, F: Future>(clock: &C, deadline: EpochMs, work: F) -> Option<F::Output> {
    let timer = pin!(clock.sleep(deadline.since(clock.now())));
    match select(pin!(work), timer).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
