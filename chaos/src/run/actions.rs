//! What an operator does after an incident: have the dead letters marked, and move them back.

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use loadtest::stack::{Function, Queue, Stack};
use serde::Deserialize;

use crate::cloud::{CallError, Cloud, invocation_limits};
use crate::observe;
use crate::wait::{Patience, until, until_seen};

const MOVE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(120) };
/// One move task after another, while less has moved than was seen.
const REDRIVE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(30) };
/// One invocation of the auditor may not reach the end of a long queue.
const AUDIT_INVOCATIONS_MAX: u32 = 3;
/// Whoever still works on a task holds it for some seconds, and as long the auditor puts off to mark it.
const AUDIT_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(60) };
const AUDITOR: &str = "audit-dead-letters";
const INVOKE: &str = "lambda:Invoke";

/// What the auditor says of one audit.
#[derive(Deserialize)]
struct Audited {
    /// Not marked now: being worked on, or not to be written.
    deferred: u64,
}

/// Has the auditor look, besides its schedule, until it puts nothing off.
pub(super) async fn audit(cloud: &Cloud, stack: &Stack) -> Result<(), CallError> {
    let missing = |what: &str| CallError::new(INVOKE, format!("the stack has no {what}"));
    let auditor = stack.functions.get(AUDITOR).ok_or_else(|| missing(AUDITOR))?;
    let dead_letters = stack.queues.get("tasks-dlq").ok_or_else(|| missing("tasks-dlq"))?;
    let mut deferred = 0;
    let done = until(AUDIT_PATIENCE, async || {
        // It passes over what somebody else has in flight, be it the audit before.
        observe::at_rest(cloud, &dead_letters.url).await?;
        deferred = audit_once(cloud, auditor).await?.deferred;
        Ok::<_, CallError>((deferred == 0).then_some(()))
    })
    .await?;
    done.ok_or_else(|| CallError::new(INVOKE, format!("{AUDITOR} kept putting {deferred} dead letters off")))
}

async fn audit_once(cloud: &Cloud, auditor: &Function) -> Result<Audited, CallError> {
    let limits = invocation_limits(Duration::from_secs(auditor.timeout_seconds.into()));
    let mut failure = None;
    for _ in 0..AUDIT_INVOCATIONS_MAX {
        let limited = aws_sdk_lambda::config::Builder::new().timeout_config(limits.clone());
        let call = cloud.lambda.invoke().function_name(&auditor.name).payload(Blob::new(b"{}"));
        let call = call.customize().config_override(limited);
        let answer = call.send().await.map_err(CallError::of(INVOKE))?;
        failure = answer.function_error().map(str::to_owned);
        if failure.is_none() {
            let summary = answer.payload().map_or(&[][..], |payload| payload.as_ref());
            return serde_json::from_slice(summary).map_err(CallError::of(INVOKE));
        }
    }
    Err(CallError::new(INVOKE, format!("{AUDITOR} failed: {}", failure.unwrap_or_default())))
}

/// Moves at least so many dead letters back to where they came from, if it can be done. A move task takes what is visible at
/// its moment, and the counts that say so may be old: on AWS by a minute. So it is started again until as much has moved as
/// was seen. The answer is how many the move tasks say that they moved.
pub(super) async fn redrive(cloud: &Cloud, dead_letters: &Queue, letters: u64) -> Result<u64, CallError> {
    let mut moved = 0;
    until(REDRIVE_PATIENCE, async || {
        observe::at_rest(cloud, &dead_letters.url).await?;
        moved += move_visible(cloud, &dead_letters.arn).await?;
        Ok::<_, CallError>((moved >= letters).then_some(()))
    })
    .await?;
    Ok(moved)
}

/// One move task, to its end.
async fn move_visible(cloud: &Cloud, dead_letters_arn: &str) -> Result<u64, CallError> {
    let operation = "sqs:StartMessageMoveTask";
    let call = cloud.sqs.start_message_move_task().source_arn(dead_letters_arn);
    call.send().await.map_err(CallError::of(operation))?;
    let moved = until_seen(MOVE_PATIENCE, async || {
        let call = cloud.sqs.list_message_move_tasks().source_arn(dead_letters_arn).max_results(1);
        let found = call.send().await.map_err(CallError::of("sqs:ListMessageMoveTasks"))?;
        let Some(task) = found.results().first() else { return Ok(None) };
        match task.status().unwrap_or_default() {
            "COMPLETED" => Ok(Some(Ok(task.approximate_number_of_messages_moved()))),
            "FAILED" | "CANCELLED" => {
                let reason = task.failure_reason().unwrap_or("it was cancelled");
                Ok(Some(Err(CallError::new(operation, reason))))
            }
            _ => Ok::<_, CallError>(None),
        }
    });
    let moved = moved.await?.ok_or_else(|| CallError::new(operation, "the move task does not end"))??;
    Ok(u64::try_from(moved).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use aws_sdk_lambda::operation::invoke::InvokeOutput;
    use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesOutput;
    use aws_sdk_sqs::operation::list_message_move_tasks::ListMessageMoveTasksOutput;
    use aws_sdk_sqs::operation::start_message_move_task::StartMessageMoveTaskOutput;
    use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry, QueueAttributeName};
    use aws_smithy_mocks::{Rule, mock};
    use serde_json::json;

    use super::*;
    use crate::mocked;

    fn nothing_in_flight() -> Rule {
        mock!(aws_sdk_sqs::Client::get_queue_attributes).then_compute_output(|_| {
            let none = (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "0".to_owned());
            GetQueueAttributesOutput::builder().set_attributes(Some([none].into())).build()
        })
    }

    /// A dead-letter queue that says that nothing is in flight, while it is: the n-th move task finds `moves[n]` visible.
    async fn cloud(moves: &'static [i64], started: &Arc<AtomicI64>) -> Cloud {
        let (start, list) = (Arc::clone(started), Arc::clone(started));
        let rules = [
            nothing_in_flight(),
            mock!(aws_sdk_sqs::Client::start_message_move_task).then_compute_output(move |_| {
                start.fetch_add(1, Ordering::SeqCst);
                StartMessageMoveTaskOutput::builder().task_handle("handle").build()
            }),
            mock!(aws_sdk_sqs::Client::list_message_move_tasks).then_compute_output(move |_| {
                let number = usize::try_from(list.load(Ordering::SeqCst) - 1).unwrap();
                let moved = moves.get(number).copied().unwrap_or_default();
                let entry = ListMessageMoveTasksResultEntry::builder().status("COMPLETED");
                let entry = entry.approximate_number_of_messages_moved(moved).build();
                ListMessageMoveTasksOutput::builder().results(entry).build()
            }),
        ];
        Cloud { sqs: mocked::sqs(&rules), ..mocked::cloud().await }
    }

    #[tokio::test]
    async fn a_redrive_that_found_the_dead_letters_in_flight_is_tried_again() {
        let queue = Queue {
            url: "url".into(),
            arn: "arn".into(),
            visibility_timeout_seconds: None,
            max_receive_count: None,
        };
        for (moves, tasks) in [(&[95][..], 1), (&[0, 95], 2), (&[40, 0, 55], 3)] {
            let started = Arc::new(AtomicI64::new(0));
            let moved = redrive(&cloud(moves, &started).await, &queue, 95).await.unwrap();
            assert_eq!((moved, started.load(Ordering::SeqCst)), (95, tasks));
        }
    }

    fn stack() -> Stack {
        let queue = json!({"url": "url", "arn": "arn"});
        let auditor = json!({"name": "a", "arn": "arn", "role_arn": "arn", "timeout_seconds": 60});
        mocked::stack(&json!({"audit-dead-letters": auditor}), &json!({"tasks": queue, "tasks-dlq": queue}))
    }

    #[tokio::test]
    async fn the_auditor_is_asked_again_while_it_puts_something_off() {
        for (answers, invocations, is_done) in [
            (&[r#"{"seen": 2, "deferred": 0}"#][..], 1, true),
            (&[r#"{"seen": 2, "deferred": 1}"#, r#"{"seen": 2, "deferred": 0}"#], 2, true),
            (&[r#"{"message": "hello"}"#], 1, false),
        ] {
            let invoked = Arc::new(AtomicI64::new(0));
            let count = Arc::clone(&invoked);
            let invoke = mock!(aws_sdk_lambda::Client::invoke).then_compute_output(move |_| {
                let number = usize::try_from(count.fetch_add(1, Ordering::SeqCst)).unwrap();
                InvokeOutput::builder().status_code(200).payload(Blob::new(answers[number])).build()
            });
            let (lambda, sqs) = (mocked::lambda(&[invoke]), mocked::sqs(&[nothing_in_flight()]));
            let cloud = Cloud { lambda, sqs, ..mocked::cloud().await };
            let done = audit(&cloud, &stack()).await;
            assert_eq!((done.is_ok(), invoked.load(Ordering::SeqCst)), (is_done, invocations), "{done:?}");
        }
    }
}
