//! The tasks table, read as an outsider: by key, and by the owner index.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use loadtest::TaskStatus;
use serde_json::Value;

use crate::cloud::{CallError, Cloud};
use crate::oracle::Record;

const OWNER_INDEX: &str = "owner-index";
/// DynamoDB reads at most so many keys at once.
const KEYS_MAX: usize = 100;
/// Unprocessed keys are asked for again this often: they are how DynamoDB throttles a batch.
const ROUNDS_MAX: u32 = 20;
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// The contract allows 1 to 64.
const SHARDS_MAX: u16 = 64;

type Item = HashMap<String, AttributeValue>;

/// How many shards the owner index has, as the function that writes it was told.
pub async fn owner_index_shards(cloud: &Cloud, function: &str) -> Result<u16, CallError> {
    let found = cloud
        .lambda
        .get_function_configuration()
        .function_name(function)
        .send()
        .await
        .map_err(CallError::of("lambda:GetFunctionConfiguration"))?;
    let variables = found.environment().and_then(|environment| environment.variables());
    let shards = variables.and_then(|variables| variables.get("OWNER_INDEX_SHARDS"));
    // Reading shards that are not there finds nothing and costs little; missing one would hide tasks.
    Ok(shards.and_then(|shards| shards.parse().ok()).unwrap_or(SHARDS_MAX))
}

/// Which tasks are looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub ids: BTreeSet<String>,
    /// All tasks of these owners that were made from `since_ms` on: an owner may have had others long before.
    pub owners: BTreeSet<String>,
    pub since_ms: u64,
}

impl Wanted {
    pub fn names(&self, task_id: &str, owner: &str, created_at_ms: u64) -> bool {
        self.ids.contains(task_id) || (self.owners.contains(owner) && created_at_ms >= self.since_ms)
    }
}

/// Every record that is wanted, once. By key the read is consistent.
pub async fn each_record<E: From<CallError>>(
    cloud: &Cloud,
    table: &str,
    wanted: Wanted,
    shards: u16,
    mut see: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let mut ids = wanted.ids;
    for owner in &wanted.owners {
        for shard in 0..shards {
            ids.extend(ids_of(cloud, table, &format!("{owner}#{shard}"), wanted.since_ms).await?);
        }
    }
    let ids: Vec<String> = ids.into_iter().collect();
    for keys in ids.chunks(KEYS_MAX) {
        for item in get(cloud, table, keys).await? {
            see(record(&item)?)?;
        }
    }
    Ok(())
}

async fn ids_of(
    cloud: &Cloud,
    table: &str,
    owner_shard: &str,
    since_ms: u64,
) -> Result<Vec<String>, CallError> {
    let mut pages = cloud
        .dynamodb
        .query()
        .table_name(table)
        .index_name(OWNER_INDEX)
        .key_condition_expression("owner_shard = :owner_shard AND owner_sort >= :since")
        .expression_attribute_values(":owner_shard", AttributeValue::S(owner_shard.to_owned()))
        .expression_attribute_values(":since", AttributeValue::S(first_sort(since_ms)))
        .projection_expression("task_id")
        .into_paginator()
        .items()
        .send();
    let mut ids = Vec::new();
    while let Some(item) = pages.next().await {
        let item = item.map_err(CallError::of("dynamodb:Query"))?;
        ids.extend(item.get("task_id").and_then(|id| id.as_s().ok()).cloned());
    }
    Ok(ids)
}

/// Below the `owner_sort` of every task of this moment or later.
fn first_sort(since_ms: u64) -> String {
    format!("{since_ms:013}")
}

async fn get(cloud: &Cloud, table: &str, keys: &[String]) -> Result<Vec<Item>, CallError> {
    let operation = "dynamodb:BatchGetItem";
    let keys = keys.iter().map(|id| HashMap::from([("task_id".to_owned(), AttributeValue::S(id.clone()))]));
    let request = KeysAndAttributes::builder().set_keys(Some(keys.collect())).consistent_read(true).build();
    let mut open = HashMap::from([(table.to_owned(), request.map_err(CallError::of(operation))?)]);
    let mut items = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let call = cloud.dynamodb.batch_get_item().set_request_items(Some(open));
        let found = call.send().await.map_err(CallError::of(operation))?;
        items.extend(found.responses.unwrap_or_default().into_values().flatten());
        open = found.unprocessed_keys.unwrap_or_default();
        if open.is_empty() {
            return Ok(items);
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
    Err(CallError::new(operation, "the table kept leaving keys unprocessed"))
}

fn record(item: &Item) -> Result<Record, CallError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let number = |name: &str| {
        let value = item.get(name).and_then(|value| value.as_n().ok());
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    };
    let task_id = text("task_id");
    let status: TaskStatus = serde_json::from_value(Value::String(text("status"))).map_err(|_| {
        CallError::new("dynamodb:BatchGetItem", format!("task {task_id} has the status {:?}", text("status")))
    })?;
    let history = item.get("history").and_then(|value| value.as_l().ok());
    let history = history.into_iter().flatten().filter_map(|line| line.as_s().ok().cloned()).collect();
    Ok(Record {
        owner: text("owner"),
        kind: text("kind"),
        payload: serde_json::from_str(&text("payload")).unwrap_or(Value::Null),
        status,
        version: number("version"),
        attempts: number("attempts"),
        deliveries: number("deliveries"),
        completions: number("completions"),
        created_at_ms: number("created_at_ms"),
        updated_at_ms: number("updated_at_ms"),
        request_hash: text("request_hash"),
        history,
        task_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_read_from_a_moment_on() {
        let sort = |at_ms: u64| format!("{at_ms:013}#0193e0a4-7c1e-5b6f-8a9d-000000000001");
        for (at_ms, since_ms, is_read) in [
            (1_700_000_000_000, 1_700_000_000_000, true),
            (1_700_000_000_001, 1_700_000_000_000, true),
            (1_699_999_999_999, 1_700_000_000_000, false),
            (999, 0, true),
            (999, 1_000, false),
        ] {
            assert_eq!(sort(at_ms) >= first_sort(since_ms), is_read, "{at_ms} since {since_ms}");
        }
    }

    #[test]
    fn of_an_owner_only_what_was_made_since_is_wanted_and_a_task_that_was_asked_for_always() {
        let wanted =
            Wanted { ids: ["asked".into()].into(), owners: ["somebody".into()].into(), since_ms: 1_000 };
        assert!(wanted.names("other", "somebody", 1_000));
        assert!(!wanted.names("other", "somebody", 999));
        assert!(!wanted.names("other", "somebody-else", 1_000));
        assert!(wanted.names("asked", "somebody", 999));
    }
}
