//! Item operations: admitted by the table's caps, run by the engine, billed and measured.

use std::collections::HashSet;

use dynoxide::actions::batch_execute_statement::{
    BatchExecuteStatementRequest, BatchExecuteStatementResponse, BatchStatementError, BatchStatementResponse,
};
use dynoxide::errors::CancellationReason;
use dynoxide::types::ConsumedCapacity;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::answer::Failure;
use super::capacity::{Billed, Metered, Target, meter};
use super::decode::decode;
use super::throttle::{Access, Throttled};
use super::{Account, count, pages};

type Outcome = Result<String, Failure>;

impl Account {
    /// None when the operation is not one on items.
    pub(super) fn call_items(&self, operation: &str, body: &str) -> Option<Outcome> {
        let outcome = match operation {
            "PutItem" => self.single(operation, body, Database::put_item),
            "UpdateItem" => self.single(operation, body, Database::update_item),
            "DeleteItem" => self.single(operation, body, Database::delete_item),
            "GetItem" => self.single(operation, body, Database::get_item),
            "Query" => self.single(operation, body, pages::query),
            "Scan" => self.single(operation, body, pages::scan),
            "BatchGetItem" => self.batch(operation, body, "UnprocessedKeys", Database::batch_get_item),
            "BatchWriteItem" => self.batch(operation, body, "UnprocessedItems", Database::batch_write_item),
            "TransactWriteItems" => self.transaction(operation, body, Database::transact_write_items),
            "TransactGetItems" => self.transaction(operation, body, Database::transact_get_items),
            "ExecuteStatement" => self.single(operation, body, Database::execute_statement),
            "ExecuteTransaction" => self.transaction(operation, body, Database::execute_transaction),
            "BatchExecuteStatement" => self.statements(operation, body),
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
        for target in request.targets() {
            self.admit(target, request.access(), operation).map_err(Failure::Throttled)?;
        }
        encode(&self.run_billed(operation, request, run)?)
    }

    fn admit(&self, target: Target<'_>, access: Access, operation: &str) -> Result<(), Throttled> {
        let table = self.names.bare(target.table);
        self.throttle.admit(Target { table, ..target }, access, operation)
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
        let targets = request.targets();
        let refusals: Vec<(String, Throttled)> = targets
            .iter()
            .filter_map(|target| {
                let refused = self.admit(*target, request.access(), operation).err()?;
                Some((target.table.to_owned(), refused))
            })
            .collect();
        if refusals.is_empty() {
            return encode(&self.run_billed(operation, request, run)?);
        }
        if refusals.len() == targets.len() {
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
        let response = self.run_billed(operation, decode(operation, &request.to_string())?, run)?;
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
        let refusals = self.refusals(operation, &request);
        if refusals.iter().any(Option::is_some) {
            return Err(cancelled(refusals).into());
        }
        encode(&self.run_billed(operation, request, run)?)
    }

    /// Statements on tables that are refused fail by themselves, each in its place.
    fn statements(&self, operation: &str, body: &str) -> Outcome {
        let mut request: BatchExecuteStatementRequest = decode(operation, body)?;
        let refusals = self.refusals(operation, &request);
        if refusals.iter().all(Option::is_none) {
            return encode(&self.run_billed(operation, request, Database::batch_execute_statement)?);
        }
        let mut places = refusals.iter();
        request.statements.retain(|_| places.next().is_some_and(Option::is_none));
        let mut response = if request.statements.is_empty() {
            BatchExecuteStatementResponse::default()
        } else {
            self.run_billed(operation, request, Database::batch_execute_statement)?
        };
        let mut answers = response.responses.into_iter();
        let in_place = |refusal: Option<Throttled>| match refusal {
            Some(refusal) => Some(failed_statement(&refusal)),
            None => answers.next(),
        };
        response.responses = refusals.into_iter().filter_map(in_place).collect();
        encode(&response)
    }

    fn refusals(&self, operation: &str, request: &impl Metered) -> Vec<Option<Throttled>> {
        let targets = request.targets().into_iter();
        targets.map(|target| self.admit(target, request.access(), operation).err()).collect()
    }

    fn run_billed<Q: Metered, R: Billed>(
        &self,
        operation: &str,
        mut request: Q,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Result<R, Failure> {
        let access = request.access();
        let targets = request.targets().into_iter();
        let tables: Vec<String> = targets.map(|target| self.names.bare(target.table).to_owned()).collect();
        let shown = meter(request.mode());
        match run(&self.database, request) {
            Ok(mut response) => {
                response.each(&mut |bill| self.bill(bill, access));
                if let (Access::Read, Some(items), [table]) =
                    (access, response.returned_items(), tables.as_slice())
                {
                    let dimensions = [("Operation", operation), ("TableName", table.as_str())];
                    let items = u32::try_from(items).map_or(f64::MAX, f64::from);
                    self.count("ReturnedItemCount", &dimensions, items);
                }
                shown.trim(&mut response);
                Ok(response)
            }
            Err(error) => {
                // "If a ConditionExpression evaluates to false during a conditional write, DynamoDB still consumes
                // write capacity from the table": at least one unit for each item.
                if is_failed_condition(&error) {
                    tables.iter().for_each(|table| self.charge(Target::table(table), access, 1.0));
                }
                Err(error.into())
            }
        }
    }

    /// A global secondary index has a throughput and a dimension of its own. All else is the table's, local indexes too.
    fn bill(&self, bill: &ConsumedCapacity, access: Access) {
        let table = self.names.bare(&bill.table_name);
        let mut own = bill.capacity_units;
        for (index, used) in bill.global_secondary_indexes.iter().flatten() {
            own -= used.capacity_units;
            self.charge(Target { table, index: Some(index) }, access, used.capacity_units);
        }
        if own > 0.0 {
            self.charge(Target::table(table), access, own);
        }
    }

    fn charge(&self, target: Target<'_>, access: Access, units: f64) {
        self.throttle.charge(target, access, units);
        let name = match access {
            Access::Read => "ConsumedReadCapacityUnits",
            Access::Write => "ConsumedWriteCapacityUnits",
        };
        self.count(name, &target.dimensions(), units);
    }

    fn count(&self, name: &str, dimensions: &[(&str, &str)], value: f64) {
        count(&self.settings, name, dimensions, value);
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

fn failed_statement(refusal: &Throttled) -> BatchStatementResponse {
    let mut response = BatchStatementResponse::default();
    response.error = Some(BatchStatementError {
        code: refusal.cancellation_code().to_owned(),
        message: refusal.message().to_owned(),
        item: None,
    });
    response
}

fn encode(response: &impl Serialize) -> Outcome {
    serde_json::to_string(response).map_err(|_| Failure::internal())
}
