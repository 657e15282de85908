//! One batch: works on all records, pushes while they run, answers with what is to stay.

use std::convert::Infallible;
use std::sync::Arc;

use lambda_runtime::Context;
use task_aws::batch;
use task_aws::connections::DynamoConnections;
use task_aws::env::{self, ConfigError, Env};
use task_aws::event::{SqsBatchResponse, SqsEvent};
use task_aws::pushes::{self, ChangeSender};
use task_aws::sdk;
use task_aws::sockets::Sockets;
use task_aws::sqs::SqsTasks;
use task_aws::system::{SystemClock, SystemRandom};
use task_aws::tasks::DynamoTasks;
use task_aws::telemetry::WideEvent;
use task_core::notify::Notifier;
use task_core::ports::Clock as _;
use task_core::process::{HandleDelivery, Policy, Worker};
use task_core::{DurationMs, EpochMs, limits};

/// AWS: `maxReceiveCount` is 1 to 1,000.
const MAX_RECEIVE_COUNT_RANGE: std::ops::RangeInclusive<u32> = 1..=1_000;

/// AWS: visibility is 0 to 43,200 seconds; with 0 every message would be delivered again at once.
const VISIBILITY_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 1..=43_200;

#[derive(Debug)]
pub(crate) struct Function {
    tasks: DynamoTasks,
    queue: SqsTasks,
    connections: DynamoConnections,
    sockets: Sockets,
    policy: Policy,
    #[cfg(feature = "sabotage")]
    sabotage: Option<crate::sabotage::Sabotage>,
    #[cfg(feature = "sabotage")]
    delete: crate::sabotage::SqsDelete,
}

impl Function {
    pub(crate) fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let sdk = sdk::config(env)?;
        let dynamodb = sdk::dynamodb(&sdk);
        let tasks = env::required(env, env::ENV_TASKS_TABLE)?;
        let connections = env::required(env, env::ENV_CONNECTIONS_TABLE)?;
        let visibility_seconds =
            env::number(env, env::ENV_QUEUE_VISIBILITY_SECONDS, VISIBILITY_SECONDS_RANGE)?;
        Ok(Self {
            tasks: DynamoTasks::new(dynamodb.clone(), tasks, env::owner_index_shards(env)?),
            queue: SqsTasks::new(&sdk, env::url(env, env::ENV_TASKS_QUEUE_URL)?),
            connections: DynamoConnections::new(dynamodb, connections),
            sockets: Sockets::new(&sdk, &env::url(env, env::ENV_WEBSOCKET_MANAGEMENT_ENDPOINT)?),
            policy: Policy {
                max_receive_count: env::number(env, env::ENV_MAX_RECEIVE_COUNT, MAX_RECEIVE_COUNT_RANGE)?,
                visibility: DurationMs::from_seconds(visibility_seconds),
                kinds: env::kinds_allowed(env)?,
            },
            #[cfg(feature = "sabotage")]
            sabotage: crate::sabotage::Sabotage::from_env(env)?,
            #[cfg(feature = "sabotage")]
            delete: crate::sabotage::SqsDelete {
                client: aws_sdk_sqs::Client::new(&sdk),
                queue_url: env::url(env, env::ENV_TASKS_QUEUE_URL)?,
            },
        })
    }

    pub(crate) async fn work(
        &self,
        event: SqsEvent,
        context: &Context,
    ) -> Result<SqsBatchResponse, Infallible> {
        let mut wide =
            WideEvent::begin("process-task", &context.request_id, context.xray_trace_id.as_deref());
        wide.milliseconds("queue_age_ms", queue_age(&event, SystemClock.now()).0);
        let deadline = EpochMs(context.deadline);
        let (changes, changed) = pushes::channel();
        let worker = self.worker(changes);
        let notifier = Notifier {
            connections: self.connections.clone(),
            pusher: self.sockets.clone(),
            clock: SystemClock,
        };
        let (ends, pushed) = tokio::join!(
            batch::run_batch(Arc::new(worker), event.records, deadline),
            notifier.notify(changed, deadline.minus(limits::ANSWER_MARGIN)),
        );
        batch::count(&ends, &mut wide);
        wide.pushes(pushed);
        Ok(batch::response(&ends))
    }

    #[cfg(not(feature = "sabotage"))]
    fn worker(&self, changes: ChangeSender) -> impl HandleDelivery + Send + 'static {
        Worker {
            store: self.tasks.clone(),
            visibility: self.queue.clone(),
            clock: SystemClock,
            random: SystemRandom,
            changes,
            policy: self.policy,
        }
    }

    #[cfg(feature = "sabotage")]
    fn worker(&self, changes: ChangeSender) -> impl HandleDelivery + Send + 'static {
        use crate::sabotage::{Sabotaged, SabotagedChanges, SabotagedStore, SabotagedVisibility};
        let mode = self.sabotage;
        let inner = Worker {
            store: SabotagedStore::new(self.tasks.clone(), mode),
            visibility: SabotagedVisibility { inner: self.queue.clone(), mode },
            clock: SystemClock,
            random: SystemRandom,
            changes: SabotagedChanges { inner: changes, mode },
            policy: self.policy,
        };
        Sabotaged { inner, store: self.tasks.clone(), delete: self.delete.clone(), mode }
    }
}

/// Age of the oldest message of the batch.
fn queue_age(event: &SqsEvent, now: EpochMs) -> DurationMs {
    let sent =
        event.records.iter().filter_map(|record| record.attributes.sent_timestamp.as_ref()?.parse().ok());
    sent.min().map_or(DurationMs::ZERO, |oldest| now.since(EpochMs(oldest)))
}
