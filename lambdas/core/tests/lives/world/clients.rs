//! Clients with a WebSocket each: they drop what is stale, lose their connections, and catch up by asking.

use std::collections::BTreeMap;

use task_core::connection;
use task_core::ports::Clock as _;
use task_core::testing::{Faults, Faulty};
use task_core::wire::{ServerMessage, Task};
use task_core::{ConnectionId, DurationMs, Owner, TaskId};

use super::{Invocation, OWNERS, World};

const ANSWER_MS_MAX: u64 = 50;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) owner: Owner,
    /// Absent while it is not connected.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) seen: BTreeMap<TaskId, Task>,
}

impl Client {
    fn hears(&mut self, task: Task) {
        match self.seen.get(&task.id) {
            Some(known) if known.version >= task.version => {}
            _ => {
                self.seen.insert(task.id, task);
            }
        }
    }
}

impl World {
    pub(crate) fn add_clients(&self) {
        let mut clients = self.clients.lock().unwrap();
        for owner in OWNERS {
            let owner = Owner::parse(owner).unwrap();
            clients.push(Client { owner, connection: None, seen: BTreeMap::new() });
        }
    }

    /// The handshake, and then a question about every task that the client was told of.
    pub(crate) async fn connect(&self, client: usize, faults: &Faults) {
        self.disconnect(client, &self.no_faults()).await;
        let owner = self.clients.lock().unwrap()[client].owner.clone();
        let id = ConnectionId::parse(format!("c{:016x}", self.random.next())).unwrap();
        let connections = Faulty { inner: &self.memory, faults };
        let clock = &self.clock;
        self.memory.closed.lock().unwrap().insert(id.clone());
        let handshake = async {
            let connected = connection::connect(&connections, &clock, &owner, &id).await;
            // On its way back to API Gateway, which opens the connection only then.
            clock.sleep(DurationMs(self.roll(ANSWER_MS_MAX))).await;
            connected
        };
        // Otherwise the handshake was refused, whatever is in the table.
        if let Invocation::Answered(Ok(())) = self.invoke(self.function_time, handshake).await {
            self.memory.closed.lock().unwrap().remove(&id);
            self.clients.lock().unwrap()[client].connection = Some(id);
            let tasks = self.acknowledged.lock().unwrap().clone();
            for task in tasks {
                self.watch(client, task, faults).await;
            }
        }
    }

    /// AWS calls `$disconnect` when it can.
    pub(crate) async fn disconnect(&self, client: usize, faults: &Faults) {
        let Some(id) = self.clients.lock().unwrap()[client].connection.take() else { return };
        self.memory.closed.lock().unwrap().insert(id.clone());
        if self.roll(2) == 0 {
            let owner = self.clients.lock().unwrap()[client].owner.clone();
            let connections = Faulty { inner: &self.memory, faults };
            self.invoke(self.function_time, connection::disconnect(&connections, &owner, &id)).await;
        }
    }

    pub(crate) async fn watch(&self, client: usize, task: TaskId, faults: &Faults) {
        let owner = self.clients.lock().unwrap()[client].owner.clone();
        let store = Faulty { inner: &self.memory, faults };
        let body = format!(r#"{{"action":"watch","task_id":"{task}"}}"#);
        let answer = self.invoke(self.function_time, connection::answer(&store, &owner, &body, "r")).await;
        if let Invocation::Answered(ServerMessage::Task { task }) = answer {
            let record = self.memory.record(task.id).unwrap();
            assert_eq!(record.owner, owner, "another owner's task was shown");
            self.clients.lock().unwrap()[client].hears(task);
        }
    }

    /// What was pushed reaches the clients whose connection is still theirs.
    pub(crate) fn deliver_pushes(&self) {
        let pushed = std::mem::take(&mut *self.memory.pushed.lock().unwrap());
        for (connection, text) in pushed {
            let ServerMessage::Task { task } = serde_json::from_str(&text).unwrap() else {
                panic!("pushed something else than a task: {text}");
            };
            let record = self.memory.record(task.id).unwrap();
            let was = record.history.iter().find(|entry| entry.version == task.version).unwrap();
            assert_eq!(was.status, task.status, "a state was pushed that never was");
            let mut clients = self.clients.lock().unwrap();
            let client = clients.iter_mut().find(|client| client.connection.as_ref() == Some(&connection));
            if let Some(client) = client {
                assert_eq!(client.owner, record.owner, "pushed to another owner");
                client.hears(task);
            }
        }
    }

    pub(crate) async fn reconnect_all(&self) {
        let count = self.clients.lock().unwrap().len();
        for client in 0..count {
            self.connect(client, &self.no_faults()).await;
        }
    }
}
