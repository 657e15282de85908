//! Calling a function, bounded in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;

use super::http_response::Malformed;
use super::live::LiveStage;
use super::names::{self, API_GATEWAY};
use super::plane::Plane;
use super::target::Target;
use crate::iam::{Ask, Context};
use crate::invoke::{InvokeOutcome, InvokeRequest};
use crate::settings::Settings;

/// The name of API Gateway's sessions of the roles that it takes.
const SESSION: &str = "BackplaneAssumeRoleSession";
const INVOKE: &str = "lambda:InvokeFunction";

/// What a function is sent.
pub(super) struct Sent<'a> {
    pub(super) payload: Bytes,
    pub(super) trace_id: Option<String>,
    /// Of the invocation, where something shows it.
    pub(super) request_id: Option<String>,
    /// What sends it, as the end of a source ARN: a route of a stage, or an authorizer.
    pub(super) source: &'a str,
}

/// How a call to a function ended, as far as a gateway tells cases apart.
#[derive(Debug)]
pub(super) enum Called {
    Answered(Bytes),
    Failed(Failure),
    Throttled,
    /// The integration's own limit passed. The function keeps running.
    TimedOut,
}

/// The function failed, timed out within its own limit, is missing or may not be called.
#[derive(Debug)]
pub(super) struct Failure {
    reason: String,
    /// Lambda's own: 200 for a function that failed.
    lambda_status: u16,
    /// What a function that failed said.
    payload: Bytes,
}

/// What the runtime of a function makes of its error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_message: String,
}

impl Failure {
    fn new(lambda_status: u16, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lambda_status, payload: Bytes::new() }
    }

    fn of_function(payload: Bytes, reason: &str) -> Self {
        Self { payload, ..Self::new(200, reason) }
    }

    fn forbidden() -> Self {
        Self::new(
            403,
            "The IAM role configured on the integration or API Gateway doesn't have permissions to call the \
             integration. Check the permissions and try again.",
        )
    }

    /// Whether the function failed with an error of this message.
    pub(super) fn says(&self, message: &str) -> bool {
        serde_json::from_slice::<FunctionError>(&self.payload)
            .is_ok_and(|error| error.error_message == message)
    }
}

impl Called {
    /// What is said of a call without an answer.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Answered(_) => None,
            Self::Failed(failure) => Some(failure.reason.clone()),
            Self::Throttled => Some("Rate Exceeded.".to_owned()),
            Self::TimedOut => Some("Endpoint request timed out".to_owned()),
        }
    }
}

/// Calls a function for a stage: by its own policy, or in the name of a role where there is one.
pub(super) async fn call(
    plane: &Plane,
    stage: &LiveStage,
    target: &Target,
    timeout: Duration,
    sent: Sent<'_>,
) -> Called {
    let Plane { settings, invoke, .. } = plane;
    let function = target.function(&stage.variables);
    let source = match target.role.as_deref() {
        None => Some(names::source(settings, &stage.api_id, sent.source)),
        Some(role) if may_invoke(settings, role, &function) => None,
        Some(_) => return Called::Failed(Failure::forbidden()),
    };
    let Sent { payload, trace_id, request_id, .. } = sent;
    let request = InvokeRequest { function, payload, trace_id, request_id, source };
    let clock = &settings.clock;
    let until_ms = clock.now_ms().saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    let invoke = Arc::clone(invoke);
    // In a task of its own: neither the limit nor a client that hangs up stops a function.
    let running = tokio::spawn(async move { invoke.invoke(request).await });
    tokio::select! {
        outcome = running => match outcome {
            Ok(outcome) => Called::from(outcome),
            Err(error) => {
                Called::Failed(Failure::new(500, format!("the call of the function broke off: {error}")))
            }
        },
        () = clock.sleep_until(until_ms) => Called::TimedOut,
    }
}

/// Whether API Gateway gets the role, and the role may call the function.
fn may_invoke(settings: &Settings, role: &str, function: &str) -> bool {
    let context = Context::at(settings.clock.now_ms());
    let ask = Ask { action: INVOKE, resource: function, context };
    settings.iam.may_assume(role, API_GATEWAY, context)
        && settings.iam.check_role(role, SESSION, &ask).is_ok()
}

/// What metrics and access logs say of a call.
#[derive(Debug)]
pub(super) struct Integrated {
    pub(super) took: Duration,
    /// Lambda's own: 200 for a function that failed, too. None when it did not answer in time.
    pub(super) lambda_status: Option<u16>,
    /// What the code of the function returned: 500 where it failed.
    pub(super) function_status: Option<u16>,
    pub(super) error: Option<String>,
    /// Of the invocation: what Lambda's answer calls `x-amzn-requestid`, so None when it did not answer in time.
    request_id: Option<String>,
}

/// Calls the function of a route, and notes how that went.
pub(super) async fn integrate(
    plane: &Plane,
    stage: &LiveStage,
    target: &Target,
    timeout: Duration,
    sent: Sent<'_>,
) -> (Called, Integrated) {
    let started = Instant::now();
    let request_id = sent.request_id.clone();
    let called = call(plane, stage, target, timeout, sent).await;
    let integrated = Integrated::new(&called, started.elapsed()).identified(request_id);
    (called, integrated)
}

impl Integrated {
    pub(super) fn new(called: &Called, took: Duration) -> Self {
        let (lambda_status, function_status) = match called {
            Called::Answered(_) => (Some(200), None),
            Called::Failed(Failure { lambda_status: 200, .. }) => (Some(200), Some(500)),
            Called::Failed(failure) => (Some(failure.lambda_status), None),
            Called::Throttled => (Some(429), None),
            Called::TimedOut => (None, None),
        };
        Self { took, lambda_status, function_status, error: called.error(), request_id: None }
    }

    fn identified(self, request_id: Option<String>) -> Self {
        Self { request_id: request_id.filter(|_| self.lambda_status.is_some()), ..self }
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
            "integration.requestId" | "awsEndpointRequestId" => self.request_id.clone(),
            _ => None,
        }
    }
}

impl From<InvokeOutcome> for Called {
    fn from(outcome: InvokeOutcome) -> Self {
        let failure = match outcome {
            InvokeOutcome::Success(answer) => return Self::Answered(answer),
            InvokeOutcome::Throttled { .. } => return Self::Throttled,
            InvokeOutcome::FunctionError { payload, timed_out: true } => Failure::of_function(
                payload,
                "The Lambda function timed out. Check your Lambda function's timeout.",
            ),
            InvokeOutcome::FunctionError { payload, timed_out: false } => Failure::of_function(
                payload,
                "The Lambda function returned the following error: Unhandled. Check your Lambda function code.",
            ),
            InvokeOutcome::NotFound => Failure::new(404, "The Lambda function does not exist."),
            InvokeOutcome::Refused { status: 403, .. } => Failure::forbidden(),
            InvokeOutcome::Refused { status, code, message } => {
                Failure::new(status, format!("{code}: {message}"))
            }
        };
        Self::Failed(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(payload: &'static str) -> Called {
        let payload = Bytes::from_static(payload.as_bytes());
        Called::from(InvokeOutcome::FunctionError { payload, timed_out: false })
    }

    #[test]
    fn the_message_of_an_error_is_read_where_there_is_one() {
        for (payload, expected) in [
            (r#"{"errorMessage":"Unauthorized","errorType":"Error"}"#, true),
            (r#"{"errorMessage":"unauthorized"}"#, false),
            (r#"{"errorMessage":401}"#, false),
            ("Unauthorized", false),
            ("", false),
        ] {
            let Called::Failed(failure) = failed(payload) else { panic!("{payload}") };
            assert_eq!(failure.says("Unauthorized"), expected, "{payload}");
        }
    }

    #[test]
    fn lambda_s_own_status_and_that_of_the_function_are_told_apart() {
        let refused =
            |status| InvokeOutcome::Refused { status, code: "AccessDeniedException", message: String::new() };
        for (called, lambda, function) in [
            (failed("{}"), Some("200"), Some("500")),
            (Called::from(InvokeOutcome::NotFound), Some("404"), None),
            (Called::from(refused(403)), Some("403"), None),
            (Called::from(refused(409)), Some("409"), None),
            (Called::Throttled, Some("429"), None),
            (Called::TimedOut, None, None),
        ] {
            let integrated = Integrated::new(&called, Duration::ZERO);
            let variable = |name| integrated.variable(name);
            assert_eq!(variable("integrationStatus").as_deref(), lambda, "{called:?}");
            assert_eq!(variable("integration.status").as_deref(), function, "{called:?}");
        }
    }

    #[test]
    fn only_an_answer_of_lambda_names_the_invocation() {
        for (called, expected) in [
            (Called::Answered(Bytes::new()), Some("r1")),
            (failed("{}"), Some("r1")),
            (Called::Throttled, Some("r1")),
            (Called::TimedOut, None),
        ] {
            let integrated = Integrated::new(&called, Duration::ZERO).identified(Some("r1".to_owned()));
            for name in ["integration.requestId", "awsEndpointRequestId"] {
                assert_eq!(integrated.variable(name).as_deref(), expected, "{called:?}");
            }
        }
    }
}
