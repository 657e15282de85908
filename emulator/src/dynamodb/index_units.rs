//! Provisioned throughput of global secondary indexes. The engine keeps only what a table was made with.

use std::collections::HashMap;

use dynoxide::actions::TableDescription;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Failure;
use super::described::{has_index, index_requests, is_on_demand};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Units {
    read_capacity_units: u64,
    write_capacity_units: u64,
}

/// By name of the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct IndexUnits(HashMap<String, Units>);

impl IndexUnits {
    /// What a request asks for. What cannot be read the engine refuses.
    pub(super) fn asked(request: &Value) -> Self {
        let units = |index: &Value| Units::deserialize(index.get("ProvisionedThroughput")?).ok();
        Self(
            index_requests(request)
                .filter_map(|(name, index)| Some((name.to_owned(), units(index)?)))
                .collect(),
        )
    }

    /// # Errors
    /// When a table that is on demand gets provisioned throughput and one of its indexes none.
    pub(super) fn check_all_of(&self, table: &TableDescription) -> Result<(), Failure> {
        let mut indexes = table.global_secondary_indexes.iter().flatten();
        match indexes.find(|index| !self.0.contains_key(&index.index_name)) {
            None => Ok(()),
            Some(index) => Err(Failure::invalid_value(format_args!(
                "ProvisionedThroughput must be specified for index: {}",
                index.index_name
            ))),
        }
    }

    /// With what is asked for now, and without what the table no longer has.
    pub(super) fn changed(mut self, asked: Self, table: &TableDescription) -> Self {
        self.0.extend(asked.0);
        let on_demand = is_on_demand(table);
        self.0.retain(|name, _| !on_demand && has_index(table, name));
        self
    }

    /// None of a table that is on demand, which the engine shows with what its indexes were made with.
    fn of(&self, index: &str, on_demand: bool) -> Option<Units> {
        if on_demand { Some(Units::default()) } else { self.0.get(index).copied() }
    }

    /// Writes the units into the indexes of a table's description.
    pub(super) fn describe(&self, table: &mut TableDescription) {
        let on_demand = is_on_demand(table);
        for index in table.global_secondary_indexes.iter_mut().flatten() {
            if let Some(units) = self.of(&index.index_name, on_demand) {
                let described = index.provisioned_throughput.get_or_insert_default();
                described.read_capacity_units = units.read_capacity_units;
                described.write_capacity_units = units.write_capacity_units;
            }
        }
    }
}
