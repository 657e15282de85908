//! One SDK configuration for all clients, and what an SDK error means.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use task_core::error::{PortError, Symptom, classify};
use task_core::limits;

use crate::env::{ConfigError, Env, required};

pub const ENV_REGION: &str = "AWS_REGION";
pub const ENV_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";

/// AWS answers in a few milliseconds; a second attempt must still fit before the shortest deadline (1 s).
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(400);
const OPERATION_TIMEOUT: Duration = Duration::from_millis(limits::CALL_TIME_MAX.0);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
const READ_ATTEMPTS: u32 = 2;

/// A push to a slow client must not hold up the others.
pub(crate) const PUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Made by hand and not by the default chain: Lambda always hands credentials and region over in the environment, so that
/// a cold start probes no files and no metadata service, and the binary carries none of that.
pub fn config(env: &impl Env) -> Result<SdkConfig, ConfigError> {
    let endpoint = env.get(ENV_ENDPOINT_URL).filter(|url| !url.is_empty());
    let is_plain = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
    let http_client = if is_plain {
        Builder::new().build_http()
    } else {
        Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https()
    };
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(required(env, ENV_REGION)?))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(http_client)
        // Bodies here are small, and an attempt's timeout ends a stalled one as well: watching each body's pace is work
        // without a use.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(READ_ATTEMPTS)
                .with_initial_backoff(Duration::from_millis(20)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        );
    config.set_endpoint_url(endpoint);
    Ok(config.build())
}

/// For calls that are retried above, where it is known whether an earlier one may have arrived.
pub(crate) fn one_attempt(timeout: Duration) -> (RetryConfig, TimeoutConfig) {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(timeout)
        .operation_timeout(timeout)
        .build();
    (RetryConfig::disabled(), timeouts)
}

pub(crate) const SEND_TIMEOUT: Duration = ATTEMPT_TIMEOUT;

/// Terraform's shortest function timeout: one operation with its second attempt, and the answer after it, fit into it.
const FUNCTION_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const _: () = assert!(
    OPERATION_TIMEOUT.as_millis() + limits::ANSWER_MARGIN.0 as u128 <= FUNCTION_TIMEOUT_MIN.as_millis()
);

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Attempts of calls to AWS that this process has made, the SDK's own second attempts included.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct CountCalls;

impl Intercept for CountCalls {
    fn name(&self) -> &'static str {
        "CountCalls"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config).interceptor(CountCalls);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Whether nobody was there to take the request. Only what is certain counts: of a connection that broke, and of one that
/// was closed without an answer, nobody knows what had arrived.
fn is_unreached(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        let io = error.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| matches!(io.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable))
    })
}

/// Names the operation and what the failure means. The detail is for the log and carries no payload.
pub(crate) fn port_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata,
{
    let (symptom, detail) = match error {
        SdkError::ServiceError(answered) => {
            let code = answered.err().code();
            let status = answered.raw().status().as_u16();
            (Symptom::Answered { status, code }, format!("{status} {}", code.unwrap_or("without a code")))
        }
        SdkError::ResponseError(answered) => {
            let status = answered.raw().status().as_u16();
            (Symptom::NoAnswer, format!("{status} with a body that is not an answer"))
        }
        SdkError::TimeoutError(_) => (Symptom::NoAnswer, "timeout".to_owned()),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(connector) if connector.is_user() || is_unreached(connector) => {
                (Symptom::NotSent, "no connection".to_owned())
            }
            Some(connector) if connector.is_timeout() => (Symptom::NoAnswer, "timeout".to_owned()),
            // Whatever else went wrong on the way may have done so after the request had left.
            _ => (Symptom::NoAnswer, "broken connection".to_owned()),
        },
        _ => (Symptom::NotSent, "the request could not be built".to_owned()),
    };
    let class = classify(symptom);
    tracing::warn!(operation, error.class = class.as_str(), error.detail = detail, "dependency call failed");
    PortError { operation, class, detail }
}
