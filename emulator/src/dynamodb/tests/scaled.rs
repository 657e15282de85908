//! More asked of an on-demand table or index than it serves by now, spread over many keys.

use super::*;

const WRITE_UNITS_OF_A_NEW_TABLE: usize = 4_000;

impl Stand {
    /// Writes items with keys of their own until so many units are used, as of a table so of its index: no key is hot.
    async fn use_writes(&self, table: &str, units: usize) {
        for number in 0..units.div_ceil(LARGE_UNITS) {
            let key = number.to_string();
            self.done("PutItem", large(table, &key, &key)).await;
        }
    }

    async fn reason(&self, operation: &str, body: Value) -> String {
        let (_, refused) = self.refused(operation, body).await;
        let reasons = refused.get("throttlingReasons").or(refused.get("ThrottlingReasons"));
        reasons.unwrap()[0]["reason"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_new_on_demand_table_serves_4_000_writes_and_12_000_reads() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    stand.put("tasks", "a").await;
    stand.use_writes("tasks", WRITE_UNITS_OF_A_NEW_TABLE).await;
    let words = Words { message: HOT_KEY, ..of_on_demand("TableWriteKeyRangeThroughputExceeded") };
    stand.refuses_a_write("tasks", "table/tasks", &[("TableName", "tasks")], words).await;

    // 75 units for each read of a large item.
    for number in 0..160 {
        stand.done("GetItem", getting("tasks", &(number % 14).to_string())).await;
    }
    let read = stand.reason("GetItem", getting("tasks", "a")).await;
    assert_eq!(read, "TableReadKeyRangeThroughputExceeded");
    stand.clock.advance(Duration::from_secs(1));
    stand.put("tasks", "b").await;
    stand.done("GetItem", getting("tasks", "a")).await;
}

#[tokio::test]
async fn an_index_serves_as_much_as_a_table_and_has_a_warm_throughput_of_its_own() {
    let stand = Stand::start();
    let warm = json!({"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 8_000});
    let mut more = indexed(on_demand(), json!({}));
    more["WarmThroughput"] = warm.clone();
    stand.table("tasks", more).await;
    stand.use_writes("tasks", WRITE_UNITS_OF_A_NEW_TABLE).await;
    let write = stand.reason("PutItem", putting("tasks", "a")).await;
    assert_eq!(write, "IndexWriteKeyRangeThroughputExceeded");
    let update = json!({"Update": {"IndexName": "by-owner", "WarmThroughput": warm}});
    let update = json!({"TableName": "tasks", "GlobalSecondaryIndexUpdates": [update]});
    stand.done("UpdateTable", update).await;
    // It owes 200 of what it used.
    stand.clock.advance(Duration::from_millis(100));
    stand.put("tasks", "a").await;
}

#[tokio::test]
async fn what_was_provisioned_is_served_on_demand_as_well() {
    let stand = Stand::start();
    stand.table("tasks", provisioned(9_000)).await;
    let mut update = on_demand();
    update["TableName"] = json!("tasks");
    stand.done("UpdateTable", update).await;
    // A change of something else takes nothing of it away.
    stand.done("UpdateTable", json!({"TableName": "tasks", "DeletionProtectionEnabled": true})).await;
    stand.clock.advance(Duration::from_secs(1));
    stand.use_writes("tasks", 2 * WRITE_UNITS_OF_A_NEW_TABLE).await;
    stand.put("tasks", "a").await;
    stand.use_writes("tasks", 900).await;
    let write = stand.reason("PutItem", putting("tasks", "a")).await;
    assert_eq!(write, "TableWriteKeyRangeThroughputExceeded");
}

#[tokio::test]
async fn no_table_on_demand_serves_more_than_the_quota_of_the_account() {
    let stand = Stand::start();
    let mut more = on_demand();
    more["WarmThroughput"] = json!({"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 50_000});
    stand.table("tasks", more).await;
    stand.put("tasks", "a").await;
    // Each key once a second, so that none is hot.
    stand.use_writes("tasks", 40_000).await;
    let message = "Throughput exceeds the current throughput limit for your account. Please contact AWS Support at \
                   https://aws.amazon.com/support request a limit increase";
    let words = Words {
        exception: "RequestLimitExceeded",
        reasons: "ThrottlingReasons",
        reason: "TableWriteAccountLimitExceeded",
        message,
    };
    stand.refuses_a_write("tasks", "table/tasks", &[("TableName", "tasks")], words).await;
    assert_eq!(stand.sum("WriteAccountLimitThrottleEvents", &[("TableName", "tasks")]), Some(1.0));
}
