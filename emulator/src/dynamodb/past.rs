//! Eventually consistent reads that really are late: an adversary answers with what was true a moment ago.
//!
//! Only with an adversary is the past remembered at all. A late GetItem answers with the item as it was before its last
//! write; a late Query or Scan does not yet show items that were just put. Batches and transactions of reads are never late.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::Account;
use super::decode::decode;
use crate::adversary::{Act, STALE_MS_MAX};

/// Writes that are remembered at most; the oldest is forgotten first.
const WRITES_MAX: usize = 10_000;

/// The operations whose items are remembered.
const WRITES: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];

/// Recent writes, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Past {
    writes: Mutex<VecDeque<Arc<Write>>>,
    /// The names of the key attributes, by table: asked of the engine once.
    keys: Mutex<HashMap<String, Vec<String>>>,
}

#[derive(Debug)]
struct Write {
    at_ms: i64,
    table: String,
    key: Map<String, Value>,
    /// What GetItem answered before it; None where the item did not exist.
    before: Option<Value>,
}

impl Account {
    /// Notes what the items of a write are before it.
    pub(super) fn remember(&self, operation: &str, body: &str) {
        if !self.settings.adversary.is_on() {
            return;
        }
        if matches!(operation, "CreateTable" | "DeleteTable") {
            self.past.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        if !WRITES.contains(&operation) {
            return;
        }
        let Ok(request) = serde_json::from_str::<Value>(body) else { return };
        let now_ms = self.settings.clock.now_ms();
        for (table, item) in written(operation, &request) {
            let Some(key) = self.key_of(table, item) else { continue };
            let before = self.item(table, &key);
            self.past.add(Arc::new(Write { at_ms: now_ms, table: table.to_owned(), key, before }));
        }
    }

    /// The key attributes of an item or key; None where the table or one of them is missing.
    fn key_of(&self, table: &str, item: &Value) -> Option<Map<String, Value>> {
        let mut keys = self.past.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains_key(table) {
            let schema = self.outline(table).ok()?.key_schema;
            let names = schema.into_iter().map(|element| element.attribute_name).collect();
            keys.insert(table.to_owned(), names);
        }
        keys[table].iter().map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
    }

    fn item(&self, table: &str, key: &Map<String, Value>) -> Option<Value> {
        let request = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
        let request = decode("GetItem", &request.to_string()).ok()?;
        let answer = serde_json::to_value(self.database.get_item(request).ok()?).ok()?;
        answer.get("Item").cloned()
    }

    /// The answer to a read, or an older one where AWS might give it and the adversary does.
    pub(super) fn look_back(
        &self,
        operation: &str,
        body: &str,
        answer: Result<String, super::answer::Failure>,
    ) -> Result<String, super::answer::Failure> {
        let answer = answer?;
        if !self.settings.adversary.is_on() || !matches!(operation, "GetItem" | "Query" | "Scan") {
            return Ok(answer);
        }
        Ok(self.older(operation, body, &answer).unwrap_or(answer))
    }

    fn older(&self, operation: &str, body: &str, answer: &str) -> Option<String> {
        let request: Value = serde_json::from_str(body).ok()?;
        let is_plain = request["ConsistentRead"] != true
            && shaped(operation).iter().all(|name| request.get(name).is_none());
        let table = request["TableName"].as_str()?;
        let recent = is_plain.then(|| self.past.of_table(table, self.settings.clock.now_ms()))?;
        let strikes = || self.settings.adversary.strikes(Act::StaleRead).is_some();
        if operation == "GetItem" {
            let wanted = request["Key"].as_object()?;
            // The oldest of them: a replica may be behind by more than one write.
            let write = recent.into_iter().find(|write| write.key == *wanted)?;
            return strikes().then(|| match &write.before {
                Some(item) => json!({ "Item": item }).to_string(),
                None => json!({}).to_string(),
            });
        }
        let mut shown: Value = serde_json::from_str(answer).ok()?;
        let items = shown["Items"].as_array_mut()?;
        let is_new = |item: &Value| {
            let is_of =
                |write: &&Arc<Write>| write.key.iter().all(|(name, value)| item.get(name) == Some(value));
            recent.iter().find(is_of).is_some_and(|write| write.before.is_none())
        };
        if !items.iter().any(is_new) || !strikes() {
            return None;
        }
        items.retain(|item| !is_new(item));
        let left = items.len();
        shown["Count"] = json!(left);
        Some(shown.to_string())
    }
}

/// What makes of an item something else than was written. A page only leaves items out: it is told apart by the keys of what it
/// shows, and one without them is shown as it is.
fn shaped(operation: &str) -> &'static [&'static str] {
    match operation {
        "GetItem" => &["ProjectionExpression", "AttributesToGet", "ReturnConsumedCapacity"],
        _ => &["ReturnConsumedCapacity"],
    }
}

/// Table and item (or key) of everything that a request writes.
fn written<'a>(operation: &str, request: &'a Value) -> Vec<(&'a str, &'a Value)> {
    let one = |write: &'a Value| {
        let item = write.get("Item").or_else(|| write.get("Key"))?;
        Some((write["TableName"].as_str()?, item))
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => one(request).into_iter().collect(),
        "TransactWriteItems" => {
            let writes = request["TransactItems"].as_array().into_iter().flatten();
            let members = writes.filter_map(Value::as_object).flat_map(Map::iter);
            members
                .filter(|(kind, _)| *kind != "ConditionCheck")
                .filter_map(|(_, write)| one(write))
                .collect()
        }
        _ => Vec::new(),
    }
}

impl Past {
    fn add(&self, write: Arc<Write>) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        while writes.front().is_some_and(|old| write.at_ms - old.at_ms > STALE_MS_MAX)
            || writes.len() >= WRITES_MAX
        {
            writes.pop_front();
        }
        writes.push_back(write);
    }

    fn of_table(&self, table: &str, now_ms: i64) -> Vec<Arc<Write>> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |write: &&Arc<Write>| now_ms - write.at_ms <= STALE_MS_MAX && write.table == table;
        writes.iter().filter(recent).cloned().collect()
    }
}
