//! Calling a function, bounded in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::http_response::Malformed;
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

/// What metrics and access logs say of a call.
#[derive(Debug)]
pub(super) struct Integrated {
    pub(super) took: Duration,
    /// Lambda's own: 200 for a function that failed, too. None when it did not answer in time.
    pub(super) lambda_status: Option<u16>,
    /// What the code of the function returned.
    pub(super) function_status: Option<u16>,
    pub(super) error: Option<String>,
}

/// Calls the function of a route, and notes how that went.
pub(super) async fn integrate(
    invoke: &Arc<dyn Invoke>,
    clock: &Clock,
    timeout: Duration,
    request: InvokeRequest,
) -> (Called, Integrated) {
    let started = Instant::now();
    let called = call(invoke, clock, timeout, request).await;
    let integrated = Integrated::new(&called, started.elapsed());
    (called, integrated)
}

impl Integrated {
    pub(super) fn new(called: &Called, took: Duration) -> Self {
        let (lambda_status, error) = match called {
            Called::Answered(_) => (Some(200), None),
            Called::Failed(reason) => (Some(200), Some(reason.clone())),
            Called::Throttled => (Some(429), Some("Rate Exceeded.".to_owned())),
            Called::TimedOut => (None, Some("Endpoint request timed out".to_owned())),
        };
        Self { took, lambda_status, function_status: None, error }
    }

    /// The answer has no meaning for a gateway.
    pub(super) fn fail(&mut self) {
        self.error = Some(Malformed.to_string());
    }

    /// `$context.integration…` in an access log.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match name {
            "integrationLatency" | "integration.latency" => Some(self.took.as_millis().to_string()),
            "integrationStatus" | "integration.integrationStatus" => Some(self.lambda_status?.to_string()),
            // "For Lambda proxy integrations, this is the status code that your Lambda function code returns."
            "integration.status" => Some(self.function_status?.to_string()),
            "integrationErrorMessage" | "integration.error" => self.error.clone(),
            _ => None,
        }
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
