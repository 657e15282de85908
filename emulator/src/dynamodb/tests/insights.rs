//! Contributor insights of a table and of its index.

use super::*;

const BOTH: &str = "ACCESSED_AND_THROTTLED_KEYS";
const THROTTLED: &str = "THROTTLED_KEYS";

fn of(index: Option<&str>) -> Value {
    let mut request = json!({"TableName": "tasks"});
    if let Some(index) = index {
        request["IndexName"] = json!(index);
    }
    request
}

/// What names the table or index, and more.
fn also(mut of: Value, more: &Value) -> Value {
    of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of
}

impl Stand {
    /// What an update answers: the status and the mode.
    async fn insights(&self, of: &Value, action: &str, mode: Option<&str>) -> (String, Value) {
        let mut asked = json!({ "ContributorInsightsAction": action });
        if let Some(mode) = mode {
            asked["ContributorInsightsMode"] = json!(mode);
        }
        let answer = self.done("UpdateContributorInsights", also(of.clone(), &asked)).await;
        let status = answer["ContributorInsightsStatus"].as_str().unwrap().to_owned();
        (status, answer["ContributorInsightsMode"].clone())
    }

    async fn described_insights(&self, of: &Value) -> Value {
        self.done("DescribeContributorInsights", of.clone()).await
    }

    async fn listed_insights(&self, request: Value) -> (Vec<Value>, Option<String>) {
        let answer = self.done("ListContributorInsights", request).await;
        let summaries = answer["ContributorInsightsSummaries"].as_array().unwrap().clone();
        (summaries, answer.get("NextToken").map(|token| token.as_str().unwrap().to_owned()))
    }
}

#[tokio::test]
async fn insights_are_enabled_changed_and_disabled() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let table = of(None);
    let never = json!({"TableName": "tasks", "ContributorInsightsStatus": "DISABLED"});
    assert_eq!(stand.described_insights(&table).await, never);
    assert_eq!(stand.insights(&table, "DISABLE", None).await, ("DISABLED".to_owned(), Value::Null));
    assert_eq!(stand.described_insights(&table).await, never);

    assert_eq!(stand.insights(&table, "ENABLE", None).await, ("ENABLING".to_owned(), json!(BOTH)));
    let rule = |kind: &str| format!("DynamoDBContributorInsights-{kind}-tasks-{START_MS}");
    let enabled = json!({
        "TableName": "tasks", "ContributorInsightsStatus": "ENABLED", "ContributorInsightsMode": BOTH,
        "ContributorInsightsRuleList": [rule("PKC"), rule("PKT")], "LastUpdateDateTime": 1_700_000_000.0,
    });
    assert_eq!(stand.described_insights(&table).await, enabled);
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(stand.insights(&table, "ENABLE", Some(BOTH)).await, ("ENABLED".to_owned(), json!(BOTH)));
    assert_eq!(stand.described_insights(&table).await, enabled, "that was no change");

    assert_eq!(
        stand.insights(&table, "ENABLE", Some(THROTTLED)).await,
        ("ENABLING".to_owned(), json!(THROTTLED))
    );
    let changed = stand.described_insights(&table).await;
    assert_eq!(changed["ContributorInsightsRuleList"], json!([rule("PKT")]));
    assert_eq!(changed["LastUpdateDateTime"], 1_700_000_001.0);
    assert_eq!(stand.insights(&table, "ENABLE", None).await, ("ENABLING".to_owned(), json!(BOTH)));

    // The mode that comes with it is ignored.
    assert_eq!(
        stand.insights(&table, "DISABLE", Some(THROTTLED)).await,
        ("DISABLING".to_owned(), json!(BOTH))
    );
    let disabled = stand.described_insights(&table).await;
    assert_eq!(disabled["ContributorInsightsStatus"], "DISABLED");
    assert_eq!(disabled["ContributorInsightsMode"], BOTH);
    assert_eq!(disabled.get("ContributorInsightsRuleList"), None);

    stand.done("DeleteTable", json!({"TableName": "tasks"})).await;
    stand.table("tasks", on_demand()).await;
    assert_eq!(stand.described_insights(&table).await, never, "it is another table");
}

#[tokio::test]
async fn insights_of_a_table_and_its_index_are_apart_and_kept() {
    let stand = Stand::start();
    stand.table("other", on_demand()).await;
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    let (table, index) = (of(None), of(Some("by-owner")));
    stand.insights(&index, "ENABLE", Some(THROTTLED)).await;
    stand.insights(&json!({"TableName": "other"}), "ENABLE", None).await;
    let described = stand.described_insights(&index).await;
    let rule = format!("DynamoDBContributorInsights-PKT-tasks-by-owner-{START_MS}");
    assert_eq!(described["ContributorInsightsRuleList"], json!([rule]));
    assert_eq!(described["IndexName"], "by-owner");
    assert_eq!(stand.described_insights(&table).await["ContributorInsightsStatus"], "DISABLED");

    stand.insights(&table, "ENABLE", None).await;
    let enabled = |of: &Value, mode: &str| {
        also(of.clone(), &json!({"ContributorInsightsStatus": "ENABLED", "ContributorInsightsMode": mode}))
    };
    let all = [enabled(&table, BOTH), enabled(&index, THROTTLED)];
    assert_eq!(stand.listed_insights(table.clone()).await, (all.to_vec(), None));
    let mut pages = Vec::new();
    let mut request = json!({"MaxResults": 1});
    while let (page, Some(next)) = stand.listed_insights(request.clone()).await {
        pages.push(page);
        request["NextToken"] = json!(next);
        assert!(pages.len() < 3, "{pages:?}");
    }
    let other = enabled(&json!({"TableName": "other"}), BOTH);
    assert_eq!(pages, [vec![other], vec![all[0].clone()]]);
    assert_eq!(stand.listed_insights(request).await, (vec![all[1].clone()], None));
    stand.insights(&table, "DISABLE", None).await;
    assert_eq!(stand.listed_insights(table).await, (vec![all[1].clone()], None));

    let dir = tempfile::tempdir().unwrap();
    let kept = serde_json::to_vec(&*stand.tables.account.control.lock().unwrap()).unwrap();
    std::fs::write(dir.path().join("tables.json"), kept).unwrap();
    let again = Control::open(Some(dir.path())).unwrap();
    assert_eq!(again.beside("tasks"), stand.tables.account.beside("tasks"));
}

#[tokio::test]
async fn insights_of_what_there_is_not_are_refused() {
    let stand = Stand::start();
    stand.table("tasks", on_demand()).await;
    let missing = json!({"TableName": "missing", "ContributorInsightsAction": "ENABLE"});
    for operation in ["DescribeContributorInsights", "UpdateContributorInsights", "ListContributorInsights"] {
        let (name, refused) = stand.refused(operation, missing.clone()).await;
        let expected = json!("Requested resource not found: Table: missing not found");
        assert_eq!((name.as_str(), &refused["message"]), ("ResourceNotFoundException", &expected));
    }
    let (name, refused) = stand.refused("DescribeContributorInsights", of(Some("nope"))).await;
    let expected = json!("Requested resource not found: Index: nope not found for table: tasks");
    assert_eq!((name.as_str(), &refused["message"]), ("ResourceNotFoundException", &expected));
    for (operation, more) in [
        ("UpdateContributorInsights", json!({})),
        ("UpdateContributorInsights", json!({"ContributorInsightsAction": "MEASURE"})),
        (
            "UpdateContributorInsights",
            json!({"ContributorInsightsAction": "ENABLE", "ContributorInsightsMode": "NO_KEYS"}),
        ),
        ("ListContributorInsights", json!({"MaxResults": 101})),
    ] {
        let (name, refused) = stand.refused(operation, also(of(None), &more)).await;
        assert_eq!(name, "ValidationException", "{refused}");
    }
}
