//! DynamoDB.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ScalarAttributeType,
    TableStatus, TransactWriteItem,
};

use crate::world::{Made, World};

/// A table with the key `id`, `n`, ready for use.
async fn table(world: &World, tables: &Client) -> String {
    let name = world.name("table");
    world.made(Made::Table(name.clone()));
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let request = tables.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    let request = request.key_schema(key("id", KeyType::Hash)).key_schema(key("n", KeyType::Range));
    let request = request.attribute_definitions(attribute("id", ScalarAttributeType::S));
    request.attribute_definitions(attribute("n", ScalarAttributeType::N)).send().await.unwrap();
    loop {
        let found = tables.describe_table().table_name(&name).send().await.unwrap().table.unwrap();
        if found.table_status == Some(TableStatus::Active) {
            return name;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i32) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) async fn conditions_fail_typed_and_change_nothing(world: &World) {
    let tables = Client::new(&world.config);
    let name = table(world, &tables).await;
    let put = |value| {
        let put = tables.put_item().table_name(&name).item("id", text("a")).item("n", number(1));
        put.item("v", text(value)).condition_expression("attribute_not_exists(id)").send()
    };
    put("first").await.unwrap();
    let error = put("second").await.unwrap_err();
    assert_eq!(error.message(), Some("The conditional request failed"));
    assert!(error.into_service_error().is_conditional_check_failed_exception());
    let found = tables.get_item().table_name(&name).key("id", text("a")).key("n", number(1));
    let found = found.consistent_read(true).send().await.unwrap().item.unwrap();
    assert_eq!(found["v"], text("first"));
}

pub(crate) async fn transactions_say_why_each_item_was_cancelled(world: &World) {
    let tables = Client::new(&world.config);
    let name = table(world, &tables).await;
    let put = |n, condition| {
        let put = Put::builder().table_name(&name).item("id", text("a")).item("n", number(n));
        TransactWriteItem::builder().put(put.set_condition_expression(condition).build().unwrap()).build()
    };
    let exists = Some("attribute_exists(id)".to_owned());
    let request = tables.transact_write_items().transact_items(put(1, None)).transact_items(put(2, exists));
    let error = request.send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        cancelled,
    ) = error
    else {
        panic!("not a cancelled transaction: {error:?}")
    };
    let codes: Vec<_> = cancelled.cancellation_reasons().iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, [Some("None"), Some("ConditionalCheckFailed")]);
    assert_eq!(tables.scan().table_name(&name).send().await.unwrap().count(), 0, "all or nothing");
}

pub(crate) async fn keys_are_validated(world: &World) {
    let tables = Client::new(&world.config);
    let name = table(world, &tables).await;
    let error = tables.get_item().table_name(&name).key("id", text("a")).send().await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationException"));
    assert_eq!(error.message(), Some("The provided key element does not match the schema"));
    let wrong = tables.put_item().table_name(&name).item("id", number(1)).item("n", number(1));
    assert_eq!(wrong.send().await.unwrap_err().code(), Some("ValidationException"));
}

pub(crate) async fn pages_end_with_the_last_item(world: &World) {
    let tables = Client::new(&world.config);
    let name = table(world, &tables).await;
    for n in 0..5 {
        let put = tables.put_item().table_name(&name).item("id", text("a")).item("n", number(n));
        put.send().await.unwrap();
    }
    let query = tables.query().table_name(&name).key_condition_expression("id = :id");
    let query = query.expression_attribute_values(":id", text("a")).scan_index_forward(false);
    let mut pages = query.consistent_read(true).into_paginator().page_size(2).send();
    let mut seen = Vec::new();
    while let Some(page) = pages.next().await {
        seen.push(
            page.unwrap().items().iter().map(|item| item["n"].as_n().unwrap().clone()).collect::<Vec<_>>(),
        );
    }
    assert_eq!(seen, [vec!["4", "3"], vec!["2", "1"], vec!["0"]]);
}

pub(crate) async fn what_is_not_there_is_not_found(world: &World) {
    let tables = Client::new(&world.config);
    let name = world.name("table");
    let error = tables.describe_table().table_name(&name).send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    let error = tables.put_item().table_name(&name).item("id", text("a")).send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
}
