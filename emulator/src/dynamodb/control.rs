//! Table operations: the engine's, and those that it does not have.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dynoxide::actions::TableDescription;
use dynoxide::actions::delete_table::DeleteTableRequest;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_tables::ListTablesRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::actions::update_time_to_live::{UpdateTimeToLiveRequest, UpdateTimeToLiveResponse};
use dynoxide::{Database, DynoxideError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Failure, seconds};
use super::decode::{decode, table_of};
use super::described::Beside;
use super::index_caps::IndexCaps;
use super::index_units::IndexUnits;
use super::names::{Names, account_of};
use super::warm::Warm;
use super::{Account, is_of_change};
use crate::iam::{Kind, Policy, PolicySource};
use crate::server::StartError;
use crate::store::{StoreError, write_whole};

type Outcome = Result<String, Failure>;

/// AWS's default and maximum.
const RECOVERY_DAYS_MAX: u32 = 35;

/// AWS quota. "DynamoDB counts whitespaces when calculating the size of a policy against this limit."
const POLICY_BYTES_MAX: usize = 20 * 1024;

/// Beside the tables in a data directory.
const FILE: &str = "tables.json";

/// What is known of tables beside the engine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Control {
    recovery: HashMap<String, Recovery>,
    /// By resource ARN.
    policies: HashMap<String, ResourcePolicy>,
    /// By table.
    #[serde(default)]
    beside: HashMap<String, Beside>,
    /// A table that is being made or deleted. The engine does that in steps, of which a kill leaves some undone.
    #[serde(default)]
    unfinished: Option<String>,
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Control {
    /// # Errors
    /// When the directory has a file of it that cannot be read.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, StoreError> {
        let Some(path) = dir.map(|dir| dir.join(FILE)) else { return Ok(Self::default()) };
        let known = match std::fs::read(&path) {
            Ok(text) => Self::read(&text)
                .map_err(|error| StoreError::Foreign { path: path.clone(), reason: error.to_string() })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(source) => return Err(StoreError::Io { what: "read", path, source }),
        };
        Ok(Self { file: Some(path), ..known })
    }

    fn read(text: &[u8]) -> serde_json::Result<Self> {
        let mut known: Self = serde_json::from_slice(text)?;
        serde_json::from_slice::<OneByOne>(text)?.add_to(&mut known.beside);
        Ok(known)
    }

    /// Called after each change, before it is acknowledged.
    fn save(&self) -> Result<(), Failure> {
        self.write().map_err(|error| {
            tracing::error!(%error, "what is known of tables was not kept");
            Failure::internal()
        })
    }

    fn write(&self) -> Result<(), StoreError> {
        let Some(path) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec(self).map_err(|error| StoreError::io("write", path)(error.into()))?;
        write_whole(path, &text)
    }

    /// Before the first step of making or deleting a table.
    fn begin(&mut self, table: String) -> Result<(), Failure> {
        self.unfinished = Some(table);
        self.save().inspect_err(|_| self.unfinished = None)
    }

    /// After the last one, with what is known of the table since.
    fn finish(&mut self) -> Result<(), Failure> {
        self.unfinished = None;
        self.save()
    }

    /// What is known of a table.
    pub(super) fn beside(&self, table: &str) -> Beside {
        self.beside.get(table).cloned().unwrap_or_default()
    }

    /// The tables of which anything is known, in no order.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &Beside)> {
        self.beside.iter().map(|(table, beside)| (table.as_str(), beside))
    }

    /// Changes what is known of a table.
    pub(super) fn change(&mut self, table: &str, change: impl FnOnce(&mut Beside)) -> Result<(), Failure> {
        change(self.beside.entry(table.to_owned()).or_default());
        self.save()
    }

    /// What is known of a table goes with it, once this is saved.
    pub(super) fn forget(&mut self, table: &str, names: &Names) {
        self.retain(names, |known| known != table);
    }

    /// Returns whether there was more.
    fn retain(&mut self, names: &Names, is_kept: impl Fn(&str) -> bool) -> bool {
        let count = |known: &Self| known.recovery.len() + known.policies.len() + known.beside.len();
        let before = count(self);
        self.recovery.retain(|table, _| is_kept(table));
        self.policies.retain(|resource, _| is_kept(table_of_policy(names, resource)));
        self.beside.retain(|table, _| is_kept(table));
        count(self) < before
    }

    /// What is known of a table, as it is described, with what is asked for now.
    pub(super) fn keep(&mut self, asked: Beside, table: &TableDescription) -> Result<Beside, Failure> {
        let before = self.beside(&table.table_name);
        let kept = before.clone().changed(asked, table);
        if kept != before {
            self.beside.insert(table.table_name.clone(), kept.clone());
            self.save()?;
        }
        Ok(kept)
    }
}

/// What files of older versions have of tables in a map for each kind.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OneByOne {
    warm: HashMap<String, Warm>,
    index_caps: HashMap<String, IndexCaps>,
    index_units: HashMap<String, IndexUnits>,
}

impl OneByOne {
    fn add_to(self, beside: &mut HashMap<String, Beside>) {
        for (table, warm) in self.warm {
            beside.entry(table).or_default().warm = warm;
        }
        for (table, caps) in self.index_caps {
            beside.entry(table).or_default().caps = caps;
        }
        for (table, units) in self.index_units {
            beside.entry(table).or_default().units = units;
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Recovery {
    days: u32,
    enabled_at_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
struct ResourcePolicy {
    document: String,
    revision: String,
    rules: Arc<Policy>,
}

/// A policy as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Document {
    document: String,
    revision: String,
}

impl ResourcePolicy {
    /// As a caller gives it, with a revision of its own.
    fn asked(document: String) -> Result<Self, Failure> {
        if document.len() > POLICY_BYTES_MAX {
            return Err(Failure::invalid_value(format_args!(
                "Maximum policy size of {POLICY_BYTES_MAX} bytes exceeded"
            )));
        }
        Self::try_from(Document { document, revision: Uuid::new_v4().to_string() })
            .map_err(|error| Failure::invalid_value(format_args!("Invalid policy document: {error}")))
    }
}

impl From<ResourcePolicy> for Document {
    fn from(policy: ResourcePolicy) -> Self {
        Self { document: policy.document, revision: policy.revision }
    }
}

impl TryFrom<Document> for ResourcePolicy {
    type Error = String;

    fn try_from(Document { document, revision }: Document) -> Result<Self, String> {
        let rules = Policy::parse(&document, Kind::Resource).map_err(|error| error.to_string())?;
        Ok(Self { document, revision, rules: Arc::new(rules) })
    }
}

/// The policies of tables and their indexes, as IAM asks for them.
pub(super) struct TablePolicies(pub(super) Arc<Mutex<Control>>);

impl PolicySource for TablePolicies {
    fn policy(&self, arn: &str) -> Option<Arc<Policy>> {
        // "A table's policy covers its indexes": there is one document for all of them.
        let table = arn.split_once("/index/").map_or(arn, |(table, _)| table);
        let control = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        control.policies.get(table).map(|policy| Arc::clone(&policy.rules))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).policies.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateBackups {
    table_name: String,
    point_in_time_recovery_specification: RecoverySpecification,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecoverySpecification {
    point_in_time_recovery_enabled: bool,
    recovery_period_in_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableOnly {
    table_name: String,
}

/// What the engine does not know of a table that is made.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewTable {
    resource_policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyRequest {
    resource_arn: String,
    policy: Option<String>,
    expected_revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagged {
    resource_arn: Option<String>,
}

impl Account {
    pub(super) fn call_control(&self, operation: &str, body: &str) -> Outcome {
        // One is judged by what the one before it left, and the last one says what throttles.
        let _one_by_one =
            is_of_change(operation).then(|| self.update.lock().unwrap_or_else(PoisonError::into_inner));
        match operation {
            "DescribeContinuousBackups" => {
                self.describe_backups(&decode::<TableOnly>(operation, body)?.table_name)
            }
            "UpdateContinuousBackups" => self.update_backups(&decode(operation, body)?),
            "PutResourcePolicy" => self.put_policy(decode(operation, body)?),
            "GetResourcePolicy" => self.get_policy(&decode(operation, body)?),
            "DeleteResourcePolicy" => self.delete_policy(&decode(operation, body)?),
            "DescribeContributorInsights" => self.describe_insights(operation, body),
            "UpdateContributorInsights" => self.update_insights(operation, body),
            "ListContributorInsights" => self.list_insights(operation, body),
            "CreateTable" => self.create_table(operation, body),
            "DeleteTable" => self.delete_table(operation, body),
            "TagResource" | "UntagResource" | "ListTagsOfResource" => {
                self.check_tagged(&decode(operation, body)?)?;
                self.in_engine(operation, body)
            }
            // Of a stream as the caller names it: the engine's name for it is none that a policy knows.
            "DescribeStream" => self
                .plain(operation, body, |_, request: DescribeStreamRequest| self.describe_stream(&request)),
            "GetShardIterator" => self.plain(operation, body, |_, request: GetShardIteratorRequest| {
                self.get_shard_iterator(request)
            }),
            "GetRecords" => {
                self.plain(operation, body, |_, request: GetRecordsRequest| self.get_records(&request))
            }
            _ => self.in_engine(operation, body),
        }
    }

    /// "When you attach a resource-based policy while creating a table, the policy application is strongly consistent."
    fn create_table(&self, operation: &str, body: &str) -> Outcome {
        let asked: NewTable = decode(operation, body)?;
        let policy = asked.resource_policy.map(ResourcePolicy::asked).transpose()?;
        let table = table_of(body).unwrap_or_default();
        let arn = self.names.table_arn(&table);
        let is_new = self.database.get_table_metadata(&table)?.is_none();
        self.in_steps(is_new.then_some(table), || {
            let answer = self.in_engine(operation, body)?;
            if let Some(policy) = policy {
                let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
                control.policies.insert(arn, policy);
            }
            Ok(answer)
        })
    }

    fn delete_table(&self, operation: &str, body: &str) -> Outcome {
        let table = table_of(body).unwrap_or_default();
        let found = self.database.get_table_metadata(&table)?;
        let is_deleted = found.is_some_and(|found| !found.deletion_protection_enabled);
        self.in_steps(is_deleted.then_some(table), || self.in_engine(operation, body))
    }

    /// Makes or deletes a table so that a kill leaves nothing half done: the next start finds its name, and ends it. None where
    /// nothing will be done, which the engine says.
    pub(super) fn in_steps(&self, table: Option<String>, run: impl FnOnce() -> Outcome) -> Outcome {
        let Some(table) = table else { return run() };
        self.control.lock().unwrap_or_else(PoisonError::into_inner).begin(table.clone())?;
        let outcome = run();
        let finished = self.control.lock().unwrap_or_else(PoisonError::into_inner).finish();
        if let Err(failure) = finished {
            self.end_unfinished(&table)?;
            return Err(failure);
        }
        outcome
    }

    /// The caller is told that it failed, and the next start would end it: what it would do then is done at once.
    fn end_unfinished(&self, table: &str) -> dynoxide::Result<()> {
        self.drop_unfinished(table)?;
        self.describe_anew(table);
        if self.database.get_table_metadata(table)?.is_none() {
            self.throttle.forget(table);
            self.control.lock().unwrap_or_else(PoisonError::into_inner).forget(table, &self.names);
        }
        Ok(())
    }

    fn in_engine(&self, operation: &str, body: &str) -> Outcome {
        let answer = self.call_engine(operation, &self.names.to_engine(body));
        // Also after a change that was refused half way.
        if let Some(table) = table_of(body).filter(|_| is_of_change(operation)) {
            self.describe_anew(&table);
        }
        let answer = answer?;
        self.after_engine(operation, body)?;
        Ok(self.names.to_caller(&answer).into_owned())
    }

    fn call_engine(&self, operation: &str, body: &str) -> Outcome {
        match operation {
            "CreateTable" => self.make_table(body),
            "DescribeTable" => self.describe_table(body),
            "DeleteTable" => self.plain(operation, body, Database::delete_table),
            "ListTables" => self.plain(operation, body, Database::list_tables),
            "UpdateTable" => self.update_table(body),
            "UpdateTimeToLive" => self.plain(operation, body, update_time_to_live),
            "DescribeTimeToLive" => self.plain(operation, body, Database::describe_time_to_live),
            "TagResource" => {
                self.plain(operation, body, |db, request| db.tag_resource(request).map(|_| json!({})))
            }
            "UntagResource" => {
                self.plain(operation, body, |db, request| db.untag_resource(request).map(|_| json!({})))
            }
            "ListTagsOfResource" => self.plain(operation, body, Database::list_tags_of_resource),
            "ListStreams" => self.plain(operation, body, Database::list_streams),
            _ => Err(Failure::unknown(operation)),
        }
    }

    /// Keeps the caps and the rest in step with the table.
    fn after_engine(&self, operation: &str, body: &str) -> Result<(), Failure> {
        let Some(table) = table_of(body) else { return Ok(()) };
        match operation {
            "CreateTable" | "UpdateTable" => self.configure_throttle(&table)?,
            "UpdateTimeToLive" => self.expiry.suspect_all(),
            "DeleteTable" => {
                self.throttle.forget(&table);
                let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
                control.forget(&table, &self.names);
            }
            _ => {}
        }
        Ok(())
    }

    /// What is known of a table beside the engine.
    pub(super) fn beside(&self, table: &str) -> Beside {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).beside(table)
    }

    fn configure_throttle(&self, table_name: &str) -> dynoxide::Result<()> {
        let mut table = self.outline(table_name)?;
        let beside = self.beside(&table.table_name);
        beside.units.describe(&mut table);
        self.throttle.configure(&table, &beside);
        Ok(())
    }

    /// The caps of the tables that were there already.
    pub(super) fn configure_throttles(&self) -> dynoxide::Result<()> {
        self.table_names()?.iter().try_for_each(|table| self.configure_throttle(table))
    }

    fn table_names(&self) -> dynoxide::Result<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let exclusive_start_table_name = all.last().cloned();
            let request = ListTablesRequest { exclusive_start_table_name, ..ListTablesRequest::default() };
            let listed = self.database.list_tables(request)?;
            all.extend(listed.table_names);
            if listed.last_evaluated_table_name.is_none() {
                return Ok(all);
            }
        }
    }

    /// At the start: what a kill left of a table that was being made or deleted goes, and what is known of tables that are not
    /// there.
    pub(super) fn settle(&self) -> Result<(), StartError> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let unfinished = control.unfinished.take();
        if let Some(table) = &unfinished {
            self.drop_unfinished(table).map_err(StartError::Tables)?;
        }
        let there: HashSet<String> = self.table_names().map_err(StartError::Tables)?.into_iter().collect();
        if control.retain(&self.names, |table| there.contains(table)) || unfinished.is_some() {
            control.write()?;
        }
        Ok(())
    }

    fn drop_unfinished(&self, table: &str) -> dynoxide::Result<()> {
        let request = DescribeTableRequest { table_name: table.to_owned() };
        let Ok(found) = self.database.describe_table(request) else { return Ok(()) };
        if is_in_use(&found.table) {
            return Ok(());
        }
        tracing::warn!(table, "a table that was being made or deleted, and is not finished, is deleted");
        if found.table.deletion_protection_enabled == Some(true) {
            let request = UpdateTableRequest {
                table_name: table.to_owned(),
                deletion_protection_enabled: Some(false),
                ..UpdateTableRequest::default()
            };
            self.database.update_table(request)?;
        }
        self.database.delete_table(DeleteTableRequest { table_name: table.to_owned() }).map(drop)
    }

    fn table_must_exist(&self, table: &str, shape: &'static str) -> Result<(), Failure> {
        match self.database.get_table_metadata(table)? {
            Some(_) => Ok(()),
            None => Err(Failure::Own { shape, message: format!("Table not found: {table}") }),
        }
    }

    fn describe_backups(&self, table: &str) -> Outcome {
        self.table_must_exist(table, "TableNotFoundException")?;
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let description =
            describe_recovery(control.recovery.get(table).copied(), self.settings.clock.now_ms());
        Ok(json!({"ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": description,
        }})
        .to_string())
    }

    fn update_backups(&self, request: &UpdateBackups) -> Outcome {
        let table = request.table_name.as_str();
        self.table_must_exist(table, "TableNotFoundException")?;
        let wanted = &request.point_in_time_recovery_specification;
        let days = wanted.recovery_period_in_days.unwrap_or(RECOVERY_DAYS_MAX);
        if !(1..=RECOVERY_DAYS_MAX).contains(&days) {
            let message = format!("RecoveryPeriodInDays must be between 1 and {RECOVERY_DAYS_MAX}");
            return Err(DynoxideError::ValidationException(message).into());
        }
        let now_ms = self.settings.clock.now_ms();
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.point_in_time_recovery_enabled {
            let recovery =
                control.recovery.entry(table.to_owned()).or_insert(Recovery { days, enabled_at_ms: now_ms });
            recovery.days = days;
        } else {
            control.recovery.remove(table);
        }
        control.save()?;
        drop(control);
        self.describe_backups(table)
    }

    /// The engine finds the table in an ARN of any account and Region, and in that of an index: with those, who was judged for another
    /// table would change the tags of this one. An ARN that is missing is the engine's to refuse.
    fn check_tagged(&self, request: &Tagged) -> Result<(), Failure> {
        let Some(arn) = request.resource_arn.as_deref().filter(|arn| !arn.is_empty()) else { return Ok(()) };
        if account_of(arn).is_some_and(|account_id| account_id != &*self.settings.account_id) {
            return Err(DynoxideError::AccessDeniedException("Access is denied".to_owned()).into());
        }
        if self.names.table_of_arn(arn).is_some() {
            return Ok(());
        }
        let message = format!("Invalid TableArn: Invalid ResourceArn provided as input {arn}");
        Err(DynoxideError::ValidationException(message).into())
    }

    /// What has a policy is a table, which must exist, or a stream of one.
    fn policy_needs_table(&self, arn: &str) -> Result<(), Failure> {
        let table = self.names.table_with_policy(arn).ok_or_else(|| {
            DynoxideError::ValidationException(format!("Invalid ResourceArn provided as input {arn}"))
        })?;
        let found = self.database.get_table_metadata(table)?;
        found.map(drop).ok_or_else(|| Failure::Own {
            shape: "ResourceNotFoundException",
            message: format!("Requested resource not found: Table: {table} not found"),
        })
    }

    fn put_policy(&self, request: PolicyRequest) -> Outcome {
        self.policy_needs_table(&request.resource_arn)?;
        let mut policy = ResourcePolicy::asked(request.policy.unwrap_or_default())?;
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let current = control.policies.get(&request.resource_arn);
        check_revision(current, request.expected_revision_id.as_deref())?;
        if let Some(current) = current.filter(|current| current.document == policy.document) {
            policy.revision.clone_from(&current.revision);
        }
        let revision = policy.revision.clone();
        control.policies.insert(request.resource_arn, policy);
        control.save()?;
        Ok(json!({ "RevisionId": revision }).to_string())
    }

    fn get_policy(&self, request: &PolicyRequest) -> Outcome {
        self.policy_needs_table(&request.resource_arn)?;
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = control.policies.get(&request.resource_arn).ok_or_else(no_policy)?;
        Ok(json!({"Policy": policy.document, "RevisionId": policy.revision}).to_string())
    }

    /// "If you attempt to delete a policy that doesn't exist, DynamoDB returns success": it is idempotent.
    fn delete_policy(&self, request: &PolicyRequest) -> Outcome {
        self.policy_needs_table(&request.resource_arn)?;
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        check_revision(control.policies.get(&request.resource_arn), request.expected_revision_id.as_deref())?;
        let removed = control.policies.remove(&request.resource_arn);
        control.save()?;
        Ok(match removed {
            Some(policy) => json!({"RevisionId": policy.revision}).to_string(),
            None => json!({}).to_string(),
        })
    }
}

/// Whether all of a table is there, with something in it: the engine counts nothing in what is not there.
fn is_in_use(table: &TableDescription) -> bool {
    let global = table.global_secondary_indexes.iter().flatten().map(|index| index.item_count);
    let local = table.local_secondary_indexes.iter().flatten().map(|index| index.item_count);
    table.item_count.is_some_and(|items| items > 0) && global.chain(local).all(|items| items.is_some())
}

/// The table that a policy goes with. Older versions kept some under other names than ARNs of tables and streams.
fn table_of_policy<'a>(names: &Names, resource: &'a str) -> &'a str {
    let table = names.bare(resource);
    table.split('/').next().unwrap_or(table)
}

/// `NO_POLICY` asks that there be none yet.
fn check_revision(current: Option<&ResourcePolicy>, expected: Option<&str>) -> Result<(), Failure> {
    let holds = match (expected, current) {
        (None, _) | (Some("NO_POLICY"), None) => true,
        (Some(expected), Some(policy)) => expected == policy.revision,
        (Some(_), None) => false,
    };
    if holds { Ok(()) } else { Err(no_policy()) }
}

fn no_policy() -> Failure {
    Failure::Own {
        shape: "PolicyNotFoundException",
        message: "Resource-based policy not found for the provided ResourceArn".to_owned(),
    }
}

fn describe_recovery(recovery: Option<Recovery>, now_ms: i64) -> Value {
    match recovery {
        None => json!({"PointInTimeRecoveryStatus": "DISABLED"}),
        Some(recovery) => json!({
            "PointInTimeRecoveryStatus": "ENABLED",
            "RecoveryPeriodInDays": recovery.days,
            "EarliestRestorableDateTime": seconds(recovery.enabled_at_ms),
            "LatestRestorableDateTime": seconds(now_ms),
        }),
    }
}

/// The engine takes what is so already for a change, and another attribute for the one that is in force; AWS refuses both.
fn update_time_to_live(
    database: &Database,
    request: UpdateTimeToLiveRequest,
) -> dynoxide::Result<UpdateTimeToLiveResponse> {
    let wanted = &request.time_to_live_specification;
    if let Some(table) = database.get_table_metadata(&request.table_name)? {
        let current = table.ttl_attribute.filter(|_| table.ttl_enabled);
        let why = match current {
            Some(current) if current != wanted.attribute_name => format!(
                "TimeToLive is active on a different AttributeName: current AttributeName is {current}"
            ),
            _ if table.ttl_enabled == wanted.enabled => {
                let state = if wanted.enabled { "enabled" } else { "disabled" };
                format!("TimeToLive is already {state}")
            }
            _ => return database.update_time_to_live(request),
        };
        return Err(DynoxideError::ValidationException(why));
    }
    database.update_time_to_live(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_deleted_table_takes_its_policies_along_however_they_were_kept() {
        let tables = "arn:aws:dynamodb:us-east-1:123456789012:table";
        let other = format!("{tables}/tasks-of-others");
        let statement = json!({"Effect": "Deny", "Principal": "*", "Action": "dynamodb:*", "Resource": "*"});
        let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let policy = json!({"document": document, "revision": "1"});
        let mut policies = json!({});
        for resource in [
            format!("{tables}/tasks"),
            format!("{tables}/tasks/stream/1700000000"),
            format!("{tables}/tasks/index/by-owner"),
            "tasks".to_owned(),
            other.clone(),
        ] {
            policies[resource] = policy.clone();
        }
        let text = json!({"recovery": {}, "policies": policies}).to_string();
        let mut control = Control::read(text.as_bytes()).unwrap();
        assert_eq!(control.policies.len(), 5);
        control.forget("tasks", &Names::new(&Settings::by_hand(0).0));
        assert_eq!(control.policies.into_keys().collect::<Vec<_>>(), [other]);
    }
}
