//! Message move tasks: what brings dead letters back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::account::Account;
use super::error::{ErrorKind, SqsError};
use super::handle::QueueHandle;
use super::queue::Parcel;
use super::service::{Caller, check_policy, permitted};

/// Tasks that ListMessageMoveTasks can still show, per account.
const TASKS_KEPT_MAX: usize = 1_000;
/// AWS quota: active tasks per account.
const TASKS_ACTIVE_MAX: usize = 100;
/// AWS quota: how long a task may run.
const TASK_MS_MAX: i64 = 36 * 3_600_000;
/// Why a task that ran for so long has failed; what AWS says then is not documented.
const TIMED_OUT: &str = "TimedOut";
/// What whoever starts a task must be allowed on its source.
pub const ACTIONS_ON_SOURCE: [&str; 4] =
    ["StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];
/// AWS quota for `MaxNumberOfMessagesPerSecond`.
pub const RATE_MAX: i64 = 500;
/// Messages moved in one go; a task with a rate moves one at a time.
const MOVE_BATCH: usize = 100;
/// And their bytes, short of the last message.
const MOVE_BYTES: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Running,
    Completed,
    Cancelling,
    Cancelled,
    Failed(&'static str),
}

impl Status {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Failed(_) => "FAILED",
        }
    }

    const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

/// One task, as ListMessageMoveTasks shows it.
#[derive(Clone, Debug)]
pub struct Task {
    pub handle: String,
    pub source_arn: String,
    pub destination_arn: Option<String>,
    pub rate: Option<i64>,
    pub started_ms: i64,
    pub to_move: usize,
    pub moved: usize,
    pub status: Status,
}

/// The tasks of the account, latest first.
#[derive(Debug, Default)]
pub struct Moves {
    tasks: Mutex<VecDeque<Task>>,
}

/// The part of a task handle that is read back.
#[derive(Deserialize)]
struct Handle {
    #[serde(rename = "sourceArn")]
    source_arn: String,
}

impl Moves {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn of_source(&self, source_arn: &str, tasks_max: usize) -> Vec<Task> {
        self.lock().iter().filter(|task| task.source_arn == source_arn).take(tasks_max).cloned().collect()
    }

    fn add(&self, task: Task) -> Result<(), SqsError> {
        let mut tasks = self.lock();
        let active = |task: &&Task| task.status.is_active();
        if tasks.iter().filter(active).any(|other| other.source_arn == task.source_arn) {
            return Err(SqsError::new(
                ErrorKind::InvalidParameterValue,
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ));
        }
        if tasks.iter().filter(active).count() >= TASKS_ACTIVE_MAX {
            let message = format!("At most {TASKS_ACTIVE_MAX} message move tasks can be active.");
            return Err(SqsError::new(ErrorKind::UnsupportedOperation, message));
        }
        tasks.push_front(task);
        // One that is active stays however old it is: it would end without a word.
        while tasks.len() > TASKS_KEPT_MAX
            && let Some(oldest) = tasks.iter().rposition(|task| !task.status.is_active())
        {
            tasks.remove(oldest);
        }
        Ok(())
    }

    /// Asks a task to stop and returns how many messages it had moved; None for one that is unknown or not running.
    fn cancel(&self, handle: &str) -> Option<usize> {
        let mut tasks = self.lock();
        let running = |task: &&mut Task| task.handle == handle && task.status == Status::Running;
        let task = tasks.iter_mut().find(running)?;
        task.status = Status::Cancelling;
        Some(task.moved)
    }

    /// Drops the tasks of a deleted queue.
    pub fn forget(&self, source_arn: &str) {
        self.lock().retain(|task| task.source_arn != source_arn);
    }

    /// Changes a task in place; None when it was forgotten.
    fn with<T>(&self, handle: &str, change: impl FnOnce(&mut Task) -> T) -> Option<T> {
        self.lock().iter_mut().find(|task| task.handle == handle).map(change)
    }
}

/// Checks and starts a task, which then runs by itself. Returns its handle.
///
/// # Errors
/// A source or destination that does not exist or whose policy denies it, a source that is nobody's dead letter
/// queue or is the destination, or a task already active.
pub fn start(
    account: &Arc<Account>,
    caller: &Caller,
    source_arn: String,
    destination_arn: Option<String>,
    rate: Option<i64>,
) -> Result<String, SqsError> {
    let source = account.by_arn(&source_arn).ok_or_else(|| SqsError::resource_does_not_exist("SourceArn"))?;
    source.touch();
    for action in ACTIONS_ON_SOURCE {
        check_policy(account, &caller.principal, &source, action)?;
    }
    for target in targets(account, &source_arn, destination_arn.as_deref())? {
        check_policy(account, &caller.principal, &target, "SendMessage")?;
    }
    let started_ms = account.now_ms();
    let content = format!(r#"{{"taskId":"{}","sourceArn":"{source_arn}"}}"#, account.new_id());
    let handle = STANDARD.encode(content);
    let task = Task {
        handle: handle.clone(),
        source_arn,
        destination_arn,
        rate,
        started_ms,
        to_move: source.counts(started_ms).visible,
        moved: 0,
        status: Status::Running,
    };
    account.moves.add(task.clone())?;
    tokio::spawn(run(Arc::downgrade(account), source, task));
    Ok(handle)
}

/// Where what is in the source may go: to one destination, or back to every queue that it may come from.
fn targets(
    account: &Account,
    source_arn: &str,
    destination_arn: Option<&str>,
) -> Result<Vec<Arc<QueueHandle>>, SqsError> {
    let invalid = |message: &str| Err(SqsError::new(ErrorKind::InvalidParameterValue, message));
    let sources = account.sources_of(source_arn);
    if sources.is_empty() {
        return invalid("Source queue must be configured as a Dead Letter Queue.");
    }
    let Some(destination_arn) = destination_arn else { return Ok(sources) };
    // It would refill what it empties and never end.
    if destination_arn == source_arn {
        return invalid("Source queue arn and destination queue arn cannot be the same.");
    }
    let destination = account.by_arn(destination_arn);
    destination.map(|queue| vec![queue]).ok_or_else(|| SqsError::resource_does_not_exist("DestinationArn"))
}

/// Asks a task to stop and returns how many messages it had moved.
///
/// # Errors
/// `InvalidParameterValue` for garbage, `ResourceNotFound` for a source that does not exist and for a task that
/// is unknown or not running, `AccessDenied`.
pub fn cancel(account: &Account, caller: &Caller, handle: &str) -> Result<usize, SqsError> {
    let decoded =
        STANDARD.decode(handle).ok().and_then(|bytes| serde_json::from_slice::<Handle>(&bytes).ok());
    let decoded = decoded.ok_or_else(|| {
        SqsError::new(ErrorKind::InvalidParameterValue, "Value for parameter TaskHandle is invalid.")
    })?;
    let source = account.by_arn(&decoded.source_arn);
    let source = source.ok_or_else(|| SqsError::resource_does_not_exist("SourceArn"))?;
    permitted(account, caller, source, "CancelMessageMoveTask")?;
    let moved = account.moves.cancel(handle);
    moved.ok_or_else(|| SqsError::new(ErrorKind::ResourceNotFound, "Task does not exist."))
}

/// Moves until the source has nothing visible, the task is cancelled or has run for too long, or a message has
/// nowhere to go. Holds the account only between waits, so that a task never outlives it.
async fn run(account: Weak<Account>, source: Arc<QueueHandle>, task: Task) {
    let mut moved = 0;
    while let Some(strong) = account.upgrade() {
        let (count, end) = step(&strong, &source, &task);
        moved += count;
        let goes_on = strong.moves.with(&task.handle, |shown| {
            shown.moved = moved;
            if shown.status == Status::Cancelling {
                shown.status = Status::Cancelled;
            } else if let Some(status) = end {
                shown.status = status;
            }
            shown.status == Status::Running
        });
        if goes_on != Some(true) {
            return;
        }
        let clock = strong.settings.clock.clone();
        let journal = strong.settings.store.messages().cloned();
        drop(strong);
        match task.rate {
            Some(rate) => {
                let due_ms = i64::try_from(moved).unwrap_or(i64::MAX).saturating_mul(1_000) / rate;
                clock.sleep_until(task.started_ms + due_ms).await;
            }
            None => {
                if let Some(journal) = journal {
                    // Else all of the queue would wait in memory for the disk. Of a journal that failed nothing waits.
                    journal.committed().await.ok();
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Moves one batch. The second value is how the task ends, if it does.
fn step(account: &Arc<Account>, source: &QueueHandle, task: &Task) -> (usize, Option<Status>) {
    let now_ms = account.now_ms();
    if account.moves.with(&task.handle, |shown| shown.status) != Some(Status::Running) {
        return (0, None);
    }
    if now_ms - task.started_ms >= TASK_MS_MAX {
        return (0, Some(Status::Failed(TIMED_OUT)));
    }
    let batch = if task.rate.is_some() { 1 } else { MOVE_BATCH };
    let parcels = source.lock().queue.take(now_ms, batch, MOVE_BYTES);
    if parcels.is_empty() {
        return (0, Some(Status::Completed));
    }
    let mut moved = 0;
    let mut parcels = parcels.into_iter();
    while let Some(parcel) = parcels.next() {
        if let Err(reason) = send_again(account, task, &parcel, now_ms) {
            source.put_back(std::iter::once(parcel).chain(parcels));
            return (moved, Some(Status::Failed(reason)));
        }
        source.lock().queue.departed([&parcel]);
        moved += 1;
    }
    (moved, None)
}

/// Puts the message of a parcel where it belongs, or says in AWS's words why it cannot.
fn send_again(account: &Account, task: &Task, parcel: &Parcel, now_ms: i64) -> Result<(), &'static str> {
    let target = task.destination_arn.as_deref().or(parcel.dead_letter_source.as_deref());
    let target = target.ok_or("CouldNotDetermineMessageSource")?;
    let sent = account.by_arn(target).is_some_and(|queue| {
        // "Redriven messages are considered new": a new id, a new start of retention, and the delay of where they go.
        let again = Parcel::new(account.new_id(), Arc::clone(&parcel.content), now_ms);
        let delay_ms = queue.attributes().delay_seconds * 1_000;
        queue.put(now_ms, [(again, delay_ms)])
    });
    if sent { Ok(()) } else { Err(ErrorKind::QueueDoesNotExist.query_code()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::settings::Settings;
    use crate::sqs::message::Content;
    use crate::sqs::queue_model::content;
    use crate::sqs::tests::settings;
    use crate::store::Store;

    /// Waiting for what must happen is bounded; nothing here takes longer unless it is broken.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// A queue that holds so many messages, and a task that moves them to another one.
    fn moving(account: &Account, messages: usize, content: &Arc<Content>) -> (Arc<QueueHandle>, Task) {
        let queue = |name: &str| account.create(name, &BTreeMap::new(), BTreeMap::new()).unwrap();
        let (dead, work) = (queue("dead"), queue("work"));
        let now_ms = account.now_ms();
        let parcel = |_| (Parcel::new(account.new_id(), Arc::clone(content), now_ms), 0);
        dead.put(now_ms, (0..messages).map(parcel));
        let destination_arn = Some(work.arn.to_string());
        let task = task(dead.arn.to_string(), Status::Running);
        let task = Task { destination_arn, started_ms: now_ms, ..task };
        account.moves.add(task.clone()).unwrap();
        (dead, task)
    }

    #[tokio::test]
    async fn no_more_than_a_batch_waits_for_the_disk() {
        const MESSAGES: usize = 20 * MOVE_BATCH;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let journal = store.messages().unwrap().clone();
        let account = Arc::new(Account::new(Settings { store, ..settings().0 }));
        let (dead, task) = moving(&account, MESSAGES, &content());
        journal.committed().await.unwrap();
        let mut run = pin!(run(Arc::downgrade(&account), dead, task));
        let moved = async {
            while run.as_mut().now_or_never().is_none() {
                // Each comes to one queue and leaves the other.
                assert!(journal.uncommitted() <= 2 * MOVE_BATCH as u64, "{}", journal.uncommitted());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, moved).await.unwrap();
        let work = account.by_name("work").unwrap();
        assert_eq!(work.counts(account.now_ms()).visible, MESSAGES);
    }

    #[test]
    fn of_large_messages_a_few_are_moved_at_a_time() {
        let account = Arc::new(Account::new(settings().0));
        let large = Arc::new(Content { body: "x".repeat(1024 * 1024), ..Content::clone(&content()) });
        let (dead, task) = moving(&account, 6, &large);
        let steps = [(); 3].map(|()| step(&account, &dead, &task));
        assert_eq!(steps, [(4, None), (2, None), (0, Some(Status::Completed))]);
    }

    fn task(source_arn: String, status: Status) -> Task {
        Task {
            handle: source_arn.clone(),
            source_arn,
            destination_arn: None,
            rate: None,
            started_ms: 0,
            to_move: 0,
            moved: 0,
            status,
        }
    }

    #[test]
    fn of_too_many_tasks_the_oldest_that_have_ended_are_forgotten() {
        let moves = Moves::default();
        for (source, status) in [("ended", Status::Completed), ("runs", Status::Running)] {
            moves.add(task(source.to_owned(), status)).unwrap();
        }
        for n in 0..TASKS_KEPT_MAX {
            moves.add(task(n.to_string(), Status::Completed)).unwrap();
        }
        assert_eq!(moves.lock().len(), TASKS_KEPT_MAX);
        let kept = |source: &str| moves.of_source(source, 1).len();
        assert_eq!((kept("ended"), kept("0"), kept("1"), kept("runs")), (0, 0, 1, 1));
        assert_eq!(moves.cancel("runs"), Some(0));
    }
}
