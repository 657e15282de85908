//! The queue of tasks and its dead-letter queue.

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use task_core::error::PortError;
use task_core::ports::{DeadLetter, DeadLetters, TaskQueue, Visibility};
use task_core::{DurationMs, limits};

use crate::sdk::{CountCalls, SEND_TIMEOUT, one_attempt, port_error};

/// Long polling asks all servers of the queue; short polling may miss messages that are there.
const PEEK_WAIT_SECONDS: i32 = 1;

#[derive(Clone, Debug)]
pub struct SqsTasks {
    client: Client,
    queue_url: String,
}

impl SqsTasks {
    pub fn new(config: &SdkConfig, queue_url: impl Into<String>) -> Self {
        let (retry, timeouts) = one_attempt(SEND_TIMEOUT);
        let config = aws_sdk_sqs::config::Builder::from(config)
            .retry_config(retry)
            .timeout_config(timeouts)
            .interceptor(CountCalls);
        Self::with_client(Client::from_conf(config.build()), queue_url)
    }

    pub fn with_client(client: Client, queue_url: impl Into<String>) -> Self {
        Self { client, queue_url: queue_url.into() }
    }
}

impl TaskQueue for SqsTasks {
    async fn send(&self, body: &str, trace: Option<&str>) -> Result<(), PortError> {
        let mut request = self.client.send_message().queue_url(&self.queue_url).message_body(body);
        if let Some(header) = trace.and_then(trace_header) {
            request =
                request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header);
        }
        request.send().await.map(drop).map_err(|error| port_error("SendMessage", &error))
    }
}

/// SQS counts the header neither in the message's size nor in its attributes.
fn trace_header(trace: &str) -> Option<MessageSystemAttributeValue> {
    MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build().ok()
}

impl Visibility for SqsTasks {
    async fn change(&self, receipt: &str, delay: DurationMs) -> Result<(), PortError> {
        let seconds = delay.as_seconds_ceil().min(limits::VISIBILITY_SECONDS_MAX);
        self.client
            .change_message_visibility()
            .queue_url(&self.queue_url)
            .receipt_handle(receipt)
            .visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX))
            .send()
            .await
            .map(drop)
            .map_err(|error| port_error("ChangeMessageVisibility", &error))
    }
}

#[derive(Clone, Debug)]
pub struct SqsDeadLetters {
    client: Client,
    queue_url: String,
}

impl SqsDeadLetters {
    pub fn new(config: &SdkConfig, queue_url: impl Into<String>) -> Self {
        // Long polling answers after its wait, which the usual timeout would cut off.
        let wait = std::time::Duration::from_secs(u64::from(PEEK_WAIT_SECONDS.unsigned_abs()));
        let (retry, timeouts) = one_attempt(wait + SEND_TIMEOUT);
        let config = aws_sdk_sqs::config::Builder::from(config)
            .retry_config(retry)
            .timeout_config(timeouts)
            .interceptor(CountCalls);
        Self::with_client(Client::from_conf(config.build()), queue_url)
    }

    pub fn with_client(client: Client, queue_url: impl Into<String>) -> Self {
        Self { client, queue_url: queue_url.into() }
    }
}

impl DeadLetters for SqsDeadLetters {
    async fn peek(&self, visibility: DurationMs) -> Result<Vec<DeadLetter>, PortError> {
        let output = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::from(limits::RECEIVE_MAX))
            .wait_time_seconds(PEEK_WAIT_SECONDS)
            .visibility_timeout(i32::try_from(visibility.as_seconds_ceil()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| port_error("ReceiveMessage dead letters", &error))?;
        let letters = output.messages.unwrap_or_default().into_iter();
        Ok(letters
            .map(|message| DeadLetter {
                message_id: message.message_id.unwrap_or_default(),
                body: message.body.unwrap_or_default(),
            })
            .collect())
    }
}
