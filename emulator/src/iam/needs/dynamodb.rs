//! DynamoDB: tables, indexes, and the items of batches and transactions one by one.
//!
//! A call is read by the members that decide about its operation, and by no other: what the service does not read may be of any
//! type, and hides nothing. What cannot be read so the service cannot read either, and refuses.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Need, Place, target};
use crate::dynamodb::parts::{self, Part};
use crate::dynamodb::statement::{self, Verb};
use crate::wire::AwsRequest;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    table_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Indexed {
    table_name: String,
    index_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewTable {
    table_name: String,
    resource_policy: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    resource_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    request_items: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stated {
    statement: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stream {
    stream_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shard {
    shard_iterator: String,
}

fn read<T: DeserializeOwned>(request: &AwsRequest) -> Option<T> {
    serde_json::from_slice(&request.body).ok()
}

pub(super) fn needs(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(operation) = target(request) else { return Vec::new() };
    let needs = named(operation, request, place);
    // What cannot be read must not pass for what needs nothing.
    if needs.is_empty() { vec![Need::anywhere(format!("dynamodb:{operation}"))] } else { needs }
}

fn named(operation: &str, request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    match operation {
        "TransactWriteItems" | "TransactGetItems" | "BatchExecuteStatement" | "ExecuteTransaction" => {
            let parts = parts::read(operation, &request.body).unwrap_or_default();
            parts.into_iter().map(|part| of_part(operation, part, place)).collect()
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let batch: Option<Batch> = read(request);
            let tables = batch.into_iter().flat_map(|batch| batch.request_items.into_keys());
            tables.map(|table| Need::new(format!("dynamodb:{operation}"), table_arn(place, &table))).collect()
        }
        "ExecuteStatement" => {
            let stated: Option<Stated> = read(request);
            stated.iter().map(|stated| of_statement(operation, &stated.statement, place)).collect()
        }
        "ListTables" | "DescribeLimits" | "ListStreams" | "ListBackups" | "ListContributorInsights" => {
            vec![Need::anywhere(format!("dynamodb:{operation}"))]
        }
        "CreateTable" => of_new_table(operation, request, place),
        "GetRecords" | "GetShardIterator" | "DescribeStream" => {
            let named = stream(operation, request);
            let stream = named.unwrap_or_else(|| place.arn("dynamodb", "table/*/stream/*"));
            vec![Need::new(format!("dynamodb:{operation}"), stream)]
        }
        _ if is_named_by_arn(operation) => {
            let named: Option<Named> = read(request);
            named.into_iter().map(|named| Need::new(action(operation), named.resource_arn)).collect()
        }
        _ => vec![Need::new(action(operation), resource(operation, request, place))],
    }
}

/// "You need to specify the CreateTable and PutResourcePolicy IAM actions for authorizing a user to create a table with a
/// resource-based policy."
fn of_new_table(operation: &str, request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(NewTable { table_name, resource_policy }) = read(request) else { return Vec::new() };
    let table = table_arn(place, &table_name);
    let puts_policy = resource_policy.map(|_| Need::new("dynamodb:PutResourcePolicy", table.clone()));
    std::iter::once(Need::new(action(operation), table)).chain(puts_policy).collect()
}

/// The operations on tags and on policies.
fn is_named_by_arn(operation: &str) -> bool {
    operation.ends_with("Resource") || operation.ends_with("ResourcePolicy")
}

/// GetRecords names its stream in the iterator only, which begins with it.
fn stream(operation: &str, request: &AwsRequest) -> Option<String> {
    if operation == "GetRecords" {
        let Shard { shard_iterator } = read(request)?;
        return shard_iterator.split_once('|').map(|(stream, _)| stream.to_owned());
    }
    read(request).map(|Stream { stream_arn }| stream_arn)
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

/// Who names no table hears what is wrong with that only if every table is open to them.
fn resource(operation: &str, request: &AwsRequest, place: Place<'_>) -> String {
    let is_of_index = matches!(operation, "Query" | "Scan") || operation.ends_with("ContributorInsights");
    let named = if is_of_index {
        read(request)
    } else {
        read(request).map(|Table { table_name }| Indexed { table_name, index_name: None })
    };
    let Some(Indexed { table_name, index_name }) = named else { return table_arn(place, "*") };
    let table = table_arn(place, &table_name);
    match index_name {
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

fn of_part(operation: &str, part: Part, place: Place<'_>) -> Need {
    match part {
        Part::Item { action, table } => Need::new(action, table_arn(place, &table)),
        Part::Statement(text) => of_statement(operation, &text, place),
    }
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
