//! DynamoDB: an embedded engine behind the JSON protocol.

use dynoxide::Database;
use http::StatusCode;

use crate::server::StartError;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// The tables of the account.
#[expect(missing_debug_implementations, reason = "the engine has none")]
#[derive(Clone)]
pub struct DynamoDb {
    #[expect(dead_code)]
    database: Database,
}

impl DynamoDb {
    pub fn new(_settings: &Settings) -> Result<Self, StartError> {
        Ok(Self { database: Database::memory().map_err(StartError::Tables)? })
    }
}

impl Service for DynamoDb {
    fn handle(&self, _request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async {
            let body = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
            AwsResponse::new(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", body)
        })
    }
}
