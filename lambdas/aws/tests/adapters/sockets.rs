//! Pushes and connections.

use serde_json::{Value, json};
use task_aws::connections::DynamoConnections;
use task_aws::sdk;
use task_aws::sockets::Sockets;
use task_core::error::ErrorClass;
use task_core::ports::{Connections as _, Listener, Pushed, Pusher as _};
use task_core::{ConnectionId, EpochMs, Owner, limits};

use crate::replay::{Replay, Reply, error, ok};

fn sockets(replay: &Replay) -> Sockets {
    Sockets::new(&replay.sdk, &format!("{}/live", replay.sdk.endpoint_url().unwrap()))
}

fn connection() -> ConnectionId {
    ConnectionId::parse("XDmENcnwIE0CFEQ=").unwrap()
}

#[tokio::test]
async fn a_closed_connection_is_gone_and_everything_else_that_fails_is_not() {
    let replay = Replay::start([ok(json!({}))]).await;
    assert_eq!(sockets(&replay).push(&connection(), "{}").await, Ok(Pushed::Sent));
    assert_eq!(replay.asked()[0].0, "/live/@connections/XDmENcnwIE0CFEQ%3D");
    let replay = Replay::start([error(410, "GoneException")]).await;
    assert_eq!(sockets(&replay).push(&connection(), "{}").await, Ok(Pushed::Gone));
    let cases: [(fn() -> Reply, ErrorClass); 4] = [
        (|| error(429, "LimitExceededException"), ErrorClass::Throttled),
        (|| error(403, "ForbiddenException"), ErrorClass::Permanent),
        (|| error(500, "InternalServerError"), ErrorClass::Unknown),
        (|| Reply::Silence, ErrorClass::Unknown),
    ];
    for (reply, class) in cases {
        let replay = Replay::start([reply()]).await;
        let failed = sockets(&replay).push(&connection(), "{}").await.unwrap_err();
        assert_eq!((failed.class, replay.asked().len()), (class, 1), "{failed}");
    }
}

fn row(id: &str, connected_at_ms: u64) -> Value {
    json!({"connection_id": {"S": id}, "connected_at_ms": {"N": connected_at_ms.to_string()}})
}

#[tokio::test]
async fn the_newest_connections_are_told_whatever_their_ids_are() {
    let max = usize::from(limits::CONNECTIONS_PER_OWNER_MAX);
    // By id the last are the newest, and the first is the oldest.
    let rows: Vec<Value> = (0..=max).map(|n| row(&format!("c{n:03}"), 1_000 + n as u64)).collect();
    let replay = Replay::start([ok(json!({"Items": rows, "Count": rows.len()}))]).await;
    let connections = DynamoConnections::new(sdk::dynamodb(&replay.sdk), "connections");
    let told = connections.of_owner(&Owner::parse("alice").unwrap()).await.unwrap();
    let expected: Vec<String> = (1..=max).rev().map(|n| format!("c{n:03}")).collect();
    assert_eq!(told.iter().map(|listener| listener.connection.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(replay.only_body()["ProjectionExpression"], "connection_id, connected_at_ms");
}

#[tokio::test]
async fn a_connection_expires_by_itself_and_is_read_consistently() {
    let row = row(connection().as_str(), 1_000);
    let replay = Replay::start([ok(json!({})), ok(json!({"Items": [row], "Count": 1})), ok(json!({}))]).await;
    let connections = DynamoConnections::new(sdk::dynamodb(&replay.sdk), "connections");
    let owner = Owner::parse("alice").unwrap();
    connections.add(&owner, &connection(), EpochMs(1_000)).await.unwrap();
    let listener = Listener { since: EpochMs(1_000), connection: connection() };
    assert_eq!(connections.of_owner(&owner).await, Ok(vec![listener]));
    connections.remove(&owner, &connection()).await.unwrap();
    let asked = replay.asked();
    // Two hours, the longest that a connection lasts, and five minutes.
    assert_eq!(asked[0].1["Item"]["expires_at_seconds"]["N"], "7501");
    assert_eq!(
        (&asked[1].1["ConsistentRead"], &asked[1].1["Limit"]),
        (&json!(true), &json!(limits::CONNECTIONS_READ_MAX))
    );
    assert_eq!(asked[2].0, "DeleteItem");
}
