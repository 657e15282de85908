//! Work that no client stops by hanging up: hyper drops what answers a connection that is gone.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use crate::wire::BoxFuture;

/// Goes on in a task of its own when it is dropped before its end. Whoever waits for it to the end pays for no task.
pub(super) struct ToTheEnd<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out meanwhile: what panics is not polled again.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime the emulator itself is at its end.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_on_its_way_comes_to_its_end_and_what_is_awaited_ends_once() {
        let (go, going) = oneshot::channel::<u8>();
        let (tell, told) = oneshot::channel();
        let mut work = ToTheEnd::new(async move { tell.send(going.await.unwrap()).unwrap() });
        assert!((&mut work).now_or_never().is_none());
        drop(work);
        go.send(7).unwrap();
        assert_eq!(told.await.unwrap(), 7);
        assert_eq!(ToTheEnd::new(async { 8 }).await, 8);
    }
}
