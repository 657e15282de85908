//! What statements and transactions read, and what they cost.

use super::*;

impl Stand {
    /// Five items of 300 KiB: three of them fill a page.
    async fn with_large_items(&self) {
        self.table("tasks", indexed(on_demand(), json!({}))).await;
        for id in ["a", "b", "c", "d", "e"] {
            self.done("PutItem", large("tasks", id, id)).await;
        }
    }
}

#[tokio::test]
async fn a_select_shows_a_megabyte_and_goes_on_by_its_token() {
    let stand = Stand::start();
    stand.with_large_items().await;
    let select = |next: &Value| json!({"Statement": "SELECT * FROM tasks", "NextToken": next});
    let first = stand.done("ExecuteStatement", select(&Value::Null)).await;
    assert_eq!(first["Items"].as_array().unwrap().len(), 3);
    let last = stand.done("ExecuteStatement", select(&first["NextToken"])).await;
    assert_eq!(last["Items"].as_array().unwrap().len(), 2);
    assert_eq!(last.get("NextToken"), None);
    // 75 units for each item, and half as many when nobody asks for the last write.
    assert_eq!(stand.sum("ConsumedReadCapacityUnits", &[("TableName", "tasks")]), Some(5.0 * 37.5));
    let dimensions = [("Operation", "ExecuteStatement"), ("TableName", "tasks")];
    assert_eq!(stand.sum("ReturnedItemCount", &dimensions), Some(5.0));
}

#[tokio::test]
async fn a_select_of_several_keys_shows_what_they_have_wherever_it_stands() {
    let stand = Stand::start();
    stand.with_large_items().await;
    for (selected, ids) in [
        ("tasks WHERE id IN ['a', 'e']", 2),
        ("tasks WHERE id = 'a' OR id = 'e'", 2),
        (r#"tasks WHERE id = 'e' AND ("owner" = 'e' OR "owner" = 'x')"#, 1),
        (r#"tasks WHERE id = 'e' AND NOT ("owner" = 'x' AND "text" = 'x')"#, 1),
        (r#""tasks"."by-owner" WHERE "owner" IN ['a', 'e']"#, 2),
    ] {
        let select = json!({"Statement": format!("SELECT id FROM {selected}")});
        let found = stand.done("ExecuteStatement", select).await;
        assert_eq!(found["Items"].as_array().unwrap().len(), ids, "{selected}");
        assert_eq!(found.get("NextToken"), None, "{selected}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_sent_again_is_charged_as_a_read() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let put = json!({"Put": {"TableName": "tasks", "Item": key("a")}});
    let insert = json!({"Statement": "INSERT INTO tasks VALUE {'id': 'b'}"});
    for (operation, body) in [
        ("TransactWriteItems", json!({"TransactItems": [put], "ClientRequestToken": "t"})),
        ("ExecuteTransaction", json!({"TransactStatements": [insert], "ClientRequestToken": "t"})),
    ] {
        let of_table = [("TableName", "tasks")];
        let units = ["ConsumedWriteCapacityUnits", "ConsumedReadCapacityUnits"];
        let before = units.map(|name| stand.sum(name, &of_table).unwrap_or_default());
        for _ in 0..2 {
            stand.done(operation, body.clone()).await;
        }
        let after = units.map(|name| stand.sum(name, &of_table).unwrap_or_default());
        assert_eq!((after[0] - before[0], after[1] - before[1]), (2.0, 2.0), "{operation}");
    }
}
