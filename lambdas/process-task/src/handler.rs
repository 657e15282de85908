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
use task_core::{EpochMs, limits};

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
    #[cfg(feature = "sabotage")]
    bystanders: crate::sabotage::Bystanders,
}

impl Function {
    pub(crate) fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let sdk = sdk::config(env)?;
        let dynamodb = sdk::dynamodb(&sdk);
        let tasks = env::required(env, env::ENV_TASKS_TABLE)?;
        let connections = env::required(env, env::ENV_CONNECTIONS_TABLE)?;
        Ok(Self {
            tasks: DynamoTasks::new(dynamodb.clone(), tasks, env::owner_index_shards(env)?),
            queue: SqsTasks::new(&sdk, env::url(env, env::ENV_TASKS_QUEUE_URL)?),
            connections: DynamoConnections::new(dynamodb, connections),
            sockets: Sockets::new(&sdk, &env::url(env, env::ENV_WEBSOCKET_MANAGEMENT_ENDPOINT)?),
            policy: Policy {
                max_receive_count: env::number(
                    env,
                    env::ENV_MAX_RECEIVE_COUNT,
                    1..=limits::RECEIVE_COUNT_MAX,
                )?,
                visibility: env::queue_visibility(env)?,
                kinds: env::kinds_allowed(env)?,
            },
            #[cfg(feature = "sabotage")]
            sabotage: crate::sabotage::Sabotage::from_env(env)?,
            #[cfg(feature = "sabotage")]
            delete: crate::sabotage::SqsDelete {
                client: aws_sdk_sqs::Client::new(&sdk),
                queue_url: env::url(env, env::ENV_TASKS_QUEUE_URL)?,
            },
            #[cfg(feature = "sabotage")]
            bystanders: crate::sabotage::Bystanders::default(),
        })
    }

    pub(crate) async fn work(
        &self,
        event: SqsEvent,
        context: &Context,
    ) -> Result<SqsBatchResponse, Infallible> {
        let mut wide =
            WideEvent::begin("process-task", &context.request_id, context.xray_trace_id.as_deref());
        Ok(self.batch(event, context, &mut wide).await)
    }

    async fn batch(&self, event: SqsEvent, context: &Context, wide: &mut WideEvent) -> SqsBatchResponse {
        batch::received(&event, SystemClock.now(), wide);
        let deadline = EpochMs(context.deadline);
        let (changes, changed) = pushes::channel();
        let worker = self.worker(changes);
        let notifier =
            Notifier { connections: self.connections(), pusher: self.sockets.clone(), clock: SystemClock };
        let (ends, pushed) = tokio::join!(
            batch::run_batch(Arc::new(worker), event.records, deadline),
            notifier.notify(changed, deadline.minus(limits::ANSWER_MARGIN)),
        );
        batch::count(&ends, wide);
        wide.pushes(pushed);
        batch::response(&ends)
    }

    #[cfg(not(feature = "sabotage"))]
    fn connections(&self) -> DynamoConnections {
        self.connections.clone()
    }

    #[cfg(feature = "sabotage")]
    fn connections(&self) -> crate::sabotage::SabotagedConnections<DynamoConnections> {
        crate::sabotage::SabotagedConnections {
            inner: self.connections.clone(),
            mode: self.sabotage,
            bystanders: self.bystanders.clone(),
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use task_aws::testing;

    use super::*;

    /// With a table and a queue that cannot be reached: what is written then is what an alarm has to go by.
    #[test]
    fn an_invocation_writes_every_promised_name_once() {
        let mut env = testing::cut_off();
        env.extend([
            (env::ENV_TASKS_TABLE, "tasks"),
            (env::ENV_CONNECTIONS_TABLE, "connections"),
            (env::ENV_OWNER_INDEX_SHARDS, "1"),
            (env::ENV_TASKS_QUEUE_URL, "http://127.0.0.1:1/1/tasks"),
            (env::ENV_WEBSOCKET_MANAGEMENT_ENDPOINT, "http://127.0.0.1:1/live"),
            (env::ENV_QUEUE_VISIBILITY_SECONDS, "6"),
            (env::ENV_MAX_RECEIVE_COUNT, "5"),
        ]);
        let function = Function::from_env(&env).unwrap();
        let body = json!({
            "schema": 1, "task_id": "0193b0e2-7c00-7000-8000-000000000001", "owner": "alice", "kind": "digest",
            "payload": {"text": "a"}, "created_at_ms": 1, "request_hash": "0".repeat(64),
        });
        let batch = json!({"Records": [{
            "messageId": "m", "receiptHandle": "r", "body": body.to_string(), "attributes": {"SentTimestamp": "1"},
        }]});
        let mut context = Context::default();
        context.deadline = SystemClock.now().0 + 5_000;
        let mut wide = WideEvent::begin("process-task", "r-1", None);
        let work = function.batch(serde_json::from_value(batch).unwrap(), &context, &mut wide);
        let (response, _lines) = testing::logged(work);
        assert_eq!(response.batch_item_failures.len(), 1);
        let line = wide.line();
        let mut expected = testing::promised("every");
        expected.extend(testing::promised("process-task and audit-dead-letters"));
        // Of all ends only the one that happened.
        let of_any_batch = ["queue_age_ms", "deliveries", "attempts", "dependency_failures"];
        expected.extend(of_any_batch.map(ToOwned::to_owned));
        assert_eq!(testing::metrics(&line), expected);
        assert_eq!((&line["deliveries"], &line["dependency_failures"]), (&json!(1), &json!(1)));
        assert!(
            line["queue_age_ms"].as_u64() > Some(1_000_000) && line["dependency_calls"].as_u64() > Some(0)
        );
    }
}
