//! What an operator does after an incident: have the dead letters marked, and move them back.

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use loadtest::stack::Stack;

use crate::cloud::{CallError, Cloud};
use crate::wait::{Patience, until};

const MOVE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(500), at_most: Duration::from_secs(120) };
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

/// Moves all dead letters back to where they came from. The answer is how many the move task says that it moved.
pub(super) async fn redrive(cloud: &Cloud, dead_letters_arn: &str) -> Result<u64, CallError> {
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
