//! Item operations: admitted by the table's caps, run by the engine, billed and measured.

use std::collections::HashSet;

use dynoxide::errors::CancellationReason;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::answer::Failure;
use super::capacity::{Billed, Metered, meter};
use super::decode::decode;
use super::throttle::{Access, Throttled};
use super::{Account, NAMESPACE};
use crate::metrics::Unit;

type Outcome = Result<String, Failure>;

impl Account {
    /// None when the operation is not one on items.
    pub(super) fn call_items(&self, operation: &str, body: &str) -> Option<Outcome> {
        let outcome = match operation {
            "PutItem" => self.single(operation, body, Database::put_item),
            "UpdateItem" => self.single(operation, body, Database::update_item),
            "DeleteItem" => self.single(operation, body, Database::delete_item),
            "GetItem" => self.single(operation, body, Database::get_item),
            "Query" => self.single(operation, body, Database::query),
            "Scan" => self.single(operation, body, Database::scan),
            "BatchGetItem" => self.batch(operation, body, "UnprocessedKeys", Database::batch_get_item),
            "BatchWriteItem" => self.batch(operation, body, "UnprocessedItems", Database::batch_write_item),
            "TransactWriteItems" => self.transaction(operation, body, Database::transact_write_items),
            "TransactGetItems" => self.transaction(operation, body, Database::transact_get_items),
            "ExecuteStatement" => self.plain(operation, body, Database::execute_statement),
            "ExecuteTransaction" => self.plain(operation, body, Database::execute_transaction),
            "BatchExecuteStatement" => self.plain(operation, body, Database::batch_execute_statement),
            _ => return None,
        };
        Some(outcome)
    }

    /// Runs an operation as the engine offers it.
    pub(super) fn plain<Q: DeserializeOwned, R: Serialize>(
        &self,
        operation: &str,
        body: &str,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Outcome {
        encode(&run(&self.database, decode(operation, body)?)?)
    }

    fn single<Q, R>(
        &self,
        operation: &str,
        body: &str,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Outcome
    where
        Q: DeserializeOwned + Metered,
        R: Serialize + Billed,
    {
        let request: Q = decode(operation, body)?;
        for table in request.tables() {
            self.throttle.admit(self.names.bare(table), Q::ACCESS, operation).map_err(Failure::Throttled)?;
        }
        encode(&self.run_billed(request, run)?)
    }

    /// Tables that are refused go back as unprocessed; only when all are is the call refused.
    fn batch<Q, R>(
        &self,
        operation: &str,
        body: &str,
        unprocessed: &str,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Outcome
    where
        Q: DeserializeOwned + Metered,
        R: Serialize + Billed,
    {
        let request: Q = decode(operation, body)?;
        let tables = request.tables();
        let refusals: Vec<(String, Throttled)> = tables
            .iter()
            .filter_map(|table| {
                let refused = self.throttle.admit(self.names.bare(table), Q::ACCESS, operation).err()?;
                Some(((*table).to_owned(), refused))
            })
            .collect();
        if refusals.is_empty() {
            return encode(&self.run_billed(request, run)?);
        }
        if refusals.len() == tables.len() {
            let (_, throttled) = refusals.into_iter().next().ok_or_else(Failure::internal)?;
            return Err(Failure::Throttled(throttled));
        }
        let refused: HashSet<String> = refusals.into_iter().map(|(table, _)| table).collect();
        self.run_partly(operation, body, unprocessed, &refused, run)
    }

    fn run_partly<Q, R>(
        &self,
        operation: &str,
        body: &str,
        unprocessed: &str,
        refused: &HashSet<String>,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Outcome
    where
        Q: DeserializeOwned + Metered,
        R: Serialize + Billed,
    {
        let mut request: Value = decode(operation, body)?;
        let mut left = Map::new();
        if let Some(items) = request.get_mut("RequestItems").and_then(Value::as_object_mut) {
            for table in refused {
                if let Some(requests) = items.remove(table) {
                    left.insert(table.clone(), requests);
                }
            }
        }
        let response = self.run_billed(decode(operation, &request.to_string())?, run)?;
        let mut response = serde_json::to_value(&response).map_err(|_| Failure::internal())?;
        if let Some(members) = response.as_object_mut() {
            let all = members.entry(unprocessed).or_insert_with(|| json!({}));
            if let Some(all) = all.as_object_mut() {
                all.extend(left);
            }
        }
        Ok(response.to_string())
    }

    fn transaction<Q, R>(
        &self,
        operation: &str,
        body: &str,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Outcome
    where
        Q: DeserializeOwned + Metered,
        R: Serialize + Billed,
    {
        let request: Q = decode(operation, body)?;
        let refusals: Vec<Option<Throttled>> = request
            .tables()
            .into_iter()
            .map(|table| self.throttle.admit(self.names.bare(table), Q::ACCESS, operation).err())
            .collect();
        if refusals.iter().any(Option::is_some) {
            return Err(cancelled(refusals).into());
        }
        encode(&self.run_billed(request, run)?)
    }

    fn run_billed<Q: Metered, R: Billed>(
        &self,
        mut request: Q,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Result<R, Failure> {
        let tables: Vec<String> =
            request.tables().into_iter().map(|table| self.names.bare(table).to_owned()).collect();
        let shown = meter(request.mode());
        match run(&self.database, request) {
            Ok(mut response) => {
                response.each(&mut |bill| {
                    self.bill(self.names.bare(&bill.table_name), Q::ACCESS, bill.capacity_units);
                });
                shown.trim(&mut response);
                Ok(response)
            }
            Err(error) => {
                // "If a ConditionExpression evaluates to false during a conditional write, DynamoDB still consumes
                // write capacity from the table": at least one unit for each item.
                if is_failed_condition(&error) {
                    tables.iter().for_each(|table| self.bill(table, Q::ACCESS, 1.0));
                }
                Err(error.into())
            }
        }
    }

    fn bill(&self, table: &str, access: Access, units: f64) {
        self.throttle.charge(table, access, units);
        let name = match access {
            Access::Read => "ConsumedReadCapacityUnits",
            Access::Write => "ConsumedWriteCapacityUnits",
        };
        let now_ms = self.settings.clock.now_ms();
        self.settings.metrics.record(now_ms, NAMESPACE, name, &[("TableName", table)], units, Unit::Count);
    }
}

fn is_failed_condition(error: &DynoxideError) -> bool {
    matches!(
        error,
        DynoxideError::ConditionalCheckFailedException(..) | DynoxideError::TransactionCanceledException(..)
    )
}

fn cancelled(refusals: Vec<Option<Throttled>>) -> DynoxideError {
    let reasons: Vec<CancellationReason> = refusals.into_iter().map(cancellation).collect();
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    DynoxideError::TransactionCanceledException(message, reasons)
}

fn cancellation(refusal: Option<Throttled>) -> CancellationReason {
    let code = refusal.as_ref().map_or("None", Throttled::cancellation_code);
    let message = refusal.as_ref().map(|refusal| refusal.message().to_owned());
    CancellationReason { code: code.to_owned(), message, item: None }
}

fn encode(response: &impl Serialize) -> Outcome {
    serde_json::to_string(response).map_err(|_| Failure::internal())
}
