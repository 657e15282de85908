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
    stand.is_hot("Query", query("a"), reason).await;
    stand.done("Query", query("b")).await;
    stand.done("Scan", json!({"TableName": "tasks"})).await;
    stand.put("tasks", "a").await;
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
