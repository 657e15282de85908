//! A closed loop: every client posts, waits for the answer, and posts again. For capacity, not for latency under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::LoadError;
use crate::histogram::Histogram;
use crate::job::Job;
use crate::ledger::Outcome;
use crate::outcome::Latency;
use crate::plan::{LoadPlan, TaskMix};
use crate::stack::Stack;
use crate::target::{Target, outcome_of};
use crate::threshold::{Measured, Row, share};
use crate::timeline::micros;

/// Keeps the clients' tasks apart: far more than one client can post.
const SEQUENCES_PER_CLIENT: u64 = 1 << 32;
/// How long the worker may take for its backlog before the bench stops waiting.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_TICK: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub struct BenchPlan {
    pub run_id: String,
    pub seed: u64,
    pub clients: u32,
    /// Not counted: cold starts and connections.
    pub warm_up: Duration,
    pub duration: Duration,
    pub payload_bytes: usize,
    pub request_timeout: Duration,
    /// Each POST with an Idempotency-Key of its own, for which the service looks before it accepts.
    pub keyed: bool,
    /// Wait for the worker afterwards. Not for one that is paused.
    pub drain: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct BenchOutcome {
    pub clients: u32,
    pub seconds: f64,
    pub accepted: u64,
    /// Refused, failed or of unknown fate.
    pub failed: u64,
    pub accepted_per_second: f64,
    pub post: Latency,
    /// From the last POST until the last accepted task of every client was final: the worker's backlog. Absent when that
    /// took too long or was not waited for.
    pub drained_ms: Option<u64>,
    pub is_drain_awaited: bool,
}

impl Measured for BenchOutcome {
    fn latency(&self, row: Row) -> Option<Latency> {
        (row == Row::Post).then_some(self.post)
    }

    fn error_rate(&self, row: Row) -> Option<f64> {
        (row == Row::Post).then(|| share(self.failed, self.accepted + self.failed)).flatten()
    }

    fn accepted_per_second(&self) -> Option<f64> {
        Some(self.accepted_per_second)
    }
}

struct Client {
    number: usize,
    target: Arc<Target>,
    plan: LoadPlan,
    keyed: bool,
    measured_from: Instant,
    until: Instant,
    accepted: u64,
    failed: u64,
    post: Histogram,
    last_task: Option<String>,
}

pub async fn bench(stack: &Stack, plan: &BenchPlan) -> Result<BenchOutcome, LoadError> {
    let load = LoadPlan {
        run_id: plan.run_id.clone(),
        seed: plan.seed,
        owners: plan.clients,
        duration: plan.duration,
        request_timeout: plan.request_timeout,
        mix: TaskMix { payload_bytes: plan.payload_bytes, ..TaskMix::default() },
        ..LoadPlan::default()
    };
    load.validate()?;
    let target = Arc::new(Target::new(stack, &load)?);
    let keyed = plan.keyed;
    let measured_from = Instant::now() + plan.warm_up;
    let until = measured_from + plan.duration;
    let clients: Vec<_> = (0..target.owners.len())
        .map(|number| {
            let (target, plan) = (Arc::clone(&target), load.clone());
            let client = Client {
                number,
                target,
                plan,
                keyed,
                measured_from,
                until,
                accepted: 0,
                failed: 0,
                post: Histogram::new(),
                last_task: None,
            };
            tokio::spawn(client.run())
        })
        .collect();
    let mut done = Vec::new();
    for client in clients {
        done.push(client.await.map_err(|error| LoadError::Client(error.to_string()))?);
    }
    let drained_ms = if plan.drain { drain(&target, &done).await } else { None };
    Ok(sum_up(plan, &done, drained_ms))
}

impl Client {
    async fn run(mut self) -> Self {
        let base = self.number as u64 * SEQUENCES_PER_CLIENT;
        for number in 0..SEQUENCES_PER_CLIENT {
            let began = Instant::now();
            if began >= self.until {
                break;
            }
            let job = Job::new(&self.plan, base + number);
            let (target, client) = (&self.target, &self.target.client);
            let request = if self.keyed {
                target.post(client, self.number, &job)
            } else {
                target.post_without_key(client, self.number, &job)
            };
            let (outcome, _) = outcome_of(request.send().await).await;
            self.note(outcome, began);
        }
        self
    }

    fn note(&mut self, outcome: Outcome, began: Instant) {
        let is_measured = began >= self.measured_from;
        if is_measured {
            self.post.record_us(micros(began.elapsed()));
        }
        match outcome {
            Outcome::Acknowledged { task_id } => {
                self.accepted += u64::from(is_measured);
                self.last_task = Some(task_id);
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } | Outcome::Unsent => {
                self.failed += u64::from(is_measured);
            }
        }
    }
}

async fn drain(target: &Target, clients: &[Client]) -> Option<u64> {
    let began = Instant::now();
    for client in clients {
        let Some(task_id) = &client.last_task else { continue };
        while !target.is_final(client.number, task_id).await {
            if began.elapsed() > DRAIN_TIMEOUT {
                return None;
            }
            tokio::time::sleep(DRAIN_TICK).await;
        }
    }
    u64::try_from(began.elapsed().as_millis()).ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn sum_up(plan: &BenchPlan, clients: &[Client], drained_ms: Option<u64>) -> BenchOutcome {
    let mut post = Histogram::new();
    clients.iter().for_each(|client| post.add(&client.post));
    let accepted: u64 = clients.iter().map(|client| client.accepted).sum();
    BenchOutcome {
        clients: plan.clients,
        seconds: plan.duration.as_secs_f64(),
        accepted,
        failed: clients.iter().map(|client| client.failed).sum(),
        accepted_per_second: accepted as f64 / plan.duration.as_secs_f64(),
        post: post.latency(),
        drained_ms,
        is_drain_awaited: plan.drain,
    }
}
