//! The table of WebSocket connections.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use task_core::connection::newest;
use task_core::error::PortError;
use task_core::limits;
use task_core::ports::{Connections, Listener};
use task_core::{ConnectionId, EpochMs, Owner};

use crate::sdk::port_error;

#[derive(Clone, Debug)]
pub struct DynamoConnections {
    client: Client,
    table: String,
}

impl DynamoConnections {
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}

fn string(value: &impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

impl Connections for DynamoConnections {
    async fn add(&self, owner: &Owner, connection: &ConnectionId, now: EpochMs) -> Result<(), PortError> {
        let expires_at = now.plus(limits::CONNECTION_TTL).as_seconds();
        self.client
            .put_item()
            .table_name(&self.table)
            .item("owner", string(owner))
            .item("connection_id", string(connection))
            .item("connected_at_ms", AttributeValue::N(now.0.to_string()))
            .item("expires_at_seconds", AttributeValue::N(expires_at.to_string()))
            .send()
            .await
            .map(drop)
            .map_err(|error| port_error("PutItem connections", &error))
    }

    async fn remove(&self, owner: &Owner, connection: &ConnectionId) -> Result<(), PortError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("owner", string(owner))
            .key("connection_id", string(connection))
            .send()
            .await
            .map(drop)
            .map_err(|error| port_error("DeleteItem connections", &error))
    }

    async fn of_owner(&self, owner: &Owner) -> Result<Vec<Listener>, PortError> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", string(owner))
            .projection_expression("connection_id, connected_at_ms")
            // A client that was told "connected" hears of every later change.
            .consistent_read(true)
            // The table has them in the order of their ids, which says nothing of their age.
            .limit(i32::from(limits::CONNECTIONS_READ_MAX))
            .send()
            .await
            .map_err(|error| port_error("Query connections", &error))?;
        let connections = output.items.unwrap_or_default().into_iter().filter_map(|item| {
            let connection = ConnectionId::parse(item.get("connection_id")?.as_s().ok()?.clone()).ok()?;
            let since = EpochMs(item.get("connected_at_ms")?.as_n().ok()?.parse().ok()?);
            Some(Listener { since, connection })
        });
        Ok(newest(connections))
    }
}
