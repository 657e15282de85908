//! The depth of the queues, once a second, for the charts.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Depth, depth};
use crate::clock::now_ms;
use crate::cloud::Cloud;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    pub at_ms: u64,
    pub tasks: Depth,
    pub dead_letters: u64,
}

#[derive(Debug)]
pub struct Sampler {
    stop: watch::Sender<bool>,
    latest: watch::Receiver<Option<Sample>>,
    task: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub fn start(cloud: Cloud, tasks_url: String, dead_letters_url: String) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let (tell, latest) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            loop {
                // A look that fails leaves a gap in a chart, and nothing else.
                if let (Ok(tasks), Ok(dead)) =
                    (depth(&cloud, &tasks_url).await, depth(&cloud, &dead_letters_url).await)
                {
                    let sample = Sample { at_ms: now_ms(), tasks, dead_letters: dead.total() };
                    tell.send_replace(Some(sample));
                    samples.push(sample);
                }
                if tokio::time::timeout(EVERY, stopped.changed()).await.is_ok() {
                    return samples;
                }
            }
        });
        Self { stop, latest, task }
    }

    pub fn latest(&self) -> Option<Sample> {
        *self.latest.borrow()
    }

    pub async fn finish(self) -> Vec<Sample> {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_default()
    }
}
