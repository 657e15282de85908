//! Throughput caps as token buckets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dynoxide::actions::TableDescription;
use serde_json::{Value, json};

use super::NAMESPACE;
use super::capacity::Target;
use crate::metrics::Unit;
use crate::settings::Settings;

/// An on-demand cap holds one second of its rate: nobody documents more, and the stricter is chosen.
const ON_DEMAND_BURST_SECONDS: f64 = 1.0;
/// "DynamoDB currently retains up to 5 minutes (300 seconds) of unused read and write capacity."
const PROVISIONED_BURST_SECONDS: f64 = 300.0;
/// The least that a request costs; less than that in the bucket refuses it.
const REQUEST_UNITS_MIN: f64 = 1.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Access {
    const fn word(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    OnDemand,
    Provisioned,
}

/// A refused request.
#[derive(Clone, Debug)]
pub(super) struct Throttled {
    mode: Mode,
    access: Access,
    resource: String,
}

impl Throttled {
    const fn limit(&self) -> &'static str {
        match self.mode {
            Mode::OnDemand => "MaxOnDemandThroughput",
            Mode::Provisioned => "ProvisionedThroughput",
        }
    }

    /// The name of the list of reasons differs in case between the two shapes, and SDKs match it exactly.
    pub(super) fn body(&self, namespace: &str) -> Value {
        let reason = format!("Table{}{}Exceeded", self.access.word(), self.limit());
        let reasons = json!([{"reason": reason, "resource": self.resource}]);
        match self.mode {
            Mode::OnDemand => json!({
                "__type": format!("{namespace}ThrottlingException"),
                "message": self.message(),
                "throttlingReasons": reasons,
            }),
            Mode::Provisioned => json!({
                "__type": format!("{namespace}ProvisionedThroughputExceededException"),
                "message": self.message(),
                "ThrottlingReasons": reasons,
            }),
        }
    }

    pub(super) const fn message(&self) -> &'static str {
        match self.mode {
            Mode::OnDemand => {
                "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
            }
            Mode::Provisioned => {
                "The level of configured provisioned throughput for the table was exceeded. \
                 Consider increasing your provisioning level with the UpdateTable API."
            }
        }
    }

    /// Its code among the cancellation reasons of a transaction.
    pub(super) const fn cancellation_code(&self) -> &'static str {
        match self.mode {
            Mode::OnDemand => "ThrottlingError",
            Mode::Provisioned => "ProvisionedThroughputExceeded",
        }
    }
}

#[derive(Debug)]
struct Bucket {
    units_per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at_ms: i64,
}

impl Bucket {
    fn full(units_per_second: f64, burst_seconds: f64, now_ms: i64) -> Self {
        let burst = units_per_second * burst_seconds;
        Self { units_per_second, burst, tokens: burst, filled_at_ms: now_ms }
    }

    #[expect(clippy::cast_precision_loss, reason = "the time between two requests fits 2^53 ms")]
    fn refill(&mut self, now_ms: i64) {
        let passed_ms = (now_ms - self.filled_at_ms).max(0) as f64;
        self.tokens = (self.tokens + self.units_per_second * passed_ms / 1e3).min(self.burst);
        self.filled_at_ms = now_ms;
    }

    /// What was left under the rate before: a change of the rate is no gift.
    fn carry_over(&mut self, mut before: Self) {
        before.refill(self.filled_at_ms);
        self.tokens = before.tokens.min(self.burst);
    }
}

#[derive(Debug)]
struct TableBuckets {
    mode: Mode,
    read: Option<Bucket>,
    write: Option<Bucket>,
    /// Global secondary indexes: each has a throughput of its own, and none of them uses the table's.
    indexes: Vec<String>,
}

impl TableBuckets {
    fn of(&mut self, access: Access) -> Option<&mut Bucket> {
        match access {
            Access::Read => self.read.as_mut(),
            Access::Write => self.write.as_mut(),
        }
    }

    /// Another mode begins anew.
    fn carry_over(&mut self, before: Self) {
        if self.mode != before.mode {
            return;
        }
        for (bucket, before) in [(&mut self.read, before.read), (&mut self.write, before.write)] {
            if let (Some(bucket), Some(before)) = (bucket, before) {
                bucket.carry_over(before);
            }
        }
    }
}

/// The buckets of all tables that have a cap.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    tables: Arc<Mutex<HashMap<String, TableBuckets>>>,
    settings: Settings,
}

impl Throttle {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { tables: Arc::default(), settings: settings.clone() }
    }

    /// Takes the caps of a table as it is described; a table without caps is never refused.
    pub(super) fn configure(&self, table: &TableDescription) {
        let now_ms = self.settings.clock.now_ms();
        let buckets = buckets_of(table, now_ms);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tables.remove(&table.table_name);
        if let Some(mut buckets) = buckets {
            before.into_iter().for_each(|before| buckets.carry_over(before));
            tables.insert(table.table_name.clone(), buckets);
        }
    }

    pub(super) fn forget(&self, table: &str) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }

    /// Refuses while the table's bucket holds less than one request.
    pub(super) fn admit(&self, target: Target<'_>, access: Access, operation: &str) -> Result<(), Throttled> {
        let Some(mode) = self.exhausted(target, access) else { return Ok(()) };
        let table = target.table;
        let resource =
            format!("arn:aws:dynamodb:{}:{}:table/{table}", self.settings.region, self.settings.account_id);
        let throttled = Throttled { mode, access, resource };
        self.measure(table, operation, &throttled);
        Err(throttled)
    }

    fn exhausted(&self, target: Target<'_>, access: Access) -> Option<Mode> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = tables.get_mut(target.table)?;
        if target.index.is_some_and(|index| buckets.indexes.iter().any(|own| own == index)) {
            return None;
        }
        let mode = buckets.mode;
        let bucket = buckets.of(access)?;
        bucket.refill(self.settings.clock.now_ms());
        (bucket.tokens < REQUEST_UNITS_MIN).then_some(mode)
    }

    /// What a request cost is known after it ran: the bucket may fall below zero, and refuses until it is paid.
    pub(super) fn charge(&self, table: &str, access: Access, units: f64) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = tables.get_mut(table).and_then(|buckets| buckets.of(access)) {
            bucket.tokens -= units;
        }
    }

    /// What provisioned tables have, whether or not anything uses it.
    pub(super) fn measure_provisioned(&self) {
        let now_ms = self.settings.clock.now_ms();
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for (table, buckets) in tables.iter().filter(|(_, buckets)| buckets.mode == Mode::Provisioned) {
            let dimensions = [("TableName", table.as_str())];
            for (name, bucket) in [
                ("ProvisionedReadCapacityUnits", &buckets.read),
                ("ProvisionedWriteCapacityUnits", &buckets.write),
            ] {
                let units = bucket.as_ref().map_or(0.0, |bucket| bucket.units_per_second);
                self.settings.metrics.record(now_ms, NAMESPACE, name, &dimensions, units, Unit::Count);
            }
        }
    }

    fn measure(&self, table: &str, operation: &str, throttled: &Throttled) {
        let now_ms = self.settings.clock.now_ms();
        let word = throttled.access.word();
        let by_table = [("TableName", table)];
        for name in [format!("{word}ThrottleEvents"), format!("{word}{}ThrottleEvents", throttled.limit())] {
            self.settings.metrics.record(now_ms, NAMESPACE, &name, &by_table, 1.0, Unit::Count);
        }
        let dimensions = [("Operation", operation), ("TableName", table)];
        self.settings.metrics.record(now_ms, NAMESPACE, "ThrottledRequests", &dimensions, 1.0, Unit::Count);
    }
}

#[expect(clippy::cast_precision_loss, reason = "caps are far below 2^53 units")]
fn buckets_of(table: &TableDescription, now_ms: i64) -> Option<TableBuckets> {
    if let Some(caps) = &table.on_demand_throughput {
        let bucket = |cap: Option<i64>| {
            cap.filter(|cap| *cap > 0).map(|cap| Bucket::full(cap as f64, ON_DEMAND_BURST_SECONDS, now_ms))
        };
        let (read, write) = (bucket(caps.max_read_request_units), bucket(caps.max_write_request_units));
        return Some(TableBuckets { mode: Mode::OnDemand, read, write, indexes: global_indexes(table) });
    }
    let on_demand =
        table.billing_mode_summary.as_ref().is_some_and(|mode| mode.billing_mode == "PAY_PER_REQUEST");
    let provisioned = table.provisioned_throughput.as_ref().filter(|_| !on_demand)?;
    let bucket = |units: u64| Some(Bucket::full(units as f64, PROVISIONED_BURST_SECONDS, now_ms));
    Some(TableBuckets {
        mode: Mode::Provisioned,
        read: bucket(provisioned.read_capacity_units),
        write: bucket(provisioned.write_capacity_units),
        indexes: global_indexes(table),
    })
}

fn global_indexes(table: &TableDescription) -> Vec<String> {
    let indexes = table.global_secondary_indexes.iter().flatten();
    indexes.map(|index| index.index_name.clone()).collect()
}
