//! The throughput of each partition key value. What more than that is asked of one, AWS calls a hot partition.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use dynoxide::AttributeValue;
use dynoxide::types::{KeySchemaElement, KeyType};
use serde::Deserialize;
use serde_json::Value;

use super::bucket::REQUEST_UNITS_MIN;
use super::statement::Stated;
use super::throttle::Access;
use super::touched::Touched;

/// "Each partition on a DynamoDB table is designed to deliver a maximum capacity of 3,000 read units per second and 1,000 write
/// units per second." One second of it may be used at once: nobody documents more.
const READ_UNITS_PER_SECOND: f64 = 3_000.0;
const WRITE_UNITS_PER_SECOND: f64 = 1_000.0;
/// What is kept of a key is dropped when it owes nothing more, looked at when so many are kept, at each doubling and once a minute.
const KEPT_MIN: usize = 64;

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// Where in its table or index a request reads or writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum At<'a> {
    /// Nobody knows.
    Anywhere,
    /// In any partition, which the answer shows.
    Page,
    /// A whole item.
    Item(&'a Attributes),
    /// The key of one.
    Key(&'a Attributes),
    Condition(KeyCondition<'a>),
    /// Of a query in the older form: conditions by the attribute.
    Conditions(&'a Value),
    Statement(Stated<'a>),
}

/// Of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KeyCondition<'a> {
    pub(super) expression: Option<&'a str>,
    pub(super) names: Option<&'a HashMap<String, String>>,
    pub(super) values: Option<&'a Attributes>,
}

impl<'a> KeyCondition<'a> {
    /// The value that the attribute must be equal to. What is no condition at all has none: the engine refuses it.
    fn equal_to(&self, attribute: &str) -> Option<&'a AttributeValue> {
        let spaced = self.expression?.replace('=', " = ").replace(['(', ')'], " ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let is_named = |word: &str| {
            let name = self.names.and_then(|names| names.get(word)).map_or(word, String::as_str);
            name == attribute
        };
        let value = words.windows(3).find_map(|three| match three {
            [left, "=", right] if is_named(left) => Some(*right),
            _ => None,
        });
        self.values?.get(value?)
    }
}

/// The value that an attribute must be equal to, by the older form of a condition on it.
fn equal_value(conditions: &Value, attribute: &str) -> Option<AttributeValue> {
    let condition = conditions.get(attribute)?;
    let values = condition.get("AttributeValueList")?.as_array()?;
    match (condition.get("ComparisonOperator")?.as_str()?, values.as_slice()) {
        ("EQ", [value]) => AttributeValue::deserialize(value).ok(),
        _ => None,
    }
}

/// A partition key value, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Partition(u64);

/// The partition key of a table or an index: the names of its attributes, of which an index may have four.
#[derive(Debug)]
pub(super) struct PartitionKey(Vec<String>);

impl PartitionKey {
    fn new(schema: &[KeySchemaElement]) -> Self {
        let of_partition = schema.iter().filter(|element| element.key_type == KeyType::HASH);
        Self(of_partition.map(|element| element.attribute_name.clone()).collect())
    }

    fn value<V: Borrow<AttributeValue>>(&self, of: impl Fn(&str) -> Option<V>) -> Option<Partition> {
        let mut hasher = DefaultHasher::new();
        for name in &self.0 {
            let value = of(name)?;
            let value: &AttributeValue = value.borrow();
            match value {
                // Nearly every key is one, and needs no copy.
                AttributeValue::S(text) => text.hash(&mut hasher),
                other => other.to_key_string()?.hash(&mut hasher),
            }
        }
        Some(Partition(hasher.finish()))
    }
}

/// What was used of one direction of throughput, by partition.
#[derive(Debug)]
struct Used {
    units_per_second: f64,
    by_partition: HashMap<Partition, Owed>,
    look_at: usize,
    exhausted_until_ms: i64,
}

/// Units that were used and have not come back since.
#[derive(Clone, Copy, Debug)]
struct Owed {
    units: f64,
    at_ms: i64,
}

impl Used {
    fn nothing(units_per_second: f64) -> Self {
        Self {
            units_per_second,
            by_partition: HashMap::new(),
            look_at: KEPT_MIN,
            exhausted_until_ms: i64::MIN,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the time between two requests fits 2^53 ms")]
    fn owed(&self, owed: Owed, now_ms: i64) -> f64 {
        let passed_ms = (now_ms - owed.at_ms).max(0) as f64;
        (owed.units - self.units_per_second * passed_ms / 1e3).max(0.0)
    }

    /// The most that a partition may owe when it takes one more request.
    fn most(&self) -> f64 {
        self.units_per_second - REQUEST_UNITS_MIN
    }

    fn is_exhausted(&self, partition: Partition, now_ms: i64) -> bool {
        let owed = self.by_partition.get(&partition);
        owed.is_some_and(|owed| self.owed(*owed, now_ms) > self.most())
    }

    fn charge(&mut self, partition: Partition, units: f64, now_ms: i64) {
        let before = self.by_partition.get(&partition).map_or(0.0, |owed| self.owed(*owed, now_ms));
        let units = before + units;
        self.by_partition.insert(partition, Owed { units, at_ms: now_ms });
        if units > self.most() {
            #[expect(clippy::cast_possible_truncation, reason = "a request costs at most thousands of units")]
            let back_after_ms = ((units - self.most()) / self.units_per_second * 1e3).ceil() as i64;
            self.exhausted_until_ms = self.exhausted_until_ms.max(now_ms + back_after_ms);
        }
        if self.by_partition.len() >= self.look_at {
            self.drop_what_owes_nothing(now_ms);
        }
    }

    fn drop_what_owes_nothing(&mut self, now_ms: i64) {
        let mut by_partition = std::mem::take(&mut self.by_partition);
        by_partition.retain(|_, owed| self.owed(*owed, now_ms) > 0.0);
        self.look_at = KEPT_MIN.max(2 * by_partition.len());
        // After a page of thousands of keys each look would go over the place that they had.
        by_partition.shrink_to(self.look_at);
        self.by_partition = by_partition;
    }
}

/// The partitions of a table or an index.
#[derive(Debug)]
pub(super) struct Partitions {
    key: PartitionKey,
    read: Used,
    write: Used,
}

impl Partitions {
    pub(super) fn new(schema: &[KeySchemaElement]) -> Self {
        Self {
            key: PartitionKey::new(schema),
            read: Used::nothing(READ_UNITS_PER_SECOND),
            write: Used::nothing(WRITE_UNITS_PER_SECOND),
        }
    }

    pub(super) fn of(&self, at: At<'_>) -> Touched {
        match at {
            At::Anywhere => Touched::Unknown,
            At::Page => Touched::Any { is_shown: true },
            At::Item(attributes) | At::Key(attributes) => self.of_item(attributes).into(),
            At::Condition(condition) => self.key.value(|name| condition.equal_to(name)).into(),
            At::Conditions(conditions) => self.key.value(|name| equal_value(conditions, name)).into(),
            At::Statement(stated) => self.of_statement(stated),
        }
    }

    /// The attribute that is the partition key; None where there are several.
    pub(super) fn attribute(&self) -> Option<&str> {
        match self.key.0.as_slice() {
            [attribute] => Some(attribute),
            _ => None,
        }
    }

    /// No statement is on a key of several attributes: the engine refuses it.
    fn of_statement(&self, stated: Stated<'_>) -> Touched {
        let (Some(statement), Some(attribute)) = (stated.read(), self.attribute()) else {
            return Touched::Unknown;
        };
        match statement.values_of(attribute) {
            Some(values) => {
                Touched::each(values.iter().filter_map(|value| self.key.value(|_| Some(value))).collect())
            }
            None if statement.is_select() => Touched::Any { is_shown: statement.is_on_all() },
            None => Touched::Unknown,
        }
    }

    /// None for an item that is in no partition of the index.
    pub(super) fn of_item(&self, attributes: &Attributes) -> Option<Partition> {
        self.key.value(|name| attributes.get(name))
    }

    const fn used(&self, access: Access) -> &Used {
        match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        }
    }

    pub(super) fn is_exhausted(&self, partition: Partition, access: Access, now_ms: i64) -> bool {
        self.used(access).is_exhausted(partition, now_ms)
    }

    /// Whether a request to one of them may have to be refused.
    pub(super) const fn is_any_exhausted(&self, access: Access, now_ms: i64) -> bool {
        now_ms < self.used(access).exhausted_until_ms
    }

    pub(super) fn charge(&mut self, partition: Partition, access: Access, units: f64, now_ms: i64) {
        match access {
            Access::Read => self.read.charge(partition, units, now_ms),
            Access::Write => self.write.charge(partition, units, now_ms),
        }
    }

    /// What thousands of keys of one page owed would be kept until as many are charged again.
    pub(super) fn drop_what_owes_nothing(&mut self, now_ms: i64) {
        for used in [&mut self.read, &mut self.write] {
            if used.by_partition.len() > KEPT_MIN {
                used.drop_what_owes_nothing(now_ms);
            }
        }
    }

    /// Of another description of the same table: what was used stays used.
    pub(super) fn carry_over(&mut self, before: Self) {
        self.read = before.read;
        self.write = before.write;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn partitions(names: &[&str]) -> Partitions {
        let element =
            |name: &&str| KeySchemaElement { attribute_name: (*name).to_owned(), key_type: KeyType::HASH };
        Partitions::new(&names.iter().map(element).collect::<Vec<_>>())
    }

    fn of_owner(partitions: &Partitions, owner: &str) -> Partition {
        partitions.of_item(&HashMap::from([("owner".to_owned(), text(owner))])).unwrap()
    }

    #[test]
    fn a_query_says_its_partition_however_it_is_written() {
        let partitions = partitions(&["owner"]);
        let names =
            HashMap::from([("#o".to_owned(), "owner".to_owned()), ("#m".to_owned(), "moment".to_owned())]);
        let values = HashMap::from([(":o".to_owned(), text("alice")), (":m".to_owned(), text("1"))]);
        let of = |expression| {
            let condition = KeyCondition { expression, names: Some(&names), values: Some(&values) };
            partitions.of(At::Condition(condition))
        };
        let alice = of_owner(&partitions, "alice");
        let one = |partition| Touched::from(Some(partition));
        for expression in [
            "owner = :o",
            "#o=:o",
            "(#o = :o) AND (#m > :m)",
            "#m <= :m AND #o=:o",
            "begins_with(#m, :m) and owner=:o",
        ] {
            assert_eq!(of(Some(expression)), one(alice), "{expression}");
        }
        for expression in
            [None, Some(""), Some("="), Some("#m = :m"), Some("owner = :none"), Some("owner >= :o")]
        {
            assert_eq!(of(expression), Touched::Unknown, "{expression:?}");
        }
        let older = |operator: &str, values: Value| {
            let condition = json!({"ComparisonOperator": operator, "AttributeValueList": values});
            partitions.of(At::Conditions(&json!({"moment": condition, "owner": condition})))
        };
        assert_eq!(older("EQ", json!([{"S": "alice"}])), one(alice));
        for (operator, values) in [
            ("GE", json!([{"S": "alice"}])),
            ("EQ", json!([])),
            ("EQ", json!([{"S": 1}])),
            ("EQ", json!([{"L": []}])),
            ("EQ", json!("alice")),
        ] {
            assert_eq!(older(operator, values), Touched::Unknown, "{operator}");
        }
        assert_ne!(of_owner(&partitions, "bob"), alice);
    }

    #[test]
    fn a_statement_is_in_the_partitions_of_its_keys_or_in_those_that_its_answer_shows() {
        let partitions = partitions(&["owner"]);
        let of = |text| partitions.of(At::Statement(Stated { text, parameters: None }));
        let (alice, bob) = (of_owner(&partitions, "alice"), of_owner(&partitions, "bob"));
        assert_eq!(of("DELETE FROM t WHERE id = 'a' AND owner = 'alice'"), Touched::each(vec![alice]));
        let both = of("SELECT * FROM t WHERE owner IN ['alice', 'bob']");
        assert_eq!(both, Touched::each(vec![alice, bob]));
        assert!(both.parts().iter().all(|part| part.share == 0.5), "{both:?}");
        assert_eq!(of("SELECT * FROM t"), Touched::Any { is_shown: true });
        assert_eq!(of("SELECT * FROM t WHERE id = 'a'"), Touched::Any { is_shown: false });
        assert_eq!(of("UPDATE t SET n = 1 WHERE id = 'a'"), Touched::Unknown);
        assert_eq!(of("SELECT * FROM t WHERE owner = 'alice"), Touched::Unknown);
    }

    #[test]
    fn each_item_of_a_page_pays_by_its_size_and_none_for_what_is_not_shown() {
        let partitions = partitions(&["owner"]);
        let item = |owner: &str, bytes: usize| {
            let filling = "x".repeat(bytes - "owner".len() - owner.len() - "t".len());
            HashMap::from([("owner".to_owned(), text(owner)), ("t".to_owned(), text(&filling))])
        };
        let (alice, bob) = (of_owner(&partitions, "alice"), of_owner(&partitions, "bob"));
        let items = [item("alice", 100), item("alice", 200), item("bob", 100)];
        let shares = |read| -> Vec<(Partition, f64)> {
            let touched = Touched::page(&items, read, |item| partitions.of_item(item));
            touched.parts().iter().map(|part| (part.partition, part.share)).collect()
        };
        assert_eq!(shares(3), [(alice, 0.75), (bob, 0.25)]);
        assert_eq!(shares(6), [(alice, 0.375), (bob, 0.125)]);
        assert!(Touched::page(&[], 3, |_| None).parts().is_empty());
    }

    #[test]
    fn an_item_without_one_of_the_keys_attributes_is_in_no_partition() {
        let partitions = partitions(&["owner", "kind"]);
        let mut item = HashMap::from([("owner".to_owned(), text("alice"))]);
        assert_eq!(partitions.of_item(&item), None);
        item.insert("kind".to_owned(), AttributeValue::L(vec![]));
        assert_eq!(partitions.of_item(&item), None, "a list is no key");
        item.insert("kind".to_owned(), text("digest"));
        assert!(partitions.of_item(&item).is_some());
    }

    #[test]
    fn a_partition_is_exhausted_until_what_was_used_comes_back_and_no_other_is() {
        let mut partitions = partitions(&["owner"]);
        let (alice, bob) = (of_owner(&partitions, "alice"), of_owner(&partitions, "bob"));
        for _ in 0..1_000 {
            assert!(!partitions.is_exhausted(alice, Access::Write, NOW_MS));
            assert!(!partitions.is_any_exhausted(Access::Write, NOW_MS));
            partitions.charge(alice, Access::Write, 1.0, NOW_MS);
        }
        assert!(partitions.is_exhausted(alice, Access::Write, NOW_MS));
        assert!(partitions.is_any_exhausted(Access::Write, NOW_MS));
        assert!(!partitions.is_exhausted(bob, Access::Write, NOW_MS));
        assert!(!partitions.is_exhausted(alice, Access::Read, NOW_MS));
        assert!(!partitions.is_exhausted(alice, Access::Write, NOW_MS + 1));
        assert!(!partitions.is_any_exhausted(Access::Write, NOW_MS + 1));

        partitions.charge(bob, Access::Read, 6_000.0, NOW_MS);
        assert!(partitions.is_exhausted(bob, Access::Read, NOW_MS + 1_000), "it owes as much again");
        assert!(!partitions.is_exhausted(bob, Access::Read, NOW_MS + 1_001));
    }

    #[test]
    fn what_is_kept_is_what_still_owes() {
        let mut partitions = partitions(&["owner"]);
        for number in 0..100_000_u32 {
            let owner = of_owner(&partitions, &number.to_string());
            partitions.charge(owner, Access::Write, 1.0, NOW_MS + i64::from(number / 10));
        }
        assert!(partitions.write.by_partition.len() <= KEPT_MIN, "{}", partitions.write.by_partition.len());

        for number in 0..1_000_u32 {
            let owner = of_owner(&partitions, &number.to_string());
            partitions.charge(owner, Access::Read, 6.0, NOW_MS);
        }
        partitions.drop_what_owes_nothing(NOW_MS + 1);
        assert_eq!(partitions.read.by_partition.len(), 1_000, "each still owes half");
        partitions.drop_what_owes_nothing(NOW_MS + 2);
        assert!(partitions.read.by_partition.is_empty());
        assert!(partitions.read.by_partition.capacity() <= 2 * KEPT_MIN);
    }
}
