//! What the execution role of a mapping's function must allow.

use super::Inner;
use super::error::EsmError;
use crate::iam::{Ask, Context, Denied, Signer};

/// AWS: "Lambda needs the following permissions to manage messages in your queue."
const NEEDED: [&str; 3] = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];

/// Checked when a mapping is created or updated.
///
/// # Errors
/// In AWS's words, for the first permission that the role lacks.
pub fn check_all(inner: &Inner, function_arn: &str, queue_arn: &str) -> Result<(), EsmError> {
    for operation in NEEDED {
        check(inner, function_arn, &format!("sqs:{operation}"), queue_arn).map_err(|_| {
            let message =
                format!("The function execution role does not have permissions to call {operation} on SQS");
            EsmError::InvalidParameter(message)
        })?;
    }
    Ok(())
}

/// # Errors
/// When the role does not allow the action on the queue.
pub fn check(inner: &Inner, function_arn: &str, action: &str, queue_arn: &str) -> Result<(), Denied> {
    if !inner.settings.iam.is_enforced() {
        return Ok(());
    }
    let Some(session) = session(inner, function_arn) else { return Ok(()) };
    let context = Context::at(inner.settings.clock.now_ms());
    inner.settings.iam.check(&session, &Ask { action, resource: queue_arn, context })
}

/// In whose name a mapping acts: the function's execution role. None: a function without one is a stand-in that is not judged.
pub fn session(inner: &Inner, function_arn: &str) -> Option<Signer> {
    let role_arn = inner.functions.role_arn(function_arn)?;
    let name = function_arn.split(':').nth(6).unwrap_or_default();
    Some(Signer::session(&role_arn, name))
}
