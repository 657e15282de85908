//! The promises of docs/guarantees.md, on what is left when the faults have ended.

use std::collections::BTreeSet;

use task_core::TaskId;
use task_core::record::TaskRecord;
use task_core::wire::Status;

use super::{World, task_of};

impl World {
    /// After [`World::heal`].
    pub(crate) fn check(&self) {
        let letters = self.memory.dead_letters.lock().unwrap();
        let dead: BTreeSet<TaskId> = letters.iter().filter_map(|letter| task_of(&letter.body)).collect();
        let records = self.memory.records.lock().unwrap();
        for id in &*self.acknowledged.lock().unwrap() {
            let record = records.get(id).unwrap_or_else(|| panic!("acknowledged {id} was lost"));
            let status = record.state.status();
            assert!(status.is_final(), "{id} has no end: {record:?}");
            assert!(
                status == Status::Succeeded || dead.contains(id),
                "{id} is dead-lettered and in no queue"
            );
        }
        let foreign = letters.iter().map(|letter| &letter.body).filter(|body| task_of(body).is_none());
        assert_eq!(
            foreign.collect::<BTreeSet<_>>(),
            self.foreign.lock().unwrap().iter().collect(),
            "what is not ours is to lie in the dead-letter queue as it was sent"
        );
        for id in &dead {
            assert!(records[id].state.status().is_final(), "a dead letter is not marked");
        }
        for record in records.values() {
            check_record(record);
        }
        drop(records);
        self.check_clients();
    }

    /// A client that has caught up sees what the table says, of its own tasks and of no others.
    fn check_clients(&self) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let records = self.memory.records.lock().unwrap();
        for client in &*self.clients.lock().unwrap() {
            let theirs = acknowledged.iter().filter(|id| records[id].owner == client.owner);
            for id in theirs {
                assert_eq!(client.seen.get(id), Some(&records[id].to_wire()), "a client did not catch up");
            }
            assert!(client.seen.keys().all(|id| records[id].owner == client.owner));
        }
    }

    /// After a redrive that met no fault.
    pub(crate) fn check_only_poison_is_dead(&self) {
        for record in self.memory.records.lock().unwrap().values() {
            let is_dead = record.state.status() == Status::DeadLettered;
            assert_eq!(is_dead, record.kind == "poison", "{record:?}");
        }
    }
}

fn check_record(record: &TaskRecord) {
    let status = record.state.status();
    assert_eq!(record.completions, u32::from(status == Status::Succeeded), "{record:?}");
    assert!(record.kind != "poison" || status != Status::Succeeded, "poison succeeded");
    let claims = record.history.iter().filter(|entry| entry.status == Status::Running).count();
    assert_eq!(record.attempts as usize, claims);
    for (entry, version) in record.history.iter().zip(1..) {
        assert_eq!(entry.version.0, version, "a version is missing in {:?}", record.history);
    }
    for pair in record.history.windows(2) {
        let moved = (pair[0].status, pair[1].status);
        assert!(pair[0].at <= pair[1].at, "history goes back in time");
        assert!(
            matches!(moved, (Status::Queued | Status::DeadLettered, Status::Running) | (Status::Running, _))
                || moved == (Status::Queued, Status::DeadLettered),
            "{moved:?} is not a legal move"
        );
    }
}
