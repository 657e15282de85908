//! Calling a function, bounded in time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::invoke::{Invoke, InvokeOutcome, InvokeRequest};

/// How a call to a function ended, as far as a gateway tells cases apart.
#[derive(Debug)]
pub(super) enum Called {
    Answered(Bytes),
    /// The function failed, timed out within its own limit, is missing or may not be called.
    Failed(String),
    Throttled,
    /// The integration's own limit passed. The function keeps running.
    TimedOut,
}

pub(super) async fn call(
    invoke: &Arc<dyn Invoke>,
    clock: &Clock,
    timeout: Duration,
    request: InvokeRequest,
) -> Called {
    let until_ms = clock.now_ms().saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    let invoke = Arc::clone(invoke);
    // In a task of its own: neither the limit nor a client that hangs up stops a function.
    let running = tokio::spawn(async move { invoke.invoke(request).await });
    tokio::select! {
        outcome = running => match outcome {
            Ok(outcome) => Called::from(outcome),
            Err(error) => Called::Failed(format!("the call of the function broke off: {error}")),
        },
        () = clock.sleep_until(until_ms) => Called::TimedOut,
    }
}

impl From<InvokeOutcome> for Called {
    fn from(outcome: InvokeOutcome) -> Self {
        match outcome {
            InvokeOutcome::Success(answer) => Self::Answered(answer),
            InvokeOutcome::FunctionError { timed_out: true, .. } => {
                Self::Failed("The Lambda function timed out. Check your Lambda function's timeout.".to_owned())
            }
            InvokeOutcome::FunctionError { .. } => Self::Failed(
                "The Lambda function returned the following error: Unhandled. Check your Lambda function code."
                    .to_owned(),
            ),
            InvokeOutcome::Throttled { .. } => Self::Throttled,
            InvokeOutcome::NotFound => Self::Failed("The Lambda function does not exist.".to_owned()),
            InvokeOutcome::Refused { status: 403, .. } => Self::Failed(
                "The IAM role configured on the integration or API Gateway doesn't have permissions to call the \
                 integration. Check the permissions and try again."
                    .to_owned(),
            ),
            InvokeOutcome::Refused { code, message, .. } => Self::Failed(format!("{code}: {message}")),
        }
    }
}
