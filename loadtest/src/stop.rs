//! A switch that is thrown once and that any number of tasks can wait for.

use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) fn subscribe(&self) -> Stopped {
        Stopped(self.0.subscribe())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Returns once the switch is thrown, or nobody is left who could throw it.
    pub(crate) async fn wait(&mut self) {
        drop(self.0.wait_for(|thrown| *thrown).await);
    }
}
