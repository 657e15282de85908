//! What a call consumed: always asked of the engine, shown only to callers that asked.

use std::collections::HashMap;

use dynoxide::actions::{
    batch_get_item, batch_write_item, delete_item, get_item, put_item, query, scan, transact_get_items,
    transact_write_items, update_item,
};
use dynoxide::types::ConsumedCapacity;

use super::throttle::Access;

/// A request that consumes capacity.
pub(super) trait Metered {
    const ACCESS: Access;
    fn mode(&mut self) -> &mut Option<String>;
    /// One name per item: a transaction says for each item why it was cancelled.
    fn tables(&self) -> Vec<&str>;
}

/// The answer to one.
pub(super) trait Billed {
    fn each(&mut self, visit: &mut dyn FnMut(&mut ConsumedCapacity));
    fn hide(&mut self);
}

macro_rules! metered {
    ($access:ident, $module:ident, $request:ident, $response:ident, |$this:ident| $tables:expr) => {
        impl Metered for $module::$request {
            const ACCESS: Access = Access::$access;
            fn mode(&mut self) -> &mut Option<String> {
                &mut self.return_consumed_capacity
            }
            fn tables(&self) -> Vec<&str> {
                let $this = self;
                $tables
            }
        }
        impl Billed for $module::$response {
            fn each(&mut self, visit: &mut dyn FnMut(&mut ConsumedCapacity)) {
                self.consumed_capacity.iter_mut().flatten_capacity(visit);
            }
            fn hide(&mut self) {
                self.consumed_capacity = None;
            }
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

metered!(Write, put_item, PutItemRequest, PutItemResponse, |r| vec![&r.table_name]);
metered!(Write, update_item, UpdateItemRequest, UpdateItemResponse, |r| vec![&r.table_name]);
metered!(Write, delete_item, DeleteItemRequest, DeleteItemResponse, |r| vec![&r.table_name]);
metered!(Read, get_item, GetItemRequest, GetItemResponse, |r| vec![&r.table_name]);
metered!(Read, query, QueryRequest, QueryResponse, |r| vec![&r.table_name]);
metered!(Read, scan, ScanRequest, ScanResponse, |r| vec![&r.table_name]);
metered!(Read, batch_get_item, BatchGetItemRequest, BatchGetItemResponse, |r| keys(&r.request_items));
metered!(Write, batch_write_item, BatchWriteItemRequest, BatchWriteItemResponse, |r| keys(&r.request_items));
metered!(Read, transact_get_items, TransactGetItemsRequest, TransactGetItemsResponse, |r| {
    r.transact_items.iter().map(|item| item.get.table_name.as_str()).collect()
});
metered!(Write, transact_write_items, TransactWriteItemsRequest, TransactWriteItemsResponse, |r| {
    r.transact_items.iter().map(written_table).collect()
});

fn keys<V>(map: &HashMap<String, V>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
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
