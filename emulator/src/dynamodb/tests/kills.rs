//! Tables that were being made or deleted when the emulator was killed, and what was known of them.

use super::*;

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";

fn protected(name: &str) -> Value {
    let mut more = indexed(on_demand(), json!({}));
    more["DeletionProtectionEnabled"] = json!(true);
    definition(name, more)
}

impl Stand {
    /// The start after a kill between the steps of making or deleting a table.
    fn killed_at(&self, table: &str, step: impl FnOnce(&Database)) -> Self {
        let mut next = None;
        let account = &self.tables.account;
        let killed = account.in_steps(Some(table.to_owned()), || {
            step(&account.database);
            next = Some(self.again());
            Ok(String::new())
        });
        killed.unwrap();
        next.unwrap()
    }

    async fn is_there(&self, table: &str) -> bool {
        let (status, answer) = self.call("DescribeTable", json!({ "TableName": table })).await;
        assert!(status == 200 || answer.to_string().contains("ResourceNotFoundException"), "{answer}");
        status == 200
    }

    /// What is known of the table beside the engine.
    async fn make_known(&self) {
        let policy = json!({"ResourceArn": ARN, "Policy": unreadable(ARN)});
        self.done("PutResourcePolicy", policy).await;
        let recovery = json!({"PointInTimeRecoveryEnabled": true});
        let recovery = json!({"TableName": "tasks", "PointInTimeRecoverySpecification": recovery});
        self.done("UpdateContinuousBackups", recovery).await;
        let insights = json!({"TableName": "tasks", "ContributorInsightsAction": "ENABLE"});
        self.done("UpdateContributorInsights", insights).await;
    }

    async fn nothing_is_known(&self) {
        let policy = self.refused("GetResourcePolicy", json!({ "ResourceArn": ARN })).await;
        assert_eq!(policy.0, "PolicyNotFoundException");
        let of_table = json!({"TableName": "tasks"});
        let backups = self.done("DescribeContinuousBackups", of_table.clone()).await;
        let recovery = &backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
        assert_eq!(recovery["PointInTimeRecoveryStatus"], "DISABLED");
        let insights = self.done("DescribeContributorInsights", of_table).await;
        assert_eq!(insights["ContributorInsightsStatus"], "DISABLED");
    }
}

#[tokio::test]
async fn a_table_that_was_being_made_at_a_kill_is_not_there_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::on(dir.path());
    stand.table("other", on_demand()).await;
    let next = stand.killed_at("tasks", |database| {
        database.create_table(serde_json::from_value(protected("tasks")).unwrap()).unwrap();
    });
    assert!(!next.is_there("tasks").await);
    assert!(next.is_there("other").await);
    next.done("CreateTable", protected("tasks")).await;
    assert!(next.again().is_there("tasks").await, "acknowledged");
}

#[tokio::test]
async fn a_table_that_was_being_deleted_at_a_kill_takes_along_what_was_known_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::on(dir.path());
    stand.table("tasks", on_demand()).await;
    stand.make_known().await;
    let deleting = json!({"TableName": "tasks"});
    let next = stand.killed_at("tasks", |database| {
        database.delete_table(serde_json::from_value(deleting).unwrap()).unwrap();
    });
    assert!(!next.is_there("tasks").await);
    next.table("tasks", on_demand()).await;
    next.nothing_is_known().await;
}

#[tokio::test]
async fn a_table_that_is_whole_and_holds_something_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::on(dir.path());
    stand.table("tasks", indexed(on_demand(), json!({}))).await;
    stand.put("tasks", "a").await;
    let next = stand.killed_at("tasks", |_| {});
    assert!(next.done("GetItem", getting("tasks", "a")).await["Item"].is_object());
}

#[tokio::test]
async fn no_table_is_made_or_deleted_before_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::on(dir.path());
    stand.table("tasks", on_demand()).await;
    // In the place of what the file is written to.
    let blocked = dir.path().join("tables.partial");
    std::fs::create_dir(&blocked).unwrap();
    let (made, _) = stand.call("CreateTable", definition("other", on_demand())).await;
    let (deleted, _) = stand.call("DeleteTable", json!({"TableName": "tasks"})).await;
    assert_eq!((made, deleted), (500, 500));
    std::fs::remove_dir(&blocked).unwrap();
    for stand in [&stand, &stand.again()] {
        assert!(stand.is_there("tasks").await);
        assert!(!stand.is_there("other").await);
    }
    // And they leave nothing behind that would go with the next start.
    stand.make_known().await;
    assert!(stand.again().is_there("tasks").await);
}

#[tokio::test]
async fn a_table_that_is_made_and_cannot_be_kept_is_not_there_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::on(dir.path());
    let account = &stand.tables.account;
    // In the place of what the file is written to, between the last step and what is kept of it.
    let blocked = dir.path().join("tables.partial");
    let made = account.in_steps(Some("tasks".to_owned()), || {
        let made = account.call_control("CreateTable", &protected("tasks").to_string()).unwrap();
        std::fs::create_dir(&blocked).unwrap();
        Ok(made)
    });
    assert!(made.is_err());
    std::fs::remove_dir(&blocked).unwrap();
    for stand in [&stand, &stand.again()] {
        assert!(!stand.is_there("tasks").await);
    }
    stand.done("CreateTable", protected("tasks")).await;
    assert!(stand.again().is_there("tasks").await, "acknowledged");
}

#[tokio::test]
async fn what_was_known_of_a_table_that_is_not_there_is_not_known_of_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::on(dir.path());
    stand.table("tasks", on_demand()).await;
    stand.make_known().await;
    let request = serde_json::from_value(json!({"TableName": "tasks"})).unwrap();
    stand.tables.account.database.delete_table(request).unwrap();
    let next = stand.again();
    let kept = std::fs::read_to_string(dir.path().join("tables.json")).unwrap();
    assert!(!kept.contains("tasks"), "{kept}");
    next.table("tasks", on_demand()).await;
    next.nothing_is_known().await;

    // And within one process.
    next.make_known().await;
    let request = serde_json::from_value(json!({"TableName": "tasks"})).unwrap();
    next.tables.account.database.delete_table(request).unwrap();
    next.table("tasks", on_demand()).await;
    next.nothing_is_known().await;
}
