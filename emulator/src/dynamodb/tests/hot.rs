//! More asked of one partition key value than a partition gives.

use super::*;

/// As many as a partition takes at once, and then it owes.
const LARGE_PUTS: usize = 4;

fn small(id: &str, owner: &str) -> Value {
    json!({"TableName": "tasks", "Item": {"id": {"S": id}, "owner": {"S": owner}}})
}

/// An update that changes what the index shows.
fn touching(id: &str) -> Value {
    json!({"TableName": "tasks", "Key": key(id), "UpdateExpression": "SET #n = :n",
        "ExpressionAttributeNames": {"#n": "n"}, "ExpressionAttributeValues": {":n": {"N": "1"}}})
}

fn deleting(id: &str) -> Value {
    json!({"TableName": "tasks", "Key": key(id)})
}

impl Stand {
    async fn is_hot(&self, operation: &str, body: Value, reason: &str) {
        let (name, refused) = self.refused(operation, body).await;
        assert_eq!((name.as_str(), &refused["message"]), ("ThrottlingException", &json!(HOT_KEY)));
        assert_eq!(refused["throttlingReasons"][0]["reason"], reason, "{refused}");
    }

    /// Reads `a`, a large item, until its partition gives no more.
    async fn exhaust_reads_of_a(&self) {
        self.done("PutItem", large("tasks", "a", "o")).await;
        // 75 units each.
        for _ in 0..40 {
            self.done("GetItem", getting("tasks", "a")).await;
        }
    }
}

#[tokio::test]
async fn a_hot_key_is_refused_in_either_mode_and_no_other_key_is() {
    let stand = Stand::start();
    stand.table("on-demand", on_demand()).await;
    stand.table("provisioned", provisioned(1_000_000)).await;
    let message = "The level of configured provisioned throughput for the table was exceeded. \
                   Consider increasing your provisioning level with the UpdateTable API.";
    for (table, words) in [
        ("on-demand", Words { message: HOT_KEY, ..of_on_demand("TableWriteKeyRangeThroughputExceeded") }),
        ("provisioned", of_provisioned("TableWriteKeyRangeThroughputExceeded", message)),
    ] {
        for _ in 0..LARGE_PUTS {
            stand.done("PutItem", large(table, "b", "o")).await;
        }
        let dimensions = [("TableName", table)];
        stand.put(table, "a").await;
        stand.refuses_a_write(table, &format!("table/{table}"), &dimensions, words).await;
        assert_eq!(stand.sum("WriteKeyRangeThroughputThrottleEvents", &dimensions), Some(1.0));
    }
    // 1,200 units were used of 1,000, and one is asked for.
    stand.clock.advance(Duration::from_millis(200));
    stand.refused("PutItem", putting("on-demand", "b")).await;
    stand.clock.advance(Duration::from_millis(1));
    stand.put("on-demand", "b").await;
}

#[tokio::test]
async fn every_write_of_one_key_of_an_index_is_refused_while_it_is_hot() {
    let stand = Stand::start();
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    for (id, owner) in [("hers", "alice"), ("his", "bob")] {
        stand.done("PutItem", small(id, owner)).await;
    }
    for number in 0..LARGE_PUTS {
        stand.done("PutItem", large("tasks", &number.to_string(), "alice")).await;
    }
    let reason = "IndexWriteKeyRangeThroughputExceeded";
    let put = json!({"Put": {"TableName": "tasks", "Item": {"id": {"S": "new"}, "owner": {"S": "alice"}}}});
    stand.is_hot("PutItem", small("new", "alice"), reason).await;
    stand.is_hot("UpdateItem", touching("hers"), reason).await;
    stand.is_hot("DeleteItem", deleting("hers"), reason).await;
    let (_, cancelled) = stand.refused("TransactWriteItems", json!({ "TransactItems": [put] })).await;
    assert_eq!(cancelled["CancellationReasons"], json!([{"Code": "ThrottlingError", "Message": HOT_KEY}]));
    let by_index = [("GlobalSecondaryIndexName", "by-owner"), ("TableName", "tasks")];
    assert_eq!(stand.sum("WriteKeyRangeThroughputThrottleEvents", &by_index), Some(4.0));

    stand.done("UpdateItem", touching("his")).await;
    stand.done("DeleteItem", deleting("his")).await;
    stand.done("PutItem", small("new", "bob")).await;
    stand.done("PutItem", json!({"TableName": "tasks", "Item": key("of nobody")})).await;

    stand.clock.advance(Duration::from_secs(1));
    stand.done("UpdateItem", touching("hers")).await;
}

/// What it changed is known only when it has: where the item is in the index is read from the engine's answer.
#[tokio::test]
async fn an_update_or_a_deletion_is_charged_to_its_key_of_the_index_whatever_it_asks_to_see() {
    for (operation, more, shown) in [
        ("UpdateItem", json!({}), false),
        ("UpdateItem", json!({"ReturnValues": "NONE"}), false),
        ("UpdateItem", json!({"ReturnValues": "ALL_NEW"}), true),
        ("UpdateItem", json!({"ReturnValues": "UPDATED_NEW"}), true),
        ("DeleteItem", json!({}), false),
        ("DeleteItem", json!({"ReturnValues": "ALL_OLD"}), true),
    ] {
        let stand = Stand::start();
        stand.table("tasks", indexed(on_demand(), json!({}))).await;
        for number in 0..LARGE_PUTS {
            stand.done("PutItem", large("tasks", &number.to_string(), "alice")).await;
            stand.clock.advance(Duration::from_secs(1));
        }
        stand.clock.advance(Duration::from_secs(1));
        for number in 0..LARGE_PUTS {
            let id = number.to_string();
            let mut body = if operation == "UpdateItem" { touching(&id) } else { deleting(&id) };
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = stand.done(operation, body).await;
            assert_eq!(answer.get("Attributes").is_some(), shown, "{operation} {more}");
        }
        stand.is_hot("PutItem", small("new", "alice"), "IndexWriteKeyRangeThroughputExceeded").await;
        stand.done("PutItem", small("new", "bob")).await;
    }
}

#[tokio::test]
async fn reads_of_a_hot_key_are_refused_and_writes_go_on() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    stand.exhaust_reads_of_a().await;
    let reason = "TableReadKeyRangeThroughputExceeded";
    stand.is_hot("GetItem", getting("tasks", "a"), reason).await;
    let query = |id: &str| {
        json!({"TableName": "tasks", "KeyConditionExpression": "id = :id",
            "ExpressionAttributeValues": {":id": {"S": id}}})
    };
    let older = |id: &str| {
        let condition = json!({"ComparisonOperator": "EQ", "AttributeValueList": [{"S": id}]});
        json!({"TableName": "tasks", "KeyConditions": {"id": condition}})
    };
    let select = |condition: &str| json!({"Statement": format!("SELECT * FROM \"tasks\" {condition}")});
    for hot in [query("a"), older("a")] {
        stand.is_hot("Query", hot, reason).await;
    }
    for hot in ["WHERE id = 'a'", "WHERE id IN ['b', 'a']", "", "WHERE \"owner\" = 'o'"] {
        stand.is_hot("ExecuteStatement", select(hot), reason).await;
    }
    // It may read that key, and nobody knows before.
    stand.is_hot("Scan", json!({"TableName": "tasks"}), reason).await;
    for cool in [query("b"), older("b")] {
        stand.done("Query", cool).await;
    }
    stand.done("ExecuteStatement", select("WHERE id = 'b'")).await;
    stand.put("tasks", "a").await;
    stand.clock.advance(Duration::from_millis(1));
    stand.done("Scan", json!({"TableName": "tasks"})).await;
}

/// Four large items, each of which is read for 75 units, under one key of the index.
async fn of_alice() -> Stand {
    let stand = Stand::start();
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    for number in 0..LARGE_PUTS {
        stand.done("PutItem", large("tasks", &number.to_string(), "alice")).await;
        stand.clock.advance(Duration::from_secs(1));
    }
    stand
}

#[tokio::test]
async fn every_kind_of_read_is_charged_to_the_key_that_it_reads() {
    let condition = json!({"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "alice"}]});
    let older = json!({"TableName": "tasks", "IndexName": "by-owner", "KeyConditions": {"owner": condition}});
    let select = |condition: &str| {
        let statement = format!("SELECT * FROM \"tasks\".\"by-owner\" {condition}");
        json!({"Statement": statement, "Parameters": [{"S": "alice"}]})
    };
    let scan = json!({"TableName": "tasks", "IndexName": "by-owner"});
    for (operation, body) in [
        ("Query", older),
        ("ExecuteStatement", select("WHERE \"owner\" = ?")),
        ("ExecuteStatement", select("")),
        ("Scan", scan),
    ] {
        let stand = of_alice().await;
        // Of two items: 75 units, of 3,000.
        for _ in 0..40 {
            stand.done(operation, with(body.clone(), "Limit", json!(2))).await;
        }
        let reason = "IndexReadKeyRangeThroughputExceeded";
        stand.is_hot("ExecuteStatement", select("WHERE \"owner\" = 'alice'"), reason).await;
        stand.done("ExecuteStatement", select("WHERE \"owner\" = 'bob'")).await;
        stand.done("GetItem", getting("tasks", "0")).await;
    }
}

#[tokio::test]
async fn every_statement_that_writes_is_charged_to_its_keys() {
    for statement in ["UPDATE \"tasks\" SET n = 1 WHERE id = ?", "DELETE FROM \"tasks\" WHERE id = ?"] {
        let stand = of_alice().await;
        for number in 0..LARGE_PUTS {
            let parameters = json!([{"S": number.to_string()}]);
            stand.done("ExecuteStatement", json!({"Statement": statement, "Parameters": parameters})).await;
        }
        let reason = "IndexWriteKeyRangeThroughputExceeded";
        stand.is_hot("PutItem", small("new", "alice"), reason).await;
        let insert = |owner: &str| {
            let statement = format!("INSERT INTO \"tasks\" VALUE {{'id': 'of {owner}', 'owner': '{owner}'}}");
            json!({ "Statement": statement })
        };
        stand.is_hot("ExecuteStatement", insert("alice"), reason).await;
        let batch = json!({"Statements": [insert("alice"), insert("bob")]});
        let answers = &stand.done("BatchExecuteStatement", batch).await["Responses"];
        assert_eq!(answers[0]["Error"]["Code"], "ThrottlingError", "{answers}");
        assert_eq!(answers[1]["TableName"], "tasks", "{answers}");
    }
}

/// A large item beside small ones pays for itself, and the small ones for nothing of it.
#[tokio::test]
async fn of_a_batch_or_a_transaction_each_key_pays_for_its_own_item() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let item = |id: &str| large("tasks", id, "o")["Item"].clone();
    let few = || json!({"id": {"S": "small"}});
    let batch = json!([{"PutRequest": {"Item": item("large")}}, {"PutRequest": {"Item": few()}},
        {"DeleteRequest": {"Key": key("gone")}}]);
    let transaction = json!([{"Put": {"TableName": "tasks", "Item": item("large")}},
        {"Put": {"TableName": "tasks", "Item": few()}}, {"Delete": {"TableName": "tasks", "Key": key("gone")}}]);
    // 300 units of the large one, and 600, of 1,000.
    stand.done("BatchWriteItem", json!({"RequestItems": {"tasks": batch}})).await;
    stand.done("TransactWriteItems", json!({ "TransactItems": transaction })).await;
    stand.done("PutItem", large("tasks", "large", "o")).await;
    stand.is_hot("PutItem", putting("tasks", "large"), "TableWriteKeyRangeThroughputExceeded").await;
    for id in ["small", "gone"] {
        for _ in 0..LARGE_PUTS {
            stand.done("PutItem", large("tasks", id, "o")).await;
        }
    }
}

#[tokio::test]
async fn of_a_batch_that_reads_each_key_pays_for_its_own_item() {
    for (operation, times) in [("BatchGetItem", 40), ("TransactGetItems", 20), ("ExecuteTransaction", 20)] {
        let stand = Stand::start();
        stand.table("tasks", on_demand()).await;
        stand.done("PutItem", large("tasks", "large", "o")).await;
        stand.put("tasks", "small").await;
        let ids = ["small", "large"];
        let get = |id: &str| json!({"Get": {"TableName": "tasks", "Key": key(id)}});
        let select =
            |id: &str| json!({"Statement": "SELECT * FROM tasks WHERE id = ?", "Parameters": [{"S": id}]});
        let body = match operation {
            "BatchGetItem" => {
                json!({"RequestItems": {"tasks": {"Keys": ids.map(key), "ConsistentRead": true}}})
            }
            "TransactGetItems" => json!({ "TransactItems": ids.map(get) }),
            _ => json!({ "TransactStatements": ids.map(select) }),
        };
        for _ in 0..times {
            stand.done(operation, body.clone()).await;
        }
        stand.is_hot("GetItem", getting("tasks", "large"), "TableReadKeyRangeThroughputExceeded").await;
        // The other one still has nearly all of its units: 37 times 75.
        stand.done("PutItem", large("tasks", "small", "o")).await;
        for _ in 0..37 {
            stand.done("GetItem", getting("tasks", "small")).await;
        }
    }
}

/// Conditions and updates in their older form change nothing of what is charged, and to which keys.
#[tokio::test]
async fn a_write_in_the_older_form_is_charged_as_in_the_newer_one() {
    let exists = json!({"id": {"ComparisonOperator": "NOT_NULL"}});
    for operation in ["PutItem", "UpdateItem", "DeleteItem"] {
        let stand = of_alice().await;
        for number in 0..LARGE_PUTS {
            let id = number.to_string();
            let body = match operation {
                "PutItem" => {
                    let mut other = large("tasks", &id, "alice");
                    other["Item"]["n"] = json!({"N": "1"});
                    other
                }
                "UpdateItem" => {
                    let updates = json!({"n": {"Action": "PUT", "Value": {"N": "1"}}});
                    json!({"TableName": "tasks", "Key": key(&id), "AttributeUpdates": updates})
                }
                _ => deleting(&id),
            };
            let body = with(body, "Expected", exists.clone());
            let answer = stand.done(operation, body).await;
            assert!(answer.get("Attributes").is_none(), "{operation}: {answer}");
        }
        let reason = "IndexWriteKeyRangeThroughputExceeded";
        stand.is_hot("PutItem", small("new", "alice"), reason).await;
        stand.done("PutItem", small("new", "bob")).await;
    }
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

#[tokio::test]
async fn a_batch_gives_back_what_it_asks_of_a_hot_key_and_does_the_rest() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    stand.exhaust_reads_of_a().await;
    for _ in 1..LARGE_PUTS {
        stand.done("PutItem", large("tasks", "a", "o")).await;
    }
    let put = |id: &str| json!({"PutRequest": {"Item": {"id": {"S": id}, "owner": {"S": "o"}}}});
    let writes =
        |ids: &[&str]| json!({"RequestItems": {"tasks": ids.iter().map(|id| put(id)).collect::<Vec<_>>()}});
    let written = stand.done("BatchWriteItem", writes(&["b", "a", "c"])).await;
    assert_eq!(written["UnprocessedItems"], json!({"tasks": [put("a")]}));

    let keys = |ids: &[&str]| {
        let keys: Vec<Value> = ids.iter().map(|id| key(id)).collect();
        json!({"Keys": keys, "ConsistentRead": true})
    };
    let read = stand.done("BatchGetItem", json!({"RequestItems": {"tasks": keys(&["b", "a", "c"])}})).await;
    assert_eq!(read["UnprocessedKeys"], json!({ "tasks": keys(&["a"]) }));
    assert_eq!(read["Responses"]["tasks"].as_array().unwrap().len(), 2, "{read}");

    // A batch is refused, and counted as such, only with all of its items.
    let of_batch = [("Operation", "BatchWriteItem"), ("TableName", "tasks")];
    assert_eq!(stand.sum("ThrottledRequests", &of_batch), None);
    stand.is_hot("BatchWriteItem", writes(&["a"]), "TableWriteKeyRangeThroughputExceeded").await;
    assert_eq!(stand.sum("ThrottledRequests", &of_batch), Some(1.0));
}

#[tokio::test]
async fn a_change_of_the_table_does_not_cool_its_keys() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    for _ in 0..LARGE_PUTS {
        stand.done("PutItem", large("tasks", "b", "o")).await;
    }
    let mut other = provisioned(1_000_000);
    other["TableName"] = json!("tasks");
    other["BillingMode"] = json!("PROVISIONED");
    stand.done("UpdateTable", other).await;
    let (_, refused) = stand.refused("PutItem", putting("tasks", "b")).await;
    assert_eq!(refused["ThrottlingReasons"][0]["reason"], "TableWriteKeyRangeThroughputExceeded");
    stand.put("tasks", "a").await;
}
