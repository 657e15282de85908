//! The WebSocket routes as API Gateway calls them, held to the published contract.

use contract::SocketContract;
use serde_json::{Value, json};
use task_aws::connections::DynamoConnections;
use task_aws::system::SystemClock;
use task_aws::tasks::DynamoTasks;
use task_aws::{sdk, testing};
use task_core::error::ErrorClass;
use task_core::limits;
use task_core::record::TaskRecord;
use task_core::testing::{Fault, Faults, Faulty, ManualClock, Memory, digest};
use task_core::{EpochMs, TaskId};

use super::*;

struct Bench {
    memory: Memory,
    clock: ManualClock,
    contract: SocketContract,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            memory: Memory::default(),
            clock: ManualClock::new(EpochMs(1_800_000_000_000)),
            contract: SocketContract::default(),
        }
    }
}

fn event(route: &str, owner: Option<&str>, body: Option<&str>) -> SocketEvent {
    let mut event = json!({
        "requestContext": {"routeKey": route, "connectionId": "c1=", "requestId": "r-1"}, "body": body,
    });
    if let Some(owner) = owner {
        event["requestContext"]["authorizer"] = json!({"principalId": owner, "sub": owner});
    }
    serde_json::from_value(event).unwrap()
}

impl Bench {
    fn call(&self, route: &str, owner: Option<&str>, body: Option<&str>, faults: &Faults) -> SocketResponse {
        let event = event(route, owner, body);
        let socket = Socket {
            store: Faulty { inner: &self.memory, faults },
            connections: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
        };
        self.clock.block_on(socket.answer(&event, None)).unwrap()
    }

    /// Sends a message; the answer is held to the contract.
    fn ask(&self, body: &str, faults: &Faults) -> Value {
        let response = self.call("$default", Some("alice"), Some(body), faults);
        assert_eq!(response.status_code, 200);
        let text = response.body.unwrap();
        self.contract.check_sent(&text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn store(&self, owner: &str) -> TaskId {
        let id = "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap();
        let record = TaskRecord::queued(&digest(id, &Owner::parse(owner).unwrap(), EpochMs(1)));
        self.memory.records.lock().unwrap().insert(record.id, record.clone());
        record.id
    }
}

#[test]
fn every_documented_message_is_understood_and_every_answer_looks_as_documented() {
    let bench = Bench::default();
    let id = bench.store("alice");
    let (ping, watch) =
        (r#"{"action":"ping"}"#.to_owned(), json!({"action": "watch", "task_id": id}).to_string());
    bench.contract.check_received(&ping).unwrap();
    bench.contract.check_received(&watch).unwrap();
    assert_eq!(bench.ask(&ping, &Faults::none(0)), json!({"type": "pong"}));
    assert_eq!(bench.ask(&watch, &Faults::none(0))["task"]["id"], json!(id));
    let oversize = json!({"action": "x".repeat(limits::CLIENT_MESSAGE_BYTES_MAX)}).to_string();
    for (body, problem) in [
        ("{", "malformed-message"),
        (r#"{"action":"shout"}"#, "malformed-message"),
        (r#"["ping"]"#, "malformed-message"),
        (r#"["watch",{"task_id":"0193b0e2-7c00-7000-8000-000000000001"}]"#, "malformed-message"),
        (&oversize, "body-too-large"),
    ] {
        let answer = bench.ask(body, &Faults::none(0));
        assert_eq!(answer["problem"]["type"], format!("urn:task:problem:{problem}"));
    }
    let outage = Faults::at(0, [(0, Fault::Refuse(ErrorClass::Throttled))]);
    assert_eq!(bench.ask(&watch, &outage)["problem"]["type"], "urn:task:problem:store-unavailable");
    assert_eq!(bench.contract.unseen(), Vec::<String>::new());
}

#[test]
fn another_owners_task_cannot_be_watched() {
    let bench = Bench::default();
    let watch = json!({"action": "watch", "task_id": bench.store("bob")}).to_string();
    assert_eq!(bench.ask(&watch, &Faults::none(0))["problem"]["type"], "urn:task:problem:task-not-found");
}

#[test]
fn a_handshake_is_remembered_or_refused_and_never_half() {
    let bench = Bench::default();
    let rows = || bench.memory.connections.lock().unwrap().len();
    assert_eq!(bench.call("$connect", None, None, &Faults::none(0)).status_code, 401);
    let outage = Faults::at(0, [(0, Fault::Refuse(ErrorClass::Transient))]);
    assert_eq!(bench.call("$connect", Some("alice"), None, &outage).status_code, 503);
    assert_eq!(rows(), 0);
    assert_eq!(bench.call("$connect", Some("alice"), None, &Faults::none(0)).status_code, 200);
    assert_eq!(rows(), 1);
    assert_eq!(bench.call("$disconnect", Some("alice"), None, &Faults::none(0)).status_code, 200);
    assert_eq!(rows(), 0);
}

/// A client whose row could not be written is refused; one that leaves has left, whatever becomes of its row.
#[test]
fn an_event_is_counted_as_what_became_of_it() {
    let bench = Bench::default();
    let refusal = [(0, Fault::Refuse(ErrorClass::Transient))];
    let mut counted = std::collections::BTreeSet::new();
    for (route, faults, name) in [
        ("$connect", Faults::at(0, refusal), "refused"),
        ("$connect", Faults::none(0), "connected"),
        ("$disconnect", Faults::at(0, refusal), "disconnected"),
        ("$disconnect", Faults::none(0), "disconnected"),
        ("$default", Faults::none(0), "messages"),
    ] {
        let event = event(route, Some("alice"), Some(r#"{"action":"ping"}"#));
        let socket = Socket {
            store: Faulty { inner: &bench.memory, faults: &faults },
            connections: Faulty { inner: &bench.memory, faults: &faults },
            clock: &bench.clock,
        };
        let (owner, connection) =
            (Owner::parse("alice").unwrap(), ConnectionId::parse("c1=".to_owned()).unwrap());
        let mut wide = WideEvent::begin("websocket", "r-1", None);
        bench.clock.block_on(socket.route(&event, &owner, &connection, &mut wide));
        let names: Vec<_> =
            testing::metrics(&wide.line()).difference(&testing::promised("every")).cloned().collect();
        assert_eq!(names, [name], "{route}");
        counted.extend(names);
    }
    assert_eq!(counted, testing::promised("websocket"));
}

#[test]
fn the_id_of_a_message_finds_the_calls_that_failed() {
    let client = sdk::dynamodb(&testing::cut_off_sdk());
    let socket = Socket {
        store: DynamoTasks::reader(client.clone(), "tasks"),
        connections: DynamoConnections::new(client, "connections"),
        clock: SystemClock,
    };
    let watch = json!({"action": "watch", "task_id": "0193b0e2-7c00-7000-8000-000000000001"}).to_string();
    for (route, body) in [("$connect", None), ("$disconnect", None), ("$default", Some(watch.as_str()))] {
        let event = event(route, Some("alice"), body);
        let (_response, lines) = testing::logged(socket.answer(&event, None));
        let (found, failed) = testing::failed_calls(&lines, "r-1");
        assert!(failed > 0 && found == failed, "{route}: {found} of {failed}: {lines:#?}");
    }
}
