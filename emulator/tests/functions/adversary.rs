//! The acts of the legal adversary that need more than a queue: through the services, over HTTP.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use emulator::adversary::Act;
use emulator::{Emulator, Options, Running};
use serde_json::{Value, json};

use crate::functions::Account;

const SEED: u64 = 11;

async fn start(adversary: Option<u64>) -> Running {
    Emulator::start(Options { adversary, iam: false, ..Options::default() }).await.unwrap()
}

async fn config(running: &Running) -> SdkConfig {
    let credentials = Credentials::new("AKIATEST", "secret", None, None, "test");
    let config = aws_config::defaults(BehaviorVersion::latest()).region(Region::new("us-east-1"));
    config.endpoint_url(running.endpoint()).credentials_provider(credentials).load().await
}

async fn done(running: &Running, act: Act) -> u64 {
    let health = reqwest::get(format!("{}/_emulator/health", running.endpoint())).await.unwrap();
    let health: Value = serde_json::from_str(&health.text().await.unwrap()).unwrap();
    health["adversary"]["acts"][act.name()]["done"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_environment_may_be_gone_when_it_is_needed() {
    let account = Account::on(start(Some(SEED)).await).await;
    account.function("f", 60, &[], &[]).await;
    let mut cold = 0;
    for _ in 0..3 * Act::ColdStart.once_in() {
        // The function counts its invocations: 1 is the first of an environment.
        cold += u64::from(account.result("f", json!({"do": "count"})).await == json!(1));
    }
    let struck = done(&account.running, Act::ColdStart).await;
    assert!(struck > 0, "the seed never strikes");
    assert!(cold > struck, "{cold} cold starts: the first, and one for each of {struck} acts");
    account.running.shutdown().await;
}

#[tokio::test]
async fn the_attributes_of_a_queue_may_be_a_moment_old_and_never_older() {
    let running = start(Some(SEED)).await;
    let sqs = aws_sdk_sqs::Client::new(&config(&running).await);
    let url = sqs.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let delay = || async {
        let found =
            sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::DelaySeconds);
        found.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::DelaySeconds].clone()
    };
    let mut stale = 0;
    for n in 1..=100 {
        delay().await;
        let set = sqs.set_queue_attributes().queue_url(&url);
        set.attributes(QueueAttributeName::DelaySeconds, n.to_string()).send().await.unwrap();
        while delay().await != n.to_string() {
            stale += 1;
            assert!(stale < 1_000, "a change never shows");
        }
    }
    assert!(stale > 0, "the seed never strikes");
    running.shutdown().await;
}

#[tokio::test]
async fn only_an_eventually_consistent_read_may_miss_what_was_just_written() {
    let running = start(Some(SEED)).await;
    let tables = table(&running).await;
    let get = |id: String, consistent| {
        let call = tables.get_item().table_name("items").key("id", AttributeValue::S(id));
        async move { call.consistent_read(consistent).send().await.unwrap().item }
    };
    let mut missed = 0;
    for n in 0..10 * Act::StaleRead.once_in() {
        let id = n.to_string();
        let put = tables.put_item().table_name("items").item("id", AttributeValue::S(id.clone()));
        put.send().await.unwrap();
        missed += u64::from(get(id.clone(), false).await.is_none());
        assert!(get(id, true).await.is_some(), "a consistent read missed a write");
    }
    assert!(missed > 0, "the seed never strikes");
    assert_eq!(missed, done(&running, Act::StaleRead).await);
    running.shutdown().await;
}

/// As the list of tasks asks: it needs no payload.
#[tokio::test]
async fn a_query_may_miss_what_was_just_put_also_where_it_asks_for_some_attributes_only() {
    let running = start(Some(SEED)).await;
    let tables = table(&running).await;
    let mut missed = 0;
    for n in 0..10 * Act::StaleRead.once_in() {
        let id = AttributeValue::S(n.to_string());
        let put = tables.put_item().table_name("items").item("id", id.clone());
        put.item("payload", AttributeValue::S("text".to_owned())).send().await.unwrap();
        let query = tables.query().table_name("items").key_condition_expression("#id = :id");
        let query = query.expression_attribute_names("#id", "id").expression_attribute_values(":id", id);
        missed += u64::from(query.projection_expression("#id").send().await.unwrap().count == 0);
    }
    assert!(missed > 0, "the seed never strikes");
    assert_eq!(missed, done(&running, Act::StaleRead).await);
    running.shutdown().await;
}

#[tokio::test]
async fn without_an_adversary_every_read_is_current() {
    let running = start(None).await;
    let tables = table(&running).await;
    for n in 0..200 {
        let id = AttributeValue::S(n.to_string());
        tables.put_item().table_name("items").item("id", id.clone()).send().await.unwrap();
        assert!(tables.get_item().table_name("items").key("id", id).send().await.unwrap().item.is_some());
    }
    running.shutdown().await;
}

async fn table(running: &Running) -> aws_sdk_dynamodb::Client {
    let tables = aws_sdk_dynamodb::Client::new(&config(running).await);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let attribute =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let table =
        tables.create_table().table_name("items").key_schema(key).billing_mode(BillingMode::PayPerRequest);
    table.attribute_definitions(attribute.build().unwrap()).send().await.unwrap();
    tables
}
