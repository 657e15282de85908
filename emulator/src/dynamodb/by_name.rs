//! Calls that name tables by their ARNs. Behind this a table has nothing but its name, and the answer names it as the caller did.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::answer::Failure;
use super::names::Names;

/// Members of an answer that have a member for each table.
const BY_TABLE: [&str; 4] = ["Responses", "UnprocessedKeys", "UnprocessedItems", "ItemCollectionMetrics"];

/// A call that names its tables by name.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) body: Cow<'a, str>,
    /// The tables for which the caller wrote their ARNs.
    by_arn: BTreeSet<String>,
}

impl<'a> Call<'a> {
    /// # Errors
    /// When a batch names a table in both ways.
    pub(super) fn read(operation: &str, body: &'a str, names: &Names) -> Result<Self, Failure> {
        let as_it_is = Self { body: Cow::Borrowed(body), by_arn: BTreeSet::new() };
        // The one call with a TableName that is no ARN on AWS either.
        if operation == "ListStreams" || !names.has_arn(body) {
            return Ok(as_it_is);
        }
        let mut renaming = Renaming { names, by_arn: BTreeSet::new(), twice: None };
        let Some(renamed) = renaming.structure(body, Renaming::member_of_call) else { return Ok(as_it_is) };
        if let Some(table) = renaming.twice {
            return Err(Failure::invalid_value(format_args!("The table {table} is named twice")));
        }
        if renaming.by_arn.is_empty() {
            return Ok(as_it_is);
        }
        Ok(Self { body: Cow::Owned(renamed.get().to_owned()), by_arn: renaming.by_arn })
    }

    /// "If you had specified the Amazon Resource Name (ARN) of a table in the input, you'll see the table ARN in the response."
    pub(super) fn answered(&self, answer: String, names: &Names) -> String {
        if self.by_arn.is_empty() {
            return answer;
        }
        let Ok(mut shown) = serde_json::from_str::<Value>(&answer) else { return answer };
        for member in BY_TABLE {
            let Some(tables) = shown.get_mut(member).and_then(Value::as_object_mut) else { continue };
            for table in &self.by_arn {
                if let Some(of_table) = tables.remove(table) {
                    tables.insert(names.table_arn(table), of_table);
                }
            }
        }
        let bills: &mut [Value] = match shown.get_mut("ConsumedCapacity") {
            None => &mut [],
            Some(Value::Array(bills)) => bills,
            Some(bill) => std::slice::from_mut(bill),
        };
        for bill in bills {
            let table = bill["TableName"].as_str().filter(|table| self.by_arn.contains(*table));
            if let Some(arn) = table.map(|table| names.table_arn(table)) {
                bill["TableName"] = arn.into();
            }
        }
        shown.to_string()
    }
}

/// Puts names in the place of ARNs, where a table is named and nowhere else: an attribute may have an ARN for its value.
struct Renaming<'a> {
    names: &'a Names,
    by_arn: BTreeSet<String>,
    /// A table that a batch names by its name as well.
    twice: Option<String>,
}

impl Renaming<'_> {
    /// None for what is no structure: whoever reads it next refuses it.
    fn structure(
        &mut self,
        json: &str,
        rename: fn(&mut Self, &str, &RawValue) -> Option<Box<RawValue>>,
    ) -> Option<Box<RawValue>> {
        let mut members = Members::read(json)?;
        for (name, value) in &mut members.0 {
            if let Some(renamed) = rename(self, name, value) {
                *value = renamed;
            }
        }
        to_raw_value(&members).ok()
    }

    fn member_of_call(&mut self, name: &str, value: &RawValue) -> Option<Box<RawValue>> {
        match name {
            "TableName" => self.table_name(value),
            "RequestItems" => self.request_items(value),
            "TransactItems" => self.transact_items(value),
            _ => None,
        }
    }

    /// There is no call in an action, however deep a body is.
    fn member_of_action(&mut self, name: &str, value: &RawValue) -> Option<Box<RawValue>> {
        if name == "TableName" { self.table_name(value) } else { None }
    }

    fn name(&mut self, arn: &str) -> Option<String> {
        let table = self.names.table_of_arn(arn)?.to_owned();
        self.by_arn.insert(table.clone());
        Some(table)
    }

    fn table_name(&mut self, value: &RawValue) -> Option<Box<RawValue>> {
        let arn: String = serde_json::from_str(value.get()).ok()?;
        to_raw_value(&self.name(&arn)?).ok()
    }

    fn request_items(&mut self, value: &RawValue) -> Option<Box<RawValue>> {
        let mut tables = Members::read(value.get())?;
        let mut seen = BTreeSet::new();
        for (name, _) in &mut tables.0 {
            if let Some(table) = self.name(name) {
                *name = table;
            }
            if !seen.insert(name.clone()) && self.by_arn.contains(name.as_str()) {
                self.twice = Some(name.clone());
            }
        }
        to_raw_value(&tables).ok()
    }

    /// Each is a structure of one action or several, each of which names its table.
    fn transact_items(&mut self, value: &RawValue) -> Option<Box<RawValue>> {
        let mut items: Vec<Box<RawValue>> = serde_json::from_str(value.get()).ok()?;
        for item in &mut items {
            let mut actions = Members::read(item.get())?;
            for (_, action) in &mut actions.0 {
                if let Some(renamed) = self.structure(action.get(), Self::member_of_action) {
                    *action = renamed;
                }
            }
            *item = to_raw_value(&actions).ok()?;
        }
        to_raw_value(&items).ok()
    }
}

/// The members of a structure as they are, also those that come twice: whoever reads the call refuses them.
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfStructure)
    }
}

struct OfStructure;

impl<'de> Visitor<'de> for OfStructure {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a structure")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Members(all))
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            members.serialize_entry(name, value)?;
        }
        members.end()
    }
}
