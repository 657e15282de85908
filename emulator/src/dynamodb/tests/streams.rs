//! Streams: whose records they show, and how many at once.

use super::*;

const BOTH: &str = "NEW_AND_OLD_IMAGES";

fn specified(view: Option<&str>) -> Value {
    let specification = match view {
        Some(view) => json!({"StreamEnabled": true, "StreamViewType": view}),
        None => json!({"StreamEnabled": false}),
    };
    json!({ "StreamSpecification": specification })
}

fn updating(view: Option<&str>) -> Value {
    let mut update = specified(view);
    update["TableName"] = json!("tasks");
    update
}

impl Stand {
    async fn streamed(&self, view: &str) {
        let mut more = on_demand();
        more["StreamSpecification"] = specified(Some(view))["StreamSpecification"].clone();
        self.table("tasks", more).await;
    }

    /// The stream of the table as it is described, with nothing before this shard.
    async fn stream(&self, start: Option<&Value>) -> Value {
        let arn = self.description("tasks").await["LatestStreamArn"].clone();
        let request = json!({"StreamArn": arn, "ExclusiveStartShardId": start});
        self.done("DescribeStream", request).await["StreamDescription"].clone()
    }

    async fn iterator(&self, kind: &str, number: Option<&Value>) -> Value {
        let stream = self.stream(None).await;
        let request = json!({"StreamArn": stream["StreamArn"], "ShardId": stream["Shards"][0]["ShardId"],
            "ShardIteratorType": kind, "SequenceNumber": number});
        self.done("GetShardIterator", request).await["ShardIterator"].clone()
    }

    async fn read(&self, iterator: &Value) -> (Vec<Value>, Value) {
        let read = self.done("GetRecords", json!({ "ShardIterator": iterator })).await;
        (read["Records"].as_array().unwrap().clone(), read["NextShardIterator"].clone())
    }

    async fn records(&self) -> Vec<Value> {
        self.read(&self.iterator("TRIM_HORIZON", None).await).await.0
    }
}

fn ids(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_stream_shows_its_own_records_and_those_of_one_day() {
    let stand = Stand::start();
    stand.streamed(BOTH).await;
    stand.put("tasks", "of a table before").await;
    stand.deleted("tasks").await;
    stand.clock.advance(Duration::from_secs(1));
    stand.streamed(BOTH).await;
    stand.put("tasks", "of a stream before").await;
    assert_eq!(ids(&stand.records().await), ["of a stream before"]);

    stand.done("UpdateTable", updating(None)).await;
    stand.clock.advance(Duration::from_secs(1));
    stand.done("UpdateTable", updating(Some(BOTH))).await;
    let first = stand.iterator("TRIM_HORIZON", None).await;
    stand.put("tasks", "old").await;
    assert_eq!(ids(&stand.records().await), ["old"]);
    stand.clock.advance(Duration::from_secs(12 * 3_600));
    stand.put("tasks", "new").await;
    assert_eq!(ids(&stand.records().await), ["old", "new"]);
    stand.clock.advance(Duration::from_secs(12 * 3_600));
    assert_eq!(ids(&stand.records().await), ["new"]);
    assert_eq!(ids(&stand.read(&first).await.0), ["new"], "whenever the iterator was made");
}

#[tokio::test]
async fn a_stream_is_described_as_one_open_shard_that_begins_before_its_first_record() {
    let stand = Stand::start();
    stand.streamed("KEYS_ONLY").await;
    let empty = stand.stream(None).await;
    let shard = &empty["Shards"][0];
    let range = shard["SequenceNumberRange"].as_object().unwrap();
    assert_eq!(range.keys().collect::<Vec<_>>(), ["StartingSequenceNumber"]);
    assert_eq!(empty["KeySchema"], json!([{"AttributeName": "id", "KeyType": "HASH"}]));
    assert_eq!((&empty["StreamStatus"], &empty["StreamViewType"]), (&json!("ENABLED"), &json!("KEYS_ONLY")));
    stand.put("tasks", "a").await;
    stand.put("tasks", "b").await;
    assert_eq!(stand.stream(None).await, empty);
    assert_eq!(stand.stream(Some(&shard["ShardId"])).await["Shards"], json!([]));

    let starting = &range["StartingSequenceNumber"];
    let records = stand.records().await;
    let from = stand.iterator("AT_SEQUENCE_NUMBER", Some(starting)).await;
    assert_eq!(ids(&stand.read(&from).await.0), ["a", "b"]);
    let first = &records[0]["dynamodb"]["SequenceNumber"];
    assert!(first.as_str() >= starting.as_str(), "{first} {starting}");
    let after = stand.iterator("AFTER_SEQUENCE_NUMBER", Some(first)).await;
    assert_eq!(ids(&stand.read(&after).await.0), ["b"]);
}

/// The items and their sizes are those that AWS showed.
#[tokio::test]
async fn what_changes_nothing_is_no_record_and_a_record_is_as_large_as_its_items() {
    let stand = Stand::start();
    stand.streamed(BOTH).await;
    let put = |item: Value| json!({"TableName": "tasks", "Item": item});
    let update = |value: &str| {
        json!({"TableName": "tasks", "Key": key("Fred"), "UpdateExpression": "SET #n = :n",
            "ExpressionAttributeNames": {"#n": "name"}, "ExpressionAttributeValues": {":n": {"S": value}}})
    };
    stand.done("PutItem", put(key("Fred"))).await;
    stand.done("PutItem", put(key("Fred"))).await;
    let again = json!({"RequestItems": {"tasks": [{"PutRequest": {"Item": key("Fred")}}]}});
    stand.done("BatchWriteItem", again).await;
    stand.done("UpdateItem", update("Fred")).await;
    stand.done("UpdateItem", update("Fred")).await;
    let records = stand.records().await;
    let shown: Vec<_> = records
        .iter()
        .map(|record| {
            (record["eventName"].as_str().unwrap(), record["dynamodb"]["SizeBytes"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(shown, [("INSERT", 12), ("MODIFY", 26)]);
}

#[tokio::test]
async fn records_come_a_megabyte_and_a_thousand_at_once_at_most() {
    let stand = Stand::start();
    stand.streamed(BOTH).await;
    for id in ["a", "b", "c", "d"] {
        stand.done("PutItem", large("tasks", id, "o")).await;
    }
    let first = stand.iterator("TRIM_HORIZON", None).await;
    let (records, next) = stand.read(&first).await;
    assert_eq!(ids(&records), ["a", "b", "c"]);
    let (records, next) = stand.read(&next).await;
    assert_eq!(ids(&records), ["d"]);

    for number in 0..260 {
        stand.put("tasks", &number.to_string()).await;
    }
    assert_eq!(stand.read(&next).await.0.len(), 260);
    let limited = |limit: u64| json!({"ShardIterator": next, "Limit": limit});
    let read = stand.done("GetRecords", limited(255)).await;
    assert_eq!(read["Records"].as_array().unwrap().len(), 255);
    assert_eq!(ids(&stand.read(&read["NextShardIterator"]).await.0), ["255", "256", "257", "258", "259"]);
    stand.done("GetRecords", limited(1_000)).await;
    for limit in [0, 1_001] {
        assert_eq!(stand.refused("GetRecords", limited(limit)).await.0, "ValidationException", "{limit}");
    }
}

#[tokio::test]
async fn a_page_ends_within_a_thousand_records_that_are_not_shown() {
    let stand = Stand::start();
    stand.streamed(BOTH).await;
    for _ in 0..2 {
        for _ in 0..650 {
            stand.put("tasks", "a").await;
        }
        // One key takes no more than a thousand writes a second.
        stand.clock.advance(Duration::from_secs(1));
    }
    stand.put("tasks", "b").await;
    let read = async |iterator: &Value| {
        let read = stand.done("GetRecords", json!({"ShardIterator": iterator, "Limit": 1})).await;
        (read["Records"].as_array().unwrap().clone(), read["NextShardIterator"].clone())
    };
    let (records, next) = read(&stand.iterator("TRIM_HORIZON", None).await).await;
    assert_eq!(ids(&records), ["a"]);
    let (records, next) = read(&next).await;
    assert!(records.is_empty(), "{records:?}");
    assert_eq!(ids(&read(&next).await.0), ["b"]);
}

#[tokio::test]
async fn a_stream_that_is_as_it_is_asked_to_be_is_refused() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let why = async |view: Option<&str>| {
        let (name, refused) = stand.refused("UpdateTable", updating(view)).await;
        assert_eq!(name, "ValidationException");
        refused["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(why(None).await, "Table has no stream to disable: TableName: tasks");
    stand.done("UpdateTable", updating(Some("NEW_IMAGE"))).await;
    assert_eq!(why(Some("NEW_IMAGE")).await, "Table already has an enabled stream: TableName: tasks");
    assert_eq!(why(Some(BOTH)).await, "Table already has an enabled stream: TableName: tasks");
    let stream = stand.description("tasks").await["LatestStreamArn"].clone();
    stand.done("UpdateTable", json!({"TableName": "tasks", "DeletionProtectionEnabled": true})).await;
    assert_eq!(stand.description("tasks").await["LatestStreamArn"], stream);
    stand.done("UpdateTable", updating(None)).await;
    assert_eq!(why(None).await, "Table has no stream to disable: TableName: tasks");
    stand.done("UpdateTable", updating(Some(BOTH))).await;
}
