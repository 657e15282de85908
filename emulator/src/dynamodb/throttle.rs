//! Throughput caps as token buckets.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dynoxide::actions::{
    GlobalSecondaryIndexDescription, TableDescription, TableProvisionedThroughputDescription,
};
use dynoxide::types::OnDemandThroughput;
use serde_json::{Value, json};

use super::capacity::Target;
use super::count;
use super::described::ON_DEMAND;
use super::index_caps::IndexCaps;
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
    whose: Whose,
    /// The ARN of the table or index.
    resource: String,
}

/// The throughput that was exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    Table,
    /// A global secondary index, by name.
    Index(String),
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
        let whose = match self.whose {
            Whose::Table => "Table",
            Whose::Index(_) => "Index",
        };
        let reason = format!("{whose}{}{}Exceeded", self.access.word(), self.limit());
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
        match (self.mode, &self.whose) {
            (Mode::OnDemand, _) => {
                "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
            }
            (Mode::Provisioned, Whose::Table) => {
                "The level of configured provisioned throughput for the table was exceeded. \
                 Consider increasing your provisioning level with the UpdateTable API."
            }
            (Mode::Provisioned, Whose::Index(_)) => {
                "The level of configured provisioned throughput for one or more global secondary indexes of the table \
                 was exceeded. Consider increasing your provisioning level for the under-provisioned global secondary \
                 indexes with the UpdateTable API"
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

/// Of a table or of a global secondary index; None where there is no cap.
#[derive(Debug, Default)]
struct Buckets {
    read: Option<Bucket>,
    write: Option<Bucket>,
}

impl Buckets {
    #[expect(clippy::cast_precision_loss, reason = "caps are far below 2^53 units")]
    fn on_demand(caps: Option<&OnDemandThroughput>, now_ms: i64) -> Self {
        let bucket = |cap: Option<i64>| {
            cap.filter(|cap| *cap > 0).map(|cap| Bucket::full(cap as f64, ON_DEMAND_BURST_SECONDS, now_ms))
        };
        Self {
            read: bucket(caps.and_then(|caps| caps.max_read_request_units)),
            write: bucket(caps.and_then(|caps| caps.max_write_request_units)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "capacities are far below 2^53 units")]
    fn provisioned(units: Option<&TableProvisionedThroughputDescription>, now_ms: i64) -> Self {
        let bucket = |units: u64| Bucket::full(units as f64, PROVISIONED_BURST_SECONDS, now_ms);
        Self {
            read: units.map(|units| bucket(units.read_capacity_units)),
            write: units.map(|units| bucket(units.write_capacity_units)),
        }
    }

    fn of(&mut self, access: Access) -> Option<&mut Bucket> {
        match access {
            Access::Read => self.read.as_mut(),
            Access::Write => self.write.as_mut(),
        }
    }

    fn is_exhausted(&mut self, access: Access, now_ms: i64) -> bool {
        self.of(access).is_some_and(|bucket| {
            bucket.refill(now_ms);
            bucket.tokens < REQUEST_UNITS_MIN
        })
    }

    fn carry_over(&mut self, before: Self) {
        for (bucket, before) in [(&mut self.read, before.read), (&mut self.write, before.write)] {
            if let (Some(bucket), Some(before)) = (bucket, before) {
                bucket.carry_over(before);
            }
        }
    }
}

#[derive(Debug)]
struct TableBuckets {
    mode: Mode,
    own: Buckets,
    /// Of global secondary indexes, by name: each has a throughput of its own, and none of them uses the table's.
    indexes: BTreeMap<String, Buckets>,
}

impl TableBuckets {
    fn new(table: &TableDescription, caps: &IndexCaps, now_ms: i64) -> Self {
        let is_on_demand =
            table.billing_mode_summary.as_ref().is_some_and(|summary| summary.billing_mode == ON_DEMAND);
        let of_index = |index: &GlobalSecondaryIndexDescription| {
            if is_on_demand {
                Buckets::on_demand(caps.of(&index.index_name), now_ms)
            } else {
                Buckets::provisioned(index.provisioned_throughput.as_ref(), now_ms)
            }
        };
        let indexes = table.global_secondary_indexes.iter().flatten();
        let indexes = indexes.map(|index| (index.index_name.clone(), of_index(index))).collect();
        if is_on_demand {
            let own = Buckets::on_demand(table.on_demand_throughput.as_ref(), now_ms);
            Self { mode: Mode::OnDemand, own, indexes }
        } else {
            let own = Buckets::provisioned(table.provisioned_throughput.as_ref(), now_ms);
            Self { mode: Mode::Provisioned, own, indexes }
        }
    }

    /// Whose throughput refuses: that of the index which is read; else the table's own, and for a write that of any index.
    /// AWS asks only the indexes that the write changes, which nobody knows before.
    fn exhausted(&mut self, target: Target<'_>, access: Access, now_ms: i64) -> Option<Whose> {
        if let Some((name, buckets)) = target.index.and_then(|name| Some((name, self.indexes.get_mut(name)?)))
        {
            return buckets.is_exhausted(access, now_ms).then(|| Whose::Index(name.to_owned()));
        }
        if self.own.is_exhausted(access, now_ms) {
            return Some(Whose::Table);
        }
        if access == Access::Read {
            return None;
        }
        let mut indexes = self.indexes.iter_mut();
        indexes.find_map(|(name, buckets)| {
            buckets.is_exhausted(access, now_ms).then(|| Whose::Index(name.clone()))
        })
    }

    fn of(&mut self, index: Option<&str>, access: Access) -> Option<&mut Bucket> {
        match index {
            Some(index) => self.indexes.get_mut(index)?.of(access),
            None => self.own.of(access),
        }
    }

    /// Another mode begins anew.
    fn carry_over(&mut self, before: Self) {
        if self.mode != before.mode {
            return;
        }
        self.own.carry_over(before.own);
        for (name, before) in before.indexes {
            if let Some(buckets) = self.indexes.get_mut(&name) {
                buckets.carry_over(before);
            }
        }
    }
}

/// The buckets of all tables.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    tables: Arc<Mutex<HashMap<String, TableBuckets>>>,
    settings: Settings,
}

impl Throttle {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { tables: Arc::default(), settings: settings.clone() }
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, TableBuckets>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the caps of a table as it is described, and those of its indexes.
    pub(super) fn configure(&self, table: &TableDescription, caps: &IndexCaps) {
        let mut buckets = TableBuckets::new(table, caps, self.settings.clock.now_ms());
        let mut tables = self.tables();
        tables.remove(&table.table_name).into_iter().for_each(|before| buckets.carry_over(before));
        tables.insert(table.table_name.clone(), buckets);
    }

    pub(super) fn forget(&self, table: &str) {
        self.tables().remove(table);
    }

    /// Refuses while the bucket of the table, or of an index, holds less than one request.
    pub(super) fn admit(&self, target: Target<'_>, access: Access, operation: &str) -> Result<(), Throttled> {
        let now_ms = self.settings.clock.now_ms();
        let exhausted = self.tables().get_mut(target.table).and_then(|buckets| {
            let whose = buckets.exhausted(target, access, now_ms)?;
            Some((buckets.mode, whose))
        });
        let Some((mode, whose)) = exhausted else { return Ok(()) };
        let table = target.table;
        let mut resource =
            format!("arn:aws:dynamodb:{}:{}:table/{table}", self.settings.region, self.settings.account_id);
        if let Whose::Index(index) = &whose {
            resource.push_str("/index/");
            resource.push_str(index);
        }
        let throttled = Throttled { mode, access, whose, resource };
        self.measure(table, operation, &throttled);
        Err(throttled)
    }

    /// What a request cost is known after it ran: the bucket may fall below zero, and refuses until it is paid. `target`
    /// is a table, or a global secondary index.
    pub(super) fn charge(&self, target: Target<'_>, access: Access, units: f64) {
        let mut tables = self.tables();
        let buckets = tables.get_mut(target.table);
        if let Some(bucket) = buckets.and_then(|buckets| buckets.of(target.index, access)) {
            bucket.tokens -= units;
        }
    }

    /// What provisioned tables and indexes have, whether or not anything uses it.
    pub(super) fn measure_provisioned(&self) {
        let tables = self.tables();
        for (table, buckets) in tables.iter().filter(|(_, buckets)| buckets.mode == Mode::Provisioned) {
            self.measure_provisioned_of(Target::table(table), &buckets.own);
            for (index, buckets) in &buckets.indexes {
                self.measure_provisioned_of(Target { table, index: Some(index) }, buckets);
            }
        }
    }

    fn measure_provisioned_of(&self, target: Target<'_>, buckets: &Buckets) {
        for (name, bucket) in [
            ("ProvisionedReadCapacityUnits", &buckets.read),
            ("ProvisionedWriteCapacityUnits", &buckets.write),
        ] {
            let units = bucket.as_ref().map_or(0.0, |bucket| bucket.units_per_second);
            self.count(name, &target.dimensions(), units);
        }
    }

    fn measure(&self, table: &str, operation: &str, throttled: &Throttled) {
        let index = match &throttled.whose {
            Whose::Table => None,
            Whose::Index(index) => Some(index.as_str()),
        };
        let dimensions = Target { table, index }.dimensions();
        let word = throttled.access.word();
        self.count(&format!("{word}ThrottleEvents"), &dimensions, 1.0);
        self.count(&format!("{word}{}ThrottleEvents", throttled.limit()), &dimensions, 1.0);
        self.count("ThrottledRequests", &[("Operation", operation), ("TableName", table)], 1.0);
    }

    fn count(&self, name: &str, dimensions: &[(&str, &str)], value: f64) {
        count(&self.settings, name, dimensions, value);
    }
}
