//! Pushing to WebSocket clients through `@connections`.

use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use task_core::ConnectionId;
use task_core::error::PortError;
use task_core::ports::{Pushed, Pusher};

use crate::sdk::{CountCalls, PUSH_TIMEOUT, one_attempt, port_error};

#[derive(Clone, Debug)]
pub struct Sockets {
    client: Client,
}

impl Sockets {
    /// `endpoint` is the base of `/@connections`.
    pub fn new(config: &SdkConfig, endpoint: &str) -> Self {
        let (retry, timeouts) = one_attempt(PUSH_TIMEOUT);
        let config = aws_sdk_apigatewaymanagement::config::Builder::from(config)
            .endpoint_url(endpoint)
            .retry_config(retry)
            .timeout_config(timeouts)
            .interceptor(CountCalls);
        Self::with_client(Client::from_conf(config.build()))
    }

    pub const fn with_client(client: Client) -> Self {
        Self { client }
    }
}

impl Pusher for Sockets {
    async fn push(&self, connection: &ConnectionId, message: &str) -> Result<Pushed, PortError> {
        let outcome = self
            .client
            .post_to_connection()
            .connection_id(connection.as_str())
            .data(Blob::new(message))
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Pushed::Sent),
            Err(error) => match error.as_service_error() {
                Some(PostToConnectionError::GoneException(_)) => Ok(Pushed::Gone),
                _ => Err(port_error("PostToConnection", &error)),
            },
        }
    }
}
