//! What Lambda itself does in the name of a function's execution role, and whether the role allows it.

use super::Lambda;
use super::error::LambdaError;
use super::model::FunctionConfig;
use crate::iam::{Ask, Context};

const SENDING: &str = "sqs:SendMessage";
const TRACING: &str = "xray:PutTraceSegments";
const ACTIVE: &str = "Active";

/// How a destination is reached; None of one that nothing here reaches.
pub(super) fn action_on(destination: &str) -> Option<&'static str> {
    match destination.split(':').nth(2)? {
        "sqs" => Some(SENDING),
        "lambda" => Some("lambda:InvokeFunction"),
        _ => None,
    }
}

/// Checked when a function is made and when its configuration changes.
///
/// # Errors
/// In AWS's words, for the first permission that the role lacks.
pub(super) fn check_config(lambda: &Lambda, name: &str, config: &FunctionConfig) -> Result<(), LambdaError> {
    let lacks = |action: &str, resource: &str| !allows(lambda, name, &config.role, action, resource);
    let refuse = |call: &str| {
        let message = format!("The provided execution role does not have permissions to call {call}");
        Err(LambdaError::invalid_parameter(message))
    };
    let dead_letters = config.dead_letter_target.as_deref();
    if dead_letters.is_some_and(|queue| action_on(queue) == Some(SENDING) && lacks(SENDING, queue)) {
        return refuse("SendMessage on SQS");
    }
    if config.tracing_mode == ACTIVE && lacks(TRACING, "*") {
        return refuse("PutTraceSegments on XRAY");
    }
    Ok(())
}

/// Checked when a destination is set.
///
/// # Errors
/// In AWS's words, when the role may not reach it.
pub(super) fn check_destination(
    lambda: &Lambda,
    name: &str,
    role: &str,
    destination: &str,
) -> Result<(), LambdaError> {
    match action_on(destination) {
        Some(action) if !allows(lambda, name, role, action, destination) => {
            let call = action.split_once(':').map_or(action, |(_, call)| call);
            Err(LambdaError::invalid_parameter(format!(
                "The function's execution role does not have permissions to call {call} on {destination}"
            )))
        }
        _ => Ok(()),
    }
}

fn allows(lambda: &Lambda, name: &str, role: &str, action: &str, resource: &str) -> bool {
    let ask = Ask { action, resource, context: Context::at(lambda.now_ms()) };
    lambda.inner.host.settings.iam.check_role(role, name, &ask).is_ok()
}
