//! DynamoDB: tables, indexes, and the items of batches and transactions one by one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Need, Place, body, target};
use crate::dynamodb::statement::{self, Verb};
use crate::wire::AwsRequest;

/// The members that decide, read without the items between them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Names {
    table_name: Option<String>,
    index_name: Option<String>,
    resource_arn: Option<String>,
    stream_arn: Option<String>,
    shard_iterator: Option<String>,
    request_items: BTreeMap<String, IgnoredAny>,
    transact_items: Vec<Item>,
    statement: Option<String>,
    statements: Vec<Statement>,
    transact_statements: Vec<Statement>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Item {
    put: Option<Table>,
    update: Option<Table>,
    delete: Option<Table>,
    condition_check: Option<Table>,
    get: Option<Table>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Table {
    table_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Statement {
    statement: String,
}

pub(super) fn needs(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(operation) = target(request) else { return Vec::new() };
    let needs = named(operation, request, place);
    // A request of many parts in which none can be read must not pass for one that needs nothing.
    if needs.is_empty() { vec![Need::anywhere(format!("dynamodb:{operation}"))] } else { needs }
}

fn named(operation: &str, request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let names: Names = serde_json::from_slice(&request.body).unwrap_or_default();
    match operation {
        "TransactWriteItems" | "TransactGetItems" => {
            names.transact_items.iter().flat_map(|item| of_item(item, place)).collect()
        }
        "BatchGetItem" | "BatchWriteItem" => names
            .request_items
            .keys()
            .map(|table| Need::new(format!("dynamodb:{operation}"), table_arn(place, table)))
            .collect(),
        "ExecuteStatement" => {
            names.statement.iter().map(|text| of_statement(operation, text, place)).collect()
        }
        "BatchExecuteStatement" | "ExecuteTransaction" => {
            let all = names.statements.iter().chain(&names.transact_statements);
            all.map(|one| of_statement(operation, &one.statement, place)).collect()
        }
        "ListTables" | "DescribeLimits" | "ListStreams" | "ListBackups" | "ListContributorInsights" => {
            vec![Need::anywhere(format!("dynamodb:{operation}"))]
        }
        // "You need to specify the CreateTable and PutResourcePolicy IAM actions for authorizing a user to create a table with a
        // resource-based policy." Read from the whole body, so that a member of the wrong type elsewhere does not hide it.
        "CreateTable" if !body(request)["ResourcePolicy"].is_null() => {
            let table = resource(operation, &names, place, request);
            vec![Need::new(action(operation), table.clone()), Need::new("dynamodb:PutResourcePolicy", table)]
        }
        "GetRecords" | "GetShardIterator" | "DescribeStream" => {
            let named = stream(operation, names);
            let stream = named.unwrap_or_else(|| place.arn("dynamodb", "table/*/stream/*"));
            vec![Need::new(format!("dynamodb:{operation}"), stream)]
        }
        _ => vec![Need::new(action(operation), resource(operation, &names, place, request))],
    }
}

/// GetRecords names its stream in the iterator only, which begins with it.
fn stream(operation: &str, names: Names) -> Option<String> {
    if operation == "GetRecords" {
        let iterator = names.shard_iterator?;
        return iterator.split_once('|').map(|(stream, _)| stream.to_owned());
    }
    names.stream_arn
}

/// The names of the hot operations are constants: nothing is allocated for them.
fn action(operation: &str) -> std::borrow::Cow<'static, str> {
    match operation {
        "GetItem" => "dynamodb:GetItem".into(),
        "PutItem" => "dynamodb:PutItem".into(),
        "UpdateItem" => "dynamodb:UpdateItem".into(),
        "DeleteItem" => "dynamodb:DeleteItem".into(),
        "Query" => "dynamodb:Query".into(),
        "Scan" => "dynamodb:Scan".into(),
        other => format!("dynamodb:{other}").into(),
    }
}

/// A member that the operation does not read must not decide what is asked for.
fn resource(operation: &str, names: &Names, place: Place<'_>, request: &AwsRequest) -> String {
    // The operations on tags and on policies.
    let is_named_by_arn = operation.ends_with("Resource") || operation.ends_with("ResourcePolicy");
    if let Some(arn) = names.resource_arn.as_ref().filter(|_| is_named_by_arn) {
        return arn.clone();
    }
    let table = names.table_name.clone().unwrap_or_else(|| {
        // A member of the wrong type elsewhere hides the table's name from the reader above.
        body(request)["TableName"].as_str().unwrap_or_default().to_owned()
    });
    let table = table_arn(place, &table);
    let is_of_index = matches!(operation, "Query" | "Scan") || operation.ends_with("ContributorInsights");
    match names.index_name.as_ref().filter(|_| is_of_index) {
        Some(index) => format!("{table}/index/{index}"),
        None => table,
    }
}

/// A table may be named by its ARN.
fn table_arn(place: Place<'_>, table: &str) -> String {
    if table.starts_with("arn:") {
        table.to_owned()
    } else {
        place.arn("dynamodb", &format!("table/{table}"))
    }
}

/// "Permissions for Put, Update, Delete and Get actions are governed by the permissions used for the underlying PutItem,
/// UpdateItem, DeleteItem and GetItem operations. For the ConditionCheck action, you use dynamodb:ConditionCheckItem."
///
/// Of all that an item has: the operation reads some of it, and the rest must not stand for that.
fn of_item(item: &Item, place: Place<'_>) -> impl Iterator<Item = Need> {
    let parts = [
        ("dynamodb:PutItem", &item.put),
        ("dynamodb:UpdateItem", &item.update),
        ("dynamodb:DeleteItem", &item.delete),
        ("dynamodb:ConditionCheckItem", &item.condition_check),
        ("dynamodb:GetItem", &item.get),
    ];
    let named = parts.into_iter().filter_map(|(action, table)| Some((action, table.as_ref()?)));
    named.map(move |(action, table)| Need::new(action, table_arn(place, &table.table_name)))
}

/// What cannot be read must not pass for a statement that needs nothing, whatever stands beside it.
fn of_statement(operation: &str, text: &str, place: Place<'_>) -> Need {
    read_statement(text, place).unwrap_or_else(|| Need::anywhere(format!("dynamodb:{operation}")))
}

/// None for what is no statement: the engine says so.
fn read_statement(text: &str, place: Place<'_>) -> Option<Need> {
    let statement = statement::named(text)?;
    let action = match statement.verb {
        Verb::Select => "dynamodb:PartiQLSelect",
        Verb::Insert => "dynamodb:PartiQLInsert",
        Verb::Update => "dynamodb:PartiQLUpdate",
        Verb::Delete => "dynamodb:PartiQLDelete",
    };
    // Whatever the engine may make of it: only who may do that on every table.
    let table = table_arn(place, statement.table.unwrap_or("*"));
    Some(Need::new(action, statement.index.map_or(table.clone(), |index| format!("{table}/index/{index}"))))
}
