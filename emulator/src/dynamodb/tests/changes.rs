//! How often the throughput of a table and its mode may be changed.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// An update of the table and of its index, of each only when it gets units.
fn update(of_table: Option<u64>, of_index: Option<u64>) -> Value {
    let mut update = of_table.map_or_else(|| json!({}), provisioned);
    update["TableName"] = json!("tasks");
    if let Some(units) = of_index {
        let mut index = provisioned(units);
        index["IndexName"] = json!("by-owner");
        update["GlobalSecondaryIndexUpdates"] = json!([{ "Update": index }]);
    }
    update
}

impl Stand {
    async fn updated(&self, of_table: Option<u64>, of_index: Option<u64>) {
        self.done("UpdateTable", update(of_table, of_index)).await;
    }

    /// The message of a refusal for the frequency.
    async fn comes_too_soon(&self, update: Value) -> String {
        let (name, refused) = self.refused("UpdateTable", update).await;
        assert_eq!(name, "LimitExceededException", "{refused}");
        refused["message"].as_str().unwrap().to_owned()
    }

    /// Units and decreases of today, of the table and of its index, if it has one.
    async fn throughputs(&self) -> Vec<(Value, Value)> {
        let table = self.description("tasks").await;
        let indexes = table["GlobalSecondaryIndexes"].as_array().cloned().unwrap_or_default();
        let all = [table].into_iter().chain(indexes);
        let shown = |of: Value| {
            let throughput = &of["ProvisionedThroughput"];
            (throughput["WriteCapacityUnits"].clone(), throughput["NumberOfDecreasesToday"].clone())
        };
        all.map(shown).collect()
    }
}

#[tokio::test]
async fn a_throughput_is_decreased_four_times_at_once_and_then_once_an_hour() {
    let stand = Stand::start();
    stand.table("tasks", provisioned(10)).await;
    assert_eq!(stand.throughputs().await, [(json!(10), json!(0))]);
    for units in [9, 8, 7, 6] {
        stand.updated(Some(units), None).await;
    }
    assert_eq!(
        stand.comes_too_soon(update(Some(5), None)).await,
        "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. After the first 4 \
         decreases, each subsequent decrease in the same UTC day can be performed at most once every 3600 seconds. Number \
         of decreases today: 4. Last decrease at Tuesday, November 14, 2023 at 10:13:20 PM Coordinated Universal Time. \
         Next decrease can be made at Tuesday, November 14, 2023 at 11:13:20 PM Coordinated Universal Time"
    );
    stand.updated(Some(20), None).await;
    let mut mixed = update(Some(30), None);
    mixed["ProvisionedThroughput"]["WriteCapacityUnits"] = json!(19);
    stand.comes_too_soon(mixed).await;
    stand.clock.advance(HOUR - Duration::from_millis(1));
    stand.comes_too_soon(update(Some(19), None)).await;
    stand.clock.advance(Duration::from_millis(1));
    stand.updated(Some(19), None).await;
    assert_eq!(stand.throughputs().await, [(json!(19), json!(5))]);

    let refused = stand.comes_too_soon(update(Some(18), None)).await;
    assert!(refused.contains("at Wednesday, November 15, 2023 at 12:00:00 AM"), "{refused}");
    // To midnight.
    stand.clock.advance(Duration::from_secs(2_800));
    let described = &stand.description("tasks").await["ProvisionedThroughput"];
    assert_eq!(described["NumberOfDecreasesToday"], 0, "{described}");
    assert_eq!(described["LastDecreaseDateTime"], 1_700_003_600.0, "{described}");
    for units in [18, 17, 16, 15] {
        stand.updated(Some(units), None).await;
    }
    stand.comes_too_soon(update(Some(14), None)).await;
}

#[tokio::test]
async fn a_table_and_its_index_count_apart_and_either_refuses_the_whole_request() {
    let stand = Stand::start();
    stand.table("tasks", indexed(provisioned(10), provisioned(10))).await;
    for units in [9, 8, 7, 6] {
        stand.updated(Some(units), None).await;
    }
    stand.comes_too_soon(update(Some(5), Some(9))).await;
    assert_eq!(stand.throughputs().await, [(json!(6), json!(4)), (json!(10), json!(0))]);
    for units in [9, 8, 7, 6] {
        stand.updated(None, Some(units)).await;
    }
    stand.comes_too_soon(update(Some(20), Some(5))).await;
    assert_eq!(stand.throughputs().await, [(json!(6), json!(4)), (json!(6), json!(4))]);
    stand.updated(Some(20), Some(20)).await;

    stand.done("DeleteTable", json!({"TableName": "tasks"})).await;
    stand.table("tasks", indexed(provisioned(10), provisioned(10))).await;
    stand.updated(Some(9), Some(9)).await;
    assert_eq!(
        stand.throughputs().await,
        [(json!(9), json!(1)), (json!(9), json!(1))],
        "it is another table"
    );
}

#[tokio::test]
async fn updates_at_once_are_judged_one_after_the_other() {
    let stand = Stand::start();
    stand.table("tasks", provisioned(100)).await;
    for units in [99, 98, 97] {
        stand.updated(Some(units), None).await;
    }
    // One decrease is left: what follows it is an increase, or too much.
    let calls = (1..=8).map(|units| stand.call("UpdateTable", update(Some(units), None)));
    let answers = futures_util::future::join_all(calls).await;
    let first = answers.iter().position(|(status, _)| *status == 200);
    assert!(first.is_some(), "{answers:?}");
    for (_, refused) in answers.iter().filter(|(status, _)| *status != 200) {
        assert!(refused["message"].as_str().unwrap().contains("decreases today: 4"), "{refused}");
    }
    assert_eq!(stand.throughputs().await[0].1, 4, "decreases");
}

#[tokio::test]
async fn a_table_becomes_on_demand_four_times_within_a_day() {
    let stand = Stand::start();
    stand.table("tasks", provisioned(1)).await;
    let mut to_on_demand = on_demand();
    to_on_demand["TableName"] = json!("tasks");
    let mut back = update(Some(1), None);
    back["BillingMode"] = json!("PROVISIONED");
    for _ in 0..4 {
        // What is so already is no switch.
        for _ in 0..2 {
            stand.done("UpdateTable", to_on_demand.clone()).await;
        }
        stand.done("UpdateTable", back.clone()).await;
        stand.clock.advance(HOUR);
    }
    assert_eq!(stand.throughputs().await, [(json!(1), json!(0))], "a switch is no decrease");
    assert_eq!(
        stand.comes_too_soon(to_on_demand.clone()).await,
        "Subscriber limit exceeded: Update to PayPerRequest mode are limited to 4 times in 1 day(s). Last update at Wed Nov \
         15 01:13:20 UTC 2023. Next update can be made at Wed Nov 15 22:13:20 UTC 2023"
    );
    stand.clock.advance(20 * HOUR - MINUTE);
    stand.comes_too_soon(to_on_demand.clone()).await;
    stand.clock.advance(MINUTE);
    stand.done("UpdateTable", to_on_demand.clone()).await;
    stand.done("UpdateTable", back).await;
    // The second one still counts for an hour.
    stand.comes_too_soon(to_on_demand).await;
}
