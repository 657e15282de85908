//! Calls that describe a table. What they ask for that the engine does not keep is kept here, and shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::actions::{
    BillingModeSummary, GlobalSecondaryIndexDescription, TableDescription,
    TableProvisionedThroughputDescription,
};
use dynoxide::types::{GlobalSecondaryIndex, ProvisionedThroughput};
use dynoxide::validation::validate_table_name;
use dynoxide::{DynoxideError, TableMetadata};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Account;
use super::answer::Failure;
use super::changes::Changes;
use super::decode::decode;
use super::encryption::Encryption;
use super::index_caps::IndexCaps;
use super::index_units::IndexUnits;
use super::insights::Insights;
use super::warm::Warm;
use crate::wire::not_emulated;

/// The billing mode of tables without provisioned throughput.
pub(super) const ON_DEMAND: &str = "PAY_PER_REQUEST";
const PROVISIONED: &str = "PROVISIONED";

/// Members of an update that may change throughput or its mode.
const OF_THROUGHPUT: [&str; 3] = ["BillingMode", "ProvisionedThroughput", "GlobalSecondaryIndexUpdates"];

/// Members of an update that make a global table of a table.
const OF_GLOBAL_TABLES: [&str; 3] = ["ReplicaUpdates", "GlobalTableWitnessUpdates", "MultiRegionConsistency"];

/// How long a description stands: the engine goes over all items of a table and of its indexes for it, and does nothing else
/// meanwhile. AWS counts them "approximately every six hours".
const DESCRIBED_EVERY_MS: i64 = 10_000;

/// By table, the engine's last one and when it was made.
pub(super) type Descriptions = Arc<Mutex<HashMap<String, (i64, TableDescription)>>>;

/// Members of an index's update that the engine does not know.
const BESIDE_ENGINE: [&str; 2] = ["WarmThroughput", "OnDemandThroughput"];

/// What is known of a table beside the engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Beside {
    pub(super) warm: Warm,
    pub(super) caps: IndexCaps,
    pub(super) units: IndexUnits,
    pub(super) insights: Insights,
    encryption: Encryption,
    changes: Changes,
}

impl Beside {
    /// With what is asked for now, and without what the table no longer has.
    pub(super) fn changed(self, asked: Self, table: &TableDescription) -> Self {
        Self {
            warm: self.warm.changed(asked.warm, table),
            caps: self.caps.changed(asked.caps, table),
            units: self.units.changed(asked.units, table),
            insights: self.insights.changed(table),
            encryption: self.encryption.changed(asked.encryption),
            changes: self.changes.changed(asked.changes, table),
        }
    }

    fn show(&self, table: &mut Map<String, Value>, is_new: bool, now_ms: i64) {
        self.changes.show(table, now_ms);
        self.warm.show(table, is_new);
        self.caps.show(table);
        self.encryption.show(table);
    }
}

impl Account {
    /// Makes a table, keeps what else is asked for, and shows what the table has.
    pub(super) fn make_table(&self, body: &str) -> Result<String, Failure> {
        const OPERATION: &str = "CreateTable";
        let asked = self.asked(OPERATION, &serde_json::from_str(body).unwrap_or_default())?;
        let table = self.database.create_table(decode(OPERATION, body)?)?.table_description;
        self.kept_and_shown(asked, table, true)
    }

    /// Keeps nothing: an update that runs meanwhile may know more of the table than the engine described.
    pub(super) fn describe_table(&self, body: &str) -> Result<String, Failure> {
        let DescribeTableRequest { table_name } = decode("DescribeTable", body)?;
        let table = self.describe(&table_name)?;
        let known = self.beside(&table.table_name).changed(Beside::default(), &table);
        self.shown(&known, table, "Table", false)
    }

    /// The engine's, for what it knows of; to it an update of the rest alone would be none at all.
    pub(super) fn update_table(&self, body: &str) -> Result<String, Failure> {
        const OPERATION: &str = "UpdateTable";
        // Of a name that comes twice the value below has the last, and nobody was judged by that: here it is refused.
        decode::<UpdateTableRequest>(OPERATION, body)?;
        let request: Value = serde_json::from_str(body).unwrap_or_default();
        refuse_global(&request)?;
        let mut asked = self.asked(OPERATION, &request)?;
        self.check_indexes(&request)?;
        self.check_stream(&request)?;
        asked.changes = self.counted(&request, &asked.units)?;
        let table = match for_engine(&request) {
            Some(rest) => {
                self.database.update_table(decode(OPERATION, &rest.to_string())?)?.table_description
            }
            None => {
                let DescribeTableRequest { table_name } = decode(OPERATION, body)?;
                self.describe(&table_name)?
            }
        };
        self.kept_and_shown(asked, table, false)
    }

    fn kept_and_shown(
        &self,
        asked: Beside,
        table: TableDescription,
        is_new: bool,
    ) -> Result<String, Failure> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if is_new {
            // Of an earlier one by that name.
            control.forget(&table.table_name, &self.names);
        }
        let kept = control.keep(asked, &table)?;
        drop(control);
        self.shown(&kept, table, "TableDescription", is_new)
    }

    fn shown(
        &self,
        known: &Beside,
        mut table: TableDescription,
        member: &str,
        is_new: bool,
    ) -> Result<String, Failure> {
        known.units.describe(&mut table);
        let mut table = serde_json::to_value(table).map_err(|_| Failure::internal())?;
        if let Some(members) = table.as_object_mut() {
            known.show(members, is_new, self.settings.clock.now_ms());
        }
        Ok(Value::from_iter([(member, table)]).to_string())
    }

    /// A table as the engine describes it, with its items counted.
    pub(super) fn describe(&self, table_name: &str) -> dynoxide::Result<TableDescription> {
        let now_ms = self.settings.clock.now_ms();
        // Held while the engine describes it: a change that comes meanwhile then finds what it makes untrue.
        let mut descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at_ms, table)) = descriptions.get(table_name)
            && (0..DESCRIBED_EVERY_MS).contains(&(now_ms - at_ms))
        {
            return Ok(table.clone());
        }
        let request = DescribeTableRequest { table_name: table_name.to_owned() };
        let table = self.database.describe_table(request)?.table;
        // A vector index becomes active without a call.
        if table.vector_indexes.is_none() {
            descriptions.insert(table_name.to_owned(), (now_ms, table.clone()));
        }
        Ok(table)
    }

    /// After a change of the table.
    pub(super) fn describe_anew(&self, table_name: &str) {
        self.descriptions.lock().unwrap_or_else(PoisonError::into_inner).remove(table_name);
    }

    /// What is asked about the throughput, the key and the indexes of a table: nothing is counted for it.
    pub(super) fn outline(&self, table_name: &str) -> dynoxide::Result<TableDescription> {
        validate_table_name(table_name)?;
        let table = self.database.get_table_metadata(table_name)?;
        table.map(outlined).ok_or_else(|| {
            let message = format!("Requested resource not found: Table: {table_name} not found");
            DynoxideError::ResourceNotFoundException(message)
        })
    }

    /// What a request asks for, refused before the engine changes anything. What else is wrong with it is for the engine to
    /// say.
    fn asked(&self, operation: &str, request: &Value) -> Result<Beside, Failure> {
        let asked = Beside {
            warm: Warm::asked(request)?,
            caps: IndexCaps::asked(request)?,
            units: IndexUnits::asked(request),
            insights: Insights::default(),
            encryption: Encryption::asked(request)?,
            changes: Changes::default(),
        };
        if asked.caps.is_empty() {
            return Ok(asked);
        }
        let is_new = operation == "CreateTable";
        let will_be_on_demand = match request["BillingMode"].as_str() {
            Some(mode) => mode == ON_DEMAND,
            None if is_new => false,
            None => is_on_demand(&self.outline(request["TableName"].as_str().unwrap_or_default())?),
        };
        asked.caps.check(will_be_on_demand, is_new)?;
        Ok(asked)
    }

    /// What of a change of throughput counts, refused when there was too much of it or some is missing.
    fn counted(&self, request: &Value, asked: &IndexUnits) -> Result<Changes, Failure> {
        if OF_THROUGHPUT.iter().all(|member| request[*member].is_null()) {
            return Ok(Changes::default());
        }
        // What is wrong with the name is for the engine to say.
        let table = self.outline(request["TableName"].as_str().unwrap_or_default());
        let Ok(mut table) = table else { return Ok(Changes::default()) };
        // To the engine an index may be left without throughput when its table gets some.
        if request["BillingMode"] == PROVISIONED && is_on_demand(&table) {
            asked.check_all_of(&table)?;
        }
        let known = self.beside(&table.table_name);
        known.units.describe(&mut table);
        let changes = Changes::asked(request, &table, self.settings.clock.now_ms());
        known.changes.check(&changes)?;
        Ok(changes)
    }

    /// The engine does not see the updates that are not for it.
    fn check_indexes(&self, request: &Value) -> Result<(), Failure> {
        let mut updated = updates(request).filter(|update| is_beside_engine(update)).peekable();
        if updated.peek().is_none() {
            return Ok(());
        }
        let table_name = request["TableName"].as_str().unwrap_or_default();
        let table = self.outline(table_name)?;
        for update in updated {
            let name = update["Update"]["IndexName"].as_str().unwrap_or_default();
            if !has_index(&table, name) {
                return Err(Failure::Own {
                    shape: "ResourceNotFoundException",
                    message: format!("Requested resource not found: Index {name} for table {table_name}"),
                });
            }
        }
        Ok(())
    }

    /// "You receive a ValidationException if you try to enable a stream on a table that already has a stream, or if you try to
    /// disable a stream on a table that doesn't have a stream."
    fn check_stream(&self, request: &Value) -> Result<(), Failure> {
        let Some(enables) = request["StreamSpecification"]["StreamEnabled"].as_bool() else { return Ok(()) };
        let table_name = request["TableName"].as_str().unwrap_or_default();
        let Some(table) = self.database.get_table_metadata(table_name)? else { return Ok(()) };
        let why = match (enables, table.stream_enabled) {
            (true, true) => "Table already has an enabled stream",
            (false, false) => "Table has no stream to disable",
            (true, false) | (false, true) => return Ok(()),
        };
        Err(DynoxideError::ValidationException(format!("{why}: TableName: {table_name}")).into())
    }
}

/// As the engine describes it, but for what it counts and what nobody here asks about.
fn outlined(table: TableMetadata) -> TableDescription {
    let is_on_demand = table.billing_mode.as_deref() == Some(ON_DEMAND);
    let billing_mode_summary = is_on_demand
        .then(|| BillingModeSummary { billing_mode: ON_DEMAND.to_owned(), ..BillingModeSummary::default() });
    let indexes: Option<Vec<GlobalSecondaryIndex>> = kept(table.gsi_definitions.as_deref());
    TableDescription {
        key_schema: kept(Some(&table.key_schema)).unwrap_or_default(),
        billing_mode_summary,
        provisioned_throughput: kept(table.provisioned_throughput.as_deref()).map(units),
        on_demand_throughput: kept(table.on_demand_throughput.as_deref()),
        global_secondary_indexes: indexes.map(|indexes| indexes.into_iter().map(outlined_index).collect()),
        table_name: table.table_name,
        ..TableDescription::default()
    }
}

fn outlined_index(index: GlobalSecondaryIndex) -> GlobalSecondaryIndexDescription {
    GlobalSecondaryIndexDescription {
        index_name: index.index_name,
        key_schema: index.key_schema,
        projection: index.projection,
        provisioned_throughput: Some(units(index.provisioned_throughput.unwrap_or_default())),
        ..GlobalSecondaryIndexDescription::default()
    }
}

fn units(kept: ProvisionedThroughput) -> TableProvisionedThroughputDescription {
    let count = |units: Option<i64>| units.and_then(|units| u64::try_from(units).ok()).unwrap_or_default();
    TableProvisionedThroughputDescription {
        read_capacity_units: count(kept.read_capacity_units),
        write_capacity_units: count(kept.write_capacity_units),
        ..TableProvisionedThroughputDescription::default()
    }
}

/// What the engine keeps of a table as text; what it cannot read itself it takes for nothing.
fn kept<T: DeserializeOwned>(text: Option<&str>) -> Option<T> {
    serde_json::from_str(text?).ok()
}

/// Whether a table is, as the engine describes it.
pub(super) fn is_on_demand(table: &TableDescription) -> bool {
    table.billing_mode_summary.as_ref().is_some_and(|summary| summary.billing_mode == ON_DEMAND)
}

/// The same, of a description on its way to the caller.
pub(super) fn is_shown_on_demand(table: &Map<String, Value>) -> bool {
    let mode = table.get("BillingModeSummary").and_then(|summary| summary.get("BillingMode"));
    mode.is_some_and(|mode| mode == ON_DEMAND)
}

/// Whether a table, as it is described, has a global secondary index of that name.
pub(super) fn has_index(table: &TableDescription, name: &str) -> bool {
    table.global_secondary_indexes.iter().flatten().any(|index| index.index_name == name)
}

/// The global secondary indexes of a table, as it is described.
pub(super) fn indexes_mut(table: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let indexes = table.get_mut("GlobalSecondaryIndexes").and_then(Value::as_array_mut);
    indexes.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// What a request says about global secondary indexes that it makes or changes, by name.
pub(super) fn index_requests(request: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let changed = updates(request).flat_map(|update| [update.get("Create"), update.get("Update")]).flatten();
    let all = items(request.get("GlobalSecondaryIndexes")).chain(changed);
    all.filter_map(|index| Some((index.get("IndexName")?.as_str()?, index)))
}

fn updates(request: &Value) -> impl Iterator<Item = &Value> {
    items(request.get("GlobalSecondaryIndexUpdates"))
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Whether an update of an index changes nothing that the engine knows.
fn is_beside_engine(update: &Value) -> bool {
    let Some(update) = update.get("Update") else { return false };
    BESIDE_ENGINE.iter().any(|member| update.get(member).is_some())
        && update.get("ProvisionedThroughput").is_none_or(Value::is_null)
}

/// The engine would leave it out and say that it is done.
fn refuse_global(request: &Value) -> Result<(), Failure> {
    let is_asked = |member: &&str| match &request[*member] {
        Value::Null => false,
        Value::Array(updates) => !updates.is_empty(),
        _ => true,
    };
    match OF_GLOBAL_TABLES.into_iter().find(is_asked) {
        Some(member) => {
            let message = not_emulated(&format!("{member} of UpdateTable"));
            Err(DynoxideError::ValidationException(message).into())
        }
        None => Ok(()),
    }
}

/// An UpdateTable without what the engine does not know; None when nothing else was asked for.
fn for_engine(request: &Value) -> Option<Value> {
    let mut rest = request.clone();
    let Some(members) = rest.as_object_mut() else { return Some(rest) };
    members.remove("WarmThroughput");
    members.remove("SSESpecification");
    if let Some(updates) = members.get_mut("GlobalSecondaryIndexUpdates").and_then(Value::as_array_mut) {
        let asked = updates.len();
        updates.retain(|update| !is_beside_engine(update));
        if updates.is_empty() && asked > 0 {
            members.remove("GlobalSecondaryIndexUpdates");
        }
    }
    let is_left = members.keys().any(|name| !matches!(name.as_str(), "TableName" | "AttributeDefinitions"));
    (is_left || rest == *request).then_some(rest)
}
