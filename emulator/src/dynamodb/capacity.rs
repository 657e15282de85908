//! What a call consumed: always asked of the engine, shown only to callers that asked.

use std::collections::HashMap;

use dynoxide::actions::{
    batch_execute_statement, batch_get_item, batch_write_item, delete_item, execute_statement,
    execute_transaction, get_item, put_item, query, scan, transact_get_items, transact_write_items,
    update_item,
};
use dynoxide::types::{ConsumedCapacity, TRANSACTIONAL_CAPACITY_FACTOR, item_size, write_capacity_units};

use super::partitions::{At, Attributes, KeyCondition};
use super::statement::{self, Stated};
use super::throttle::Access;

/// What a call reads or writes: a table, or one of its indexes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target<'a> {
    pub(super) table: &'a str,
    pub(super) index: Option<&'a str>,
    pub(super) at: At<'a>,
    /// What it costs by itself, where the request is charged for many and says so.
    pub(super) units: Option<f64>,
}

impl<'a> Target<'a> {
    pub(super) const fn table(table: &'a str) -> Self {
        Self { table, index: None, at: At::Anywhere, units: None }
    }

    pub(super) const fn index(table: &'a str, index: &'a str) -> Self {
        Self { index: Some(index), ..Self::table(table) }
    }

    const fn item(table: &'a str, item: &'a Attributes) -> Self {
        Self { at: At::Item(item), ..Self::table(table) }
    }

    const fn key(table: &'a str, key: &'a Attributes) -> Self {
        Self { at: At::Key(key), ..Self::table(table) }
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
    /// One per item, of each table in the order of the request: a transaction says for each item why it was cancelled, a batch
    /// gives back those that were refused.
    fn targets(&self) -> Vec<Target<'_>>;
    /// Lets the answer show the whole item that was written, where the engine can, and says whether the caller sees it.
    fn show_item(&mut self) -> ShownItem {
        ShownItem::Never
    }
}

/// The answer to one.
pub(super) trait Billed {
    fn each(&mut self, visit: &mut dyn FnMut(&mut ConsumedCapacity));
    fn hide(&mut self);
    /// The item that was written, if it is shown.
    fn item(&mut self) -> Option<&mut Option<Attributes>> {
        None
    }
    /// The items that a read shows, of kinds that do not say before where they are or that are charged for many together.
    fn found(&self) -> Found<'_> {
        Found::Nothing
    }
    /// How many items a read found, of the kinds of reads that this is measured of.
    fn returned_items(&self) -> Option<usize> {
        None
    }
}

/// Items that an answer shows.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Nothing,
    /// Of so many that were read.
    Page(&'a [Attributes], usize),
    /// By table, in any order.
    ByTable(&'a HashMap<String, Vec<Attributes>>),
    /// One for each that was asked for.
    InOrder(Vec<Option<&'a Attributes>>),
}

macro_rules! metered {
    ($access:ident, $module:ident, $request:ident, |$this:ident| $targets:expr $(, shows $image:literal)?) => {
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
            $(
                fn show_item(&mut self) -> ShownItem {
                    ShownItem::ask(&mut self.return_values, $image)
                }
            )?
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
                statements.map(Stated::target).collect()
            }
        }
    };
}

macro_rules! billed {
    (@capacity) => {
        fn each(&mut self, visit: &mut dyn FnMut(&mut ConsumedCapacity)) {
            self.consumed_capacity.iter_mut().flatten_capacity(visit);
        }
        fn hide(&mut self) {
            self.consumed_capacity = None;
        }
    };
    ($module:ident, $response:ident, shows item) => {
        impl Billed for $module::$response {
            billed!(@capacity);
            fn item(&mut self) -> Option<&mut Option<Attributes>> {
                Some(&mut self.attributes)
            }
        }
    };
    ($module:ident, $response:ident $(, |$this:ident| $returned:expr)? $(, found $that:ident => $found:expr)?) => {
        impl Billed for $module::$response {
            billed!(@capacity);
            $(
                fn found(&self) -> Found<'_> {
                    let $that = self;
                    $found
                }
            )?
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

metered!(Write, put_item, PutItemRequest, |r| vec![Target::item(&r.table_name, &r.item)]);
metered!(Write, update_item, UpdateItemRequest, |r| vec![Target::key(&r.table_name, &r.key)], shows "ALL_NEW");
metered!(Write, delete_item, DeleteItemRequest, |r| vec![Target::key(&r.table_name, &r.key)], shows "ALL_OLD");
metered!(Read, get_item, GetItemRequest, |r| vec![Target::key(&r.table_name, &r.key)]);
metered!(Read, query, QueryRequest, |r| {
    let condition = KeyCondition {
        expression: r.key_condition_expression.as_deref(),
        names: r.expression_attribute_names.as_ref(),
        values: r.expression_attribute_values.as_ref(),
    };
    let at = r.key_conditions.as_ref().map_or(At::Condition(condition), At::Conditions);
    vec![Target { index: r.index_name.as_deref(), at, ..Target::table(&r.table_name) }]
});
metered!(Read, scan, ScanRequest, |r| {
    vec![Target { index: r.index_name.as_deref(), at: At::Page, ..Target::table(&r.table_name) }]
});
metered!(Read, batch_get_item, BatchGetItemRequest, |r| {
    let tables = r.request_items.iter();
    tables.flat_map(|(table, asked)| asked.keys.iter().map(|key| Target::key(table, key))).collect()
});
metered!(Write, batch_write_item, BatchWriteItemRequest, |r| {
    let tables = r.request_items.iter();
    tables.flat_map(|(table, asked)| asked.iter().map(|one| written(table, one))).collect()
});
metered!(Read, transact_get_items, TransactGetItemsRequest, |r| {
    r.transact_items.iter().map(|item| Target::key(&item.get.table_name, &item.get.key)).collect()
});
metered!(Write, transact_write_items, TransactWriteItemsRequest, |r| {
    r.transact_items.iter().map(written_together).collect()
});
stated!(execute_statement, ExecuteStatementRequest, |r| {
    std::iter::once(Stated { text: &r.statement, parameters: r.parameters.as_deref() })
});
stated!(execute_transaction, ExecuteTransactionRequest, |r| {
    let statements = r.transact_statements.iter();
    statements.map(|one| Stated { text: &one.statement, parameters: one.parameters.as_deref() })
});
stated!(batch_execute_statement, BatchExecuteStatementRequest, |r| {
    let statements = r.statements.iter();
    statements.map(|one| Stated { text: &one.statement, parameters: one.parameters.as_deref() })
});

billed!(put_item, PutItemResponse);
billed!(update_item, UpdateItemResponse, shows item);
billed!(delete_item, DeleteItemResponse, shows item);
billed!(get_item, GetItemResponse);
billed!(query, QueryResponse, |r| Some(r.count));
billed!(scan, ScanResponse, |r| Some(r.count), found r => {
    r.items.as_deref().map_or(Found::Nothing, |items| Found::Page(items, r.scanned_count))
});
billed!(batch_get_item, BatchGetItemResponse, found r => Found::ByTable(&r.responses));
billed!(batch_write_item, BatchWriteItemResponse);
billed!(transact_get_items, TransactGetItemsResponse, found r => {
    Found::InOrder(r.responses.iter().map(|one| one.item.as_ref()).collect())
});
billed!(transact_write_items, TransactWriteItemsResponse);
billed!(execute_statement, ExecuteStatementResponse, |r| r.items.as_ref().map(Vec::len), found r => {
    r.items.as_deref().map_or(Found::Nothing, |items| Found::Page(items, items.len()))
});
billed!(execute_transaction, ExecuteTransactionResponse, found r => {
    Found::InOrder(r.responses.iter().flatten().map(|one| one.item.as_ref()).collect())
});
billed!(batch_execute_statement, BatchExecuteStatementResponse, found r => {
    Found::InOrder(r.responses.iter().map(|one| one.item.as_ref()).collect())
});

/// A request that is neither a put nor a deletion is none: the engine refuses it.
fn written<'a>(table: &'a str, one: &'a batch_write_item::WriteRequest) -> Target<'a> {
    let put = one
        .put_request
        .as_ref()
        .map(|put| Target { units: Some(write_units(&put.item)), ..Target::item(table, &put.item) });
    let delete = || one.delete_request.as_ref().map(|delete| Target::key(table, &delete.key));
    put.or_else(delete).unwrap_or(Target::table(table))
}

fn written_together(item: &transact_write_items::TransactWriteItem) -> Target<'_> {
    let put = item.put.as_ref().map(|put| Target {
        units: Some(TRANSACTIONAL_CAPACITY_FACTOR * write_units(&put.item)),
        ..Target::item(&put.table_name, &put.item)
    });
    let update = || item.update.as_ref().map(|update| Target::key(&update.table_name, &update.key));
    let delete = || item.delete.as_ref().map(|delete| Target::key(&delete.table_name, &delete.key));
    let check = || item.condition_check.as_ref().map(|check| Target::key(&check.table_name, &check.key));
    put.or_else(update).or_else(delete).or_else(check).unwrap_or(Target::table(""))
}

/// At least: what it replaces may have cost more.
fn write_units(item: &Attributes) -> f64 {
    write_capacity_units(item_size(item))
}

/// Whether the answer to a write shows the whole item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShownItem {
    /// Also where the caller asked for a part of it, or for nothing that there is.
    Never,
    ToUs,
    ToTheCaller,
}

impl ShownItem {
    fn ask(return_values: &mut Option<String>, image: &'static str) -> Self {
        match return_values.as_deref() {
            None | Some("NONE") => {
                *return_values = Some(image.to_owned());
                Self::ToUs
            }
            Some("ALL_NEW" | "ALL_OLD") => Self::ToTheCaller,
            Some(_) => Self::Never,
        }
    }
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
