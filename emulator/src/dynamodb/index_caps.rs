//! On-demand caps of global secondary indexes, which the engine does not keep.

use std::collections::HashMap;

use dynoxide::DynoxideError;
use dynoxide::actions::TableDescription;
use dynoxide::types::OnDemandThroughput;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::Failure;
use super::described::{has_index, index_requests, indexes_mut, is_on_demand};

/// "To remove the specified OnDemandThroughput maximum from your index, set the value to -1."
const NO_CAP: i64 = -1;

/// By name of the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct IndexCaps(HashMap<String, OnDemandThroughput>);

impl IndexCaps {
    pub(super) fn of(&self, index: &str) -> Option<&OnDemandThroughput> {
        self.0.get(index)
    }

    /// What a request asks for.
    pub(super) fn asked(request: &Value) -> Result<Self, Failure> {
        let mut asked = HashMap::new();
        for (name, index) in index_requests(request) {
            let Some(caps) = index.get("OnDemandThroughput").filter(|caps| !caps.is_null()) else { continue };
            let caps = OnDemandThroughput::deserialize(caps)
                .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
            asked.insert(name.to_owned(), caps);
        }
        Ok(Self(asked))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// A cap of a table that will not be on demand, or one out of range.
    pub(super) fn check(&self, will_be_on_demand: bool, is_new: bool) -> Result<(), Failure> {
        for (index, caps) in &self.0 {
            let members = [
                ("MaxReadRequestUnits", caps.max_read_request_units),
                ("MaxWriteRequestUnits", caps.max_write_request_units),
            ];
            for (member, units) in members.into_iter().filter_map(|(member, units)| Some((member, units?))) {
                if !will_be_on_demand {
                    return Err(Failure::invalid_value(format_args!(
                        "{member} for OnDemandThroughput cannot be specified when the table BillingMode is PROVISIONED"
                    )));
                }
                if units < 1 && (is_new || units != NO_CAP) {
                    return Err(Failure::invalid_value(format_args!(
                        "Requested {member} for OnDemandThroughput for index {index} is outside of valid range"
                    )));
                }
            }
        }
        Ok(())
    }

    /// With what is asked for now, and without what the table no longer has.
    pub(super) fn changed(mut self, asked: Self, table: &TableDescription) -> Self {
        for (index, asked) in asked.0 {
            let caps = self.0.entry(index).or_default();
            caps.max_read_request_units = merged(caps.max_read_request_units, asked.max_read_request_units);
            caps.max_write_request_units =
                merged(caps.max_write_request_units, asked.max_write_request_units);
        }
        let on_demand = is_on_demand(table);
        self.0.retain(|name, caps| {
            on_demand && *caps != OnDemandThroughput::default() && has_index(table, name)
        });
        self
    }

    /// Writes `OnDemandThroughput` into the indexes of a table's description.
    pub(super) fn show(&self, table: &mut Map<String, Value>) {
        for index in indexes_mut(table) {
            let name = index.get("IndexName").and_then(Value::as_str).unwrap_or_default();
            if let Some(caps) = self.of(name).and_then(|caps| serde_json::to_value(caps).ok()) {
                index.insert("OnDemandThroughput".to_owned(), caps);
            }
        }
    }
}

fn merged(before: Option<i64>, asked: Option<i64>) -> Option<i64> {
    asked.or(before).filter(|units| *units != NO_CAP)
}
