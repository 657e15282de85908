//! The tasks table, read as an outsider: by key, and by the owner index.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use loadtest::TaskStatus;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::cloud::{CallError, Cloud};
use crate::oracle::Record;

const OWNER_INDEX: &str = "owner-index";
/// DynamoDB reads at most so many keys at once.
const KEYS_MAX: usize = 100;
/// What DynamoDB leaves unprocessed, which is how it throttles a batch, is asked for again after a pause that grows.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A table that processed no key for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(60);
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
    let key = |id: &String| HashMap::from([("task_id".to_owned(), AttributeValue::S(id.clone()))]);
    let mut open: Vec<Item> = keys.iter().map(key).collect();
    let (mut items, mut size) = (Vec::new(), KEYS_MAX);
    let (mut pause, mut progress) = (PAUSE_MIN, Instant::now());
    while !open.is_empty() {
        let later = open.split_off(open.len().min(size));
        let asked = open.len();
        let (found, left) = batch(cloud, table, open).await?;
        items.extend(found);
        let is_throttled = !left.is_empty();
        if left.len() < asked {
            (pause, progress) = (PAUSE_MIN, Instant::now());
        } else if progress.elapsed() >= STALLED_AFTER {
            let detail = format!("the table processed no key for {} s", STALLED_AFTER.as_secs());
            return Err(CallError::new("dynamodb:BatchGetItem", detail));
        }
        open = left.into_iter().chain(later).collect();
        if is_throttled {
            size = (asked / 2).max(1);
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        } else {
            size = KEYS_MAX.min(size * 2);
        }
    }
    Ok(items)
}

/// What one call gave, and the keys that it left unprocessed: all of them, where the table had no capacity for any.
async fn batch(cloud: &Cloud, table: &str, keys: Vec<Item>) -> Result<(Vec<Item>, Vec<Item>), CallError> {
    let operation = "dynamodb:BatchGetItem";
    let request = KeysAndAttributes::builder().set_keys(Some(keys.clone())).consistent_read(true).build();
    let request = request.map_err(CallError::of(operation))?;
    let found = match cloud.dynamodb.batch_get_item().request_items(table, request).send().await {
        Ok(found) => found,
        Err(error) if error.as_service_error().is_some_and(is_throttling) => return Ok((Vec::new(), keys)),
        Err(error) => return Err(CallError::of(operation)(error)),
    };
    let items = found.responses.unwrap_or_default().into_values().flatten().collect();
    let left = found.unprocessed_keys.unwrap_or_default().into_values();
    Ok((items, left.flat_map(|request| request.keys).collect()))
}

fn is_throttling(error: &BatchGetItemError) -> bool {
    error.is_provisioned_throughput_exceeded_exception() || error.is_throttling_exception()
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
    use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
    use aws_sdk_dynamodb::types::error::ProvisionedThroughputExceededException;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::mocked;

    /// A table that refuses every batch for so long, and then processes so many keys of each.
    async fn cloud(refusing: Duration, processed: usize) -> Cloud {
        let began = Instant::now();
        let rules = [
            mock!(aws_sdk_dynamodb::Client::batch_get_item)
                .match_requests(move |_| began.elapsed() < refusing)
                .then_error(|| {
                    let error = ProvisionedThroughputExceededException::builder().build();
                    BatchGetItemError::ProvisionedThroughputExceededException(error)
                }),
            mock!(aws_sdk_dynamodb::Client::batch_get_item).then_compute_output(move |input| {
                let mut keys = input.request_items().unwrap()["tasks"].keys().to_vec();
                let left = keys.split_off(keys.len().min(processed));
                let output = BatchGetItemOutput::builder().responses("tasks", keys);
                if left.is_empty() {
                    return output.build();
                }
                let left = KeysAndAttributes::builder().set_keys(Some(left)).build().unwrap();
                output.unprocessed_keys("tasks", left).build()
            }),
        ];
        Cloud { dynamodb: mocked::dynamodb(&rules), ..mocked::cloud().await }
    }

    /// How many of a hundred are read, each counted once.
    async fn read(refusing: Duration, processed: usize) -> Result<usize, CallError> {
        let ids: Vec<String> = (0..KEYS_MAX).map(|number| number.to_string()).collect();
        let items = get(&cloud(refusing, processed).await, "tasks", &ids).await?;
        let found: BTreeSet<&String> =
            items.iter().filter_map(|item| item.get("task_id")?.as_s().ok()).collect();
        assert_eq!(found.len(), items.len());
        Ok(found.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_of_little_capacity_is_read_to_the_end_as_long_as_it_goes_on() {
        for processed in [1, 5, 99, 100] {
            assert_eq!(read(Duration::ZERO, processed).await.unwrap(), KEYS_MAX, "{processed}");
        }
        assert_eq!(read(STALLED_AFTER / 2, 5).await.unwrap(), KEYS_MAX);
        let error = read(STALLED_AFTER * 10, 5).await.unwrap_err().to_string();
        assert!(error.contains("processed no key for 60 s"), "{error}");
    }

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
