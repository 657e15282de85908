//! What the use cases need from outside, one capability each. Three implementations of each: AWS, in memory, and a
//! decorator that fails on purpose.

use std::future::Future;

use crate::error::PortError;
use crate::id::{ConnectionId, Owner, TaskId};
use crate::list::SortKey;
use crate::record::{Mover, TaskRecord};
use crate::state::Lease;
use crate::time::{DurationMs, EpochMs};
use crate::wire::{Status, Task};

pub trait Clock: Sync {
    fn now(&self) -> EpochMs;
    fn sleep(&self, duration: DurationMs) -> impl Future<Output = ()> + Send;
}

pub trait Random: Sync {
    fn fill(&self, bytes: &mut [u8]);

    /// A number from 0 to `highest`, both included.
    fn up_to(&self, highest: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        match highest.checked_add(1) {
            // The bias of the remainder is below 2^-40 for every range we use.
            Some(count) => u64::from_be_bytes(bytes) % count,
            None => u64::from_be_bytes(bytes),
        }
    }
}

/// Outcome of creating a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    New,
    Exists(Box<TaskRecord>),
}

/// Outcome of replacing a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Swapped {
    Done,
    /// The record is not what it was thought to be; here is what it is.
    Conflict(Option<Box<TaskRecord>>),
}

/// Outcome of extending a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    Yes,
    /// Another worker has taken over, or the task has ended.
    Lost,
}

pub trait TaskStore: Sync {
    /// Sees every write that was acknowledged before.
    fn get(&self, id: TaskId) -> impl Future<Output = Result<Option<TaskRecord>, PortError>> + Send;

    fn create(&self, record: &TaskRecord) -> impl Future<Output = Result<Created, PortError>> + Send;

    /// Replaces `before` by `after` if the stored record still is `before`, by version, request and lease token; where
    /// another worker's lease is taken over, by the lease's end too, so that a heartbeat in between is not overlooked.
    fn swap(
        &self,
        before: &TaskRecord,
        after: &TaskRecord,
        mover: Mover,
    ) -> impl Future<Output = Result<Swapped, PortError>> + Send;

    /// Moves the end of the lease with this token, and nothing else: not a move, so it makes no version.
    fn extend(&self, id: TaskId, lease: Lease) -> impl Future<Output = Result<Extended, PortError>> + Send;

    /// Raises `deliveries` to `receive_count` without a change of state.
    fn saw_delivery(
        &self,
        id: TaskId,
        receive_count: u32,
    ) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// One shard's part of a page, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardPage {
    /// As their owner sees them, without payloads: a page of all shards would hold megabytes of them, which nobody is shown.
    pub tasks: Vec<Task>,
    /// Where reading stopped while the shard may hold more; `None` when the shard is exhausted.
    pub stopped_at: Option<SortKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardQuery<'a> {
    pub owner: &'a Owner,
    pub shard: u16,
    /// Only tasks that are older.
    pub before: Option<SortKey>,
    pub status: Option<Status>,
    pub limit: u16,
}

pub trait OwnerIndex: Sync {
    fn shard(&self, query: ShardQuery<'_>) -> impl Future<Output = Result<ShardPage, PortError>> + Send;
}

pub trait OpenTasks: Sync {
    /// How many tasks of the owner have not come to an end, of the newest that one look can see. It looks no further once
    /// there are `enough`, or where too few have come for that.
    fn open(&self, owner: &Owner, enough: u32) -> impl Future<Output = Result<u32, PortError>> + Send;
}

pub trait TaskQueue: Sync {
    /// `trace` is the X-Ray header that the worker's trace continues.
    fn send(&self, body: &str, trace: Option<&str>) -> impl Future<Output = Result<(), PortError>> + Send;
}

pub trait Visibility: Sync {
    /// Makes a received message visible again after `delay`.
    fn change(&self, receipt: &str, delay: DurationMs) -> impl Future<Output = Result<(), PortError>> + Send;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub message_id: String,
    pub body: String,
}

pub trait DeadLetters: Sync {
    /// Some messages, hidden from others for `visibility` and left in the queue. Empty when none was found.
    fn peek(&self, visibility: DurationMs)
    -> impl Future<Output = Result<Vec<DeadLetter>, PortError>> + Send;
}

pub trait Connections: Sync {
    fn add(
        &self,
        owner: &Owner,
        connection: &ConnectionId,
        now: EpochMs,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    fn remove(
        &self,
        owner: &Owner,
        connection: &ConnectionId,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// The newest first, at most [`crate::limits::CONNECTIONS_PER_OWNER_MAX`].
    fn of_owner(&self, owner: &Owner) -> impl Future<Output = Result<Vec<Listener>, PortError>> + Send;
}

/// A connection that changes are pushed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// When its row was written: before the end of `$connect`.
    pub since: EpochMs,
    pub connection: ConnectionId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Sent,
    /// The connection is closed, or not open yet.
    Gone,
}

pub trait Pusher: Sync {
    fn push(
        &self,
        connection: &ConnectionId,
        message: &str,
    ) -> impl Future<Output = Result<Pushed, PortError>> + Send;
}

/// A state change that its owner is to hear of.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub owner: Owner,
    pub task: Task,
}

impl From<&TaskRecord> for Change {
    fn from(record: &TaskRecord) -> Self {
        Self { owner: record.owner.clone(), task: record.to_wire() }
    }
}

/// Takes changes without waiting: telling clients never holds up a task.
pub trait Changes: Sync {
    fn changed(&self, change: Change);
}
