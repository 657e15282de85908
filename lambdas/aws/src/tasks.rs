//! The table of tasks.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Select};
use futures_util::future::try_join_all;
use task_core::error::PortError;
use task_core::limits;
use task_core::list::SortKey;
use task_core::ports::{Created, Extended, OpenTasks, OwnerIndex, ShardPage, ShardQuery, Swapped, TaskStore};
use task_core::record::{Mover, TaskRecord};
use task_core::state::Lease;
use task_core::wire::Status;
use task_core::{LeaseToken, Owner, TaskId};

use crate::item::{Item, SHOWN, from_item, owner_shard, result_text, shown_from_item, to_item};
use crate::sdk::port_error;

const OWNER_INDEX: &str = "owner-index";

#[derive(Clone, Debug)]
pub struct DynamoTasks {
    client: Client,
    table: String,
    shards: u16,
}

impl DynamoTasks {
    pub fn new(client: Client, table: impl Into<String>, shards: u16) -> Self {
        Self { client, table: table.into(), shards }
    }

    /// For a function that reads by id and never writes.
    pub fn reader(client: Client, table: impl Into<String>) -> Self {
        Self::new(client, table, 1)
    }
}

/// An update expression, grown attribute by attribute. Every name goes through `#`: DynamoDB reserves `owner`, `status`,
/// `result` and hundreds more.
#[derive(Debug, Default)]
struct Update {
    set: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Update {
    fn name(&mut self, name: &str) -> String {
        let placeholder = placeholder(name);
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn set(&mut self, name: &str, value: AttributeValue) {
        let placeholder = self.name(name);
        self.set.push(format!("{placeholder} = :{name}"));
        self.values.insert(format!(":{name}"), value);
    }

    fn set_or_remove(&mut self, name: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(name, value),
            None => {
                let placeholder = self.name(name);
                self.remove.push(placeholder);
            }
        }
    }

    fn append(&mut self, name: &str, entries: Vec<AttributeValue>) {
        let placeholder = self.name(name);
        self.set.push(format!("{placeholder} = list_append({placeholder}, :{name})"));
        self.values.insert(format!(":{name}"), AttributeValue::L(entries));
    }

    fn only_if(&mut self, name: &str, value: AttributeValue) {
        let placeholder = self.name(name);
        self.conditions.push(format!("{placeholder} = :if_{name}"));
        self.values.insert(format!(":if_{name}"), value);
    }

    fn only_if_absent(&mut self, name: &str) {
        let placeholder = self.name(name);
        self.conditions.push(format!("attribute_not_exists({placeholder})"));
    }

    fn expression(&self) -> String {
        let mut expression = format!("SET {}", self.set.join(", "));
        if !self.remove.is_empty() {
            expression.push_str(" REMOVE ");
            expression.push_str(&self.remove.join(", "));
        }
        expression
    }
}

fn placeholder(name: &str) -> String {
    format!("#{name}")
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// The one conditional update behind every move. The version fences against every other move, the lease token against a
/// worker that was taken over, hash and moment against another request under the same idempotency key.
fn update_of(before: &TaskRecord, after: &TaskRecord, mover: Mover) -> Update {
    let mut update = Update::default();
    update.only_if("version", number(before.version));
    update.only_if("request_hash", string(&before.request_hash));
    update.only_if("created_at_ms", number(before.created_at.0));
    match before.state.lease() {
        Some(lease) => update.only_if("lease_token", string(lease.token)),
        None => update.only_if_absent("lease_token"),
    }
    if let Some(taken_over) = before.lease_taken_over_by(mover) {
        update.only_if("lease_until_ms", number(taken_over.until.0));
    }
    update.set("status", string(after.state.status()));
    update.set("version", number(after.version));
    update.set("attempts", number(after.attempts));
    update.set("completions", number(after.completions));
    update.set("updated_at_ms", number(after.updated_at.0));
    update.set("expires_at_seconds", number(after.expires_at().as_seconds()));
    if after.deliveries != before.deliveries {
        update.set("deliveries", number(after.deliveries));
    }
    let lease = after.state.lease();
    update.set_or_remove("lease_token", lease.map(|lease| string(lease.token)));
    update.set_or_remove("lease_until_ms", lease.map(|lease| number(lease.until.0)));
    update.set_or_remove("result", result_text(&after.state).map(AttributeValue::S));
    update.set_or_remove("error_type", after.error.as_ref().map(|error| string(&error.kind)));
    update.set_or_remove("error_message", after.error.as_ref().map(|error| string(&error.message)));
    if let Some(entries @ [_, ..]) = after.history.get(before.history.len()..) {
        update.append("history", entries.iter().map(string).collect());
    }
    update
}

impl TaskStore for DynamoTasks {
    async fn get(&self, id: TaskId) -> Result<Option<TaskRecord>, PortError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("task_id", string(id))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| port_error("GetItem tasks", &error))?;
        output.item.map(from_item).transpose()
    }

    async fn create(&self, record: &TaskRecord) -> Result<Created, PortError> {
        let outcome = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(record, self.shards)?))
            .condition_expression("attribute_not_exists(task_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Created::New),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => match failed.item.clone() {
                    Some(item) => Ok(Created::Exists(Box::new(from_item(item)?))),
                    // Expired and deleted between the check and the answer.
                    None => Err(port_error("PutItem tasks", &error)),
                },
                _ => Err(port_error("PutItem tasks", &error)),
            },
        }
    }

    async fn swap(
        &self,
        before: &TaskRecord,
        after: &TaskRecord,
        mover: Mover,
    ) -> Result<Swapped, PortError> {
        let update = update_of(before, after, mover);
        let outcome = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("task_id", string(before.id))
            .update_expression(update.expression())
            .condition_expression(update.conditions.join(" AND "))
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Swapped::Done),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let stored = failed.item.clone().map(from_item).transpose()?;
                    Ok(Swapped::Conflict(stored.map(Box::new)))
                }
                _ => Err(port_error("UpdateItem tasks", &error)),
            },
        }
    }

    async fn extend(&self, id: TaskId, lease: Lease) -> Result<Extended, PortError> {
        let outcome = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("task_id", string(id))
            .update_expression("SET lease_until_ms = :until")
            // The end of an attempt removes the token, and a takeover replaces it. An attempt of this call that comes late
            // must not take back what a later heartbeat has gained.
            .condition_expression("lease_token = :token AND lease_until_ms <= :until")
            .expression_attribute_values(":until", number(lease.until.0))
            .expression_attribute_values(":token", string(lease.token))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Extended::Yes),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(if is_held(failed.item.as_ref(), lease.token) {
                        Extended::Yes
                    } else {
                        Extended::Lost
                    })
                }
                _ => Err(port_error("UpdateItem lease", &error)),
            },
        }
    }

    async fn saw_delivery(&self, id: TaskId, receive_count: u32) -> Result<(), PortError> {
        let outcome = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("task_id", string(id))
            .update_expression("SET deliveries = :seen")
            .condition_expression("deliveries < :seen")
            .expression_attribute_values(":seen", number(receive_count))
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // A later receive was counted before.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(port_error("UpdateItem deliveries", &error)),
            },
        }
    }
}

/// Whether the lease of the stored item still has this token: then it already ends later than was asked for.
fn is_held(stored: Option<&Item>, token: LeaseToken) -> bool {
    let stored = stored.and_then(|item| item.get("lease_token")?.as_s().ok());
    stored.is_some_and(|stored| *stored == token.to_string())
}

impl OwnerIndex for DynamoTasks {
    async fn shard(&self, query: ShardQuery<'_>) -> Result<ShardPage, PortError> {
        // A filter is applied after the limit, so that a filtered query must be allowed to examine more.
        let limit = if query.status.is_some() {
            i32::try_from(limits::PAGE_ITEMS_EXAMINED_MAX).unwrap_or(i32::MAX)
        } else {
            i32::from(query.limit)
        };
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OWNER_INDEX)
            .key_condition_expression("owner_shard = :shard AND owner_sort < :before")
            .projection_expression(SHOWN.map(placeholder).join(", "))
            .set_expression_attribute_names(Some(
                SHOWN.map(|name| (placeholder(name), name.to_owned())).into(),
            ))
            .expression_attribute_values(":shard", string(owner_shard(query.owner, query.shard)))
            .expression_attribute_values(":before", query.before.map_or_else(past_every_key, string))
            .scan_index_forward(false)
            .limit(limit);
        if let Some(status) = query.status {
            request = request
                .filter_expression("#status = :status")
                .expression_attribute_values(":status", string(status));
        }
        let output = request.send().await.map_err(|error| port_error("Query owner-index", &error))?;
        let stopped_at = output
            .last_evaluated_key
            .as_ref()
            .and_then(|key| key.get("owner_sort")?.as_s().ok()?.parse::<SortKey>().ok());
        let items = output.items.unwrap_or_default().into_iter();
        Ok(ShardPage { tasks: items.map(shown_from_item).collect::<Result<_, _>>()?, stopped_at })
    }
}

/// A count's way through one shard, newest first.
struct Walk {
    shard: u16,
    /// Where the next page begins.
    after: Option<Item>,
    /// Of what was seen so far.
    is_all_open: bool,
}

/// What a step of a walk has found, and where it goes on.
struct Step {
    open: u32,
    on: Option<Walk>,
}

impl OpenTasks for DynamoTasks {
    /// A page of each shard at a time, newest first, since what is open is nearly always new. Where too little of it comes, no more
    /// is read, so that an owner whose tasks end in time costs no walk through their history. Pages full of nothing else, as
    /// many as one count may read, are enough, whatever their number: they are a flood.
    async fn open(&self, owner: &Owner, enough: u32) -> Result<u32, PortError> {
        let mut walks: Vec<_> =
            (0..self.shards).map(|shard| Walk { shard, after: None, is_all_open: true }).collect();
        let mut counted = 0_u32;
        for pages_left in (0..limits::COUNT_PAGES_MAX).rev() {
            let steps = try_join_all(walks.into_iter().map(|walk| self.step(owner, walk))).await?;
            let open = steps.iter().map(|step| step.open).fold(0, u32::saturating_add);
            counted = counted.saturating_add(open);
            walks = steps.into_iter().filter_map(|step| step.on).collect();
            if counted >= enough {
                return Ok(counted);
            }
            let in_sight = u64::from(counted) + u64::from(open) * u64::from(pages_left);
            if in_sight * limits::COUNT_MARGIN < u64::from(enough) {
                walks.retain(|walk| walk.is_all_open);
            }
            if walks.is_empty() {
                return Ok(counted);
            }
        }
        let is_flood = walks.iter().any(|walk| walk.is_all_open);
        Ok(if is_flood { enough } else { counted })
    }
}

impl DynamoTasks {
    async fn step(&self, owner: &Owner, walk: Walk) -> Result<Step, PortError> {
        let Walk { shard, after, is_all_open } = walk;
        let is_first = after.is_none();
        let page = match self.open_page(owner, shard, after).await {
            Ok(page) => page,
            // What was counted before is open all the same.
            Err(_) if !is_first => return Ok(Step { open: 0, on: None }),
            Err(error) => return Err(error),
        };
        let is_all_open = is_all_open && page.count == page.scanned_count;
        // Behind a page without an open one there is only history.
        let after = page.last_evaluated_key.filter(|_| page.count > 0);
        let on = after.map(|after| Walk { shard, after: Some(after), is_all_open });
        Ok(Step { open: u32::try_from(page.count).unwrap_or_default(), on })
    }

    /// One page of a shard's open tasks, of which only the number is read.
    async fn open_page(
        &self,
        owner: &Owner,
        shard: u16,
        after: Option<Item>,
    ) -> Result<QueryOutput, PortError> {
        self.client
            .query()
            .table_name(&self.table)
            .index_name(OWNER_INDEX)
            .select(Select::Count)
            .key_condition_expression("owner_shard = :shard")
            .filter_expression("#status IN (:queued, :running)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":shard", string(owner_shard(owner, shard)))
            .expression_attribute_values(":queued", string(Status::Queued))
            .expression_attribute_values(":running", string(Status::Running))
            .scan_index_forward(false)
            .limit(i32::from(limits::COUNT_ITEMS_EXAMINED_MAX))
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(|error| port_error("Query open tasks", &error))
    }
}

/// Greater than every `owner_sort`, which begins with a digit.
fn past_every_key() -> AttributeValue {
    AttributeValue::S(":".to_owned())
}
