//! A task's record as a DynamoDB item.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use task_core::error::{ErrorClass, PortError};
use task_core::list::SortKey;
use task_core::record::{HistoryEntry, TaskRecord};
use task_core::state::{Lease, TaskState};
use task_core::wire::{Status, Task, TaskError};
use task_core::{EpochMs, LeaseToken, Owner, RequestHash, TaskId, Version};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The attributes, by their names in the table.
#[derive(Debug, Serialize, Deserialize)]
struct TaskItem {
    task_id: TaskId,
    owner: Owner,
    owner_shard: String,
    owner_sort: String,
    kind: String,
    payload: String,
    status: Status,
    version: Version,
    attempts: u32,
    deliveries: u32,
    completions: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_token: Option<LeaseToken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_until_ms: Option<EpochMs>,
    created_at_ms: EpochMs,
    updated_at_ms: EpochMs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    request_hash: RequestHash,
    history: Vec<String>,
    expires_at_seconds: u64,
}

/// The attributes that a list reads, and all that the index has: of the others the payload alone can be as large as a message.
pub(crate) const SHOWN: [&str; 10] = [
    "task_id",
    "kind",
    "status",
    "version",
    "attempts",
    "created_at_ms",
    "updated_at_ms",
    "result",
    "error_type",
    "error_message",
];

#[derive(Debug, Deserialize)]
struct ShownItem {
    task_id: TaskId,
    kind: String,
    status: Status,
    version: Version,
    attempts: u32,
    created_at_ms: EpochMs,
    updated_at_ms: EpochMs,
    #[serde(default)]
    result: Option<String>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    error_message: Option<String>,
}

pub(crate) fn owner_shard(owner: &Owner, shard: u16) -> String {
    format!("{owner}#{shard}")
}

pub(crate) fn to_item(record: &TaskRecord, shards: u16) -> Result<Item, PortError> {
    let lease = record.state.lease();
    let item = TaskItem {
        task_id: record.id,
        owner: record.owner.clone(),
        owner_shard: owner_shard(&record.owner, record.id.shard(shards)),
        owner_sort: SortKey::of(record).to_string(),
        kind: record.kind.clone(),
        payload: record.payload.to_string(),
        status: record.state.status(),
        version: record.version,
        attempts: record.attempts,
        deliveries: record.deliveries,
        completions: record.completions,
        lease_token: lease.map(|lease| lease.token),
        lease_until_ms: lease.map(|lease| lease.until),
        created_at_ms: record.created_at,
        updated_at_ms: record.updated_at,
        result: result_text(&record.state),
        error_type: record.error.as_ref().map(|error| error.kind.clone()),
        error_message: record.error.as_ref().map(|error| error.message.clone()),
        request_hash: record.request_hash.clone(),
        history: record.history.iter().map(ToString::to_string).collect(),
        expires_at_seconds: record.expires_at().as_seconds(),
    };
    serde_dynamo::to_item(item).map_err(|error| unreadable(&error.to_string()))
}

pub(crate) fn from_item(item: Item) -> Result<TaskRecord, PortError> {
    let item: TaskItem = parsed(item)?;
    let state = state_of(&item)?;
    let history: Option<Vec<_>> = item.history.iter().map(|entry| HistoryEntry::parse(entry)).collect();
    Ok(TaskRecord {
        id: item.task_id,
        owner: item.owner,
        kind: item.kind,
        payload: Arc::new(json(&item.payload)?),
        request_hash: item.request_hash,
        state,
        version: item.version,
        attempts: item.attempts,
        deliveries: item.deliveries,
        completions: item.completions,
        error: error_of(item.error_type, item.error_message),
        created_at: item.created_at_ms,
        updated_at: item.updated_at_ms,
        history: history.ok_or_else(|| unreadable("history"))?,
    })
}

/// From no more than the attributes of [`SHOWN`].
pub(crate) fn shown_from_item(item: Item) -> Result<Task, PortError> {
    let item: ShownItem = parsed(item)?;
    let result = match item.status {
        Status::Succeeded => Some(result_of(item.result.as_deref())?),
        Status::Queued | Status::Running | Status::DeadLettered => None,
    };
    Ok(Task {
        id: item.task_id,
        kind: item.kind,
        status: item.status,
        version: item.version,
        attempts: item.attempts,
        created_at: item.created_at_ms,
        updated_at: item.updated_at_ms,
        result,
        error: error_of(item.error_type, item.error_message),
    })
}

fn parsed<T: DeserializeOwned>(item: Item) -> Result<T, PortError> {
    serde_dynamo::from_item(item).map_err(|error| unreadable(&error.to_string()))
}

fn error_of(kind: Option<String>, message: Option<String>) -> Option<TaskError> {
    kind.map(|kind| TaskError { kind, message: message.unwrap_or_default() })
}

fn result_of(text: Option<&str>) -> Result<serde_json::Value, PortError> {
    json(text.ok_or_else(|| unreadable("a succeeded task has no result"))?)
}

fn state_of(item: &TaskItem) -> Result<TaskState, PortError> {
    Ok(match item.status {
        Status::Queued => TaskState::Queued,
        Status::Running => TaskState::Running(Lease {
            token: item.lease_token.ok_or_else(|| unreadable("a running task has no lease_token"))?,
            until: item.lease_until_ms.ok_or_else(|| unreadable("a running task has no lease_until_ms"))?,
        }),
        Status::Succeeded => TaskState::Succeeded { result: result_of(item.result.as_deref())? },
        Status::DeadLettered => TaskState::DeadLettered,
    })
}

pub(crate) fn result_text(state: &TaskState) -> Option<String> {
    match state {
        TaskState::Succeeded { result } => Some(result.to_string()),
        _ => None,
    }
}

fn json(text: &str) -> Result<serde_json::Value, PortError> {
    serde_json::from_str(text).map_err(|_| unreadable("payload or result is not JSON"))
}

fn unreadable(what: &str) -> PortError {
    PortError { operation: "item", class: ErrorClass::Permanent, detail: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use task_core::state::{Event, Judge};
    use task_core::testing::digest;

    use super::*;

    const TABLES: &str = include_str!("../../../terraform/modules/task-table/main.tf");

    /// In every state, and after a failure.
    fn records() -> Vec<TaskRecord> {
        let id = "0193b0e2-7c00-7000-8000-000000000001".parse().unwrap();
        let token = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let error = || TaskError { kind: "flaky".into(), message: "again".into() };
        let queued = TaskRecord::queued(&digest(id, &Owner::parse("alice").unwrap(), EpochMs(1)));
        let running =
            queued.advance(&Event::Claim(Lease { token, until: EpochMs(9_000) }), EpochMs(2)).unwrap();
        let ends = [
            Event::GiveBack { token, error: error() },
            Event::Succeed { token, result: json!({"sha256": "00"}) },
            Event::DeadLetter { judge: Judge::Holder(token), error: error() },
        ];
        let ended = ends.map(|end| running.advance(&end, EpochMs(3)).unwrap());
        [queued, running].into_iter().chain(ended).collect()
    }

    #[test]
    fn what_a_list_reads_of_an_item_is_all_that_is_shown_of_the_record() {
        for record in records() {
            let mut item = to_item(&record, 1).unwrap();
            item.retain(|name, _| SHOWN.contains(&name.as_str()));
            assert_eq!(shown_from_item(item), Ok(record.to_wire()));
        }
    }

    /// No query of the index finds anything else, be it to show or to filter by. The table's key is in every index.
    #[test]
    fn the_index_has_what_a_list_reads_and_nothing_else() {
        let (_, after) = TABLES.split_once("non_key_attributes").unwrap();
        let (listed, _) = after.split_once(']').unwrap();
        let listed: BTreeSet<&str> = listed.split('"').skip(1).step_by(2).collect();
        let shown: BTreeSet<&str> = SHOWN.into_iter().filter(|name| *name != "task_id").collect();
        assert_eq!(listed, shown);
    }

    #[test]
    fn an_item_without_what_its_status_promises_is_an_error() {
        let mut records = records().into_iter();
        let succeeded = records.find(|record| record.state.status() == Status::Succeeded).unwrap();
        let mut item = to_item(&succeeded, 1).unwrap();
        item.remove("result");
        assert_eq!(shown_from_item(item).unwrap_err().class, ErrorClass::Permanent);
    }
}
