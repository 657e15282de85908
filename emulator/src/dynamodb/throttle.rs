//! What tables and their indexes can take: throughput caps as token buckets, and that of each partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dynoxide::actions::{
    GlobalSecondaryIndexDescription, TableDescription, TableProvisionedThroughputDescription,
};
use dynoxide::types::{KeySchemaElement, OnDemandThroughput, ProjectionType, item_size, read_capacity_units};
use serde_json::{Value, json};

use super::bucket::{Bucket, ON_DEMAND_BURST_SECONDS};
use super::capacity::Target;
use super::count;
use super::described::{Beside, is_on_demand};
use super::partitions::{Attributes, Partitions};
use super::scaled::Scaled;
use super::touched::{Division, Part, Touched};
use super::warm::Served;
use crate::settings::Settings;

/// "DynamoDB currently retains up to 5 minutes (300 seconds) of unused read and write capacity."
const PROVISIONED_BURST_SECONDS: f64 = 300.0;

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

/// Which throughput was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// What the table or index has, by its mode.
    Configured,
    /// That of a partition key value, or of all partitions that an on-demand table or index has by now.
    KeyRange,
    /// The quota of an on-demand table or index.
    Account,
}

/// A refused request.
#[derive(Clone, Debug)]
pub(super) struct Throttled {
    mode: Mode,
    limit: Limit,
    access: Access,
    pub(super) table: String,
    whose: Whose,
    /// The ARN of the table or index.
    resource: String,
}

/// Whose throughput was exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    Table,
    /// A global secondary index, by name.
    Index(String),
}

impl Throttled {
    const fn limit_name(&self) -> &'static str {
        match (self.limit, self.mode) {
            (Limit::KeyRange, _) => "KeyRangeThroughput",
            (Limit::Account, _) => "AccountLimit",
            (Limit::Configured, Mode::OnDemand) => "MaxOnDemandThroughput",
            (Limit::Configured, Mode::Provisioned) => "ProvisionedThroughput",
        }
    }

    /// The name of the list of reasons differs in case between the shapes, and SDKs match it exactly.
    pub(super) fn body(&self, namespace: &str) -> Value {
        let whose = match self.whose {
            Whose::Table => "Table",
            Whose::Index(_) => "Index",
        };
        let reason = format!("{whose}{}{}Exceeded", self.access.word(), self.limit_name());
        let (shape, list) = match (self.limit, self.mode) {
            (Limit::Account, _) => ("RequestLimitExceeded", "ThrottlingReasons"),
            (_, Mode::OnDemand) => ("ThrottlingException", "throttlingReasons"),
            (_, Mode::Provisioned) => ("ProvisionedThroughputExceededException", "ThrottlingReasons"),
        };
        json!({
            "__type": format!("{namespace}{shape}"),
            "message": self.message(),
            list: [{"reason": reason, "resource": self.resource}],
        })
    }

    pub(super) const fn message(&self) -> &'static str {
        match (self.mode, self.limit, &self.whose) {
            (Mode::OnDemand, Limit::Configured, _) => {
                "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
            }
            (Mode::OnDemand, Limit::KeyRange, _) => {
                "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table \
                 or index so please try again shortly. If exceptions persist, check if you have a hot key: \
                 https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"
            }
            (_, Limit::Account, _) => {
                "Throughput exceeds the current throughput limit for your account. Please contact AWS Support at \
                 https://aws.amazon.com/support request a limit increase"
            }
            (Mode::Provisioned, _, Whose::Table) => {
                "The level of configured provisioned throughput for the table was exceeded. \
                 Consider increasing your provisioning level with the UpdateTable API."
            }
            (Mode::Provisioned, _, Whose::Index(_)) => {
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

/// The caps of a table or of a global secondary index; None where there is none.
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
        self.of(access).is_some_and(|bucket| bucket.is_exhausted(now_ms))
    }

    fn carry_over(&mut self, before: Self) {
        for (bucket, before) in [(&mut self.read, before.read), (&mut self.write, before.write)] {
            if let (Some(bucket), Some(before)) = (bucket, before) {
                bucket.carry_over(before);
            }
        }
    }
}

/// What a table or a global secondary index can take.
#[derive(Debug)]
struct Throughput {
    caps: Buckets,
    /// None of what has provisioned throughput.
    scaled: Option<Scaled>,
    partitions: Partitions,
    /// Not of an index that shows a part of them.
    has_whole_items: bool,
}

impl Throughput {
    fn on_demand(
        caps: Option<&OnDemandThroughput>,
        served: Served,
        key: &[KeySchemaElement],
        now_ms: i64,
    ) -> Self {
        Self {
            caps: Buckets::on_demand(caps, now_ms),
            scaled: Some(Scaled::new(served, now_ms)),
            partitions: Partitions::new(key),
            has_whole_items: true,
        }
    }

    fn provisioned(
        units: Option<&TableProvisionedThroughputDescription>,
        key: &[KeySchemaElement],
        now_ms: i64,
    ) -> Self {
        Self {
            caps: Buckets::provisioned(units, now_ms),
            scaled: None,
            partitions: Partitions::new(key),
            has_whole_items: true,
        }
    }

    /// Which of them refuses.
    fn exhausted(&mut self, touched: &Touched, access: Access, now_ms: i64) -> Option<Limit> {
        if self.caps.is_exhausted(access, now_ms) {
            return Some(Limit::Configured);
        }
        if let Some(limit) = self.scaled.as_mut().and_then(|scaled| scaled.exhausted(access, now_ms)) {
            return Some(limit);
        }
        let is_hot = match touched {
            Touched::Any { .. } => self.partitions.is_any_exhausted(access, now_ms),
            some => {
                let mut parts = some.parts().iter();
                parts.any(|part| self.partitions.is_exhausted(part.partition, access, now_ms))
            }
        };
        is_hot.then_some(Limit::KeyRange)
    }

    fn charge(&mut self, access: Access, units: f64, now_ms: i64) {
        if let Some(bucket) = self.caps.of(access) {
            bucket.charge(units);
        }
        if let Some(scaled) = &mut self.scaled {
            scaled.charge(access, units, now_ms);
        }
    }

    /// `places` are the partitions of each item of a request, and what it costs by itself.
    fn charge_partitions<'a>(
        &mut self,
        access: Access,
        units: f64,
        places: impl Iterator<Item = (&'a [Part], Option<f64>)> + Clone,
        now_ms: i64,
    ) {
        let has_whole_items = self.has_whole_items;
        let places = places.map(|(parts, own)| (parts, own.filter(|_| has_whole_items)));
        let division = Division::of(units, places.clone().map(|(_, own)| own));
        for (parts, own) in places {
            for part in parts {
                let units = division.share(own) * part.share;
                self.partitions.charge(part.partition, access, units, now_ms);
            }
        }
    }

    /// Another mode begins anew, and serves on demand what was provisioned before; of partitions it is the same limit.
    fn carry_over(&mut self, before: Self, now_ms: i64) {
        self.partitions.carry_over(before.partitions);
        match (&mut self.scaled, before.scaled) {
            (Some(scaled), None) => {
                for (access, provisioned) in
                    [(Access::Read, before.caps.read), (Access::Write, before.caps.write)]
                {
                    let units_per_second = provisioned.map_or(0.0, |bucket| bucket.units_per_second());
                    scaled.serve_at_least(access, units_per_second, now_ms);
                }
            }
            (None, Some(_)) => {}
            (scaled, scaled_before) => {
                self.caps.carry_over(before.caps);
                if let (Some(scaled), Some(before)) = (scaled, scaled_before) {
                    scaled.carry_over(before, now_ms);
                }
            }
        }
    }
}

/// The throughput of a table.
#[derive(Debug)]
struct OfTable {
    /// The names of the attributes of its primary key.
    key: Vec<String>,
    own: Throughput,
    /// Of global secondary indexes, by name: each has a throughput of its own, and none of them uses the table's.
    indexes: BTreeMap<String, Throughput>,
}

impl OfTable {
    fn new(table: &TableDescription, beside: &Beside, now_ms: i64) -> Self {
        let is_on_demand = is_on_demand(table);
        let throughput = |index: Option<&str>,
                          caps: Option<&OnDemandThroughput>,
                          units: Option<&TableProvisionedThroughputDescription>,
                          key: &[KeySchemaElement]| {
            if is_on_demand {
                Throughput::on_demand(caps, beside.warm.served_on_demand(index), key, now_ms)
            } else {
                Throughput::provisioned(units, key, now_ms)
            }
        };
        let of_index = |index: &GlobalSecondaryIndexDescription| {
            let (name, units) = (index.index_name.as_str(), index.provisioned_throughput.as_ref());
            let mut throughput = throughput(Some(name), beside.caps.of(name), units, &index.key_schema);
            throughput.has_whole_items = index.projection.projection_type == Some(ProjectionType::ALL);
            (name.to_owned(), throughput)
        };
        let (caps, units) = (table.on_demand_throughput.as_ref(), table.provisioned_throughput.as_ref());
        Self {
            key: table.key_schema.iter().map(|element| element.attribute_name.clone()).collect(),
            own: throughput(None, caps, units, &table.key_schema),
            indexes: table.global_secondary_indexes.iter().flatten().map(of_index).collect(),
        }
    }

    /// Of the table and all of its indexes: only what is on demand grows.
    const fn mode(&self) -> Mode {
        if self.own.scaled.is_some() { Mode::OnDemand } else { Mode::Provisioned }
    }

    /// That of the index which is read, if it has one of its own; else the table's.
    fn read_or_written(&mut self, index: Option<&str>) -> (&mut Throughput, Whose) {
        match index.and_then(|name| Some((name, self.indexes.get_mut(name)?))) {
            Some((name, throughput)) => (throughput, Whose::Index(name.to_owned())),
            None => (&mut self.own, Whose::Table),
        }
    }

    /// Whose throughput refuses, and which: that of what is read or written, and for a write that of any index. AWS asks
    /// only the indexes that the write changes, which nobody knows before.
    fn exhausted(&mut self, places: &Places, access: Access, now_ms: i64) -> Option<(Whose, Limit)> {
        let (throughput, whose) = self.read_or_written(places.index.as_deref());
        if let Some(limit) = throughput.exhausted(&places.own, access, now_ms) {
            return Some((whose, limit));
        }
        if access == Access::Read {
            return None;
        }
        self.indexes.iter_mut().find_map(|(name, throughput)| {
            let touched = places.in_index(name).unwrap_or(&NOWHERE);
            let limit = throughput.exhausted(touched, access, now_ms)?;
            Some((Whose::Index(name.clone()), limit))
        })
    }

    fn partitions_of(&self, item: &Attributes) -> Vec<(String, Touched)> {
        let touched = |of: &Throughput| of.partitions.of_item(item).map(|one| Touched::One(Part::whole(one)));
        let indexes = self.indexes.iter();
        indexes.filter_map(|(name, of)| Some((name.clone(), touched(of)?))).collect()
    }

    fn carry_over(&mut self, before: Self, now_ms: i64) {
        self.own.carry_over(before.own, now_ms);
        for (name, before) in before.indexes {
            if let Some(throughput) = self.indexes.get_mut(&name) {
                throughput.carry_over(before, now_ms);
            }
        }
    }
}

/// The global secondary indexes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexes {
    None,
    Cool,
    /// A write to some item must be refused for its partition in one of them.
    Hot,
}

/// Of an item that is not in an index.
static NOWHERE: Touched = Touched::Unknown;

/// Where an admitted request reads or writes: what it uses is charged there.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) table: String,
    /// The index that is read, if it is a global one.
    index: Option<String>,
    /// The partitions of the table, or of that index.
    own: Touched,
    /// Of global secondary indexes, by name, as far as the item is known.
    indexes: Vec<(String, Touched)>,
    /// What it costs by itself, where others are charged with it and that is known.
    pub(super) units: Option<f64>,
}

impl Places {
    fn in_index(&self, index: &str) -> Option<&Touched> {
        if self.index.as_deref() == Some(index) {
            return Some(&self.own);
        }
        self.indexes.iter().find(|(name, _)| name == index).map(|(_, touched)| touched)
    }

    /// The partitions in what is charged, the table or one of its indexes; None where nothing of it is read or written.
    fn of(&self, table: &str, index: Option<&str>) -> Option<&[Part]> {
        match index {
            _ if table != self.table => None,
            Some(index) => self.in_index(index).map(Touched::parts),
            None if self.index.is_some() => None,
            None => Some(self.own.parts()),
        }
    }
}

/// The throughput of all tables.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    tables: Arc<Mutex<HashMap<String, OfTable>>>,
    settings: Settings,
}

impl Throttle {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { tables: Arc::default(), settings: settings.clone() }
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, OfTable>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the caps of a table as it is described, and those of its indexes.
    pub(super) fn configure(&self, table: &TableDescription, beside: &Beside) {
        let now_ms = self.settings.clock.now_ms();
        let mut throughput = OfTable::new(table, beside, now_ms);
        let mut tables = self.tables();
        tables.remove(&table.table_name).into_iter().for_each(|before| throughput.carry_over(before, now_ms));
        tables.insert(table.table_name.clone(), throughput);
    }

    pub(super) fn forget(&self, table: &str) {
        self.tables().remove(table);
    }

    pub(super) fn indexes(&self, table: &str) -> Indexes {
        let now_ms = self.settings.clock.now_ms();
        match self.tables().get(table) {
            Some(of_table) if !of_table.indexes.is_empty() => {
                let mut indexes = of_table.indexes.values();
                let is_hot = indexes.any(|index| index.partitions.is_any_exhausted(Access::Write, now_ms));
                if is_hot { Indexes::Hot } else { Indexes::Cool }
            }
            _ => Indexes::None,
        }
    }

    /// Refuses while what the request reads or writes can take no more. `written` is the whole item of a write, as far as it is
    /// known: its partitions in the indexes are asked as well.
    pub(super) fn admit(
        &self,
        target: Target<'_>,
        written: Option<&Attributes>,
        access: Access,
    ) -> Result<Places, Throttled> {
        let now_ms = self.settings.clock.now_ms();
        let mut places = Places { table: target.table.to_owned(), units: target.units, ..Places::default() };
        let mut tables = self.tables();
        let Some(of_table) = tables.get_mut(target.table) else { return Ok(places) };
        let mode = of_table.mode();
        let (throughput, whose) = of_table.read_or_written(target.index);
        places.own = throughput.partitions.of(target.at);
        if let Whose::Index(index) = whose {
            places.index = Some(index);
        }
        places.indexes = written.map(|item| of_table.partitions_of(item)).unwrap_or_default();
        let exhausted = of_table.exhausted(&places, access, now_ms);
        drop(tables);
        let Some((whose, limit)) = exhausted else { return Ok(places) };
        let resource = self.arn(target.table, &whose);
        let table = target.table.to_owned();
        let throttled = Throttled { mode, limit, access, table, whose, resource };
        self.measure(&throttled);
        Err(throttled)
    }

    fn arn(&self, table: &str, whose: &Whose) -> String {
        let Settings { region, account_id, .. } = &self.settings;
        let table = format!("arn:aws:dynamodb:{region}:{account_id}:table/{table}");
        match whose {
            Whose::Table => table,
            Whose::Index(index) => format!("{table}/index/{index}"),
        }
    }

    /// Where the item of a write turned out to be.
    pub(super) fn locate(&self, places: &mut Places, item: &Attributes) {
        if let Some(of_table) = self.tables().get(&places.table) {
            places.indexes = of_table.partitions_of(item);
        }
    }

    /// The names of the attributes of a table's primary key.
    pub(super) fn key(&self, table: &str) -> Vec<String> {
        self.tables().get(table).map(|of_table| of_table.key.clone()).unwrap_or_default()
    }

    /// The name of the attribute that is the partition key of what is read; None where there are several.
    pub(super) fn partition_key(&self, target: Target<'_>) -> Option<String> {
        let mut tables = self.tables();
        let (throughput, _) = tables.get_mut(target.table)?.read_or_written(target.index);
        throughput.partitions.attribute().map(str::to_owned)
    }

    /// What the items that a batch shows of a table cost by themselves, in any order.
    pub(super) fn weigh(&self, places: &mut [Places], table: &str, items: &[Attributes]) {
        let tables = self.tables();
        let Some(of_table) = tables.get(table) else { return };
        for item in items {
            let touched = Touched::from(of_table.own.partitions.of_item(item));
            let is_its =
                |place: &&mut Places| place.units.is_none() && place.table == table && place.own == touched;
            if let Some(place) = places.iter_mut().find(is_its) {
                place.units = Some(read_units(item));
            }
        }
    }

    /// Where the items of a page turned out to be, of so many that were read.
    pub(super) fn locate_page(&self, place: &mut Places, items: &[Attributes], read: usize) {
        if place.own != (Touched::Any { is_shown: true }) || items.is_empty() {
            return;
        }
        if let Some(of_table) = self.tables().get_mut(&place.table) {
            let (throughput, _) = of_table.read_or_written(place.index.as_deref());
            place.own = Touched::page(items, read, |item| throughput.partitions.of_item(item));
        }
    }

    /// What a request cost is known after it ran.
    pub(super) fn charge<'a>(
        &self,
        table: &str,
        costs: impl Iterator<Item = (Option<&'a str>, f64)>,
        places: &[Places],
        access: Access,
    ) {
        let now_ms = self.settings.clock.now_ms();
        let mut tables = self.tables();
        let Some(of_table) = tables.get_mut(table) else { return };
        for (index, units) in costs {
            let throughput = match index {
                Some(index) => of_table.indexes.get_mut(index),
                None => Some(&mut of_table.own),
            };
            let Some(throughput) = throughput else { continue };
            throughput.charge(access, units, now_ms);
            let touched = places.iter().filter_map(|places| Some((places.of(table, index)?, places.units)));
            throughput.charge_partitions(access, units, touched, now_ms);
        }
    }

    /// What provisioned tables and indexes have, whether or not anything uses it.
    pub(super) fn measure_provisioned(&self) {
        let tables = self.tables();
        for (table, of_table) in tables.iter().filter(|(_, of_table)| of_table.mode() == Mode::Provisioned) {
            self.measure_provisioned_of(Target::table(table), &of_table.own.caps);
            for (index, throughput) in &of_table.indexes {
                self.measure_provisioned_of(Target::index(table, index), &throughput.caps);
            }
        }
    }

    /// Of keys that were charged and never again.
    pub(super) fn drop_what_owes_nothing(&self) {
        let now_ms = self.settings.clock.now_ms();
        for of_table in self.tables().values_mut() {
            for throughput in std::iter::once(&mut of_table.own).chain(of_table.indexes.values_mut()) {
                throughput.partitions.drop_what_owes_nothing(now_ms);
            }
        }
    }

    fn measure_provisioned_of(&self, target: Target<'_>, buckets: &Buckets) {
        for (name, bucket) in [
            ("ProvisionedReadCapacityUnits", &buckets.read),
            ("ProvisionedWriteCapacityUnits", &buckets.write),
        ] {
            let units = bucket.as_ref().map_or(0.0, Bucket::units_per_second);
            self.count(name, &target.dimensions(), units);
        }
    }

    fn measure(&self, throttled: &Throttled) {
        let table = throttled.table.as_str();
        let target = match &throttled.whose {
            Whose::Table => Target::table(table),
            Whose::Index(index) => Target::index(table, index),
        };
        let dimensions = target.dimensions();
        let word = throttled.access.word();
        self.count(&format!("{word}ThrottleEvents"), &dimensions, 1.0);
        self.count(&format!("{word}{}ThrottleEvents", throttled.limit_name()), &dimensions, 1.0);
    }

    /// A refused call, however many of its items were. Of a batch, only when all of it was: see "ThrottledRequests" in AWS's
    /// list of metrics.
    pub(super) fn measure_refused(&self, table: &str, operation: &str) {
        self.count("ThrottledRequests", &[("Operation", operation), ("TableName", table)], 1.0);
    }

    fn count(&self, name: &str, dimensions: &[(&str, &str)], value: f64) {
        count(&self.settings, name, dimensions, value);
    }
}

/// What an item costs to read, without what the request makes of it.
pub(super) fn read_units(item: &Attributes) -> f64 {
    read_capacity_units(item_size(item))
}
