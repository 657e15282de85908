//! Table operations: the engine's, and those that it does not have.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dynoxide::actions::TableDescription;
use dynoxide::actions::describe_stream::{DescribeStreamRequest, DescribeStreamResponse};
use dynoxide::actions::get_records::{GetRecordsRequest, GetRecordsResponse};
use dynoxide::actions::get_shard_iterator::{
    GetShardIteratorRequest, GetShardIteratorResponse, decode_shard_iterator,
};
use dynoxide::actions::list_tables::ListTablesRequest;
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
use crate::store::{StoreError, write_whole};

type Outcome = Result<String, Failure>;

/// AWS's default and maximum.
const RECOVERY_DAYS_MAX: u32 = 35;

/// AWS quota. "DynamoDB counts whitespaces when calculating the size of a policy against this limit."
const POLICY_BYTES_MAX: usize = 20 * 1024;

/// Between the ARN of the stream and what only the service reads, in an iterator of AWS's.
const ITERATOR_MARK: &str = "|1|";

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
        let Some(path) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec(self).map_err(|_| Failure::internal())?;
        write_whole(path, &text).map_err(|error| {
            tracing::error!(%error, "what is known of tables was not kept");
            Failure::internal()
        })
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

    /// What is known of a table goes with it.
    fn forget(&mut self, table: &str, names: &Names) -> Result<(), Failure> {
        self.recovery.remove(table);
        self.policies.retain(|resource, _| table_of_policy(names, resource) != table);
        self.beside.remove(table);
        self.save()
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
            "TagResource" | "UntagResource" | "ListTagsOfResource" => {
                self.check_tagged(&decode(operation, body)?)?;
                self.in_engine(operation, body)
            }
            // Of a stream as the caller names it: the engine's name for it is none that a policy knows.
            "DescribeStream" => {
                self.plain(operation, body, |_, request: DescribeStreamRequest| self.describe_stream(request))
            }
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
        let answer = self.in_engine(operation, body)?;
        if let (Some(policy), Some(table)) = (policy, table_of(body)) {
            let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            control.policies.insert(self.names.table_arn(self.names.bare(&table)), policy);
            control.save()?;
        }
        Ok(answer)
    }

    fn in_engine(&self, operation: &str, body: &str) -> Outcome {
        let answer = self.call_engine(operation, &self.names.to_engine(body))?;
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
        let table = self.names.bare(&table);
        match operation {
            "CreateTable" | "UpdateTable" => self.configure_throttle(table.to_owned())?,
            "UpdateTimeToLive" => self.expiry.suspect_all(),
            "DeleteTable" => {
                self.throttle.forget(table);
                let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
                control.forget(table, &self.names)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What is known of a table beside the engine.
    pub(super) fn beside(&self, table: &str) -> Beside {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).beside(table)
    }

    fn configure_throttle(&self, table_name: String) -> dynoxide::Result<()> {
        let mut table = self.describe(table_name)?;
        let beside = self.beside(&table.table_name);
        beside.units.describe(&mut table);
        self.throttle.configure(&table, &beside);
        Ok(())
    }

    /// The caps of the tables that were there already.
    pub(super) fn configure_throttles(&self) -> dynoxide::Result<()> {
        let mut after = None;
        loop {
            let request =
                ListTablesRequest { exclusive_start_table_name: after, ..ListTablesRequest::default() };
            let listed = self.database.list_tables(request)?;
            for table in listed.table_names {
                self.configure_throttle(table)?;
            }
            match listed.last_evaluated_table_name {
                None => return Ok(()),
                next => after = next,
            }
        }
    }

    fn table_must_exist(&self, table: &str, shape: &'static str) -> Result<(), Failure> {
        match self.database.get_table_metadata(table)? {
            Some(_) => Ok(()),
            None => Err(Failure::Own { shape, message: format!("Table not found: {table}") }),
        }
    }

    fn describe_backups(&self, table: &str) -> Outcome {
        let table = self.names.bare(table);
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
        let table = self.names.bare(&request.table_name);
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
        if self.names.is_table(arn) {
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

    /// The table of a stream, by the stream's own ARN: the engine finds the table in any text that has it behind a slash, and a
    /// policy that names the stream does not match that text.
    fn table_of_stream<'a>(&self, arn: &'a str) -> dynoxide::Result<&'a str> {
        let not_found = || {
            let message = format!("Requested resource not found: Stream: {arn} not found");
            DynoxideError::ResourceNotFoundException(message)
        };
        let table = self.names.table_with_policy(arn).ok_or_else(not_found)?;
        let known = self.database.get_table_metadata(table)?;
        let label = known.and_then(|table| table.stream_label).ok_or_else(not_found)?;
        let own = format!("{}/stream/{label}", self.names.table_arn(table));
        if arn == own { Ok(table) } else { Err(not_found()) }
    }

    fn describe_stream(&self, request: DescribeStreamRequest) -> dynoxide::Result<DescribeStreamResponse> {
        self.table_of_stream(&request.stream_arn)?;
        self.database.describe_stream(request)
    }

    /// The engine's iterators do not say of which stream they are, and GetRecords is judged by that.
    fn get_shard_iterator(
        &self,
        request: GetShardIteratorRequest,
    ) -> dynoxide::Result<GetShardIteratorResponse> {
        let stream = request.stream_arn.clone();
        self.table_of_stream(&stream)?;
        let mut answer = self.database.get_shard_iterator(request)?;
        answer.shard_iterator = answer.shard_iterator.map(|iterator| marked(&stream, &iterator));
        Ok(answer)
    }

    /// Anybody can write an iterator of the engine's: one that does not begin with the ARN of its own stream would be read by who
    /// was judged for another, or for none.
    fn get_records(&self, request: &GetRecordsRequest) -> dynoxide::Result<GetRecordsResponse> {
        let invalid = || DynoxideError::ValidationException("Invalid shard iterator".to_owned());
        let (stream, iterator) = request.shard_iterator.split_once(ITERATOR_MARK).ok_or_else(invalid)?;
        let (table, _, _) = decode_shard_iterator(iterator).ok_or_else(invalid)?;
        if self.table_of_stream(stream)? != table {
            return Err(invalid());
        }
        let asked = GetRecordsRequest { shard_iterator: iterator.to_owned(), limit: request.limit };
        let mut answer = self.database.get_records(asked)?;
        for record in &mut answer.records {
            record.aws_region = self.settings.region.to_string();
        }
        answer.next_shard_iterator = answer.next_shard_iterator.map(|next| marked(stream, &next));
        Ok(answer)
    }
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

/// The engine takes what is so already for a change; AWS refuses it.
fn update_time_to_live(
    database: &Database,
    request: UpdateTimeToLiveRequest,
) -> dynoxide::Result<UpdateTimeToLiveResponse> {
    let wanted = &request.time_to_live_specification;
    if let Some(table) = database.get_table_metadata(&request.table_name)?
        && table.ttl_enabled == wanted.enabled
        && (!wanted.enabled || table.ttl_attribute.as_ref() == Some(&wanted.attribute_name))
    {
        let state = if wanted.enabled { "enabled" } else { "disabled" };
        return Err(DynoxideError::ValidationException(format!("TimeToLive is already {state}")));
    }
    database.update_time_to_live(request)
}

fn marked(stream: &str, iterator: &str) -> String {
    format!("{stream}{ITERATOR_MARK}{iterator}")
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
        control.forget("tasks", &Names::new(&Settings::by_hand(0).0)).unwrap();
        assert_eq!(control.policies.into_keys().collect::<Vec<_>>(), [other]);
    }
}
