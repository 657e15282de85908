//! How often the items of a table are counted, and what is known of it without that.

use super::*;

#[tokio::test]
async fn items_are_counted_anew_after_ten_seconds_and_after_a_change_of_the_table() {
    let stand = Stand::start();
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    let counts = async || {
        let table = stand.description("tasks").await;
        [table["ItemCount"].as_u64(), table["GlobalSecondaryIndexes"][0]["ItemCount"].as_u64()]
    };
    assert_eq!(counts().await, [Some(0); 2]);
    stand.put("tasks", "a").await;
    stand.clock.advance(Duration::from_millis(9_999));
    assert_eq!(counts().await, [Some(0); 2]);
    stand.clock.advance(Duration::from_millis(1));
    assert_eq!(counts().await, [Some(1); 2]);
    stand.put("tasks", "b").await;
    stand.done("UpdateTable", json!({"TableName": "tasks", "DeletionProtectionEnabled": false})).await;
    assert_eq!(counts().await, [Some(2); 2]);
    stand.deleted("tasks").await;
    let (gone, _) = stand.refused("DescribeTable", json!({"TableName": "tasks"})).await;
    assert_eq!(gone, "ResourceNotFoundException");
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    assert_eq!(counts().await, [Some(0); 2]);
}

#[tokio::test]
async fn what_is_known_of_a_table_without_counting_is_as_it_is_described() {
    let stand = Stand::start();
    let account = &stand.tables.account;
    stand.table("provisioned", indexed(provisioned(5), provisioned(7))).await;
    stand.table("on-demand", indexed(capped(9), json!({}))).await;
    let mut update = provisioned(3);
    update["TableName"] = json!("provisioned");
    stand.done("UpdateTable", update).await;
    let units = |throughput: &Value| {
        [throughput["ReadCapacityUnits"].as_u64(), throughput["WriteCapacityUnits"].as_u64()]
    };
    for table in ["provisioned", "on-demand"] {
        let known = serde_json::to_value(account.outline(table).unwrap()).unwrap();
        let described = serde_json::to_value(account.describe(table).unwrap()).unwrap();
        for member in ["TableName", "KeySchema", "BillingModeSummary", "OnDemandThroughput"] {
            assert_eq!(known.get(member), described.get(member), "{table}: {member}");
        }
        let index = |of: &Value| of["GlobalSecondaryIndexes"][0].clone();
        for member in ["IndexName", "KeySchema", "Projection"] {
            assert_eq!(index(&known)[member], index(&described)[member], "{table}: {member}");
        }
        let throughput = |of: &Value| units(&of["ProvisionedThroughput"]);
        assert_eq!(throughput(&index(&known)), throughput(&index(&described)), "{table}");
        if table == "provisioned" {
            assert_eq!((throughput(&known), throughput(&described)), ([Some(3); 2], [Some(3); 2]));
        }
    }
    for missing in ["none", "no name"] {
        let (known, described) = (account.outline(missing), account.describe(missing));
        assert_eq!(known.unwrap_err().to_string(), described.unwrap_err().to_string());
    }
}
