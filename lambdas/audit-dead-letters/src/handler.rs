//! One audit, with pushes of what it marks.

use lambda_runtime::{Context, Diagnostic};
use task_aws::connections::DynamoConnections;
use task_aws::env::{self, ConfigError, Env};
use task_aws::pushes;
use task_aws::sdk;
use task_aws::sockets::Sockets;
use task_aws::sqs::SqsDeadLetters;
use task_aws::system::SystemClock;
use task_aws::tasks::DynamoTasks;
use task_aws::telemetry::WideEvent;
use task_core::audit::{AuditSummary, Auditor};
use task_core::notify::Notifier;
use task_core::{DurationMs, EpochMs, limits};

#[derive(Debug)]
pub(crate) struct Function {
    tasks: DynamoTasks,
    dead_letters: SqsDeadLetters,
    connections: DynamoConnections,
    sockets: Sockets,
    visibility: DurationMs,
}

impl Function {
    pub(crate) fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let sdk = sdk::config(env)?;
        let dynamodb = sdk::dynamodb(&sdk);
        let tasks = env::required(env, env::ENV_TASKS_TABLE)?;
        let connections = env::required(env, env::ENV_CONNECTIONS_TABLE)?;
        Ok(Self {
            tasks: DynamoTasks::new(dynamodb.clone(), tasks, env::owner_index_shards(env)?),
            dead_letters: SqsDeadLetters::new(&sdk, env::url(env, env::ENV_DEAD_LETTER_QUEUE_URL)?),
            connections: DynamoConnections::new(dynamodb, connections),
            sockets: Sockets::new(&sdk, &env::url(env, env::ENV_WEBSOCKET_MANAGEMENT_ENDPOINT)?),
            visibility: env::queue_visibility(env)?,
        })
    }

    pub(crate) async fn audit(&self, context: &Context) -> Result<AuditSummary, Diagnostic> {
        let mut wide =
            WideEvent::begin("audit-dead-letters", &context.request_id, context.xray_trace_id.as_deref());
        self.audit_and_tell(context, &mut wide).await
    }

    async fn audit_and_tell(
        &self,
        context: &Context,
        wide: &mut WideEvent,
    ) -> Result<AuditSummary, Diagnostic> {
        let deadline = EpochMs(context.deadline);
        let (changes, changed) = pushes::channel();
        let notifier = Notifier {
            connections: self.connections.clone(),
            pusher: self.sockets.clone(),
            clock: SystemClock,
        };
        let push_until = deadline.minus(limits::ANSWER_MARGIN);
        let audit = async {
            let auditor = Auditor {
                store: self.tasks.clone(),
                dead_letters: self.dead_letters.clone(),
                clock: SystemClock,
                // Dropped with the auditor, which ends the pushing.
                changes,
                visibility: self.visibility,
            };
            auditor.audit(deadline).await
        };
        let (summary, pushed) = tokio::join!(audit, notifier.notify(changed, push_until));
        wide.pushes(pushed);
        let summary = summary.map_err(|error| Diagnostic {
            error_type: "DeadLettersUnavailable".to_owned(),
            error_message: error.to_string(),
        })?;
        count(&summary, wide);
        Ok(summary)
    }
}

/// What is marked is marked once. The rest lies there still when the next audit looks, and is named so that nobody adds it up.
fn count(summary: &AuditSummary, wide: &mut WideEvent) {
    wide.count("marked", u64::from(summary.marked));
    wide.level("dead_letters", u64::from(summary.seen));
    wide.level("dead_letters_final", u64::from(summary.already_final));
    wide.level("dead_letters_superseded", u64::from(summary.superseded));
    wide.level("dead_letters_malformed", u64::from(summary.malformed));
    wide.level("dead_letters_deferred", u64::from(summary.deferred));
}

#[cfg(test)]
mod tests {
    use task_aws::testing;
    use task_core::ports::Clock as _;

    use super::*;

    #[test]
    fn an_audit_is_counted_under_every_promised_name() {
        let summary = AuditSummary {
            seen: 15,
            marked: 1,
            already_final: 2,
            superseded: 5,
            malformed: 3,
            deferred: 4,
            task_ids: Vec::new(),
        };
        let mut wide = WideEvent::begin("audit-dead-letters", "r-1", None);
        count(&summary, &mut wide);
        let line = wide.line();
        let mut expected = testing::promised("every");
        expected.extend(testing::promised("audit-dead-letters"));
        assert_eq!(testing::metrics(&line), expected);
        let names = ["", "_final", "_superseded", "_malformed", "_deferred"];
        let names = names.map(|name| format!("dead_letters{name}"));
        assert_eq!(names.map(|name| line[name].clone()), [15, 2, 5, 3, 4]);
        assert_eq!(line["marked"], 1);
    }

    /// With a queue that cannot be reached.
    #[test]
    fn an_audit_that_fails_counts_its_pushes_all_the_same() {
        let mut env = testing::cut_off();
        env.extend([
            (env::ENV_TASKS_TABLE, "tasks"),
            (env::ENV_CONNECTIONS_TABLE, "connections"),
            (env::ENV_OWNER_INDEX_SHARDS, "1"),
            (env::ENV_DEAD_LETTER_QUEUE_URL, "http://127.0.0.1:1/1/tasks-dlq"),
            (env::ENV_QUEUE_VISIBILITY_SECONDS, "6"),
            (env::ENV_WEBSOCKET_MANAGEMENT_ENDPOINT, "http://127.0.0.1:1/live"),
        ]);
        let function = Function::from_env(&env).unwrap();
        let mut context = Context::default();
        context.deadline = SystemClock.now().0 + 5_000;
        let mut wide = WideEvent::begin("audit-dead-letters", "r-1", None);
        let (audited, _lines) = testing::logged(function.audit_and_tell(&context, &mut wide));
        assert_eq!(audited.unwrap_err().error_type, "DeadLettersUnavailable");
        let mut expected = testing::promised("every");
        expected.extend(testing::promised("process-task and audit-dead-letters"));
        assert_eq!(testing::metrics(&wide.line()), expected);
    }
}
