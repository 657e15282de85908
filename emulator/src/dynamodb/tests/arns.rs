//! Tables that a call names by their ARNs.

use super::*;

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";

#[tokio::test]
async fn a_table_is_the_same_by_its_arn() {
    let stand = Stand::start();
    stand.done("CreateTable", definition(ARN, on_demand())).await;
    stand.put(ARN, "a").await;
    // Only where a table is named.
    let update = json!({"TableName": ARN, "Key": key("a"), "UpdateExpression": "SET v = :v",
        "ExpressionAttributeValues": {":v": {"S": ARN}}});
    stand.done("UpdateItem", update).await;
    for table in [ARN, "tasks"] {
        let found = stand.done("GetItem", getting(table, "a")).await;
        assert_eq!(found["Item"]["v"]["S"], ARN);
        assert_eq!(stand.done("Scan", json!({ "TableName": table })).await["Count"], 1);
        assert_eq!(stand.description(table).await["TableName"], "tasks");
    }
    let query = json!({"TableName": ARN, "KeyConditionExpression": "id = :id",
        "ExpressionAttributeValues": {":id": {"S": "a"}}});
    assert_eq!(stand.done("Query", query).await["Count"], 1);
    let put = json!({"Put": {"TableName": ARN, "Item": key("b")}});
    stand.done("TransactWriteItems", json!({ "TransactItems": [put] })).await;
    let get = json!({"Get": {"TableName": ARN, "Key": key("b")}});
    let read = stand.done("TransactGetItems", json!({ "TransactItems": [get] })).await;
    assert_eq!(read["Responses"][0]["Item"], key("b"));
    let gone = json!({"DeleteRequest": {"Key": key("b")}});
    stand.done("BatchWriteItem", json!({"RequestItems": {ARN: [gone]}})).await;
    stand.done("DeleteItem", json!({"TableName": ARN, "Key": key("a")})).await;
    assert_eq!(stand.done("Scan", json!({"TableName": ARN})).await["Count"], 0);

    let ttl = json!({"AttributeName": "until", "Enabled": true});
    stand.done("UpdateTimeToLive", json!({"TableName": ARN, "TimeToLiveSpecification": ttl})).await;
    let ttl = stand.done("DescribeTimeToLive", json!({"TableName": ARN})).await;
    assert_eq!(ttl["TimeToLiveDescription"]["TimeToLiveStatus"], "ENABLED");
    stand.done("DescribeContinuousBackups", json!({"TableName": ARN})).await;
    stand.done("UpdateTable", json!({"TableName": ARN, "DeletionProtectionEnabled": false})).await;
    stand.deleted(ARN).await;
    let (gone, _) = stand.refused("DescribeTable", json!({"TableName": "tasks"})).await;
    assert_eq!(gone, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_table_has_one_throughput_and_one_set_of_metrics_by_name_and_by_arn() {
    let stand = Stand::start();
    stand.table("tasks", capped(2)).await;
    stand.table("other", on_demand()).await;
    let billed = |table: &str| {
        let mut put = putting(table, "a");
        put["ReturnConsumedCapacity"] = json!("TOTAL");
        put
    };
    assert_eq!(stand.done("PutItem", billed(ARN)).await["ConsumedCapacity"]["TableName"], ARN);
    assert_eq!(stand.done("PutItem", billed("tasks")).await["ConsumedCapacity"]["TableName"], "tasks");
    assert_eq!(stand.refused("PutItem", billed(ARN)).await.0, "ThrottlingException");
    let of_table = [("TableName", "tasks")];
    assert_eq!(stand.sum("ConsumedWriteCapacityUnits", &of_table), Some(2.0));
    assert_eq!(stand.sum("WriteThrottleEvents", &of_table), Some(1.0));

    // What comes back has the names that were asked with.
    let writes = json!([{"PutRequest": {"Item": key("b")}}]);
    let both = json!({"RequestItems": {ARN: writes, "other": writes}});
    let answer = stand.done("BatchWriteItem", both).await;
    assert_eq!(answer["UnprocessedItems"], json!({ ARN: writes }));
    let keys = json!({"Keys": [key("a")]});
    let read = json!({"RequestItems": {ARN: keys}, "ReturnConsumedCapacity": "TOTAL"});
    let answer = stand.done("BatchGetItem", read).await;
    assert_eq!(answer["Responses"][ARN][0]["id"]["S"], "a", "{answer}");
    assert_eq!(answer["ConsumedCapacity"][0]["TableName"], ARN);
    let twice = json!({"RequestItems": {ARN: keys, "tasks": keys}});
    assert_eq!(stand.refused("BatchGetItem", twice).await.0, "ValidationException");
}

#[tokio::test]
async fn no_other_arn_names_a_table() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    for other in [
        ARN.replace("123456789012", "999999999999"),
        ARN.replace("us-east-1", "eu-west-1"),
        format!("{ARN}/index/by-owner"),
        format!("{ARN}/stream/1"),
        "arn:aws:dynamodb:us-east-1:123456789012:table/".to_owned(),
    ] {
        for (operation, body) in [
            ("PutItem", putting(&other, "a")),
            ("GetItem", getting(&other, "a")),
            ("DescribeTable", json!({ "TableName": other })),
            ("DeleteTable", json!({ "TableName": other })),
        ] {
            assert_eq!(stand.refused(operation, body).await.0, "ValidationException", "{operation} {other}");
        }
    }
    stand.description("tasks").await;
}

#[tokio::test]
async fn a_member_that_comes_twice_is_refused_beside_an_arn_as_well() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let twice = format!(r#"{{"TableName":"other","TableName":"{ARN}","Item":{{"id":{{"S":"a"}}}}}}"#);
    let (status, refused) = stand.send("PutItem", &twice).await;
    assert_eq!(status, 400);
    assert!(refused["__type"].as_str().unwrap().ends_with("SerializationException"), "{refused}");
    let listed = json!({"TransactItems": [{"Put": [ARN, key("a")]}]});
    assert_eq!(stand.refused("TransactWriteItems", listed).await.0, "SerializationException");
}

#[tokio::test]
async fn an_arn_at_the_bottom_of_a_deep_body_is_refused_and_no_more() {
    let stand = Stand::start();
    let (open, close) = (r#"{"TransactItems":[{"Put":"#.repeat(10_000), "}]}".repeat(10_000));
    let deep = format!(r#"{open}{{"TableName":"{ARN}"}}{close}"#);
    let (status, refused) = stand.send("TransactWriteItems", &deep).await;
    assert_eq!(status, 400, "{refused}");
}
