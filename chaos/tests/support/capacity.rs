//! The tasks table with provisioned capacity for a while, as `provisioned_capacity` of the modules would make it.

use aws_sdk_dynamodb::types::{
    BillingMode, GlobalSecondaryIndexUpdate, ProvisionedThroughput, TableStatus,
    UpdateGlobalSecondaryIndexAction,
};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::Stack;

/// More than the load needs.
const UNITS: i64 = 2_000;
const OWNER_INDEX: &str = "owner-index";
const ACTIVE_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn a_cut_of_provisioned_capacity_is_survived(stack: &Stack) {
    let table = Table::of(stack).await;
    table.provision().await;
    let (code, entry) = stack.experiment("provisioned/table-capacity-cut", "11");
    table.on_demand().await;
    assert_eq!((code, &entry["verdict"]), (0, &json!("PASS")), "{entry:#}");
}

struct Table {
    dynamodb: aws_sdk_dynamodb::Client,
    name: String,
}

impl Table {
    async fn of(stack: &Stack) -> Self {
        let name = stack.description()["tables"]["tasks"]["name"].as_str().unwrap().to_owned();
        Self { dynamodb: stack.cloud().await.dynamodb, name }
    }

    async fn provision(&self) {
        let units = ProvisionedThroughput::builder().read_capacity_units(UNITS).write_capacity_units(UNITS);
        let units = units.build().unwrap();
        let index = UpdateGlobalSecondaryIndexAction::builder()
            .index_name(OWNER_INDEX)
            .provisioned_throughput(units.clone())
            .build()
            .unwrap();
        let update = self.dynamodb.update_table().table_name(&self.name);
        let update = update.billing_mode(BillingMode::Provisioned).provisioned_throughput(units);
        let index = GlobalSecondaryIndexUpdate::builder().update(index).build();
        update.global_secondary_index_updates(index).send().await.unwrap();
        self.active().await;
    }

    async fn on_demand(&self) {
        let update = self.dynamodb.update_table().table_name(&self.name);
        update.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
        self.active().await;
    }

    async fn active(&self) {
        let until = Instant::now() + ACTIVE_LIMIT;
        loop {
            let found = self.dynamodb.describe_table().table_name(&self.name).send().await.unwrap();
            if found.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
                return;
            }
            assert!(Instant::now() < until, "{} does not become ACTIVE", self.name);
            sleep(LOOK).await;
        }
    }
}
