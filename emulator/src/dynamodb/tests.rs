//! What stands around the engine, as a caller meets it, on a clock that is moved by hand.

mod arns;
mod changes;
mod descriptions;
mod hot;
mod insights;
mod kills;
mod scaled;
mod statements;
mod streams;

use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::iam::{Ask, Caller, Context, Verdict};
use crate::metrics::MetricId;
use crate::store::Store;

const START_MS: i64 = 1_700_000_000_000;
/// Waiting for what must happen is bounded; nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(10);

/// What one large item costs to write.
const LARGE_UNITS: usize = 300;
/// What on-demand throughput says that nobody configured.
const HOT_KEY: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your \
                       table or index so please try again shortly. If exceptions persist, check if you have a hot key: \
                       https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html";

struct Stand {
    tables: DynamoDb,
    clock: Arc<ManualClock>,
}

impl Stand {
    fn start() -> Self {
        let (settings, hand) = Settings::by_hand(START_MS);
        Self { tables: DynamoDb::new(&settings).unwrap(), clock: hand }
    }

    /// With tables that are kept.
    fn on(dir: &Path) -> Self {
        let (settings, hand) = Settings::by_hand(START_MS);
        let settings = Settings { store: Store::open(dir).unwrap(), ..settings };
        Self { tables: DynamoDb::new(&settings).unwrap(), clock: hand }
    }

    /// What a start finds after a kill at this moment.
    fn again(&self) -> Self {
        let tables = DynamoDb::new(&self.tables.account.settings).unwrap();
        Self { tables, clock: Arc::clone(&self.clock) }
    }

    async fn call(&self, operation: &str, body: Value) -> (u16, Value) {
        self.send(operation, &body.to_string()).await
    }

    /// What no value can be as well: with a name twice.
    async fn send(&self, operation: &str, body: &str) -> (u16, Value) {
        let mut request = AwsRequest::unsigned("dynamodb", Method::POST, "/", body);
        let target = format!("DynamoDB_20120810.{operation}");
        request.headers.insert("x-amz-target", target.parse().unwrap());
        let answer = self.tables.handle(request).await;
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
    }

    async fn done(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// The name of the error, and all of it.
    async fn refused(&self, operation: &str, body: Value) -> (String, Value) {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 400, "{operation}: {answer}");
        let (_, name) = answer["__type"].as_str().unwrap().split_once('#').unwrap();
        (name.to_owned(), answer)
    }

    /// A table with the key `id`; what more it has is in `more`.
    async fn table(&self, name: &str, more: Value) -> Value {
        self.done("CreateTable", definition(name, more)).await
    }

    async fn deleted(&self, table: &str) {
        self.done("DeleteTable", json!({ "TableName": table })).await;
    }

    async fn put(&self, table: &str, id: &str) -> Value {
        self.done("PutItem", putting(table, id)).await
    }

    async fn description(&self, table: &str) -> Value {
        self.done("DescribeTable", json!({ "TableName": table })).await["Table"].clone()
    }

    /// A write to the table is refused in the words of its mode, for the throughput of what `resource` names, and measured
    /// there. Reading goes on.
    async fn refuses_a_write(&self, table: &str, resource: &str, dimensions: &[(&str, &str)], words: Words) {
        let Words { exception, reasons, reason, message } = words;
        let (name, refused) = self.refused("PutItem", putting(table, "b")).await;
        assert_eq!((name.as_str(), &refused["message"]), (exception, &json!(message)));
        let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:{resource}");
        assert_eq!(refused[reasons], json!([{"reason": reason, "resource": arn}]), "{refused}");
        assert_eq!(self.sum("WriteThrottleEvents", dimensions), Some(1.0));
        let of_operation = [("Operation", "PutItem"), ("TableName", table)];
        assert_eq!(self.sum("ThrottledRequests", &of_operation), Some(1.0));
        self.done("GetItem", getting(table, "a")).await;
    }

    /// The sum of a metric since the start.
    fn sum(&self, name: &str, dimensions: &[(&str, &str)]) -> Option<f64> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let id = MetricId::new(NAMESPACE, name, dimensions.iter().map(owned).collect());
        let metrics = &self.tables.account.settings.metrics;
        metrics.statistics(&id, Unit::Count.name(), START_MS, START_MS + 60_000).map(|set| set.sum)
    }
}

/// What a throttle says. The name of the list of reasons differs in case between the two exceptions.
struct Words {
    exception: &'static str,
    reasons: &'static str,
    reason: &'static str,
    message: &'static str,
}

const fn of_on_demand(reason: &'static str) -> Words {
    let message = "Throughput exceeds the maximum OnDemandThroughput configured on table or index";
    Words { exception: "ThrottlingException", reasons: "throttlingReasons", reason, message }
}

const fn of_provisioned(reason: &'static str, message: &'static str) -> Words {
    let exception = "ProvisionedThroughputExceededException";
    Words { exception, reasons: "ThrottlingReasons", reason, message }
}

fn definition(name: &str, more: Value) -> Value {
    let mut table = json!({
        "TableName": name,
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    });
    table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    table
}

fn on_demand() -> Value {
    json!({"BillingMode": "PAY_PER_REQUEST"})
}

/// At most so many units a second in either direction.
fn capped(units: u64) -> Value {
    let caps = json!({"MaxReadRequestUnits": units, "MaxWriteRequestUnits": units});
    json!({"BillingMode": "PAY_PER_REQUEST", "OnDemandThroughput": caps})
}

fn provisioned(units: u64) -> Value {
    json!({"ProvisionedThroughput": {"ReadCapacityUnits": units, "WriteCapacityUnits": units}})
}

/// `more` and an index by `owner`, which itself has what `of_index` says.
fn indexed(mut more: Value, of_index: Value) -> Value {
    let mut index = json!({
        "IndexName": "by-owner",
        "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    });
    index.as_object_mut().unwrap().extend(of_index.as_object().unwrap().clone());
    more["GlobalSecondaryIndexes"] = json!([index]);
    more["AttributeDefinitions"] = json!([
        {"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "owner", "AttributeType": "S"},
    ]);
    more
}

fn key(id: &str) -> Value {
    json!({"id": {"S": id}})
}

fn putting(table: &str, id: &str) -> Value {
    json!({"TableName": table, "Item": {"id": {"S": id}, "owner": {"S": "o"}}})
}

fn getting(table: &str, id: &str) -> Value {
    json!({"TableName": table, "Key": key(id), "ConsistentRead": true})
}

fn large(table: &str, id: &str, owner: &str) -> Value {
    // With its names and its key it is a little smaller than its units.
    let text = "x".repeat(LARGE_UNITS * 1024 - 100);
    json!({"TableName": table, "Item": {"id": {"S": id}, "owner": {"S": owner}, "text": {"S": text}}})
}

fn units(read: u64, write: u64, status: &str) -> Value {
    json!({"ReadUnitsPerSecond": read, "WriteUnitsPerSecond": write, "Status": status})
}

#[tokio::test]
async fn a_table_beyond_its_throughput_is_refused_with_the_reason_of_its_mode() {
    let stand = Stand::start();
    stand.table("on-demand", capped(1)).await;
    stand.table("provisioned", provisioned(1)).await;
    stand.put("on-demand", "a").await;
    // Five minutes of provisioned capacity may be used at once: one item uses it all.
    let mut large = putting("provisioned", "a");
    large["Item"]["v"] = json!({"S": "x".repeat(300 * 1024)});
    stand.done("PutItem", large).await;

    for (table, words) in [
        ("on-demand", of_on_demand("TableWriteMaxOnDemandThroughputExceeded")),
        (
            "provisioned",
            of_provisioned(
                "TableWriteProvisionedThroughputExceeded",
                "The level of configured provisioned throughput for the table was exceeded. \
                 Consider increasing your provisioning level with the UpdateTable API.",
            ),
        ),
    ] {
        stand.refuses_a_write(table, &format!("table/{table}"), &[("TableName", table)], words).await;
    }
    stand.clock.advance(Duration::from_secs(2));
    stand.put("on-demand", "b").await;
    stand.put("provisioned", "b").await;
    assert_eq!(stand.sum("UserErrors", &[]), None, "a throttle is none");
}

#[tokio::test]
async fn a_change_of_the_table_gives_nothing_back_of_what_was_used() {
    let stand = Stand::start();
    stand.table("tasks", capped(2)).await;
    let update = |more: Value| {
        let mut update = json!({"TableName": "tasks"});
        update.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        update
    };
    stand.put("tasks", "a").await;
    stand.put("tasks", "b").await;
    stand.done("UpdateTable", update(json!({"DeletionProtectionEnabled": true}))).await;
    assert_eq!(stand.refused("PutItem", putting("tasks", "c")).await.0, "ThrottlingException");

    stand.clock.advance(Duration::from_millis(500));
    stand.done("UpdateTable", update(capped(10))).await;
    stand.put("tasks", "c").await;
    assert_eq!(stand.refused("PutItem", putting("tasks", "d")).await.0, "ThrottlingException");
    stand.clock.advance(Duration::from_secs(1));
    stand.done("UpdateTable", update(capped(1))).await;
    stand.put("tasks", "d").await;
    assert_eq!(stand.refused("PutItem", putting("tasks", "e")).await.0, "ThrottlingException");

    // The capacity of another mode is another's.
    let mut other = provisioned(1);
    other["BillingMode"] = json!("PROVISIONED");
    stand.done("UpdateTable", update(other)).await;
    stand.put("tasks", "e").await;
}

#[tokio::test]
async fn a_description_of_a_table_changes_nothing_of_what_is_known_of_it() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let account = &stand.tables.account;
    // As of an update that the engine has done since it described the table.
    let index = json!({"IndexName": "by-owner", "OnDemandThroughput": {"MaxReadRequestUnits": 7}});
    let caps = index_caps::IndexCaps::asked(&json!({ "GlobalSecondaryIndexes": [index] })).unwrap();
    account.control.lock().unwrap().change("tasks", |beside| beside.caps = caps).unwrap();
    let known = account.beside("tasks");
    assert!(known.caps.of("by-owner").is_some());
    let asked = json!({"TableName": "tasks", "WarmThroughput": {"ReadUnitsPerSecond": 20_000}});
    stand.done("DescribeTable", asked).await;
    assert_eq!(account.beside("tasks"), known);
}

#[tokio::test]
async fn an_index_uses_neither_the_throughput_nor_the_metrics_of_its_table() {
    let stand = Stand::start();
    stand.table("tasks", indexed(capped(3), json!({}))).await;
    let by_table = [("TableName", "tasks")];
    let by_index = [("GlobalSecondaryIndexName", "by-owner"), ("TableName", "tasks")];
    for id in ["a", "b", "c"] {
        stand.put("tasks", id).await;
    }
    assert_eq!(stand.refused("PutItem", putting("tasks", "d")).await.0, "ThrottlingException");
    assert_eq!(stand.sum("ConsumedWriteCapacityUnits", &by_table), Some(3.0));
    assert_eq!(stand.sum("ConsumedWriteCapacityUnits", &by_index), Some(3.0));

    for id in ["a", "b", "c"] {
        stand.done("GetItem", getting("tasks", id)).await;
    }
    let query = |index: Value, name: &str, value: &str| {
        let mut query = json!({"TableName": "tasks", "KeyConditionExpression": "#k = :v",
            "ExpressionAttributeNames": {"#k": name}, "ExpressionAttributeValues": {":v": {"S": value}}});
        query.as_object_mut().unwrap().extend(index.as_object().unwrap().clone());
        query
    };
    assert_eq!(stand.refused("Query", query(json!({}), "id", "a")).await.0, "ThrottlingException");
    let of_index = query(json!({"IndexName": "by-owner"}), "owner", "o");
    assert_eq!(stand.done("Query", of_index).await["Count"], 3);
    let scan = json!({"TableName": "tasks", "IndexName": "by-owner"});
    assert_eq!(stand.done("Scan", scan).await["Count"], 3);
    let select = json!({"Statement": r#"SELECT * FROM "tasks"."by-owner" WHERE "owner" = 'o'"#});
    assert_eq!(stand.done("ExecuteStatement", select).await["Items"].as_array().unwrap().len(), 3);
    assert_eq!(stand.sum("ConsumedReadCapacityUnits", &by_table), Some(3.0));
    assert_eq!(stand.sum("ConsumedReadCapacityUnits", &by_index), Some(1.5));
    for operation in ["Query", "Scan", "ExecuteStatement"] {
        let dimensions = [("Operation", operation), ("TableName", "tasks")];
        assert_eq!(stand.sum("ReturnedItemCount", &dimensions), Some(3.0), "{operation}");
    }
}

#[tokio::test]
async fn a_write_waits_for_the_slowest_index_and_a_read_for_the_index_that_it_reads() {
    let stand = Stand::start();
    let caps = json!({"MaxReadRequestUnits": 1, "MaxWriteRequestUnits": 1});
    stand.table("on-demand", indexed(on_demand(), json!({ "OnDemandThroughput": caps }))).await;
    stand.table("provisioned", indexed(provisioned(1_000), provisioned(1))).await;
    stand.put("on-demand", "a").await;
    // Five minutes of provisioned capacity may be used at once: one item uses all of the index's.
    let mut large = putting("provisioned", "a");
    large["Item"]["v"] = json!({"S": "x".repeat(300 * 1024)});
    stand.done("PutItem", large).await;

    for (table, words) in [
        ("on-demand", of_on_demand("IndexWriteMaxOnDemandThroughputExceeded")),
        (
            "provisioned",
            of_provisioned(
                "IndexWriteProvisionedThroughputExceeded",
                "The level of configured provisioned throughput for one or more global secondary indexes of the table \
                 was exceeded. Consider increasing your provisioning level for the under-provisioned global secondary \
                 indexes with the UpdateTable API",
            ),
        ),
    ] {
        let by_index = [("GlobalSecondaryIndexName", "by-owner"), ("TableName", table)];
        stand.refuses_a_write(table, &format!("table/{table}/index/by-owner"), &by_index, words).await;
        assert_eq!(stand.sum("WriteThrottleEvents", &[("TableName", table)]), None);
    }
    let scan = json!({"TableName": "on-demand", "IndexName": "by-owner"});
    stand.done("Scan", scan.clone()).await;
    let (_, refused) = stand.refused("Scan", scan).await;
    assert_eq!(refused["throttlingReasons"][0]["reason"], "IndexReadMaxOnDemandThroughputExceeded");
    assert_eq!(stand.done("Scan", json!({"TableName": "on-demand"})).await["Count"], 1);

    stand.clock.advance(Duration::from_secs(2));
    stand.put("on-demand", "b").await;
    stand.put("provisioned", "b").await;
}

#[tokio::test]
async fn the_caps_of_an_index_are_shown_and_can_be_changed_and_taken_away() {
    let stand = Stand::start();
    let caps = |read: i64, write: i64| json!({"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write});
    let with = |read, write| json!({ "OnDemandThroughput": caps(read, write) });
    let shown = |table: &Value| table["GlobalSecondaryIndexes"][0].get("OnDemandThroughput").cloned();
    let created = stand.table("tasks", indexed(on_demand(), with(7, 1))).await;
    assert_eq!(shown(&created["TableDescription"]), Some(caps(7, 1)));
    let update = |index: &str, caps: Value| {
        let update = json!({"Update": {"IndexName": index, "OnDemandThroughput": caps}});
        json!({"TableName": "tasks", "GlobalSecondaryIndexUpdates": [update]})
    };
    stand.put("tasks", "a").await;
    assert_eq!(stand.refused("PutItem", putting("tasks", "b")).await.0, "ThrottlingException");
    // What is not named stays, and what was used stays used.
    stand.done("UpdateTable", update("by-owner", json!({"MaxWriteRequestUnits": 2}))).await;
    assert_eq!(shown(&stand.description("tasks").await), Some(caps(7, 2)));
    assert_eq!(stand.refused("PutItem", putting("tasks", "b")).await.0, "ThrottlingException");
    stand.done("UpdateTable", update("by-owner", caps(-1, -1))).await;
    assert_eq!(shown(&stand.description("tasks").await), None);
    stand.put("tasks", "b").await;

    for (refused, name) in [
        (update("by-nobody", caps(1, 1)), "ResourceNotFoundException"),
        (update("by-owner", caps(0, 1)), "ValidationException"),
        (update("by-owner", json!({"MaxReadRequestUnits": "many"})), "SerializationException"),
        (json!({"TableName": "tasks"}), "ValidationException"),
    ] {
        assert_eq!(stand.refused("UpdateTable", refused).await.0, name);
    }
    for more in [indexed(on_demand(), with(-1, 1)), indexed(provisioned(1), with(1, 1))] {
        let (name, _) = stand.refused("CreateTable", definition("other", more)).await;
        assert_eq!(name, "ValidationException");
    }
}

#[tokio::test]
async fn the_provisioned_throughput_of_an_index_is_changed_shown_and_kept_to() {
    let stand = Stand::start();
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    let shown = |table: &Value| {
        let units = &table["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"];
        (units["ReadCapacityUnits"].as_u64(), units["WriteCapacityUnits"].as_u64())
    };
    let update = |of_table: Value, of_index: Option<Value>| {
        let mut update = json!({"TableName": "tasks"});
        update.as_object_mut().unwrap().extend(of_table.as_object().unwrap().clone());
        if let Some(mut index) = of_index {
            index["IndexName"] = json!("by-owner");
            update["GlobalSecondaryIndexUpdates"] = json!([{ "Update": index }]);
        }
        update
    };
    let mut to_provisioned = provisioned(1_000);
    to_provisioned["BillingMode"] = json!("PROVISIONED");
    let (name, _) = stand.refused("UpdateTable", update(to_provisioned.clone(), None)).await;
    assert_eq!(name, "ValidationException", "the index would have none");
    let changed = stand.done("UpdateTable", update(to_provisioned, Some(provisioned(2)))).await;
    assert_eq!(shown(&changed["TableDescription"]), (Some(2), Some(2)));

    // Two units for 300 seconds are 600.
    let mut large = putting("tasks", "a");
    large["Item"]["v"] = json!({"S": "x".repeat(300 * 1024)});
    for id in ["a", "c"] {
        large["Item"]["id"] = json!({"S": id});
        stand.done("PutItem", large.clone()).await;
    }
    let (_, refused) = stand.refused("PutItem", putting("tasks", "b")).await;
    assert_eq!(refused["ThrottlingReasons"][0]["reason"], "IndexWriteProvisionedThroughputExceeded");

    stand.done("UpdateTable", update(json!({}), Some(provisioned(50)))).await;
    assert_eq!(shown(&stand.description("tasks").await), (Some(50), Some(50)));
    stand.clock.advance(Duration::from_secs(1));
    stand.put("tasks", "b").await;
    stand.done("UpdateTable", update(on_demand(), None)).await;
    assert_eq!(shown(&stand.description("tasks").await), (Some(0), Some(0)));
}

/// As of the table itself, whose units are shown as nought as well.
#[tokio::test]
async fn an_index_of_a_table_on_demand_has_no_provisioned_throughput() {
    let stand = Stand::start();
    let of_index = |table: &Value| table["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"].clone();
    let units = |table: &Value| of_index(table)["ReadCapacityUnits"].as_u64();
    stand.table("tasks", indexed(provisioned(5), provisioned(7))).await;
    assert_eq!(units(&stand.description("tasks").await), Some(7));
    stand.table("other", indexed(on_demand(), json!({}))).await;
    let mut update = on_demand();
    update["TableName"] = json!("tasks");
    let updated = stand.done("UpdateTable", update).await;
    let shown = [updated["TableDescription"].clone(), stand.description("tasks").await];
    for table in shown.iter().chain([&stand.description("other").await]) {
        let of_table = table["ProvisionedThroughput"]["ReadCapacityUnits"].as_u64();
        assert_eq!((of_table, units(table)), (Some(0), Some(0)), "{table:#}");
    }
}

#[tokio::test]
async fn what_a_batch_asks_of_a_throttled_table_is_unprocessed() {
    let stand = Stand::start();
    stand.table("spent", capped(1)).await;
    stand.table("free", on_demand()).await;
    stand.put("spent", "a").await;
    stand.done("GetItem", getting("spent", "a")).await;
    for (operation, unprocessed, requests) in [
        ("BatchWriteItem", "UnprocessedItems", json!([{"PutRequest": {"Item": key("b")}}])),
        ("BatchGetItem", "UnprocessedKeys", json!({"Keys": [key("b")]})),
    ] {
        let both = json!({"RequestItems": {"spent": requests, "free": requests}});
        let answer = stand.done(operation, both).await;
        assert_eq!(answer[unprocessed], json!({ "spent": requests }), "{answer}");
        let (name, _) = stand.refused(operation, json!({"RequestItems": {"spent": requests}})).await;
        assert_eq!(name, "ThrottlingException", "only when all of it is refused, the call is");
    }
    assert_eq!(stand.done("GetItem", getting("free", "b")).await["Item"], key("b"));
}

#[tokio::test]
async fn a_transaction_with_a_throttled_table_is_cancelled_whole_and_says_which() {
    let stand = Stand::start();
    stand.table("spent", capped(1)).await;
    stand.table("free", on_demand()).await;
    stand.put("spent", "a").await;
    let puts = ["free", "spent"].map(|table| json!({"Put": {"TableName": table, "Item": key("b")}}));
    let inserts = ["free", "spent"]
        .map(|table| json!({"Statement": format!("INSERT INTO \"{table}\" VALUE {{'id': 'b'}}")}));
    for (operation, body) in [
        ("TransactWriteItems", json!({ "TransactItems": puts })),
        ("ExecuteTransaction", json!({ "TransactStatements": inserts })),
    ] {
        let (name, cancelled) = stand.refused(operation, body).await;
        assert_eq!(name, "TransactionCanceledException");
        let text = "Throughput exceeds the maximum OnDemandThroughput configured on table or index";
        assert_eq!(
            cancelled["CancellationReasons"],
            json!([{"Code": "None"}, {"Code": "ThrottlingError", "Message": text}])
        );
        assert!(cancelled["Message"].as_str().unwrap().ends_with("[None, ThrottlingError]"), "{cancelled}");
    }
    assert_eq!(stand.done("GetItem", getting("free", "b")).await.get("Item"), None);
}

#[tokio::test]
async fn statements_are_charged_to_their_tables_and_throttled_by_them() {
    let stand = Stand::start();
    stand.table("capped", capped(2)).await;
    stand.table("free", on_demand()).await;
    let insert = |table: &str, id: &str| {
        let statement = format!("INSERT INTO \"{table}\" VALUE {{'id': '{id}'}}");
        json!({ "Statement": statement })
    };
    stand.done("ExecuteStatement", insert("capped", "a")).await;
    let batch = json!({"Statements": [insert("capped", "b"), insert("free", "b")]});
    assert_eq!(
        stand.done("BatchExecuteStatement", batch).await["Responses"],
        json!([{"TableName": "capped"}, {"TableName": "free"}])
    );
    assert_eq!(stand.sum("ConsumedWriteCapacityUnits", &[("TableName", "capped")]), Some(2.0));
    assert_eq!(stand.sum("ConsumedWriteCapacityUnits", &[("TableName", "free")]), Some(1.0));

    let (name, refused) = stand.refused("ExecuteStatement", insert("capped", "c")).await;
    assert_eq!(name, "ThrottlingException", "{refused}");
    let error = json!({"Error": {"Code": "ThrottlingError", "Message": refused["message"]}});
    let batch = json!({"Statements": [insert("free", "c"), insert("capped", "c"), insert("free", "d")]});
    assert_eq!(
        stand.done("BatchExecuteStatement", batch).await["Responses"],
        json!([{"TableName": "free"}, error, {"TableName": "free"}])
    );
    let batch = json!({"Statements": [insert("capped", "c")]});
    assert_eq!(stand.done("BatchExecuteStatement", batch).await["Responses"], json!([error]));
    let select = json!({"Statement": "SELECT * FROM capped WHERE id = 'a'", "ConsistentRead": true});
    assert_eq!(stand.done("ExecuteStatement", select).await["Items"], json!([key("a")]), "reads go on");
    assert_eq!(stand.sum("ConsumedReadCapacityUnits", &[("TableName", "capped")]), Some(1.0));
}

#[tokio::test]
async fn the_bill_is_shown_only_to_callers_that_asked() {
    let stand = Stand::start();
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    let put = |mode: &str| {
        let mut put = putting("tasks", mode);
        put["ReturnConsumedCapacity"] = json!(mode);
        put
    };
    assert_eq!(stand.put("tasks", "a").await, json!({}));
    assert_eq!(
        stand.done("PutItem", put("TOTAL")).await,
        json!({"ConsumedCapacity": {"TableName": "tasks", "CapacityUnits": 2.0}})
    );
    let shown = stand.done("PutItem", put("INDEXES")).await;
    assert_eq!(shown["ConsumedCapacity"]["Table"]["CapacityUnits"], 1.0, "{shown}");
}

#[tokio::test]
async fn a_description_shows_the_warm_throughput_that_the_mode_gives() {
    let stand = Stand::start();
    let of_index = provisioned(1);
    for (table, more, of_table, of_index) in [
        ("provisioned", indexed(provisioned(5), of_index), units(5, 5, "ACTIVE"), units(1, 1, "ACTIVE")),
        (
            "on-demand",
            indexed(on_demand(), json!({})),
            units(12_000, 4_000, "ACTIVE"),
            units(12_000, 4_000, "ACTIVE"),
        ),
    ] {
        let created = &stand.table(table, more).await["TableDescription"];
        assert_eq!(created.get("WarmThroughput"), None, "not yet known");
        assert_eq!(created["GlobalSecondaryIndexes"][0].get("WarmThroughput"), None);
        let shown = stand.description(table).await;
        assert_eq!(shown["WarmThroughput"], of_table, "{table}");
        assert_eq!(shown["GlobalSecondaryIndexes"][0]["WarmThroughput"], of_index, "{table}");
    }
}

#[tokio::test]
async fn a_warm_throughput_that_is_asked_for_is_kept_until_the_table_goes() {
    let stand = Stand::start();
    let warm = |read: u64, write: u64| json!({"ReadUnitsPerSecond": read, "WriteUnitsPerSecond": write});
    let mut more = indexed(on_demand(), json!({"WarmThroughput": warm(13_000, 5_000)}));
    more["WarmThroughput"] = warm(20_000, 6_000);
    let created = &stand.table("tasks", more).await["TableDescription"];
    assert_eq!(created["WarmThroughput"], units(20_000, 6_000, "UPDATING"));
    let shown = stand.description("tasks").await;
    assert_eq!(shown["WarmThroughput"], units(20_000, 6_000, "ACTIVE"));
    assert_eq!(shown["GlobalSecondaryIndexes"][0]["WarmThroughput"], units(13_000, 5_000, "ACTIVE"));

    let change = json!({"TableName": "tasks", "WarmThroughput": {"ReadUnitsPerSecond": 30_000}});
    let changed = &stand.done("UpdateTable", change).await["TableDescription"];
    assert_eq!(changed["WarmThroughput"], units(30_000, 6_000, "ACTIVE"));
    let nonsense = json!({"TableName": "tasks", "WarmThroughput": {"ReadUnitsPerSecond": "many"}});
    assert_eq!(stand.refused("UpdateTable", nonsense).await.0, "SerializationException");

    stand.done("DeleteTable", json!({"TableName": "tasks"})).await;
    stand.table("tasks", provisioned(5)).await;
    assert_eq!(stand.description("tasks").await["WarmThroughput"], units(5, 5, "ACTIVE"));
}

#[tokio::test]
async fn encryption_is_turned_on_and_off_with_a_key_of_the_account() {
    let stand = Stand::start();
    let with = |mut more: Value, specification: Value| {
        more["SSESpecification"] = specification;
        more
    };
    stand.table("tasks", with(on_demand(), json!({"Enabled": true}))).await;
    stand.table("other", on_demand()).await;
    let shown = async |table: &str| stand.description(table).await.get("SSEDescription").cloned();
    let managed = shown("tasks").await.unwrap();
    let arn = managed["KMSMasterKeyArn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:kms:us-east-1:123456789012:key/"), "{arn}");
    assert_eq!(managed, json!({"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": arn}));
    assert_eq!(shown("other").await, None);

    let update = |table: &str, specification: Value| with(json!({"TableName": table}), specification);
    stand.done("UpdateTable", update("tasks", json!({"Enabled": false}))).await;
    assert_eq!(shown("tasks").await, None);
    let mut both = update("other", json!({"Enabled": true}));
    both["DeletionProtectionEnabled"] = json!(true);
    let updated = stand.done("UpdateTable", both).await;
    assert_eq!(updated["TableDescription"]["SSEDescription"], managed, "one key for all tables");
    let key = "arn:aws:kms:us-east-1:123456789012:key/own";
    stand.done("UpdateTable", update("other", json!({"Enabled": true, "KMSMasterKeyId": key}))).await;
    assert_eq!(shown("other").await.unwrap()["KMSMasterKeyArn"], key);
    for (refused, name) in [
        (json!({"Enabled": false, "KMSMasterKeyId": key}), "ValidationException"),
        (json!({"Enabled": "yes"}), "SerializationException"),
    ] {
        assert_eq!(stand.refused("UpdateTable", update("other", refused)).await.0, name);
    }
}

#[test]
fn what_an_older_version_kept_of_tables_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let kept = |text: &str| {
        std::fs::write(dir.path().join("tables.json"), text).unwrap();
        let shown = |control: Control| serde_json::to_value(&control).unwrap()["beside"].clone();
        shown(Control::open(Some(dir.path())).unwrap())
    };
    assert_eq!(kept(r#"{"recovery":{},"policies":{}}"#), json!({}));
    let units = json!({"ReadCapacityUnits": 7, "WriteCapacityUnits": 8});
    let caps = json!({"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": 6});
    let of_index = |value: &Value| json!({"tasks": {"by-owner": value}});
    let older = json!({"recovery": {}, "policies": {},
        "warm": {"tasks": {"table": null, "indexes": {}}}, "index_caps": of_index(&caps),
        "index_units": of_index(&units)});
    let now = kept(&older.to_string());
    assert_eq!(now["tasks"]["caps"]["by-owner"], caps, "{now}");
    assert_eq!(now["tasks"]["units"]["by-owner"], units, "{now}");
    // What is written now is read again, and so is what was written when no changes were counted.
    let again = |beside: &Value| kept(&json!({"recovery": {}, "policies": {}, "beside": beside}).to_string());
    assert_eq!(again(&now), now);
    let mut before = now.clone();
    before["tasks"].as_object_mut().unwrap().remove("changes").unwrap();
    assert_eq!(again(&before), now);
    // A policy under a name that none is kept under any more.
    let policy = json!({"document": unreadable("*"), "revision": "1"});
    let policies =
        json!({"tasks": policy, "arn:aws:dynamodb:us-east-1:123456789012:table/tasks/index/a": policy});
    assert_eq!(kept(&json!({"recovery": {}, "policies": policies}).to_string()), json!({}));
}

#[tokio::test]
async fn a_time_to_live_that_changes_nothing_is_refused() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let set = |enabled: bool| {
        let wanted = json!({"AttributeName": "until", "Enabled": enabled});
        json!({"TableName": "tasks", "TimeToLiveSpecification": wanted})
    };
    let message = async |enabled: bool| {
        let (name, refused) = stand.refused("UpdateTimeToLive", set(enabled)).await;
        assert_eq!(name, "ValidationException");
        refused["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message(false).await, "TimeToLive is already disabled");
    stand.done("UpdateTimeToLive", set(true)).await;
    assert_eq!(message(true).await, "TimeToLive is already enabled");
    stand.done("UpdateTimeToLive", set(false)).await;
    assert_eq!(message(false).await, "TimeToLive is already disabled");
}

#[tokio::test]
async fn a_time_to_live_stays_with_its_attribute_until_it_is_disabled() {
    let stand = Stand::start();
    stand.table_with_time_to_live().await;
    let set = |attribute: &str, enabled: bool| {
        let wanted = json!({"AttributeName": attribute, "Enabled": enabled});
        json!({"TableName": "tasks", "TimeToLiveSpecification": wanted})
    };
    for enabled in [true, false] {
        let (name, refused) = stand.refused("UpdateTimeToLive", set("other", enabled)).await;
        let words = "TimeToLive is active on a different AttributeName: current AttributeName is until";
        assert_eq!((name.as_str(), &refused["message"]), ("ValidationException", &json!(words)));
        let shown = stand.done("DescribeTimeToLive", json!({"TableName": "tasks"})).await;
        assert_eq!(shown["TimeToLiveDescription"]["AttributeName"], "until");
        assert_eq!(shown["TimeToLiveDescription"]["TimeToLiveStatus"], "ENABLED");
    }
    stand.done("UpdateTimeToLive", set("until", false)).await;
    stand.done("UpdateTimeToLive", set("other", true)).await;
}

#[tokio::test]
async fn what_makes_a_global_table_is_refused_by_name() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let replica = json!([{"Create": {"RegionName": "eu-west-1"}}]);
    for (member, value) in [
        ("ReplicaUpdates", replica.clone()),
        ("GlobalTableWitnessUpdates", replica),
        ("MultiRegionConsistency", json!("STRONG")),
    ] {
        let mut update = json!({"TableName": "tasks", "DeletionProtectionEnabled": true});
        update[member] = value;
        let (name, refused) = stand.refused("UpdateTable", update).await;
        let words = format!("{member} of UpdateTable is not part of this emulator.");
        assert_eq!((name.as_str(), &refused["message"]), ("ValidationException", &json!(words)));
    }
    let update = json!({"TableName": "tasks", "DeletionProtectionEnabled": true, "ReplicaUpdates": []});
    stand.done("UpdateTable", update).await;
}

const TEN_YEARS_SECONDS: i64 = 10 * 365 * 86_400;

impl Stand {
    /// A table whose items live until their `until`.
    async fn table_with_time_to_live(&self) {
        self.table("tasks", on_demand()).await;
        let ttl = json!({"AttributeName": "until", "Enabled": true});
        self.done("UpdateTimeToLive", json!({"TableName": "tasks", "TimeToLiveSpecification": ttl})).await;
    }

    async fn put_until(&self, id: &str, until_seconds: i64) {
        let item = json!({"id": {"S": id}, "until": {"N": until_seconds.to_string()}});
        self.done("PutItem", json!({"TableName": "tasks", "Item": item})).await;
    }

    async fn has(&self, id: &str) -> bool {
        self.done("GetItem", getting("tasks", id)).await.get("Item").is_some()
    }

    /// Lets the time pass in which an item goes.
    async fn expired(&self, id: &str) {
        let gone = async {
            while self.has(id).await {
                // Again and again: when the sweep begins to wait for its minute is its own affair.
                self.clock.advance(Duration::from_secs(60));
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, gone).await.unwrap();
    }
}

#[tokio::test]
async fn items_expire_on_the_clock_of_the_emulator() {
    let stand = Stand::start();
    stand.table_with_time_to_live().await;
    let start = START_MS / 1_000;
    stand.put_until("soon", start + 30).await;
    stand.put_until("late", start + TEN_YEARS_SECONDS).await;
    assert!(stand.has("soon").await);
    stand.expired("soon").await;
    assert!(stand.has("late").await);
}

/// Only the engine knows the moment, so that nothing announces it.
#[tokio::test]
async fn an_item_whose_moment_was_computed_expires_as_well() {
    let stand = Stand::start();
    stand.table_with_time_to_live().await;
    stand.put_until("a", START_MS / 1_000 + TEN_YEARS_SECONDS).await;
    // The sweep that the new time to live asks for is not this one's.
    stand.put_until("sooner", START_MS / 1_000 + 30).await;
    stand.expired("sooner").await;
    let update = json!({
        "TableName": "tasks", "Key": {"id": {"S": "a"}},
        "UpdateExpression": "SET #until = #until - :less", "ExpressionAttributeNames": {"#until": "until"},
        "ExpressionAttributeValues": {":less": {"N": TEN_YEARS_SECONDS.to_string()}},
    });
    stand.done("UpdateItem", update).await;
    stand.expired("a").await;
}

#[tokio::test]
async fn a_resource_policy_is_put_and_deleted_by_its_revision() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";
    let policy = |action: &str| {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": "123456789012"},
            "Action": action, "Resource": arn});
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let put = async |action: &str, expected: Option<&str>| {
        let mut put = json!({"ResourceArn": arn, "Policy": policy(action)});
        if let Some(expected) = expected {
            put["ExpectedRevisionId"] = json!(expected);
        }
        let (status, answer) = stand.call("PutResourcePolicy", put).await;
        (status, answer["RevisionId"].as_str().unwrap_or_default().to_owned())
    };
    let missing = json!({ "ResourceArn": arn });
    assert_eq!(stand.refused("GetResourcePolicy", missing.clone()).await.0, "PolicyNotFoundException");
    assert_eq!(put("dynamodb:GetItem", Some("of-nothing")).await.0, 400);
    let (status, first) = put("dynamodb:GetItem", Some("NO_POLICY")).await;
    assert_eq!(status, 200, "there was none");
    assert_eq!(put("dynamodb:GetItem", None).await, (200, first.clone()), "the same text, the same revision");
    assert_eq!(put("dynamodb:PutItem", Some("NO_POLICY")).await.0, 400, "there is one");
    let (status, second) = put("dynamodb:PutItem", Some(first.as_str())).await;
    assert!(status == 200 && second != first);
    assert_eq!(put("dynamodb:Query", Some(first.as_str())).await.0, 400, "an old revision");
    let found = stand.done("GetResourcePolicy", missing.clone()).await;
    assert_eq!(found["RevisionId"], json!(second));
    assert_eq!(found["Policy"], json!(policy("dynamodb:PutItem")));

    let stale = json!({"ResourceArn": arn, "ExpectedRevisionId": first});
    assert_eq!(stand.refused("DeleteResourcePolicy", stale).await.0, "PolicyNotFoundException");
    assert_eq!(stand.done("DeleteResourcePolicy", missing.clone()).await, json!({"RevisionId": second}));
    assert_eq!(stand.done("DeleteResourcePolicy", missing).await, json!({}), "idempotent");
    let unknown = json!({"ResourceArn": arn.replace("tasks", "none"), "Policy": policy("dynamodb:Query")});
    assert_eq!(stand.refused("PutResourcePolicy", unknown).await.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_policy_is_of_a_table_or_of_its_stream_and_goes_with_the_table() {
    let stand = Stand::start();
    let (table, other) = (
        "arn:aws:dynamodb:us-east-1:123456789012:table/tasks",
        "arn:aws:dynamodb:us-east-1:123456789012:table/tasks-of-others",
    );
    stand.table("tasks", on_demand()).await;
    stand.table("tasks-of-others", on_demand()).await;
    let (stream, index) = (format!("{table}/stream/1700000000"), format!("{table}/index/by-owner"));
    let put = |arn: &str| json!({"ResourceArn": arn, "Policy": unreadable(arn)});
    let named = |arn: &str| json!({ "ResourceArn": arn });
    for arn in [table, &*stream, other] {
        stand.done("PutResourcePolicy", put(arn)).await;
    }
    for arn in [&*index, "tasks", &*table.replace("123456789012", "999999999999")] {
        let calls = [
            ("PutResourcePolicy", put(arn)),
            ("GetResourcePolicy", named(arn)),
            ("DeleteResourcePolicy", named(arn)),
        ];
        for (operation, call) in calls {
            let (name, refused) = stand.refused(operation, call).await;
            let message = format!("Invalid ResourceArn provided as input {arn}");
            assert_eq!((name.as_str(), &refused["message"]), ("ValidationException", &json!(message)));
        }
    }
    stand.done("GetResourcePolicy", named(&stream)).await;
    stand.done("DeleteTable", json!({"TableName": "tasks"})).await;
    stand.table("tasks", on_demand()).await;
    stand.done("GetResourcePolicy", named(other)).await;
    for arn in [table, &*stream] {
        assert_eq!(
            stand.refused("GetResourcePolicy", named(arn)).await.0,
            "PolicyNotFoundException",
            "{arn}"
        );
    }
}

#[tokio::test]
async fn tags_are_of_a_table_by_its_own_arn() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let table = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";
    let calls = |arn: &str| {
        [
            ("TagResource", json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "other"}]})),
            ("UntagResource", json!({"ResourceArn": arn, "TagKeys": ["a"]})),
            ("ListTagsOfResource", json!({ "ResourceArn": arn })),
        ]
    };
    let tags = json!([{"Key": "a", "Value": "b"}]);
    stand.done("TagResource", json!({"ResourceArn": table, "Tags": tags})).await;
    for other in [
        table.replace("123456789012", "999999999999"),
        // Which is the account that the engine knows.
        "arn:aws:dynamodb:dynoxide:000000000000:table/tasks".to_owned(),
    ] {
        for (operation, call) in calls(&other) {
            assert_eq!(stand.refused(operation, call).await.0, "AccessDeniedException", "{other}");
        }
    }
    for other in [
        table.replace("us-east-1", "eu-west-1"),
        format!("{table}/index/by-owner"),
        format!("{table}/stream/1700000000"),
        format!("{table}/"),
        "tasks".to_owned(),
    ] {
        for (operation, call) in calls(&other) {
            let (name, refused) = stand.refused(operation, call).await;
            let message = format!("Invalid TableArn: Invalid ResourceArn provided as input {other}");
            assert_eq!((name.as_str(), &refused["message"]), ("ValidationException", &json!(message)));
        }
    }
    for unnamed in [json!({}), json!({"ResourceArn": ""}), json!({"ResourceArn": null})] {
        assert_eq!(stand.refused("ListTagsOfResource", unnamed).await.1["message"], "Invalid TableArn");
    }
    assert_eq!(stand.done("ListTagsOfResource", json!({ "ResourceArn": table })).await["Tags"], tags);
}

#[tokio::test]
async fn a_part_of_a_call_is_no_list_of_its_members() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let (item, insert) = (json!({"id": {"S": "a"}}), "INSERT INTO tasks VALUE {'id': 'a'}");
    for (operation, call) in [
        ("TransactWriteItems", json!({"TransactItems": [[{"TableName": "tasks", "Item": item}]]})),
        ("TransactWriteItems", json!({"TransactItems": [{"Put": ["tasks", item]}]})),
        ("TransactGetItems", json!({"TransactItems": [[{"TableName": "tasks", "Key": item}]]})),
        ("TransactGetItems", json!({"TransactItems": [{"Get": ["tasks", item]}]})),
        ("BatchExecuteStatement", json!({"Statements": [[insert]]})),
        ("ExecuteTransaction", json!({"TransactStatements": [[insert]]})),
    ] {
        assert_eq!(stand.refused(operation, call.clone()).await.0, "SerializationException", "{call}");
    }
    let found = stand.done("GetItem", getting("tasks", "a")).await;
    assert!(found["Item"].is_null(), "{found}");
}

#[tokio::test]
async fn no_call_names_two_tables_in_one_member() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let members = r#""TableName":"other","TableName":"tasks""#;
    for (operation, body) in [
        ("UpdateTable", format!(r#"{{{members},"DeletionProtectionEnabled":true}}"#)),
        ("DeleteTable", format!("{{{members}}}")),
        ("PutItem", format!(r#"{{{members},"Item":{{"id":{{"S":"a"}}}}}}"#)),
    ] {
        let (status, refused) = stand.send(operation, &body).await;
        let name = refused["__type"].as_str().and_then(|name| name.split('#').next_back());
        assert_eq!((status, name), (400, Some("SerializationException")), "{operation}: {refused}");
    }
    assert_ne!(stand.description("tasks").await["DeletionProtectionEnabled"], true);
}

/// A policy that lets nobody read.
fn unreadable(table_arn: &str) -> String {
    let statement =
        json!({"Effect": "Deny", "Principal": "*", "Action": "dynamodb:GetItem", "Resource": table_arn});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[tokio::test]
async fn a_policy_that_a_table_is_made_with_holds_at_once() {
    let stand = Stand::start();
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";
    let with = |policy: Value| {
        let mut more = on_demand();
        more["ResourcePolicy"] = policy;
        more
    };
    let policy = unreadable(arn);
    stand.table("tasks", with(json!(policy))).await;
    let found = stand.done("GetResourcePolicy", json!({"ResourceArn": arn})).await;
    assert_eq!(found["Policy"], json!(policy));
    assert!(found["RevisionId"].is_string(), "{found}");
    let rules = stand.tables.policies().policy(arn).unwrap();
    let ask = Ask { action: "dynamodb:GetItem", resource: arn, context: Context::at(START_MS) };
    assert_eq!(rules.ask(&ask, &Caller::Root { account_id: "123456789012" }), Verdict::Denies);

    // What is refused leaves no table behind, and no policy on one that is there.
    let other = json!(unreadable("*"));
    let (name, _) = stand.refused("CreateTable", definition("tasks", with(other))).await;
    assert_eq!(name, "ResourceInUseException");
    assert_eq!(stand.done("GetResourcePolicy", json!({"ResourceArn": arn})).await, found);
    for (policy, expected) in
        [(json!("{}"), "ValidationException"), (json!({"Statement": []}), "SerializationException")]
    {
        let (name, _) = stand.refused("CreateTable", definition("other", with(policy))).await;
        assert_eq!(name, expected);
    }
    stand.table("other", with(Value::Null)).await;
    let of_other = json!({"ResourceArn": arn.replace("tasks", "other")});
    assert_eq!(stand.refused("GetResourcePolicy", of_other).await.0, "PolicyNotFoundException");
}

#[tokio::test]
async fn a_policy_has_at_most_20_kilobytes_with_its_white_space() {
    let stand = Stand::start();
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";
    let policy = unreadable(arn);
    let (most, too_much) = (format!("{policy:<20480}"), format!("{policy:<20481}"));
    let with = |policy: &str| {
        let mut more = on_demand();
        more["ResourcePolicy"] = json!(policy);
        definition("tasks", more)
    };
    let put = |policy: &str| json!({"ResourceArn": arn, "Policy": policy});
    let is_refused = async |operation: &str, body: Value| {
        let (name, refused) = stand.refused(operation, body).await;
        let message =
            "One or more parameter values were invalid: Maximum policy size of 20480 bytes exceeded";
        assert_eq!((name.as_str(), &refused["message"]), ("ValidationException", &json!(message)));
    };
    is_refused("CreateTable", with(&too_much)).await;
    stand.done("CreateTable", with(&most)).await;
    is_refused("PutResourcePolicy", put(&too_much)).await;
    stand.done("PutResourcePolicy", put(&most)).await;
}

#[tokio::test]
async fn backups_are_kept_for_at_most_35_days_of_a_table_that_is_there() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let set = |table: &str, days: u32| {
        let wanted = json!({"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": days});
        json!({"TableName": table, "PointInTimeRecoverySpecification": wanted})
    };
    for days in [0, 36] {
        let (name, _) = stand.refused("UpdateContinuousBackups", set("tasks", days)).await;
        assert_eq!(name, "ValidationException", "{days}");
    }
    assert_eq!(stand.refused("UpdateContinuousBackups", set("none", 7)).await.0, "TableNotFoundException");
    let missing = json!({"TableName": "none"});
    assert_eq!(stand.refused("DescribeContinuousBackups", missing).await.0, "TableNotFoundException");
    let shown = stand.done("UpdateContinuousBackups", set("tasks", 7)).await;
    let recovery = &shown["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    assert_eq!(
        (&recovery["PointInTimeRecoveryStatus"], &recovery["RecoveryPeriodInDays"]),
        (&json!("ENABLED"), &json!(7))
    );
}

#[tokio::test]
async fn an_iterator_names_its_stream_and_reads_no_other() {
    let stand = Stand::start();
    let streamed = json!({
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
    });
    for table in ["tasks", "secrets"] {
        stand.table(table, streamed.clone()).await;
    }
    let stream = async |table: &str| {
        let stream = stand.description(table).await["LatestStreamArn"].as_str().unwrap().to_owned();
        let described = stand.done("DescribeStream", json!({ "StreamArn": stream })).await;
        (stream, described["StreamDescription"]["Shards"][0]["ShardId"].clone())
    };
    let read = async |iterator: &Value| {
        let read = stand.done("GetRecords", json!({ "ShardIterator": iterator })).await;
        let records = read["Records"].as_array().unwrap();
        assert!(records.iter().all(|record| record["awsRegion"] == "us-east-1"), "{read}");
        let ids = records.iter().map(|record| record["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap());
        (ids.map(str::to_owned).collect::<Vec<_>>(), read["NextShardIterator"].clone())
    };
    let ((tasks, shard), (secrets, _)) = (stream("tasks").await, stream("secrets").await);
    let first = json!({"StreamArn": tasks, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let first = stand.done("GetShardIterator", first).await["ShardIterator"].clone();
    let mark = format!("{tasks}|1|");
    let of_engine = first.as_str().unwrap().strip_prefix(&mark).unwrap();
    stand.put("tasks", "a").await;
    let (ids, next) = read(&first).await;
    assert_eq!(ids, ["a"]);
    assert!(next.as_str().unwrap().starts_with(&mark), "{next}");
    stand.put("tasks", "b").await;
    assert_eq!(read(&next).await.0, ["b"]);
    let forged = format!("{secrets}|1|{of_engine}");
    for iterator in [of_engine, &*forged, "", &*mark] {
        let refused = stand.refused("GetRecords", json!({ "ShardIterator": iterator })).await;
        assert_eq!(refused.0, "ValidationException", "{iterator}");
    }
    // No call is a list of its members, by which it could not be judged.
    let listed = json!([first, 1]);
    assert_eq!(stand.refused("GetRecords", listed).await.0, "SerializationException");
}

#[tokio::test]
async fn a_stream_has_no_name_but_its_own_arn() {
    let stand = Stand::start();
    let streamed = json!({
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
    });
    stand.table("tasks", streamed).await;
    let stream = stand.description("tasks").await["LatestStreamArn"].as_str().unwrap().to_owned();
    let described = stand.done("DescribeStream", json!({ "StreamArn": stream })).await;
    assert_eq!(described["StreamDescription"]["StreamArn"], stream);
    let asked = |stream: &str| {
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        json!({"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"})
    };
    let first = stand.done("GetShardIterator", asked(&stream)).await["ShardIterator"].clone();
    let (_, of_engine) = first.as_str().unwrap().split_once("|1|").unwrap();
    let (table, label) = stream.split_once("/stream/").unwrap();
    for other in [
        stream.replace("123456789012", "999999999999"),
        // Which is the account that the engine knows.
        format!("arn:aws:dynamodb:dynoxide:000000000000:table/tasks/stream/{label}"),
        format!("{table}/stream/0"),
        format!("{stream}|"),
        format!("{stream}/"),
        table.to_owned(),
        format!("x/tasks/stream/{label}"),
        String::new(),
    ] {
        let calls = [
            ("DescribeStream", json!({ "StreamArn": other })),
            ("GetShardIterator", asked(&other)),
            ("GetRecords", json!({"ShardIterator": format!("{other}|1|{of_engine}")})),
        ];
        for (operation, call) in calls {
            let (name, refused) = stand.refused(operation, call).await;
            let message = format!("Requested resource not found: Stream: {other} not found");
            assert_eq!((name.as_str(), &refused["message"]), ("ResourceNotFoundException", &json!(message)));
        }
    }
}

#[tokio::test]
async fn errors_are_counted_by_whose_they_are_and_provisioned_units_without_a_call() {
    let stand = Stand::start();
    stand.table("tasks", indexed(provisioned(5), provisioned(3))).await;
    let account = &stand.tables.account;
    let body = putting("tasks", "a").to_string();
    account.measure("PutItem", &body, &Err(Failure::internal()), Duration::ZERO);
    account.measure("PutItem", &body, &Err(Failure::unreadable()), Duration::ZERO);
    let dimensions = [("Operation", "PutItem"), ("TableName", "tasks")];
    assert_eq!(stand.sum("SystemErrors", &dimensions), Some(1.0));
    assert_eq!(stand.sum("UserErrors", &[]), Some(1.0));
    account.throttle.measure_provisioned();
    for name in ["ProvisionedReadCapacityUnits", "ProvisionedWriteCapacityUnits"] {
        assert_eq!(stand.sum(name, &[("TableName", "tasks")]), Some(5.0));
        let by_index = [("GlobalSecondaryIndexName", "by-owner"), ("TableName", "tasks")];
        assert_eq!(stand.sum(name, &by_index), Some(3.0));
    }
}
