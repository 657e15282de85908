//! What a call consumed: always asked of the engine, shown only to callers that asked.

use std::collections::HashMap;

use dynoxide::actions::{
    batch_execute_statement, batch_get_item, batch_write_item, delete_item, execute_statement,
    execute_transaction, get_item, put_item, query, scan, transact_get_items, transact_write_items,
    update_item,
};
use dynoxide::types::ConsumedCapacity;

use super::statement;
use super::throttle::Access;

/// What a call reads or writes: a table, or one of its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) table: &'a str,
    pub(super) index: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(super) const fn table(table: &'a str) -> Self {
        Self { table, index: None }
    }

    /// Of its metrics.
    pub(super) fn dimensions(self) -> Vec<(&'static str, &'a str)> {
        let index = self.index.map(|index| ("GlobalSecondaryIndexName", index));
        index.into_iter().chain([("TableName", self.table)]).collect()
    }
}

/// A request that consumes capacity.
pub(super) trait Metered {
    fn access(&self) -> Access;
    fn mode(&mut self) -> &mut Option<String>;
    /// One per item: a transaction says for each item why it was cancelled.
    fn targets(&self) -> Vec<Target<'_>>;
}

/// The answer to one.
pub(super) trait Billed {
    fn each(&mut self, visit: &mut dyn FnMut(&mut ConsumedCapacity));
    fn hide(&mut self);
    /// How many items a read found, of the kinds of reads that this is measured of.
    fn returned_items(&self) -> Option<usize> {
        None
    }
}

macro_rules! metered {
    ($access:ident, $module:ident, $request:ident, |$this:ident| $targets:expr) => {
        impl Metered for $module::$request {
            fn access(&self) -> Access {
                Access::$access
            }
            fn mode(&mut self) -> &mut Option<String> {
                &mut self.return_consumed_capacity
            }
            fn targets(&self) -> Vec<Target<'_>> {
                let $this = self;
                $targets
            }
        }
    };
}

/// Requests of PartiQL: what they are on is in their statements.
macro_rules! stated {
    ($module:ident, $request:ident, |$this:ident| $statements:expr) => {
        impl Metered for $module::$request {
            fn access(&self) -> Access {
                let $this = self;
                statement::access($statements)
            }
            fn mode(&mut self) -> &mut Option<String> {
                &mut self.return_consumed_capacity
            }
            fn targets(&self) -> Vec<Target<'_>> {
                let $this = self;
                let statements = $statements;
                statements.map(statement::target).collect()
            }
        }
    };
}

macro_rules! billed {
    ($module:ident, $response:ident $(, |$this:ident| $returned:expr)?) => {
        impl Billed for $module::$response {
            fn each(&mut self, visit: &mut dyn FnMut(&mut ConsumedCapacity)) {
                self.consumed_capacity.iter_mut().flatten_capacity(visit);
            }
            fn hide(&mut self) {
                self.consumed_capacity = None;
            }
            $(
                fn returned_items(&self) -> Option<usize> {
                    let $this = self;
                    $returned
                }
            )?
        }
    };
}

/// Single calls bill once, batches once per table.
trait FlattenCapacity {
    fn flatten_capacity(self, visit: &mut dyn FnMut(&mut ConsumedCapacity));
}

impl<'a, C: Bills + 'a, I: Iterator<Item = &'a mut C>> FlattenCapacity for I {
    fn flatten_capacity(self, visit: &mut dyn FnMut(&mut ConsumedCapacity)) {
        for bills in self {
            bills.bills().iter_mut().for_each(&mut *visit);
        }
    }
}

trait Bills {
    fn bills(&mut self) -> &mut [ConsumedCapacity];
}

impl Bills for ConsumedCapacity {
    fn bills(&mut self) -> &mut [ConsumedCapacity] {
        std::slice::from_mut(self)
    }
}

impl Bills for Vec<ConsumedCapacity> {
    fn bills(&mut self) -> &mut [ConsumedCapacity] {
        self
    }
}

metered!(Write, put_item, PutItemRequest, |r| vec![Target::table(&r.table_name)]);
metered!(Write, update_item, UpdateItemRequest, |r| vec![Target::table(&r.table_name)]);
metered!(Write, delete_item, DeleteItemRequest, |r| vec![Target::table(&r.table_name)]);
metered!(Read, get_item, GetItemRequest, |r| vec![Target::table(&r.table_name)]);
metered!(Read, query, QueryRequest, |r| {
    vec![Target { table: &r.table_name, index: r.index_name.as_deref() }]
});
metered!(Read, scan, ScanRequest, |r| vec![Target { table: &r.table_name, index: r.index_name.as_deref() }]);
metered!(Read, batch_get_item, BatchGetItemRequest, |r| tables(&r.request_items));
metered!(Write, batch_write_item, BatchWriteItemRequest, |r| tables(&r.request_items));
metered!(Read, transact_get_items, TransactGetItemsRequest, |r| {
    r.transact_items.iter().map(|item| Target::table(&item.get.table_name)).collect()
});
metered!(Write, transact_write_items, TransactWriteItemsRequest, |r| {
    r.transact_items.iter().map(|item| Target::table(written_table(item))).collect()
});
stated!(execute_statement, ExecuteStatementRequest, |r| std::iter::once(r.statement.as_str()));
stated!(execute_transaction, ExecuteTransactionRequest, |r| {
    r.transact_statements.iter().map(|one| one.statement.as_str())
});
stated!(batch_execute_statement, BatchExecuteStatementRequest, |r| {
    r.statements.iter().map(|one| one.statement.as_str())
});

billed!(put_item, PutItemResponse);
billed!(update_item, UpdateItemResponse);
billed!(delete_item, DeleteItemResponse);
billed!(get_item, GetItemResponse);
billed!(query, QueryResponse, |r| Some(r.count));
billed!(scan, ScanResponse, |r| Some(r.count));
billed!(batch_get_item, BatchGetItemResponse);
billed!(batch_write_item, BatchWriteItemResponse);
billed!(transact_get_items, TransactGetItemsResponse);
billed!(transact_write_items, TransactWriteItemsResponse);
billed!(execute_statement, ExecuteStatementResponse, |r| r.items.as_ref().map(Vec::len));
billed!(execute_transaction, ExecuteTransactionResponse);
billed!(batch_execute_statement, BatchExecuteStatementResponse);

fn tables<V>(items: &HashMap<String, V>) -> Vec<Target<'_>> {
    items.keys().map(|table| Target::table(table)).collect()
}

fn written_table(item: &transact_write_items::TransactWriteItem) -> &str {
    let put = item.put.as_ref().map(|put| &put.table_name);
    let update = || item.update.as_ref().map(|update| &update.table_name);
    let delete = || item.delete.as_ref().map(|delete| &delete.table_name);
    let check = || item.condition_check.as_ref().map(|check| &check.table_name);
    put.or_else(update).or_else(delete).or_else(check).map_or("", String::as_str)
}

/// Makes the engine account for the call, and says what the caller had asked for. A value that is no mode stays, so
/// that the engine refuses it.
pub(super) fn meter(mode: &mut Option<String>) -> Shown {
    let shown = match mode.as_deref() {
        None | Some("NONE") => Shown::Nothing,
        Some("TOTAL") => Shown::Total,
        Some(_) => return Shown::All,
    };
    *mode = Some("INDEXES".to_owned());
    shown
}

/// How much of the bill the caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Total,
    All,
}

impl Shown {
    pub(super) fn trim(self, response: &mut impl Billed) {
        match self {
            Self::All => {}
            Self::Nothing => response.hide(),
            Self::Total => response.each(&mut |bill| {
                bill.table = None;
                bill.global_secondary_indexes = None;
                bill.local_secondary_indexes = None;
                bill.vector_indexes = None;
            }),
        }
    }
}
