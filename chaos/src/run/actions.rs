//! What an operator does after an incident: have the dead letters marked, and move them back.

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use loadtest::stack::{Queue, Stack};

use crate::cloud::{CallError, Cloud};
use crate::observe;
use crate::wait::{Patience, until};

const MOVE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(120) };
/// One move task after another, while less has moved than was seen.
const REDRIVE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(30) };
/// One invocation of the auditor may not reach the end of a long queue.
const AUDIT_INVOCATIONS_MAX: u32 = 3;
const AUDITOR: &str = "audit-dead-letters";

/// Has the auditor look now; on AWS it also looks by its schedule.
pub(super) async fn audit(cloud: &Cloud, stack: &Stack) -> Result<(), CallError> {
    let operation = "lambda:Invoke";
    let Some(auditor) = stack.functions.get(AUDITOR) else {
        return Err(CallError::new(operation, format!("the stack has no function {AUDITOR}")));
    };
    let mut failure = None;
    for _ in 0..AUDIT_INVOCATIONS_MAX {
        let call = cloud.lambda.invoke().function_name(&auditor.name).payload(Blob::new(b"{}"));
        let answer = call.send().await.map_err(CallError::of(operation))?;
        failure = answer.function_error().map(str::to_owned);
        if failure.is_none() {
            return Ok(());
        }
    }
    Err(CallError::new(operation, format!("{AUDITOR} failed: {}", failure.unwrap_or_default())))
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
    let moved = until(MOVE_PATIENCE, async || {
        let call = cloud.sqs.list_message_move_tasks().source_arn(dead_letters_arn).max_results(1);
        let found = call.send().await.map_err(CallError::of("sqs:ListMessageMoveTasks"))?;
        let Some(task) = found.results().first() else { return Ok(None) };
        match task.status().unwrap_or_default() {
            "COMPLETED" => Ok(Some(task.approximate_number_of_messages_moved())),
            "FAILED" | "CANCELLED" => {
                Err(CallError::new(operation, task.failure_reason().unwrap_or("it was cancelled").to_owned()))
            }
            _ => Ok(None),
        }
    });
    let moved = moved.await?.ok_or_else(|| CallError::new(operation, "the move task does not end"))?;
    Ok(u64::try_from(moved).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesOutput;
    use aws_sdk_sqs::operation::list_message_move_tasks::ListMessageMoveTasksOutput;
    use aws_sdk_sqs::operation::start_message_move_task::StartMessageMoveTaskOutput;
    use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry, QueueAttributeName};
    use aws_smithy_mocks::{MockResponseInterceptor, RuleMode, create_mock_http_client, mock};

    use super::*;

    /// A dead-letter queue that says that nothing is in flight, while it is: the n-th move task finds `moves[n]` visible.
    async fn cloud(moves: &'static [i64], started: &Arc<AtomicI64>) -> Cloud {
        let (start, list) = (Arc::clone(started), Arc::clone(started));
        let rules = [
            mock!(aws_sdk_sqs::Client::get_queue_attributes).then_compute_output(|_| {
                let none = (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "0".to_owned());
                GetQueueAttributesOutput::builder().set_attributes(Some([none].into())).build()
            }),
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
        let mocks =
            rules.iter().fold(MockResponseInterceptor::new().rule_mode(RuleMode::MatchAny), |mocks, rule| {
                mocks.with_rule(rule)
            });
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(create_mock_http_client())
            .interceptor(mocks);
        // Port 9 is the discard service: a call that is not mocked fails at once.
        let cloud = Cloud::connect(Some("http://127.0.0.1:9"), "us-east-1").await;
        Cloud { sqs: aws_sdk_sqs::Client::from_conf(config.build()), ..cloud }
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
}
