//! DynamoDB: an embedded engine behind the JSON protocol.
//!
//! The engine decides what an item operation does. Here is what stands around it: the account's ARNs, throughput caps
//! that really throttle, backups and policies that Terraform reads back, expiry, and metrics.

mod answer;
mod bucket;
mod by_name;
mod capacity;
mod changes;
mod control;
mod decode;
mod described;
mod encryption;
mod expiry;
mod index_caps;
mod index_units;
mod insights;
mod items;
mod names;
mod pages;
mod partitions;
pub(crate) mod parts;
mod past;
mod scaled;
pub(crate) mod statement;
mod streams;
mod throttle;
mod touched;
mod warm;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use dynoxide::Database;
use dynoxide::storage_backend::clock::Clock as EngineClock;
use tokio::task::AbortHandle;

use self::answer::Failure;
use self::by_name::Call;
use self::control::{Control, TablePolicies};
use self::described::Descriptions;
use self::expiry::Expiry;
use self::names::Names;
use self::past::Past;
use self::throttle::Throttle;
use crate::clock::Clock;
use crate::iam::PolicySource;
use crate::metrics::Unit;
use crate::server::StartError;
use crate::settings::Settings;
use crate::threads::Threads;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service, is_object};

const NAMESPACE: &str = "AWS/DynamoDB";

/// Without a leading slash the file is this connection's own.
const PRIVATE_MEMORY_FILE: &str = "file:tables?vfs=memdb";

const UPKEEP_INTERVAL_MS: i64 = 60_000;
/// The engine does one call at a time: more would only wait in it.
const THREADS_MAX: usize = 4;

/// Targets of the two APIs that share the signing name.
const TARGETS: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];

/// The tables of the account.
#[expect(missing_debug_implementations, reason = "the engine has none")]
pub struct DynamoDb {
    account: Account,
    threads: Threads,
    upkeep: AbortHandle,
}

/// What a call needs; cheap to clone, because a long scan runs on a thread of its own.
#[derive(Clone)]
struct Account {
    database: Database,
    names: Names,
    throttle: Throttle,
    control: Arc<Mutex<Control>>,
    descriptions: Descriptions,
    /// Held by the change of a table that runs.
    update: Arc<Mutex<()>>,
    past: Arc<Past>,
    expiry: Expiry,
    settings: Settings,
}

/// The engine reads the emulator's clock.
struct EngineTime(Clock);

impl EngineClock for EngineTime {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.0.now_ms() / 1000).unwrap_or(0)
    }

    fn now_unix_secs_f64(&self) -> f64 {
        answer::seconds(self.0.now_ms())
    }
}

impl DynamoDb {
    /// Opens the tables, none in memory, and starts the expiry of items.
    ///
    /// # Errors
    /// When the engine does not open.
    pub fn new(settings: &Settings) -> Result<Self, StartError> {
        let database = open(settings).map_err(StartError::Tables)?;
        let control = Control::open(settings.store.dir())?;
        let account = Account {
            database,
            names: Names::new(settings),
            throttle: Throttle::new(settings),
            control: Arc::new(Mutex::new(control)),
            descriptions: Descriptions::default(),
            update: Arc::default(),
            past: Arc::default(),
            expiry: Expiry::new(looked_at_ms(settings)),
            settings: settings.clone(),
        };
        account.settle()?;
        account.configure_throttles().map_err(StartError::Tables)?;
        let upkeep = tokio::spawn(keep_up(account.clone())).abort_handle();
        Ok(Self { account, threads: Threads::at_most(THREADS_MAX), upkeep })
    }

    /// The policies of the tables.
    #[must_use]
    pub fn policies(&self) -> Arc<dyn PolicySource> {
        Arc::new(TablePolicies(Arc::clone(&self.account.control)))
    }
}

impl Service for DynamoDb {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let target = request.header("x-amz-target").unwrap_or_default().to_owned();
            let Some(operation) = TARGETS.iter().find_map(|prefix| target.strip_prefix(prefix)) else {
                return answer::refused(&Failure::unknown(&target));
            };
            let account = &self.account;
            // A table on disk is synced with every write, which holds a thread for as long.
            let outcome = if is_long(operation) || account.settings.store.dir().is_some() {
                let (account, operation) = (account.clone(), operation.to_owned());
                let call = self.threads.run(move || account.call(&operation, &request));
                call.await.unwrap_or_else(|_| Err(Failure::internal()))
            } else {
                account.call(operation, &request)
            };
            match outcome {
                Ok(body) => answer::succeeded(body),
                Err(failure) => answer::refused(&failure),
            }
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.upkeep.abort();
        Box::pin(async {})
    }
}

/// A key operation takes tens of microseconds, less than the hand-over to another thread; these read up to 1 MB, go over all of a
/// table or of the streams' records, or wait for another change of a table.
fn is_long(operation: &str) -> bool {
    matches!(
        operation,
        "Scan"
            | "BatchGetItem"
            | "ExecuteStatement"
            | "BatchExecuteStatement"
            | "DescribeTable"
            | "GetShardIterator"
            | "GetRecords"
    ) || is_of_change(operation)
}

/// Whether it changes a table, or what is kept of one: such calls run one by one.
fn is_of_change(operation: &str) -> bool {
    matches!(
        operation,
        "CreateTable"
            | "UpdateTable"
            | "DeleteTable"
            | "UpdateContributorInsights"
            | "UpdateContinuousBackups"
            | "PutResourcePolicy"
            | "DeleteResourcePolicy"
    )
}

impl Account {
    fn call(&self, operation: &str, request: &AwsRequest) -> Result<String, Failure> {
        let body = std::str::from_utf8(&request.body).map_err(|_| Failure::unreadable())?;
        // The readers behind this would take a list for the members in order, by which nobody was judged.
        if !is_object(body.as_bytes()) {
            return Err(Failure::unreadable());
        }
        let call = Call::read(operation, body, &self.names)?;
        let body = &*call.body;
        let started = std::time::Instant::now();
        self.remember(operation, body);
        let outcome = match self.call_items(operation, body) {
            Some(outcome) => self.look_back(operation, body, outcome),
            None => self.call_control(operation, body),
        };
        self.measure(operation, body, &outcome, started.elapsed());
        if outcome.is_ok() {
            self.expiry.note(operation, body, self.settings.clock.now_ms());
        }
        outcome.map(|answer| call.answered(answer, &self.names))
    }

    /// UserErrors has no dimension; the others are per table, and written where the table is known.
    fn measure(
        &self,
        operation: &str,
        body: &str,
        outcome: &Result<String, Failure>,
        took: std::time::Duration,
    ) {
        let now_ms = self.settings.clock.now_ms();
        let record = |name, dimensions: &[(&str, &str)], value, unit| {
            self.settings.metrics.record(now_ms, NAMESPACE, name, dimensions, value, unit);
        };
        let of_table = |name, value, unit| {
            if let Some(table) = decode::table_of(body) {
                let dimensions = [("Operation", operation), ("TableName", table.as_str())];
                record(name, &dimensions, value, unit);
            }
        };
        match outcome {
            Ok(_) => of_table("SuccessfulRequestLatency", took.as_secs_f64() * 1e3, Unit::Milliseconds),
            Err(failure) if failure.is_conditional_check() => {
                if let Some(table) = decode::table_of(body) {
                    let dimensions = [("TableName", table.as_str())];
                    record("ConditionalCheckFailedRequests", &dimensions, 1.0, Unit::Count);
                }
            }
            Err(failure) if failure.is_throttle() => {}
            Err(failure) if failure.is_server_error() => of_table("SystemErrors", 1.0, Unit::Count),
            Err(_) => record("UserErrors", &[], 1.0, Unit::Count),
        }
    }
}

/// Adds to a metric that counts.
fn count(settings: &Settings, name: &str, dimensions: &[(&str, &str)], value: f64) {
    settings.metrics.record(settings.clock.now_ms(), NAMESPACE, name, dimensions, value, Unit::Count);
}

/// What is in memory begins with nothing to look at; what was on disk may hold anything.
fn looked_at_ms(settings: &Settings) -> i64 {
    if settings.store.dir().is_some() { 0 } else { settings.clock.now_ms() }
}

/// On disk, or in memory.
///
/// SQLite's `:memory:` keeps every page in its page cache and, after most commits that split or merge pages, walks that whole
/// cache: the price of a write grows with the number of items. Its in-memory file system has a cache of fixed size above the
/// pages. The engine takes a clock of ours only with the former, which is for the tests that move the clock.
fn open(settings: &Settings) -> dynoxide::Result<Database> {
    match (settings.store.tables_file(), &settings.clock) {
        (Some(file), _) => Database::new(&file.to_string_lossy()),
        (None, Clock::System) => Database::new(PRIVATE_MEMORY_FILE),
        (None, Clock::Manual(_)) => Database::memory_with_clock(Arc::new(EngineTime(settings.clock.clone()))),
    }
}

/// What happens once a minute without a call.
async fn keep_up(account: Account) {
    let clock = &account.settings.clock;
    loop {
        clock.sleep_until(clock.now_ms() + UPKEEP_INTERVAL_MS).await;
        account.throttle.measure_provisioned();
        account.throttle.drop_what_owes_nothing();
        if !account.expiry.begin(clock.now_ms()) {
            continue;
        }
        let database = account.database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(items)) => tracing::info!(items, "expired items deleted"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to delete expired items"),
            Err(_) => return,
        }
    }
}
