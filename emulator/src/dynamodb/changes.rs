//! Changes of throughput that AWS allows only so often: decreases, and switches to on demand.

use std::collections::HashMap;

use dynoxide::DynoxideError;
use dynoxide::actions::{TableDescription, TableProvisionedThroughputDescription};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::{Failure, seconds};
use super::described::{ON_DEMAND, has_index, index_requests, indexes_mut, is_on_demand};

/// "On a given day, you can start by performing up to four decreases", and then one "per hour as long as there was no decreases in
/// the preceding hour". "This effectively brings the maximum number of decreases in a day to 27".
const DECREASES_AT_ONCE: u32 = 4;
const HOUR_SECONDS: i64 = 3_600;
const DAY_MS: i64 = 86_400_000;
/// "From provisioned capacity mode to on-demand mode up to four times in a 24-hour rolling window"; back at any time.
const SWITCHES_MAX: usize = 4;

/// Of a table and of its global secondary indexes, each of which counts apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Changes {
    table: Option<Decreases>,
    indexes: HashMap<String, Decreases>,
    /// When the table became on demand, the newest last: no more than are allowed.
    switches_ms: Vec<i64>,
}

/// Those of one throughput.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Decreases {
    last_ms: i64,
    /// On the day of the last one.
    count: u32,
}

impl Changes {
    /// What a request changes of a table that has the throughput which is described.
    pub(super) fn asked(request: &Value, table: &TableDescription, now_ms: i64) -> Self {
        let one = Decreases { last_ms: now_ms, count: 1 };
        let of_index = |name: &str| {
            let mut indexes = table.global_secondary_indexes.iter().flatten();
            indexes.find(|index| index.index_name == name)?.provisioned_throughput.as_ref()
        };
        let indexes = index_requests(request).filter(|(name, index)| is_decrease(index, of_index(name)));
        let switches = request["BillingMode"] == ON_DEMAND && !is_on_demand(table);
        Self {
            table: is_decrease(request, table.provisioned_throughput.as_ref()).then_some(one),
            indexes: indexes.map(|(name, _)| (name.to_owned(), one)).collect(),
            switches_ms: switches.then_some(now_ms).into_iter().collect(),
        }
    }

    /// # Errors
    /// When one of the changes comes too soon. "Requests are not partially processed."
    pub(super) fn check(&self, asked: &Self) -> Result<(), Failure> {
        let own = asked.table.iter().map(|asked| (asked, self.table.as_ref()));
        let indexes = asked.indexes.iter().map(|(name, asked)| (asked, self.indexes.get(name)));
        for (asked, before) in own.chain(indexes) {
            before.map_or(Ok(()), |before| before.check(asked.last_ms))?;
        }
        asked.switches_ms.iter().try_for_each(|at_ms| self.check_switch(*at_ms))
    }

    fn check_switch(&self, at_ms: i64) -> Result<(), Failure> {
        let all = &self.switches_ms;
        let (Some(first_ms), Some(last_ms)) = (all.first(), all.last()) else { return Ok(()) };
        let next_ms = first_ms + DAY_MS;
        if all.len() < SWITCHES_MAX || at_ms >= next_ms {
            return Ok(());
        }
        Err(exceeded(&format!(
            "Update to PayPerRequest mode are limited to {SWITCHES_MAX} times in 1 day(s). Last update at {}. Next update \
             can be made at {}",
            short(*last_ms),
            short(next_ms)
        )))
    }

    /// With what is changed now, and without the indexes that the table no longer has.
    pub(super) fn changed(mut self, asked: Self, table: &TableDescription) -> Self {
        if let Some(asked) = asked.table {
            self.table = Some(self.table.unwrap_or_default().and(asked));
        }
        for (name, asked) in asked.indexes {
            let decreases = self.indexes.entry(name).or_default();
            *decreases = decreases.and(asked);
        }
        self.indexes.retain(|name, _| has_index(table, name));
        self.switches_ms.extend(asked.switches_ms);
        let old = self.switches_ms.len().saturating_sub(SWITCHES_MAX);
        self.switches_ms.drain(..old);
        self
    }

    /// Writes the decreases into the description of a table and of its indexes.
    pub(super) fn show(&self, table: &mut Map<String, Value>, now_ms: i64) {
        for index in indexes_mut(table) {
            let name = index.get("IndexName").and_then(Value::as_str).unwrap_or_default();
            let decreases = self.indexes.get(name).copied();
            describe(index, decreases, now_ms);
        }
        describe(table, self.table, now_ms);
    }
}

impl Decreases {
    fn check(self, now_ms: i64) -> Result<(), Failure> {
        let today = self.today(now_ms);
        let next_ms = (self.last_ms + HOUR_SECONDS * 1_000).min((day(now_ms) + 1) * DAY_MS);
        if today < DECREASES_AT_ONCE || now_ms >= next_ms {
            return Ok(());
        }
        Err(exceeded(&format!(
            "Provisioned throughput decreases are limited within a given UTC day. After the first {DECREASES_AT_ONCE} \
             decreases, each subsequent decrease in the same UTC day can be performed at most once every {HOUR_SECONDS} \
             seconds. Number of decreases today: {today}. Last decrease at {}. Next decrease can be made at {}",
            long(self.last_ms),
            long(next_ms)
        )))
    }

    const fn today(self, now_ms: i64) -> u32 {
        if day(self.last_ms) == day(now_ms) { self.count } else { 0 }
    }

    const fn and(self, later: Self) -> Self {
        Self { last_ms: later.last_ms, count: self.today(later.last_ms) + later.count }
    }
}

/// Whether either of its units becomes less. What cannot be read the engine refuses.
fn is_decrease(asked: &Value, has: Option<&TableProvisionedThroughputDescription>) -> bool {
    let Some(has) = has else { return false };
    let units = &asked["ProvisionedThroughput"];
    let is_less = |member: &str, has: u64| units[member].as_u64().is_some_and(|asked| asked < has);
    is_less("ReadCapacityUnits", has.read_capacity_units)
        || is_less("WriteCapacityUnits", has.write_capacity_units)
}

/// The moment of the last decrease stays when its day is over.
fn describe(place: &mut Map<String, Value>, decreases: Option<Decreases>, now_ms: i64) {
    let throughput = place.get_mut("ProvisionedThroughput").and_then(Value::as_object_mut);
    let Some(throughput) = throughput else { return };
    let today = decreases.map_or(0, |decreases| decreases.today(now_ms));
    throughput.insert("NumberOfDecreasesToday".to_owned(), today.into());
    if let Some(decreases) = decreases {
        throughput.insert("LastDecreaseDateTime".to_owned(), seconds(decreases.last_ms).into());
    }
}

/// Days are those of UTC.
const fn day(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}

fn exceeded(why: &str) -> Failure {
    DynoxideError::LimitExceededException(format!("Subscriber limit exceeded: {why}")).into()
}

/// `Tuesday, November 14, 2023 at 10:13:20 PM Coordinated Universal Time`.
fn long(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%A, %B %-d, %Y at %-I:%M:%S %p Coordinated Universal Time").to_string()
}

/// `Tue Nov 14 22:13:20 UTC 2023`.
fn short(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%a %b %d %H:%M:%S UTC %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_room_for_twenty_seven_decreases() {
        let midnight_ms = 19_000 * DAY_MS;
        let mut decreases = Decreases::default();
        for minute in 0..1_440 {
            let now_ms = midnight_ms + minute * 60_000;
            if decreases.check(now_ms).is_ok() {
                decreases = decreases.and(Decreases { last_ms: now_ms, count: 1 });
            }
        }
        let over_ms = midnight_ms + DAY_MS;
        assert_eq!((decreases.today(over_ms - 1), decreases.today(over_ms)), (27, 0));
    }
}
