//! The parts of a call that has many: the items of a transaction, the statements of a batch. By them it is judged, and the service
//! does nothing that cannot be read so.

use serde::Deserialize;

use crate::wire::Object;

/// One part of a call.
#[derive(Debug)]
pub(crate) enum Part {
    /// What is done with an item needs this action on its table.
    Item { action: &'static str, table: String },
    /// A statement of PartiQL.
    Statement(String),
}

/// None for what is no call of many parts, or cannot be read. Only what the operation does is read: a member that it does not have
/// may be of any type.
pub(crate) fn read(operation: &str, body: &[u8]) -> Option<Vec<Part>> {
    match operation {
        "TransactWriteItems" => {
            let call: Transaction<Write> = serde_json::from_slice(body).ok()?;
            Some(call.transact_items.into_iter().flat_map(|Object(item)| item.parts()).collect())
        }
        "TransactGetItems" => {
            let call: Transaction<Read> = serde_json::from_slice(body).ok()?;
            let items = call.transact_items.into_iter();
            Some(items.filter_map(|Object(item)| part("dynamodb:GetItem", item.get)).collect())
        }
        "BatchExecuteStatement" => {
            let call: StatementBatch = serde_json::from_slice(body).ok()?;
            Some(stated(call.statements))
        }
        "ExecuteTransaction" => {
            let call: StatementTransaction = serde_json::from_slice(body).ok()?;
            Some(stated(call.transact_statements))
        }
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction<T> {
    transact_items: Vec<Object<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Write {
    put: Option<Object<Table>>,
    update: Option<Object<Table>>,
    delete: Option<Object<Table>>,
    condition_check: Option<Object<Table>>,
}

impl Write {
    /// "Permissions for Put, Update, Delete and Get actions are governed by the permissions used for the underlying PutItem,
    /// UpdateItem, DeleteItem and GetItem operations. For the ConditionCheck action, you use dynamodb:ConditionCheckItem."
    fn parts(self) -> impl Iterator<Item = Part> {
        let all = [
            ("dynamodb:PutItem", self.put),
            ("dynamodb:UpdateItem", self.update),
            ("dynamodb:DeleteItem", self.delete),
            ("dynamodb:ConditionCheckItem", self.condition_check),
        ];
        all.into_iter().filter_map(|(action, table)| part(action, table))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Read {
    get: Option<Object<Table>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Table {
    table_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatementBatch {
    statements: Vec<Object<Stated>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatementTransaction {
    transact_statements: Vec<Object<Stated>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Stated {
    statement: String,
}

fn part(action: &'static str, table: Option<Object<Table>>) -> Option<Part> {
    let Object(table) = table?;
    Some(Part::Item { action, table: table.table_name })
}

fn stated(statements: Vec<Object<Stated>>) -> Vec<Part> {
    statements.into_iter().map(|Object(stated)| Part::Statement(stated.statement)).collect()
}
