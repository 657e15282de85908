//! Pages of Query, Scan and SELECT, read not much further than they go.
//!
//! The engine cuts a page at 1 MB, and reads everything that matches before it does: of an owner with a hundred thousand items
//! that is tens of megabytes, for hundreds of milliseconds, in which no other call is answered. With a `Limit` it reads no
//! more than that. So it is asked with one, and asked again with a larger one when that, and not the size, ended the page:
//! what comes out is what it would have answered at once. Only the item that a page had no room for is not counted among those
//! that were scanned.

use std::collections::HashMap;

use dynoxide::Database;
use dynoxide::actions::execute_statement::{ExecuteStatementRequest, ExecuteStatementResponse};
use dynoxide::actions::query::{QueryRequest, QueryResponse};
use dynoxide::actions::scan::{ScanRequest, ScanResponse};

use super::statement::{Stated, Verb, named};

/// Items of half a kilobyte fill a page.
const FIRST_READ_ITEMS: usize = 2_000;
const READ_GROWTH: usize = 8;
/// No page holds more items than bytes.
const PAGE_ITEMS_MAX: usize = 1_048_576;
/// A page in the blocks of 4 KiB by which it is paid.
const PAGE_BLOCKS_MAX: usize = 256;

/// A request with another limit, of which `$own` is what only its kind has: the engine's have no copy of their own.
macro_rules! limited {
    ($kind:ident, $request:ident, $limit:expr, $($own:ident: $value:expr),+) => {
        $kind {
            table_name: $request.table_name.clone(),
            filter_expression: $request.filter_expression.clone(),
            projection_expression: $request.projection_expression.clone(),
            expression_attribute_names: $request.expression_attribute_names.clone(),
            expression_attribute_values: $request.expression_attribute_values.clone(),
            limit: $limit,
            exclusive_start_key: $request.exclusive_start_key.clone(),
            select: $request.select.clone(),
            consistent_read: $request.consistent_read,
            index_name: $request.index_name.clone(),
            return_consumed_capacity: $request.return_consumed_capacity.clone(),
            attributes_to_get: $request.attributes_to_get.clone(),
            conditional_operator: $request.conditional_operator.clone(),
            exclusive_start_key_raw: $request.exclusive_start_key_raw.clone(),
            $($own: $value),+
        }
    };
}

pub(super) fn query(database: &Database, request: QueryRequest) -> dynoxide::Result<QueryResponse> {
    if is_short(request.limit) {
        let limit = request.limit;
        return database.query(request).map(|page| without_unread(page, limit));
    }
    let limited = |limit| {
        limited!(QueryRequest, request, limit,
            key_condition_expression: request.key_condition_expression.clone(),
            scan_index_forward: request.scan_index_forward,
            key_conditions: request.key_conditions.clone(),
            query_filter: request.query_filter.clone())
    };
    read(
        request.limit,
        |limit| database.query(limited(limit)).map(|page| without_unread(page, limit)),
        |page, limit| page.last_evaluated_key.is_some() && page.scanned_count >= limit,
    )
}

pub(super) fn scan(database: &Database, request: ScanRequest) -> dynoxide::Result<ScanResponse> {
    if is_short(request.limit) {
        let limit = request.limit;
        return database.scan(request).map(|page| without_unread(page, limit));
    }
    let limited = |limit| {
        limited!(ScanRequest, request, limit,
            segment: request.segment,
            total_segments: request.total_segments,
            scan_filter: request.scan_filter.clone())
    };
    read(
        request.limit,
        |limit| database.scan(limited(limit)).map(|page| without_unread(page, limit)),
        |page, limit| page.last_evaluated_key.is_some() && page.scanned_count >= limit,
    )
}

/// "If the processed dataset size exceeds 1 MB before DynamoDB reaches this limit, it stops the operation", also where there is no
/// limit. The engine goes on; what it read is in the bill, for which the request must ask.
///
/// It is asked for fewer items while they are too much, and for more while they are less than half of a page.
pub(super) fn select(
    database: &Database,
    request: ExecuteStatementRequest,
) -> dynoxide::Result<ExecuteStatementResponse> {
    if named(&request.statement).is_none_or(|named| named.verb != Verb::Select) {
        return database.execute_statement(request);
    }
    let stated = Stated { text: &request.statement, parameters: None };
    let shows_all = stated.read().is_some_and(|statement| statement.is_on_all());
    let most = request.limit.unwrap_or(PAGE_ITEMS_MAX);
    let (mut limit, mut is_shrunk) = (most.min(FIRST_READ_ITEMS), false);
    loop {
        let page = database.execute_statement(selecting(&request, limit))?;
        let blocks = blocks_read(&page, request.consistent_read == Some(true));
        let read = page.items.as_ref().filter(|_| shows_all).map_or(limit, Vec::len);
        // So many fill a page if they are of one size.
        let fitting = read * PAGE_BLOCKS_MAX / blocks.max(1);
        if blocks > PAGE_BLOCKS_MAX && limit > 1 {
            limit = fitting.clamp(1, if is_shrunk { limit / 2 } else { limit - 1 });
            is_shrunk = true;
        } else if !is_shrunk && page.next_token.is_some() && limit < most && blocks <= PAGE_BLOCKS_MAX / 2 {
            limit = fitting.min(limit * READ_GROWTH).min(most);
        } else {
            return Ok(page);
        }
    }
}

fn selecting(request: &ExecuteStatementRequest, limit: usize) -> ExecuteStatementRequest {
    ExecuteStatementRequest {
        statement: request.statement.clone(),
        parameters: request.parameters.clone(),
        limit: Some(limit),
        next_token: request.next_token.clone(),
        consistent_read: request.consistent_read,
        return_consumed_capacity: request.return_consumed_capacity.clone(),
        return_values_on_condition_check_failure: request.return_values_on_condition_check_failure.clone(),
    }
}

/// Of an index where one was read: what its table costs besides was fetched for what the index does not have.
#[expect(clippy::cast_possible_truncation, reason = "no SELECT reads so many")]
fn blocks_read(page: &ExecuteStatementResponse, is_consistent: bool) -> usize {
    let Some(bill) = &page.consumed_capacity else { return 0 };
    let indexes = [&bill.global_secondary_indexes, &bill.local_secondary_indexes];
    let of_indexes: f64 =
        indexes.into_iter().flatten().flat_map(HashMap::values).map(|used| used.capacity_units).sum();
    let units = if of_indexes > 0.0 { of_indexes } else { bill.capacity_units };
    let units_of_block = if is_consistent { 1.0 } else { 0.5 };
    (units / units_of_block) as usize
}

/// Of a query or of a scan.
trait Page {
    fn is_last(&self) -> bool;
    fn scanned_count(&mut self) -> &mut usize;
}

impl Page for QueryResponse {
    fn is_last(&self) -> bool {
        self.last_evaluated_key.is_none()
    }
    fn scanned_count(&mut self) -> &mut usize {
        &mut self.scanned_count
    }
}

impl Page for ScanResponse {
    fn is_last(&self) -> bool {
        self.last_evaluated_key.is_none()
    }
    fn scanned_count(&mut self) -> &mut usize {
        &mut self.scanned_count
    }
}

/// Of a page that its size ended the engine counts one item more than it read. Where it counts as many as the limit allows, that
/// ended the page: the size may have done so at the same item, which nobody can tell.
fn without_unread<P: Page>(mut page: P, limit: Option<usize>) -> P {
    let is_last = page.is_last();
    let scanned = page.scanned_count();
    if !is_last && limit.is_none_or(|limit| *scanned < limit) {
        *scanned = scanned.saturating_sub(1);
    }
    page
}

/// Then there is nothing to try first, and no request to copy: most queries name a small limit.
fn is_short(limit: Option<usize>) -> bool {
    limit.is_some_and(|limit| limit <= FIRST_READ_ITEMS)
}

/// `is_cut` tells whether the limit may have ended the page.
fn read<R>(
    wanted: Option<usize>,
    mut page: impl FnMut(Option<usize>) -> dynoxide::Result<R>,
    is_cut: impl Fn(&R, usize) -> bool,
) -> dynoxide::Result<R> {
    let mut limit = FIRST_READ_ITEMS;
    while limit < wanted.unwrap_or(PAGE_ITEMS_MAX) {
        let response = page(Some(limit))?;
        if !is_cut(&response, limit) {
            return Ok(response);
        }
        limit *= READ_GROWTH;
    }
    page(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is asked for, of so many items of which a page holds so many.
    fn asked(wanted: Option<usize>, items: usize, page_items: usize) -> Vec<Option<usize>> {
        let mut asked = Vec::new();
        let page = |limit: Option<usize>| {
            asked.push(limit);
            Ok(items.min(page_items).min(limit.unwrap_or(usize::MAX)))
        };
        read(wanted, page, |read, limit| *read >= limit).unwrap();
        asked
    }

    #[test]
    fn no_more_is_read_than_a_page_of_small_items_needs() {
        assert_eq!(asked(None, 100, 1_500), [Some(2_000)]);
        assert_eq!(asked(None, 1_000_000, 1_500), [Some(2_000)]);
        assert_eq!(asked(None, 1_000_000, 5_000), [Some(2_000), Some(16_000)]);
        assert_eq!(asked(Some(20), 1_000_000, 1_500), [Some(20)]);
        assert_eq!(asked(Some(1_000_000), 1_000_000, 1_500), [Some(2_000)]);
        assert_eq!(asked(Some(3_000), 1_000_000, 5_000), [Some(2_000), Some(3_000)]);
        let all = [Some(2_000), Some(16_000), Some(128_000), Some(1_024_000), None];
        assert_eq!(asked(None, usize::MAX, usize::MAX), all, "and it ends");
    }

    const ITEMS: usize = FIRST_READ_ITEMS + 50;

    /// One partition of items of about this size.
    fn filled(bytes: usize) -> Database {
        let database = Database::memory().unwrap();
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        let typed = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let table = json!({
            "TableName": "tasks", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("p", "HASH"), key("s", "RANGE")], "AttributeDefinitions": [typed("p"), typed("s")],
        });
        database.create_table(serde_json::from_value(table).unwrap()).unwrap();
        for number in 0..ITEMS {
            let text = "x".repeat(bytes);
            let item = json!({"p": {"S": "p"}, "s": {"S": format!("{number:05}")}, "text": {"S": text}});
            let put = json!({"TableName": "tasks", "Item": item});
            database.put_item(serde_json::from_value(put).unwrap()).unwrap();
        }
        database
    }

    fn also(mut body: Value, more: Value) -> Value {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    fn same(database: &Database, more: Value) -> Value {
        let with = |extra: Value| {
            let body = json!({"TableName": "tasks", "ReturnConsumedCapacity": "TOTAL"});
            also(also(body, extra), more.clone())
        };
        let scan = || serde_json::from_value(with(json!({}))).unwrap();
        // Nothing is filtered: what was read is shown.
        let at_once = |page: Value| {
            let read = page["Count"].clone();
            also(page, json!({ "ScannedCount": read }))
        };
        let scanned = serde_json::to_value(super::scan(database, scan()).unwrap()).unwrap();
        assert_eq!(scanned, at_once(serde_json::to_value(database.scan(scan()).unwrap()).unwrap()));
        let key =
            json!({"KeyConditionExpression": "p = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}});
        let query = || serde_json::from_value(with(key.clone())).unwrap();
        let queried = serde_json::to_value(super::query(database, query()).unwrap()).unwrap();
        assert_eq!(queried, at_once(serde_json::to_value(database.query(query()).unwrap()).unwrap()));
        queried
    }

    #[test]
    fn a_page_is_what_the_engine_would_have_answered_at_once() {
        let small = filled(1);
        let whole = same(&small, json!({}));
        assert_eq!((whole["Count"].as_u64(), whole.get("LastEvaluatedKey")), (Some(ITEMS as u64), None));
        let limited = same(&small, json!({"Limit": FIRST_READ_ITEMS + 1}));
        assert_eq!(limited["LastEvaluatedKey"]["s"]["S"], format!("{FIRST_READ_ITEMS:05}"));
        let resumed = json!({"ExclusiveStartKey": limited["LastEvaluatedKey"]});
        assert_eq!(same(&small, resumed)["Count"], ITEMS - FIRST_READ_ITEMS - 1);
        let large = filled(1_000);
        let page = same(&large, json!({}));
        assert!(page["Count"].as_u64().unwrap() < 1_050, "1 MB");
        assert!(page["LastEvaluatedKey"].is_object());
        for limit in [1, 7, FIRST_READ_ITEMS] {
            same(&large, json!({ "Limit": limit }));
        }
    }

    /// How many items each page of a SELECT has, and what the largest cost.
    fn selected(database: &Database, statement: &str, more: Value) -> (Vec<usize>, f64) {
        let (mut pages, mut units, mut next) = (Vec::new(), 0_f64, Value::Null);
        loop {
            let body =
                json!({"Statement": statement, "NextToken": next, "ReturnConsumedCapacity": "INDEXES"});
            let request = serde_json::from_value(also(body, more.clone())).unwrap();
            let page = select(database, request).unwrap();
            pages.push(page.items.unwrap().len());
            units = units.max(page.consumed_capacity.unwrap().capacity_units);
            next = json!(page.next_token);
            if next.is_null() {
                return (pages, units);
            }
        }
    }

    #[test]
    fn a_select_ends_at_one_megabyte_and_goes_on_from_there() {
        let small = filled(1);
        assert_eq!(selected(&small, "SELECT * FROM tasks", json!({})).0, [ITEMS]);
        let large = filled(1_000);
        for (statement, all) in [
            ("SELECT * FROM tasks", ITEMS),
            ("SELECT s FROM tasks WHERE p = 'p'", ITEMS),
            ("SELECT * FROM tasks WHERE p = 'p' AND s < '00100'", 100),
            (r#"SELECT * FROM tasks WHERE "text" = 'x'"#, 0),
        ] {
            for (more, most) in [(json!({}), 128.0), (json!({"ConsistentRead": true}), 256.0)] {
                let (pages, units) = selected(&large, statement, more);
                assert_eq!(pages.iter().sum::<usize>(), all, "{statement}: {pages:?}");
                assert!(units <= most, "{statement}: {units}");
                assert!(pages.len() <= 4, "{statement}: {pages:?}");
            }
        }
        let limited = selected(&large, "SELECT * FROM tasks", json!({"Limit": 700})).0;
        assert_eq!(limited, [700, 700, 650]);
        let put = json!({"Statement": "INSERT INTO tasks VALUE {'p': 'q', 's': 's'}"});
        select(&large, serde_json::from_value(put).unwrap()).unwrap();
        assert_eq!(selected(&large, "SELECT * FROM tasks WHERE p = 'q'", json!({})).0, [1]);
    }
}
