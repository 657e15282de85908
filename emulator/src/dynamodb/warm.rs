//! Warm throughput: what a table or an index serves at once.

use std::collections::HashMap;

use dynoxide::DynoxideError;
use dynoxide::actions::TableDescription;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Failure;
use super::described::{has_index, index_requests, indexes_mut, is_shown_on_demand};

/// What AWS gives an on-demand table or index that asks for nothing else.
const ON_DEMAND: Units = Units { read: Some(12_000), write: Some(4_000) };

/// What was asked for, of a table and of its global secondary indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Warm {
    table: Option<Units>,
    indexes: HashMap<String, Units>,
}

/// Per second; either may be left out of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Units {
    #[serde(rename = "ReadUnitsPerSecond")]
    read: Option<u64>,
    #[serde(rename = "WriteUnitsPerSecond")]
    write: Option<u64>,
}

/// Units a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) read: f64,
    pub(super) write: f64,
}

impl Units {
    fn asked(request: Option<&Value>) -> Result<Option<Self>, Failure> {
        let Some(asked) = request.filter(|value| !value.is_null()) else { return Ok(None) };
        let units = Self::deserialize(asked)
            .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
        Ok(Some(units))
    }

    fn or(self, other: Self) -> Self {
        Self { read: self.read.or(other.read), write: self.write.or(other.write) }
    }

    fn at_least(self, other: Self) -> Self {
        Self { read: self.read.max(other.read), write: self.write.max(other.write) }
    }
}

impl Warm {
    /// What a request asks for.
    pub(super) fn asked(request: &Value) -> Result<Self, Failure> {
        let mut indexes = HashMap::new();
        for (name, index) in index_requests(request) {
            if let Some(units) = Units::asked(index.get("WarmThroughput"))? {
                indexes.insert(name.to_owned(), units);
            }
        }
        Ok(Self { table: Units::asked(request.get("WarmThroughput"))?, indexes })
    }

    /// With what is asked for now, and without the indexes that the table no longer has.
    pub(super) fn changed(mut self, asked: Self, table: &TableDescription) -> Self {
        if let Some(units) = asked.table {
            self.table = Some(units.or(self.table.unwrap_or_default()));
        }
        for (name, units) in asked.indexes {
            let before = self.indexes.get(&name).copied().unwrap_or_default();
            self.indexes.insert(name, units.or(before));
        }
        self.indexes.retain(|name, _| has_index(table, name));
        self
    }

    /// What a table, or that index of it, serves on demand from the beginning.
    pub(super) fn served_on_demand(&self, index: Option<&str>) -> Served {
        let asked = index.map_or(self.table, |name| self.indexes.get(name).copied());
        let Units { read, write } = asked.unwrap_or_default().at_least(ON_DEMAND);
        Served { read: per_second(read), write: per_second(write) }
    }

    /// Writes `WarmThroughput` into the description of a table. The answer to CreateTable has only what was asked for,
    /// which is still on its way.
    pub(super) fn show(&self, table: &mut Map<String, Value>, is_new: bool) {
        let on_demand = is_shown_on_demand(table);
        for index in indexes_mut(table) {
            let name = index.get("IndexName").and_then(Value::as_str).unwrap_or_default();
            let asked = self.indexes.get(name).copied();
            describe(index, asked, on_demand, is_new);
        }
        describe(table, self.table, on_demand, is_new);
    }
}

#[expect(clippy::cast_precision_loss, reason = "capacities are far below 2^53 units")]
fn per_second(units: Option<u64>) -> f64 {
    units.unwrap_or_default() as f64
}

/// At least what the mode gives: of a provisioned table or index, its provisioned throughput.
fn describe(place: &mut Map<String, Value>, asked: Option<Units>, on_demand: bool, is_new: bool) {
    if is_new && asked.is_none() {
        return;
    }
    let provisioned = |name: &str| place.get("ProvisionedThroughput")?.get(name)?.as_u64();
    let given = if on_demand {
        ON_DEMAND
    } else {
        Units { read: provisioned("ReadCapacityUnits"), write: provisioned("WriteCapacityUnits") }
    };
    let units = asked.unwrap_or_default().at_least(given);
    let warm = json!({
        "ReadUnitsPerSecond": units.read.unwrap_or_default(),
        "WriteUnitsPerSecond": units.write.unwrap_or_default(),
        "Status": if is_new { "UPDATING" } else { "ACTIVE" },
    });
    place.insert("WarmThroughput".to_owned(), warm);
}
