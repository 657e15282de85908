//! An owner's tasks, newest first, over a sharded index.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join_all;

use crate::error::PortError;
use crate::id::{Owner, TaskId};
use crate::limits;
use crate::ports::{OwnerIndex, ShardPage, ShardQuery, TaskStore};
use crate::record::TaskRecord;
use crate::time::EpochMs;
use crate::wire::{Status, Task};

/// Place of a task in its owner's list: `{created_at_ms:013}#{task_id}`, the same in every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey {
    pub created_at: EpochMs,
    pub id: TaskId,
}

impl SortKey {
    pub const fn of(record: &TaskRecord) -> Self {
        Self { created_at: record.created_at, id: record.id }
    }

    const fn of_task(task: &Task) -> Self {
        Self { created_at: task.created_at, id: task.id }
    }

    /// The opaque form for clients. One position serves all shards, because all shards share one order.
    pub fn to_cursor(self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_string())
    }

    pub fn from_cursor(cursor: &str) -> Result<Self, InvalidCursor> {
        if cursor.len() > limits::CURSOR_BYTES_MAX {
            return Err(InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
        String::from_utf8(bytes).map_err(|_| InvalidCursor)?.parse()
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:013}#{}", self.created_at.0, self.id)
    }
}

/// A cursor that was not given out by this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that this service gave out")]
pub struct InvalidCursor;

impl FromStr for SortKey {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (moment, id) = text.split_once('#').ok_or(InvalidCursor)?;
        let key = Self {
            created_at: EpochMs(moment.parse().map_err(|_| InvalidCursor)?),
            id: id.parse().map_err(|_| InvalidCursor)?,
        };
        // One spelling only, so that text order in the index is the order of keys.
        if key.to_string() == text { Ok(key) } else { Err(InvalidCursor) }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct PageQuery<'a> {
    pub owner: &'a Owner,
    pub limit: u16,
    pub before: Option<SortKey>,
    pub status: Option<Status>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub tasks: Vec<Task>,
    pub next: Option<SortKey>,
}

/// One page, merged over all shards.
pub async fn list<I: OwnerIndex>(index: &I, shards: u16, query: PageQuery<'_>) -> Result<Page, PortError> {
    let PageQuery { owner, limit, before, status } = query;
    let pages = (0..shards).map(|shard| index.shard(ShardQuery { owner, shard, before, status, limit }));
    Ok(merge(try_join_all(pages).await?, limit))
}

fn merge(pages: Vec<ShardPage>, limit: u16) -> Page {
    // A shard that stopped early may hold tasks just below the place where it stopped. Nothing older than the newest
    // such place can be shown yet: something unread might come before it.
    let horizon = pages.iter().filter_map(|page| page.stopped_at).max();
    let mut tasks: Vec<Task> = pages.into_iter().flat_map(|page| page.tasks).collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(SortKey::of_task(task)));
    tasks.retain(|task| horizon.is_none_or(|horizon| SortKey::of_task(task) >= horizon));
    let is_cut = tasks.len() > usize::from(limit);
    tasks.truncate(usize::from(limit));
    let next = if is_cut { tasks.last().map(SortKey::of_task) } else { horizon };
    Page { tasks, next }
}

/// A task, if it is this owner's: another owner's task does not exist for the caller.
pub async fn get<S: TaskStore>(
    store: &S,
    owner: &Owner,
    id: TaskId,
) -> Result<Option<TaskRecord>, PortError> {
    Ok(store.get(id).await?.filter(|record| record.owner == *owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cursor_that_is_given_out_is_short_enough_to_come_back() {
        let id = "ffffffff-ffff-ffff-ffff-ffffffffffff".parse().unwrap();
        for created_at in [EpochMs(0), EpochMs(1_800_000_000_000), EpochMs(u64::MAX)] {
            let key = SortKey { created_at, id };
            let cursor = key.to_cursor();
            assert!(cursor.len() <= limits::CURSOR_BYTES_MAX, "{} bytes", cursor.len());
            assert_eq!(SortKey::from_cursor(&cursor), Ok(key));
        }
        assert_eq!(SortKey::from_cursor(&"A".repeat(limits::CURSOR_BYTES_MAX + 1)), Err(InvalidCursor));
    }
}
