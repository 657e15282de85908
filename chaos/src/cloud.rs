//! The AWS clients, against AWS or against the emulator's one endpoint.

use std::error::Error;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use loadtest::loopback::is_loopback;
use loadtest::stack::Stack;

use crate::iam::Iam;

/// What the emulator takes; it never reaches AWS, because an endpoint that is not loopback is refused.
const LOCAL_KEY: &str = "chaos-local";
/// How CloudTrail tells the harness from whoever else assumes its role.
const SESSION_NAME: &str = "chaos";
/// The SDK by itself limits how long a connection takes, and never how long an answer does: a call that hangs would keep a
/// setting from being put back for ever.
const CALL_LIMITS: Limits = Limits { attempt: Duration::from_secs(20), operation: Duration::from_secs(60) };

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    attempt: Duration,
    /// With all of its attempts.
    operation: Duration,
}

impl Limits {
    fn config(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }
}

/// For `config_override` of an invocation, which may take as long as its function may besides.
pub(crate) fn invocation_limits(function_timeout: Duration) -> TimeoutConfig {
    let Limits { attempt, operation } = CALL_LIMITS;
    Limits { attempt: attempt + function_timeout, operation: operation + function_timeout }.config()
}

#[derive(Clone, Debug)]
pub struct Cloud {
    /// Metrics of AWS lag a minute behind, those of the emulator do not.
    pub emulated: bool,
    pub lambda: aws_sdk_lambda::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub fis: aws_sdk_fis::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub apigateway: aws_sdk_apigatewayv2::Client,
    pub sts: aws_sdk_sts::Client,
    pub iam: Iam,
}

/// What services answer of a resource that is not there: Lambda and DynamoDB, API Gateway, and SQS by both of its protocols.
const NOT_THERE: [&str; 4] = [
    "ResourceNotFoundException",
    "NotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
];

/// Which account and endpoint a run may touch.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("the stack is in account {found} on AWS; allow it with --account {found}")]
    AccountNotAllowed { found: String },
    #[error("the stack is in account {found}, and --account allows {allowed}")]
    OtherAccount { found: String, allowed: String },
    #[error(
        "the endpoint {endpoint} is not on loopback: it would be given credentials meant for the emulator"
    )]
    EndpointNotLocal { endpoint: String },
}

/// A call to AWS that failed, with everything that the SDK knows of it.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct CallError {
    pub operation: &'static str,
    pub detail: String,
    /// The service said that the resource is not there, where that is asked for.
    pub is_not_there: bool,
}

impl CallError {
    pub fn new(operation: &'static str, detail: impl Into<String>) -> Self {
        Self { operation, detail: detail.into(), is_not_there: false }
    }

    /// For `map_err`: keeps the SDK's chain of causes in one line.
    pub fn of<E: Error>(operation: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::new(operation, DisplayErrorContext(&error).to_string())
    }

    /// As `of`, of a call that reads one resource: keeps whether that is there.
    pub(crate) fn of_read<E: Error + ProvideErrorMetadata>(operation: &'static str) -> impl Fn(E) -> Self {
        move |error| {
            let is_not_there = error.code().is_some_and(|code| NOT_THERE.contains(&code));
            Self { is_not_there, ..Self::of(operation)(error) }
        }
    }
}

/// Refuses a stack whose account nobody allowed, and an endpoint that is not this machine's.
pub fn check_target(stack: &Stack, allowed: &[String]) -> Result<(), TargetError> {
    let found = stack.account_id.clone();
    match &stack.endpoint {
        Some(endpoint) if !is_loopback(endpoint) => {
            Err(TargetError::EndpointNotLocal { endpoint: endpoint.clone() })
        }
        None if allowed.is_empty() => Err(TargetError::AccountNotAllowed { found }),
        _ if !allowed.is_empty() && !allowed.contains(&found) => {
            Err(TargetError::OtherAccount { found, allowed: allowed.join(", ") })
        }
        _ => Ok(()),
    }
}

impl Cloud {
    pub async fn connect(endpoint: Option<&str>, region: &str) -> Self {
        Self::new(&own_config(endpoint, region, CALL_LIMITS).await, endpoint)
    }

    /// Every call is made as this role, which is assumed at the first one, and again whenever a session ends.
    pub async fn connect_as(role_arn: &str, endpoint: Option<&str>, region: &str) -> Self {
        let own = own_config(endpoint, region, CALL_LIMITS).await;
        let role =
            AssumeRoleProvider::builder(role_arn).session_name(SESSION_NAME).configure(&own).build().await;
        let config = own.into_builder().credentials_provider(SharedCredentialsProvider::new(role)).build();
        Self::new(&config, endpoint)
    }

    fn new(config: &SdkConfig, endpoint: Option<&str>) -> Self {
        Self {
            emulated: endpoint.is_some(),
            lambda: aws_sdk_lambda::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            fis: aws_sdk_fis::Client::new(config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            apigateway: aws_sdk_apigatewayv2::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            iam: Iam::new(config, endpoint),
        }
    }
}

/// Of whoever started the harness: on AWS what the usual chain finds, on the emulator nothing that is worth anything.
async fn own_config(endpoint: Option<&str>, region: &str, limits: Limits) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .timeout_config(limits.config());
    if let Some(endpoint) = endpoint {
        if is_loopback(endpoint) {
            // This one asks no proxy, whatever the environment names.
            loader = loader.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
        loader = loader
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new(LOCAL_KEY, LOCAL_KEY, None, None, "emulator"));
    }
    loader.load().await
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use aws_config::retry::RetryConfig;
    use aws_sdk_sqs::error::SdkError;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(50);
    /// A call that is still not over then has no limit.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Connections are made, and nobody ever answers.
    fn silence() -> (TcpListener, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        (listener, endpoint)
    }

    async fn cloud(endpoint: &str, limits: Limits) -> Cloud {
        let config = own_config(Some(endpoint), "us-east-1", limits).await;
        let once = config.into_builder().retry_config(RetryConfig::disabled()).build();
        Cloud::new(&once, Some(endpoint))
    }

    #[tokio::test]
    async fn a_call_that_nobody_answers_ends() {
        let (_listener, endpoint) = silence();
        for limits in [Limits { attempt: SHORT, operation: LONG }, Limits { attempt: LONG, operation: SHORT }]
        {
            let cloud = cloud(&endpoint, limits).await;
            let call = cloud.sqs.get_queue_attributes().queue_url(format!("{endpoint}/1/tasks"));
            let answer = timeout(PATIENCE, call.send()).await.unwrap();
            assert!(matches!(answer, Err(SdkError::TimeoutError(_))), "{limits:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn an_invocation_has_limits_of_its_own() {
        let (_listener, endpoint) = silence();
        let cloud = cloud(&endpoint, Limits { attempt: LONG, operation: LONG }).await;
        let own = Limits { attempt: SHORT, operation: LONG }.config();
        let own = aws_sdk_lambda::config::Builder::new().timeout_config(own);
        let call = cloud.lambda.invoke().function_name("f").customize().config_override(own);
        let answer = timeout(PATIENCE, call.send()).await.unwrap();
        assert!(matches!(answer, Err(SdkError::TimeoutError(_))), "{answer:?}");
    }

    #[test]
    fn every_client_has_limits_and_an_invocation_may_take_as_long_as_its_function_besides() {
        let calls = CALL_LIMITS.config();
        let auditor = invocation_limits(Duration::from_secs(60));
        let both = |limits: &TimeoutConfig| {
            (limits.operation_attempt_timeout().unwrap(), limits.operation_timeout().unwrap())
        };
        let (attempt, operation) = both(&calls);
        assert!(attempt < operation, "a second attempt fits");
        assert_eq!(both(&auditor), (attempt + Duration::from_secs(60), operation + Duration::from_secs(60)));
    }

    #[test]
    fn only_this_machine_is_given_the_emulator_s_credentials() {
        for local in ["http://127.0.0.1:4566", "http://localhost:1/x", "http://[::1]:80"] {
            assert!(is_loopback(local), "{local}");
        }
        for other in [
            "https://sqs.us-east-1.amazonaws.com",
            "http://127.0.0.1.evil.example:80",
            "http://10.0.0.1:80",
            "",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
