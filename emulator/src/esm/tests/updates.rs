//! What an update of a mapping changes, and what it refuses.

use http::Method;
use serde_json::json;

use super::{FUNCTION_ARN, Fixture, Function, QUEUE_ARN};

const OTHER_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:other";

#[tokio::test]
async fn a_mapping_is_given_another_function_and_other_filters() {
    let (fixture, uuid) = Fixture::start(Function::new([]), json!({})).await;
    fixture.send("first").await;
    fixture.until("the first", |fixture| fixture.left() == 0).await;
    let filters = json!({ "Filters": [{ "Pattern": r#"{"body":{"keep":[true]}}"# }] });
    let change = json!({ "FunctionName": "other", "FilterCriteria": filters });
    let (status, updated) = fixture.mapping(Method::PUT, &uuid, change);
    assert_eq!((status, &updated["FunctionArn"]), (202, &json!(OTHER_ARN)));
    assert_eq!(updated["FilterCriteria"], filters);
    fixture.advance_ms(200);
    fixture.send(r#"{"keep":false}"#).await;
    fixture.send(r#"{"keep":true}"#).await;
    fixture.until("the filtered", |fixture| fixture.left() == 0).await;
    assert_eq!(*fixture.function.invoked.lock().unwrap(), [FUNCTION_ARN, OTHER_ARN]);

    let (_, removed) = fixture.mapping(Method::PUT, &uuid, json!({ "FilterCriteria": {} }));
    assert!(removed.get("FilterCriteria").is_none());
    fixture.advance_ms(200);
    fixture.send(r#"{"keep":false}"#).await;
    fixture.until("the unfiltered", |fixture| fixture.left() == 0).await;
    assert_eq!(fixture.function.calls(), 3);
}

#[tokio::test]
async fn an_update_that_is_refused_changes_nothing() {
    let (fixture, uuid) = Fixture::start(Function::new([]), json!({})).await;
    let before = fixture.mapping(Method::GET, &uuid, json!({}));
    let filters = vec![json!({ "Pattern": r#"{"body":["x"]}"# }); 6];
    let cases = [
        (
            json!({ "BatchSize": 0 }),
            "1 validation error detected: Value '0' at 'batchSize' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            json!({ "BatchSize": 11 }),
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        (
            json!({ "MaximumBatchingWindowInSeconds": 301 }),
            "1 validation error detected: Value '301' at 'maximumBatchingWindowInSeconds' failed to satisfy constraint: Member must have value less than or equal to 300",
        ),
        (
            json!({ "ScalingConfig": { "MaximumConcurrency": 1_001 } }),
            "1 validation error detected: Value '1001' at 'scalingConfig.maximumConcurrency' failed to satisfy constraint: Member must have value less than or equal to 1000",
        ),
        (
            json!({ "FilterCriteria": { "Filters": [{ "Pattern": "[]" }] } }),
            "Invalid filter pattern definition.",
        ),
        (
            json!({ "FilterCriteria": { "Filters": filters } }),
            "You can have at most 5 filters for an event source mapping.",
        ),
        (json!({ "FunctionName": "none" }), "Function does not exist"),
        (
            json!({ "FunctionName": "slow" }),
            "Queue visibility timeout: 6 seconds is less than Function timeout: 7 seconds",
        ),
        (
            json!({ "DestinationConfig": { "OnFailure": { "Destination": "arn" } } }),
            "DestinationConfig is not part of this emulator for Amazon SQS event sources.",
        ),
    ];
    for (change, message) in cases {
        let (status, body) = fixture.mapping(Method::PUT, &uuid, change);
        assert_eq!((status, &body["message"]), (400, &json!(message)));
    }
    assert_eq!(fixture.mapping(Method::GET, &uuid, json!({})), before);
    let five = json!({ "FilterCriteria": { "Filters": filters[..5] } });
    assert_eq!(fixture.mapping(Method::PUT, &uuid, five).0, 202);
}

#[tokio::test]
async fn an_update_does_not_make_a_second_mapping_of_the_same_pair() {
    let (fixture, first) = Fixture::start(Function::new([]), json!({})).await;
    let second = fixture.create(json!({ "FunctionName": "other" })).1["UUID"].as_str().unwrap().to_owned();
    fixture.advance_ms(200);
    let (status, body) = fixture.mapping(Method::PUT, &second, json!({ "FunctionName": "worker" }));
    let message = format!(
        "An event source mapping with SQS arn (\" {QUEUE_ARN} \") and function (\" worker \") already exists. Please update or delete the existing mapping with UUID {first}"
    );
    assert_eq!((status, &body["message"]), (409, &json!(message)));
    let own = json!({ "FunctionName": "other", "BatchSize": 5 });
    assert_eq!(fixture.mapping(Method::PUT, &second, own).0, 202);
}
