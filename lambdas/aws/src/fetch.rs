//! One small document from one address, over the SDK's own HTTP and TLS.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("no connection: {0}")]
    NotReached(String),
    #[error("status {0}")]
    Status(u16),
    #[error("more than {0} bytes")]
    TooLarge(usize),
}

/// What may be asked of the other side.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    pub time: Duration,
    pub bytes: usize,
}

/// Asks again and again for the same document. Follows no redirect: whoever configured the address meant it.
#[derive(Clone, Debug)]
pub struct Fetch {
    connector: SharedHttpConnector,
    url: String,
    limits: FetchLimits,
}

impl Fetch {
    pub fn new(url: impl Into<String>, limits: FetchLimits) -> Self {
        let url = url.into();
        let connector = if url.starts_with("http://") {
            Connector::builder().build_http()
        } else {
            Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build()
        };
        Self { connector: SharedHttpConnector::new(connector), url, limits }
    }

    pub async fn get(&self) -> Result<Vec<u8>, FetchError> {
        let time = self.limits.time;
        tokio::time::timeout(time, self.get_in_any_time()).await.unwrap_or(Err(FetchError::TooSlow(time)))
    }

    async fn get_in_any_time(&self) -> Result<Vec<u8>, FetchError> {
        let request =
            HttpRequest::get(&self.url).map_err(|error| FetchError::NotReached(error.to_string()))?;
        let answer = self.connector.call(request).await;
        let response = answer.map_err(|error| FetchError::NotReached(error.to_string()))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status(status));
        }
        let mut stream = ByteStream::new(response.into_body());
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| FetchError::NotReached(error.to_string()))?;
            if bytes.len() + chunk.len() > self.limits.bytes {
                return Err(FetchError::TooLarge(self.limits.bytes));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
