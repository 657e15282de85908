//! Item operations: admitted by the table's caps, run by the engine, billed and measured.

use std::collections::{BTreeSet, HashMap, HashSet};

use dynoxide::actions::batch_execute_statement::{
    BatchExecuteStatementRequest, BatchExecuteStatementResponse, BatchStatementError, BatchStatementResponse,
};
use dynoxide::actions::execute_statement::{ExecuteStatementRequest, ExecuteStatementResponse};
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::errors::CancellationReason;
use dynoxide::types::ConsumedCapacity;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::answer::Failure;
use super::bucket::REQUEST_UNITS_MIN;
use super::capacity::{Billed, Found, Metered, ShownItem, Target, meter};
use super::decode::{decode, decode_parts};
use super::partitions::{At, Attributes};
use super::statement::Stated;
use super::throttle::{Access, Indexes, Places, Throttled, read_units};
use super::{Account, count, pages};

type Outcome = Result<String, Failure>;
/// Of each item of a request.
type Admission = Result<Places, Throttled>;

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
            "ExecuteStatement" => {
                let run = |database: &Database, request| self.run_statement(database, request);
                self.single(operation, body, run)
            }
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
        let mut request: Q = decode(operation, body)?;
        let item = self.show_item(&mut request);
        let places = self.admissions(&request, item).into_iter().collect::<Result<_, _>>();
        let places = places.map_err(|throttled| self.refused(operation, throttled))?;
        encode(&self.run_billed(operation, request, places, item, run)?)
    }

    /// Of one partition key or several AWS reads what they have and nothing else. Of several, and of one with alternatives beside
    /// it, the engine goes over all items of the table or the index, and pages of those would show next to nothing.
    fn run_statement(
        &self,
        database: &Database,
        request: ExecuteStatementRequest,
    ) -> dynoxide::Result<ExecuteStatementResponse> {
        let stated = Stated { text: &request.statement, parameters: request.parameters.as_deref() };
        let read = stated.read().zip(self.throttle.partition_key(stated.target()));
        let goes_over_all = read.is_some_and(|(statement, key)| {
            let keys = statement.values_of(&key);
            keys.is_some_and(|keys| keys.len() > 1 || statement.has_alternatives())
        });
        if goes_over_all { database.execute_statement(request) } else { pages::select(database, request) }
    }

    /// Only the item itself says where it is in the indexes of its table.
    fn show_item(&self, request: &mut impl Metered) -> ShownItem {
        let is_indexed = |target: &Target<'_>| self.throttle.indexes(target.table) != Indexes::None;
        let is_indexed = request.access() == Access::Write && request.targets().iter().any(is_indexed);
        if is_indexed { request.show_item() } else { ShownItem::Never }
    }

    fn admissions(&self, request: &impl Metered, item: ShownItem) -> Vec<Admission> {
        let (targets, access) = (request.targets(), request.access());
        targets.into_iter().map(|target| self.admit(target, access, item)).collect()
    }

    fn admit(&self, target: Target<'_>, access: Access, item: ShownItem) -> Admission {
        match target.at {
            At::Item(item) if access == Access::Write => self.throttle.admit(target, Some(item), access),
            At::Key(key) if access == Access::Write && self.must_look_before(target.table, item) => {
                self.throttle.admit(target, self.stored(target.table, key).as_ref(), access)
            }
            At::Statement(stated)
                if access == Access::Write && self.must_look_before(target.table, ShownItem::Never) =>
            {
                self.throttle.admit(target, self.stated(target.table, stated).as_ref(), access)
            }
            _ => self.throttle.admit(target, None, access),
        }
    }

    /// An answer that shows the item is soon enough, unless some partition of an index takes nothing more.
    fn must_look_before(&self, table: &str, item: ShownItem) -> bool {
        match (self.throttle.indexes(table), item) {
            (Indexes::None, _) | (Indexes::Cool, ShownItem::ToUs | ShownItem::ToTheCaller) => false,
            (Indexes::Cool, ShownItem::Never) | (Indexes::Hot, _) => true,
        }
    }

    /// The item that a statement makes, or changes.
    fn stated(&self, table: &str, stated: Stated<'_>) -> Option<Attributes> {
        let statement = stated.read()?;
        let value = |name: String| match statement.values_of(&name)?.as_slice() {
            [value] => Some((name, value.clone())),
            _ => None,
        };
        let key = || self.throttle.key(table).into_iter().map(value).collect::<Option<Attributes>>();
        statement.inserted().or_else(|| self.stored(table, &key()?))
    }

    fn stored(&self, table: &str, key: &Attributes) -> Option<Attributes> {
        let request =
            GetItemRequest { table_name: table.to_owned(), key: key.clone(), ..GetItemRequest::default() };
        self.database.get_item(request).ok()?.item
    }

    fn refused(&self, operation: &str, throttled: Throttled) -> Failure {
        self.throttle.measure_refused(&throttled.table, operation);
        Failure::Throttled(throttled)
    }

    /// Items that are refused go back as unprocessed; only when all are is the call refused.
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
        let admissions = self.admissions(&request, ShownItem::Never);
        if admissions.iter().all(Result::is_err)
            && let Some(Err(throttled)) = admissions.first()
        {
            return Err(self.refused(operation, throttled.clone()));
        }
        let refused = refused_items(&request.targets(), &admissions);
        let places = admissions.into_iter().flatten().collect();
        if refused.is_empty() {
            return encode(&self.run_billed(operation, request, places, ShownItem::Never, run)?);
        }
        let mut asked: Value = decode(operation, body)?;
        let left = take_out(&mut asked, &refused);
        let request = decode(operation, &asked.to_string())?;
        let response = self.run_billed(operation, request, places, ShownItem::Never, run)?;
        let mut response = serde_json::to_value(&response).map_err(|_| Failure::internal())?;
        give_back(&mut response, unprocessed, left);
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
        let request: Q = decode_parts(operation, body)?;
        let admissions = self.admissions(&request, ShownItem::Never);
        if admissions.iter().any(Result::is_err) {
            let refusals: Vec<Option<Throttled>> = admissions.into_iter().map(Result::err).collect();
            let tables: BTreeSet<&str> =
                refusals.iter().flatten().map(|refused| refused.table.as_str()).collect();
            tables.into_iter().for_each(|table| self.throttle.measure_refused(table, operation));
            return Err(cancelled(refusals).into());
        }
        let places = admissions.into_iter().flatten().collect();
        encode(&self.run_billed(operation, request, places, ShownItem::Never, run)?)
    }

    /// Statements on tables that are refused fail by themselves, each in its place.
    fn statements(&self, operation: &str, body: &str) -> Outcome {
        let mut request: BatchExecuteStatementRequest = decode_parts(operation, body)?;
        let admissions = self.admissions(&request, ShownItem::Never);
        let mut each = admissions.iter();
        request.statements.retain(|_| each.next().is_some_and(Result::is_ok));
        let refusals: Vec<Option<Throttled>> =
            admissions.iter().map(|admission| admission.clone().err()).collect();
        let places = admissions.into_iter().flatten().collect();
        let mut response = if request.statements.is_empty() && !refusals.is_empty() {
            BatchExecuteStatementResponse::default()
        } else {
            let run = Database::batch_execute_statement;
            self.run_billed(operation, request, places, ShownItem::Never, run)?
        };
        let mut answers = response.responses.into_iter();
        let in_place = |refusal: Option<Throttled>| match refusal {
            Some(refusal) => {
                self.throttle.measure_refused(&refusal.table, operation);
                Some(failed_statement(&refusal))
            }
            None => answers.next(),
        };
        response.responses = refusals.into_iter().filter_map(in_place).collect();
        encode(&response)
    }

    fn run_billed<Q: Metered, R: Billed>(
        &self,
        operation: &str,
        mut request: Q,
        mut places: Vec<Places>,
        item: ShownItem,
        run: impl FnOnce(&Database, Q) -> dynoxide::Result<R>,
    ) -> Result<R, Failure> {
        let access = request.access();
        let shown = meter(request.mode());
        match run(&self.database, request) {
            Ok(mut response) => {
                self.locate(&mut places, &mut response, item);
                if access == Access::Read {
                    self.weigh(&mut places, response.found());
                }
                response.each(&mut |bill| self.bill(bill, &places, access));
                if let (Access::Read, Some(items), [place]) =
                    (access, response.returned_items(), places.as_slice())
                {
                    let dimensions = [("Operation", operation), ("TableName", place.table.as_str())];
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
                    for place in &places {
                        let cost = std::iter::once((None, 1.0));
                        self.charge(&place.table, cost, std::slice::from_ref(place), access);
                    }
                }
                Err(error.into())
            }
        }
    }

    /// Takes from the answer in which partitions of the indexes the item is.
    fn locate(&self, places: &mut [Places], response: &mut impl Billed, item: ShownItem) {
        if !matches!(item, ShownItem::ToUs | ShownItem::ToTheCaller) {
            return;
        }
        if let ([place], Some(shown)) = (places, response.item()) {
            if let Some(item) = shown {
                self.throttle.locate(place, item);
            }
            if item == ShownItem::ToUs {
                *shown = None;
            }
        }
    }

    /// Takes from the answer to a read where its items are, or what each of them costs by itself.
    fn weigh(&self, places: &mut [Places], found: Found<'_>) {
        match found {
            Found::Nothing => {}
            Found::Page(items, read) => {
                if let [place] = places {
                    self.throttle.locate_page(place, items, read);
                }
            }
            Found::ByTable(tables) => {
                for (table, items) in tables {
                    self.throttle.weigh(places, table, items);
                }
            }
            Found::InOrder(items) => {
                for (place, item) in places.iter_mut().zip(items) {
                    place.units = Some(item.map_or(REQUEST_UNITS_MIN, read_units));
                }
            }
        }
    }

    /// A global secondary index has a throughput and a dimension of its own. All else is the table's, local indexes too.
    fn bill(&self, bill: &ConsumedCapacity, places: &[Places], access: Access) {
        let indexes = bill.global_secondary_indexes.iter().flatten();
        let indexes = indexes.map(|(index, used)| (Some(index.as_str()), used.capacity_units));
        let own = bill.capacity_units - indexes.clone().map(|(_, units)| units).sum::<f64>();
        let own = (own > 0.0).then_some((None, own));
        // What a transaction of the same token did before costs what it costs to read it.
        let access = match (bill.read_capacity_units, bill.write_capacity_units) {
            (Some(_), None) => Access::Read,
            _ => access,
        };
        self.charge(&bill.table_name, indexes.chain(own), places, access);
    }

    fn charge<'a>(
        &self,
        table: &str,
        costs: impl Iterator<Item = (Option<&'a str>, f64)> + Clone,
        places: &[Places],
        access: Access,
    ) {
        self.throttle.charge(table, costs.clone(), places, access);
        let name = match access {
            Access::Read => "ConsumedReadCapacityUnits",
            Access::Write => "ConsumedWriteCapacityUnits",
        };
        for (index, units) in costs {
            self.count(name, &Target { index, ..Target::table(table) }.dimensions(), units);
        }
    }

    fn count(&self, name: &str, dimensions: &[(&str, &str)], value: f64) {
        count(&self.settings, name, dimensions, value);
    }
}

/// By table, as the request names it, which of its items are refused.
fn refused_items(targets: &[Target<'_>], admissions: &[Admission]) -> HashMap<String, HashSet<usize>> {
    let mut refused: HashMap<String, HashSet<usize>> = HashMap::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (target, admission) in targets.iter().zip(admissions) {
        let number = seen.entry(target.table).or_default();
        if admission.is_err() {
            refused.entry(target.table.to_owned()).or_default().insert(*number);
        }
        *number += 1;
    }
    refused
}

/// What is left of a batch without the refused items, and those.
fn take_out(asked: &mut Value, refused: &HashMap<String, HashSet<usize>>) -> Map<String, Value> {
    let mut left = Map::new();
    let Some(tables) = asked.get_mut("RequestItems").and_then(Value::as_object_mut) else { return left };
    for (table, refused) in refused {
        let Some(mut of_table) = tables.remove(table) else { continue };
        let mut unprocessed = of_table.clone();
        retain(&mut unprocessed, |number| refused.contains(&number));
        left.insert(table.clone(), unprocessed);
        retain(&mut of_table, |number| !refused.contains(&number));
        if entries(&mut of_table).is_some_and(|kept| !kept.is_empty()) {
            tables.insert(table.clone(), of_table);
        }
    }
    left
}

/// What the engine has left unprocessed by itself stays so.
fn give_back(response: &mut Value, unprocessed: &str, left: Map<String, Value>) {
    let Some(members) = response.as_object_mut() else { return };
    let Some(all) = members.entry(unprocessed).or_insert_with(|| json!({})).as_object_mut() else { return };
    for (table, mut of_table) in left {
        match (all.get_mut(&table).and_then(entries), entries(&mut of_table)) {
            (Some(there), Some(more)) => there.append(more),
            _ => {
                all.insert(table, of_table);
            }
        }
    }
}

/// Of one table in a batch: a list of writes, or of keys among what else is said about reading them.
fn entries(of_table: &mut Value) -> Option<&mut Vec<Value>> {
    match of_table {
        Value::Array(writes) => Some(writes),
        reads => reads.get_mut("Keys")?.as_array_mut(),
    }
}

fn retain(of_table: &mut Value, is_kept: impl Fn(usize) -> bool) {
    let mut numbers = 0..;
    if let Some(entries) = entries(of_table) {
        entries.retain(|_| numbers.next().is_some_and(&is_kept));
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
